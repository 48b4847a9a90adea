//! What the exporter knows of itself.

use std::time::{Duration, SystemTime};

/// What the exporter knows of itself at the time of a scrape.
#[derive(Debug, Clone)]
pub struct ExporterView {
    /// What is running.
    pub build: Build,
    /// The last attempt to read the configuration, and the last good one.
    pub reload: Reload,
    /// Commands sent to servers, by name.
    pub commands: Vec<(&'static str, u64)>,
    /// Deployments that are polled.
    pub deployments: usize,
    /// Where people reach its pages, if that is configured.
    pub external_url: Option<String>,
    /// Tasks of the runtime that are alive.
    pub tasks: usize,
    /// The process, where the system tells.
    pub process: Option<ProcessFigures>,
}

/// What is running.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// Version of this program.
    pub version: &'static str,
    /// Commit it was built from.
    pub revision: &'static str,
    /// Version of the compiler.
    pub rustc: &'static str,
}

/// How reading the configuration went.
#[derive(Debug, Clone, Copy)]
pub struct Reload {
    /// The last attempt succeeded.
    pub successful: bool,
    /// When the running configuration was read.
    pub succeeded_at: SystemTime,
}

/// The standard figures about a process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessFigures {
    /// Processor time spent, user and system.
    pub cpu: Duration,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The most file descriptors it may open; `None` without a limit.
    pub max_fds: Option<u64>,
    /// Size of the address space, bytes.
    pub virtual_memory: u64,
    /// The largest address space it may have, bytes; `None` without a limit.
    pub virtual_memory_max: Option<u64>,
    /// Memory in use, bytes.
    pub resident_memory: u64,
    /// When it started, since the Unix epoch.
    pub started: Duration,
    /// Threads of the system.
    pub threads: u64,
}
