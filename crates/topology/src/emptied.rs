//! Fact: the primary came back without its data. Its replicas follow it into emptiness, with every link standing.

use std::time::Duration;

use snapshot::{NodeSnapshot, Role};

use crate::process::Succession;

/// How often the primary came back empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmptiedView {
    /// Since the exporter started.
    pub total: u64,
    /// Monotonic time of the last time.
    pub last: Option<Duration>,
    /// Keys that it held before.
    pub keys: u64,
}

/// What the fact remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Keys of each node, as last seen outside of loading.
    keys: Vec<u64>,
    /// Nodes that started anew as the primary, and have not shown their keys yet: the keys before.
    started: Vec<Option<u64>>,
    view: EmptiedView,
}

impl Memory {
    /// Takes up one answer. `was_primary` says that the node was the primary until then.
    pub(crate) fn apply(&mut self, node: usize, snapshot: &NodeSnapshot, succession: Succession, was_primary: bool, elapsed: Duration) {
        if self.keys.len() <= node {
            self.keys.resize(node + 1, 0);
            self.started.resize(node + 1, None);
        }
        if succession != Succession::Same {
            self.started[node] = (was_primary && self.keys[node] > 0).then_some(self.keys[node]);
        }
        if snapshot.persistence.loading == Some(true) {
            return;
        }
        self.keys[node] = snapshot.keyspace.iter().map(|database| database.keys).sum();
        if let Some(before) = self.started[node].take()
            && self.keys[node] == 0
            && snapshot.replication.role == Some(Role::Master)
        {
            self.view = EmptiedView { total: self.view.total + 1, last: Some(elapsed), keys: before };
        }
    }

    pub(crate) fn view(&self) -> EmptiedView {
        self.view
    }
}
