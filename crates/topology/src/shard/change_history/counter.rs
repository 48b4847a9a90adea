//! Counter of changes of one process, and its growth between two replies.

use std::time::Duration;

use snapshot::NodeSnapshot;

/// The counter of one process.
#[derive(Debug)]
pub(super) struct ChangeCounter {
    pub(super) run_id: Option<Box<str>>,
    /// The `rdb_changes_since_last_save` field of INFO.
    pub(super) changes: u64,
    /// The `rdb_last_save_time` field of INFO.
    pub(super) last_save: Option<Duration>,
    /// A save is running: its end subtracts the changes before its start.
    pub(super) saving: Option<bool>,
    /// A lower bound of the changes at the start of that save.
    pub(super) before_save: Option<u64>,
    /// The process may have loaded an append-only file, which counts as changes.
    loads_aof: bool,
    loading: bool,
    /// The last save may have ended a moment ago. Another save within the same second does not
    /// change `rdb_last_save_time`.
    pub(super) is_save_recent: bool,
}

impl ChangeCounter {
    pub(super) fn read(snapshot: &NodeSnapshot) -> Option<Self> {
        Some(ChangeCounter {
            run_id: snapshot.identity.run_id.clone(),
            changes: snapshot.persistence.rdb.changes?,
            last_save: snapshot.persistence.rdb.last_save,
            saving: snapshot.fields.number("rdb_bgsave_in_progress").map(|running| running > 0.0),
            before_save: None,
            loads_aof: snapshot.persistence.aof.enabled != Some(false),
            loading: snapshot.persistence.loading != Some(false),
            is_save_recent: false,
        })
    }

    /// Returns the changes since an earlier reading, at least, and true if a reset may hide some.
    pub(super) fn growth(&self, earlier: &ChangeCounter) -> (u64, bool) {
        if self.run_id != earlier.run_id {
            return (self.since_start(), true);
        }
        // Later in its life, a process loads data only from a new master, which counts nothing.
        if earlier.loading {
            return (0, true);
        }
        let is_reset = self.last_save != earlier.last_save || self.changes < earlier.changes;
        let growth = match earlier.saving {
            // FLUSHALL saves without a reset on some versions.
            _ if self.changes >= earlier.changes => self.changes - earlier.changes,
            // The save began after the earlier reading, and so did all changes that are left.
            Some(false) => self.changes,
            _ => self
                .changes
                .saturating_add(earlier.before_save.unwrap_or_default())
                .saturating_sub(earlier.changes),
        };
        (growth, is_reset || earlier.is_save_recent)
    }

    /// Returns the changes since the process started, unless the count includes loaded commands.
    pub(super) fn since_start(&self) -> u64 {
        if self.loads_aof || self.loading { 0 } else { self.changes }
    }
}
