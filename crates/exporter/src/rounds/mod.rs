//! The rounds of one deployment: ask every connected node, close, fold, publish.
//!
//! A round closes when every node that answered promptly the round before has answered, or at the deadline. A node that missed is asked,
//! but not waited for, until it answers promptly again; so a hung node costs one slow round, and then nothing. Connecting is no part of
//! a round: each node's station connects on its own.

mod blindness;
mod journal;
mod readings;
mod station;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use client::Command;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use topology::{Answer, DeploymentView, Fold, Outcome, Round, Wanted};

use crate::clock::Clock;
use crate::config::DeploymentSettings;
use crate::state::State;
use blindness::Blindness;
use snapshot::Reason;
use station::{Ask, Report, Station};

pub(crate) use readings::PARAMETERS;

/// The most connections that are being opened at a time, over all deployments.
const MAX_CONNECTING: usize = 64;

/// What the rounds of all deployments share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where time comes from.
    pub clock: Clock,
    connecting: Arc<Semaphore>,
    sent: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    state: State,
    blindness: Arc<Blindness>,
}

/// The rounds of one deployment.
struct Rounds {
    settings: DeploymentSettings,
    shared: Shared,
    fold: Fold,
    nodes: Vec<Asked>,
    reports: mpsc::Receiver<(usize, Report)>,
    stations: JoinSet<()>,
    /// What the facts wait for.
    wanted: Vec<Wanted>,
}

/// A node, as its round sees it.
struct Asked {
    asks: mpsc::Sender<Ask>,
    standing: Standing,
    /// The last answer since the last round closed.
    answer: Option<Answer>,
    /// It answered within the deadline when last asked, or just connected: the next round waits for it.
    prompt: bool,
    /// The running round waits for it.
    awaited: bool,
    /// It answered before.
    answered: bool,
    /// Since when it fails, on the monotonic clock; `None` while it does not, or never answered.
    failing: Option<Duration>,
}

/// How a node stands.
enum Standing {
    /// The first attempt to connect is under way.
    Pending,
    /// Connected, and not asked.
    Idle,
    /// Asked, and not answered yet.
    Asked,
    /// Connected, but INFO was refused for now.
    Refused(Reason),
    /// The connection was lost, and no attempt since has come to an end.
    Lost(Reason),
    /// The last attempt to connect or to read failed.
    Failed(Reason),
}

/// Polls a deployment for ever, and publishes a view for each round. `phase` sets its
/// rounds apart from those of other deployments.
///
/// # Errors
/// Only when one of its tasks died, which must end the process.
pub async fn run(
    settings: DeploymentSettings,
    shared: Shared,
    publish: watch::Sender<Arc<DeploymentView>>,
    phase: Duration,
) -> anyhow::Result<()> {
    let mut rounds = Rounds::new(settings, shared);
    rounds.settle().await?;
    let clock = rounds.shared.clock;
    rounds.round(clock.now(), &publish).await?;
    let interval = rounds.settings.deployment.interval;
    let mut ticks = interval_at(clock.next(phase, interval), interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            scheduled = ticks.tick() => rounds.round(scheduled, &publish).await?,
            report = rounds.report() => rounds.take(report?),
        }
    }
}

impl Rounds {
    fn new(settings: DeploymentSettings, shared: Shared) -> Self {
        let (sender, reports) = mpsc::channel(settings.endpoints.len() + 16);
        let mut stations = JoinSet::new();
        let nodes = (0..settings.endpoints.len()).map(|place| {
            let (asks, asked) = mpsc::channel(1);
            stations.spawn(Station::new(place, &settings, asked, sender.clone(), shared.clone()).run());
            Asked { asks, standing: Standing::Pending, answer: None, prompt: false, awaited: false, answered: false, failing: None }
        });
        let nodes = nodes.collect();
        let mut fold = Fold::new(Arc::clone(&settings.deployment));
        shared.state.recall(&mut fold, shared.clock.wall());
        Rounds { fold, settings, shared, nodes, reports, stations, wanted: Vec::new() }
    }

    /// Waits until each node had its first outcome, but not for long: a node that hangs must not keep the others from being seen.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let until = self.shared.clock.now() + self.settings.deadline;
        while self.nodes.iter().any(|node| matches!(node.standing, Standing::Pending)) {
            tokio::select! {
                report = self.report() => self.take(report?),
                () = sleep_until(until) => break,
            }
        }
        Ok(())
    }

    async fn round(&mut self, scheduled: Instant, publish: &watch::Sender<Arc<DeploymentView>>) -> anyhow::Result<()> {
        let begun = self.shared.clock.now();
        let deadline = begun + self.settings.deadline;
        for (place, node) in self.nodes.iter_mut().enumerate() {
            node.ask(Ask { commands: self.wanted.contains(&Wanted::Commands(place)) });
        }
        while self.nodes.iter().any(|node| node.awaited) {
            tokio::select! {
                report = self.report() => self.take(report?),
                () = sleep_until(deadline) => break,
            }
        }
        let round = self.close(scheduled, begun, deadline);
        let step = self.fold.apply(&round);
        journal::log(&step);
        self.shared.state.keep(&self.fold, &step, self.shared.clock.wall());
        self.wanted = step.wanted;
        publish.send_replace(step.view);
        Ok(())
    }

    fn close(&mut self, scheduled: Instant, begun: Instant, deadline: Instant) -> Round {
        let clock = self.shared.clock;
        let interval = self.settings.deployment.interval;
        let closed = clock.now();
        let elapsed = clock.elapsed(closed);
        let late = begun.saturating_duration_since(scheduled);
        let held_up = late > interval / 2 || closed.saturating_duration_since(deadline) > interval / 2;
        let outcomes = self.nodes.iter_mut().map(|node| node.close(elapsed)).collect();
        let failing = self.nodes.iter().map(|node| node.failing).collect();
        let cut_off = self.shared.blindness.note(&self.settings.deployment.name, failing);
        Round {
            took: closed - begun,
            missed: u64::try_from(late.as_nanos() / interval.as_nanos()).unwrap_or(u64::MAX),
            blind: held_up || cut_off,
            ..Round::new(clock.wall(), elapsed, outcomes)
        }
    }

    async fn report(&mut self) -> anyhow::Result<(usize, Report)> {
        tokio::select! {
            biased;
            Some(ended) = self.stations.join_next() => {
                ended.context("a node's task died")?;
                bail!("a node's task ended");
            }
            report = self.reports.recv() => report.context("every node's task ended"),
        }
    }

    fn take(&mut self, (place, report): (usize, Report)) {
        let deadline = self.settings.deadline;
        self.nodes[place].take(report, deadline);
    }
}

// === impl Asked ===

impl Asked {
    /// Begins a round for this node.
    fn ask(&mut self, ask: Ask) {
        let free = matches!(self.standing, Standing::Idle | Standing::Refused(_));
        // A full channel holds an ask that is still to be taken up, which serves as well.
        let asked = free && !matches!(self.asks.try_send(ask), Err(mpsc::error::TrySendError::Closed(_)));
        if asked {
            self.standing = Standing::Asked;
        }
        self.awaited = asked && self.prompt;
    }

    fn take(&mut self, report: Report, deadline: Duration) {
        self.awaited = false;
        match report {
            Report::Connected => {
                self.standing = Standing::Idle;
                self.prompt = true;
            }
            Report::Answered(answer) => {
                self.standing = Standing::Idle;
                self.prompt = answer.took <= deadline;
                self.answer = Some(answer.after(self.answer.take()));
            }
            Report::Refused(reason) => {
                self.standing = Standing::Refused(reason);
                self.prompt = true;
            }
            Report::Lost(reason) => self.standing = Standing::Lost(reason),
            Report::Failed(reason) => self.standing = Standing::Failed(reason),
        }
    }

    /// Ends a round for this node.
    fn close(&mut self, elapsed: Duration) -> Outcome {
        let outcome = self.outcome();
        match outcome {
            Outcome::Answered(_) => (self.answered, self.failing) = (true, None),
            Outcome::Missed(_) | Outcome::Failed(_) if self.answered => self.failing = self.failing.or(Some(elapsed)),
            _ => {}
        }
        outcome
    }

    fn outcome(&mut self) -> Outcome {
        if self.awaited {
            self.awaited = false;
            self.prompt = false;
        }
        if let Some(answer) = self.answer.take() {
            return Outcome::Answered(answer);
        }
        match self.standing {
            // A node that connected during the round was not asked.
            Standing::Pending | Standing::Idle => Outcome::Pending,
            Standing::Asked => Outcome::Missed(Reason::Timeout),
            Standing::Lost(reason) | Standing::Refused(reason) => Outcome::Missed(reason),
            Standing::Failed(reason) => Outcome::Failed(reason),
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Nothing was sent yet.
    pub fn new(clock: Clock, state: State) -> Self {
        Shared { clock, state, connecting: Arc::new(Semaphore::new(MAX_CONNECTING)), sent: Arc::default(), blindness: Arc::default() }
    }

    /// Forgets a deployment that is no longer polled.
    pub(crate) fn forget(&self, deployment: &str) {
        self.blindness.forget(deployment);
    }

    /// Commands that were sent to servers, by name.
    pub fn sent(&self) -> Vec<(&'static str, u64)> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().map(|(name, count)| (*name, *count)).collect()
    }

    fn count(&self, commands: &[Command]) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        for command in commands {
            *sent.entry(command.name).or_default() += 1;
        }
    }
}
