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

    /// Wall time, for display only.
    pub fn wall(self) -> SystemTime {
        SystemTime::now()
    }
}
