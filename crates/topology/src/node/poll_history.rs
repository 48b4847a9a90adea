//! The last rounds of a node, one by one: what came of asking it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::Reason;

use crate::model::round::{PollOutcome, Round};

/// The most rounds that are kept of a node. A thousand nodes take about a megabyte for it.
const MAX_ROUNDS: usize = 20;

/// What came of asking a node in one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollRecord {
    /// Wall time of the answer; without one, of the round's close.
    pub at: SystemTime,
    /// The exporter itself was held up, so silence in this round is evidence of nothing.
    pub blind: bool,
    /// What came of it.
    pub came: PollResult,
}

/// What came of asking a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollResult {
    /// An answer, after this time.
    Replied(Duration),
    /// None in this round. Unknown, not evidence.
    Missed(Reason, Option<Arc<str>>),
    /// An attempt to reach it or to read it failed, with this text where there is one.
    Failed(Reason, Option<Arc<str>>),
}

/// The last rounds of a node in which it was asked, the newest last.
pub(crate) type PollHistory = Arc<VecDeque<PollRecord>>;

/// Takes up what came of the node at a place.
pub(crate) fn note(askings: &mut PollHistory, outcome: &PollOutcome, index: usize, round: &Round) {
    let detail = || round.details.get(index).cloned().flatten();
    let (at, came) = match outcome {
        PollOutcome::Pending => return,
        PollOutcome::Answered(answer) => (answer.at, PollResult::Replied(answer.took)),
        PollOutcome::Missed(reason) => (round.at, PollResult::Missed(*reason, detail())),
        PollOutcome::Failed(reason) => (round.at, PollResult::Failed(*reason, detail())),
    };
    // The view of the round before has the list too, so that this copies it.
    let askings = Arc::make_mut(askings);
    if askings.len() == MAX_ROUNDS {
        askings.pop_front();
    }
    askings.push_back(PollRecord { at, blind: round.blind, came });
}
