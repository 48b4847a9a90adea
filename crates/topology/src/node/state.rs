//! Tracker of the availability of a node. A single missed poll does not mark a node down.

use std::time::Duration;

use snapshot::Reason;

use crate::limits::BLIND_LIMIT;
use crate::model::monotonic::Monotonic;
use crate::model::node::{PollStats, is_absence};
use crate::model::node_state::{NodeState, UnknownNode, UnknownReason};
use crate::model::round::{NodeReply, PollOutcome, Round};

/// Tracks the availability of one node.
#[derive(Debug, Default)]
pub(crate) struct NodeStateTracker {
    state: Option<NodeState>,
    polling: PollStats,
}

impl NodeStateTracker {
    /// Processes the outcome of one poll. `accrued` is the time that this round may add to a
    /// silence. In a blind round failures say nothing about the node. If the exporter is cut off,
    /// this holds for silent failures only.
    pub(crate) fn observe(
        &mut self,
        outcome: &PollOutcome,
        round: &Round,
        accrued: Duration,
        down_after: Duration,
    ) {
        if round.cut_off_for.is_none() {
            self.polling.unknown = None;
        }
        match outcome {
            PollOutcome::Pending => {}
            PollOutcome::Answered(reply) => self.observe_reply(reply),
            PollOutcome::Missed(reason) | PollOutcome::Failed(reason) => {
                self.polling.polls += 1;
                self.polling.failures[*reason as usize] += 1;
                self.polling.failing = Some(*reason);
                let failing_since = *self.polling.failing_since.get_or_insert(round.now);
                if let Some(cut_off_for) = round.cut_off_for.filter(|_| reason.is_silent()) {
                    let unknown = UnknownNode {
                        why: UnknownReason::CutOff,
                        unread: round.now.since(failing_since) >= down_after,
                        outdated: cut_off_for > BLIND_LIMIT,
                    };
                    // A node that was down before keeps its state.
                    let is_down = matches!(self.state, Some(NodeState::Down { .. }));
                    self.polling.unknown = (!is_down).then_some(unknown);
                    if !is_down {
                        // The silence that marks the node as down begins after the cut.
                        self.polling.silence = Duration::ZERO;
                    }
                } else if !round.blind || round.cut_off_for.is_some() {
                    self.polling.unknown = None;
                    let failed = matches!(outcome, PollOutcome::Failed(_));
                    self.observe_silence(*reason, failed, round.now, accrued, down_after);
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
        self.polling.failing_since = None;
        self.polling.unknown = None;
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
        let down = if is_absence(reason) {
            NodeState::Down { reason, since: now }
        } else {
            NodeState::Unreadable { reason, since: now }
        };
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
