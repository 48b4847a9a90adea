//! Tracker of periods without a primary. A single missed poll is no evidence.

use std::time::Duration;

use crate::limits::{MAX_ACCRUED_INTERVALS, REPLACEMENT_SETTLES_WITHIN};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::NodeIndex;
use crate::model::node_state::NodeState;
use crate::model::shard::{NoPrimaryReason, NoPrimaryView};
use crate::shard::context::ShardContext;
use crate::shard::nodes::ShardNodes;

/// Tracks the periods without a primary.
#[derive(Debug, Default)]
pub(crate) struct NoPrimaryTracker {
    view: NoPrimaryView,
    /// Monotonic time of the last round without a primary.
    last_seen: Monotonic,
    /// The first round in which all nodes were replicas.
    first: Option<FirstSighting>,
}

/// A round that showed an unconfirmed loss of the primary.
#[derive(Debug, Clone, Copy)]
struct FirstSighting {
    at: Monotonic,
    /// Time that the round may add to the total.
    accrued: Duration,
}

/// Presence of a primary in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrimaryPresence {
    /// There is a primary, or Rolecall itself cannot read the node.
    Present,
    /// Unknown: the previous state stays.
    Unknown,
    /// There is none, for this reason.
    Lost(NoPrimaryReason),
}

impl NoPrimaryTracker {
    /// Processes one round.
    pub(crate) fn observe(&mut self, presence: PrimaryPresence, context: &ShardContext<'_>) {
        let (now, interval) = (context.now(), context.interval());
        let current = FirstSighting { at: now, accrued: context.accrued };
        let view = &mut self.view;
        match presence {
            PrimaryPresence::Unknown => {}
            PrimaryPresence::Present => (view.why, self.first) = (None, None),
            // The nodes do not reply at the same moment: a switch of roles may look like this for
            // one round.
            PrimaryPresence::Lost(NoPrimaryReason::Loop | NoPrimaryReason::AllReplicas)
                if view.why.is_none() && self.first.is_none() =>
            {
                self.first = Some(current);
            }
            PrimaryPresence::Lost(why) => {
                if view.why.is_none() {
                    let first = self.first.take().unwrap_or(current);
                    view.since = first.at;
                    self.last_seen = first.at.saturating_sub(first.accrued.min(interval));
                }
                view.total += now.since(self.last_seen).min(interval * MAX_ACCRUED_INTERVALS);
                view.why = Some(why);
                self.last_seen = now;
            }
        }
    }

    /// Returns the periods so far.
    pub(crate) fn view(&self) -> NoPrimaryView {
        self.view
    }
}

/// Numbers of data nodes of a shard in one round.
#[derive(Default)]
struct Availability {
    total: usize,
    /// Nodes whose state is not decided yet.
    undecided: usize,
    up: usize,
    /// Nodes that only Rolecall cannot reach or read.
    hidden: usize,
    /// Nodes that are known to have run.
    lived: usize,
    /// Nodes that do not reply.
    absent: usize,
}

/// Returns the presence of a primary in a round in which no node may be the primary. `last` is the
/// last known primary.
pub(crate) fn primary_presence(
    nodes: ShardNodes<'_>,
    replication_loop: &[NodeIndex],
    last: Option<NodeIndex>,
    context: &ShardContext<'_>,
) -> PrimaryPresence {
    let availability = availability(nodes, context);
    if availability.lived == 0 || availability.undecided > 0 {
        PrimaryPresence::Unknown
    } else if availability.hidden > 0 && !last.is_some_and(|last| nodes[last].is_absent()) {
        // A node that only Rolecall cannot read may be the primary.
        PrimaryPresence::Present
    } else if availability.up + availability.hidden == 0 {
        PrimaryPresence::Lost(NoPrimaryReason::AllDown)
    } else if !replication_loop.is_empty() {
        PrimaryPresence::Lost(NoPrimaryReason::Loop)
    } else if availability.absent > 0 {
        PrimaryPresence::Lost(NoPrimaryReason::PrimaryDown)
    } else {
        PrimaryPresence::Lost(NoPrimaryReason::AllReplicas)
    }
}

/// Returns true if another server took the place of a node a short time ago.
fn was_replaced_recently(node: &NodeView, now: Monotonic) -> bool {
    let replaced_at = node.process.replaced_at;
    replaced_at.is_some_and(|at| now.since(at) < REPLACEMENT_SETTLES_WITHIN)
}

fn availability(nodes: ShardNodes<'_>, context: &ShardContext<'_>) -> Availability {
    let mut availability = Availability::default();
    for (index, node) in nodes.iter().filter(|(_, node)| node.holds_data()) {
        availability.total += 1;
        availability.lived += usize::from(node.polling.lived);
        let is_undecided = match node.presence {
            NodeState::Pending if node.was_never_reached() => {
                availability.absent += 1;
                false
            }
            NodeState::Pending => true,
            NodeState::Up => {
                availability.up += 1;
                // A node with an unknown role may be the primary. So may the server whose place
                // another one took.
                !context.answered(index)
                    || node.role().is_none()
                    || was_replaced_recently(node, context.now())
            }
            NodeState::Unreachable { .. } | NodeState::Unreadable { .. } => {
                availability.hidden += 1;
                false
            }
            NodeState::Down { .. } => {
                availability.absent += 1;
                node.polling.silence < context.deployment.down_after
            }
        };
        availability.undecided += usize::from(is_undecided);
    }
    availability
}
