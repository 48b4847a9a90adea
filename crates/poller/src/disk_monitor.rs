//! The room left for the data of nodes on this machine, where it is configured where their data is: a task for each looks at a pace of its
//! own, so that a file system that hangs holds up nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::context::PollerContext;
use config::DeploymentSettings;
use rustix::fs::statvfs;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use topology::DiskSpace;
use tracing::{info, warn};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// What was seen longer ago is unknown now.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// The room left for the data of each node, by its place.
#[derive(Debug)]
pub(super) struct DiskMonitor {
    seen: Vec<Option<(Instant, DiskSpace)>>,
    looks: mpsc::Receiver<(usize, Instant, DiskSpace)>,
}

/// The task of one directory.
struct Look {
    shared: PollerContext,
    deployment: String,
    node: String,
    directory: Arc<PathBuf>,
    /// The last look failed.
    failing: bool,
}

impl DiskMonitor {
    /// Looks from here on, where directories are configured.
    pub(super) fn watch(
        settings: &DeploymentSettings,
        shared: &PollerContext,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (sender, looks) = mpsc::channel(1);
        for (index, directory) in settings.data_dirs.iter().enumerate() {
            let Some(directory) = directory else { continue };
            let look = Look {
                shared: shared.clone(),
                deployment: settings.deployment.name.clone(),
                node: settings.deployment.nodes[topology::NodeIndex::new(index)].name.clone(),
                directory: Arc::new(directory.clone()),
                failing: false,
            };
            tasks.spawn(look.run(index, sender.clone()));
        }
        DiskMonitor { seen: vec![None; settings.data_dirs.len()], looks }
    }

    /// What is known now.
    pub(super) fn now(&self, now: Instant) -> Vec<Option<DiskSpace>> {
        let fresh = |seen: &Option<(Instant, DiskSpace)>| {
            seen.filter(|(at, _)| *at + FRESH_FOR > now).map(|(_, disk)| disk)
        };
        self.seen.iter().map(fresh).collect()
    }

    /// Takes up the next look; waits for ever when nobody looks.
    pub(super) async fn next(&mut self) {
        let Some((index, at, disk)) = self.looks.recv().await else {
            return std::future::pending().await;
        };
        self.seen[index] = Some((at, disk));
    }
}

impl Look {
    async fn run(mut self, index: usize, looks: mpsc::Sender<(usize, Instant, DiskSpace)>) {
        loop {
            let at = self.shared.clock.now();
            let found = free(Arc::clone(&self.directory)).await;
            self.log(&found);
            if let Ok(disk) = found
                && looks.send((index, at, disk)).await.is_err()
            {
                // This task is being ended.
                return std::future::pending().await;
            }
            sleep(EVERY).await;
        }
    }

    /// One line when it changes, not one for each look.
    fn log(&mut self, found: &Result<DiskSpace, String>) {
        let Look { deployment, node, directory, .. } = self;
        let data_dir = directory.display().to_string();
        match found {
            Err(detail) if !self.failing => {
                warn!(deployment, node, data_dir, detail, "cannot see how much room is left");
            }
            Ok(_) if self.failing => info!(deployment, node, data_dir, "room left is seen again"),
            _ => {}
        }
        self.failing = found.is_err();
    }
}

/// The room left in a directory. Waits for as long as its file system hangs.
async fn free(directory: Arc<PathBuf>) -> Result<DiskSpace, String> {
    let mut blocking = JoinSet::new();
    blocking.spawn_blocking(move || statvfs(&*directory));
    let looked = blocking.join_next().await.ok_or("no look")?.map_err(|error| error.to_string())?;
    let found = looked.map_err(|error| error.to_string())?;
    // Some file systems make inodes as they need them, and say 0 of 0.
    let free_inodes = (found.f_files > 0).then_some(found.f_favail);
    Ok(DiskSpace { free_bytes: found.f_bavail.saturating_mul(found.f_frsize), free_inodes })
}
