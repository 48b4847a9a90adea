//! Tracker of recent errors: detects that the counters of some error codes rise.

use crate::model::counters::Counters;
use crate::model::monotonic::Monotonic;

/// Error codes of missing or wrong credentials and missing permissions.
pub const ACCESS_CODES: &[&str] = &["NOAUTH", "WRONGPASS", "NOPERM"];

/// Error code of commands that need more memory than `maxmemory` allows. Polling `used_memory`
/// does not show large values that are refused: their memory is free again at once.
pub(crate) const MEMORY_CODES: &[&str] = &["OOM"];

/// Tracks the counters of some error codes of one node.
#[derive(Debug, Default)]
pub(crate) struct RisingErrorsTracker {
    total: Option<u64>,
    last_rise: Option<Monotonic>,
}

impl RisingErrorsTracker {
    /// Processes the counters of one reply.
    pub(crate) fn observe(&mut self, counters: &Counters, codes: &[&str], now: Monotonic) {
        let total = counters.errors_with(codes);
        if matches!((self.total, total), (Some(before), Some(after)) if after > before) {
            self.last_rise = Some(now);
        }
        self.total = total;
    }

    /// Returns the monotonic time at which the counters last rose.
    pub(crate) fn last_rise(&self) -> Option<Monotonic> {
        self.last_rise
    }
}
