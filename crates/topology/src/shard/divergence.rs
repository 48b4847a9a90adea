//! Fact: a replica's data is not its primary's. Making it read-only again does not mend that; only a full synchronisation does.

use snapshot::{NodeSnapshot, Role};

use crate::limits::DIVERGED_AFTER_COMPARISONS;

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct DivergenceTracker {
    diverged: bool,
    /// Comparisons in a row in which the keys differed.
    differing: u32,
    resyncs: u64,
    run_id: Option<Box<str>>,
    offset: Option<u64>,
    changes: Option<u64>,
    last_save: Option<std::time::Duration>,
}

impl DivergenceTracker {
    /// Takes up one answer. `primary` is the primary's answer of the same round; `resyncs` the full synchronisations so far.
    pub(crate) fn observe(
        &mut self,
        snapshot: &NodeSnapshot,
        primary: Option<&NodeSnapshot>,
        resyncs: u64,
    ) {
        if resyncs != self.resyncs || snapshot.replication.role != Some(Role::Replica) {
            (self.diverged, self.differing, self.resyncs) = (false, 0, resyncs);
        }
        if snapshot.replication.role == Some(Role::Replica) {
            self.diverged |= self.wrote(snapshot);
            match primary.and_then(|primary| same_keys(snapshot, primary)) {
                Some(true) => self.differing = 0,
                Some(false) => self.differing += 1,
                None => {}
            }
            self.diverged |= self.differing >= DIVERGED_AFTER_COMPARISONS;
        }
        self.run_id.clone_from(&snapshot.identity.run_id);
        self.offset = snapshot.replication.offset;
        self.changes = snapshot.persistence.rdb.changes;
        self.last_save = snapshot.persistence.rdb.last_save;
    }

    pub(crate) fn diverged(&self) -> bool {
        self.diverged
    }

    /// A writable replica counted writes while its master sent none.
    fn wrote(&self, snapshot: &NodeSnapshot) -> bool {
        let writable =
            snapshot.replication.link.as_ref().is_some_and(|link| link.read_only == Some(false));
        let same = self.run_id == snapshot.identity.run_id
            && self.last_save == snapshot.persistence.rdb.last_save
            && self.offset.is_some()
            && self.offset == snapshot.replication.offset
            && snapshot.persistence.loading == Some(false);
        let grown = matches!((self.changes, snapshot.persistence.rdb.changes), (Some(before), Some(now)) if now > before);
        writable && same && grown
    }
}

/// Whether two nodes that applied the same stream hold as many keys; `None` unless they did. Servers count a key until its deletion is in
/// the stream, so at one offset of one history the counts agree.
fn same_keys(replica: &NodeSnapshot, primary: &NodeSnapshot) -> Option<bool> {
    let (a, b) = (&replica.replication, &primary.replication);
    let loading = [replica, primary].iter().any(|node| node.persistence.loading != Some(false));
    let comparable = !loading
        && a.replid.is_some()
        && a.replid == b.replid
        && a.offset.is_some()
        && a.offset == b.offset;
    let keys = |snapshot: &NodeSnapshot| {
        snapshot.keyspace.iter().map(|database| (database.index, database.keys)).collect::<Vec<_>>()
    };
    (comparable && a.offset > Some(0)).then(|| keys(replica) == keys(primary))
}
