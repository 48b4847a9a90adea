//! Tracker of the nodes that claim the role of master: since when, and what the other nodes did at
//! that time. A master that was promoted while another was absent is its successor. A master that
//! was promoted while the other served clients is not.

use snapshot::{LinkStatus, Role};

use crate::model::monotonic::Monotonic;
use crate::model::node::{NodeView, Upstream};
use crate::model::node_index::{NodeIndex, NodeMap};
use crate::node::process::ProcessChange;
use crate::shard::context::ShardContext;
use crate::shard::lineage::{LineageTracker, MasterHistory};
use crate::shard::nodes::{ShardNodes, ShardUpstream};

/// Tracks the claims of masters and the replicas that follow them.
#[derive(Debug, Default)]
pub(crate) struct ClaimsTracker {
    claims: NodeMap<Claim>,
    /// The upstream of each node in the last round in which it was up.
    following: NodeMap<Following>,
}

/// Claim of one node to be master. It lasts until the node replies as a replica, also while the
/// node is down.
#[derive(Debug)]
struct Claim {
    /// Monotonic time of the first round with this claim.
    since: Monotonic,
    /// The upstream of each node before the claim. For a node that was first seen later, its first
    /// upstream.
    before: NodeMap<Following>,
    /// Nodes that were down during the claim before they ever replied as masters during it.
    absent: Vec<NodeIndex>,
    /// Nodes that replied as masters during the claim and were not absent before.
    met: Vec<NodeIndex>,
}

/// Upstream of one node in one round.
#[derive(Debug, Clone, PartialEq)]
struct Following {
    upstream: Upstream,
    /// The master at the end of the chain, if every link up to it is up.
    master: Option<FollowedMaster>,
    /// Times that the link of the node went down.
    drops: u64,
}

/// A master that replicas follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FollowedMaster {
    node: NodeIndex,
    /// Restarts and replacements of its process.
    processes: u64,
}

impl ClaimsTracker {
    /// Processes one round.
    pub(crate) fn observe(
        &mut self,
        nodes: ShardNodes<'_>,
        lineage: &LineageTracker,
        context: &ShardContext<'_>,
    ) {
        let replied = |index: NodeIndex| nodes[index].role().filter(|_| context.answered(index));
        let claims_master = |index: NodeIndex| {
            replied(index) == Some(Role::Master)
                || (nodes[index].is_unreachable() && nodes[index].claims_master())
        };
        for index in nodes.indices().filter(|index| replied(*index) == Some(Role::Replica)) {
            self.claims.remove(&index);
            for claim in self.claims.values_mut() {
                claim.absent.retain(|other| *other != index);
                claim.met.retain(|other| *other != index);
            }
        }
        for index in nodes.indices().filter(|index| claims_master(*index)) {
            self.claims.entry(index).or_insert_with(|| Claim {
                since: context.now(),
                before: self.following.clone(),
                absent: Vec::new(),
                met: Vec::new(),
            });
        }
        let following: Vec<_> = nodes
            .iter()
            .filter(|(_, node)| node.snapshot().is_some())
            .map(|(index, node)| (index, Following::read(nodes, index, node)))
            .collect();
        for (claimant, claim) in &mut self.claims {
            let is_new = claim.since == context.now();
            for (other, node) in nodes.iter().filter(|(other, _)| other != claimant) {
                let restarted = context.process_change(other) == Some(ProcessChange::Restarted);
                claim.observe_other(other, node.is_absent() || (is_new && restarted), || {
                    claims_master(other)
                });
            }
            for (index, now) in &following {
                claim.before.entry(*index).or_insert_with(|| now.as_first_seen(nodes, lineage));
            }
        }
        self.following.extend(following);
    }

    /// Returns true if a master was promoted while another one was absent.
    pub(crate) fn was_absent(&self, master: NodeIndex, other: NodeIndex) -> bool {
        self.claims.get(&master).is_some_and(|claim| claim.absent.contains(&other))
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
        let last = claims.max_by_key(|claim| claim.since)?;
        let replicas = nodes.iter().filter(|(_, node)| node.is_replica());
        let choices: Vec<_> = replicas
            .filter_map(|(index, _)| last.choice(index, self.following.get(&index)?))
            .filter(|master| rivals.contains(master))
            .collect();
        let votes = |master: NodeIndex| choices.iter().filter(|choice| **choice == master).count();
        rivals.iter().copied().find(|rival| votes(*rival) * 2 > choices.len())
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.claims.remove(&index);
        self.following.remove(&index);
        for claim in self.claims.values_mut() {
            claim.before.remove(&index);
            claim.absent.retain(|other| *other != index);
            claim.met.retain(|other| *other != index);
        }
    }
}

impl Claim {
    fn observe_other(&mut self, other: NodeIndex, absent: bool, is_master: impl FnOnce() -> bool) {
        if self.absent.contains(&other) || self.met.contains(&other) {
            return;
        }
        if absent {
            self.absent.push(other);
        } else if is_master() {
            self.met.push(other);
        }
    }

    /// Returns the master that a replica follows by choice.
    fn choice(&self, replica: NodeIndex, now: &Following) -> Option<NodeIndex> {
        let master = now.master?;
        let before = self.before.get(&replica)?;
        let was_pointed = before.upstream != now.upstream;
        let followed = before.master.map(|before| before.node) == Some(master.node);
        // A master that was absent may have returned with other data.
        let is_unbroken = before.drops == now.drops && before.master == now.master;
        let kept = followed && (is_unbroken || !self.absent.contains(&master.node));
        (was_pointed || kept).then_some(master.node)
    }
}

impl Following {
    fn read(nodes: ShardNodes<'_>, index: NodeIndex, node: &NodeView) -> Self {
        Following {
            upstream: node.upstream.clone(),
            master: followed_master(nodes, index),
            drops: node.link.drops,
        }
    }

    /// Returns the state to compare with for a node that is seen for the first time during a
    /// claim. A master that restarted after the promotion of a rival is followed by replicas that
    /// were not told otherwise, so these do not count.
    fn as_first_seen(&self, nodes: ShardNodes<'_>, lineage: &LineageTracker) -> Following {
        let master = self.master.filter(|master| !was_succeeded(nodes, lineage, master.node));
        Following { master, ..self.clone() }
    }
}

/// Returns the master at the end of the chain of a replica, if every link up to it is up.
fn followed_master(nodes: ShardNodes<'_>, replica: NodeIndex) -> Option<FollowedMaster> {
    let mut current = replica;
    for _ in 0..nodes.len() {
        let link = nodes[current].snapshot()?.replication.link.as_ref()?;
        let ShardUpstream::Node(upstream) = nodes.upstream(current) else { return None };
        if link.status != Some(LinkStatus::Up) {
            return None;
        }
        let node = &nodes[upstream];
        if node.claims_master() {
            let processes = node.process.restarts + node.process.replacements;
            return Some(FollowedMaster { node: upstream, processes });
        }
        current = upstream;
    }
    None
}

/// Returns true if another master continues an earlier history of this master, so that this master
/// restarted since.
fn was_succeeded(nodes: ShardNodes<'_>, lineage: &LineageTracker, master: NodeIndex) -> bool {
    let history = |node: NodeIndex| {
        let replication = &nodes[node].snapshot()?.replication;
        Some(MasterHistory { node, replication })
    };
    let Some(own) = history(master) else { return false };
    let masters = nodes.iter().filter(|(_, node)| node.role() == Some(Role::Master));
    masters.filter_map(|(other, _)| history(other)).filter(|other| other.node != master).any(
        |other| {
            lineage.continues(other, master)
                && other.replication.replid2 != own.replication.replid
                && own.replication.replid2 != other.replication.replid
        },
    )
}
