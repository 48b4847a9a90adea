//! Bounds for waiting on a server: time, and growth of this process.
//!
//! fred reads a reply as a whole and without a limit. A reply without an end would fill the memory,
//! so the growth of the process is watched while a reply is late.

use std::time::Duration;

use snapshot::Reason;
use tokio::time::sleep;

use crate::Failure;

/// How long a connection is kept without an answer. Until then a late answer is still of use.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at a reply that is late.
const CHECK: Duration = Duration::from_millis(100);

/// How much the process may grow while a reply is late, bytes. fred reads a reply whole and without a limit, so its end is watched for here.
const MAX_GROWTH: u64 = 64 << 20;

/// Time between two looks at memory while a message may come at any time.
const LOOK: Duration = Duration::from_millis(250);

/// As long as memory must not grow for what it grew before to be of no account.
const PAUSE: Duration = Duration::from_secs(10);

/// Waits for a server for as long as patience and memory last.
pub(crate) async fn within_limits<T>(
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        answer = answer => answer,
        grown = growth() => {
            Err(Failure::new(Reason::Toolarge, format!("{grown} bytes more in memory while waiting for a reply that does not end")))
        }
        () = sleep(PATIENCE) => Err(Failure::new(Reason::Timeout, format!("no answer for {PATIENCE:?}"))),
    }
}

/// Waits until the process grew by too much. Nearly every answer comes before the first look, so a healthy node costs none.
async fn growth() -> u64 {
    let mut before = None;
    loop {
        sleep(CHECK).await;
        let now = resident_memory();
        let grown = now
            .zip(*before.get_or_insert(now))
            .map_or(0, |(now, before)| now.saturating_sub(before));
        if grown > MAX_GROWTH {
            return grown;
        }
    }
}

/// Waits until the process grew by too much without a pause, as it does while a message is read that does not end. A message may be waited
/// for for ever, so growth with pauses does not count. The limit is higher than where an answer is waited for: that is the first suspect.
pub(crate) async fn endless_growth() -> u64 {
    let (mut least, mut most, mut still) = (None, None, Duration::ZERO);
    loop {
        let now = resident_memory();
        if now > most {
            (most, still) = (now, Duration::ZERO);
        }
        if least.is_none() || now < least || still >= PAUSE {
            (least, most, still) = (now, now, Duration::ZERO);
        }
        let grown = now.zip(least).map_or(0, |(now, least)| now.saturating_sub(least));
        if grown > 2 * MAX_GROWTH {
            return grown;
        }
        sleep(LOOK).await;
        still += LOOK;
    }
}

/// Memory in use, bytes.
#[cfg(target_os = "linux")]
fn resident_memory() -> Option<u64> {
    let pages = procfs::process::Process::myself().ok()?.statm().ok()?.resident;
    Some(pages * procfs::page_size())
}

/// Memory in use, bytes; `None` where the system does not tell.
#[cfg(not(target_os = "linux"))]
fn resident_memory() -> Option<u64> {
    None
}
