//! Fact: no node is primary, on evidence. A node that was silent for a moment is no evidence.

use std::time::Duration;

use snapshot::Role;

use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::presence::is_absence;
use crate::{NodeView, Presence};

/// Why no node is primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPrimary {
    /// No node answers.
    AllDown,
    /// The nodes follow one another in a circle.
    Loop,
    /// The last primary does not answer, and no other node claims to be master.
    PrimaryDown,
    /// All nodes answer, and all follow another.
    AllReplicas,
}

/// Whether there is no primary, and for how long there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoPrimaryView {
    /// Why, while there is none.
    pub why: Option<NoPrimary>,
    /// Monotonic time at which it was lost; of the last time, once there is one again.
    pub since: Duration,
    /// All the time that this was seen, since the exporter started.
    pub total: Duration,
}

/// What the fact remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    view: NoPrimaryView,
    seen: Duration,
}

/// What one round says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A node claims to be master.
    Claimed,
    /// Nothing that would change what was known.
    Unknown,
    /// None does, for this reason.
    Lost(NoPrimary),
}

impl NoPrimary {
    /// The value of `why` in events and documents.
    pub const fn label(self) -> &'static str {
        match self {
            NoPrimary::AllDown => "all_down",
            NoPrimary::Loop => "loop",
            NoPrimary::PrimaryDown => "primary_down",
            NoPrimary::AllReplicas => "all_replicas",
        }
    }
}

impl Memory {
    pub(crate) fn apply(&mut self, sight: Sight, elapsed: Duration, accrued: Duration, interval: Duration) {
        let view = &mut self.view;
        match sight {
            Sight::Unknown => {}
            Sight::Claimed => view.why = None,
            Sight::Lost(why) => {
                if view.why.is_none() {
                    view.since = elapsed;
                    self.seen = elapsed.saturating_sub(accrued.min(interval));
                }
                view.total += elapsed.saturating_sub(self.seen).min(interval * MAX_ACCRUED_INTERVALS);
                view.why = Some(why);
                self.seen = elapsed;
            }
        }
    }

    pub(crate) fn view(&self) -> NoPrimaryView {
        self.view
    }
}

/// What a round says of nodes among which `masters` claim to be master. `last` is the primary so far.
pub(crate) fn find(
    nodes: &[NodeView],
    answered: &[bool],
    masters: &[usize],
    looped: &[usize],
    last: Option<usize>,
    down_after: Duration,
) -> Sight {
    if !masters.is_empty() {
        return Sight::Claimed;
    }
    let is_sentinel = |node: &NodeView| node.last.as_ref().is_some_and(|last| last.replication.role == Some(Role::Sentinel));
    let mut data_nodes = nodes.iter().zip(answered).filter(|(node, _)| !is_sentinel(node)).peekable();
    let there_are_some = data_nodes.peek().is_some();
    let settled = data_nodes.all(|(node, answered)| match node.presence {
        Presence::Pending => false,
        Presence::Up => *answered,
        Presence::Down { reason, .. } => is_absence(reason) && node.polling.silence >= down_after,
    });
    if !there_are_some || !settled {
        return Sight::Unknown;
    }
    Sight::Lost(if nodes.iter().all(|node| is_sentinel(node) || node.up() == Some(false)) {
        NoPrimary::AllDown
    } else if !looped.is_empty() {
        NoPrimary::Loop
    } else if last.is_some_and(|last| nodes[last].up() == Some(false)) {
        NoPrimary::PrimaryDown
    } else {
        NoPrimary::AllReplicas
    })
}
