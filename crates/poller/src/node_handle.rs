//! Handle to the polling task of one node.

use std::sync::Arc;
use std::time::Duration;

use client::Failure;
use snapshot::Reason;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use topology::{FailedContact, Monotonic, NodeReply, PollOutcome};

use crate::clock::Clock;
use crate::context::PollerContext;
use crate::node_messages::{PollRequest, SlotId, SlotReport, TaskReport};
use crate::node_task::{NodeTask, NodeTaskSettings};
use crate::reconnect::ReturnSigns;

/// Limit of the text of a failure, in characters.
const MAX_DETAIL: usize = 300;

/// Handle to the polling task of one node. The task ends when the handle is dropped.
pub(crate) struct NodeHandle {
    /// Slot whose reports belong to this node.
    pub(crate) slot: SlotId,
    requests: mpsc::Sender<PollRequest>,
    signs: watch::Sender<ReturnSigns>,
    task: AbortHandle,
    clock: Clock,
    state: TaskState,
    /// Number of signs when the node last connected.
    signs_when_connected: u64,
    /// Last reply since the last round.
    reply: Option<NodeReply>,
    /// Time at which the contact with the node failed: that of the first request without a reply,
    /// or of the loss of the connection. `None` after a reply.
    failing_since: Option<Instant>,
    /// Time of the last request.
    requested_at: Instant,
    /// Connection attempts in a row that the host refused.
    refused: u32,
    /// True if the node replied to the last poll within the deadline, or just connected. The next
    /// round waits for it.
    responsive: bool,
    /// True while the current round waits for this node.
    blocks_round: bool,
}

/// State of the task, from its last report.
enum TaskState {
    /// The first connection attempt is running.
    Pending,
    /// Connected, no poll is running.
    Idle,
    /// A poll is running.
    Polled,
    /// Connected, but the server refuses INFO for now.
    InfoRefused(PollFailure),
    /// The connection was lost, and no later attempt has ended yet.
    ConnectionLost(PollFailure),
    /// The last attempt to connect or to read failed.
    AttemptFailed(PollFailure),
}

/// Reason and text of a failed poll.
struct PollFailure {
    reason: Reason,
    detail: Arc<str>,
}

/// Result of one round for one node.
#[derive(Debug)]
pub(crate) struct NodeResult {
    pub(crate) outcome: PollOutcome,
    /// Text of the failure.
    pub(crate) detail: Option<Arc<str>>,
    /// The failed contact; `None` if the node replied to the last poll.
    pub(crate) contact: Option<FailedContact>,
}

impl NodeResult {
    /// Creates the result for a node that is not polled.
    pub(crate) fn unpolled(outcome: PollOutcome) -> Self {
        NodeResult { outcome, detail: None, contact: None }
    }
}

impl NodeHandle {
    /// Starts the polling task of a node.
    pub(crate) fn start(
        settings: NodeTaskSettings,
        reports: mpsc::Sender<SlotReport>,
        context: PollerContext,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (requests, request_receiver) = mpsc::channel(1);
        let (signs, sign_receiver) = watch::channel(ReturnSigns::default());
        let slot = settings.slot;
        let clock = context.clock;
        let task = NodeTask::new(settings, request_receiver, reports, sign_receiver, context);
        let task = tasks.spawn(Box::new(task).run());
        NodeHandle {
            slot,
            requests,
            signs,
            task,
            state: TaskState::Pending,
            signs_when_connected: 0,
            reply: None,
            failing_since: None,
            requested_at: clock.now(),
            refused: 0,
            clock,
            responsive: false,
            blocks_round: false,
        }
    }

    /// Returns true until the first connection attempt ends.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, TaskState::Pending)
    }

    /// Returns true while the current round waits for this node.
    pub(crate) fn blocks_round(&self) -> bool {
        self.blocks_round
    }

    /// Returns true if the return of the node is awaited, or if there was a sign of it since it
    /// last connected.
    pub(crate) fn expects_return(&self) -> bool {
        let signs = self.signs.borrow();
        signs.awaited || signs.count > self.signs_when_connected
    }

    /// Sets whether the return of the node is awaited. The delays between connection attempts are
    /// short then.
    pub(crate) fn set_awaited(&self, awaited: bool) {
        self.signs
            .send_if_modified(|signs| std::mem::replace(&mut signs.awaited, awaited) != awaited);
    }

    /// Records a sign that the node is back. It shortens the current delay.
    pub(crate) fn add_sign(&self) {
        self.signs.send_modify(|signs| signs.count += 1);
    }

    /// Starts a round: polls the node, unless it is not connected or the last poll still runs.
    /// Returns true if the node is polled.
    pub(crate) fn poll(&mut self, request: PollRequest) -> bool {
        let ready = matches!(self.state, TaskState::Idle | TaskState::InfoRefused(_));
        // If the channel is full, the waiting request serves as well.
        let polled = ready
            && !matches!(
                self.requests.try_send(request),
                Err(mpsc::error::TrySendError::Closed(_))
            );
        if polled {
            self.state = TaskState::Polled;
            self.requested_at = self.clock.now();
        }
        self.blocks_round = polled && self.responsive;
        polled
    }

    /// Updates the handle from a report of the task.
    pub(crate) fn handle_report(&mut self, report: TaskReport, at: Instant, deadline: Duration) {
        self.blocks_round = false;
        self.record_contact(&report, at);
        match report {
            TaskReport::Connected => {
                self.state = TaskState::Idle;
                self.signs_when_connected = self.signs.borrow().count;
                self.responsive = true;
            }
            TaskReport::Replied(reply) => {
                self.state = TaskState::Idle;
                self.responsive = reply.duration <= deadline;
                self.reply = Some(reply.with_counts_of(self.reply.take()));
            }
            TaskReport::InfoRefused(failure) => {
                self.state = TaskState::InfoRefused(failure.into());
                self.responsive = true;
            }
            TaskReport::ConnectionLost(failure) => {
                self.state = TaskState::ConnectionLost(failure.into());
            }
            TaskReport::AttemptFailed(failure) => {
                self.state = TaskState::AttemptFailed(failure.into());
            }
        }
    }

    /// Finishes a round and returns its result.
    pub(crate) fn finish_round(&mut self) -> NodeResult {
        let (outcome, detail) = (self.outcome(), self.detail());
        if matches!(outcome, PollOutcome::Missed(_) | PollOutcome::Failed(_)) {
            self.failing_since.get_or_insert(self.requested_at);
        }
        let contact = self.failing_since.map(|since| FailedContact {
            since: Monotonic::from_start(self.clock.elapsed(since)),
            refused: self.refused,
        });
        NodeResult { outcome, detail, contact }
    }

    /// Records when the contact with the node failed, and how often its host refused it.
    fn record_contact(&mut self, report: &TaskReport, at: Instant) {
        match report {
            TaskReport::Connected => self.refused = 0,
            TaskReport::Replied(_) => (self.failing_since, self.refused) = (None, 0),
            TaskReport::InfoRefused(_) => {
                self.failing_since.get_or_insert(at);
            }
            TaskReport::ConnectionLost(failure) | TaskReport::AttemptFailed(failure) => {
                // A request that was running has no reply.
                let is_unanswered = matches!(self.state, TaskState::Polled | TaskState::Pending);
                let since = if is_unanswered { self.requested_at } else { at };
                self.failing_since.get_or_insert(since);
                let is_refused = failure.reason == Reason::Refused;
                self.refused = if is_refused { self.refused.saturating_add(1) } else { 0 };
            }
        }
    }

    fn detail(&self) -> Option<Arc<str>> {
        match &self.state {
            TaskState::Pending | TaskState::Idle | TaskState::Polled => None,
            TaskState::InfoRefused(failure)
            | TaskState::ConnectionLost(failure)
            | TaskState::AttemptFailed(failure) => Some(Arc::clone(&failure.detail)),
        }
    }

    fn outcome(&mut self) -> PollOutcome {
        if self.blocks_round {
            self.blocks_round = false;
            self.responsive = false;
        }
        if let Some(reply) = self.reply.take() {
            return PollOutcome::Answered(reply);
        }
        match &self.state {
            // A node that connected during the round was not polled.
            TaskState::Pending | TaskState::Idle => PollOutcome::Pending,
            TaskState::Polled => PollOutcome::Missed(Reason::Timeout),
            TaskState::ConnectionLost(failure) | TaskState::InfoRefused(failure) => {
                PollOutcome::Missed(failure.reason)
            }
            TaskState::AttemptFailed(failure) => PollOutcome::Failed(failure.reason),
        }
    }
}

impl From<Box<Failure>> for PollFailure {
    fn from(failure: Box<Failure>) -> Self {
        let detail: String = failure.detail.chars().take(MAX_DETAIL).collect();
        PollFailure { reason: failure.reason, detail: detail.into() }
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
