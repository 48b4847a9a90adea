//! File descriptors of this process.

use std::fs::File;

use client::Failure;
use rustix::io::Errno;
use snapshot::Reason;

/// File descriptors of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileDescriptors {
    /// Open file descriptors.
    pub(crate) open: u64,
    /// Soft limit of open file descriptors.
    pub(crate) limit: u64,
}

/// Returns the file descriptors of this process; `None` if there is no limit or it is unknown.
#[cfg(target_os = "linux")]
pub(crate) fn descriptors() -> Option<FileDescriptors> {
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
pub(crate) fn descriptors() -> Option<FileDescriptors> {
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
