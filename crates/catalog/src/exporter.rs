//! State of the exporter itself.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use snapshot::Reason;
use topology::{DeploymentView, NodeView};

use crate::http_requests::{HttpRequests, RefusedConnections};

/// State of the exporter itself at the time of a scrape.
#[derive(Debug, Clone)]
pub struct ExporterView {
    /// Build of the running program.
    pub build: Build,
    /// Last load of the configuration.
    pub reload: Reload,
    /// Number of commands sent over established connections, by command.
    pub commands: Vec<(&'static str, u64)>,
    /// Number of deployments that are polled.
    pub deployments: usize,
    /// The exporter is cut off from the nodes.
    pub cut_off: bool,
    /// Nodes and deployments that never replied.
    pub never_reached: NeverReached,
    /// External URL of the pages (`web.external_url`).
    pub external_url: Option<String>,
    /// Requests to the web server.
    pub requests: HttpRequests,
    /// Connections to the web server that were refused.
    pub refused_connections: RefusedConnections,
    /// Number of live tasks of the async runtime.
    pub tasks: usize,
    /// Figures about the process; `None` where the operating system does not provide them.
    pub process: Option<ProcessFigures>,
}

/// Nodes and deployments that never replied, and of which nothing shows that they ever ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NeverReached {
    /// Number of nodes by the reason of the last failed poll.
    pub nodes: BTreeMap<Reason, u64>,
    /// Number of deployments in which all data nodes are such nodes.
    pub deployments: u64,
}

impl NeverReached {
    /// Counts the nodes and deployments in these views.
    pub fn count<'a>(views: impl IntoIterator<Item = &'a DeploymentView>) -> Self {
        let mut counts = NeverReached::default();
        for view in views {
            for node in view.shown().filter(|node| node.was_never_reached()) {
                if let Some(reason) = node.polling.failing {
                    *counts.nodes.entry(reason).or_default() += 1;
                }
            }
            let mut data =
                view.members().map(|(_, node)| node).filter(|node| node.holds_data()).peekable();
            let all = data.peek().is_some() && data.all(NodeView::was_never_reached);
            counts.deployments += u64::from(all);
        }
        counts
    }
}

/// Build of the running program.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// Version of the program.
    pub version: &'static str,
    /// Commit of the source.
    pub revision: &'static str,
    /// Version of the Rust compiler.
    pub rustc: &'static str,
}

/// Result of the last load of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Reload {
    /// `true` if the last attempt succeeded.
    pub successful: bool,
    /// Time of the last successful load.
    pub succeeded_at: SystemTime,
}

/// Figures of the standard `process_*` metrics.
#[derive(Debug, Clone, Copy)]
pub struct ProcessFigures {
    /// User and system CPU time.
    pub cpu: Duration,
    /// Number of open file descriptors.
    pub open_fds: u64,
    /// Limit of open file descriptors; `None` without a limit.
    pub max_fds: Option<u64>,
    /// Virtual memory size, bytes.
    pub virtual_memory: u64,
    /// Limit of the virtual memory size, bytes; `None` without a limit.
    pub virtual_memory_max: Option<u64>,
    /// Resident memory size, bytes.
    pub resident_memory: u64,
    /// Start time, since the Unix epoch.
    pub started: Duration,
    /// Number of operating system threads.
    pub threads: u64,
}
