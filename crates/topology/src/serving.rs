//! Fact: whether the deployment takes writes, and whether it serves reads.

use crate::refusals::Refusals;
use crate::{NodeView, Presence};

/// Whether the known primary takes writes; `None` while that is unknown.
pub(crate) fn writable(nodes: &[NodeView], primary: Option<usize>) -> Option<bool> {
    let primary = &nodes[primary?];
    primary.snapshot()?;
    Some(!refuses(&primary.writes_refused))
}

/// Whether any node serves reads; `None` while none answers.
pub(crate) fn readable(nodes: &[NodeView]) -> Option<bool> {
    let mut answering = nodes.iter().filter(|node| node.presence == Presence::Up && !node.reads_refused.is_empty()).peekable();
    answering.peek()?;
    Some(answering.any(|node| !refuses(&node.reads_refused)))
}

pub(crate) fn refuses(refusals: &Refusals) -> bool {
    refusals.iter().any(|(_, holds)| *holds)
}
