//! Functions that wait for a condition with a timeout.

use std::time::{Duration, Instant};

/// One second, the unit of most durations in tests.
pub const SECOND: Duration = Duration::from_secs(1);

/// Waits until `probe` returns a value, and returns it with the time waited. Panics with the
/// condition `what` after `limit`.
#[track_caller]
pub fn eventually<T>(
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> (T, Duration) {
    until_ok(limit, || probe().ok_or_else(|| what.to_owned()))
}

/// Bounds of the pause between two calls of a probe.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Does the same as [`eventually`] for a probe that explains why it fails. The panic after `limit`
/// shows the last explanation.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the only place where tests wait")]
pub fn until_ok<T>(limit: Duration, mut probe: impl FnMut() -> Result<T, String>) -> (T, Duration) {
    let begun = Stopwatch::start();
    loop {
        match probe() {
            Ok(found) => return (found, begun.elapsed()),
            Err(missed) => {
                assert!(begun.elapsed() < limit, "condition not met within {limit:?}: {missed}");
            }
        }
        // Probe less often the longer the wait takes.
        std::thread::sleep((begun.elapsed() / 20).clamp(LEAST_PAUSE, LONGEST_PAUSE));
    }
}

/// Measures elapsed time.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts the measurement.
    #[expect(clippy::disallowed_methods, reason = "the only place where tests read the clock")]
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Sleeps. Only for tests that check the effect of elapsed time; other tests wait for a condition.
#[expect(clippy::disallowed_methods, reason = "the only place where tests wait")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
