//! Targets of `/scrape` that no configuration names. They are polled while they are scraped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::{DeploymentSettings, ScrapeAccess, ScrapeTarget};
use poller::Clock;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// Limit of targets.
const MAX_TARGETS: usize = 500;

/// Time after the last scrape of a target after which it is dropped.
const UNUSED_AFTER: Duration = Duration::from_secs(5 * 60);

/// Time between two searches for targets that are not scraped any more.
const CHECK_CADENCE: Duration = Duration::from_secs(10);

/// Targets that are polled because requests name them.
#[derive(Debug, Clone)]
pub(crate) struct ScrapeTargets {
    clock: Clock,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the targets or their settings changed.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    access: ScrapeAccess,
    /// By name.
    targets: BTreeMap<String, PolledTarget>,
}

#[derive(Debug)]
struct PolledTarget {
    target: ScrapeTarget,
    settings: Arc<DeploymentSettings>,
    scraped_at: Instant,
}

/// Reason why a target is not polled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The limit of targets is reached.
    TooMany(usize),
    /// There is no access to it, with the problem.
    NoAccess(String),
}

impl ScrapeTargets {
    /// Starts without targets.
    pub(crate) fn new(clock: Clock, access: ScrapeAccess) -> Self {
        let state = Mutex::new(State { access, targets: BTreeMap::new() });
        ScrapeTargets { clock, shared: Arc::new(Shared { state, changed: Notify::new() }) }
    }

    /// Notes the scrape of a target. A new target is polled from now on. Returns its name.
    pub(crate) fn scrape(&self, target: &ScrapeTarget) -> Result<String, Refusal> {
        let name = target.name();
        let mut state = self.lock();
        let scraped_at = self.clock.now();
        if let Some(polled) = state.targets.get_mut(&name) {
            polled.scraped_at = scraped_at;
            return Ok(name);
        }
        if state.targets.len() >= MAX_TARGETS {
            return Err(Refusal::TooMany(MAX_TARGETS));
        }
        let settings = state.access.deployment(target).map_err(Refusal::NoAccess)?;
        info!(target = name, "polling a target of /scrape");
        let polled = PolledTarget { target: target.clone(), settings: settings.into(), scraped_at };
        state.targets.insert(name.clone(), polled);
        self.shared.changed.notify_one();
        Ok(name)
    }

    /// Returns whether a target without a user has the same user as this one.
    pub(crate) fn has_default_user(&self, target: &ScrapeTarget) -> bool {
        target.username().is_none() || target.username() == self.lock().access.username()
    }

    /// Returns the deployments of the targets.
    pub(crate) fn deployments(&self) -> Vec<Arc<DeploymentSettings>> {
        self.lock().targets.values().map(|polled| Arc::clone(&polled.settings)).collect()
    }

    /// Replaces the access to all targets, after a reload.
    pub(crate) fn replace_access(&self, access: ScrapeAccess) {
        let mut state = self.lock();
        state.access = access;
        let State { access, targets } = &mut *state;
        targets.retain(|name, polled| match access.deployment(&polled.target) {
            Ok(settings) => {
                polled.settings = settings.into();
                true
            }
            Err(problem) => {
                warn!(target = name, problem, "dropping a target of /scrape");
                false
            }
        });
        self.shared.changed.notify_one();
    }

    /// Waits until the targets changed, and drops those that are not scraped any more.
    pub(crate) async fn changed(&self) {
        loop {
            let next_check = self.clock.now() + CHECK_CADENCE;
            tokio::select! {
                () = self.shared.changed.notified() => return,
                () = sleep_until(next_check) => if self.drop_unused() { return },
            }
        }
    }

    fn drop_unused(&self) -> bool {
        let mut state = self.lock();
        let (now, before) = (self.clock.now(), state.targets.len());
        state.targets.retain(|name, polled| {
            let is_used = now < polled.scraped_at + UNUSED_AFTER;
            if !is_used {
                info!(target = name, "dropping a target that is not scraped any more");
            }
            is_used
        });
        state.targets.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::redis_exporter::flags::Flags;

    fn targets() -> ScrapeTargets {
        let flags = Flags::parse([], &BTreeMap::new()).expect("valid flags");
        let access = flags.settings().expect("valid flags").scrape.expect("access");
        ScrapeTargets::new(Clock::start(), access)
    }

    fn target(text: &str) -> ScrapeTarget {
        ScrapeTarget::parse(text).expect(text)
    }

    fn names(targets: &ScrapeTargets) -> Vec<String> {
        let names = targets.deployments();
        names.iter().map(|settings| settings.deployment.name.clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn targets_are_dropped_when_nobody_scrapes_them() {
        let targets = targets();
        targets.scrape(&target("a")).expect("polled");
        targets.scrape(&target("b:1")).expect("polled");
        targets.changed().await;
        assert_eq!(names(&targets), ["redis://a:6379", "redis://b:1"]);
        tokio::time::sleep(UNUSED_AFTER / 2).await;
        assert_eq!(targets.scrape(&target("redis://b:1")), Ok("redis://b:1".to_owned()));
        let started = targets.clock.now();
        targets.changed().await;
        assert_eq!(names(&targets), ["redis://b:1"]);
        let waited = targets.clock.now() - started;
        assert!(waited >= UNUSED_AFTER / 2 && waited <= UNUSED_AFTER / 2 + CHECK_CADENCE);
        targets.changed().await;
        assert_eq!(names(&targets), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_targets_is_limited() {
        let targets = targets();
        for number in 0..MAX_TARGETS {
            targets.scrape(&target(&format!("h{number}"))).expect("polled");
        }
        assert_eq!(targets.scrape(&target("other")), Err(Refusal::TooMany(MAX_TARGETS)));
        targets.scrape(&target("h7")).expect("it is polled already");
    }
}
