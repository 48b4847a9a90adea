//! The upstream of a replica and the master at the end of its chain, and what changed about them
//! since a rival of that master appeared.

use std::collections::HashMap;

use snapshot::{LinkStatus, Role};

use crate::model::deployment::address;
use crate::model::node::{NodeView, Upstream};
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::saved_state::SavedFollowing;
use crate::shard::lineage::LineageTracker;
use crate::shard::nodes::{ShardNodes, ShardUpstream};

/// Upstream of one node in one round.
#[derive(Debug, Clone)]
pub(crate) struct Following {
    upstream: Upstream,
    /// The address of the upstream as the replica reports it: `master_host` and `master_port`.
    reported: Option<Box<str>>,
    /// The master at the end of the chain, if every link up to it is up.
    master: Option<FollowedMaster>,
    /// Times that the link of the node went down.
    drops: u64,
}

/// A master that replicas follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FollowedMaster {
    node: NodeIndex,
    /// Restarts and replacements of its process; [`BROKEN`] if the link to it was interrupted
    /// before the exporter started.
    processes: u64,
}

/// A number of processes that no node reaches.
const BROKEN: u64 = u64::MAX;

/// The nodes of a deployment by their names.
pub(crate) type NamedNodes<'a> = HashMap<&'a str, NodeIndex>;

impl Following {
    /// Reads the state of one node.
    pub(crate) fn read(nodes: ShardNodes<'_>, index: NodeIndex, node: &NodeView) -> Self {
        Following {
            upstream: node.upstream.clone(),
            reported: reported_upstream(node),
            master: followed_master(nodes, index),
            drops: node.link.drops,
        }
    }

    /// Returns the state to compare with for a node that is seen for the first time during a
    /// claim. A master that restarted after the promotion of a rival is followed by replicas that
    /// were not told otherwise, so these do not count.
    pub(crate) fn as_first_seen(
        &self,
        nodes: ShardNodes<'_>,
        lineage: &LineageTracker,
    ) -> Following {
        let master = self.master.filter(|master| !may_have_returned(nodes, lineage, master.node));
        Following { master, ..self.clone() }
    }

    /// Returns the master that a replica follows by choice, according to its state before a rival
    /// appeared. `was_absent` returns true if a master was absent since.
    pub(crate) fn choice(
        &self,
        before: &Following,
        was_absent: impl Fn(NodeIndex) -> bool,
    ) -> Option<NodeIndex> {
        let master = self.master?;
        let was_pointed = before.upstream != self.upstream;
        let followed = before.master.map(|before| before.node) == Some(master.node);
        // A master that was absent may have returned with other data.
        let kept = followed && (self.is_unbroken_since(before) || !was_absent(master.node));
        (was_pointed || kept).then_some(master.node)
    }

    /// Returns true if the link to the same process was not interrupted.
    fn is_unbroken_since(&self, before: &Following) -> bool {
        self.master.is_some() && self.drops == before.drops && self.master == before.master
    }

    /// Returns the state that is kept over a restart of the exporter. `now` is the current state of
    /// the same replica.
    pub(crate) fn saved(
        &self,
        now: Option<&Following>,
        nodes: &NodeVec<NodeView>,
    ) -> SavedFollowing {
        let name = |master: FollowedMaster| nodes[master.node].node.name.clone();
        SavedFollowing {
            upstream: self.reported.as_deref().map(str::to_owned),
            master: self.master.map(name),
            unbroken: now.is_some_and(|now| now.is_unbroken_since(self)),
        }
    }

    /// Returns a saved state, to compare with this one: the first since the exporter started. The
    /// numbers of drops and processes are those since that start.
    pub(crate) fn restored(&self, saved: &SavedFollowing, names: &NamedNodes<'_>) -> Following {
        let is_same = self.reported.as_deref() == saved.upstream.as_deref();
        let other = || saved.upstream.clone().map_or(Upstream::Nothing, Upstream::Unknown);
        let master = saved.master.as_deref().and_then(|name| names.get(name).copied());
        let follows = |node: NodeIndex| self.master.is_some_and(|master| master.node == node);
        Following {
            upstream: if is_same { self.upstream.clone() } else { other() },
            reported: saved.upstream.as_deref().map(Into::into),
            master: master.map(|node| FollowedMaster {
                node,
                processes: if saved.unbroken && follows(node) { 0 } else { BROKEN },
            }),
            drops: 0,
        }
    }
}

fn reported_upstream(node: &NodeView) -> Option<Box<str>> {
    let link = node.snapshot()?.replication.link.as_ref()?;
    let host = link.master_host.as_deref()?;
    Some(link.master_port.map_or_else(|| host.into(), |port| address(host, port).into()))
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

/// Returns true if a master may have restarted after the promotion of a rival: the rival continues
/// an earlier history of this master, or one that no other node knows although the process of the
/// rival is older.
fn may_have_returned(nodes: ShardNodes<'_>, lineage: &LineageTracker, master: NodeIndex) -> bool {
    let replid = |node: NodeIndex| nodes[node].snapshot()?.replication.replid.clone();
    let uptime = |node: NodeIndex| nodes[node].snapshot()?.identity.uptime;
    let rivals = nodes
        .iter()
        .filter(|(index, node)| *index != master && node.role() == Some(Role::Master))
        .map(|(index, _)| index);
    rivals.into_iter().any(|rival| {
        let Some(continued) = lineage.continued(rival) else { return false };
        if lineage.continues(rival, master) {
            return Some(continued) != replid(master).as_deref()
                && lineage.continued(master) != replid(rival).as_deref();
        }
        let is_known = lineage.holders(continued).iter().any(|node| *node != rival);
        let uptimes = uptime(master).zip(uptime(rival));
        !is_known && uptimes.is_some_and(|(own, other)| own < other)
    })
}
