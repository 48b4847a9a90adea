//! Fact: a node turns others away for their credentials, lately.

use std::time::Duration;

use crate::Counters;

/// The codes with which a server turns somebody away.
pub const ACCESS_CODES: [&str; 3] = ["NOAUTH", "WRONGPASS", "NOPERM"];

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    total: Option<u64>,
    risen: Option<Duration>,
}

impl Memory {
    /// Takes up the counters of one answer. Gives the monotonic time at which they last rose.
    pub(crate) fn apply(&mut self, counters: &Counters, elapsed: Duration) -> Option<Duration> {
        let now = counters.errors().map(|errors| errors.filter(|(code, _)| ACCESS_CODES.contains(code)).map(|(_, total)| total).sum());
        if matches!((self.total, now), (Some(before), Some(now)) if now > before) {
            self.risen = Some(elapsed);
        }
        self.total = now;
        self.risen
    }
}
