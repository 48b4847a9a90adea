//! Fact: a node refuses something for one of a few reasons, lately: its counters for them rise.

use std::time::Duration;

use crate::node::counters::Counters;

/// The codes with which a server turns somebody away for their credentials.
pub const ACCESS_CODES: &[&str] = &["NOAUTH", "WRONGPASS", "NOPERM"];

/// The code with which a server refuses what its memory has no room for. A state that is polled misses large values: once refused, their
/// memory is free again.
pub(crate) const MEMORY_CODES: &[&str] = &["OOM"];

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct RisingErrorsTracker {
    total: Option<u64>,
    risen: Option<Duration>,
}

impl RisingErrorsTracker {
    /// Takes up the counters of one answer.
    pub(crate) fn observe(&mut self, counters: &Counters, codes: &[&str], elapsed: Duration) {
        let now = counters.errors().map(|errors| {
            errors.filter(|(code, _)| codes.contains(code)).map(|(_, total)| total).sum()
        });
        if matches!((self.total, now), (Some(before), Some(now)) if now > before) {
            self.risen = Some(elapsed);
        }
        self.total = now;
    }

    /// Monotonic time at which the counters of the codes last rose.
    pub(crate) fn risen(&self) -> Option<Duration> {
        self.risen
    }
}
