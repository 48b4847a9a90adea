//! Claims to be master that began alike. What the other nodes do during these claims is observed
//! once for all of them: otherwise, many masters would cost as much as their number squared.

use std::sync::Arc;

use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::saved_state::SavedClaim;
use crate::shard::following::{Following, NamedNodes};

/// Beginning of a claim. Claims with the same one have all observations in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClaimBeginning {
    /// Position in the order of the claims. Claims of the same round have the same one.
    pub(super) order: u64,
    pub(super) start: ClaimStart,
    /// Origin of claims that began before the exporter started.
    pub(super) saved: Option<SavedOrigin>,
}

/// Observation of the promotion that began a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClaimStart {
    /// The node replied shortly before as well.
    Seen,
    /// The promotion was at any time after this reply, or before the first one.
    Unseen { after: Option<Monotonic> },
}

/// Origin of saved claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SavedOrigin {
    /// Position in the saved state.
    position: usize,
    /// Rounds before the claims were restored: nodes may be discovered later.
    rounds: u64,
}

/// Saved claim that several nodes share.
#[derive(Debug, Clone)]
pub(crate) struct SharedClaim {
    /// Position in the saved state.
    pub(crate) position: usize,
    pub(crate) claim: Arc<SavedClaim>,
}

/// Observations during claims that began alike.
#[derive(Debug)]
pub(super) struct ClaimGroup {
    /// The upstream of each node before the claims. For a node that was first seen later, its
    /// first upstream.
    before: NodeMap<Following>,
    /// State of each node during the claims of the others.
    rivals: NodeMap<RivalState>,
    /// The part of saved claims about nodes that have not replied yet.
    unresolved: Option<SavedClaim>,
}

/// State of another node during a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RivalState {
    /// It was absent when the claim began, or since it last was a replica.
    Absent,
    /// It replied as a master, or it may have been one when the claim began.
    Present,
    /// It replied as a replica.
    Replica,
}

impl SharedClaim {
    /// Returns the beginning of the claim of a node that is restored after some rounds.
    pub(super) fn beginning(&self, rounds: u64) -> ClaimBeginning {
        let start =
            if self.claim.seen { ClaimStart::Seen } else { ClaimStart::Unseen { after: None } };
        let saved = Some(SavedOrigin { position: self.position, rounds });
        ClaimBeginning { order: self.claim.order, start, saved }
    }
}

impl ClaimGroup {
    /// Creates a group of claims that begin in this round.
    pub(super) fn new(before: NodeMap<Following>) -> Self {
        ClaimGroup { before, rivals: NodeMap::new(), unresolved: None }
    }

    /// Creates a group of saved claims.
    pub(super) fn restored(saved: &SharedClaim) -> Self {
        let unresolved = Some(SavedClaim::clone(&saved.claim));
        ClaimGroup { before: NodeMap::new(), rivals: NodeMap::new(), unresolved }
    }

    /// Returns true if a node was absent when the claims began, or since it last was a replica.
    pub(super) fn was_absent(&self, other: NodeIndex) -> bool {
        self.rivals.get(&other) == Some(&RivalState::Absent)
    }

    /// Returns the upstream of a node before the claims.
    pub(super) fn before(&self, replica: NodeIndex) -> Option<&Following> {
        self.before.get(&replica)
    }

    /// Records the first upstream of a node, unless one is known.
    pub(super) fn add_before(&mut self, index: NodeIndex, first: impl FnOnce() -> Following) {
        self.before.entry(index).or_insert_with(first);
    }

    /// Records that a node is absent. `start` is that of the claims, and `replied` the time of the
    /// last reply of the node.
    pub(super) fn observe_absent(
        &mut self,
        other: NodeIndex,
        start: ClaimStart,
        replied: Option<Monotonic>,
    ) {
        let state = self.rivals.get(&other).copied();
        let is_successor = match (start, state) {
            (_, Some(RivalState::Absent | RivalState::Present)) => return,
            (_, Some(RivalState::Replica)) | (ClaimStart::Seen, None) => true,
            // It was absent before the promotion if it fell silent before the claimant.
            (ClaimStart::Unseen { after }, None) => {
                replied.zip(after).is_some_and(|(replied, after)| replied < after)
            }
        };
        let state = if is_successor { RivalState::Absent } else { RivalState::Present };
        self.rivals.insert(other, state);
    }

    /// Records that a node is a master.
    pub(super) fn observe_master(&mut self, other: NodeIndex) {
        let state = self.rivals.entry(other).or_insert(RivalState::Present);
        if *state == RivalState::Replica {
            *state = RivalState::Present;
        }
    }

    /// Records that a node is a replica.
    pub(super) fn observe_replica(&mut self, other: NodeIndex) {
        self.rivals.insert(other, RivalState::Replica);
    }

    /// Returns the observations, which are kept over a restart of the exporter.
    pub(super) fn saved(
        &self,
        beginning: ClaimBeginning,
        following: &NodeMap<Following>,
        nodes: &NodeVec<NodeView>,
    ) -> SavedClaim {
        let name = |index: NodeIndex| nodes[index].node.name.clone();
        let in_state = |state: RivalState| {
            let rivals = self.rivals.iter().filter(move |(_, known)| **known == state);
            rivals.map(|(index, _)| name(*index))
        };
        let before = self
            .before
            .iter()
            .map(|(index, before)| (name(*index), before.saved(following.get(index), nodes)));
        let mut saved = self.unresolved.clone().unwrap_or_default();
        saved.order = beginning.order;
        saved.seen = beginning.start == ClaimStart::Seen;
        saved.absent.extend(in_state(RivalState::Absent));
        saved.present.extend(in_state(RivalState::Present));
        saved.replicas.extend(in_state(RivalState::Replica));
        saved.before.extend(before);
        saved
    }

    /// Returns true if the names of all saved nodes are resolved.
    pub(super) fn is_resolved(&self) -> bool {
        self.unresolved.is_none()
    }

    /// Adds the part of saved claims about nodes that are known by now.
    pub(super) fn resolve(
        &mut self,
        deployment: &NodeVec<NodeView>,
        names: &NamedNodes<'_>,
        following: &[(NodeIndex, Following)],
    ) {
        let Some(claim) = &mut self.unresolved else { return };
        for (list, state) in [
            (&mut claim.absent, RivalState::Absent),
            (&mut claim.present, RivalState::Present),
            (&mut claim.replicas, RivalState::Replica),
        ] {
            list.retain(|name| match names.get(&**name) {
                Some(index) => {
                    self.rivals.entry(*index).or_insert(state);
                    false
                }
                None => true,
            });
        }
        for (index, now) in following {
            if let Some(before) = claim.before.remove(&*deployment[*index].node.name) {
                self.before.entry(*index).or_insert_with(|| now.restored(&before, names));
            }
        }
        let is_empty = claim.absent.is_empty()
            && claim.present.is_empty()
            && claim.replicas.is_empty()
            && claim.before.is_empty();
        if is_empty {
            self.unresolved = None;
        }
    }

    /// Forgets a node that left.
    pub(super) fn clear(&mut self, index: NodeIndex) {
        self.before.remove(&index);
        self.rivals.remove(&index);
    }
}
