//! Monotonic time.

use std::ops::{Add, AddAssign};
use std::time::Duration;

/// Monotonic time since the exporter started.
///
/// ```
/// use std::time::Duration;
/// use topology::Monotonic;
///
/// let first = Monotonic::from_start(Duration::from_secs(3));
/// let second = first + Duration::from_secs(2);
/// assert_eq!(second.since(first), Duration::from_secs(2));
/// assert_eq!(first.since(second), Duration::ZERO);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The start of the exporter.
    pub const START: Self = Monotonic(Duration::ZERO);

    /// Returns the instant that is this long after the start of the exporter.
    pub const fn from_start(elapsed: Duration) -> Self {
        Monotonic(elapsed)
    }

    /// Returns the time since the exporter started.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Monotonic) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time between two instants, whichever comes first.
    pub const fn abs_diff(self, other: Monotonic) -> Duration {
        self.0.abs_diff(other.0)
    }

    /// Returns the instant this long before, but not before the start of the exporter.
    #[must_use]
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Monotonic(self.0.saturating_sub(duration))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Monotonic(self.0.saturating_add(duration))
    }
}

impl AddAssign<Duration> for Monotonic {
    fn add_assign(&mut self, duration: Duration) {
        self.0 = self.0.saturating_add(duration);
    }
}
