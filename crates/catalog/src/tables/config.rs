//! CONFIG parameters that decide what a state means. Absent where CONFIG is closed to us.

use topology::NodeView;

use crate::row::NodeRow;

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::config(
        "redis_config_auto_aof_rewrite_percentage",
        "auto-aof-rewrite-percentage",
        "Growth over redis_aof_base_size_bytes that starts a rewrite, percent; 0 is never.",
        |node| number(node, "auto-aof-rewrite-percentage"),
    ),
    NodeRow::config(
        "redis_config_auto_aof_rewrite_min_size_bytes",
        "auto-aof-rewrite-min-size",
        "Size below which no rewrite is started, bytes.",
        |node| number(node, "auto-aof-rewrite-min-size"),
    ),
    NodeRow::config(
        "redis_config_repl_timeout_seconds",
        "repl-timeout",
        "Silence after which either side cuts a replication link, seconds.",
        |node| number(node, "repl-timeout"),
    ),
    NodeRow::config(
        "redis_config_repl_ping_replica_period_seconds",
        "repl-ping-replica-period",
        "Time between pings of the master to its replicas, seconds.",
        |node| number(node, "repl-ping-replica-period"),
    ),
    NodeRow::config(
        "redis_config_min_replicas_to_write",
        "min-replicas-to-write",
        "Good replicas that a master needs to take writes; 0 is no such need.",
        |node| number(node, "min-replicas-to-write"),
    ),
    NodeRow::config(
        "redis_config_replica_serve_stale_data",
        "replica-serve-stale-data",
        "Whether a replica without its master still serves reads.",
        |node| flag(node, "replica-serve-stale-data"),
    ),
    NodeRow::config(
        "redis_config_stop_writes_on_bgsave_error",
        "stop-writes-on-bgsave-error",
        "Whether a failed background save stops writes, where save points are configured.",
        |node| flag(node, "stop-writes-on-bgsave-error"),
    ),
];

fn number(node: &NodeView, parameter: &str) -> Option<f64> {
    node.snapshot()?.config.as_ref()?.number(parameter)
}

fn flag(node: &NodeView, parameter: &str) -> Option<f64> {
    node.snapshot()?.config.as_ref()?.flag(parameter).map(f64::from)
}
