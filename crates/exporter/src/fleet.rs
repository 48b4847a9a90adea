//! The deployments that are polled, each by a task of its own. A reload replaces those whose configuration changed, and no other.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::task::{AbortHandle, JoinSet};
use topology::DeploymentView;

use crate::board::{Board, Publisher};
use crate::config::DeploymentSettings;
use crate::rounds::{self, Shared};

/// The deployments that are polled.
#[derive(Debug)]
pub(crate) struct Fleet {
    shared: Shared,
    publisher: Publisher,
    pollers: JoinSet<anyhow::Result<()>>,
    running: Vec<Running>,
}

/// One deployment that is polled.
#[derive(Debug)]
struct Running {
    settings: DeploymentSettings,
    task: AbortHandle,
}

/// What a reload changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) started: usize,
    pub(crate) stopped: usize,
    pub(crate) kept: usize,
}

impl Fleet {
    /// Polls nothing yet.
    pub(crate) fn new(shared: Shared) -> Self {
        Fleet { shared, publisher: Publisher::default(), pollers: JoinSet::new(), running: Vec::new() }
    }

    /// What is published.
    pub(crate) fn board(&self) -> Board {
        self.publisher.board()
    }

    /// Polls these deployments from here on, their rounds spread evenly over their interval. One whose settings did not change goes on as
    /// it is; one whose settings did begins anew, with what its state would keep over a restart.
    pub(crate) fn poll(&mut self, deployments: Vec<DeploymentSettings>) -> Changes {
        let mut changes = Changes::default();
        let mut before = std::mem::take(&mut self.running);
        let count = u32::try_from(deployments.len()).unwrap_or(u32::MAX).max(1);
        let mut views = Vec::new();
        for (settings, place) in deployments.into_iter().zip(0..) {
            let name = settings.deployment.name.clone();
            if let Some(same) = before.iter().position(|running| running.settings == settings) {
                changes.kept += 1;
                self.running.push(before.swap_remove(same));
                views.extend(self.publisher.kept(&name));
                continue;
            }
            changes.started += 1;
            if let Some(changed) = before.iter().position(|running| running.settings.deployment.name == name) {
                changes.stopped += 1;
                self.stop(&before.swap_remove(changed));
            }
            let phase = settings.deployment.interval * place / count;
            let (publish, view) = Publisher::open(DeploymentView::empty(Arc::clone(&settings.deployment)));
            views.push(view);
            let task = self.pollers.spawn(rounds::run(settings.clone(), self.shared.clone(), publish, phase));
            self.running.push(Running { settings, task });
        }
        changes.stopped += before.len();
        for running in &before {
            self.stop(running);
        }
        self.publisher.show(views);
        changes
    }

    /// Waits for a poller that ends by itself, which none should.
    ///
    /// # Errors
    /// Always: a stopped poller behind a living `/metrics` would be the worst failure.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<Infallible> {
        while let Some(ended) = self.pollers.join_next().await {
            match ended {
                Err(error) if error.is_cancelled() => {}
                ended => {
                    ended.context("a poller died")?.context("a poller failed")?;
                    bail!("a poller ended");
                }
            }
        }
        std::future::pending().await
    }

    fn stop(&self, running: &Running) {
        running.task.abort();
        self.shared.forget(&running.settings.deployment.name);
    }
}
