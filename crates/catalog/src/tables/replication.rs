//! What a node claims to be, and how it follows its master.

use snapshot::{Link, LinkStatus, Role};

use crate::row::{Legacy, NodeRow};

const ROLES: &[&str] = &[Role::Master.label(), Role::Replica.label(), Role::Sentinel.label()];
const LINK_STATES: &[&str] = &["up", "stalled", "syncing", "sync_looping", "lost", "never_up"];

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
    NodeRow::field("redis_slave_read_only", "replication", "slave_read_only", "Whether the replica refuses writes."),
    NodeRow::one(
        "redis_master_link_up",
        "INFO replication: master_link_status",
        "Whether the replica's link to its master is connected and synchronised.",
        |node| Some(f64::from(link(node)?.status? == LinkStatus::Up)),
    )
    .legacy(Legacy::Same),
    NodeRow::state(
        "redis_link_state",
        &["state"],
        LINK_STATES,
        "INFO replication: master_link_status, master_sync_in_progress, master_last_io_seconds_ago, master_link_down_since_seconds",
        "The state of the replica's link to its master: 1 for the current one.",
        |node| node.snapshot().and(node.link.state).map(topology::LinkState::label),
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
    ),
    NodeRow::field(
        "redis_master_sync_in_progress",
        "replication",
        "master_sync_in_progress",
        "Whether the replica is being synchronised by its master.",
    ),
    NodeRow::field("redis_slave_priority", "replication", "slave_priority", "Priority of the replica for promotion; 0 is never."),
    NodeRow::field("redis_slave_repl_offset", "replication", "slave_repl_offset", "Replication stream applied by the replica, bytes."),
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
    NodeRow::field(
        "redis_min_slaves_good_slaves",
        "replication",
        "min_slaves_good_slaves",
        "Replicas that acknowledge in time; absent unless a minimum is configured.",
    )
    .legacy(Legacy::No),
    NodeRow::field("redis_replica_resyncs_full_total", "stats", "sync_full", "Full synchronisations of replicas begun by the node.")
        .legacy(Legacy::As("redis_replica_resyncs_full")),
    NodeRow::field(
        "redis_replica_partial_resyncs_accepted_total",
        "stats",
        "sync_partial_ok",
        "Partial synchronisations of replicas that the node granted.",
    )
    .legacy(Legacy::As("redis_replica_partial_resync_accepted")),
    NodeRow::field(
        "redis_replica_partial_resyncs_denied_total",
        "stats",
        "sync_partial_err",
        "Partial synchronisations that the node refused; every new replica asks for one.",
    )
    .legacy(Legacy::As("redis_replica_partial_resync_denied")),
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
    .legacy(Legacy::Same),
];

fn link(node: &topology::NodeView) -> Option<&Link> {
    node.snapshot()?.replication.link.as_ref()
}
