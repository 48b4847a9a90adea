//! All Sentinels that are watched, one watcher each.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::context::PollerContext;
use crate::sentinels::task::{
    Listeners, SentinelHandle, SentinelTask, SentinelTaskSettings, State,
};
use anyhow::{Context, bail};
use client::Endpoint;
use config::DeploymentSettings;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

/// All Sentinels that are watched.
#[derive(Debug)]
pub(crate) struct SentinelRegistry {
    shared: PollerContext,
    watchers: JoinSet<anyhow::Result<()>>,
    watched: Vec<WatchedMaster>,
    changed: Arc<Notify>,
}

/// One Sentinel that is watched.
#[derive(Debug)]
struct WatchedMaster {
    endpoint: Endpoint,
    brief: watch::Sender<SentinelTaskSettings>,
    state: watch::Receiver<Arc<State>>,
    listeners: Listeners,
    task: AbortHandle,
}

impl SentinelRegistry {
    /// Watches none yet.
    pub(crate) fn new(shared: PollerContext) -> Self {
        SentinelRegistry {
            shared,
            watchers: JoinSet::new(),
            watched: Vec::new(),
            changed: Arc::default(),
        }
    }

    /// Watches the Sentinels that these deployments name, and no others.
    pub(crate) fn keep(&mut self, deployments: &[DeploymentSettings]) {
        let mut briefs: Vec<(&Endpoint, Duration, BTreeSet<&str>)> = Vec::new();
        for settings in deployments {
            let interval = settings.deployment.interval;
            for endpoint in settings.sentinels() {
                match briefs.iter_mut().find(|(other, ..)| *other == endpoint) {
                    Some((_, shortest, masters)) => {
                        *shortest = interval.min(*shortest);
                        masters.insert(settings.master());
                    }
                    None => briefs.push((endpoint, interval, BTreeSet::from([settings.master()]))),
                }
            }
        }
        self.watched.retain(|watched| {
            let kept = briefs.iter().any(|(endpoint, ..)| **endpoint == watched.endpoint);
            if !kept {
                watched.task.abort();
            }
            kept
        });
        for (endpoint, interval, masters) in briefs {
            let masters: Arc<[Arc<str>]> =
                masters.into_iter().filter(|name| !name.is_empty()).map(Into::into).collect();
            let brief = SentinelTaskSettings { interval, masters };
            match self.watched.iter().find(|watched| watched.endpoint == *endpoint) {
                Some(watched) => drop(watched.brief.send_if_modified(|before| {
                    let modified = *before != brief;
                    if modified {
                        *before = brief;
                    }
                    modified
                })),
                None => self.start(endpoint.clone(), brief),
            }
        }
    }

    /// The Sentinels of a deployment, in its order. They are watched already.
    pub(crate) fn watch(&self, settings: &DeploymentSettings) -> Vec<SentinelHandle> {
        let of =
            |endpoint: &Endpoint| self.watched.iter().find(|watched| watched.endpoint == *endpoint);
        settings
            .sentinels()
            .filter_map(of)
            .map(|watched| {
                SentinelHandle::new(watched.state.clone(), Arc::clone(&watched.listeners))
            })
            .collect()
    }

    /// The names of all masters that the Sentinels of a deployment watch, and whether each of these was asked already.
    pub(crate) fn masters(&self, settings: &DeploymentSettings) -> (BTreeSet<String>, bool) {
        let (mut masters, mut all_heard) = (BTreeSet::new(), true);
        for endpoint in settings.sentinels() {
            let state = self
                .watched
                .iter()
                .find(|watched| watched.endpoint == *endpoint)
                .map(|watched| watched.state.borrow());
            all_heard &= state.as_ref().is_some_and(|state| state.heard());
            masters.extend(state.iter().flat_map(|state| &state.masters).map(ToString::to_string));
        }
        (masters, all_heard)
    }

    /// Waits until a Sentinel watches other masters than before, or was asked for the first time.
    ///
    /// # Errors
    /// A watcher ended, which none should.
    pub(crate) async fn changed(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            () = self.changed.notified() => Ok(()),
            ended = ended(&mut self.watchers) => match ended? {},
        }
    }

    fn start(&mut self, endpoint: Endpoint, brief: SentinelTaskSettings) {
        let (brief_sender, brief) = watch::channel(brief);
        let (state_sender, state) = watch::channel(Arc::new(State::new()));
        let listeners = Listeners::default();
        let watcher = SentinelTask {
            endpoint: endpoint.clone(),
            shared: self.shared.clone(),
            brief,
            state: state_sender,
            listeners: Arc::clone(&listeners),
            process: watch::Sender::new(None),
            changed: Arc::clone(&self.changed),
        };
        let task = self.watchers.spawn(watcher.run());
        self.watched.push(WatchedMaster { endpoint, brief: brief_sender, state, listeners, task });
    }
}

async fn ended(watchers: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<Infallible> {
    while let Some(ended) = watchers.join_next().await {
        match ended {
            Err(error) if error.is_cancelled() => {}
            ended => {
                ended
                    .context("the watcher of a Sentinel died")?
                    .context("the watcher of a Sentinel failed")?;
                bail!("the watcher of a Sentinel ended");
            }
        }
    }
    std::future::pending().await
}
