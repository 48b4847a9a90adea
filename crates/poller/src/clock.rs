//! Source of time. No other module reads a clock.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Clock with monotonic time and wall time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

#[expect(clippy::disallowed_methods, reason = "only this module reads time")]
impl Clock {
    /// Creates a clock that starts now.
    pub fn start() -> Self {
        Clock { started: Instant::now() }
    }

    /// Returns the monotonic time.
    pub fn now(self) -> Instant {
        Instant::now()
    }

    /// Returns the monotonic time from the start of the clock to `instant`.
    pub fn elapsed(self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.started)
    }

    /// Returns the next instant that is `phase` plus a multiple of `interval` after the start.
    pub fn next(self, phase: Duration, interval: Duration) -> Instant {
        let since = self.elapsed(self.now()).saturating_sub(phase);
        let intervals = u32::try_from(since.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX);
        self.started + phase + interval * intervals.saturating_add(1)
    }

    /// Returns the wall time, for display only.
    pub fn wall(self) -> SystemTime {
        SystemTime::now()
    }
}
