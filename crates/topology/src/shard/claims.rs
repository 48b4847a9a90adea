//! Tracker of the nodes that claim the role of master: since when, and what the other nodes did at
//! that time. A master that was promoted while another was absent is its successor. A master that
//! was promoted while the other served clients is not. If Rolecall did not observe the promotion,
//! it is not known which of both it was.

use snapshot::{NodeSnapshot, Role};

use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::node_state::NodeState;
use crate::model::saved_state::{SavedClaim, SavedFollowing, SavedNode};
use crate::node::process::ProcessChange;
use crate::shard::context::ShardContext;
use crate::shard::following::{Following, NamedNodes};
use crate::shard::lineage::LineageTracker;
use crate::shard::nodes::ShardNodes;

/// Tracks the claims of masters and the replicas that follow them.
#[derive(Debug, Default)]
pub(crate) struct ClaimsTracker {
    claims: NodeMap<Claim>,
    /// The upstream of each node in the last round in which it was up.
    following: NodeMap<Following>,
    /// Saved upstreams of nodes that have not replied yet.
    restored_following: NodeMap<SavedFollowing>,
    /// Monotonic time of the last reply of each node.
    replied: NodeMap<Monotonic>,
}

/// Claim of one node to be master. It lasts until the node replies as a replica, also while the
/// node is down.
#[derive(Debug)]
struct Claim {
    /// Position in the order of the claims. Claims of the same round have the same one.
    order: u64,
    start: ClaimStart,
    /// The upstream of each node before the claim. For a node that was first seen later, its first
    /// upstream.
    before: NodeMap<Following>,
    rivals: NodeMap<RivalState>,
    /// The part of a saved claim about nodes that have not replied yet.
    restored: Option<RestoredClaim>,
}

/// Observation of the promotion that began a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClaimStart {
    /// The node replied shortly before as well.
    Seen,
    /// The promotion was at any time after this reply, or before the first one.
    Unseen { after: Option<Monotonic> },
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

/// Saved claim of a node.
#[derive(Debug)]
struct RestoredClaim {
    claim: SavedClaim,
    /// Last known replication ID of the claimant; `None` after its first reply.
    replid: Option<String>,
}

impl ClaimsTracker {
    /// Processes one round.
    pub(crate) fn observe(
        &mut self,
        nodes: ShardNodes<'_>,
        lineage: &LineageTracker,
        context: &ShardContext<'_>,
    ) {
        let following: Vec<_> = nodes
            .iter()
            .filter(|(_, node)| node.snapshot().is_some())
            .map(|(index, node)| (index, Following::read(nodes, index, node)))
            .collect();
        self.resolve(nodes, &following);
        let replied = |index: NodeIndex| nodes[index].role().filter(|_| context.answered(index));
        let claims_master = |index: NodeIndex| {
            replied(index) == Some(Role::Master)
                || (nodes[index].is_unreachable() && nodes[index].claims_master())
        };
        for index in nodes.indices().filter(|index| replied(*index) == Some(Role::Replica)) {
            self.claims.remove(&index);
            for claim in self.claims.values_mut() {
                claim.rivals.insert(index, RivalState::Replica);
            }
        }
        let order = self
            .claims
            .values()
            .map(|claim| claim.order.saturating_add(1))
            .max()
            .unwrap_or_default();
        for index in nodes.indices().filter(|index| claims_master(*index)) {
            if let Some(snapshot) = nodes[index].snapshot()
                && let Some(claim) = self.claims.get_mut(&index)
                && claim.has_ended_unseen(snapshot, context.process_change(index))
            {
                self.claims.remove(&index);
            }
            let start = self.start(index, context);
            self.claims.entry(index).or_insert_with(|| Claim {
                order,
                start,
                before: self.following.clone(),
                rivals: NodeMap::new(),
                restored: None,
            });
        }
        for (claimant, claim) in &mut self.claims {
            let is_new_and_seen = claim.order == order && claim.start == ClaimStart::Seen;
            for (other, node) in nodes.iter().filter(|(other, _)| other != claimant) {
                let restarted = context.process_change(other) == Some(ProcessChange::Restarted);
                if node.is_absent() || (is_new_and_seen && restarted) {
                    claim.observe_absent(other, self.replied.get(&other).copied());
                } else if claims_master(other) {
                    claim.observe_master(other);
                }
            }
            for (index, now) in &following {
                claim.before.entry(*index).or_insert_with(|| now.as_first_seen(nodes, lineage));
            }
        }
        self.following.extend(following);
        for index in nodes.indices().filter(|index| context.answered(*index)) {
            self.replied.insert(index, context.now());
        }
    }

    /// Returns how the promotion of a node was observed that is a master in this round.
    fn start(&self, index: NodeIndex, context: &ShardContext<'_>) -> ClaimStart {
        let after = self.replied.get(&index).copied();
        let gap = context.interval() * (MAX_ACCRUED_INTERVALS + 1);
        let is_seen = after.is_some_and(|after| context.now().since(after) <= gap);
        if is_seen { ClaimStart::Seen } else { ClaimStart::Unseen { after } }
    }

    /// Returns true if a master was promoted while another one was absent.
    pub(crate) fn was_absent(&self, master: NodeIndex, other: NodeIndex) -> bool {
        self.claims.get(&master).is_some_and(|claim| claim.was_absent(other))
    }

    /// Returns true if a node that claimed to be master before the exporter started has not been
    /// polled yet.
    pub(crate) fn awaits_claimant(&self, nodes: ShardNodes<'_>) -> bool {
        self.claims.iter().any(|(index, claim)| {
            let is_unread = claim.restored.as_ref().is_some_and(|saved| saved.replid.is_some());
            is_unread && nodes[*index].presence == NodeState::Pending
        })
    }

    /// Returns the master that most attached replicas follow by choice. A replica counts if it was
    /// pointed to that master after the last of the rivals appeared, or if it followed that master
    /// already before. A reconnection by itself says nothing.
    pub(crate) fn followed_by_most(
        &self,
        rivals: &[NodeIndex],
        nodes: ShardNodes<'_>,
    ) -> Option<NodeIndex> {
        let claims = rivals.iter().filter_map(|rival| self.claims.get(rival));
        let last = claims.max_by_key(|claim| claim.order)?;
        let replicas = nodes.iter().filter(|(_, node)| node.is_replica());
        let choices: Vec<_> = replicas
            .filter_map(|(index, _)| {
                let before = last.before.get(&index)?;
                self.following.get(&index)?.choice(before, |master| last.was_absent(master))
            })
            .filter(|master| rivals.contains(master))
            .collect();
        let votes = |master: NodeIndex| choices.iter().filter(|choice| **choice == master).count();
        rivals.iter().copied().find(|rival| votes(*rival) * 2 > choices.len())
    }

    /// Writes the state of a node that is kept over a restart of the exporter.
    pub(crate) fn save(&self, index: NodeIndex, nodes: &NodeVec<NodeView>, saved: &mut SavedNode) {
        let following = self.following.get(&index).map(|now| now.saved(Some(now), nodes));
        saved.following = following.or_else(|| self.restored_following.get(&index).cloned());
        saved.claim = self.claims.get(&index).map(|claim| claim.saved(&self.following, nodes));
    }

    /// Restores the saved state of a node. Names are resolved when their nodes are known.
    pub(crate) fn restore(&mut self, index: NodeIndex, saved: &SavedNode) {
        if let Some(following) = &saved.following {
            self.restored_following.insert(index, following.clone());
        }
        if let Some(claim) = &saved.claim {
            let start =
                if claim.seen { ClaimStart::Seen } else { ClaimStart::Unseen { after: None } };
            let restored = RestoredClaim {
                claim: claim.clone(),
                replid: saved.replication_ids.last().cloned(),
            };
            self.claims.insert(
                index,
                Claim {
                    order: claim.order,
                    start,
                    before: NodeMap::new(),
                    rivals: NodeMap::new(),
                    restored: Some(restored),
                },
            );
        }
    }

    /// Adds the saved state of the nodes that are known by now.
    fn resolve(&mut self, nodes: ShardNodes<'_>, following: &[(NodeIndex, Following)]) {
        let is_complete = |claim: &Claim| claim.restored.is_none();
        if self.restored_following.is_empty() && self.claims.values().all(is_complete) {
            return;
        }
        let deployment = nodes.deployment();
        let names: NamedNodes<'_> =
            nodes.iter().map(|(index, node)| (&*node.node.name, index)).collect();
        for (index, now) in following {
            if let Some(saved) = self.restored_following.remove(index) {
                self.following.insert(*index, now.restored(&saved, &names));
            }
        }
        for claim in self.claims.values_mut() {
            claim.resolve(deployment, &names, following);
        }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.claims.remove(&index);
        self.following.remove(&index);
        self.restored_following.remove(&index);
        self.replied.remove(&index);
        for claim in self.claims.values_mut() {
            claim.before.remove(&index);
            claim.rivals.remove(&index);
        }
    }
}

impl Claim {
    fn was_absent(&self, other: NodeIndex) -> bool {
        self.rivals.get(&other) == Some(&RivalState::Absent)
    }

    /// Records that another node is absent. `replied` is the time of its last reply.
    fn observe_absent(&mut self, other: NodeIndex, replied: Option<Monotonic>) {
        let state = self.rivals.get(&other).copied();
        let is_successor = match (self.start, state) {
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

    fn observe_master(&mut self, other: NodeIndex) {
        if !self.was_absent(other) {
            self.rivals.insert(other, RivalState::Present);
        }
    }

    /// Returns true if the node was demoted and promoted again before its first reply to this
    /// exporter: the same process has continued another history.
    fn has_ended_unseen(&mut self, snapshot: &NodeSnapshot, change: Option<ProcessChange>) -> bool {
        let saved = self.restored.as_mut().and_then(|restored| restored.replid.take());
        let replication = &snapshot.replication;
        saved.is_some_and(|saved| {
            change == Some(ProcessChange::Same)
                && replication.replid2.is_some()
                && replication.replid.as_deref() != Some(&*saved)
        })
    }

    fn saved(&self, following: &NodeMap<Following>, nodes: &NodeVec<NodeView>) -> SavedClaim {
        let name = |index: NodeIndex| nodes[index].node.name.clone();
        let in_state = |state: RivalState| {
            let rivals = self.rivals.iter().filter(move |(_, known)| **known == state);
            rivals.map(|(index, _)| name(*index))
        };
        let before = self
            .before
            .iter()
            .map(|(index, before)| (name(*index), before.saved(following.get(index), nodes)));
        let rest = self.restored.as_ref().map(|restored| restored.claim.clone());
        let mut saved = rest.unwrap_or_default();
        saved.order = self.order;
        saved.seen = self.start == ClaimStart::Seen;
        saved.absent.extend(in_state(RivalState::Absent));
        saved.present.extend(in_state(RivalState::Present));
        saved.replicas.extend(in_state(RivalState::Replica));
        saved.before.extend(before);
        saved
    }

    /// Adds the part of the saved claim about nodes that are known by now.
    fn resolve(
        &mut self,
        deployment: &NodeVec<NodeView>,
        names: &NamedNodes<'_>,
        following: &[(NodeIndex, Following)],
    ) {
        let Some(RestoredClaim { claim, replid }) = &mut self.restored else { return };
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
        if is_empty && replid.is_none() {
            self.restored = None;
        }
    }
}
