//! File descriptors of this process.

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
