//! Whether what was written will survive: AOF, RDB and loading.

use crate::row::{Legacy, NodeRow};

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::field("redis_loading", "persistence", "loading", "Whether the data set is being loaded, and commands are refused.")
        .legacy(Legacy::As("redis_loading_dump_file")),
    NodeRow::field("redis_aof_enabled", "persistence", "aof_enabled", "Whether the append-only file is on."),
    NodeRow::status(
        "redis_aof_last_write_status",
        "persistence",
        "aof_last_write_status",
        "Whether the last write to the append-only file succeeded; means nothing while redis_aof_enabled is 0.",
    ),
    NodeRow::status(
        "redis_aof_last_bgrewrite_status",
        "persistence",
        "aof_last_bgrewrite_status",
        "Whether the last rewrite of the append-only file succeeded; stays 0 until the next good one.",
    ),
    NodeRow::field(
        "redis_aof_delayed_fsync_total",
        "persistence",
        "aof_delayed_fsync",
        "Writes that were delayed for 2 s by an fsync still pending.",
    )
    .legacy(Legacy::As("redis_aof_delayed_fsync")),
    NodeRow::field("redis_aof_pending_bio_fsync", "persistence", "aof_pending_bio_fsync", "Fsyncs that wait for the background thread."),
    NodeRow::field(
        "redis_aof_buffer_length",
        "persistence",
        "aof_buffer_length",
        "Data that waits to be written to the append-only file, bytes.",
    ),
    NodeRow::field(
        "redis_aof_rewrite_in_progress",
        "persistence",
        "aof_rewrite_in_progress",
        "Whether the append-only file is being rewritten.",
    ),
    NodeRow::field("redis_aof_current_size_bytes", "persistence", "aof_current_size", "Size of the append-only file, bytes."),
    NodeRow::field(
        "redis_aof_base_size_bytes",
        "persistence",
        "aof_base_size",
        "Size of the append-only file after the last rewrite, bytes; 0 before the first.",
    ),
    NodeRow::status("redis_rdb_last_bgsave_status", "persistence", "rdb_last_bgsave_status", "Whether the last background save succeeded."),
    NodeRow::field("redis_rdb_bgsave_in_progress", "persistence", "rdb_bgsave_in_progress", "Whether a background save is running."),
    NodeRow::field("redis_rdb_changes_since_last_save", "persistence", "rdb_changes_since_last_save", "Writes since the last good save."),
    NodeRow::field(
        "redis_rdb_last_save_timestamp_seconds",
        "persistence",
        "rdb_last_save_time",
        "When the last good save ended, seconds since the Unix epoch.",
    ),
    NodeRow::many(
        "redis_writes_refused",
        &["reason"],
        "derived from INFO and CONFIG, never probed",
        "Whether the node refuses writes that it should take, by reason; a reason that cannot be told is absent.",
        |node, emit| node.writes_refused.iter().for_each(|(reason, holds)| emit(&[reason.label()], f64::from(*holds))),
    ),
    NodeRow::many(
        "redis_reads_refused",
        &["reason"],
        "derived from INFO and CONFIG, never probed",
        "Whether the node refuses reads, by reason; a reason that cannot be told is absent.",
        |node, emit| node.reads_refused.iter().for_each(|(reason, holds)| emit(&[reason.label()], f64::from(*holds))),
    ),
];
