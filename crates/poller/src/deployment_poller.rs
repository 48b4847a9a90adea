//! The rounds of one deployment: ask every connected node, close, fold, publish.
//!
//! A round closes when every node that answered promptly the round before has answered, or at the deadline. A node that missed is asked,
//! but not waited for, until it answers promptly again; so a hung node costs one slow round, and then nothing. Connecting is no part of
//! a round: each node's station connects on its own. Sentinels are asked by watchers that all deployments share (`crate::sentinels`): a
//! round takes what they heard last, and what a Sentinel announces asks for a round at once. Endpoints are checked by tasks of their own
//! too, and names are looked up by tasks of their own; a round takes what came of it.

use std::sync::Arc;
use std::time::Duration;

use crate::blindness::FailureReporter;
use crate::context::PollerContext;
use crate::disk_monitor::DiskMonitor;
use crate::endpoint_checker::{EndpointCheck, EndpointChecker, FinishedCheck};
use crate::event_log;
use crate::name_resolver::Names;
use crate::node_handle::NodeHandle;
use crate::node_task::NodeTaskSettings;
use crate::node_task::PollRequest;
use crate::node_task::SlotId;
use crate::node_task::TaskReport;
use crate::reverse_lookups::ReverseLookups;
use crate::sentinels::SentinelHandle;
use crate::sentinels::{SentinelEvent, SentinelEvents};
use anyhow::{Context, bail};
use config::DeploymentSettings;
use snapshot::Reason;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use topology::{
    DeploymentTracker, DeploymentView, EndpointCheckResult, NodeKind, OwnErrors, PollOutcome,
    ReadRequest, Round, SentinelMessage,
};
use tracing::warn;

/// Rounds that are asked for begin at least that long after the one before.
const APART: Duration = Duration::from_millis(100);

/// The most announcements of Sentinels that wait for a round.
const MAX_MESSAGES: usize = 256;

/// The most checks of endpoints that wait for a round, and the most processes whose errors by such checks wait for their next answer.
const MAX_CHECKS: usize = 16;

/// The rounds of one deployment.
struct DeploymentPoller {
    settings: DeploymentSettings,
    shared: PollerContext,
    tracker: DeploymentTracker,
    /// Who sits at each place of the fold.
    members: Vec<NodeSlot>,
    turn: u64,
    reporting: mpsc::Sender<(SlotId, TaskReport)>,
    reports: mpsc::Receiver<(SlotId, TaskReport)>,
    stations: JoinSet<()>,
    announcements: SentinelEvents,
    messages: Vec<SentinelMessage>,
    checking: mpsc::Sender<FinishedCheck>,
    checked: mpsc::Receiver<FinishedCheck>,
    checks: Vec<EndpointCheckResult>,
    /// Errors that checks of endpoints met at a process, until that process answers as a node: they are in its counters.
    owed: Vec<(Box<str>, OwnErrors)>,
    lookups: ReverseLookups,
    names: Names,
    disks: DiskMonitor,
    witness: FailureReporter,
    /// When the last round began.
    begun: Option<Instant>,
    /// When a round is to begin that something asked for.
    asked_for: Option<Instant>,
    /// What the facts wait for.
    wanted: Vec<ReadRequest>,
}

/// Who sits at a place.
enum NodeSlot {
    /// A node with a station of its own.
    Node(NodeHandle, String),
    /// A Sentinel, which a watcher asks for all deployments.
    Sentinel(SentinelHandle),
    /// A name that stands for no address yet.
    Unresolved,
    /// Nobody.
    None,
}

/// Polls a deployment for ever, and publishes a view for each round. `watches` are those of its Sentinels, by their places; `phase` sets
/// its rounds apart from those of other deployments.
///
/// # Errors
/// Only when one of its tasks died, which must end the process.
pub async fn run(
    settings: DeploymentSettings,
    watches: Vec<SentinelHandle>,
    shared: PollerContext,
    publish: watch::Sender<Arc<DeploymentView>>,
    phase: Duration,
) -> anyhow::Result<()> {
    let mut rounds = DeploymentPoller::new(settings, watches, shared);
    let clock = rounds.shared.clock;
    rounds.settle().await?;
    let mut view = rounds.round(clock.now()).await?;
    if rounds.waits() {
        // Somebody has just named the nodes.
        rounds.settle().await?;
        view = rounds.round(clock.now()).await?;
    }
    publish.send_replace(view);
    // What is known before the first check began can be held against it.
    rounds.check(phase);
    let interval = rounds.settings.deployment.interval;
    let mut ticks = interval_at(clock.next(phase, interval), interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let asked_for = rounds.asked_for;
        let scheduled = tokio::select! {
            scheduled = ticks.tick() => scheduled,
            // No tick of the clock, so none that could be late.
            () = sleep_until(asked_for.unwrap_or_else(|| clock.now())), if asked_for.is_some() => clock.now(),
            noticed = rounds.notice() => {
                noticed?;
                continue;
            }
        };
        publish.send_replace(rounds.round(scheduled).await?);
    }
}

impl DeploymentPoller {
    fn new(
        settings: DeploymentSettings,
        watches: Vec<SentinelHandle>,
        shared: PollerContext,
    ) -> Self {
        let (reporting, reports) = mpsc::channel(settings.endpoints.len() + 16);
        let (checking, checked) = mpsc::channel(MAX_CHECKS);
        let mut tracker = DeploymentTracker::new(Arc::clone(&settings.deployment));
        shared.state.recall(&mut tracker, shared.clock.wall());
        let mut stations = JoinSet::new();
        let names = Names::look_up(&settings, &mut stations);
        let disks = DiskMonitor::watch(&settings, &shared, &mut stations);
        let witness = shared.blindness.witness();
        let mut rounds = DeploymentPoller {
            announcements: SentinelEvents::of(&watches, settings.master(), &settings.deployment),
            members: watches.into_iter().map(NodeSlot::Sentinel).collect(),
            tracker,
            settings,
            shared,
            turn: 0,
            reporting,
            reports,
            stations,
            messages: Vec::new(),
            checking,
            checked,
            checks: Vec::new(),
            owed: Vec::new(),
            lookups: ReverseLookups::default(),
            names,
            disks,
            witness,
            begun: None,
            asked_for: None,
            wanted: Vec::new(),
        };
        rounds.seat();
        rounds
    }

    /// Gives a station to each node of the deployment that has none, and takes away those of nodes that are gone.
    fn seat(&mut self) {
        let deployment = Arc::clone(&self.tracker.view().deployment);
        for (index, node) in deployment.nodes.values().enumerate() {
            let sits = match self.members.get(index) {
                Some(NodeSlot::Node(_, address)) => {
                    node.kind == NodeKind::Data && *address == node.address
                }
                Some(NodeSlot::Sentinel(_)) => true,
                Some(NodeSlot::Unresolved) => {
                    node.kind == NodeKind::Data
                        && self.settings.endpoint(index, &node.address).is_none()
                }
                Some(NodeSlot::None) => node.kind == NodeKind::Vacant,
                None => false,
            };
            if sits {
                continue;
            }
            self.turn += 1;
            let seat = SlotId { index, turn: self.turn };
            let member = match self
                .settings
                .endpoint(index, &node.address)
                .filter(|_| node.kind == NodeKind::Data)
            {
                Some(endpoint) => {
                    let post = NodeTaskSettings {
                        seat,
                        deployment: deployment.name.clone(),
                        node: node.name.clone(),
                        endpoint,
                        cadences: self.settings.cadences,
                        assumed: self.settings.assumed.clone(),
                    };
                    let asked = NodeHandle::start(
                        post,
                        self.reporting.clone(),
                        self.shared.clone(),
                        &mut self.stations,
                    );
                    NodeSlot::Node(asked, node.address.clone())
                }
                None if node.kind == NodeKind::Data => NodeSlot::Unresolved,
                None => NodeSlot::None,
            };
            match self.members.get_mut(index) {
                Some(sitting) => *sitting = member,
                None => self.members.push(member),
            }
        }
    }

    /// Begins to check the endpoints. Deployments are spread over the time between two checks as they are over that between two rounds.
    fn check(&mut self, phase: Duration) {
        let settings = &self.settings;
        let spread = settings.check_interval.div_duration_f64(settings.deployment.interval);
        let first = self.shared.clock.now() + phase.mul_f64(spread);
        for service in &settings.service_endpoints {
            let brief = EndpointCheck {
                deployment: settings.deployment.name.clone(),
                kind: service.kind,
                endpoint: service.endpoint.clone(),
                interval: settings.check_interval,
                first,
            };
            self.stations.spawn(
                EndpointChecker::new(brief, self.shared.clone(), self.checking.clone()).run(),
            );
        }
    }

    /// Nothing is known yet of some node.
    fn waits(&self) -> bool {
        let waits = |member: &NodeSlot| match member {
            NodeSlot::Node(asked, _) => asked.pending(),
            NodeSlot::Sentinel(watch) => !watch.heard(),
            NodeSlot::Unresolved | NodeSlot::None => false,
        };
        self.names.waits() || self.members.iter().any(waits)
    }

    /// Waits until each node had its first outcome, but not for long: a node that hangs must not keep the others from being seen.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let until = self.shared.clock.now() + self.settings.deadline;
        while self.waits() {
            tokio::select! {
                noticed = self.notice() => noticed?,
                () = sleep_until(until) => break,
            }
        }
        Ok(())
    }

    async fn round(&mut self, scheduled: Instant) -> anyhow::Result<Arc<DeploymentView>> {
        let begun = self.shared.clock.now();
        let deadline = begun + self.settings.deadline;
        (self.begun, self.asked_for) = (Some(begun), None);
        for (index, member) in self.members.iter_mut().enumerate() {
            if let NodeSlot::Node(asked, _) = member {
                let index = topology::NodeIndex::new(index);
                let wants = |wanted: &ReadRequest| self.wanted.contains(wanted);
                let (commands, clients) = (
                    wants(&ReadRequest::CommandStats(index)),
                    wants(&ReadRequest::ClientList(index)),
                );
                asked.ask(PollRequest {
                    commands,
                    clients,
                    map: wants(&ReadRequest::ClusterMap(index)),
                    ..PollRequest::default()
                });
            }
        }
        while self
            .members
            .iter()
            .any(|member| matches!(member, NodeSlot::Node(asked, _) if asked.awaited))
        {
            tokio::select! {
                noticed = self.notice() => noticed?,
                () = sleep_until(deadline) => break,
            }
        }
        let round = self.close(scheduled, begun, deadline);
        let before = Arc::clone(&self.tracker.view().deployment);
        let step = self.tracker.observe(&round);
        event_log::log(&step);
        self.shared.state.keep(&self.tracker, &step, self.shared.clock.wall());
        if !Arc::ptr_eq(&before, &step.view.deployment) {
            self.seat();
            // An address may be another node's by the time that it is found again.
            self.lookups.forget();
        }
        self.lookups.want(step.requests.iter());
        self.wanted = step.requests;
        Ok(step.view)
    }

    fn close(&mut self, scheduled: Instant, begun: Instant, deadline: Instant) -> Round {
        let clock = self.shared.clock;
        let interval = self.settings.deployment.interval;
        let closed = clock.now();
        let elapsed = clock.elapsed(closed);
        let late = begun.saturating_duration_since(scheduled);
        let held_up =
            late > interval / 2 || closed.saturating_duration_since(deadline) > interval / 2;
        let mut failing = Vec::with_capacity(self.members.len());
        let (mut outcomes, details): (Vec<_>, Vec<_>) = self
            .members
            .iter_mut()
            .map(|member| match member {
                NodeSlot::Node(asked, _) => {
                    let closed = asked.close(elapsed);
                    failing.push(asked.failing);
                    closed
                }
                NodeSlot::Sentinel(watch) => watch.take(),
                NodeSlot::Unresolved => (PollOutcome::Failed(Reason::Dns), None),
                NodeSlot::None => (PollOutcome::Pending, None),
            })
            .unzip();
        self.repay(&mut outcomes);
        let cut_off = self.witness.note(failing);
        Round {
            duration: closed - begun,
            missed: u64::try_from(late.as_nanos() / interval.as_nanos()).unwrap_or(u64::MAX),
            blind: held_up || cut_off,
            details: details.into(),
            messages: std::mem::take(&mut self.messages),
            checks: std::mem::take(&mut self.checks),
            host_names: self.lookups.names(),
            resolved: self.names.resolved(),
            disks: self.disks.now(closed).into(),
            ..Round::new(clock.wall(), topology::Monotonic::from_start(elapsed), outcomes)
        }
    }

    /// Waits for the next thing that a round is made of, and takes it up.
    async fn notice(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            Some(ended) = self.stations.join_next() => match ended {
                // The station of a node that is gone.
                Err(error) if error.is_cancelled() => {}
                ended => {
                    ended.context("a node's task died")?;
                    bail!("a node's task ended");
                }
            },
            report = self.reports.recv() => {
                let (seat, report) = report.context("every node's task ended")?;
                self.take(seat, report);
            }
            Some(checked) = self.checked.recv() => self.take_check(checked),
            announced = self.announcements.next() => self.announced(announced),
            () = self.lookups.next() => self.ask_for_round(),
            () = self.disks.next() => {}
            others = self.names.next() => {
                if others {
                    self.ask_for_round();
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, seat: SlotId, report: TaskReport) {
        let deadline = self.settings.deadline;
        let Some(NodeSlot::Node(asked, _)) = self.members.get_mut(seat.index) else { return };
        if asked.seat != seat {
            return;
        }
        // A node that was found just now is worth looking at before its time.
        let found = self.settings.discovery.is_some() && asked.pending();
        asked.take(report, deadline);
        if found {
            self.ask_for_round();
        }
    }

    fn take_check(&mut self, checked: FinishedCheck) {
        let FinishedCheck { check, own_errors } = checked;
        if let Ok(answerer) = &check.outcome
            && let Some(run_id) = answerer.run_id.as_ref().filter(|_| !own_errors.is_empty())
        {
            self.owed.push((run_id.clone(), own_errors));
        }
        self.checks.push(check);
        // The latest count. What a server owes that is no node is never claimed.
        self.owed.drain(..self.owed.len().saturating_sub(MAX_CHECKS));
        self.checks.drain(..self.checks.len().saturating_sub(MAX_CHECKS));
    }

    /// Adds the errors that checks of endpoints met to the answers of the nodes that were behind them.
    fn repay(&mut self, outcomes: &mut [PollOutcome]) {
        for outcome in outcomes {
            let PollOutcome::Answered(answer) = outcome else { continue };
            let Some(run_id) = answer.snapshot.identity.run_id.clone() else { continue };
            for (_, errors) in self.owed.extract_if(.., |(at, _)| *at == run_id) {
                for (code, count) in errors {
                    *answer.own_errors.entry(code).or_default() += count;
                }
            }
        }
    }

    fn announced(&mut self, announcement: SentinelEvent) {
        match announcement {
            SentinelEvent::SentinelMessage(message) => {
                if self.messages.len() == MAX_MESSAGES {
                    warn!(
                        deployment = self.settings.deployment.name,
                        "Sentinels announce more than is taken up, the rest is left out"
                    );
                }
                // One more than the most says that there were more.
                if self.messages.len() <= MAX_MESSAGES {
                    self.messages.push(message);
                }
            }
            SentinelEvent::Heard => {}
        }
        self.ask_for_round();
    }

    fn ask_for_round(&mut self) {
        let now = self.shared.clock.now();
        self.asked_for
            .get_or_insert_with(|| self.begun.map_or(now, |begun| now.max(begun + APART)));
    }
}
