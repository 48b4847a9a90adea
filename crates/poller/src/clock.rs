//! The one place where time is read.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Monotonic time since the exporter started, and wall time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Clock { started: Instant::now() }
    }

    /// Monotonic time.
    pub fn now(self) -> Instant {
        Instant::now()
    }

    /// Monotonic time from the start to `instant`.
    pub fn elapsed(self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.started)
    }

    /// The next instant that is `phase` and a whole number of intervals after the start.
    pub fn next(self, phase: Duration, interval: Duration) -> Instant {
        let since = self.elapsed(self.now()).saturating_sub(phase);
        let intervals = u32::try_from(since.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX);
        self.started + phase + interval * intervals.saturating_add(1)
    }

    /// Wall time, for display only.
    pub fn wall(self) -> SystemTime {
        SystemTime::now()
    }
}
