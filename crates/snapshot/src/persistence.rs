//! The persistence section of INFO: whether what was written will survive.

use std::time::Duration;

use crate::Fields;

/// The persistence section of INFO.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Persistence {
    /// The data set is being read from disk, and commands are refused. INFO persistence: `loading`.
    pub loading: Option<bool>,
    /// The append-only file.
    pub aof: Aof,
    /// The snapshot file.
    pub rdb: Rdb,
}

/// The append-only file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Aof {
    /// INFO persistence: `aof_enabled`.
    pub enabled: Option<bool>,
    /// The last write to the file succeeded. INFO persistence: `aof_last_write_status`; says nothing while AOF is off.
    pub write_ok: Option<bool>,
    /// The last rewrite succeeded; stays false until the next good one. INFO persistence: `aof_last_bgrewrite_status`.
    pub rewrite_ok: Option<bool>,
    /// A rewrite is running. INFO persistence: `aof_rewrite_in_progress`.
    pub rewriting: Option<bool>,
    /// Bytes waiting to be written. INFO persistence: `aof_buffer_length`; absent while AOF is off.
    pub buffered: Option<u64>,
    /// Fsyncs that wait for the background thread. INFO persistence: `aof_pending_bio_fsync`; absent while AOF is off.
    pub pending_fsyncs: Option<u64>,
}

/// The snapshot file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rdb {
    /// The last background save succeeded. INFO persistence: `rdb_last_bgsave_status`.
    pub save_ok: Option<bool>,
    /// When the last good save ended, since the Unix epoch. INFO persistence: `rdb_last_save_time`.
    pub last_save: Option<Duration>,
    /// Writes since that save. INFO persistence: `rdb_changes_since_last_save`.
    pub changes: Option<u64>,
}

impl Persistence {
    pub(crate) fn read(fields: &Fields) -> Self {
        Persistence {
            loading: fields.flag("loading"),
            aof: Aof {
                enabled: fields.flag("aof_enabled"),
                write_ok: fields.status("aof_last_write_status"),
                rewrite_ok: fields.status("aof_last_bgrewrite_status"),
                rewriting: fields.flag("aof_rewrite_in_progress"),
                buffered: fields.count("aof_buffer_length"),
                pending_fsyncs: fields.count("aof_pending_bio_fsync"),
            },
            rdb: Rdb {
                save_ok: fields.status("rdb_last_bgsave_status"),
                last_save: fields.count("rdb_last_save_time").map(Duration::from_secs),
                changes: fields.count("rdb_changes_since_last_save"),
            },
        }
    }
}

impl Aof {
    /// Writes to the append-only file fail now. The status outlives the AOF being switched off, so it counts only while on.
    pub fn failing(&self) -> Option<bool> {
        Some(self.enabled? && !self.write_ok?)
    }

    /// The file fails after an fsync, and nothing is left to write: no later write will clear the state. `None` while unknown.
    pub fn fsync_stuck(&self) -> Option<bool> {
        Some(self.failing()? && self.buffered? == 0 && self.pending_fsyncs? == 0)
    }
}
