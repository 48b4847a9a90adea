//! Tracker of the availability of a node. A poll is processed in two steps: the outcome is read
//! first, and the state of a node that does not reply is decided when the statements of its peers
//! in the same round are known.

use std::time::Duration;

use snapshot::Reason;

use crate::limits::{BLIND_LIMIT, REFUSED_ATTEMPTS, RETURN_WITHIN};
use crate::model::monotonic::Monotonic;
use crate::model::node::{PollStats, is_absence};
use crate::model::node_state::{NodeState, UnknownNode, UnknownReason};
use crate::model::round::{FailedContact, NodeReply, PollOutcome, Round};
use crate::witnesses::Testimony;

/// Tracks the availability of one node.
#[derive(Debug, Default)]
pub(crate) struct NodeStateTracker {
    state: Option<NodeState>,
    polling: PollStats,
    /// Connection attempts in a row that the host refused.
    refused: u32,
    /// Monotonic time since which witnesses vouch for the node.
    vouched_since: Option<Monotonic>,
    /// The poll of this round failed.
    failed: Option<FailedPoll>,
}

/// A poll without a reply.
#[derive(Debug, Clone, Copy)]
struct FailedPoll {
    /// An attempt to connect or to read failed, so that more than the reply is missing.
    attempt_failed: bool,
}

impl NodeStateTracker {
    /// Reads the outcome of one poll.
    pub(crate) fn observe(
        &mut self,
        outcome: &PollOutcome,
        contact: Option<FailedContact>,
        round: &Round,
    ) {
        self.failed = None;
        match outcome {
            PollOutcome::Pending => {}
            PollOutcome::Answered(reply) => self.observe_reply(reply, round.now),
            PollOutcome::Missed(reason) => self.observe_failure(*reason, false, contact, round.now),
            PollOutcome::Failed(reason) => self.observe_failure(*reason, true, contact, round.now),
        }
    }

    fn observe_reply(&mut self, reply: &NodeReply, now: Monotonic) {
        self.polling.polls += 1;
        self.polling.duration = Some(reply.duration);
        self.polling.total_duration = self.polling.total_duration.saturating_add(reply.duration);
        self.polling.requested =
            Some(reply.requested.unwrap_or_else(|| now.saturating_sub(reply.duration)));
        self.polling.answered_at = Some(reply.at);
        self.polling.certificate_expiry = reply.certificate_expiry;
        self.polling.failing = None;
        self.polling.failing_since = None;
        self.polling.unknown = None;
        self.polling.lived = true;
        self.polling.silence = Duration::ZERO;
        self.refused = 0;
        self.vouched_since = None;
        self.state = Some(NodeState::Up);
    }

    fn observe_failure(
        &mut self,
        reason: Reason,
        attempt_failed: bool,
        contact: Option<FailedContact>,
        now: Monotonic,
    ) {
        self.polling.polls += 1;
        self.polling.failures[reason as usize] += 1;
        self.polling.failing = Some(reason);
        self.polling.failing_since.get_or_insert(contact.map_or(now, |contact| contact.since));
        self.refused = match (contact, attempt_failed && reason == Reason::Refused) {
            (Some(contact), _) => contact.refused,
            // The number of attempts is unknown.
            (None, true) => REFUSED_ATTEMPTS,
            (None, false) => 0,
        };
        self.failed = Some(FailedPoll { attempt_failed });
    }

    /// Decides the state of a node that does not reply. `accrued` is the time that this round may
    /// add to a silence. In a blind round failures say nothing about the node. If the exporter is
    /// cut off, this holds for silent failures only.
    pub(crate) fn decide(
        &mut self,
        testimony: &Testimony,
        round: &Round,
        accrued: Duration,
        down_after: Duration,
    ) {
        let Some((reason, since)) = self.polling.failing.zip(self.polling.failing_since) else {
            return;
        };
        self.polling.lived |= testimony.lived;
        if let Some(cut_off_for) = round.cut_off_for.filter(|_| reason.is_silent()) {
            self.suspend(round.now.since(since) >= down_after, cut_off_for > BLIND_LIMIT);
            return;
        }
        if self.polling.unknown.is_some_and(|unknown| unknown.why == UnknownReason::CutOff) {
            self.polling.unknown = None;
        }
        if round.blind && round.cut_off_for.is_none() {
            return;
        }
        if self.failed.is_some() {
            self.polling.silence += accrued;
        }
        if is_absence(reason) {
            self.decide_absence(reason, testimony, round.now, down_after);
        } else {
            self.decide_unreadable(reason, testimony, round.now, down_after);
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

    /// Records that the node is known to have run.
    pub(crate) fn record_life(&mut self) {
        self.polling.lived = true;
    }

    /// Suspends the decision while the exporter is cut off. A node that was down before keeps its
    /// state.
    fn suspend(&mut self, unread: bool, outdated: bool) {
        let is_down = matches!(self.state, Some(NodeState::Down { .. }));
        let unknown = UnknownNode { why: UnknownReason::CutOff, unread, outdated };
        self.polling.unknown = (!is_down).then_some(unknown);
        if !is_down {
            // The silence that marks the node as down begins after the cut.
            self.polling.silence = Duration::ZERO;
        }
    }

    /// Decides about a node that does not reply: it is down, unless a witness vouches for it.
    fn decide_absence(
        &mut self,
        reason: Reason,
        testimony: &Testimony,
        now: Monotonic,
        down_after: Duration,
    ) {
        let is_refused = self.refused >= REFUSED_ATTEMPTS;
        let unread = is_refused || self.has_been_silent(now, down_after);
        let was_unreachable = matches!(self.state, Some(NodeState::Unreachable { .. }));
        let is_alive = testimony.vouched() || (was_unreachable && testimony.suspended);
        let is_undecided = testimony
            .window
            .is_some_and(|window| self.polling.silence < window || self.failing_for(now) < window);
        self.polling.unknown = None;
        let since = self.state().failed_since().unwrap_or(now);
        self.vouched_since = is_alive.then(|| self.vouched_since.unwrap_or(now));
        // A node that returns is seen by its peers before Rolecall tries again to connect.
        let may_return = self.vouched_since.is_none_or(|since| now.since(since) < RETURN_WITHIN);
        match self.state() {
            NodeState::Down { .. } if may_return => {
                self.state = Some(NodeState::Down { reason, since });
            }
            NodeState::Up | NodeState::Pending if !unread => {}
            _ if is_alive => self.state = Some(NodeState::Unreachable { reason, since }),
            NodeState::Up | NodeState::Pending | NodeState::Unreadable { .. } if is_undecided => {
                self.set_unknown(UnknownReason::Undecided);
            }
            NodeState::Pending if !self.polling.lived => {
                self.set_unknown(UnknownReason::NeverReached);
            }
            _ => self.state = Some(NodeState::Down { reason, since }),
        }
    }

    /// Decides about a node whose failure concerns Rolecall alone.
    fn decide_unreadable(
        &mut self,
        reason: Reason,
        testimony: &Testimony,
        now: Monotonic,
        down_after: Duration,
    ) {
        self.polling.unknown = None;
        let since = self.state().failed_since().unwrap_or(now);
        // A node that never replied has no earlier state to keep.
        let is_first = self.state() == NodeState::Pending
            && self.failed.is_some_and(|failed| failed.attempt_failed);
        let is_known = self.state().failed_since().is_some();
        if !is_first && !is_known && self.polling.silence < down_after {
            return;
        }
        self.state = Some(if testimony.vouched() {
            NodeState::Unreachable { reason, since }
        } else {
            NodeState::Unreadable { reason, since }
        });
    }

    fn set_unknown(&mut self, why: UnknownReason) {
        self.polling.unknown = Some(UnknownNode { why, unread: true, outdated: false });
    }

    /// Returns true if the node has been silent for this time. Before the first reply, the duration
    /// of the first attempt counts.
    fn has_been_silent(&self, now: Monotonic, time: Duration) -> bool {
        match self.state {
            None => self.polling.silence.max(self.failing_for(now)) >= time,
            Some(_) => self.polling.silence >= time,
        }
    }

    /// Returns the time since the contact with the node failed.
    fn failing_for(&self, now: Monotonic) -> Duration {
        self.polling.failing_since.map_or(Duration::ZERO, |since| now.since(since))
    }
}
