//! CONFIG parameters that decide what a state means. Absent where CONFIG is closed to us.

use crate::row::Legacy::Same;
use crate::row::NodeRow;

const FSYNC_POLICIES: [&str; 3] = ["always", "everysec", "no"];

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::state(
        "redis_config_appendfsync",
        &["policy"],
        &FSYNC_POLICIES,
        "CONFIG appendfsync",
        "When the append-only file is forced to disk: 1 for the current policy.",
        |node| {
            let policy = node.snapshot()?.config.as_ref()?.get("appendfsync")?;
            FSYNC_POLICIES.into_iter().find(|known| *known == policy)
        },
    ),
    NodeRow::config(
        "redis_config_auto_aof_rewrite_percentage",
        "auto-aof-rewrite-percentage",
        "Growth over redis_aof_base_size_bytes that starts a rewrite, percent; 0 is never.",
    ),
    NodeRow::config(
        "redis_config_auto_aof_rewrite_min_size_bytes",
        "auto-aof-rewrite-min-size",
        "Size below which no rewrite is started, bytes.",
    ),
    NodeRow::config(
        "redis_config_no_appendfsync_on_rewrite",
        "no-appendfsync-on-rewrite",
        "Whether nothing is forced to disk while a rewrite runs.",
    ),
    NodeRow::config(
        "redis_config_stop_writes_on_bgsave_error",
        "stop-writes-on-bgsave-error",
        "Whether a failed background save stops writes, where save points are configured.",
    ),
    NodeRow::one(
        "redis_config_save_points",
        "CONFIG save",
        "Save points configured; without any, no background save is ever begun by itself.",
        |node| {
            let save = node.snapshot()?.config.as_ref()?.get("save")?;
            Some((save.split_whitespace().count() / 2) as f64)
        },
    ),
    NodeRow::config(
        "redis_config_replica_ignore_disk_write_errors",
        "replica-ignore-disk-write-errors",
        "Whether a replica goes on when it cannot write its append-only file; else it aborts.",
    ),
    NodeRow::config(
        "redis_config_replica_serve_stale_data",
        "replica-serve-stale-data",
        "Whether a replica without its master still serves reads.",
    ),
    NodeRow::config("redis_config_replica_read_only", "replica-read-only", "Whether the node refuses writes when it is a replica."),
    NodeRow::config(
        "redis_config_min_replicas_to_write",
        "min-replicas-to-write",
        "Good replicas that a master needs to take writes; 0 is no such need.",
    ),
    NodeRow::config(
        "redis_config_min_replicas_max_lag_seconds",
        "min-replicas-max-lag",
        "Time since its last acknowledgement up to which a replica is a good one, seconds.",
    ),
    NodeRow::config(
        "redis_config_repl_timeout_seconds",
        "repl-timeout",
        "Silence after which either side cuts a replication link, seconds.",
    ),
    NodeRow::config(
        "redis_config_repl_ping_replica_period_seconds",
        "repl-ping-replica-period",
        "Time between pings of the master to its replicas, seconds.",
    ),
    NodeRow::config("redis_config_repl_backlog_size", "repl-backlog-size", "Configured size of the replication backlog, bytes.")
        .legacy(Same),
    NodeRow::config(
        "redis_config_repl_backlog_ttl_seconds",
        "repl-backlog-ttl",
        "Time without replicas after which the backlog is given up, seconds; 0 is never.",
    ),
    NodeRow::config(
        "redis_config_cluster_require_full_coverage",
        "cluster-require-full-coverage",
        "Whether a cluster refuses all commands while any slot is uncovered.",
    ),
    NodeRow::config("redis_config_maxmemory", "maxmemory", "Configured memory limit, bytes; 0 is none.").legacy(Same),
    NodeRow::config("redis_config_maxclients", "maxclients", "The most client connections allowed.").legacy(Same),
    NodeRow::config("redis_config_io_threads", "io-threads", "Threads for input and output.").legacy(Same),
    NodeRow::many(
        "redis_config_client_output_buffer_limit_bytes",
        &["class", "limit"],
        "CONFIG client-output-buffer-limit",
        "Output that may wait for a client of the class, bytes: hard at once, soft for a while; 0 is no limit.",
        |node, emit| {
            for limit in
                node.snapshot().and_then(|snapshot| snapshot.config.as_ref()).iter().flat_map(|config| config.output_buffer_limits())
            {
                emit(&[limit.class, "hard"], limit.hard as f64);
                emit(&[limit.class, "soft"], limit.soft as f64);
            }
        },
    )
    .legacy(Same),
    NodeRow::many(
        "redis_config_client_output_buffer_limit_overcome_seconds",
        &["class", "limit"],
        "CONFIG client-output-buffer-limit",
        "Time for which output may stay above the soft limit of the class, seconds.",
        |node, emit| {
            for limit in
                node.snapshot().and_then(|snapshot| snapshot.config.as_ref()).iter().flat_map(|config| config.output_buffer_limits())
            {
                emit(&[limit.class, "soft"], limit.soft_duration.as_secs_f64());
            }
        },
    )
    .legacy(Same),
];
