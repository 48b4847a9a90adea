//! Times and durations as numbers of nanoseconds.

use std::time::{Duration, SystemTime};

/// Returns a duration as nanoseconds, at most about 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a wall time as nanoseconds since the Unix epoch; 0 before it.
pub(crate) fn wall_nanos(at: SystemTime) -> u64 {
    nanos(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Returns the wall time of a number of nanoseconds since the Unix epoch.
pub(crate) fn wall(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}
