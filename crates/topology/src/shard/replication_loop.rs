//! Tracker of replication loops.

use crate::model::node_index::NodeIndex;
use crate::shard::nodes::{ShardNodes, ShardUpstream};

/// Tracks the nodes that replicate in a circle.
///
/// The nodes do not reply at the same moment, so a loop is confirmed when two rounds show it. A
/// loop whose nodes miss a poll is kept.
#[derive(Debug, Default)]
pub(crate) struct LoopTracker {
    /// The loop when all of its nodes last replied.
    last_seen: Vec<NodeIndex>,
    /// Nodes that were in a loop twice in a row.
    confirmed: Vec<NodeIndex>,
}

impl LoopTracker {
    /// Processes one round and returns the confirmed loop.
    pub(crate) fn observe(
        &mut self,
        nodes: ShardNodes<'_>,
        answered: impl Fn(NodeIndex) -> bool,
    ) -> Vec<NodeIndex> {
        let found = find_loop(nodes);
        if found.iter().all(|index| answered(*index)) {
            self.confirmed =
                found.iter().copied().filter(|index| self.last_seen.contains(index)).collect();
            self.last_seen = found;
        }
        self.confirmed.clone()
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.last_seen.retain(|other| *other != index);
        self.confirmed.retain(|other| *other != index);
    }
}

/// Returns the nodes that replicate in a circle.
fn find_loop(nodes: ShardNodes<'_>) -> Vec<NodeIndex> {
    let in_loop = |start: &NodeIndex| {
        let mut current = *start;
        for _ in 0..nodes.len() {
            match nodes.upstream(current) {
                ShardUpstream::Node(upstream) if upstream == *start => return true,
                ShardUpstream::Node(upstream) => current = upstream,
                ShardUpstream::Nothing | ShardUpstream::Outside => return false,
            }
        }
        false
    };
    nodes.indices().filter(in_loop).collect()
}
