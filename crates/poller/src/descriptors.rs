//! File descriptors of this process.

/// Open file descriptors, and the most that may be open.
#[cfg(target_os = "linux")]
pub(crate) fn descriptors() -> Option<(u64, u64)> {
    let process = procfs::process::Process::myself().ok()?;
    match process.limits().ok()?.max_open_files.soft_limit {
        procfs::process::LimitValue::Value(limit) => Some((process.fd_count().ok()? as u64, limit)),
        procfs::process::LimitValue::Unlimited => None,
    }
}

/// Open file descriptors, and the most that may be open; `None` where the system does not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn descriptors() -> Option<(u64, u64)> {
    None
}
