//! Tracker of the errors and topology commands of a node.
//!
//! The counters grow with those of the server, without the commands of Rolecall itself. They
//! neither fall when the server restarts nor jump when the exporter restarts.

use std::sync::Arc;

use snapshot::{CommandStats, ErrorStats, NodeSnapshot, Role};

use crate::model::counters::{Counters, TOPOLOGY_COMMANDS, increase, saturating_sum, succeeded};
use crate::model::round::{NodeReply, OwnErrors};
use crate::node::process::ProcessChange;

/// Tracks the counters of one node.
#[derive(Debug, Default)]
pub(crate) struct CountersTracker {
    counters: Arc<Counters>,
    /// Counters of the server in the last reply.
    errors: Option<ErrorStats>,
    error_replies: Option<u64>,
    commands: Option<Arc<CommandStats>>,
    /// Errors of Rolecall in the last reply that the server had not counted yet. Replies to
    /// different connections may overtake each other, so the next reply may count them.
    uncounted: OwnErrors,
    uncounted_replies: u64,
}

impl CountersTracker {
    /// Processes one reply. `snapshot` is the one of the reply without the values of labels that
    /// exceed the limit.
    pub(crate) fn observe(
        &mut self,
        reply: &NodeReply,
        snapshot: &NodeSnapshot,
        process_change: ProcessChange,
    ) {
        match process_change {
            ProcessChange::Same => {}
            ProcessChange::Restarted => self.restart(),
            ProcessChange::Replaced => {
                *self = CountersTracker {
                    counters: Arc::clone(&self.counters),
                    ..CountersTracker::default()
                }
            }
        }
        // A server may refuse the command statistics. Counters that cannot grow are not exported.
        let counts_topology =
            snapshot.commands.is_some() && snapshot.replication.role != Some(Role::Sentinel);
        if self.counters.counts_topology != counts_topology {
            Arc::make_mut(&mut self.counters).counts_topology = counts_topology;
        }
        self.count_errors(&snapshot.errors, &reply.own_errors);
        self.count_replies(snapshot, &reply.own_errors);
        if reply.commands_read {
            self.count_commands(snapshot);
        }
    }

    /// Returns the counters.
    pub(crate) fn view(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// A new process counts from zero, so all of its counts are new.
    fn restart(&mut self) {
        self.errors = Some(ErrorStats::Unsupported);
        self.error_replies = Some(0);
        self.commands = Some(Arc::default());
        (self.uncounted, self.uncounted_replies) = (OwnErrors::new(), 0);
    }

    fn count_errors(&mut self, now: &ErrorStats, own: &OwnErrors) {
        let ErrorStats::Counts { by_code, overflow } = now else {
            if self.counters.has_error_table {
                Arc::make_mut(&mut self.counters).has_error_table = false;
            }
            self.errors = Some(now.clone());
            return;
        };
        if !self.counters.has_error_table {
            let counters = Arc::make_mut(&mut self.counters);
            counters.has_error_table = true;
            counters.watch_errors(ErrorStats::WATCHED);
        }
        if self.errors.as_ref() == Some(now) {
            self.uncounted.clone_from(own);
            return;
        }
        // In the first reply nothing is new. After the server emptied its table everything is.
        let is_first = self.errors.is_none();
        let before = self.errors.take().unwrap_or_default();
        let counters = Arc::make_mut(&mut self.counters);
        let earlier = std::mem::take(&mut self.uncounted);
        if !is_first {
            self.uncounted.clone_from(own);
        }
        for (code, count) in by_code {
            let own = own.get(code).copied().unwrap_or_default();
            let earlier = earlier.get(code).copied().unwrap_or_default();
            let (mut grown, mut uncounted) = (0, 0);
            if !is_first {
                let before = before.count(code).unwrap_or_default();
                (grown, uncounted) = increase_without(own, earlier, before, *count);
            }
            counters.add_errors(code, grown);
            if uncounted > 0 {
                self.uncounted.insert(code.clone(), uncounted);
            } else if own > 0 {
                self.uncounted.remove(code);
            }
        }
        if !is_first {
            let overflow_before =
                if let ErrorStats::Counts { overflow, .. } = before { overflow } else { 0 };
            counters.add_overflow(increase(overflow_before, *overflow));
        }
        self.errors = Some(now.clone());
    }

    fn count_replies(&mut self, snapshot: &NodeSnapshot, own: &OwnErrors) {
        let now = snapshot.fields.count("total_error_replies");
        let own = saturating_sum(own.values().copied());
        if now == self.error_replies && now.is_some() == self.counters.error_replies.is_some() {
            self.uncounted_replies = own;
            return;
        }
        let earlier = std::mem::take(&mut self.uncounted_replies);
        let grown = match (self.error_replies, now) {
            (Some(before), Some(now)) => {
                let (grown, uncounted) = increase_without(own, earlier, before, now);
                self.uncounted_replies = uncounted;
                grown
            }
            _ => 0,
        };
        self.error_replies = now;
        let counters = Arc::make_mut(&mut self.counters);
        let before = counters.error_replies.unwrap_or_default();
        counters.error_replies = now.map(|_| before.saturating_add(grown));
    }

    fn count_commands(&mut self, snapshot: &NodeSnapshot) {
        let Some(now) = &snapshot.commands else { return };
        if let Some(before) = &self.commands {
            for (position, (_, name)) in TOPOLOGY_COMMANDS.iter().enumerate() {
                let grown = increase(succeeded(before, name), succeeded(now, name));
                if grown > 0 {
                    let counted = &mut Arc::make_mut(&mut self.counters).topology[position];
                    *counted = counted.saturating_add(grown);
                }
            }
        }
        self.commands = Some(Arc::clone(now));
    }
}

/// Returns the increase of a counter of errors without those of Rolecall, and the number of the own
/// errors that the server has not counted yet. `earlier` is that number in the reply before.
fn increase_without(own: u64, earlier: u64, before: u64, now: u64) -> (u64, u64) {
    // The errors before a reset are gone.
    let earlier = if now < before { 0 } else { earlier };
    let (grown, expected) = (increase(before, now), own.saturating_add(earlier));
    (grown.saturating_sub(expected), expected.saturating_sub(grown).min(own))
}
