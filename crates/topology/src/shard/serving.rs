//! Fact: whether the deployment takes writes, and whether it serves reads.

use snapshot::Reason;

use crate::model::view::NodeView;
use crate::node::refusals::Refusals;
use crate::node::state::NodeState;

/// Whether the known primary takes writes, or each of several; `None` while that is unknown.
pub(crate) fn writable(nodes: &[NodeView], acting: &[usize]) -> Option<bool> {
    let mut answering = acting
        .iter()
        .map(|primary| &nodes[*primary])
        .filter(|node| node.snapshot().is_some())
        .peekable();
    answering.peek()?;
    Some(answering.all(|node| !refuses(&node.writes_refused)))
}

/// Whether a script blocks the last primary, which says so itself and nothing else.
pub(crate) fn is_blocked(nodes: &[NodeView], last: Option<usize>) -> bool {
    last.is_some_and(|last| {
        matches!(nodes[last].presence, NodeState::Down { reason: Reason::Busy, .. })
    })
}

/// Whether any node serves reads; `None` while none answers.
pub(crate) fn readable(nodes: &[NodeView]) -> Option<bool> {
    let mut answering = nodes
        .iter()
        .filter(|node| node.presence == NodeState::Up && !node.reads_refused.is_empty())
        .peekable();
    answering.peek()?;
    Some(answering.any(|node| !refuses(&node.reads_refused)))
}

pub(crate) fn refuses(refusals: &Refusals) -> bool {
    refusals.iter().any(|(_, holds)| *holds)
}
