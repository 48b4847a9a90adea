//! Registry of the polled Sentinels.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use client::Endpoint;
use config::DeploymentSettings;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::events::EventListeners;
use super::handle::{SentinelHandle, SentinelRequests, SentinelState};
use super::task::{SentinelTask, SentinelTaskSettings};
use crate::context::PollerContext;

/// Registry of the polled Sentinels.
#[derive(Debug)]
pub(crate) struct SentinelRegistry {
    context: PollerContext,
    tasks: JoinSet<anyhow::Result<()>>,
    sentinels: Vec<RegisteredSentinel>,
    masters_changed: Arc<Notify>,
}

/// Polled Sentinel.
#[derive(Debug)]
struct RegisteredSentinel {
    endpoint: Endpoint,
    settings: watch::Sender<SentinelTaskSettings>,
    state: watch::Receiver<Arc<SentinelState>>,
    listeners: EventListeners,
    requests: Arc<SentinelRequests>,
    task: AbortHandle,
}

/// Requirements of all deployments on one Sentinel.
struct Requirements<'a> {
    endpoint: &'a Endpoint,
    /// Shortest interval of the deployments.
    interval: Duration,
    masters: BTreeSet<&'a str>,
}

/// Masters that the Sentinels of a deployment monitor.
#[derive(Debug)]
pub(crate) struct MonitoredMasters {
    pub(crate) names: BTreeSet<String>,
    /// True if each Sentinel was polled.
    pub(crate) complete: bool,
}

impl SentinelRegistry {
    /// Creates an empty registry.
    pub(crate) fn new(context: PollerContext) -> Self {
        SentinelRegistry {
            context,
            tasks: JoinSet::new(),
            sentinels: Vec::new(),
            masters_changed: Arc::default(),
        }
    }

    /// Starts, updates and stops tasks, so that exactly the Sentinels of these deployments are
    /// polled.
    pub(crate) fn update(&mut self, deployments: &[Arc<DeploymentSettings>]) {
        let requirements = requirements(deployments);
        self.sentinels.retain(|sentinel| {
            let required =
                requirements.iter().any(|required| *required.endpoint == sentinel.endpoint);
            if !required {
                sentinel.task.abort();
            }
            required
        });
        for Requirements { endpoint, interval, masters } in requirements {
            let masters: Arc<[Arc<str>]> =
                masters.into_iter().filter(|name| !name.is_empty()).map(Into::into).collect();
            let settings = SentinelTaskSettings { interval, masters };
            match self.find(endpoint) {
                Some(sentinel) => drop(sentinel.settings.send_if_modified(|before| {
                    let modified = *before != settings;
                    if modified {
                        *before = settings;
                    }
                    modified
                })),
                None => self.start(endpoint.clone(), settings),
            }
        }
    }

    /// Returns handles to the Sentinels of a deployment, in its order. They must be registered.
    pub(crate) fn handles(&self, settings: &DeploymentSettings) -> Vec<SentinelHandle> {
        settings
            .sentinels()
            .filter_map(|endpoint| self.find(endpoint))
            .map(|sentinel| {
                SentinelHandle::new(
                    sentinel.state.clone(),
                    sentinel.listeners.clone(),
                    Arc::clone(&sentinel.requests),
                )
            })
            .collect()
    }

    /// Returns the masters that the Sentinels of a deployment monitor.
    pub(crate) fn masters(&self, settings: &DeploymentSettings) -> MonitoredMasters {
        let (mut names, mut complete) = (BTreeSet::new(), true);
        for endpoint in settings.sentinels() {
            let state = self.find(endpoint).map(|sentinel| sentinel.state.borrow());
            complete &= state.as_ref().is_some_and(|state| state.was_polled());
            names.extend(state.iter().flat_map(|state| &state.masters).map(ToString::to_string));
        }
        MonitoredMasters { names, complete }
    }

    /// Waits until a Sentinel was polled for the first time or lists other masters than before.
    ///
    /// # Errors
    /// Fails if the task of a Sentinel ends.
    pub(crate) async fn masters_changed(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            () = self.masters_changed.notified() => Ok(()),
            ended = any_ended(&mut self.tasks) => match ended? {},
        }
    }

    fn find(&self, endpoint: &Endpoint) -> Option<&RegisteredSentinel> {
        self.sentinels.iter().find(|sentinel| sentinel.endpoint == *endpoint)
    }

    fn start(&mut self, endpoint: Endpoint, settings: SentinelTaskSettings) {
        let (settings_sender, settings) = watch::channel(settings);
        let (state_sender, state) = watch::channel(Arc::new(SentinelState::new()));
        let listeners = EventListeners::default();
        let requests = Arc::<SentinelRequests>::default();
        let task = SentinelTask {
            endpoint: endpoint.clone(),
            context: self.context.clone(),
            settings,
            state: state_sender,
            listeners: listeners.clone(),
            requests: Arc::clone(&requests),
            run_id: watch::Sender::new(None),
            masters_changed: Arc::clone(&self.masters_changed),
        };
        let task = self.tasks.spawn(task.run());
        let settings = settings_sender;
        self.sentinels.push(RegisteredSentinel {
            endpoint,
            settings,
            state,
            listeners,
            requests,
            task,
        });
    }
}

/// Returns the requirements of the deployments on each of their Sentinels.
fn requirements(deployments: &[Arc<DeploymentSettings>]) -> Vec<Requirements<'_>> {
    let mut requirements: Vec<Requirements<'_>> = Vec::new();
    for settings in deployments {
        let interval = settings.deployment.interval;
        for endpoint in settings.sentinels() {
            match requirements.iter_mut().find(|required| required.endpoint == endpoint) {
                Some(required) => {
                    required.interval = interval.min(required.interval);
                    required.masters.insert(settings.master());
                }
                None => requirements.push(Requirements {
                    endpoint,
                    interval,
                    masters: BTreeSet::from([settings.master()]),
                }),
            }
        }
    }
    requirements
}

/// Waits until a task ends that was not aborted.
async fn any_ended(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<Infallible> {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Err(error) if error.is_cancelled() => {}
            ended => {
                ended
                    .context("the task of a Sentinel panicked")?
                    .context("the task of a Sentinel failed")?;
                bail!("the task of a Sentinel ended");
            }
        }
    }
    std::future::pending().await
}
