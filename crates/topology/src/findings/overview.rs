//! Facts about all nodes of a view, which findings about single nodes and shards need. They are
//! collected once for all findings.

use snapshot::Role;

use crate::model::node::{LinkState, NodeView, Upstream};
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::node_state::NodeState;
use crate::model::refusals::refuses;
use crate::model::shard::ShardView;
use crate::model::view::DeploymentView;

/// Facts about all nodes of a view.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about all nodes")]
pub(super) struct Overview<'a> {
    /// The shard of each node.
    shards: NodeVec<Option<&'a ShardView>>,
    /// Nodes that are the primary of a shard.
    primaries: NodeVec<bool>,
    /// Nodes from which another one replicates.
    followed: NodeVec<bool>,
    /// Some shard has, or had, a primary.
    pub(super) has_known_primary: bool,
    /// Some node replies.
    pub(super) has_reply: bool,
    /// Some replica follows a node.
    pub(super) has_replica: bool,
    /// Some replication link is up.
    pub(super) has_link: bool,
    /// Some replica serves reads.
    pub(super) has_readable_replica: bool,
    /// The number of replicas is known: each data node was reached, or never will be.
    pub(super) knows_replicas: bool,
}

impl<'a> Overview<'a> {
    /// Collects the facts.
    pub(super) fn of(view: &'a DeploymentView) -> Self {
        let nodes = || view.nodes.values();
        let mut shards: NodeVec<_> = nodes().map(|_| None).collect();
        let mut primaries: NodeVec<_> = nodes().map(|_| false).collect();
        let mut followed: NodeVec<_> = nodes().map(|_| false).collect();
        for shard in &view.shards {
            for member in &shard.members {
                // The first shard of a node decides, as in `shard_of`.
                shards[*member].get_or_insert(shard);
            }
            for primary in shard.primaries() {
                primaries[*primary] = true;
            }
        }
        for node in nodes() {
            if let Upstream::Node(upstream) = node.upstream {
                followed[upstream] = true;
            }
        }
        let mut data = nodes().filter(|node| node.holds_data()).peekable();
        Overview {
            shards,
            primaries,
            followed,
            has_known_primary: view.shards.iter().any(|shard| shard.last_primary.is_some()),
            has_reply: view.has_reply(),
            has_replica: nodes().any(NodeView::follows),
            has_link: nodes().any(has_link),
            has_readable_replica: nodes()
                .any(|node| node.role() == Some(Role::Replica) && !refuses(&node.reads_refused)),
            knows_replicas: data.peek().is_some() && !data.any(is_pending),
        }
    }

    /// Returns the shard of a node.
    pub(super) fn shard_of(&self, index: NodeIndex) -> Option<&'a ShardView> {
        self.shards[index]
    }

    /// Returns true if a node is the primary of a shard.
    pub(super) fn is_primary(&self, index: NodeIndex) -> bool {
        self.primaries[index]
    }

    /// Returns true if another node replicates from a node.
    pub(super) fn is_followed(&self, index: NodeIndex) -> bool {
        self.followed[index]
    }
}

fn has_link(node: &NodeView) -> bool {
    node.snapshot().is_some_and(|snapshot| {
        snapshot.replication.any_link().is_some() && node.link.state == Some(LinkState::Up)
    })
}

/// Returns true if a node was not reached yet: it may be a replica.
fn is_pending(node: &NodeView) -> bool {
    node.presence == NodeState::Pending && !node.was_never_reached()
}
