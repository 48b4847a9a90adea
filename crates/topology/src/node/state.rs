//! Tracker of the availability of a node. A single missed poll does not mark a node down.

use std::time::Duration;

use snapshot::Reason;

use crate::model::monotonic::Monotonic;
use crate::model::node::{NodeState, PollStats};
use crate::model::round::{NodeReply, PollOutcome};

/// Tracks the availability of one node.
#[derive(Debug, Default)]
pub(crate) struct NodeStateTracker {
    state: Option<NodeState>,
    polling: PollStats,
}

impl NodeStateTracker {
    /// Processes the outcome of one poll. `accrued` is the time that this round may add to a
    /// silence. In a blind round failures say nothing about the node.
    pub(crate) fn observe(
        &mut self,
        outcome: &PollOutcome,
        blind: bool,
        now: Monotonic,
        accrued: Duration,
        down_after: Duration,
    ) {
        match outcome {
            PollOutcome::Pending => {}
            PollOutcome::Answered(reply) => self.observe_reply(reply),
            PollOutcome::Missed(reason) | PollOutcome::Failed(reason) => {
                self.polling.polls += 1;
                self.polling.failures[*reason as usize] += 1;
                self.polling.failing = Some(*reason);
                if !blind {
                    let failed = matches!(outcome, PollOutcome::Failed(_));
                    self.observe_silence(*reason, failed, now, accrued, down_after);
                }
            }
        }
    }

    /// Returns the availability after the last round.
    pub(crate) fn state(&self) -> NodeState {
        self.state.unwrap_or(NodeState::Pending)
    }

    /// Returns the polls so far.
    pub(crate) fn polling(&self) -> &PollStats {
        &self.polling
    }

    fn observe_reply(&mut self, reply: &NodeReply) {
        self.polling.polls += 1;
        self.polling.duration = Some(reply.duration);
        self.polling.answered_at = Some(reply.at);
        self.polling.certificate_expiry = reply.certificate_expiry;
        self.polling.failing = None;
        self.polling.silence = Duration::ZERO;
        self.state = Some(NodeState::Up);
    }

    fn observe_silence(
        &mut self,
        reason: Reason,
        failed: bool,
        now: Monotonic,
        accrued: Duration,
        down_after: Duration,
    ) {
        self.polling.silence += accrued;
        let down = NodeState::Down { reason, since: now };
        self.state = Some(match self.state() {
            NodeState::Down { since, .. } => NodeState::Down { reason, since },
            // A node that never replied has no earlier state to keep: any failed attempt is its
            // first outcome.
            NodeState::Pending if failed => down,
            NodeState::Up if failed && is_evidence(reason) => down,
            _ if self.polling.silence >= down_after => down,
            other => other,
        });
    }
}

/// Returns true if the host of the server reported that the server is not running. Other failures
/// may be a pause, or a problem of the exporter.
fn is_evidence(reason: Reason) -> bool {
    matches!(reason, Reason::Refused | Reason::Reset | Reason::Closed)
}
