//! Tracker of diverged replicas: replicas whose data differs from that of the primary. Only a full
//! resync repairs them, `replica-read-only yes` does not.

use std::time::Duration;

use snapshot::{NodeSnapshot, Role};

use crate::limits::DIVERGED_AFTER_COMPARISONS;
use crate::model::copying::copy_changed;

/// Tracks the divergence of one node.
#[derive(Debug, Default)]
pub(crate) struct DivergenceTracker {
    diverged: bool,
    /// Consecutive comparisons in which the numbers of keys differed.
    differences: u32,
    resyncs: u64,
    run_id: Option<Box<str>>,
    offset: Option<u64>,
    /// The `rdb_changes_since_last_save` field of INFO.
    changes: Option<u64>,
    last_save: Option<Duration>,
}

impl DivergenceTracker {
    /// Processes one reply. `primary` is the reply of the primary in the same round, `resyncs` the
    /// number of full resyncs so far.
    pub(crate) fn observe(
        &mut self,
        snapshot: &NodeSnapshot,
        primary: Option<&NodeSnapshot>,
        resyncs: u64,
    ) {
        let is_replica = snapshot.replication.role == Some(Role::Replica);
        if resyncs != self.resyncs || !is_replica {
            (self.diverged, self.differences, self.resyncs) = (false, 0, resyncs);
        }
        if is_replica {
            self.diverged |= self.accepted_writes(snapshot);
            match primary.and_then(|primary| has_same_keys(snapshot, primary)) {
                Some(true) => self.differences = 0,
                Some(false) => self.differences += 1,
                None => {}
            }
            self.diverged |= self.differences >= DIVERGED_AFTER_COMPARISONS;
        }
        copy_changed(&mut self.run_id, &snapshot.identity.run_id);
        self.offset = snapshot.replication.offset;
        self.changes = snapshot.persistence.rdb.changes;
        self.last_save = snapshot.persistence.rdb.last_save;
    }

    /// Returns true if the data of the node differs from that of its primary.
    pub(crate) fn diverged(&self) -> bool {
        self.diverged
    }

    /// Returns true if a writable replica counted writes while the primary sent none.
    fn accepted_writes(&self, snapshot: &NodeSnapshot) -> bool {
        let is_writable =
            snapshot.replication.link.as_ref().is_some_and(|link| link.read_only == Some(false));
        let is_comparable = self.run_id == snapshot.identity.run_id
            && self.last_save == snapshot.persistence.rdb.last_save
            && self.offset.is_some()
            && self.offset == snapshot.replication.offset
            && snapshot.persistence.loading == Some(false);
        let changes = self.changes.zip(snapshot.persistence.rdb.changes);
        is_writable && is_comparable && changes.is_some_and(|(before, now)| now > before)
    }
}

/// Returns true if two nodes that applied the same stream have equal numbers of keys; `None` if
/// they did not apply the same stream. Servers count an expired key until its deletion is in the
/// stream, so the numbers are equal at one offset of one history.
fn has_same_keys(replica: &NodeSnapshot, primary: &NodeSnapshot) -> Option<bool> {
    let (a, b) = (&replica.replication, &primary.replication);
    let loading = [replica, primary].iter().any(|node| node.persistence.loading != Some(false));
    let is_comparable = !loading
        && a.replid.is_some()
        && a.replid == b.replid
        && a.offset.is_some()
        && a.offset == b.offset;
    (is_comparable && a.offset > Some(0)).then(|| keys(replica).eq(keys(primary)))
}

/// Returns the databases of a node with their numbers of keys.
fn keys(snapshot: &NodeSnapshot) -> impl Iterator<Item = (u32, u64)> {
    snapshot.keyspace.iter().map(|database| (database.index, database.keys))
}
