//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// Waits until `probe` gives something, and returns it with the time that took.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the one place where tests wait")]
pub fn eventually<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> (T, Duration) {
    let begun = Stopwatch::start();
    loop {
        if let Some(found) = probe() {
            return (found, begun.elapsed());
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
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
