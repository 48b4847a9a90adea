//! Polling task of one Sentinel: polls it once per interval, and soon after each of its events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use client::Endpoint;
use config::Cadences;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use topology::PollOutcome;

use super::events::{EventListeners, PubSubMessage, SentinelEvent};
use super::handle::{SentinelRequests, SentinelState};
use super::subscriber;
use crate::context::PollerContext;
use crate::node_handle::{NodeHandle, NodeResult};
use crate::node_messages::{PollRequest, SentinelRequest, SlotId, SlotReport, TaskReport};
use crate::node_task::NodeTaskSettings;
use crate::own_errors;
use crate::poll_plan::MasterNames;

/// Minimum time between two polls that events cause.
const MIN_POLL_GAP: Duration = Duration::from_millis(100);

/// Limit of the messages that wait for the next poll.
const MAX_WAITING: usize = 1024;

/// Limit of the reports of the node task that wait to be handled.
const MAX_REPORTS: usize = 16;

/// Part of the interval after which a poll counts as missed.
const DEADLINE_FRACTION: f64 = 0.8;

/// Settings of the polling task of one Sentinel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SentinelTaskSettings {
    /// Interval between polls.
    pub(super) interval: Duration,
    /// Names of the masters whose details are read.
    pub(super) masters: MasterNames,
}

/// Polling task of one Sentinel.
pub(super) struct SentinelTask {
    pub(super) endpoint: Endpoint,
    pub(super) context: PollerContext,
    pub(super) settings: watch::Receiver<SentinelTaskSettings>,
    pub(super) state: watch::Sender<Arc<SentinelState>>,
    pub(super) listeners: EventListeners,
    pub(super) requests: Arc<SentinelRequests>,
    /// The `run_id` of the process that replies.
    pub(super) run_id: watch::Sender<Option<Box<str>>>,
    /// Notified after the first poll, and when the Sentinel lists other masters than before.
    pub(super) masters_changed: Arc<Notify>,
}

/// Schedule of the polls of one Sentinel.
struct PollSchedule {
    node: NodeHandle,
    /// Start of the next poll.
    next_at: Instant,
    /// Start of the last poll.
    last_at: Option<Instant>,
    /// Deadline of the running poll.
    deadline: Option<Instant>,
    /// Messages to pass on after the next poll.
    messages: Vec<PubSubMessage>,
    /// Masters to read with the next poll, regardless of the cadence.
    urgent_masters: BTreeSet<Arc<str>>,
}

impl SentinelTask {
    /// Polls the Sentinel until the task is aborted.
    ///
    /// # Errors
    /// Fails if one of its tasks ends. This must stop the process.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let (report_sender, mut reports) = mpsc::channel(MAX_REPORTS);
        let (message_sender, mut messages) = mpsc::channel(MAX_WAITING);
        let mut tasks = JoinSet::new();
        let node = NodeHandle::start(
            self.node_settings(),
            report_sender,
            self.context.clone(),
            &mut tasks,
        );
        tasks.spawn(subscriber::run(
            self.endpoint.clone(),
            self.context.clone(),
            message_sender,
            self.run_id.subscribe(),
        ));
        let mut schedule = PollSchedule {
            node,
            // The first poll follows the connection. Until then, failures are passed on at once.
            next_at: self.context.clock.now(),
            last_at: None,
            deadline: None,
            messages: Vec::new(),
            urgent_masters: BTreeSet::new(),
        };
        loop {
            let interval = self.settings.borrow().interval;
            let (next_at, deadline) = (schedule.next_at, schedule.deadline);
            tokio::select! {
                biased;
                Some(ended) = tasks.join_next() => {
                    ended.context("the task of a Sentinel panicked")?;
                    bail!("the task of a Sentinel ended");
                }
                report = reports.recv() => {
                    let report = report.context("the task of a Sentinel ended")?;
                    self.handle_report(&mut schedule, report, interval);
                }
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        // The Sentinel is no longer used, so this task is being aborted.
                        std::future::pending::<()>().await;
                    }
                    schedule.next_at = self.context.clock.now();
                }
                message = messages.recv() => self.handle_message(&mut schedule, message),
                () = sleep_until(deadline.unwrap_or(next_at)), if deadline.is_some() => {
                    self.finish_poll(&mut schedule);
                }
                () = sleep_until(next_at), if deadline.is_none() => {
                    self.start_poll(&mut schedule, interval);
                }
            }
        }
    }

    fn handle_report(&self, schedule: &mut PollSchedule, report: SlotReport, interval: Duration) {
        let SlotReport { report, at, .. } = report;
        // No poll waits for the first report.
        let first = schedule.node.is_pending();
        let ends_poll = match report {
            TaskReport::Replied(_) | TaskReport::InfoRefused(_) => true,
            TaskReport::AttemptFailed(_) => first,
            TaskReport::Connected | TaskReport::ConnectionLost(_) => false,
        };
        schedule.node.handle_report(report, at, interval);
        if ends_poll {
            self.finish_poll(schedule);
        } else if first {
            schedule.next_at = self.context.clock.now();
        }
    }

    /// Stores a message for the deployments, and schedules a poll.
    fn handle_message(&self, schedule: &mut PollSchedule, message: Option<PubSubMessage>) {
        // After `-monitor`, the Sentinel no longer knows the master.
        let monitored = message.as_ref().filter(|message| message.channel != "-monitor");
        // Only names of requested masters are stored, however many names the messages contain.
        let urgent = monitored.and_then(PubSubMessage::master).and_then(|name| {
            self.settings.borrow().masters.iter().find(|master| ***master == *name).cloned()
        });
        schedule.urgent_masters.extend(urgent);
        if schedule.messages.len() < MAX_WAITING {
            schedule.messages.extend(message);
        }
        let earliest = match schedule.last_at {
            Some(last_at) => last_at + MIN_POLL_GAP,
            None => self.context.clock.now(),
        };
        schedule.next_at = schedule.next_at.min(earliest);
    }

    fn start_poll(&self, schedule: &mut PollSchedule, interval: Duration) {
        let now = self.context.clock.now();
        (schedule.last_at, schedule.next_at) = (Some(now), now + interval);
        schedule.urgent_masters.extend(self.requests.take_lists());
        if self.requests.take_return_sign() {
            schedule.node.add_sign();
        }
        let polled = schedule.node.poll(PollRequest {
            sentinel: Some(Box::new(SentinelRequest {
                masters: Arc::clone(&self.settings.borrow().masters),
                urgent_masters: schedule.urgent_masters.iter().cloned().collect(),
            })),
            ..PollRequest::default()
        });
        if polled {
            schedule.urgent_masters.clear();
        }
        if schedule.node.blocks_round() {
            schedule.deadline = Some(now + interval.mul_f64(DEADLINE_FRACTION));
        } else if !schedule.node.is_pending() {
            self.finish_poll(schedule);
        }
    }

    /// Publishes the result of a poll, and then the messages that arrived before.
    fn finish_poll(&self, schedule: &mut PollSchedule) {
        schedule.deadline = None;
        let NodeResult { outcome, detail, contact } = schedule.node.finish_round();
        if matches!(outcome, PollOutcome::Pending) {
            return;
        }
        let mut state = SentinelState::clone(&self.state.borrow());
        state.polls += 1;
        let first = state.polls == 1;
        let mut changed = first;
        if let PollOutcome::Answered(reply) = &outcome {
            let run_id = &reply.snapshot.identity.run_id;
            self.run_id.send_if_modified(|known| {
                let modified = known != run_id;
                known.clone_from(run_id);
                modified
            });
            for (code, count) in &reply.own_errors {
                own_errors::add(&mut state.own_errors, code, *count);
            }
            if let Some(report) = &reply.snapshot.sentinel {
                let masters: BTreeSet<_> =
                    report.masters().iter().map(|report| report.master.name.clone()).collect();
                changed |= masters != state.masters;
                state.masters = masters;
            }
        }
        (state.outcome, state.detail, state.contact) = (outcome, detail, contact);
        self.state.send_replace(Arc::new(state));
        if changed {
            self.masters_changed.notify_one();
        }
        if first {
            self.listeners.send(|_| Some(SentinelEvent::FirstPoll));
        }
        for message in schedule.messages.drain(..) {
            self.listeners.send(|listener| message.event_for(listener));
        }
    }

    fn node_settings(&self) -> NodeTaskSettings {
        NodeTaskSettings {
            slot: SlotId { index: 0, generation: 0 },
            deployment: String::new(),
            node: self.endpoint.to_string(),
            endpoint: self.endpoint.clone(),
            is_sentinel: true,
            // Sentinels are configured, so they have no limit.
            connections: usize::MAX,
            cadences: Cadences::default(),
            interval: self.settings.borrow().interval,
            skipped: BTreeSet::new(),
            assumed_config: BTreeMap::new(),
        }
    }
}
