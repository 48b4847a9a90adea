//! The deployments that are polled, each by a task of its own. A reload replaces those whose configuration changed, and no other.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::context::PollerContext;
use crate::deployment_poller;
use crate::sentinels::SentinelRegistry;
use crate::view_registry::{ViewPublisher, ViewRegistry};
use anyhow::{Context, bail};
use client::Endpoint;
use config::DeploymentSettings;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use topology::DeploymentView;
use tracing::{info, warn};

/// The deployments that are polled.
#[derive(Debug)]
pub struct Fleet {
    shared: PollerContext,
    publisher: ViewPublisher,
    pollers: JoinSet<anyhow::Result<()>>,
    running: Vec<Running>,
    hub: SentinelRegistry,
    /// As configured: some stand for all masters that Sentinels watch.
    configured: Vec<DeploymentSettings>,
    /// Since when Sentinels do not watch the masters of these deployments any more, each of which stands for one of all.
    missing: BTreeMap<String, Instant>,
}

/// Time between two looks at masters that Sentinels watch no more.
const GRACE_CHECK: Duration = Duration::from_secs(1);

/// One deployment that is polled.
#[derive(Debug)]
struct Running {
    settings: DeploymentSettings,
    task: AbortHandle,
}

/// What a reload changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Deployments whose polling began.
    pub started: usize,
    /// Deployments whose polling ended.
    pub stopped: usize,
    /// Deployments that did not change.
    pub kept: usize,
}

impl Fleet {
    /// Polls nothing yet.
    pub fn new(shared: PollerContext) -> Self {
        let hub = SentinelRegistry::new(shared.clone());
        Fleet {
            shared,
            publisher: ViewPublisher::default(),
            pollers: JoinSet::new(),
            running: Vec::new(),
            hub,
            configured: Vec::new(),
            missing: BTreeMap::new(),
        }
    }

    /// What is published.
    pub fn registry(&self) -> ViewRegistry {
        self.publisher.registry()
    }

    /// Polls these deployments from here on, their rounds spread evenly over their interval. One whose settings did not change goes on as
    /// it is; one whose settings did begins anew, with what its state would keep over a restart.
    pub fn poll(&mut self, deployments: Vec<DeploymentSettings>) -> Changes {
        self.configured = deployments;
        self.regroup()
    }

    /// Polls what is configured, and each of the masters that Sentinels watch where that is what is configured.
    fn regroup(&mut self) -> Changes {
        let (deployments, complete) = self.deployments();
        self.hub.keep(&[&deployments[..], &self.configured].concat());
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
            if let Some(changed) =
                before.iter().position(|running| running.settings.deployment.name == name)
            {
                changes.stopped += 1;
                before.swap_remove(changed).task.abort();
            }
            let phase = settings.deployment.interval * place / count;
            let (publish, view) =
                ViewPublisher::open(DeploymentView::empty(Arc::clone(&settings.deployment)));
            views.push(view);
            let watches = self.hub.watch(&settings);
            let task = self.pollers.spawn(deployment_poller::run(
                settings.clone(),
                watches,
                self.shared.clone(),
                publish,
                phase,
            ));
            self.running.push(Running { settings, task });
        }
        changes.stopped += before.len();
        for running in &before {
            running.task.abort();
        }
        self.publisher.show(views, complete);
        changes
    }

    /// What is to be polled; and whether that is all, which it is not before the Sentinels said what they watch.
    fn deployments(&mut self) -> (Vec<DeploymentSettings>, bool) {
        let mut deployments: Vec<DeploymentSettings> = Vec::new();
        let mut complete = true;
        let now = self.shared.clock.now();
        let mut missing = BTreeMap::new();
        for settings in &self.configured {
            if !settings.covers_all_masters() {
                deployments.push(settings.clone());
                continue;
            }
            let (masters, all_heard) = self.hub.masters(settings);
            let before = deployments.len();
            deployments.extend(masters.iter().filter_map(|master| settings.for_master(master)));
            // A Sentinel may forget a master for a moment: when it starts anew, or is told another address of it.
            let grace = settings
                .deployment
                .discovery
                .as_ref()
                .map_or(Duration::ZERO, |discovery| discovery.forget_after);
            for running in self.running.iter().filter(|running| {
                settings.covers(&running.settings) && !masters.contains(running.settings.master())
            }) {
                let since =
                    self.missing.get(&running.settings.deployment.name).copied().unwrap_or(now);
                if let Some(same) =
                    settings.for_master(running.settings.master()).filter(|_| since + grace > now)
                {
                    missing.insert(same.deployment.name.clone(), since);
                    deployments.push(same);
                }
            }
            if deployments.len() == before {
                if all_heard {
                    // Nothing would show that there is nothing.
                    deployments.push(settings.clone());
                } else {
                    complete = false;
                }
            }
        }
        self.missing = missing;
        let mut named: Vec<DeploymentSettings> = Vec::with_capacity(deployments.len());
        // Of deployments that share a Sentinel the one that shows it goes on doing so.
        let keeper = |endpoint: &Endpoint| {
            let shows = |running: &&Running| {
                running.settings.shown_sentinels().any(|shown| shown == endpoint)
            };
            let name = &self.running.iter().find(shows)?.settings.deployment.name;
            deployments
                .iter()
                .any(|settings| settings.deployment.name == *name)
                .then(|| name.clone())
        };
        let mut shown: Vec<(Endpoint, String)> = Vec::new();
        for settings in &deployments {
            for endpoint in settings.sentinels() {
                if !shown.iter().any(|(other, _)| other == endpoint) {
                    shown.push((
                        endpoint.clone(),
                        keeper(endpoint).unwrap_or_else(|| settings.deployment.name.clone()),
                    ));
                }
            }
        }
        for mut settings in deployments {
            let name = &settings.deployment.name;
            if named.iter().any(|other| other.deployment.name == *name) {
                warn!(
                    deployment = name,
                    "two masters would be deployments of this name, the second is left out"
                );
                continue;
            }
            for place in settings.deployment.sentinels().collect::<Vec<_>>() {
                let name = &settings.deployment.name;
                let is_shown = shown.iter().any(|(endpoint, by)| {
                    *endpoint == settings.endpoints[place.get()] && by == name
                });
                Arc::make_mut(&mut settings.deployment).show_sentinel(place, is_shown);
            }
            named.push(settings);
        }
        (named, complete)
    }

    /// Goes on polling, and takes up what Sentinels watch; returns when a task ends by itself, which none should.
    ///
    /// # Errors
    /// Always: a stopped poller behind a living `/metrics` would be the worst failure.
    pub async fn ended(&mut self) -> anyhow::Result<Infallible> {
        loop {
            let look_again = self.shared.clock.now() + GRACE_CHECK;
            tokio::select! {
                ended = ended(&mut self.pollers) => return ended,
                changed = self.hub.changed() => changed?,
                () = sleep_until(look_again), if !self.missing.is_empty() => {}
            }
            if self.configured.iter().any(DeploymentSettings::covers_all_masters) {
                let Changes { started, stopped, kept } = self.regroup();
                if started + stopped > 0 {
                    info!(started, stopped, kept, "Sentinels watch other masters");
                }
            }
        }
    }
}

async fn ended(pollers: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<Infallible> {
    while let Some(ended) = pollers.join_next().await {
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
