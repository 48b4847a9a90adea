//! Tracker of split brains: several nodes claim to be master of one data set.

use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;
use crate::model::shard::SplitBrainView;
use crate::shard::context::ShardContext;

/// Tracks the split brain of a shard.
#[derive(Debug, Default)]
pub(crate) struct SplitBrainTracker {
    view: SplitBrainView,
    /// There was a round before this one.
    has_observed: bool,
    /// Monotonic time at which all of the masters last replied.
    last_confirmed: Monotonic,
}

impl SplitBrainTracker {
    /// Processes the masters of one round that share a history. Time accumulates only while all of
    /// them reply.
    pub(crate) fn observe(&mut self, masters: &[NodeIndex], context: &ShardContext<'_>) {
        let view = &mut self.view;
        let is_first = !std::mem::replace(&mut self.has_observed, true);
        let (now, interval) = (context.now(), context.interval());
        if !masters.is_empty() {
            let confirmed = masters.iter().all(|master| context.answered(*master));
            if view.masters.is_empty() {
                // A master that missed this poll may have been demoted in the meantime.
                if !confirmed {
                    return;
                }
                view.began_before_start = is_first;
                view.since = now;
                self.last_confirmed = now.saturating_sub(context.accrued.min(interval));
            }
            if confirmed {
                view.total += now.since(self.last_confirmed).min(interval * MAX_ACCRUED_INTERVALS);
                self.last_confirmed = now;
            }
        }
        masters.clone_into(&mut view.masters);
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.view.masters.retain(|master| *master != index);
    }

    /// Returns the split brain after the last round.
    pub(crate) fn view(&self) -> &SplitBrainView {
        &self.view
    }
}
