//! Theme `persistence`: loading, AOF, RDB, forks, and the commands that a node refuses.

use crate::row::NodeRow;
use crate::row::RedisExporterName::{Absent, AsGauge, Same};

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::field(
        "redis_loading",
        AsGauge("redis_loading_dump_file"),
        "persistence",
        "loading",
        "Whether the data set is being loaded, during which most commands are refused.",
    )
    .core(),
    NodeRow::field(
        "redis_async_loading",
        Same,
        "persistence",
        "async_loading",
        "Whether a new data set is being loaded while the old one is served.",
    ),
    NodeRow::field(
        "redis_loading_start_timestamp_seconds",
        Absent,
        "persistence",
        "loading_start_time",
        "Start time of the running load, in seconds since the Unix epoch.",
    ),
    NodeRow::field(
        "redis_loading_total_bytes",
        Absent,
        "persistence",
        "loading_total_bytes",
        "Size of the file that is being loaded, in bytes; 0 if unknown.",
    )
    .signed(),
    NodeRow::field(
        "redis_loading_loaded_bytes",
        Absent,
        "persistence",
        "loading_loaded_bytes",
        "Bytes that the running load has loaded.",
    )
    .core(),
    NodeRow::field(
        "redis_loading_eta_seconds",
        Absent,
        "persistence",
        "loading_eta_seconds",
        "Estimated time until the running load ends, in seconds.",
    )
    .core(),
    // AOF.
    NodeRow::field(
        "redis_aof_enabled",
        Same,
        "persistence",
        "aof_enabled",
        "Whether AOF is enabled.",
    )
    .core(),
    NodeRow::value(
        "redis_expected_aof",
        Absent,
        "configuration: expect.aof",
        "Whether AOF is expected to be enabled (expect.aof); absent if not configured for the role \
         of the node.",
        |node| node.expected_aof.map(f64::from),
    )
    .core(),
    NodeRow::status(
        "redis_aof_last_write_status",
        Same,
        "persistence",
        "aof_last_write_status",
        "Whether the last write to the AOF succeeded; meaningless while redis_aof_enabled is 0.",
    )
    .core(),
    NodeRow::status(
        "redis_aof_last_bgrewrite_status",
        Same,
        "persistence",
        "aof_last_bgrewrite_status",
        "Whether the last AOF rewrite succeeded; stays 0 until a rewrite succeeds.",
    )
    .core(),
    NodeRow::field(
        "redis_aof_delayed_fsync_total",
        AsGauge("redis_aof_delayed_fsync"),
        "persistence",
        "aof_delayed_fsync",
        "Writes to the AOF that were delayed for 2 seconds because an fsync was pending.",
    )
    .core(),
    NodeRow::value(
        "redis_aof_fsync_stuck",
        Absent,
        "INFO persistence: aof_enabled, aof_last_write_status, aof_buffer_length, \
         aof_pending_bio_fsync",
        "Whether AOF writes fail because of a failed fsync while no data is left to write, so that \
         no later write clears the error.",
        |node| node.snapshot()?.persistence.aof.fsync_stuck().map(f64::from),
    )
    .core(),
    NodeRow::field(
        "redis_aof_pending_bio_fsync",
        Same,
        "persistence",
        "aof_pending_bio_fsync",
        "Pending fsync jobs of the background thread.",
    ),
    NodeRow::field(
        "redis_aof_buffer_length",
        Same,
        "persistence",
        "aof_buffer_length",
        "Size of the data that waits to be written to the AOF, in bytes.",
    )
    .core(),
    NodeRow::field(
        "redis_aof_rewrite_buffer_length",
        Same,
        "persistence",
        "aof_rewrite_buffer_length",
        "Size of the data that waits for the AOF rewrite to end, in bytes, before Redis 7.0.",
    ),
    NodeRow::field(
        "redis_aof_rewrite_in_progress",
        Same,
        "persistence",
        "aof_rewrite_in_progress",
        "Whether an AOF rewrite is running.",
    )
    .core(),
    NodeRow::field(
        "redis_aof_rewrite_scheduled",
        Same,
        "persistence",
        "aof_rewrite_scheduled",
        "Whether an AOF rewrite is scheduled to start after the running RDB save.",
    ),
    NodeRow::field(
        "redis_aof_pending_rewrite",
        Same,
        "persistence",
        "aof_pending_rewrite",
        "Whether an AOF rewrite is scheduled; absent while AOF is disabled.",
    ),
    NodeRow::field(
        "redis_aof_rewrites_total",
        Absent,
        "persistence",
        "aof_rewrites",
        "AOF rewrites that the server started.",
    ),
    NodeRow::field(
        "redis_aof_rewrites_consecutive_failures",
        Absent,
        "persistence",
        "aof_rewrites_consecutive_failures",
        "AOF rewrites that failed since the last successful one.",
    ),
    NodeRow::field(
        "redis_aof_current_size_bytes",
        Same,
        "persistence",
        "aof_current_size",
        "Size of the AOF, in bytes.",
    )
    .core(),
    NodeRow::field(
        "redis_aof_base_size_bytes",
        Same,
        "persistence",
        "aof_base_size",
        "Size of the AOF at startup or after the last rewrite, in bytes; 0 for a new AOF.",
    )
    .core(),
    NodeRow::field(
        "redis_aof_last_rewrite_duration_seconds",
        AsGauge("redis_aof_last_rewrite_duration_sec"),
        "persistence",
        "aof_last_rewrite_time_sec",
        "Duration of the last AOF rewrite, in seconds; absent before the first rewrite.",
    ),
    NodeRow::field(
        "redis_aof_current_rewrite_duration_seconds",
        AsGauge("redis_aof_current_rewrite_duration_sec"),
        "persistence",
        "aof_current_rewrite_time_sec",
        "Time since the running AOF rewrite started, in seconds; absent if no rewrite is running.",
    )
    .core(),
    NodeRow::field(
        "redis_aof_last_cow_size_bytes",
        Same,
        "persistence",
        "aof_last_cow_size",
        "Copy-on-write memory of the last AOF rewrite, in bytes.",
    ),
    // RDB.
    NodeRow::status(
        "redis_rdb_last_bgsave_status",
        Same,
        "persistence",
        "rdb_last_bgsave_status",
        "Whether the last background RDB save succeeded.",
    )
    .core(),
    NodeRow::field(
        "redis_rdb_bgsave_in_progress",
        Same,
        "persistence",
        "rdb_bgsave_in_progress",
        "Whether a background RDB save is running.",
    ),
    NodeRow::field(
        "redis_rdb_changes_since_last_save",
        Same,
        "persistence",
        "rdb_changes_since_last_save",
        "Changes to the data set since the last successful RDB save.",
    )
    .core(),
    NodeRow::field(
        "redis_rdb_last_save_timestamp_seconds",
        Same,
        "persistence",
        "rdb_last_save_time",
        "Time of the last successful RDB save, in seconds since the Unix epoch.",
    )
    .core(),
    NodeRow::field(
        "redis_rdb_last_bgsave_duration_seconds",
        AsGauge("redis_rdb_last_bgsave_duration_sec"),
        "persistence",
        "rdb_last_bgsave_time_sec",
        "Duration of the last background RDB save, in seconds; absent before the first save.",
    ),
    NodeRow::field(
        "redis_rdb_current_bgsave_duration_seconds",
        AsGauge("redis_rdb_current_bgsave_duration_sec"),
        "persistence",
        "rdb_current_bgsave_time_sec",
        "Time since the running background RDB save started, in seconds; absent if no save is \
         running.",
    )
    .core(),
    NodeRow::field(
        "redis_rdb_saves_total",
        AsGauge("redis_rdb_saves_total"),
        "persistence",
        "rdb_saves",
        "RDB saves since the server started, failed ones included.",
    ),
    NodeRow::field(
        "redis_rdb_last_cow_size_bytes",
        Same,
        "persistence",
        "rdb_last_cow_size",
        "Copy-on-write memory of the last background RDB save, in bytes.",
    ),
    NodeRow::field(
        "redis_rdb_last_load_expired_keys",
        Same,
        "persistence",
        "rdb_last_load_keys_expired",
        "Expired keys that the last RDB load skipped.",
    ),
    NodeRow::field(
        "redis_rdb_last_load_loaded_keys",
        Same,
        "persistence",
        "rdb_last_load_keys_loaded",
        "Keys that the last RDB load loaded.",
    ),
    // Forks.
    NodeRow::field(
        "redis_latest_fork_seconds",
        Same,
        "stats",
        "latest_fork_usec",
        "Duration of the last fork, in seconds; unchanged until the next fork.",
    )
    .core()
    .scaled(1e-6),
    NodeRow::field(
        "redis_forks_total",
        Absent,
        "stats",
        "total_forks",
        "Forks since the server started.",
    )
    .core(),
    NodeRow::field(
        "redis_current_fork_ratio",
        Absent,
        "persistence",
        "current_fork_perc",
        "Progress of the running background process, from 0 to 1.",
    )
    .scaled(1e-2),
    NodeRow::field(
        "redis_current_save_keys_processed",
        Absent,
        "persistence",
        "current_save_keys_processed",
        "Keys that the running background process has processed.",
    ),
    NodeRow::field(
        "redis_current_save_keys",
        Absent,
        "persistence",
        "current_save_keys_total",
        "Keys that the running background process has to process.",
    ),
    NodeRow::field(
        "redis_current_cow_size_bytes",
        Absent,
        "persistence",
        "current_cow_size",
        "Copy-on-write memory of the running background process, in bytes.",
    ),
    NodeRow::field(
        "redis_current_cow_peak_bytes",
        Absent,
        "persistence",
        "current_cow_peak",
        "Peak of the copy-on-write memory of the running background process, in bytes.",
    ),
    NodeRow::field(
        "redis_module_fork_in_progress",
        Same,
        "persistence",
        "module_fork_in_progress",
        "Whether a background process of a module is running.",
    ),
    NodeRow::field(
        "redis_module_fork_last_cow_size",
        Same,
        "persistence",
        "module_fork_last_cow_size",
        "Copy-on-write memory of the last background process of a module, in bytes.",
    ),
    NodeRow::field(
        "redis_slot_migration_fork_in_progress",
        Absent,
        "persistence",
        "slot_migration_fork_in_progress",
        "Whether a background process is exporting slots, on Valkey.",
    ),
    // Refused commands.
    NodeRow::samples(
        "redis_writes_refused",
        Absent,
        &["reason"],
        "derived from INFO and CONFIG, never probed",
        "Whether the node refuses writes that it should accept, or lets them wait (paused), by \
         reason; reasons that cannot be determined are absent.",
        |node, emit| {
            node.writes_refused
                .iter()
                .for_each(|(reason, holds)| emit(&[reason.label()], f64::from(*holds)));
        },
    )
    .core(),
    NodeRow::samples(
        "redis_reads_refused",
        Absent,
        &["reason"],
        "derived from INFO and CONFIG, never probed",
        "Whether the node refuses reads, by reason; reasons that cannot be determined are absent.",
        |node, emit| {
            node.reads_refused
                .iter()
                .for_each(|(reason, holds)| emit(&[reason.label()], f64::from(*holds)));
        },
    )
    .core(),
];
