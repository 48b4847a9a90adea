//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// What most times are told in.
pub const SECOND: Duration = Duration::from_secs(1);

/// Waits until `probe` gives something, and returns it with the time that took.
#[track_caller]
pub fn eventually<T>(
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> (T, Duration) {
    until_ok(limit, || probe().ok_or_else(|| what.to_owned()))
}

/// Between two looks.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The same for a probe that says what it misses; the last of that is shown when time is over.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the one place where tests wait")]
pub fn until_ok<T>(limit: Duration, mut probe: impl FnMut() -> Result<T, String>) -> (T, Duration) {
    let begun = Stopwatch::start();
    loop {
        match probe() {
            Ok(found) => return (found, begun.elapsed()),
            Err(missed) => assert!(begun.elapsed() < limit, "not within {limit:?}: {missed}"),
        }
        // Who waits for long need not look often.
        std::thread::sleep((begun.elapsed() / 20).clamp(LEAST_PAUSE, LONGEST_PAUSE));
    }
}

/// Measures time.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place where tests read time")]
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Lets time pass where the passing of time is what is tested.
#[expect(clippy::disallowed_methods, reason = "the one place where tests wait")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
