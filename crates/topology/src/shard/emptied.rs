//! Tracker of restarts of the primary without its data. Its replicas copy the empty data set, and
//! all links stay up.

use snapshot::NodeSnapshot;

use crate::limits::KEYS_LOADED_RATIO;
use crate::model::copying::copy_changed;
use crate::model::counters::saturating_sum;
use crate::model::monotonic::Monotonic;
use crate::model::node_index::{NodeIndex, NodeMap};
use crate::model::shard::EmptiedView;
use crate::node::process::ProcessChange;

/// Tracks restarts of the primary without its data.
#[derive(Debug, Default)]
pub(crate) struct EmptiedTracker {
    nodes: NodeMap<KeyCount>,
    view: EmptiedView,
}

/// Keys of one node.
#[derive(Debug, Clone, Default)]
struct KeyCount {
    /// Keys without expiry in the last reply outside of loading.
    keys: u64,
    /// Replication ID in that reply.
    replid: Option<Box<str>>,
    /// Data before the node restarted as the primary, until it has loaded its data.
    before_restart: Option<FormerData>,
}

/// Data of a node before its restart.
#[derive(Debug, Clone)]
struct FormerData {
    /// Keys without expiry.
    keys: u64,
    replid: Option<Box<str>>,
}

/// The primaries of two rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrimaryTransition {
    /// The primary after the previous round.
    pub(crate) from: Option<NodeIndex>,
    /// The primary in this round.
    pub(crate) to: Option<NodeIndex>,
}

impl EmptiedTracker {
    /// Processes one reply of a node.
    pub(crate) fn observe(
        &mut self,
        node: NodeIndex,
        snapshot: &NodeSnapshot,
        process_change: ProcessChange,
        primary: PrimaryTransition,
        now: Monotonic,
    ) {
        let count = self.nodes.entry(node).or_default();
        if process_change != ProcessChange::Same {
            let was_primary = primary.from == Some(node);
            let former = FormerData { keys: count.keys, replid: count.replid.clone() };
            count.before_restart = (was_primary && count.keys > 0).then_some(former);
        }
        if snapshot.persistence.loading == Some(true) {
            return;
        }
        count.keys = persistent_keys(snapshot);
        copy_changed(&mut count.replid, &snapshot.replication.replid);
        if let Some(former) = count.before_restart.take()
            && primary.to == Some(node)
            && lost_all(snapshot, &former)
        {
            let keys = former.keys;
            self.view = EmptiedView { total: self.view.total + 1, last: Some(now), keys };
        }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.nodes.remove(&index);
    }

    /// Returns the restarts so far.
    pub(crate) fn view(&self) -> EmptiedView {
        self.view
    }
}

/// Returns true if the process loaded no data and holds only keys that were written since its
/// start.
fn lost_all(snapshot: &NodeSnapshot, former: &FormerData) -> bool {
    let before = former.keys;
    let keys = saturating_sum(snapshot.keyspace.iter().map(|database| database.keys));
    let loaded_keys = snapshot.fields.count("rdb_last_load_keys_loaded");
    // Servers before 7.0 do not report the number of loaded keys. If many keys are there so soon,
    // the dump was loaded.
    let has_loaded = loaded_keys
        .map_or(persistent_keys(snapshot) as f64 >= before as f64 * KEYS_LOADED_RATIO, |loaded| {
            loaded > 0
        });
    let written = snapshot
        .persistence
        .rdb
        .changes
        .filter(|_| snapshot.persistence.aof.enabled == Some(false) && !has_loaded);
    // Servers that count neither loaded keys nor changes, such as Dragonfly and Kvrocks, begin
    // another history if they load nothing.
    let counts_nothing = loaded_keys.is_none() && snapshot.persistence.rdb.changes.is_none();
    let replids = former.replid.as_ref().zip(snapshot.replication.replid.as_ref());
    let has_new_history = replids.is_some_and(|(before, after)| before != after);
    // The loaded keys may be consumed already, for example those of queues.
    keys == 0 && loaded_keys.is_none_or(|loaded| loaded == 0)
        || written.is_some_and(|written| keys <= written)
        || counts_nothing && has_new_history && !has_loaded
}

/// Returns the number of keys without expiry.
fn persistent_keys(snapshot: &NodeSnapshot) -> u64 {
    let databases = snapshot.keyspace.iter();
    saturating_sum(databases.map(|database| database.keys.saturating_sub(database.expiring)))
}
