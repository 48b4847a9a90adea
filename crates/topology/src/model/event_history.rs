//! What happened of late, and how often.

use std::collections::VecDeque;

use crate::model::event::{Event, EventKind};

/// The most events that are kept of a deployment, or that many for each node: one failover is a few of each.
const MAX_EVENTS: usize = 1000;
const MAX_OF_NODE: usize = 4;

/// The last events of a deployment, and how many there were of each kind.
#[derive(Debug, Clone, Default)]
pub struct EventHistory {
    events: VecDeque<Event>,
    counts: [u64; EventKind::LABELS.len()],
}

impl EventHistory {
    /// The events that are kept, the newest last.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    /// How many there were of each kind, since the exporter started.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EventKind::LABELS.into_iter().zip(self.counts)
    }

    /// Takes up the events of a round. One that waited for its cause goes where its time belongs.
    pub(crate) fn add(&mut self, events: &[Event], nodes: usize) {
        for event in events {
            self.counts[event.kind.position()] += 1;
            let later =
                self.events.iter().rev().take_while(|other| other.order() > event.order()).count();
            self.events.insert(self.events.len() - later, event.clone());
            if self.events.len() > MAX_EVENTS.max(nodes * MAX_OF_NODE) {
                // What Sentinels announce, which may be a lot, makes room first.
                let announced =
                    |event: &Event| matches!(event.kind, EventKind::SentinelEvent { .. });
                let first = self.events.iter().position(announced).unwrap_or_default();
                self.events.remove(first);
            }
        }
    }
}
