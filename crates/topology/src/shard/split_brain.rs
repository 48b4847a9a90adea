//! Tracker of split brains: several nodes claim to be master of one data set.

use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;
use crate::model::shard::{PrimaryChange, SplitBrainView};
use crate::shard::context::ShardContext;
use crate::shard::nodes::ShardNodes;

/// Tracks the split brain of a shard.
#[derive(Debug, Default)]
pub(crate) struct SplitBrainTracker {
    view: SplitBrainView,
    /// There was a round before this one.
    has_observed: bool,
    /// Monotonic time at which several of the masters last replied.
    last_confirmed: Monotonic,
    /// The last change of the primary, until the former primary is a replica.
    change: Option<PrimaryChange>,
}

impl SplitBrainTracker {
    /// Processes the masters of one round that share a history. Time accumulates only while at
    /// least two of them reply.
    pub(crate) fn observe(&mut self, masters: &[NodeIndex], context: &ShardContext<'_>) {
        let view = &mut self.view;
        let is_first = !std::mem::replace(&mut self.has_observed, true);
        let (now, interval) = (context.now(), context.interval());
        if !masters.is_empty() {
            let answered = masters.iter().filter(|master| context.answered(**master));
            let confirmed = answered.count() > 1;
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

    /// Processes the changes of the primary whose causes this round decided. A change belongs to
    /// the split brain if its former primary is one of the masters.
    pub(crate) fn observe_changes(
        &mut self,
        resolved: &[PrimaryChange],
        nodes: ShardNodes<'_>,
        context: &ShardContext<'_>,
    ) {
        if let Some(last) = resolved.last() {
            self.change = Some(*last);
        }
        let masters = &self.view.masters;
        // The change ends when the former primary is demoted.
        self.change = self.change.filter(|change| {
            let is_demoted = context.answered(change.from) && nodes[change.from].is_replica();
            !is_demoted
        });
        let belongs =
            |change: &PrimaryChange| masters.contains(&change.from) && masters.contains(&change.to);
        self.view.cause = self.change.filter(belongs).map(|change| change.cause);
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.change = self.change.filter(|change| change.from != index && change.to != index);
        self.view.masters.retain(|master| *master != index);
    }

    /// Returns the split brain after the last round.
    pub(crate) fn view(&self) -> &SplitBrainView {
        &self.view
    }
}
