//! Fact: no node is primary, on evidence. A node that was silent for a moment is no evidence.

use std::time::Duration;

use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::model::view::NodeView;
use crate::node::state::{NodeState, is_absence};

/// Why no node is primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPrimaryReason {
    /// No node answers.
    AllDown,
    /// The nodes follow one another in a circle.
    Loop,
    /// A node does not answer, the last primary for one, and no other claims to be master.
    PrimaryDown,
    /// All nodes answer, and all follow another.
    AllReplicas,
}

/// Whether there is no primary, and for how long there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoPrimaryView {
    /// Why, while there is none.
    pub why: Option<NoPrimaryReason>,
    /// Monotonic time at which it was lost; of the last time, once there is one again.
    pub since: Duration,
    /// All the time that this was seen, since the exporter started.
    pub total: Duration,
}

/// What the fact remembers.
#[derive(Debug, Default)]
pub(crate) struct NoPrimaryTracker {
    view: NoPrimaryView,
    seen: Duration,
    /// The first round that showed nodes which all follow another, and the time that it may add.
    first: Option<(Duration, Duration)>,
}

/// What one round says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrimaryPresence {
    /// There is one, or we are the ones who cannot see it.
    Present,
    /// Nothing that would change what was known.
    Unknown,
    /// There is none, for this reason.
    Lost(NoPrimaryReason),
}

impl NoPrimaryReason {
    /// The value of `why` in events and documents.
    pub const fn label(self) -> &'static str {
        match self {
            NoPrimaryReason::AllDown => "all_down",
            NoPrimaryReason::Loop => "loop",
            NoPrimaryReason::PrimaryDown => "primary_down",
            NoPrimaryReason::AllReplicas => "all_replicas",
        }
    }
}

impl NoPrimaryTracker {
    pub(crate) fn observe(
        &mut self,
        sight: PrimaryPresence,
        elapsed: Duration,
        accrued: Duration,
        interval: Duration,
    ) {
        let view = &mut self.view;
        match sight {
            PrimaryPresence::Unknown => {}
            PrimaryPresence::Present => (view.why, self.first) = (None, None),
            // Two replies are not of one moment: a swap of roles may look like this for one round.
            PrimaryPresence::Lost(NoPrimaryReason::Loop | NoPrimaryReason::AllReplicas)
                if view.why.is_none() && self.first.is_none() =>
            {
                self.first = Some((elapsed, accrued));
            }
            PrimaryPresence::Lost(why) => {
                if view.why.is_none() {
                    let (first, accrued) = self.first.take().unwrap_or((elapsed, accrued));
                    view.since = first;
                    self.seen = first.saturating_sub(accrued.min(interval));
                }
                view.total +=
                    elapsed.saturating_sub(self.seen).min(interval * MAX_ACCRUED_INTERVALS);
                view.why = Some(why);
                self.seen = elapsed;
            }
        }
    }

    pub(crate) fn view(&self) -> NoPrimaryView {
        self.view
    }
}

/// What a round says of nodes of which none is primary. `last` is the primary so far.
pub(crate) fn find(
    nodes: &[NodeView],
    answered: &[bool],
    looped: &[usize],
    last: Option<usize>,
    down_after: Duration,
) -> PrimaryPresence {
    let (mut some, mut waits, mut hidden, mut absent, mut answers) =
        (false, false, false, false, false);
    for (node, answered) in nodes.iter().zip(answered).filter(|(node, _)| node.holds_data()) {
        some = true;
        match node.presence {
            NodeState::Pending => waits = true,
            // One whose role is not understood may well be the primary.
            NodeState::Up => (waits, answers) = (waits || !answered || node.role().is_none(), true),
            NodeState::Down { reason, .. } if !is_absence(reason) => hidden = true,
            NodeState::Down { .. } => {
                (waits, absent) = (waits || node.polling.silence < down_after, true);
            }
        }
    }
    let last_is_gone = last.is_some_and(
        |last| matches!(nodes[last].presence, NodeState::Down { reason, .. } if is_absence(reason)),
    );
    if !some || waits {
        PrimaryPresence::Unknown
    } else if hidden && !last_is_gone {
        // A node that we cannot read may well be the primary.
        PrimaryPresence::Present
    } else if !answers && !hidden {
        PrimaryPresence::Lost(NoPrimaryReason::AllDown)
    } else if !looped.is_empty() {
        PrimaryPresence::Lost(NoPrimaryReason::Loop)
    } else if absent {
        PrimaryPresence::Lost(NoPrimaryReason::PrimaryDown)
    } else {
        PrimaryPresence::Lost(NoPrimaryReason::AllReplicas)
    }
}
