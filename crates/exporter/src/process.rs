//! Statistics of this process, from the operating system.

use catalog::ProcessFigures;

/// Reads the statistics of this process. `None` where the operating system has none.
#[cfg(target_os = "linux")]
pub(crate) fn figures() -> Option<ProcessFigures> {
    use std::time::Duration;

    use procfs::process::{LimitValue, Process};

    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let limits = process.limits().ok()?;
    let limit = |value| match value {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    };
    let ticks =
        |ticks: u64| Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64);
    let booted = Duration::from_secs(procfs::boot_time_secs().ok()?);
    Some(ProcessFigures {
        cpu: ticks(stat.utime + stat.stime),
        open_fds: process.fd_count().ok()? as u64,
        max_fds: limit(limits.max_open_files.soft_limit),
        virtual_memory: stat.vsize,
        virtual_memory_max: limit(limits.max_address_space.soft_limit),
        resident_memory: stat.rss * procfs::page_size(),
        started: booted + ticks(stat.starttime),
        threads: u64::try_from(stat.num_threads).ok()?,
    })
}

/// Reads the statistics of this process. `None` where the operating system has none.
#[cfg(not(target_os = "linux"))]
pub(crate) fn figures() -> Option<ProcessFigures> {
    None
}
