//! Fact: several nodes claim to be master of one data set.

use std::time::Duration;

use crate::limits::MAX_ACCRUED_INTERVALS;

/// Whether several nodes claim to be master of one data set, and for how long they did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitBrainView {
    /// Their places; none while there is at most one.
    pub masters: Vec<usize>,
    /// Monotonic time at which it began; of the last one, once it is over.
    pub since: Duration,
    /// It was there when the exporter first looked, so it may have begun at any time before.
    pub unseen: bool,
    /// All the time that it was seen, since the exporter started.
    pub total: Duration,
}

/// What the fact remembers.
#[derive(Debug, Default)]
pub(crate) struct SplitBrainTracker {
    view: SplitBrainView,
    /// There was a round before this one.
    looked: bool,
    /// When all of the masters answered last.
    seen: Duration,
}

impl SplitBrainTracker {
    /// Takes up the masters of one data set. `answered` says that each of them answered in this round: only then time passes.
    pub(crate) fn observe(
        &mut self,
        masters: Vec<usize>,
        answered: bool,
        elapsed: Duration,
        accrued: Duration,
        interval: Duration,
    ) {
        let view = &mut self.view;
        let first = !std::mem::replace(&mut self.looked, true);
        if !masters.is_empty() {
            if view.masters.is_empty() {
                // One that is silent may have been demoted meanwhile.
                if !answered {
                    return;
                }
                view.unseen = first;
                view.since = elapsed;
                self.seen = elapsed.saturating_sub(accrued.min(interval));
            }
            if answered {
                view.total +=
                    elapsed.saturating_sub(self.seen).min(interval * MAX_ACCRUED_INTERVALS);
                self.seen = elapsed;
            }
        }
        view.masters = masters;
    }

    /// Forgets the node at a place.
    pub(crate) fn clear(&mut self, index: usize) {
        self.view.masters.retain(|master| *master != index);
    }

    pub(crate) fn view(&self) -> &SplitBrainView {
        &self.view
    }
}
