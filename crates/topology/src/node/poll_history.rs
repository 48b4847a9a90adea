//! The last polls of a node.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::node::{PollRecord, PollResult};
use crate::model::node_index::NodeIndex;
use crate::model::round::{PollOutcome, Round};

/// The largest number of stored polls of a node. A thousand nodes take about one megabyte.
const MAX_POLLS: usize = 20;

/// The last polls of a node, the newest last.
pub(crate) type PollHistory = Arc<VecDeque<PollRecord>>;

/// Appends the poll of a node in a round.
pub(crate) fn record(
    history: &mut PollHistory,
    outcome: &PollOutcome,
    index: NodeIndex,
    round: &Round,
) {
    let detail = || round.details.get(index).cloned().flatten();
    let (at, result) = match outcome {
        PollOutcome::Pending => return,
        PollOutcome::Answered(reply) => (reply.at, PollResult::Replied(reply.duration)),
        PollOutcome::Missed(reason) => (round.at, PollResult::Missed(*reason, detail())),
        PollOutcome::Failed(reason) => (round.at, PollResult::Failed(*reason, detail())),
    };
    // The previous view shares the list, so this copies it.
    let history = Arc::make_mut(history);
    if history.len() == MAX_POLLS {
        history.pop_front();
    }
    history.push_back(PollRecord { at, blind: round.blind, result });
}
