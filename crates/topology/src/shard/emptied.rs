//! Fact: the primary came back without its data. Its replicas follow it into emptiness, with every link standing.

use std::time::Duration;

use snapshot::NodeSnapshot;

use crate::limits::KEYS_READ_RATIO;
use crate::node::process::ProcessChange;

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
pub(crate) struct EmptiedTracker {
    nodes: Vec<Seen>,
    view: EmptiedView,
}

/// What is known of one node.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Keys that do not expire, as last seen outside of loading.
    keys: u64,
    /// It started anew as the primary, and has not shown its keys yet: the keys before.
    started: Option<u64>,
}

impl EmptiedTracker {
    /// Takes up one answer. `was_primary` and `is_primary` say whether the node was the primary until then, and is it now.
    pub(crate) fn observe(
        &mut self,
        node: usize,
        snapshot: &NodeSnapshot,
        succession: ProcessChange,
        was_primary: bool,
        is_primary: bool,
        elapsed: Duration,
    ) {
        if self.nodes.len() <= node {
            self.nodes.resize(node + 1, Seen::default());
        }
        let seen = &mut self.nodes[node];
        if succession != ProcessChange::Same {
            seen.started = (was_primary && seen.keys > 0).then_some(seen.keys);
        }
        if snapshot.persistence.loading == Some(true) {
            return;
        }
        seen.keys = lasting(snapshot);
        if let Some(before) = seen.started.take()
            && is_primary
            && lost_all(snapshot, before)
        {
            self.view =
                EmptiedView { total: self.view.total + 1, last: Some(elapsed), keys: before };
        }
    }

    /// Forgets the node at a place.
    pub(crate) fn clear(&mut self, index: usize) {
        self.nodes.get_mut(index).map(std::mem::take);
    }

    pub(crate) fn view(&self) -> EmptiedView {
        self.view
    }
}

/// It read nothing at its start, and holds nothing but what was written since. `before` are the lasting keys that it held.
fn lost_all(snapshot: &NodeSnapshot, before: u64) -> bool {
    let keys: u64 = snapshot.keyspace.iter().map(|database| database.keys).sum();
    let loaded = snapshot.fields.count("rdb_last_load_keys_loaded");
    // Servers before 7.0 do not tell how much they read; one that writes few keys again and again has many of them from its dump.
    let read = loaded
        .map_or(lasting(snapshot) as f64 >= before as f64 * KEYS_READ_RATIO, |loaded| loaded > 0);
    let written = snapshot
        .persistence
        .rdb
        .changes
        .filter(|_| snapshot.persistence.aof.enabled == Some(false) && !read);
    // What it read may be used up already: queues are.
    keys == 0 && loaded.is_none_or(|loaded| loaded == 0)
        || written.is_some_and(|written| keys <= written)
}

/// Keys that do not expire.
fn lasting(snapshot: &NodeSnapshot) -> u64 {
    snapshot.keyspace.iter().map(|database| database.keys.saturating_sub(database.expiring)).sum()
}
