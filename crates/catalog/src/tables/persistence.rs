//! Whether what was written will survive: AOF, RDB, loading and forks.

use crate::row::Legacy::{Gauge, No};
use crate::row::NodeRow;

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::field(
        "redis_loading",
        "persistence",
        "loading",
        "Whether the data set is being loaded, and commands are refused.",
    )
    .legacy(Gauge("redis_loading_dump_file")),
    NodeRow::field(
        "redis_async_loading",
        "persistence",
        "async_loading",
        "Whether a new data set is being loaded while the old one is served.",
    ),
    NodeRow::field(
        "redis_loading_start_timestamp_seconds",
        "persistence",
        "loading_start_time",
        "When loading began, seconds since the Unix epoch.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_loading_total_bytes",
        "persistence",
        "loading_total_bytes",
        "Size of the file that is being loaded, bytes.",
    )
    .signed()
    .legacy(No),
    NodeRow::field(
        "redis_loading_loaded_bytes",
        "persistence",
        "loading_loaded_bytes",
        "Part of the file that was loaded, bytes.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_loading_eta_seconds",
        "persistence",
        "loading_eta_seconds",
        "Time until loading ends, as the server expects, seconds.",
    )
    .legacy(No),
    // The append-only file.
    NodeRow::field(
        "redis_aof_enabled",
        "persistence",
        "aof_enabled",
        "Whether the append-only file is on.",
    ),
    NodeRow::one(
        "redis_expected_aof",
        "configuration: expect.aof",
        "Whether the append-only file is expected to be on.",
        |node| node.expected_aof.map(f64::from),
    ),
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
    .legacy(Gauge("redis_aof_delayed_fsync")),
    NodeRow::one(
        "redis_aof_fsync_stuck",
        "INFO persistence: aof_enabled, aof_last_write_status, aof_buffer_length, aof_pending_bio_fsync",
        "Whether the append-only file fails after an fsync with nothing left to write, so that no later write clears it.",
        |node| node.snapshot()?.persistence.aof.fsync_stuck().map(f64::from),
    ),
    NodeRow::field(
        "redis_aof_pending_bio_fsync",
        "persistence",
        "aof_pending_bio_fsync",
        "Fsyncs that wait for the background thread.",
    ),
    NodeRow::field(
        "redis_aof_buffer_length",
        "persistence",
        "aof_buffer_length",
        "Data that waits to be written to the append-only file, bytes.",
    ),
    NodeRow::field(
        "redis_aof_rewrite_buffer_length",
        "persistence",
        "aof_rewrite_buffer_length",
        "Data that waits for the rewrite to end, bytes, before 7.0.",
    ),
    NodeRow::field(
        "redis_aof_rewrite_in_progress",
        "persistence",
        "aof_rewrite_in_progress",
        "Whether the append-only file is being rewritten.",
    ),
    NodeRow::field(
        "redis_aof_rewrite_scheduled",
        "persistence",
        "aof_rewrite_scheduled",
        "Whether a rewrite waits for a background save to end.",
    ),
    NodeRow::field(
        "redis_aof_pending_rewrite",
        "persistence",
        "aof_pending_rewrite",
        "Whether a rewrite was asked for and not begun.",
    ),
    NodeRow::field(
        "redis_aof_rewrites_total",
        "persistence",
        "aof_rewrites",
        "Rewrites begun since the server started.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_aof_rewrites_consecutive_failures",
        "persistence",
        "aof_rewrites_consecutive_failures",
        "Rewrites that failed since the last good one.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_aof_current_size_bytes",
        "persistence",
        "aof_current_size",
        "Size of the append-only file, bytes.",
    ),
    NodeRow::field(
        "redis_aof_base_size_bytes",
        "persistence",
        "aof_base_size",
        "Size of the append-only file after the last rewrite, bytes; 0 before the first.",
    ),
    NodeRow::field(
        "redis_aof_last_rewrite_duration_seconds",
        "persistence",
        "aof_last_rewrite_time_sec",
        "Time that the last rewrite took, seconds; absent before the first.",
    )
    .legacy(Gauge("redis_aof_last_rewrite_duration_sec")),
    NodeRow::field(
        "redis_aof_current_rewrite_duration_seconds",
        "persistence",
        "aof_current_rewrite_time_sec",
        "Time since the running rewrite began, seconds; absent when none runs.",
    )
    .legacy(Gauge("redis_aof_current_rewrite_duration_sec")),
    NodeRow::field(
        "redis_aof_last_cow_size_bytes",
        "persistence",
        "aof_last_cow_size",
        "Memory copied during the last rewrite, bytes.",
    ),
    // The snapshot file.
    NodeRow::status(
        "redis_rdb_last_bgsave_status",
        "persistence",
        "rdb_last_bgsave_status",
        "Whether the last background save succeeded.",
    ),
    NodeRow::field(
        "redis_rdb_bgsave_in_progress",
        "persistence",
        "rdb_bgsave_in_progress",
        "Whether a background save is running.",
    ),
    NodeRow::field(
        "redis_rdb_changes_since_last_save",
        "persistence",
        "rdb_changes_since_last_save",
        "Writes since the last good save.",
    ),
    NodeRow::field(
        "redis_rdb_last_save_timestamp_seconds",
        "persistence",
        "rdb_last_save_time",
        "When the last good save ended, seconds since the Unix epoch.",
    ),
    NodeRow::field(
        "redis_rdb_last_bgsave_duration_seconds",
        "persistence",
        "rdb_last_bgsave_time_sec",
        "Time that the last background save took, seconds; absent before the first.",
    )
    .legacy(Gauge("redis_rdb_last_bgsave_duration_sec")),
    NodeRow::field(
        "redis_rdb_current_bgsave_duration_seconds",
        "persistence",
        "rdb_current_bgsave_time_sec",
        "Time since the running background save began, seconds; absent when none runs.",
    )
    .legacy(Gauge("redis_rdb_current_bgsave_duration_sec")),
    NodeRow::field(
        "redis_rdb_saves_total",
        "persistence",
        "rdb_saves",
        "Background saves since the server started, failed ones included.",
    )
    .legacy(Gauge("redis_rdb_saves_total")),
    NodeRow::field(
        "redis_rdb_last_cow_size_bytes",
        "persistence",
        "rdb_last_cow_size",
        "Memory copied during the last background save, bytes.",
    ),
    NodeRow::field(
        "redis_rdb_last_load_expired_keys",
        "persistence",
        "rdb_last_load_keys_expired",
        "Keys left out of the last load because they had expired.",
    ),
    NodeRow::field(
        "redis_rdb_last_load_loaded_keys",
        "persistence",
        "rdb_last_load_keys_loaded",
        "Keys of the last load.",
    ),
    // Forks.
    NodeRow::field(
        "redis_latest_fork_seconds",
        "stats",
        "latest_fork_usec",
        "Time that the last fork took, seconds; stays until the next one.",
    )
    .scaled(1e-6),
    NodeRow::field("redis_forks_total", "stats", "total_forks", "Forks since the server started.")
        .legacy(No),
    NodeRow::field(
        "redis_current_fork_ratio",
        "persistence",
        "current_fork_perc",
        "Part of its work that the running background process has done.",
    )
    .scaled(1e-2)
    .legacy(No),
    NodeRow::field(
        "redis_current_save_keys_processed",
        "persistence",
        "current_save_keys_processed",
        "Keys that the running background process has written.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_current_save_keys",
        "persistence",
        "current_save_keys_total",
        "Keys that the running background process is to write.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_current_cow_size_bytes",
        "persistence",
        "current_cow_size",
        "Memory copied because of the running background process, bytes.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_current_cow_peak_bytes",
        "persistence",
        "current_cow_peak",
        "The most memory copied because of the running background process, bytes.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_module_fork_in_progress",
        "persistence",
        "module_fork_in_progress",
        "Whether a module has a background process.",
    ),
    NodeRow::field(
        "redis_module_fork_last_cow_size",
        "persistence",
        "module_fork_last_cow_size",
        "Memory copied because of a module's last background process, bytes.",
    ),
    NodeRow::field(
        "redis_slot_migration_fork_in_progress",
        "persistence",
        "slot_migration_fork_in_progress",
        "Whether a background process gives a slot away.",
    )
    .legacy(No),
    // What follows for commands.
    NodeRow::many(
        "redis_writes_refused",
        &["reason"],
        "derived from INFO and CONFIG, never probed",
        "Whether the node refuses writes that it should take, by reason; a reason that cannot be told is absent.",
        |node, emit| {
            node.writes_refused
                .iter()
                .for_each(|(reason, holds)| emit(&[reason.label()], f64::from(*holds)));
        },
    ),
    NodeRow::many(
        "redis_reads_refused",
        &["reason"],
        "derived from INFO and CONFIG, never probed",
        "Whether the node refuses reads, by reason; a reason that cannot be told is absent.",
        |node, emit| {
            node.reads_refused
                .iter()
                .for_each(|(reason, holds)| emit(&[reason.label()], f64::from(*holds)));
        },
    ),
];
