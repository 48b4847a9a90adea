//! Recent events, and the number of events of each kind.

use std::collections::VecDeque;

use crate::model::event::{Event, EventKind};

/// The largest number of stored events of a deployment with up to 250 nodes.
const MAX_EVENTS: usize = 1000;

/// The largest number of stored events for each node of a larger deployment. One failover causes a
/// few events of each node.
const MAX_EVENTS_PER_NODE: usize = 4;

/// The last events of a deployment, and the number of events of each kind.
#[derive(Debug, Clone, Default)]
pub struct EventHistory {
    events: VecDeque<Event>,
    counts: [u64; EventKind::LABELS.len()],
}

impl EventHistory {
    /// Returns the stored events, the newest last.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    /// Returns the labels of all kinds with their numbers of events since the exporter started.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EventKind::LABELS.into_iter().zip(self.counts)
    }

    /// Adds the events of a round. An event whose cause was pending is inserted at its own time.
    pub(crate) fn add(&mut self, events: &[Event], nodes: usize) {
        for event in events {
            self.counts[event.kind.position()] += 1;
            let later =
                self.events.iter().rev().take_while(|other| other.order() > event.order()).count();
            self.events.insert(self.events.len() - later, event.clone());
            if self.events.len() > MAX_EVENTS.max(nodes * MAX_EVENTS_PER_NODE) {
                // Messages of Sentinels, which can be many, are dropped first.
                let is_message =
                    |event: &Event| matches!(event.kind, EventKind::SentinelEvent { .. });
                let first = self.events.iter().position(is_message).unwrap_or_default();
                self.events.remove(first);
            }
        }
    }
}
