//! Handle of a deployment to one Sentinel.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use topology::{Deployment, FailedContact, NodeKind, OwnErrors, PollOutcome};

use super::events::{EventListener, EventListeners, SentinelEvent};
use crate::node_handle::NodeResult;

/// Limit of the events that wait for one deployment. During a failover, each Sentinel publishes 34
/// to 51 messages.
const MAX_WAITING: usize = 512;

/// Result of the last poll of a Sentinel.
#[derive(Debug, Clone)]
pub(super) struct SentinelState {
    /// Number of polls so far.
    pub(super) polls: u64,
    pub(super) outcome: PollOutcome,
    /// Text of the failure.
    pub(super) detail: Option<Arc<str>>,
    pub(super) contact: Option<FailedContact>,
    /// Errors that commands of this exporter caused since the task started.
    pub(super) own_errors: OwnErrors,
    /// Names of the masters that the Sentinel monitors, from its last reply.
    pub(super) masters: BTreeSet<Box<str>>,
}

/// Requests of the deployments to the task of one Sentinel.
#[derive(Debug, Default)]
pub(super) struct SentinelRequests {
    /// Masters whose lists the next poll reads.
    lists: Mutex<BTreeSet<Arc<str>>>,
    /// There is a sign that the Sentinel is back.
    has_return_sign: AtomicBool,
}

/// Handle of a deployment to one Sentinel.
#[derive(Debug)]
pub struct SentinelHandle {
    state: watch::Receiver<Arc<SentinelState>>,
    listeners: EventListeners,
    requests: Arc<SentinelRequests>,
    /// Number of polls at the last call of [`SentinelHandle::new_result`].
    seen_polls: u64,
    /// Errors up to the last reply that [`SentinelHandle::new_result`] returned.
    seen_errors: OwnErrors,
}

/// Receiver of the events of all Sentinels of a deployment.
#[derive(Debug)]
pub(crate) struct SentinelEvents {
    /// Keeps the channel open for a deployment without Sentinels.
    _sender: mpsc::Sender<SentinelEvent>,
    receiver: mpsc::Receiver<SentinelEvent>,
}

impl SentinelRequests {
    /// Removes the masters whose lists were requested, and returns them.
    pub(super) fn take_lists(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.lists())
    }

    /// Removes the sign that the Sentinel is back, and returns true if there was one.
    pub(super) fn take_return_sign(&self) -> bool {
        self.has_return_sign.swap(false, Relaxed)
    }

    fn lists(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SentinelState {
    /// Creates the state before the first poll.
    pub(super) fn new() -> Self {
        SentinelState {
            polls: 0,
            outcome: PollOutcome::Pending,
            detail: None,
            contact: None,
            own_errors: OwnErrors::new(),
            masters: BTreeSet::new(),
        }
    }

    /// Returns true after the first poll.
    pub(super) fn was_polled(&self) -> bool {
        self.polls > 0
    }
}

impl SentinelHandle {
    pub(super) fn new(
        state: watch::Receiver<Arc<SentinelState>>,
        listeners: EventListeners,
        requests: Arc<SentinelRequests>,
    ) -> Self {
        SentinelHandle { state, listeners, requests, seen_polls: 0, seen_errors: OwnErrors::new() }
    }

    /// Returns true after the first poll of the Sentinel.
    pub(crate) fn was_polled(&self) -> bool {
        self.state.borrow().was_polled()
    }

    /// Requests the lists of a master with the next poll.
    pub(crate) fn request_lists(&self, master: &str) {
        self.requests.lists().insert(master.into());
    }

    /// Records a sign that the Sentinel is back. It ends the delay before the next connection
    /// attempt.
    pub(crate) fn add_sign(&self) {
        self.requests.has_return_sign.store(true, Relaxed);
    }

    /// Returns the result of the last poll; `Pending` if there was none since the previous call.
    pub(crate) fn new_result(&mut self) -> NodeResult {
        let state = Arc::clone(&self.state.borrow());
        if state.polls == self.seen_polls {
            return NodeResult::unpolled(PollOutcome::Pending);
        }
        self.seen_polls = state.polls;
        let mut outcome = state.outcome.clone();
        if let PollOutcome::Answered(reply) = &mut outcome {
            let seen = |code: &str| self.seen_errors.get(code).copied().unwrap_or_default();
            reply.own_errors = state
                .own_errors
                .iter()
                .map(|(code, count)| (code.clone(), count.saturating_sub(seen(code))))
                .collect();
            self.seen_errors.clone_from(&state.own_errors);
        }
        NodeResult { outcome, detail: state.detail.clone(), contact: state.contact }
    }
}

impl SentinelEvents {
    /// Starts to receive the events of Sentinels, which are the first nodes of the deployment.
    pub(crate) fn listen(
        sentinels: &[SentinelHandle],
        master: &str,
        deployment: &Deployment,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        for (sentinel, node) in sentinels.iter().zip(deployment.nodes.values()) {
            sentinel.listeners.add(EventListener {
                master: master.to_owned(),
                shown: node.kind == NodeKind::Sentinel { shown: true },
                label: node.name.clone(),
                sender: sender.clone(),
            });
        }
        SentinelEvents { _sender: sender, receiver }
    }

    /// Waits for the next event.
    pub(crate) async fn next(&mut self) -> SentinelEvent {
        match self.receiver.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}
