//! Free space of the data directories that nodes have on this machine.
//!
//! Each directory has its own task, so that a hanging file system delays nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::DeploymentSettings;
use rustix::fs::statvfs;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use topology::DiskSpace;
use tracing::{info, warn};

use crate::context::PollerContext;

/// Time between two checks of one directory.
const CADENCE: Duration = Duration::from_secs(10);

/// Age from which on a check result is discarded.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Free space of the data directories of one deployment.
#[derive(Debug)]
pub(crate) struct DiskMonitor {
    /// Last result of each node, by node index.
    last: Vec<Option<DiskReport>>,
    /// Reports are boxed: a channel has memory for 32 of them from the start.
    reports: mpsc::Receiver<Box<DiskReport>>,
}

/// Result of one check.
#[derive(Debug, Clone, Copy)]
struct DiskReport {
    node_index: usize,
    checked_at: Instant,
    space: DiskSpace,
}

/// Task that checks one directory.
struct DirectoryCheck {
    context: PollerContext,
    deployment: String,
    node: String,
    node_index: usize,
    directory: Arc<PathBuf>,
    /// True if the last check failed.
    failing: bool,
}

impl DiskMonitor {
    /// Starts a task for each configured data directory.
    pub(crate) fn start(
        settings: &DeploymentSettings,
        context: &PollerContext,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (sender, reports) = mpsc::channel(1);
        for (node_index, directory) in settings.data_dirs.iter().enumerate() {
            let Some(directory) = directory else { continue };
            let check = DirectoryCheck {
                context: context.clone(),
                deployment: settings.deployment.name.clone(),
                node: settings.deployment.nodes[topology::NodeIndex::new(node_index)].name.clone(),
                node_index,
                directory: Arc::new(directory.clone()),
                failing: false,
            };
            tasks.spawn(check.run(sender.clone()));
        }
        DiskMonitor { last: vec![None; settings.data_dirs.len()], reports }
    }

    /// Returns the free space of each node, by node index; `None` if it is unknown.
    pub(crate) fn free_space(&self, now: Instant) -> Vec<Option<DiskSpace>> {
        let recent = |last: &Option<DiskReport>| {
            last.filter(|report| report.checked_at + MAX_AGE > now).map(|report| report.space)
        };
        self.last.iter().map(recent).collect()
    }

    /// Waits for the next check result. Never returns if there is no task.
    pub(crate) async fn next(&mut self) {
        let Some(report) = self.reports.recv().await else {
            return std::future::pending().await;
        };
        self.last[report.node_index] = Some(*report);
    }
}

impl DirectoryCheck {
    async fn run(mut self, reports: mpsc::Sender<Box<DiskReport>>) {
        loop {
            let checked_at = self.context.clock.now();
            let outcome = free_space(Arc::clone(&self.directory)).await;
            self.log(&outcome);
            if let Ok(space) = outcome {
                let report = DiskReport { node_index: self.node_index, checked_at, space };
                if reports.send(Box::new(report)).await.is_err() {
                    // The deployment is gone, so this task is being aborted.
                    return std::future::pending().await;
                }
            }
            sleep(CADENCE).await;
        }
    }

    /// Logs one line when the check starts to fail or recovers.
    fn log(&mut self, outcome: &Result<DiskSpace, String>) {
        let DirectoryCheck { deployment, node, directory, .. } = self;
        let data_dir = directory.display().to_string();
        match outcome {
            Err(detail) if !self.failing => {
                warn!(deployment, node, data_dir, detail, "cannot read free disk space");
            }
            Ok(_) if self.failing => {
                info!(deployment, node, data_dir, "reading free disk space again");
            }
            _ => {}
        }
        self.failing = outcome.is_err();
    }
}

/// Returns the free space of a directory. Waits as long as its file system hangs.
async fn free_space(directory: Arc<PathBuf>) -> Result<DiskSpace, String> {
    let mut blocking = JoinSet::new();
    blocking.spawn_blocking(move || statvfs(&*directory));
    let joined =
        blocking.join_next().await.ok_or("no result")?.map_err(|error| error.to_string())?;
    let stats = joined.map_err(|error| error.to_string())?;
    // Some file systems create inodes on demand and report a total of 0.
    let free_inodes = (stats.f_files > 0).then_some(stats.f_favail);
    Ok(DiskSpace { free_bytes: stats.f_bavail.saturating_mul(stats.f_frsize), free_inodes })
}
