//! The slow log: how long, and its last entry. The commands in it are never kept: they may hold what is secret.

use std::time::Duration;

use crate::Reply;

/// The slow log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlowLog {
    /// Entries in it. SLOWLOG LEN.
    pub length: Option<u64>,
    /// Number of the last entry since the server started, and the time it took; `None` in an empty log. SLOWLOG GET 1.
    pub last: Option<(u64, Duration)>,
}

impl SlowLog {
    /// Reads the replies to SLOWLOG LEN and to SLOWLOG GET 1.
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
