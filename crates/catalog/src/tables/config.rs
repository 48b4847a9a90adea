//! Theme `config`: CONFIG parameters that are needed to interpret other metrics. They are absent if
//! the exporter is not permitted to run CONFIG GET.

use crate::row::NodeRow;
use crate::row::RedisExporterName::{Absent, Same};

const FSYNC_POLICIES: [&str; 3] = ["always", "everysec", "no"];

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::state_set(
        "redis_config_appendfsync",
        Absent,
        &["policy"],
        &FSYNC_POLICIES,
        "CONFIG appendfsync",
        "AOF fsync policy: 1 for this policy, 0 for the others.",
        |node| {
            let policy = node.snapshot()?.config.as_ref()?.get("appendfsync")?;
            FSYNC_POLICIES.into_iter().find(|known| *known == policy)
        },
    )
    .core(),
    NodeRow::config(
        "redis_config_auto_aof_rewrite_percentage",
        Absent,
        "auto-aof-rewrite-percentage",
        "Growth over redis_aof_base_size_bytes that triggers an AOF rewrite, in percent; 0 \
         disables automatic rewrites.",
    )
    .core(),
    NodeRow::config(
        "redis_config_auto_aof_rewrite_min_size_bytes",
        Absent,
        "auto-aof-rewrite-min-size",
        "Minimum size of the AOF for an automatic rewrite, in bytes.",
    )
    .core(),
    NodeRow::config(
        "redis_config_no_appendfsync_on_rewrite",
        Absent,
        "no-appendfsync-on-rewrite",
        "Whether the AOF is not fsynced during an AOF rewrite or RDB save.",
    ),
    NodeRow::config(
        "redis_config_stop_writes_on_bgsave_error",
        Absent,
        "stop-writes-on-bgsave-error",
        "Whether the server refuses writes after a failed background RDB save; has no effect \
         without save points.",
    ),
    NodeRow::value(
        "redis_config_save_points",
        Absent,
        "CONFIG save",
        "Save points (save); 0 disables automatic RDB saves.",
        |node| {
            let save = node.snapshot()?.config.as_ref()?.get("save")?;
            Some((save.split_whitespace().count() / 2) as f64)
        },
    ),
    NodeRow::config(
        "redis_config_replica_ignore_disk_write_errors",
        Absent,
        "replica-ignore-disk-write-errors",
        "Whether a replica keeps running when it cannot write its AOF; otherwise it aborts.",
    ),
    NodeRow::config(
        "redis_config_replica_serve_stale_data",
        Absent,
        "replica-serve-stale-data",
        "Whether a replica serves reads while its replication link is down.",
    ),
    NodeRow::config(
        "redis_config_replica_read_only",
        Absent,
        "replica-read-only",
        "Whether the node is read-only as a replica.",
    ),
    NodeRow::config(
        "redis_config_min_replicas_to_write",
        Absent,
        "min-replicas-to-write",
        "Good replicas that a master needs to accept writes; 0 disables the check.",
    )
    .core(),
    NodeRow::config(
        "redis_config_min_replicas_max_lag_seconds",
        Absent,
        "min-replicas-max-lag",
        "Maximum lag of a good replica, in seconds.",
    ),
    NodeRow::config(
        "redis_config_repl_timeout_seconds",
        Absent,
        "repl-timeout",
        "Time without data after which a replication link is closed, in seconds.",
    ),
    NodeRow::config(
        "redis_config_repl_ping_replica_period_seconds",
        Absent,
        "repl-ping-replica-period",
        "Interval between pings to replicas, in seconds.",
    ),
    NodeRow::config(
        "redis_config_repl_backlog_size",
        Same,
        "repl-backlog-size",
        "Configured size of the replication backlog, in bytes.",
    ),
    NodeRow::config(
        "redis_config_repl_backlog_ttl_seconds",
        Absent,
        "repl-backlog-ttl",
        "Time without replicas after which the replication backlog is freed, in seconds; 0 for \
         never.",
    ),
    NodeRow::config(
        "redis_config_cluster_require_full_coverage",
        Absent,
        "cluster-require-full-coverage",
        "Whether a cluster node refuses commands while any slot is uncovered.",
    )
    .core(),
    NodeRow::config(
        "redis_config_maxmemory",
        Same,
        "maxmemory",
        "Configured memory limit, in bytes; 0 for no limit.",
    ),
    NodeRow::config(
        "redis_config_maxclients",
        Same,
        "maxclients",
        "Configured limit of client connections.",
    )
    .core(),
    NodeRow::config(
        "redis_config_io_threads",
        Same,
        "io-threads",
        "Configured number of I/O threads.",
    ),
    NodeRow::samples(
        "redis_config_client_output_buffer_limit_bytes",
        Same,
        &["class", "limit"],
        "CONFIG client-output-buffer-limit",
        "Hard or soft output buffer limit of the client class, in bytes; 0 for no limit.",
        |node, emit| {
            for limit in node
                .snapshot()
                .and_then(|snapshot| snapshot.config.as_ref())
                .iter()
                .flat_map(|config| config.output_buffer_limits())
            {
                emit(&[limit.class, "hard"], limit.hard as f64);
                emit(&[limit.class, "soft"], limit.soft as f64);
            }
        },
    ),
    NodeRow::samples(
        "redis_config_client_output_buffer_limit_overcome_seconds",
        Same,
        &["class", "limit"],
        "CONFIG client-output-buffer-limit",
        "Time for which clients of the class may exceed their soft output buffer limit, in \
         seconds.",
        |node, emit| {
            for limit in node
                .snapshot()
                .and_then(|snapshot| snapshot.config.as_ref())
                .iter()
                .flat_map(|config| config.output_buffer_limits())
            {
                emit(&[limit.class, "soft"], limit.soft_duration.as_secs_f64());
            }
        },
    ),
];
