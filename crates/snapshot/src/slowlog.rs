//! The slow log: its length and its newest entry.
//!
//! The logged commands are never kept, because their arguments may contain secrets.

use std::time::Duration;

use crate::Reply;

/// Length and newest entry of the slow log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlowLog {
    /// Number of entries. SLOWLOG LEN.
    pub length: Option<u64>,
    /// ID of the newest entry, which increases with each entry, and the execution time of the
    /// command. SLOWLOG GET 1; `None` when the log is empty.
    pub last: Option<(u64, Duration)>,
}

impl SlowLog {
    /// Parses the replies to `SLOWLOG LEN` and `SLOWLOG GET 1`.
    pub fn parse(length: &Reply, last: &Reply) -> Self {
        let count = |reply: &Reply| reply.integer()?.try_into().ok();
        let entry = |reply: &Reply| {
            Some((
                count(reply.items().first()?)?,
                Duration::from_micros(count(reply.items().get(2)?)?),
            ))
        };
        SlowLog { length: count(length), last: last.items().first().and_then(entry) }
    }
}
