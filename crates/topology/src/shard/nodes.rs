//! The nodes of one shard.

use std::ops::Index;

use crate::model::node::{NodeView, Upstream};
use crate::model::node_index::{NodeIndex, NodeVec};

/// The nodes of one shard, by their indices in the deployment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShardNodes<'a> {
    deployment: &'a NodeVec<NodeView>,
    /// In ascending order.
    members: &'a [NodeIndex],
}

/// The upstream of a node, as its shard sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShardUpstream {
    /// The node replicates from no other node.
    Nothing,
    /// A node of the shard.
    Node(NodeIndex),
    /// An address without a node, or a node of another shard.
    Outside,
}

impl<'a> ShardNodes<'a> {
    /// Selects the nodes of a shard. `members` must be in ascending order.
    pub(crate) fn new(deployment: &'a NodeVec<NodeView>, members: &'a [NodeIndex]) -> Self {
        debug_assert!(members.is_sorted(), "the members of a shard are sorted");
        ShardNodes { deployment, members }
    }

    /// Returns the number of nodes.
    pub(crate) fn len(self) -> usize {
        self.members.len()
    }

    /// Returns the indices of the nodes, in ascending order.
    pub(crate) fn indices(self) -> impl Iterator<Item = NodeIndex> {
        self.members.iter().copied()
    }

    /// Returns the nodes with their indices, in ascending order.
    pub(crate) fn iter(self) -> impl Iterator<Item = (NodeIndex, &'a NodeView)> {
        self.members.iter().map(move |index| (*index, &self.deployment[*index]))
    }

    /// Returns the nodes in ascending order of their indices.
    pub(crate) fn values(self) -> impl Iterator<Item = &'a NodeView> {
        self.iter().map(|(_, node)| node)
    }

    /// Returns the nodes of the deployment, including those of other shards.
    pub(crate) fn deployment(self) -> &'a NodeVec<NodeView> {
        self.deployment
    }

    /// Returns the upstream of a node.
    pub(crate) fn upstream(self, index: NodeIndex) -> ShardUpstream {
        match self.deployment[index].upstream {
            Upstream::Nothing => ShardUpstream::Nothing,
            Upstream::Node(upstream) if self.members.binary_search(&upstream).is_ok() => {
                ShardUpstream::Node(upstream)
            }
            Upstream::Node(_) | Upstream::Unknown(_) => ShardUpstream::Outside,
        }
    }
}

impl Index<NodeIndex> for ShardNodes<'_> {
    type Output = NodeView;

    fn index(&self, index: NodeIndex) -> &NodeView {
        &self.deployment[index]
    }
}
