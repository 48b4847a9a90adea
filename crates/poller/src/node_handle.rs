//! A node, as those see it who ask its station.

use std::sync::Arc;
use std::time::Duration;

use crate::context::PollerContext;
use crate::node_task::{NodeTask, NodeTaskSettings, PollRequest, SlotId, TaskReport};
use client::Failure;
use snapshot::Reason;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use topology::{NodeReply, PollOutcome};

/// As many characters of the text of a failure as are kept.
const MAX_DETAIL: usize = 300;

/// A node, as those see it who ask its station. Its station ends with it.
pub(crate) struct NodeHandle {
    /// What the reports of its station are marked with.
    pub(crate) seat: SlotId,
    asks: mpsc::Sender<PollRequest>,
    station: AbortHandle,
    standing: TaskState,
    /// The last answer since the last round closed.
    answer: Option<NodeReply>,
    /// It answered within the deadline when last asked, or just connected: the next round waits for it.
    prompt: bool,
    /// The running round waits for it.
    pub(crate) awaited: bool,
    /// It answered before.
    pub(crate) answered: bool,
    /// Since when it fails, on the monotonic clock; `None` while it does not, or never answered.
    pub(crate) failing: Option<Duration>,
}

/// How a node stands.
enum TaskState {
    /// The first attempt to connect is under way.
    Pending,
    /// Connected, and not asked.
    Idle,
    /// Asked, and not answered yet.
    Polled,
    /// Connected, but INFO was refused for now.
    Refused(PollFailure),
    /// The connection was lost, and no attempt since has come to an end.
    Lost(PollFailure),
    /// The last attempt to connect or to read failed.
    Failed(PollFailure),
}

/// Why a node cannot be read, and the text of it.
struct PollFailure(Reason, Arc<str>);

impl NodeHandle {
    /// Starts the station of a node.
    pub(crate) fn start(
        post: NodeTaskSettings,
        reports: mpsc::Sender<(SlotId, TaskReport)>,
        shared: PollerContext,
        stations: &mut JoinSet<()>,
    ) -> Self {
        let (asks, asked) = mpsc::channel(1);
        let seat = post.seat;
        let station = stations.spawn(NodeTask::new(post, asked, reports, shared).run());
        NodeHandle {
            seat,
            asks,
            station,
            standing: TaskState::Pending,
            answer: None,
            prompt: false,
            awaited: false,
            answered: false,
            failing: None,
        }
    }

    /// Nothing came of it yet.
    pub(crate) fn pending(&self) -> bool {
        matches!(self.standing, TaskState::Pending)
    }

    /// Begins a round for this node; false when it is not asked, since it has not answered the last time, or is not connected.
    pub(crate) fn ask(&mut self, ask: PollRequest) -> bool {
        let free = matches!(self.standing, TaskState::Idle | TaskState::Refused(_));
        // A full channel holds an ask that is still to be taken up, which serves as well.
        let asked =
            free && !matches!(self.asks.try_send(ask), Err(mpsc::error::TrySendError::Closed(_)));
        if asked {
            self.standing = TaskState::Polled;
        }
        self.awaited = asked && self.prompt;
        asked
    }

    /// Takes up what the station reports.
    pub(crate) fn take(&mut self, report: TaskReport, deadline: Duration) {
        self.awaited = false;
        match report {
            TaskReport::Connected => {
                self.standing = TaskState::Idle;
                self.prompt = true;
            }
            TaskReport::Answered(answer) => {
                self.standing = TaskState::Idle;
                self.prompt = answer.duration <= deadline;
                self.answer = Some(answer.with_counts_of(self.answer.take()));
            }
            TaskReport::Refused(failure) => {
                self.standing = TaskState::Refused(failure.into());
                self.prompt = true;
            }
            TaskReport::Lost(failure) => self.standing = TaskState::Lost(failure.into()),
            TaskReport::Failed(failure) => self.standing = TaskState::Failed(failure.into()),
        }
    }

    /// Ends a round for this node. Gives what came of it, and the text of what went wrong.
    pub(crate) fn close(&mut self, elapsed: Duration) -> (PollOutcome, Option<Arc<str>>) {
        let (outcome, detail) = (self.outcome(), self.detail());
        match outcome {
            PollOutcome::Answered(_) => (self.answered, self.failing) = (true, None),
            PollOutcome::Missed(_) | PollOutcome::Failed(_) if self.answered => {
                self.failing = self.failing.or(Some(elapsed));
            }
            _ => {}
        }
        (outcome, detail)
    }

    fn detail(&self) -> Option<Arc<str>> {
        match &self.standing {
            TaskState::Pending | TaskState::Idle | TaskState::Polled => None,
            TaskState::Refused(problem) | TaskState::Lost(problem) | TaskState::Failed(problem) => {
                Some(Arc::clone(&problem.1))
            }
        }
    }

    fn outcome(&mut self) -> PollOutcome {
        if self.awaited {
            self.awaited = false;
            self.prompt = false;
        }
        if let Some(answer) = self.answer.take() {
            return PollOutcome::Answered(answer);
        }
        match &self.standing {
            // A node that connected during the round was not asked.
            TaskState::Pending | TaskState::Idle => PollOutcome::Pending,
            TaskState::Polled => PollOutcome::Missed(Reason::Timeout),
            TaskState::Lost(problem) | TaskState::Refused(problem) => {
                PollOutcome::Missed(problem.0)
            }
            TaskState::Failed(problem) => PollOutcome::Failed(problem.0),
        }
    }
}

impl From<Failure> for PollFailure {
    fn from(failure: Failure) -> Self {
        PollFailure(
            failure.reason,
            failure.detail.chars().take(MAX_DETAIL).collect::<String>().into(),
        )
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.station.abort();
    }
}
