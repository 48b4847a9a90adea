//! What a node claims to be, and how it follows its master.

use snapshot::{Link, LinkStatus, Role};

use crate::row::Legacy::{Gauge, No, Own};
use crate::row::NodeRow;

const ROLES: &[&str] = &[Role::Master.label(), Role::Replica.label(), Role::Sentinel.label()];

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::state(
        "redis_role",
        &["role"],
        ROLES,
        "INFO replication: role; a Sentinel by INFO server: redis_mode",
        "The role that the node claims: 1 for the current one.",
        |node| node.role().map(Role::label),
    ),
    NodeRow::state(
        "redis_expected_role",
        &["role"],
        ROLES,
        "configuration: role",
        "The role that the configuration declares: 1 for the declared one.",
        |node| node.node.expected_role.map(Role::label),
    ),
    NodeRow::one(
        "redis_unexpected_role",
        "INFO replication: role; configuration: role",
        "Whether the node claims another role than the declared one.",
        |node| node.unexpected_role().map(f64::from),
    ),
    NodeRow::field("redis_slave_read_only", "replication", "slave_read_only", "Whether the replica refuses writes.").legacy(No),
    NodeRow::one(
        "redis_master_link_up",
        "INFO replication: master_link_status",
        "Whether the replica's link to its master is connected and synchronised.",
        |node| Some(f64::from(link(node)?.status? == LinkStatus::Up)),
    )
    .legacy(Own("redis_master_link_up")),
    NodeRow::state(
        "redis_link_state",
        &["state"],
        &topology::LinkState::LABELS,
        "INFO replication: master_link_status, master_sync_in_progress, master_last_io_seconds_ago, master_link_down_since_seconds",
        "The state of the replica's link to its master: 1 for the current one.",
        |node| node.snapshot().and(node.link.state).map(topology::LinkState::label),
    ),
    NodeRow::state(
        "redis_replica_orphaned",
        &["why"],
        &topology::OrphanReason::LABELS,
        "INFO replication: master_host, master_port, master_link_status of the node and of those above it",
        "Why the replica gets nothing from the primary: 1 for the reason that holds, absent on others than replicas.",
        |node| node.is_replica().then(|| node.orphan.map_or("", topology::OrphanReason::label)),
    ),
    NodeRow::one(
        "redis_replica_chain_depth",
        "INFO replication: master_host, master_port",
        "Links between the replica and its master; absent in a circle.",
        |node| node.depth.map(|depth| depth as f64),
    ),
    NodeRow::one(
        "redis_replica_diverged",
        "INFO keyspace; INFO persistence: rdb_changes_since_last_save; INFO replication: slave_read_only",
        "Whether the replica's data is known to differ from its primary's, until its next full synchronisation.",
        |node| node.is_replica().then(|| f64::from(node.diverged)),
    ),
    NodeRow::one(
        "redis_replication_lag_bytes",
        "INFO replication: master_repl_offset of the primary and of the replica",
        "Replication stream of the primary that the replica has not applied, bytes; absent unless they share a history.",
        |node| node.lag.bytes.map(|bytes| bytes as f64),
    ),
    NodeRow::one(
        "redis_replication_lag_seconds",
        "INFO replication: master_repl_offset of the primary, over time, and of the replica",
        "Time since the primary's stream passed what the replica applied, seconds; 0 when it has applied all.",
        |node| node.lag.behind.map(|behind| behind.as_secs_f64()),
    ),
    NodeRow::one(
        "redis_replica_data_age_seconds",
        "INFO replication: master_repl_offset of the primary, over time, and of the replica",
        "Time since the primary's history last equalled the replica's data, seconds; goes on rising while the primary is away.",
        |node| node.lag.age.map(|age| age.as_secs_f64()),
    ),
    NodeRow::one(
        "redis_master_link_down_since_seconds",
        "INFO replication: master_link_down_since_seconds",
        "For how long the link to the master has been down, seconds; absent when it is up or never was.",
        |node| match link(node)?.status? {
            LinkStatus::Down(since) => since.map(|since| since.as_secs_f64()),
            LinkStatus::Up => None,
        },
    ),
    NodeRow::field(
        "redis_master_last_io_seconds_ago",
        "replication",
        "master_last_io_seconds_ago",
        "Time since the master last sent anything, seconds; absent while the link is down.",
    )
    .legacy(Own("redis_master_last_io_seconds_ago")),
    NodeRow::field(
        "redis_master_sync_in_progress",
        "replication",
        "master_sync_in_progress",
        "Whether the replica is being synchronised by its master.",
    )
    .legacy(Own("redis_master_sync_in_progress")),
    NodeRow::field(
        "redis_master_sync_total_bytes",
        "replication",
        "master_sync_total_bytes",
        "Size of the running synchronisation, bytes; 0 or absent where the master does not tell.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_master_sync_read_bytes",
        "replication",
        "master_sync_read_bytes",
        "Part of the running synchronisation that was read, bytes.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_master_sync_left_bytes",
        "replication",
        "master_sync_left_bytes",
        "Part of the running synchronisation that is left, bytes; absent where the master does not tell its size.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_master_sync_last_io_seconds_ago",
        "replication",
        "master_sync_last_io_seconds_ago",
        "Time since the running synchronisation last moved, seconds.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_master_current_sync_attempts",
        "replication",
        "master_current_sync_attempts",
        "Synchronisations tried since the link was lost, on Redis 8.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_master_sync_attempts_total",
        "replication",
        "master_total_sync_attempts",
        "Synchronisations tried since the server became a replica, on Redis 8.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_master_link_up_since_seconds",
        "replication",
        "master_link_up_since_seconds",
        "For how long the link to the master has been up, seconds, on Redis 8.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_master_disconnect_seconds_total",
        "replication",
        "total_disconnect_time_sec",
        "Time without a link to the master, seconds, on Redis 8.",
    )
    .legacy(No),
    NodeRow::field("redis_replica_announced", "replication", "replica_announced", "Whether Sentinels are told of the replica.").legacy(No),
    NodeRow::field(
        "redis_slave_expires_tracked_keys",
        "stats",
        "slave_expires_tracked_keys",
        "Keys whose expiry a writable replica looks after itself.",
    ),
    NodeRow::field("redis_slave_priority", "replication", "slave_priority", "Priority of the replica for promotion; 0 is never."),
    NodeRow::field("redis_slave_repl_offset", "replication", "slave_repl_offset", "Replication stream applied by the replica, bytes.")
        .legacy(Own("redis_slave_repl_offset")),
    NodeRow::field(
        "redis_slave_read_repl_offset",
        "replication",
        "slave_read_repl_offset",
        "Replication stream received by the replica, bytes.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_master_repl_offset",
        "replication",
        "master_repl_offset",
        "Replication stream produced by a master or applied by a replica, bytes.",
    ),
    NodeRow::field(
        "redis_second_repl_offset",
        "replication",
        "second_repl_offset",
        "Offset up to which the previous replication id holds, bytes; absent on a node that never took over.",
    ),
    NodeRow::field("redis_connected_slaves", "replication", "connected_slaves", "Replicas attached to the node."),
    NodeRow::many(
        "redis_connected_slave_offset_bytes",
        &["replica"],
        "INFO replication: slaveN offset",
        "Replication stream that the replica acknowledged, bytes.",
        |node, emit| node.attached_replicas.iter().for_each(|replica| emit(&[&replica.name], replica.reported.offset as f64)),
    )
    .legacy(Own("redis_connected_slave_offset_bytes")),
    NodeRow::many(
        "redis_connected_slave_lag_seconds",
        &["replica"],
        "INFO replication: slaveN lag",
        "Time since the replica's last acknowledgement, seconds; absent while it is not online.",
        |node, emit| {
            for replica in node.attached_replicas.iter().filter(|replica| &*replica.reported.state == "online") {
                if let Some(lag) = replica.reported.lag {
                    emit(&[&replica.name], lag.as_secs_f64());
                }
            }
        },
    )
    .legacy(Own("redis_connected_slave_lag_seconds")),
    NodeRow::many(
        "redis_connected_slave_info",
        &["replica", "state"],
        "INFO replication: slaveN state",
        "A replica as its master sees it: always 1.",
        |node, emit| node.attached_replicas.iter().for_each(|replica| emit(&[&replica.name, &replica.reported.state], 1.0)),
    ),
    NodeRow::field(
        "redis_replicas_waiting_psync",
        "replication",
        "replicas_waiting_psync",
        "Replicas that load a snapshot while the stream is kept for them, on Valkey.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_replica_full_sync_buffer_bytes",
        "replication",
        "replica_full_sync_buffer_size",
        "Stream kept by the replica during a full synchronisation, bytes, on Redis 8.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_replica_full_sync_buffer_peak_bytes",
        "replication",
        "replica_full_sync_buffer_peak",
        "The most stream ever kept by the replica, bytes, on Redis 8.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_replicas_repl_buffer_bytes",
        "replication",
        "replicas_repl_buffer_size",
        "Stream kept by the replica during a full synchronisation, bytes, on Valkey.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_replicas_repl_buffer_peak_bytes",
        "replication",
        "replicas_repl_buffer_peak",
        "The most stream ever kept by the replica, bytes, on Valkey.",
    )
    .legacy(No),
    NodeRow::field("redis_repl_backlog_is_active", "replication", "repl_backlog_active", "Whether the node keeps a backlog for replicas."),
    NodeRow::field("redis_replication_backlog_bytes", "replication", "repl_backlog_size", "Size of the replication backlog, bytes."),
    NodeRow::field(
        "redis_repl_backlog_first_byte_offset",
        "replication",
        "repl_backlog_first_byte_offset",
        "Offset of the oldest part of the stream in the backlog, bytes.",
    ),
    NodeRow::field("redis_repl_backlog_history_bytes", "replication", "repl_backlog_histlen", "Stream in the backlog, bytes."),
    NodeRow::field(
        "redis_min_slaves_good_slaves",
        "replication",
        "min_slaves_good_slaves",
        "Replicas that acknowledge in time; absent unless a minimum is configured.",
    )
    .legacy(No),
    NodeRow::field("redis_replica_resyncs_full_total", "stats", "sync_full", "Full synchronisations of replicas begun by the node.")
        .legacy(Gauge("redis_replica_resyncs_full")),
    NodeRow::field(
        "redis_replica_partial_resyncs_accepted_total",
        "stats",
        "sync_partial_ok",
        "Partial synchronisations of replicas that the node granted.",
    )
    .legacy(Gauge("redis_replica_partial_resync_accepted")),
    NodeRow::field(
        "redis_replica_partial_resyncs_denied_total",
        "stats",
        "sync_partial_err",
        "Partial synchronisations that the node refused; every new replica asks for one.",
    )
    .legacy(Gauge("redis_replica_partial_resync_denied")),
    NodeRow::many(
        "redis_slave_info",
        &["master_host", "master_port"],
        "INFO replication: master_host, master_port",
        "The master that the replica is told to follow: always 1.",
        |node, emit| {
            if let Some(link) = link(node) {
                let port = link.master_port.map(|port| port.to_string()).unwrap_or_default();
                emit(&[link.master_host.as_deref().unwrap_or_default(), &port], 1.0);
            }
        },
    )
    .legacy(Own("redis_slave_info")),
];

fn link(node: &topology::NodeView) -> Option<&Link> {
    node.snapshot()?.replication.link.as_ref()
}
