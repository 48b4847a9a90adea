//! Tracker of a shard whose primary is outside of the deployment, such as the nodes of a disaster
//! recovery site. From the promotion of a node on, that node is the primary.

use snapshot::{LinkStatus, NodeSnapshot, Role};

use crate::model::node_index::NodeIndex;
use crate::shard::context::ShardContext;
use crate::shard::lineage::LineageTracker;
use crate::shard::nodes::{ShardNodes, ShardUpstream};

/// Tracks the place of the primary: inside or outside of the deployment.
#[derive(Debug, Default)]
pub(crate) struct ExternalTracker {
    is_outside: bool,
}

impl ExternalTracker {
    /// Processes one round. Returns true if the primary is outside. `primary` is the last primary
    /// inside.
    pub(crate) fn observe(
        &mut self,
        nodes: ShardNodes<'_>,
        lineage: &LineageTracker,
        primary: Option<NodeIndex>,
        context: &ShardContext<'_>,
    ) -> bool {
        let has_returned = |primary: NodeIndex| follows_again(primary, nodes, context);
        let is_promoted =
            |index: NodeIndex| nodes[index].claims_master() && holds_data(index, nodes, lineage);
        self.is_outside = context.expect.external
            && primary.is_none_or(has_returned)
            && !nodes.indices().any(is_promoted);
        self.is_outside
    }

    /// Returns true if the primary is expected outside, and no node was promoted since.
    pub(crate) fn is_outside(&self) -> bool {
        self.is_outside
    }
}

/// Returns true if a node that was promoted is a replica of the external primary again, or if it is
/// gone and another node is connected to the external primary.
fn follows_again(primary: NodeIndex, nodes: ShardNodes<'_>, context: &ShardContext<'_>) -> bool {
    let follows = |index: NodeIndex| {
        context.answered(index)
            && nodes[index].is_replica()
            && nodes.upstream(index) == ShardUpstream::Outside
    };
    let is_connected = |snapshot: &NodeSnapshot| {
        let link = snapshot.replication.link.as_ref();
        link.is_some_and(|link| link.status == Some(LinkStatus::Up))
    };
    let is_fed =
        |index: NodeIndex| follows(index) && nodes[index].snapshot().is_some_and(is_connected);
    follows(primary) || (nodes[primary].is_absent() && nodes.indices().any(is_fed))
}

/// Returns true if a master has data: it continues a history, or has keys. A new server is a master
/// until it is told to replicate.
fn holds_data(index: NodeIndex, nodes: ShardNodes<'_>, lineage: &LineageTracker) -> bool {
    let was_replica =
        nodes[index].last_role() == Some(Role::Master) && lineage.continued(index).is_some();
    was_replica || nodes[index].last.as_ref().is_some_and(|last| !last.keyspace.is_empty())
}
