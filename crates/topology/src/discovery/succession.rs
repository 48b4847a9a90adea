//! Succession of discovered nodes: a pod that is restarted may return at another address, as a new
//! process. Neither Sentinels nor DNS names tell that it is the same pod.
//!
//! A dead node has a successor if another process started after the last reply of the dead node,
//! became a member not before that, and does the same work. Each process succeeds at most one node, so
//! that of two dead nodes with one successor one stays a member.

use snapshot::{Reason, Role};

use crate::limits::UPTIME_SLACK;
use crate::model::monotonic::Monotonic;
use crate::model::node::{LinkState, NodeView};
use crate::model::node_index::{NodeIndex, NodeVec};

/// Tracks which nodes are new and can be successors.
#[derive(Debug, Default)]
pub(crate) struct SuccessionTracker {
    /// Monotonic time at which each member became one; `None` for nodes that cannot be successors:
    /// the first members, and nodes that are successors already.
    joined: NodeVec<Option<Monotonic>>,
    /// Nodes whose process ended, as far as their hosts told: since the last reply, they closed or
    /// refused a connection. A node that is only cut off does not.
    ended: NodeVec<bool>,
}

/// A dead node and the node that took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Succession {
    pub(crate) dead: NodeIndex,
    pub(crate) successor: NodeIndex,
}

impl SuccessionTracker {
    /// Records that a node became a member.
    pub(crate) fn join(&mut self, index: NodeIndex, now: Monotonic) {
        *self.joined.get_or_grow(index) = Some(now);
    }

    /// Records that a node has left, or has taken the place of another one.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        *self.joined.get_or_grow(index) = None;
        *self.ended.get_or_grow(index) = false;
    }

    /// Reads the polls of a round.
    fn read_polls(&mut self, nodes: &NodeVec<NodeView>) {
        for (index, node) in nodes.iter() {
            let ended = self.ended.get_or_grow(index);
            *ended = match node.polling.failing {
                Some(Reason::Refused | Reason::Reset | Reason::Closed) => true,
                Some(_) => *ended,
                None => false,
            };
        }
    }

    /// Returns the successions of the round. `may_leave` are the dead nodes that their source does
    /// not consider alive.
    pub(crate) fn observe(
        &mut self,
        nodes: &NodeVec<NodeView>,
        may_leave: impl Iterator<Item = NodeIndex>,
        now: Monotonic,
    ) -> Vec<Succession> {
        self.read_polls(nodes);
        let mut dead: Vec<_> = may_leave
            .filter_map(|index| Some((nodes.get(index)?.polling.failing_since?, index)))
            .filter(|(_, index)| {
                let node = &nodes[*index];
                // A master that is cut off may still take writes, which are lost later.
                let is_dead = self.ended[*index] || node.last_role() == Some(Role::Replica);
                is_dead && is_dispensable(node, nodes)
            })
            .collect();
        if dead.is_empty() {
            return Vec::new();
        }
        // The one that died last goes first: pods are restarted one after another.
        dead.sort_unstable();
        let mut successions = Vec::new();
        for (index, joined) in self.joined.iter_mut() {
            let (Some(since), Some(node)) = (*joined, nodes.get(index)) else { continue };
            let succeeds = |(died, dead): &(Monotonic, NodeIndex)| {
                since >= *died
                    && started_after(node, *died, now)
                    && does_work_of(node, &nodes[*dead])
            };
            if let Some(position) = dead.iter().rposition(succeeds) {
                let (_, dead) = dead.remove(position);
                *joined = None;
                successions.push(Succession { dead, successor: index });
            }
        }
        successions
    }
}

/// Returns true if a dead node held data, and its work as a primary, if it was one, is done by a
/// master that replies.
pub(crate) fn is_dispensable(dead: &NodeView, nodes: &NodeVec<NodeView>) -> bool {
    match dead.last_role() {
        Some(Role::Replica) => true,
        Some(Role::Master) => nodes.values().any(|node| node.role() == Some(Role::Master)),
        Some(Role::Sentinel) | None => false,
    }
}

/// Returns true if the process of a node started after the other one died.
fn started_after(node: &NodeView, died: Monotonic, now: Monotonic) -> bool {
    let uptime = node.snapshot().and_then(|snapshot| snapshot.identity.uptime);
    uptime.is_some_and(|uptime| uptime <= now.since(died) + UPTIME_SLACK)
}

/// Returns true if a node is a synchronised replica, or a master in the place of a master.
fn does_work_of(node: &NodeView, dead: &NodeView) -> bool {
    match node.role() {
        Some(Role::Replica) => node.link.state.is_some_and(LinkState::is_connected),
        Some(Role::Master) => dead.last_role() == Some(Role::Master),
        Some(Role::Sentinel) | None => false,
    }
}
