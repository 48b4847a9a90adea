//! Theme `replication`: role, replication link, lag, and connected replicas of a node.

use snapshot::{Link, LinkStatus, Role};
use topology::AttachedView;

use crate::row::NodeRow;
use crate::row::RedisExporterName::{Absent, AsGauge, Same, SeparateRow};

const ROLES: &[&str] = &[Role::Master.label(), Role::Replica.label(), Role::Sentinel.label()];

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::state_set(
        "redis_role",
        Absent,
        &["role"],
        ROLES,
        "INFO replication: role; a Sentinel by INFO server: redis_mode",
        "Role that the node claims: 1 for this role, 0 for the others; absent if the role is not \
         known.",
        |node| node.role().map(Role::label),
    )
    .core(),
    NodeRow::value(
        "redis_role_unknown",
        Absent,
        "INFO replication: role",
        "Whether the node claims a role that Rolecall does not know, or none; such a node is no \
         evidence about the primary, and has no sample if `expect.unknown_role` is set.",
        |node| node.has_unknown_role().map(f64::from),
    )
    .core(),
    NodeRow::state_set(
        "redis_expected_role",
        Absent,
        &["role"],
        ROLES,
        "configuration: role, expect.primary",
        "Role declared in the configuration, for all nodes replica if the primary is external: 1 \
         for this role, 0 for the others; absent without a declaration.",
        |node| node.expected_role.map(Role::label),
    )
    .core(),
    NodeRow::value(
        "redis_unexpected_role",
        Absent,
        "INFO replication: role; configuration: role, expect.primary",
        "Whether the node claims another role than the declared one; absent without a declaration.",
        |node| node.unexpected_role().map(f64::from),
    )
    .core(),
    NodeRow::field(
        "redis_slave_read_only",
        Absent,
        "replication",
        "slave_read_only",
        "Whether the replica is read-only.",
    )
    .core(),
    NodeRow::value(
        "redis_master_link_up",
        SeparateRow("redis_master_link_up"),
        "INFO replication: master_link_status",
        "Whether the replication link is up; absent on nodes without one.",
        |node| Some(f64::from(link(node)?.status? == LinkStatus::Up)),
    ),
    NodeRow::state_set(
        "redis_link_state",
        Absent,
        &["state"],
        &topology::LinkState::LABELS,
        "INFO replication: master_link_status, master_sync_in_progress, \
         master_last_io_seconds_ago, master_link_down_since_seconds",
        "State of the replication link: 1 for this state, 0 for the others; absent on nodes \
         without one.",
        |node| node.snapshot().and(node.link.state).map(topology::LinkState::label),
    )
    .core(),
    NodeRow::state_set(
        "redis_replica_orphaned",
        Absent,
        &["why"],
        &topology::OrphanReason::LABELS,
        "INFO replication: master_host, master_port, master_link_status of the node and of those \
         above it",
        "Reason why the replica is not connected to the primary: 1 for this reason, 0 for the \
         others; absent on nodes other than replicas.",
        |node| node.is_replica().then(|| node.orphan.map_or("", topology::OrphanReason::label)),
    )
    .core(),
    NodeRow::value(
        "redis_replica_chain_depth",
        Absent,
        "INFO replication: master_host, master_port",
        "Replication links between the replica and the master; absent in a replication loop.",
        |node| node.depth.map(|depth| depth as f64),
    ),
    NodeRow::value(
        "redis_replica_diverged",
        Absent,
        "INFO keyspace; INFO persistence: rdb_changes_since_last_save; INFO replication: \
         slave_read_only",
        "Whether the replica's data set is known to differ from the primary's; stays 1 until the \
         next full resync.",
        |node| node.is_replica().then(|| f64::from(node.diverged)),
    )
    .core(),
    NodeRow::value(
        "redis_replication_lag_bytes",
        Absent,
        "INFO replication: master_repl_offset of the primary and of the replica",
        "Bytes of the primary's replication stream that the replica has not applied; absent unless \
         both share a replication history.",
        |node| node.lag.bytes.map(|bytes| bytes as f64),
    )
    .core(),
    NodeRow::value(
        "redis_replication_lag_seconds",
        Absent,
        "INFO replication: master_repl_offset of the primary, over time, and of the replica",
        "Time since the primary's replication stream passed the offset of the replica, in seconds; \
         0 if the replica has applied everything.",
        |node| node.lag.behind.map(|behind| behind.as_secs_f64()),
    )
    .core(),
    NodeRow::value(
        "redis_replica_data_age_seconds",
        Absent,
        "INFO replication: master_repl_offset of the primary, over time, and of the replica",
        "Age of the replica's data in seconds: time since the primary's data set equalled it; \
         keeps increasing while the primary is down.",
        |node| node.lag.age.map(|age| age.as_secs_f64()),
    )
    .core(),
    NodeRow::value(
        "redis_master_link_down_since_seconds",
        Absent,
        "INFO replication: master_link_down_since_seconds",
        "Time since the replication link went down, in seconds; absent while it is up and if it \
         was never up.",
        |node| match link(node)?.status? {
            LinkStatus::Down(since) => since.map(|since| since.as_secs_f64()),
            LinkStatus::Up => None,
        },
    )
    .core(),
    NodeRow::field(
        "redis_master_last_io_seconds_ago",
        SeparateRow("redis_master_last_io_seconds_ago"),
        "replication",
        "master_last_io_seconds_ago",
        "Time since the last data from the upstream, in seconds; absent while the replication link \
         is down.",
    )
    .core(),
    NodeRow::field(
        "redis_master_sync_in_progress",
        SeparateRow("redis_master_sync_in_progress"),
        "replication",
        "master_sync_in_progress",
        "Whether the replica is in a full resync.",
    )
    .core(),
    NodeRow::field(
        "redis_master_sync_total_bytes",
        Absent,
        "replication",
        "master_sync_total_bytes",
        "Size of the running full resync, in bytes; 0 or absent if the upstream does not announce \
         it.",
    ),
    NodeRow::field(
        "redis_master_sync_read_bytes",
        Absent,
        "replication",
        "master_sync_read_bytes",
        "Bytes of the running full resync that the replica has read.",
    ),
    NodeRow::field(
        "redis_master_sync_left_bytes",
        Absent,
        "replication",
        "master_sync_left_bytes",
        "Bytes of the running full resync that are left to read; absent if the upstream does not \
         announce its size.",
    ),
    NodeRow::field(
        "redis_master_sync_last_io_seconds_ago",
        Absent,
        "replication",
        "master_sync_last_io_seconds_ago",
        "Time since the last data of the running full resync, in seconds.",
    ),
    NodeRow::field(
        "redis_master_current_sync_attempts",
        Absent,
        "replication",
        "master_current_sync_attempts",
        "Resync attempts since the replication link was lost, on Redis 8.",
    ),
    NodeRow::field(
        "redis_master_sync_attempts_total",
        Absent,
        "replication",
        "master_total_sync_attempts",
        "Resync attempts since the node became a replica, on Redis 8.",
    ),
    NodeRow::field(
        "redis_master_link_up_since_seconds",
        Absent,
        "replication",
        "master_link_up_since_seconds",
        "Time since the replication link came up, in seconds, on Redis 8.",
    ),
    NodeRow::field(
        "redis_master_disconnect_seconds_total",
        Absent,
        "replication",
        "total_disconnect_time_sec",
        "Time during which the replication link was down, in seconds, on Redis 8.",
    ),
    NodeRow::field(
        "redis_replica_announced",
        Absent,
        "replication",
        "replica_announced",
        "Whether Sentinels announce the replica to clients (replica-announced).",
    ),
    NodeRow::field(
        "redis_slave_expires_tracked_keys",
        Same,
        "stats",
        "slave_expires_tracked_keys",
        "Keys whose expiry a writable replica tracks.",
    ),
    NodeRow::field(
        "redis_slave_priority",
        Same,
        "replication",
        "slave_priority",
        "Priority of the replica in failovers (replica-priority); 0 excludes it from promotion.",
    ),
    NodeRow::field(
        "redis_slave_repl_offset",
        SeparateRow("redis_slave_repl_offset"),
        "replication",
        "slave_repl_offset",
        "Replication offset that the replica has applied, in bytes.",
    ),
    NodeRow::field(
        "redis_slave_read_repl_offset",
        Absent,
        "replication",
        "slave_read_repl_offset",
        "Replication offset that the replica has received, in bytes.",
    ),
    NodeRow::field(
        "redis_master_repl_offset",
        Same,
        "replication",
        "master_repl_offset",
        "Replication offset that a master has produced or a replica has applied, in bytes.",
    )
    .core(),
    NodeRow::field(
        "redis_second_repl_offset",
        Same,
        "replication",
        "second_repl_offset",
        "Replication offset up to which the previous replication ID is valid, in bytes; absent if \
         there is no previous replication ID.",
    ),
    NodeRow::field(
        "redis_connected_slaves",
        Same,
        "replication",
        "connected_slaves",
        "Replicas connected to the node.",
    ),
    NodeRow::samples(
        "redis_connected_slave_offset_bytes",
        SeparateRow("redis_connected_slave_offset_bytes"),
        &["replica"],
        "INFO replication: slaveN offset",
        "Replication offset that the connected replica has acknowledged, in bytes; absent if the \
         server does not report it.",
        |node, emit| {
            for replica in &node.attached_replicas {
                if let Some(offset) = replica.reported.offset {
                    emit(&[&replica.name], offset as f64);
                }
            }
        },
    ),
    NodeRow::samples(
        "redis_connected_slave_lag_seconds",
        SeparateRow("redis_connected_slave_lag_seconds"),
        &["replica"],
        "INFO replication: slaveN lag",
        "Time since the last acknowledgement of the connected replica, in seconds; absent while \
         the replica is not online, and if the server counts records instead of seconds.",
        |node, emit| {
            let is_online = |replica: &&AttachedView| replica.reported.is_online() == Some(true);
            for replica in node.attached_replicas.iter().filter(is_online) {
                if let Some(lag) = replica.reported.lag {
                    emit(&[&replica.name], lag.as_secs_f64());
                }
            }
        },
    ),
    NodeRow::samples(
        "redis_connected_slave_info",
        Absent,
        &["replica", "state"],
        "INFO replication: slaveN state",
        "State of the connected replica as seen by the node, empty if the server does not report \
         it; the value is always 1.",
        |node, emit| {
            for replica in &node.attached_replicas {
                emit(&[&replica.name, replica.reported.state.as_deref().unwrap_or_default()], 1.0);
            }
        },
    )
    .core(),
    NodeRow::field(
        "redis_replicas_waiting_psync",
        Same,
        "replication",
        "replicas_waiting_psync",
        "Replicas that load a snapshot while the node keeps the replication stream for them, on \
         Valkey.",
    ),
    NodeRow::field(
        "redis_replica_full_sync_buffer_bytes",
        Absent,
        "replication",
        "replica_full_sync_buffer_size",
        "Replication stream that the replica has buffered during a full resync, in bytes, on Redis \
         8.",
    ),
    NodeRow::field(
        "redis_replica_full_sync_buffer_peak_bytes",
        Absent,
        "replication",
        "replica_full_sync_buffer_peak",
        "Peak of the replication stream that the replica has buffered during a full resync, in \
         bytes, on Redis 8.",
    ),
    NodeRow::field(
        "redis_replicas_repl_buffer_bytes",
        AsGauge("redis_replicas_repl_buffer_size_bytes"),
        "replication",
        "replicas_repl_buffer_size",
        "Replication stream that the replica has buffered during a full resync, in bytes, on \
         Valkey.",
    ),
    NodeRow::field(
        "redis_replicas_repl_buffer_peak_bytes",
        Same,
        "replication",
        "replicas_repl_buffer_peak",
        "Peak of the replication stream that the replica has buffered during a full resync, in \
         bytes, on Valkey.",
    ),
    NodeRow::field(
        "redis_repl_backlog_is_active",
        Same,
        "replication",
        "repl_backlog_active",
        "Whether the replication backlog is active.",
    ),
    NodeRow::field(
        "redis_replication_backlog_bytes",
        Same,
        "replication",
        "repl_backlog_size",
        "Size of the replication backlog, in bytes.",
    )
    .core(),
    NodeRow::field(
        "redis_repl_backlog_first_byte_offset",
        Same,
        "replication",
        "repl_backlog_first_byte_offset",
        "Replication offset of the first byte in the replication backlog.",
    ),
    NodeRow::field(
        "redis_repl_backlog_history_bytes",
        Same,
        "replication",
        "repl_backlog_histlen",
        "Size of the data in the replication backlog, in bytes.",
    ),
    NodeRow::field(
        "redis_min_slaves_good_slaves",
        Absent,
        "replication",
        "min_slaves_good_slaves",
        "Replicas whose lag is at most min-replicas-max-lag; absent unless min-replicas-to-write \
         is configured.",
    )
    .core(),
    NodeRow::field(
        "redis_replica_resyncs_full_total",
        AsGauge("redis_replica_resyncs_full"),
        "stats",
        "sync_full",
        "Full resyncs of replicas that the node started.",
    )
    .core(),
    NodeRow::field(
        "redis_replica_partial_resyncs_accepted_total",
        AsGauge("redis_replica_partial_resync_accepted"),
        "stats",
        "sync_partial_ok",
        "Partial resync requests of replicas that the node accepted.",
    )
    .core(),
    NodeRow::field(
        "redis_replica_partial_resyncs_denied_total",
        AsGauge("redis_replica_partial_resync_denied"),
        "stats",
        "sync_partial_err",
        "Partial resync requests of replicas that the node denied; each new replica sends one.",
    )
    .core(),
    NodeRow::samples(
        "redis_slave_info",
        SeparateRow("redis_slave_info"),
        &["master_host", "master_port"],
        "INFO replication: master_host, master_port",
        "Upstream that the replica is configured to replicate from; the value is always 1.",
        |node, emit| {
            if let Some(link) = link(node) {
                let port = link.master_port.map(|port| port.to_string()).unwrap_or_default();
                emit(&[link.master_host.as_deref().unwrap_or_default(), &port], 1.0);
            }
        },
    )
    .core(),
];

fn link(node: &topology::NodeView) -> Option<&Link> {
    node.snapshot()?.replication.any_link()
}
