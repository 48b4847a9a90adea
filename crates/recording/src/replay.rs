//! Replay of a recording through a tracker.

use std::sync::Arc;

use topology::{
    DeploymentTracker, DeploymentView, DiskSpace, FailedContact, NodeIndex, NodeVec, PollOutcome,
    Round, RoundResult,
};

use crate::recording::{RecordedRound, Recording};

/// Replay of a recording: an iterator over its rounds with the results of this version of Rolecall.
///
/// ```
/// use recording::{Recording, Replay};
///
/// fn print_events(recording: &Recording) {
///     for ReplayedRound { result, .. } in Replay::new(recording) {
///         for event in result.events {
///             println!("{:?}", event.kind);
///         }
///     }
/// }
/// # use recording::ReplayedRound;
/// ```
#[derive(Debug)]
pub struct Replay<'a> {
    tracker: DeploymentTracker,
    rounds: std::slice::Iter<'a, RecordedRound>,
}

/// A replayed round.
#[derive(Debug)]
pub struct ReplayedRound<'a> {
    /// The round as recorded.
    pub recorded: &'a RecordedRound,
    /// The result.
    pub result: RoundResult,
}

impl<'a> Replay<'a> {
    /// Starts before the first round.
    pub fn new(recording: &'a Recording) -> Self {
        let header = &recording.header;
        let mut tracker = DeploymentTracker::new(Arc::clone(&header.deployment));
        if let Some(restored) = &header.restored {
            tracker.restore(restored.state.clone(), restored.downtime);
        }
        Replay { tracker, rounds: recording.rounds.iter() }
    }

    /// Returns the state of the deployment after the last replayed round.
    pub fn view(&self) -> Arc<DeploymentView> {
        self.tracker.view()
    }
}

impl<'a> Iterator for Replay<'a> {
    type Item = ReplayedRound<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let recorded = self.rounds.next()?;
        let view = self.tracker.view();
        let nodes = view.deployment.nodes.values().map(|node| node.address.as_str());
        let result = if nodes.clone().eq(recorded.members.iter().map(String::as_str)) {
            self.tracker.observe(&recorded.round)
        } else {
            // Another version may discover nodes in another order, or in another round.
            self.tracker.observe(&rearranged(recorded, nodes))
        };
        Some(ReplayedRound { recorded, result })
    }
}

/// Returns a round with the outcomes of the nodes at these addresses, in this order. A node that
/// the round did not poll is pending.
fn rearranged<'a>(recorded: &RecordedRound, nodes: impl Iterator<Item = &'a str>) -> Round {
    let RecordedRound { round, members } = recorded;
    let (mut outcomes, mut details, mut contacts, mut disks) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut indices = Vec::new();
    for address in nodes {
        let position = members.iter().position(|member| member == address && !member.is_empty());
        let index = position.map(NodeIndex::new);
        indices.push(index);
        let outcome = index.and_then(|index| round.outcomes.get(index));
        outcomes.push(outcome.cloned().unwrap_or(PollOutcome::Pending));
        details.push(index.and_then(|index| round.details.get(index).cloned().flatten()));
        contacts.push(value(&round.contacts, index));
        disks.push(value(&round.disks, index));
    }
    let (contacts, disks): (NodeVec<Option<FailedContact>>, NodeVec<Option<DiskSpace>>) =
        (contacts.into(), disks.into());
    let (outcomes, details) = (outcomes.into(), details.into());
    let shared = round.shared_among(&indices);
    Round { outcomes, details, contacts, disks, shared, ..round.clone() }
}

fn value<T: Copy>(values: &NodeVec<Option<T>>, index: Option<NodeIndex>) -> Option<T> {
    values.get(index?).copied().flatten()
}
