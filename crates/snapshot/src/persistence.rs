//! INFO persistence: state of the append-only file and of RDB saves.

use std::time::Duration;

use crate::Fields;

/// The persistence section of INFO.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Persistence {
    /// The server is loading the data set from disk and refuses most commands.
    /// INFO persistence: `loading`.
    pub loading: Option<bool>,
    /// State of the append-only file.
    pub aof: Aof,
    /// State of RDB saves.
    pub rdb: Rdb,
}

/// State of the append-only file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Aof {
    /// AOF is switched on. INFO persistence: `aof_enabled`.
    pub enabled: Option<bool>,
    /// The last write to the file succeeded. INFO persistence: `aof_last_write_status`.
    /// Meaningless while AOF is off, because the server does not reset it.
    pub write_ok: Option<bool>,
    /// The last rewrite succeeded. Remains false until a rewrite succeeds.
    /// INFO persistence: `aof_last_bgrewrite_status`.
    pub rewrite_ok: Option<bool>,
    /// A rewrite is running. INFO persistence: `aof_rewrite_in_progress`.
    pub rewriting: Option<bool>,
    /// Bytes that are not yet written to the file. INFO persistence: `aof_buffer_length`; absent
    /// while AOF is off.
    pub buffered: Option<u64>,
    /// Fsyncs that wait for the background thread. INFO persistence: `aof_pending_bio_fsync`;
    /// absent while AOF is off.
    pub pending_fsyncs: Option<u64>,
}

/// State of RDB saves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rdb {
    /// The last background save succeeded. INFO persistence: `rdb_last_bgsave_status`.
    pub save_ok: Option<bool>,
    /// End of the last successful save, time since the Unix epoch.
    /// INFO persistence: `rdb_last_save_time`.
    pub last_save: Option<Duration>,
    /// Number of writes since that save. INFO persistence: `rdb_changes_since_last_save`.
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
    /// Returns whether writes to the append-only file fail at present. `None` if unknown.
    ///
    /// The server keeps a failed write status after AOF is switched off. The status therefore
    /// counts only while AOF is on.
    pub fn failing(&self) -> Option<bool> {
        Some(self.enabled? && !self.write_ok?)
    }

    /// Returns whether an fsync failed and no data is left to write. `None` if unknown.
    ///
    /// The server then refuses writes permanently: only a write or fsync resets the status, and
    /// neither happens while writes are refused.
    pub fn fsync_stuck(&self) -> Option<bool> {
        Some(self.failing()? && self.buffered? == 0 && self.pending_fsyncs? == 0)
    }
}
