//! File descriptors of this process.

use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::Failure;
use rustix::io::Errno;
use snapshot::Reason;
use tokio::time::Instant;

/// File descriptors that are reserved for scrapes.
const RESERVED: u64 = 64;

/// Age from which on the open file descriptors are counted again. Counting them reads an entry for
/// each, which ten thousand connection attempts must not do ten thousand times.
const MAX_AGE: Duration = Duration::from_millis(100);

/// File descriptors of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileDescriptors {
    /// Open file descriptors.
    open: u64,
    /// Soft limit of open file descriptors.
    limit: u64,
}

/// Last count of the file descriptors of this process.
#[derive(Debug, Default)]
pub(crate) struct DescriptorCount(Mutex<Option<Counted>>);

/// File descriptors at one time.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Instant,
    descriptors: FileDescriptors,
    /// Connection attempts since then. Each may have opened one more.
    attempts: u64,
}

impl DescriptorCount {
    /// Checks if there is a file descriptor for one more connection attempt.
    ///
    /// # Errors
    /// Too many are open, with those of the attempts in progress.
    pub(crate) fn check(&self, connecting: u64, now: Instant) -> Result<(), Failure> {
        // Without a free descriptor, the number of open ones is unknown.
        exhaustion().map_or(Ok(()), Err)?;
        let Some(FileDescriptors { open, limit }) = self.excess(connecting, now, descriptors)
        else {
            return Ok(());
        };
        let problem = format!(
            "{open} of {limit} file descriptors are open, and {RESERVED} are reserved for scrapes: \
             raise the limit"
        );
        Err(Failure::new(Reason::Local, problem))
    }

    /// Returns the counted descriptors if too many are open. Counts them if the last count is old,
    /// or if the attempts since then may have opened too many.
    fn excess(
        &self,
        connecting: u64,
        now: Instant,
        count: impl FnOnce() -> Option<FileDescriptors>,
    ) -> Option<FileDescriptors> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_valid = |last: &Counted| {
            now.saturating_duration_since(last.at) < MAX_AGE && !last.is_exceeded(connecting)
        };
        if !last.as_ref().is_some_and(is_valid) {
            *last = count().map(|descriptors| Counted { at: now, descriptors, attempts: 0 });
        }
        let counted = last.as_mut()?;
        let is_exceeded = counted.is_exceeded(connecting);
        counted.attempts += 1;
        is_exceeded.then_some(counted.descriptors)
    }
}

impl Counted {
    fn is_exceeded(&self, connecting: u64) -> bool {
        let FileDescriptors { open, limit } = self.descriptors;
        open + self.attempts + connecting + RESERVED > limit
    }
}

/// Returns the file descriptors of this process; `None` if there is no limit or it is unknown.
#[cfg(target_os = "linux")]
fn descriptors() -> Option<FileDescriptors> {
    let process = procfs::process::Process::myself().ok()?;
    match process.limits().ok()?.max_open_files.soft_limit {
        procfs::process::LimitValue::Value(limit) => {
            Some(FileDescriptors { open: process.fd_count().ok()? as u64, limit })
        }
        procfs::process::LimitValue::Unlimited => None,
    }
}

/// Returns `None`: this platform provides no such counts.
#[cfg(not(target_os = "linux"))]
fn descriptors() -> Option<FileDescriptors> {
    None
}

/// File descriptors that are needed to count the open ones and to connect.
const NEEDED: usize = 4;

/// Returns a failure if this process or its system has too few free file descriptors to connect.
pub(crate) fn exhaustion() -> Option<Failure> {
    let opened: std::io::Result<Vec<File>> = (0..NEEDED).map(|_| File::open("/")).collect();
    let error = opened.err()?;
    matches!(Errno::from_io_error(&error)?, Errno::MFILE | Errno::NFILE)
        .then(|| Failure::new(Reason::Local, error.to_string()))
}

/// Returns the cause of a failure to connect. A name lookup without a free file descriptor fails as
/// if the name did not exist, which would be a statement about the server.
pub(crate) fn cause(failure: Failure) -> Failure {
    if failure.reason == Reason::Dns { exhaustion().unwrap_or(failure) } else { failure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn descriptors_are_counted_again_when_needed() {
        let (last, now) = (DescriptorCount::default(), Clock::start().now());
        let mut counts = 0;
        let mut excess = |open: u64, connecting: u64, millis: u64| {
            let now = now + Duration::from_millis(millis);
            let count = || {
                counts += 1;
                Some(FileDescriptors { open, limit: 1000 })
            };
            (last.excess(connecting, now, count).map(|excess| excess.open), counts)
        };
        assert_eq!(excess(100, 1, 0), (None, 1));
        assert_eq!(excess(900, 10, 99), (None, 1), "a young count");
        assert_eq!(excess(900, 36, 100), (None, 2), "1,000 with the reserved ones");
        assert_eq!(excess(900, 36, 101), (None, 3), "one attempt since the last count");
        assert_eq!(excess(901, 36, 102), (Some(901), 4));
        assert_eq!(excess(500, 36, 103), (None, 5));
    }
}
