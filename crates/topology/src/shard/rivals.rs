//! The masters of a round that are compared with each other.

use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;
use crate::shard::nodes::{ShardNodes, ShardUpstream};

/// The stale masters of a round.
pub(crate) struct StaleMasters<'a> {
    pub(crate) masters: &'a [NodeIndex],
    /// All masters that share a history with another one.
    pub(crate) split: &'a [NodeIndex],
    /// The verdict about the primary is disputed.
    pub(crate) disputed: bool,
    pub(crate) primary: Option<PrimarySince>,
    /// There is a split brain.
    pub(crate) split_brain: bool,
}

/// The primary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrimarySince {
    pub(crate) node: NodeIndex,
    /// Monotonic time at which the node was first seen as the primary.
    pub(crate) since: Monotonic,
}

/// The masters of a round that are compared.
pub(crate) struct Rivals<'a> {
    pub(crate) nodes: ShardNodes<'a>,
    pub(crate) stale: &'a StaleMasters<'a>,
    pub(crate) masters: Vec<NodeIndex>,
    pub(crate) now: Monotonic,
}

impl Rivals<'_> {
    /// Returns each master with each of the others as its rival.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (NodeIndex, NodeIndex)> {
        self.masters.iter().flat_map(|index| {
            let others = self.masters.iter().filter(move |rival| *rival != index);
            others.map(|rival| (*index, *rival))
        })
    }

    /// Returns the present history of a node: its replication ID.
    pub(crate) fn history(&self, node: NodeIndex) -> Option<&str> {
        self.nodes[node].snapshot()?.replication.replid.as_deref()
    }

    /// Returns the primary as the rival of a stale master.
    pub(crate) fn reference(&self, index: NodeIndex) -> Option<NodeIndex> {
        self.stale.primary.map(|primary| primary.node).filter(|primary| *primary != index)
    }

    /// Returns the node whose data replaces that of a demoted master. If the demoted master still
    /// has its own data, only another master can do that.
    pub(crate) fn winner(&self, index: NodeIndex, keeps_data: bool) -> Option<NodeIndex> {
        self.reference(index).or_else(|| match self.nodes.upstream(index) {
            ShardUpstream::Node(upstream) => {
                let may_win = !keeps_data || self.nodes[upstream].claims_master();
                may_win.then_some(upstream)
            }
            ShardUpstream::Nothing | ShardUpstream::Outside => None,
        })
    }

    /// Returns true if the process started when there was another primary already.
    pub(crate) fn started_stale(&self, index: NodeIndex) -> bool {
        let uptime = self.nodes[index].snapshot().and_then(|snapshot| snapshot.identity.uptime);
        let started = uptime.map(|uptime| self.now.saturating_sub(uptime));
        matches!(
            (started, self.stale.primary),
            (Some(started), Some(primary)) if primary.node != index && started > primary.since
        )
    }
}

impl StaleMasters<'_> {
    /// Returns true if the node is one of several masters of one history.
    pub(crate) fn contains(&self, index: NodeIndex) -> bool {
        self.split.contains(&index) || self.masters.contains(&index)
    }

    /// Returns true if the verdict against a master is undisputed.
    pub(crate) fn has_lost(&self, index: NodeIndex) -> bool {
        !self.disputed && self.masters.contains(&index)
    }
}
