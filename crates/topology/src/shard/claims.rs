//! Tracker of the nodes that claim the role of master: since when, and what the other nodes did at
//! that time. A master that was promoted while another was absent is its successor. A master that
//! was promoted while the other served clients is not. If Rolecall did not observe the promotion,
//! it is not known which of both it was.

use std::collections::{BTreeMap, BTreeSet};

use litemap::LiteMap;
use snapshot::{NodeSnapshot, Role};

use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::node_state::NodeState;
use crate::model::saved_state::{SavedClaims, SavedFollowing, SavedNode};
use crate::node::process::ProcessChange;
use crate::shard::claim_group::{ClaimBeginning, ClaimGroup, ClaimStart, SharedClaim};
use crate::shard::context::ShardContext;
use crate::shard::following::{Following, NamedNodes};
use crate::shard::lineage::LineageTracker;
use crate::shard::nodes::ShardNodes;

/// Tracks the claims of masters and the replicas that follow them.
#[derive(Debug, Default)]
pub(crate) struct ClaimsTracker {
    claims: NodeMap<Claim>,
    /// Observations during the claims. Many independent masters have few groups.
    groups: LiteMap<ClaimBeginning, ClaimGroup>,
    /// The upstream of each node in the last round in which it was up.
    following: NodeMap<Following>,
    /// Saved upstreams of nodes that have not replied yet.
    restored_following: NodeMap<SavedFollowing>,
    /// Monotonic time of the last reply of each node.
    replied: NodeMap<Monotonic>,
    /// Number of rounds so far.
    rounds: u64,
}

/// Claim of one node to be master. It lasts until the node replies as a replica, also while the
/// node is down.
#[derive(Debug)]
struct Claim {
    beginning: ClaimBeginning,
    /// Last known replication ID of a node whose claim was saved; `None` after its first reply.
    saved_replid: Option<String>,
}

impl ClaimsTracker {
    /// Processes one round.
    pub(crate) fn observe(
        &mut self,
        nodes: ShardNodes<'_>,
        lineage: &LineageTracker,
        context: &ShardContext<'_>,
    ) {
        self.rounds += 1;
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
            for (_, group) in &mut self.groups {
                group.observe_replica(index);
            }
        }
        self.drop_groups_without_claims();
        let last = self.groups.last();
        let order = last.map_or(0, |(beginning, _)| beginning.order.saturating_add(1));
        for index in nodes.indices().filter(|index| claims_master(*index)) {
            self.observe_claimant(index, &nodes[index], order, context);
        }
        for (beginning, group) in &mut self.groups {
            let is_new_and_seen = beginning.order == order && beginning.start == ClaimStart::Seen;
            for (other, node) in nodes.iter() {
                let restarted = context.process_change(other) == Some(ProcessChange::Restarted);
                if node.is_absent() || (is_new_and_seen && restarted) {
                    let replied = self.replied.get(&other).copied();
                    group.observe_absent(other, beginning.start, replied);
                } else if claims_master(other) {
                    group.observe_master(other);
                }
            }
            for (index, now) in &following {
                group.add_before(*index, || now.as_first_seen(nodes, lineage));
            }
        }
        self.following.extend(following);
        for index in nodes.indices().filter(|index| context.answered(*index)) {
            self.replied.insert(index, context.now());
        }
    }

    /// Processes a node that claims to be master.
    fn observe_claimant(
        &mut self,
        index: NodeIndex,
        node: &NodeView,
        order: u64,
        context: &ShardContext<'_>,
    ) {
        if let Some(claim) = self.claims.get_mut(&index) {
            let change = context.process_change(index);
            if !node.snapshot().is_some_and(|snapshot| claim.has_ended_unseen(snapshot, change)) {
                return;
            }
        }
        let beginning = ClaimBeginning { order, start: self.start(index, context), saved: None };
        let group = self.groups.entry(beginning);
        group.or_insert_with(|| ClaimGroup::new(self.following.clone()));
        self.claims.insert(index, Claim { beginning, saved_replid: None });
    }

    fn drop_groups_without_claims(&mut self) {
        let used: BTreeSet<_> = self.claims.values().map(|claim| claim.beginning).collect();
        self.groups.retain(|beginning, _| used.contains(beginning));
    }

    /// Returns how the promotion of a node was observed that is a master in this round.
    fn start(&self, index: NodeIndex, context: &ShardContext<'_>) -> ClaimStart {
        let after = self.replied.get(&index).copied();
        let gap = context.interval() * (MAX_ACCRUED_INTERVALS + 1);
        let is_seen = after.is_some_and(|after| context.now().since(after) <= gap);
        if is_seen { ClaimStart::Seen } else { ClaimStart::Unseen { after } }
    }

    /// Returns the group of the claim of a master.
    fn group_of(&self, master: NodeIndex) -> Option<&ClaimGroup> {
        self.groups.get(&self.claims.get(&master)?.beginning)
    }

    /// Returns true if a master was promoted while another one was absent.
    pub(crate) fn was_absent(&self, master: NodeIndex, other: NodeIndex) -> bool {
        // The group also observes each of its masters, for the claims of the others.
        master != other && self.group_of(master).is_some_and(|group| group.was_absent(other))
    }

    /// Returns true if a node that claimed to be master before the exporter started has not been
    /// polled yet.
    pub(crate) fn awaits_claimant(&self, nodes: ShardNodes<'_>) -> bool {
        self.claims.iter().any(|(index, claim)| {
            claim.saved_replid.is_some() && nodes[*index].presence == NodeState::Pending
        })
    }

    /// Returns the master that most attached replicas follow by choice. A replica counts if it was
    /// pointed to that master after the last of the rivals appeared, or if it followed that master
    /// already before. A reconnection by itself says nothing. `rivals` are in ascending order.
    pub(crate) fn followed_by_most(
        &self,
        rivals: &[NodeIndex],
        nodes: ShardNodes<'_>,
    ) -> Option<NodeIndex> {
        let order = |rival: NodeIndex| Some((self.claims.get(&rival)?.beginning.order, rival));
        let (_, last) = rivals.iter().filter_map(|rival| order(*rival)).max()?;
        let group = self.group_of(last)?;
        let choice = |replica: NodeIndex| {
            let before = group.before(replica)?;
            self.following.get(&replica)?.choice(before, |master| self.was_absent(last, master))
        };
        let replicas = nodes.iter().filter(|(_, node)| node.is_replica());
        let choices = replicas.filter_map(|(index, _)| choice(index));
        let (mut votes, mut total): (NodeMap<usize>, usize) = (NodeMap::new(), 0);
        for master in choices.filter(|master| rivals.binary_search(master).is_ok()) {
            *votes.entry(master).or_default() += 1;
            total += 1;
        }
        votes.into_iter().find(|(_, votes)| votes * 2 > total).map(|(master, _)| master)
    }

    /// Writes the state of a node that is kept over a restart of the exporter.
    pub(crate) fn save(&self, index: NodeIndex, nodes: &NodeVec<NodeView>, saved: &mut SavedNode) {
        let following = self.following.get(&index).map(|now| now.saved(Some(now), nodes));
        saved.following = following.or_else(|| self.restored_following.get(&index).cloned());
    }

    /// Returns the claims of some nodes, which are kept over a restart of the exporter.
    pub(crate) fn saved_claims(
        &self,
        nodes: &NodeVec<NodeView>,
        is_included: impl Fn(NodeIndex) -> bool,
    ) -> Vec<SavedClaims> {
        let mut claimants: BTreeMap<ClaimBeginning, BTreeSet<String>> = BTreeMap::new();
        for (index, claim) in self.claims.iter().filter(|(index, _)| is_included(**index)) {
            claimants.entry(claim.beginning).or_default().insert(nodes[*index].node.name.clone());
        }
        let of_group = |(beginning, claimants)| {
            let group = self.groups.get(&beginning)?;
            Some(SavedClaims { claimants, claim: group.saved(beginning, &self.following, nodes) })
        };
        claimants.into_iter().filter_map(of_group).collect()
    }

    /// Restores the saved state of a node. Names are resolved when their nodes are known.
    pub(crate) fn restore(
        &mut self,
        index: NodeIndex,
        saved: &SavedNode,
        claim: Option<&SharedClaim>,
    ) {
        if let Some(following) = &saved.following {
            self.restored_following.insert(index, following.clone());
        }
        if let Some(claim) = claim {
            let beginning = claim.beginning(self.rounds);
            self.groups.entry(beginning).or_insert_with(|| ClaimGroup::restored(claim));
            let saved_replid = saved.replication_ids.last().cloned();
            self.claims.insert(index, Claim { beginning, saved_replid });
        }
    }

    /// Adds the saved state of the nodes that are known by now.
    fn resolve(&mut self, nodes: ShardNodes<'_>, following: &[(NodeIndex, Following)]) {
        if self.restored_following.is_empty() && self.groups.values().all(ClaimGroup::is_resolved) {
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
        for (_, group) in &mut self.groups {
            group.resolve(deployment, &names, following);
        }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.claims.remove(&index);
        self.following.remove(&index);
        self.restored_following.remove(&index);
        self.replied.remove(&index);
        for (_, group) in &mut self.groups {
            group.clear(index);
        }
    }
}

impl Claim {
    /// Returns true if the node was demoted and promoted again before its first reply to this
    /// exporter: the same process has continued another history.
    fn has_ended_unseen(&mut self, snapshot: &NodeSnapshot, change: Option<ProcessChange>) -> bool {
        let replication = &snapshot.replication;
        self.saved_replid.take().is_some_and(|saved| {
            change == Some(ProcessChange::Same)
                && replication.replid2.is_some()
                && replication.replid.as_deref() != Some(&*saved)
        })
    }
}
