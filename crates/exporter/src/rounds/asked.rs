//! A node, as those see it who ask its station.

use std::sync::Arc;
use std::time::Duration;

use client::Failure;
use snapshot::Reason;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use topology::{NodeReply, PollOutcome};

use super::Shared;
use super::station::{Ask, Post, Report, Seat, Station};

/// As many characters of the text of a failure as are kept.
const MAX_DETAIL: usize = 300;

/// A node, as those see it who ask its station. Its station ends with it.
pub(crate) struct Asked {
    /// What the reports of its station are marked with.
    pub(crate) seat: Seat,
    asks: mpsc::Sender<Ask>,
    station: AbortHandle,
    standing: Standing,
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
enum Standing {
    /// The first attempt to connect is under way.
    Pending,
    /// Connected, and not asked.
    Idle,
    /// Asked, and not answered yet.
    Asked,
    /// Connected, but INFO was refused for now.
    Refused(Problem),
    /// The connection was lost, and no attempt since has come to an end.
    Lost(Problem),
    /// The last attempt to connect or to read failed.
    Failed(Problem),
}

/// Why a node cannot be read, and the text of it.
struct Problem(Reason, Arc<str>);

impl Asked {
    /// Starts the station of a node.
    pub(crate) fn start(
        post: Post,
        reports: mpsc::Sender<(Seat, Report)>,
        shared: Shared,
        stations: &mut JoinSet<()>,
    ) -> Self {
        let (asks, asked) = mpsc::channel(1);
        let seat = post.seat;
        let station = stations.spawn(Station::new(post, asked, reports, shared).run());
        Asked {
            seat,
            asks,
            station,
            standing: Standing::Pending,
            answer: None,
            prompt: false,
            awaited: false,
            answered: false,
            failing: None,
        }
    }

    /// Nothing came of it yet.
    pub(crate) fn pending(&self) -> bool {
        matches!(self.standing, Standing::Pending)
    }

    /// Begins a round for this node; false when it is not asked, since it has not answered the last time, or is not connected.
    pub(crate) fn ask(&mut self, ask: Ask) -> bool {
        let free = matches!(self.standing, Standing::Idle | Standing::Refused(_));
        // A full channel holds an ask that is still to be taken up, which serves as well.
        let asked =
            free && !matches!(self.asks.try_send(ask), Err(mpsc::error::TrySendError::Closed(_)));
        if asked {
            self.standing = Standing::Asked;
        }
        self.awaited = asked && self.prompt;
        asked
    }

    /// Takes up what the station reports.
    pub(crate) fn take(&mut self, report: Report, deadline: Duration) {
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
            Report::Refused(failure) => {
                self.standing = Standing::Refused(failure.into());
                self.prompt = true;
            }
            Report::Lost(failure) => self.standing = Standing::Lost(failure.into()),
            Report::Failed(failure) => self.standing = Standing::Failed(failure.into()),
        }
    }

    /// Ends a round for this node. Gives what came of it, and the text of what went wrong.
    pub(crate) fn close(&mut self, elapsed: Duration) -> (PollOutcome, Option<Arc<str>>) {
        let (outcome, detail) = (self.outcome(), self.detail());
        match outcome {
            PollOutcome::Answered(_) => (self.answered, self.failing) = (true, None),
            PollOutcome::Missed(_) | PollOutcome::Failed(_) if self.answered => {
                self.failing = self.failing.or(Some(elapsed))
            }
            _ => {}
        }
        (outcome, detail)
    }

    fn detail(&self) -> Option<Arc<str>> {
        match &self.standing {
            Standing::Pending | Standing::Idle | Standing::Asked => None,
            Standing::Refused(problem) | Standing::Lost(problem) | Standing::Failed(problem) => {
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
            Standing::Pending | Standing::Idle => PollOutcome::Pending,
            Standing::Asked => PollOutcome::Missed(Reason::Timeout),
            Standing::Lost(problem) | Standing::Refused(problem) => PollOutcome::Missed(problem.0),
            Standing::Failed(problem) => PollOutcome::Failed(problem.0),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Problem(failure.reason, failure.detail.chars().take(MAX_DETAIL).collect::<String>().into())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.station.abort();
    }
}
