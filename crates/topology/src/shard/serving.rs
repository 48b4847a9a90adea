//! Availability of a shard for writes and reads.

use snapshot::Reason;

use crate::model::node_index::NodeIndex;
use crate::model::node_state::NodeState;
use crate::model::refusals::refuses;
use crate::shard::nodes::ShardNodes;

/// Returns true if all primaries that reply accept writes; `None` if none replies, and if none
/// refuses writes but a CLIENT PAUSE may last.
pub(crate) fn writable(nodes: ShardNodes<'_>, primaries: &[NodeIndex]) -> Option<bool> {
    let mut answering = primaries
        .iter()
        .map(|primary| &nodes[*primary])
        .filter(|node| node.snapshot().is_some())
        .peekable();
    answering.peek()?;
    let (mut refuse, mut may_wait) = (false, false);
    for node in answering {
        refuse |= refuses(&node.writes_refused);
        may_wait |= node.pause.commanded.is_some();
    }
    if may_wait && !refuse { None } else { Some(!refuse) }
}

/// Returns true if a script blocks the last primary: it replies with BUSY only.
pub(crate) fn is_blocked(nodes: ShardNodes<'_>, last: Option<NodeIndex>) -> bool {
    last.is_some_and(|last| nodes[last].presence.failure() == Some(Reason::Busy))
}

/// Returns true if some node serves reads; `None` if no node replies.
pub(crate) fn readable(nodes: ShardNodes<'_>) -> Option<bool> {
    let mut answering = nodes
        .values()
        .filter(|node| node.presence == NodeState::Up && !node.reads_refused.is_empty())
        .peekable();
    answering.peek()?;
    Some(answering.any(|node| !refuses(&node.reads_refused)))
}
