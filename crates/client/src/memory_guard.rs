//! Limits for waiting on a server: time, and memory growth of this process.
//!
//! fred reads each reply and each message into memory as a whole, without a limit of its size. An
//! endless reply would exhaust the memory. The functions here watch the growth of the process while
//! a reply or message is pending.

use std::time::Duration;

use snapshot::Reason;
use tokio::time::sleep;

use crate::Failure;

/// Time that a connection is kept without a reply. A reply that arrives later than the deadline of
/// a round, but within this time, is still used.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// Interval between two checks while a reply is pending.
const REPLY_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Maximum growth of the process while a reply is pending, bytes.
const MAX_GROWTH: u64 = 64 << 20;

/// Interval between two checks while a subscription waits for messages.
const MESSAGE_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Time without growth after which earlier growth no longer counts.
const QUIET_PERIOD: Duration = Duration::from_secs(10);

/// Waits for a reply, within the limits of time and memory growth.
pub(crate) async fn within_limits<T>(
    reply: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        reply = reply => reply,
        grown = excessive_growth() => Err(Failure::new(
            Reason::Toolarge,
            format!("reply too large: memory grew by {grown} bytes before the reply ended"),
        )),
        () = sleep(REPLY_LIMIT) => {
            Err(Failure::new(Reason::Timeout, format!("no reply within {REPLY_LIMIT:?}")))
        }
    }
}

/// Waits until the process has grown by more than [`MAX_GROWTH`]. Returns the growth in bytes.
///
/// Most replies arrive before the first check, so a healthy node causes no check.
async fn excessive_growth() -> u64 {
    let mut before = None;
    loop {
        sleep(REPLY_CHECK_INTERVAL).await;
        let now = resident_memory();
        let grown = now
            .zip(*before.get_or_insert(now))
            .map_or(0, |(now, before)| now.saturating_sub(before));
        if grown > MAX_GROWTH {
            return grown;
        }
    }
}

/// Waits until the process has grown by more than twice [`MAX_GROWTH`] without a quiet period.
/// Returns the growth in bytes.
///
/// An endless message causes growth without pauses. Growth with pauses does not count, because a
/// subscription may wait for messages without a time limit. The limit is twice that of a reply: if
/// a reply is pending at the same time, it is the more likely cause.
pub(crate) async fn sustained_growth() -> u64 {
    let (mut lowest, mut highest, mut quiet) = (None, None, Duration::ZERO);
    loop {
        let now = resident_memory();
        if now > highest {
            (highest, quiet) = (now, Duration::ZERO);
        }
        if lowest.is_none() || now < lowest || quiet >= QUIET_PERIOD {
            (lowest, highest, quiet) = (now, now, Duration::ZERO);
        }
        let grown = now.zip(lowest).map_or(0, |(now, lowest)| now.saturating_sub(lowest));
        if grown > 2 * MAX_GROWTH {
            return grown;
        }
        sleep(MESSAGE_CHECK_INTERVAL).await;
        quiet += MESSAGE_CHECK_INTERVAL;
    }
}

/// Returns the resident memory of this process, bytes.
#[cfg(target_os = "linux")]
fn resident_memory() -> Option<u64> {
    let pages = procfs::process::Process::myself().ok()?.statm().ok()?.resident;
    Some(pages * procfs::page_size())
}

/// Returns `None`: the memory is measured only on Linux.
#[cfg(not(target_os = "linux"))]
fn resident_memory() -> Option<u64> {
    None
}
