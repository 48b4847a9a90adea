//! Fact: whether a node is there. A missed round is unknown, not evidence.

use std::time::{Duration, SystemTime};

use snapshot::Reason;

use crate::model::round::{NodeReply, PollOutcome};

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Nothing is known yet.
    Pending,
    /// It answers, or was silent for too short a time to say otherwise.
    Up,
    /// It does not answer.
    Down {
        /// Why it could not be read last.
        reason: Reason,
        /// Monotonic time at which it was found down.
        since: Duration,
    },
}

/// What asking the node has come to so far.
#[derive(Debug, Clone, Default)]
pub struct PollStats {
    /// Rounds in which it was asked, answered or not.
    pub polls: u64,
    /// Rounds in which no answer came, by reason; in the order of [`Reason::ALL`].
    pub failures: [u64; Reason::ALL.len()],
    /// Time that the last answer took.
    pub took: Option<Duration>,
    /// Wall time of the last answer.
    pub answered_at: Option<SystemTime>,
    /// When the certificate of the server expires, since the Unix epoch; `None` without TLS.
    pub certificate_expiry: Option<Duration>,
    /// Why the last round brought no answer, if it did not.
    pub failing: Option<Reason>,
    /// For how long it has been silent, as far as rounds show.
    pub silence: Duration,
}

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct NodeStateTracker {
    presence: Option<NodeState>,
    polling: PollStats,
}

impl NodeStateTracker {
    /// Takes up one round. `accrued` is the time that this round may add to a silence. In a blind round silence is evidence of nothing.
    pub(crate) fn observe(
        &mut self,
        outcome: &PollOutcome,
        blind: bool,
        elapsed: Duration,
        accrued: Duration,
        down_after: Duration,
    ) {
        match outcome {
            PollOutcome::Pending => {}
            PollOutcome::Answered(answer) => self.answered(answer),
            PollOutcome::Missed(reason) | PollOutcome::Failed(reason) => {
                self.polling.polls += 1;
                self.polling.failures[*reason as usize] += 1;
                self.polling.failing = Some(*reason);
                if !blind {
                    self.silent(
                        *reason,
                        matches!(outcome, PollOutcome::Failed(_)),
                        elapsed,
                        accrued,
                        down_after,
                    );
                }
            }
        }
    }

    pub(crate) fn presence(&self) -> NodeState {
        self.presence.unwrap_or(NodeState::Pending)
    }

    pub(crate) fn polling(&self) -> &PollStats {
        &self.polling
    }

    fn answered(&mut self, answer: &NodeReply) {
        self.polling.polls += 1;
        self.polling.took = Some(answer.took);
        self.polling.answered_at = Some(answer.at);
        self.polling.certificate_expiry = answer.certificate_expiry;
        self.polling.failing = None;
        self.polling.silence = Duration::ZERO;
        self.presence = Some(NodeState::Up);
    }

    fn silent(
        &mut self,
        reason: Reason,
        failed: bool,
        elapsed: Duration,
        accrued: Duration,
        down_after: Duration,
    ) {
        self.polling.silence += accrued;
        self.presence = match self.presence() {
            NodeState::Down { since, .. } => Some(NodeState::Down { reason, since }),
            // A node that never answered has no last claim to keep: any failed attempt is its first outcome.
            NodeState::Pending if failed => Some(NodeState::Down { reason, since: elapsed }),
            NodeState::Up if failed && is_evidence(reason) => {
                Some(NodeState::Down { reason, since: elapsed })
            }
            _ if self.polling.silence >= down_after => {
                Some(NodeState::Down { reason, since: elapsed })
            }
            other => Some(other),
        };
    }
}

/// For this reason a node is not there. The other reasons are of our own making: the node may well serve others.
pub(crate) fn is_absence(reason: Reason) -> bool {
    use Reason::{Closed, Dns, Refused, Reset, Timeout, Unreachable};
    matches!(reason, Refused | Timeout | Reset | Closed | Dns | Unreachable)
}

/// The server's host itself said that the server is gone. Everything else may be a pause, or our own trouble.
fn is_evidence(reason: Reason) -> bool {
    matches!(reason, Reason::Refused | Reason::Reset | Reason::Closed)
}
