//! All polled deployments, each with its own task.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use client::Endpoint;
use config::DeploymentSettings;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use topology::DeploymentView;
use tracing::{info, warn};

use crate::context::PollerContext;
use crate::deployment_poller;
use crate::phases::phase;
use crate::sentinels::SentinelRegistry;
use crate::view_registry::{ViewPublisher, ViewRegistry};

/// Time between two checks of the grace period of removed masters.
const GRACE_PERIOD_CADENCE: Duration = Duration::from_secs(1);

/// All polled deployments.
#[derive(Debug)]
pub struct Fleet {
    context: PollerContext,
    publisher: ViewPublisher,
    pollers: JoinSet<anyhow::Result<()>>,
    running: Vec<RunningDeployment>,
    sentinels: SentinelRegistry,
    /// Deployments of the configuration. Some are templates for all masters of their Sentinels.
    configured: Vec<Arc<DeploymentSettings>>,
    /// Deployments of targets that requests name.
    targets: Vec<Arc<DeploymentSettings>>,
    /// Deployments from a template whose master the Sentinels no longer list, with the time since
    /// which they do not.
    removed_masters: BTreeMap<String, Instant>,
}

/// Polled deployment.
#[derive(Debug)]
struct RunningDeployment {
    /// Shared with its poller.
    settings: Arc<DeploymentSettings>,
    task: AbortHandle,
}

/// Changes by a reload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Number of deployments whose polling started.
    pub started: usize,
    /// Number of deployments whose polling stopped.
    pub stopped: usize,
    /// Number of deployments that did not change.
    pub kept: usize,
}

/// Deployments to poll.
struct Expanded {
    deployments: Vec<Arc<DeploymentSettings>>,
    /// False while Sentinels still have to list the masters of a template.
    complete: bool,
    /// Templates with the number of masters that exceed their limit.
    excess: Vec<(Arc<DeploymentSettings>, u64)>,
}

/// Sentinel and the deployment that shows it.
struct ShownSentinel {
    endpoint: Endpoint,
    /// Name of the deployment.
    deployment: String,
}

impl Fleet {
    /// Creates a fleet without deployments.
    pub fn new(context: PollerContext) -> Self {
        let sentinels = SentinelRegistry::new(context.clone());
        Fleet {
            context,
            publisher: ViewPublisher::default(),
            pollers: JoinSet::new(),
            running: Vec::new(),
            sentinels,
            configured: Vec::new(),
            targets: Vec::new(),
            removed_masters: BTreeMap::new(),
        }
    }

    /// Returns read access to the views.
    pub fn registry(&self) -> ViewRegistry {
        self.publisher.registry()
    }

    /// Replaces the polled deployments. Their rounds are spread evenly over the phases of the
    /// interval.
    ///
    /// A deployment whose settings did not change continues. One with new settings starts again,
    /// with the state that also survives a restart.
    pub fn poll(&mut self, deployments: Vec<DeploymentSettings>) -> Changes {
        self.configured = deployments.into_iter().map(Arc::new).collect();
        self.update()
    }

    /// Replaces the deployments that are polled in addition to the configured ones.
    pub fn poll_targets(&mut self, targets: Vec<Arc<DeploymentSettings>>) {
        self.targets = targets;
        self.update();
    }

    /// Starts and stops deployments, after a change of the configuration or of the masters.
    fn update(&mut self) -> Changes {
        let Expanded { deployments, complete, .. } = self.expand();
        self.sentinels.update(&[&deployments[..], &self.configured].concat());
        let mut changes = Changes::default();
        let before = std::mem::take(&mut self.running);
        let by_name =
            |running: RunningDeployment| (running.settings.deployment.name.clone(), running);
        let mut before: HashMap<_, _> = before.into_iter().map(by_name).collect();
        let count = u32::try_from(deployments.len()).unwrap_or(u32::MAX).max(1);
        let mut views = Vec::new();
        for (settings, position) in deployments.into_iter().zip(0..) {
            let name = &settings.deployment.name;
            match before.remove(name) {
                Some(running) if running.settings == settings => {
                    changes.kept += 1;
                    views.extend(self.publisher.registered(name));
                    self.running.push(running);
                    continue;
                }
                Some(previous) => {
                    changes.stopped += 1;
                    previous.task.abort();
                }
                None => {}
            }
            changes.started += 1;
            let phase = phase(position, count, settings.deployment.interval);
            let (publish, view) =
                ViewPublisher::channel(DeploymentView::empty(Arc::clone(&settings.deployment)));
            views.push(view);
            let task = self.pollers.spawn(deployment_poller::run(
                Arc::clone(&settings),
                self.sentinels.handles(&settings),
                self.context.clone(),
                publish,
                phase,
            ));
            self.running.push(RunningDeployment { settings, task });
        }
        changes.stopped += before.len();
        for running in before.values() {
            running.task.abort();
        }
        self.publisher.replace(views, complete);
        changes
    }

    /// Returns the deployments to poll: the configured ones, and one for each master of a template.
    fn expand(&mut self) -> Expanded {
        let mut expanded = Expanded { deployments: Vec::new(), complete: true, excess: Vec::new() };
        let mut removed_masters = BTreeMap::new();
        for settings in &self.configured {
            if settings.covers_all_masters() {
                self.expand_template(settings, &mut expanded, &mut removed_masters);
            } else {
                expanded.deployments.push(Arc::clone(settings));
            }
        }
        expanded.deployments.extend(self.targets.iter().map(Arc::clone));
        self.removed_masters = removed_masters;
        let shown_by = self.shown_by(&expanded.deployments);
        expanded.deployments = without_duplicates(expanded.deployments);
        for settings in &mut expanded.deployments {
            show_sentinels(settings, &shown_by);
        }
        self.register_excess(&expanded);
        expanded
    }

    /// Registers the masters without a deployment at the deployment that shows their Sentinels, or
    /// else at the first one of the template.
    fn register_excess(&self, expanded: &Expanded) {
        let mut excess = HashMap::new();
        for (template, masters) in &expanded.excess {
            let covered =
                || expanded.deployments.iter().filter(|settings| template.covers(settings));
            let shows =
                |settings: &&Arc<DeploymentSettings>| settings.shown_sentinels().next().is_some();
            if let Some(settings) = covered().find(shows).or_else(|| covered().next()) {
                excess.insert(settings.deployment.name.clone(), *masters);
            }
        }
        self.context.excess.set_masters(excess);
    }

    /// Adds a deployment for each master that the Sentinels of a template list.
    fn expand_template(
        &self,
        template: &Arc<DeploymentSettings>,
        expanded: &mut Expanded,
        removed_masters: &mut BTreeMap<String, Instant>,
    ) {
        let now = self.context.clock.now();
        let masters = self.sentinels.masters(template);
        // A Sentinel may not list a master for a moment: after a restart, or while it gets another
        // address of the master.
        let grace_period = template
            .deployment
            .discovery
            .as_ref()
            .map_or(Duration::ZERO, |discovery| discovery.forget_after);
        let (mut listed, mut removed) = (BTreeMap::new(), Vec::new());
        for running in self.running.iter().map(|running| &running.settings) {
            if !template.covers(running) {
                continue;
            }
            let Some(settings) = template.for_master(running.master()) else { continue };
            if masters.names.contains(running.master()) {
                listed.insert(running.master(), settings);
                continue;
            }
            let name = &running.deployment.name;
            let since = self.removed_masters.get(name).copied().unwrap_or(now);
            if since + grace_period > now {
                removed_masters.insert(settings.deployment.name.clone(), since);
                removed.push(settings);
            }
        }
        // Deployments that exist go first, so that no list of Sentinels replaces them all.
        let free = template.deployment.limits.masters.saturating_sub(listed.len() + removed.len());
        let is_new = |master: &&String| !listed.contains_key(master.as_str());
        let new: Vec<_> = masters
            .names
            .iter()
            .filter(is_new)
            .filter_map(|master| Some((master.as_str(), template.for_master(master)?)))
            .collect();
        let excess = new.len().saturating_sub(free);
        if excess > 0 {
            expanded.excess.push((Arc::clone(template), excess as u64));
        }
        listed.extend(new.into_iter().take(free));
        let deployments = &mut expanded.deployments;
        let count = deployments.len();
        deployments.extend(listed.into_values().chain(removed).map(Arc::new));
        if deployments.len() == count {
            if masters.complete {
                // Poll the template itself. Otherwise no view would show that there is no master.
                deployments.push(Arc::clone(template));
            } else {
                expanded.complete = false;
            }
        }
    }

    /// Returns the name of the deployment that shows each Sentinel.
    ///
    /// Of deployments that share a Sentinel, the one that shows it now continues to do so.
    fn shown_by(&self, deployments: &[Arc<DeploymentSettings>]) -> Vec<ShownSentinel> {
        let current = |endpoint: &Endpoint| {
            let shows = |running: &&RunningDeployment| {
                running.settings.shown_sentinels().any(|shown| shown == endpoint)
            };
            let name = &self.running.iter().find(shows)?.settings.deployment.name;
            deployments
                .iter()
                .any(|settings| settings.deployment.name == *name)
                .then(|| name.clone())
        };
        let mut shown: Vec<ShownSentinel> = Vec::new();
        for settings in deployments {
            for endpoint in settings.sentinels() {
                if !shown.iter().any(|sentinel| sentinel.endpoint == *endpoint) {
                    let deployment =
                        current(endpoint).unwrap_or_else(|| settings.deployment.name.clone());
                    shown.push(ShownSentinel { endpoint: endpoint.clone(), deployment });
                }
            }
        }
        shown
    }

    /// Polls until a task ends, and follows changes of the masters that Sentinels list.
    ///
    /// # Errors
    /// Always fails: no task should end. A stopped poller behind a working `/metrics` would be the
    /// worst failure.
    pub async fn supervise(&mut self) -> anyhow::Result<Infallible> {
        loop {
            let next_check = self.context.clock.now() + GRACE_PERIOD_CADENCE;
            tokio::select! {
                ended = any_ended(&mut self.pollers) => return ended,
                changed = self.sentinels.masters_changed() => changed?,
                () = sleep_until(next_check), if !self.removed_masters.is_empty() => {}
            }
            if self.configured.iter().any(|settings| settings.covers_all_masters()) {
                let Changes { started, stopped, kept } = self.update();
                if started + stopped > 0 {
                    info!(started, stopped, kept, "masters of Sentinels changed");
                }
            }
        }
    }
}

/// Removes deployments with the name of an earlier one.
fn without_duplicates(deployments: Vec<Arc<DeploymentSettings>>) -> Vec<Arc<DeploymentSettings>> {
    let mut names = HashSet::new();
    let mut is_unique = |settings: &Arc<DeploymentSettings>| {
        let name = &settings.deployment.name;
        let is_unique = names.insert(name.clone());
        if !is_unique {
            warn!(deployment = name, "duplicate deployment name, ignoring the second master");
        }
        is_unique
    };
    deployments.into_iter().filter(|settings| is_unique(settings)).collect()
}

/// Marks the Sentinels that the deployment shows.
fn show_sentinels(settings: &mut Arc<DeploymentSettings>, shown_by: &[ShownSentinel]) {
    let name = settings.deployment.name.clone();
    for index in settings.deployment.sentinels().collect::<Vec<_>>() {
        let is_shown = shown_by.iter().any(|sentinel| {
            sentinel.endpoint == settings.endpoints[index.get()] && sentinel.deployment == name
        });
        let settings = Arc::make_mut(settings);
        Arc::make_mut(&mut settings.deployment).show_sentinel(index, is_shown);
    }
}

/// Waits until a task ends that was not aborted.
async fn any_ended(pollers: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<Infallible> {
    while let Some(ended) = pollers.join_next().await {
        match ended {
            Err(error) if error.is_cancelled() => {}
            ended => {
                ended
                    .context("the task of a deployment panicked")?
                    .context("the task of a deployment failed")?;
                bail!("the task of a deployment ended");
            }
        }
    }
    std::future::pending().await
}
