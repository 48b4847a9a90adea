//! The watcher of one Sentinel: asks it once an interval, and at once when it announces something.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::events::bounded;
use super::listener;
use crate::context::PollerContext;
use crate::node_handle::NodeHandle;
use crate::node_task::{NodeTaskSettings, PollRequest, SlotId, TaskReport};
use crate::poll_plan::WatchedMasters;
use crate::sentinels::events::{Listener, SentinelEvent, master};
use crate::sentinels::listener::Announced;
use anyhow::{Context, bail};
use client::Endpoint;
use config::Cadences;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use topology::{OwnErrors, PollOutcome, SentinelMessage};

/// A Sentinel that announces something is asked again at most that often.
const APART: Duration = Duration::from_millis(100);

/// The most announcements that wait for the Sentinel to be asked.
const MAX_WAITING: usize = 1024;

/// What is asked of a Sentinel, and how often.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SentinelTaskSettings {
    pub(super) interval: Duration,
    /// The names of the masters that are of interest.
    pub(super) masters: WatchedMasters,
}

/// What came of asking a Sentinel last.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// How often it was asked.
    sequence: u64,
    outcome: PollOutcome,
    /// What went wrong, in words.
    detail: Option<Arc<str>>,
    /// The errors that our own commands met, since the watcher started.
    errors: OwnErrors,
    /// The masters that it watches, as it said last.
    pub(super) masters: BTreeSet<Box<str>>,
}

/// A Sentinel, as a deployment sees it.
#[derive(Debug)]
pub struct SentinelHandle {
    state: watch::Receiver<Arc<State>>,
    listeners: Listeners,
    taken: u64,
    errors: OwnErrors,
}

/// Those who are told what a Sentinel announces.
pub(super) type Listeners = Arc<Mutex<Vec<Listener>>>;

/// The watcher of one Sentinel.
pub(super) struct SentinelTask {
    pub(super) endpoint: Endpoint,
    pub(super) shared: PollerContext,
    pub(super) brief: watch::Receiver<SentinelTaskSettings>,
    pub(super) state: watch::Sender<Arc<State>>,
    pub(super) listeners: Listeners,
    /// The run id of the process that answers.
    pub(super) process: watch::Sender<Option<Box<str>>>,
    /// Told when the Sentinel watches other masters than before.
    pub(super) changed: Arc<Notify>,
}

impl State {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        State {
            sequence: 0,
            outcome: PollOutcome::Pending,
            detail: None,
            errors: OwnErrors::new(),
            masters: BTreeSet::new(),
        }
    }

    /// Something came of asking it.
    pub(super) fn heard(&self) -> bool {
        self.sequence > 0
    }
}

// === impl Watch ===

impl SentinelHandle {
    pub(super) fn new(state: watch::Receiver<Arc<State>>, listeners: Listeners) -> Self {
        SentinelHandle { state, listeners, taken: 0, errors: OwnErrors::new() }
    }

    /// Something came of asking it.
    pub(crate) fn heard(&self) -> bool {
        self.state.borrow().heard()
    }

    /// Tells a listener what the Sentinel announces from here on.
    pub(super) fn listen(&self, listener: Listener) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| !listener.sender.is_closed());
        listeners.push(listener);
    }

    /// What came of asking it since this was called last, and the text of what went wrong; nothing, if it was not asked meanwhile.
    pub(crate) fn take(&mut self) -> (PollOutcome, Option<Arc<str>>) {
        let state = Arc::clone(&self.state.borrow());
        if state.sequence == self.taken {
            return (PollOutcome::Pending, None);
        }
        self.taken = state.sequence;
        let mut outcome = state.outcome.clone();
        if let PollOutcome::Answered(answer) = &mut outcome {
            let before = |code: &str| self.errors.get(code).copied().unwrap_or_default();
            answer.own_errors = state
                .errors
                .iter()
                .map(|(code, count)| (code.clone(), count - before(code)))
                .collect();
            self.errors.clone_from(&state.errors);
        }
        (outcome, state.detail.clone())
    }
}

// === impl Watcher ===

impl SentinelTask {
    /// Watches for ever.
    ///
    /// # Errors
    /// Only when one of its tasks died, which must end the process.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let clock = self.shared.clock;
        let (reporting, mut reports) = mpsc::channel(16);
        let (announcing, mut announced) = mpsc::channel(MAX_WAITING);
        let mut tasks = JoinSet::new();
        let mut asked = NodeHandle::start(self.post(), reporting, self.shared.clone(), &mut tasks);
        let process = self.process.subscribe();
        tasks.spawn(listener::run(self.endpoint.clone(), self.shared.clone(), announcing, process));
        let mut waiting: Vec<Announced> = Vec::new();
        let mut urgent: BTreeSet<Arc<str>> = BTreeSet::new();
        // The Sentinel is asked when it is connected; until then, what fails is told as it fails.
        let mut next = clock.now();
        let mut begun = None;
        let mut deadline: Option<Instant> = None;
        loop {
            let interval = self.brief.borrow().interval;
            tokio::select! {
                biased;
                Some(ended) = tasks.join_next() => {
                    ended.context("a Sentinel's task died")?;
                    bail!("a Sentinel's task ended");
                }
                report = reports.recv() => {
                    let (_, report) = report.context("a Sentinel's task ended")?;
                    // The first answer is not waited for by any round.
                    let first = asked.pending();
                    let closes = matches!(report, TaskReport::Answered(_) | TaskReport::Refused(_)) || (first && matches!(report, TaskReport::Failed(_)));
                    asked.take(report, interval);
                    if closes {
                        deadline = None;
                        self.close(&mut asked, &mut waiting);
                    } else if first {
                        next = clock.now();
                    }
                }
                changed = self.brief.changed() => {
                    if changed.is_err() {
                        // Nobody wants to know any more, and this task is being ended.
                        std::future::pending::<()>().await;
                    }
                    next = clock.now();
                }
                message = announced.recv() => {
                    // What is not watched any more is not asked for.
                    let told = message.as_ref().filter(|(_, channel, _)| channel != "-monitor");
                    let named = told.and_then(|(_, channel, payload)| master(channel, payload));
                    // Nor is what is of no interest, however many names are announced.
                    urgent.extend(named.and_then(|name| self.brief.borrow().masters.iter().find(|master| ***master == *name).cloned()));
                    waiting.extend(message.filter(|_| waiting.len() < MAX_WAITING));
                    next = next.min(begun.map_or(clock.now(), |begun: Instant| begun + APART));
                }
                () = sleep_until(deadline.unwrap_or(next)), if deadline.is_some() => {
                    deadline = None;
                    self.close(&mut asked, &mut waiting);
                }
                () = sleep_until(next), if deadline.is_none() => {
                    let now = clock.now();
                    (begun, next) = (Some(now), now + interval);
                    let interest = Some(Arc::clone(&self.brief.borrow().masters));
                    if asked.ask(PollRequest { interest, urgent: urgent.iter().cloned().collect(), ..PollRequest::default() }) {
                        urgent.clear();
                    }
                    if asked.awaited {
                        deadline = Some(now + interval.mul_f64(0.8));
                    } else if !asked.pending() {
                        self.close(&mut asked, &mut waiting);
                    }
                }
            }
        }
    }

    /// Tells what came of asking, and then what was announced before.
    fn close(&mut self, asked: &mut NodeHandle, waiting: &mut Vec<Announced>) {
        let clock = self.shared.clock;
        let (outcome, detail) = asked.close(clock.elapsed(clock.now()));
        if matches!(outcome, PollOutcome::Pending) {
            return;
        }
        let mut state = State::clone(&self.state.borrow());
        state.sequence += 1;
        let first = state.sequence == 1;
        let mut changed = first;
        if let PollOutcome::Answered(answer) = &outcome {
            let run_id = &answer.snapshot.identity.run_id;
            self.process.send_if_modified(|known| {
                let other = known != run_id;
                known.clone_from(run_id);
                other
            });
            for (code, count) in &answer.own_errors {
                *state.errors.entry(code.clone()).or_default() += count;
            }
            if let Some(report) = &answer.snapshot.sentinel {
                let masters: BTreeSet<_> =
                    report.masters().iter().map(|report| report.master.name.clone()).collect();
                changed |= masters != state.masters;
                state.masters = masters;
            }
        }
        (state.outcome, state.detail) = (outcome, detail);
        self.state.send_replace(Arc::new(state));
        if changed {
            self.changed.notify_one();
        }
        if first {
            self.tell(|_| Some(SentinelEvent::Heard));
        }
        for (at, channel, payload) in waiting.drain(..) {
            let of = master(&channel, &payload);
            self.tell(|listener| {
                let concerned = of.map_or(listener.shown, |name| name == listener.master);
                let message = || SentinelMessage {
                    at,
                    sentinel: listener.label.clone(),
                    channel: bounded(&channel),
                    payload: bounded(&payload),
                };
                concerned.then(|| SentinelEvent::SentinelMessage(message()))
            });
        }
    }

    fn tell(&self, what: impl Fn(&Listener) -> Option<SentinelEvent>) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| match what(listener) {
            // One that is slow misses some: its history is bounded too.
            Some(announcement) => !matches!(
                listener.sender.try_send(announcement),
                Err(mpsc::error::TrySendError::Closed(_))
            ),
            None => true,
        });
    }

    fn post(&self) -> NodeTaskSettings {
        NodeTaskSettings {
            seat: SlotId { index: 0, turn: 0 },
            deployment: String::new(),
            node: self.endpoint.to_string(),
            endpoint: self.endpoint.clone(),
            cadences: Cadences::default(),
            assumed: std::collections::BTreeMap::new(),
        }
    }
}
