//! Theme `polling`: state of a node and results of its polls. These are the only series that a node
//! has while it is down.

use std::time::{Duration, SystemTime};

use snapshot::Reason;
use topology::Availability;

use crate::row::NodeRow;
use crate::row::RedisExporterName::{Absent, Same};

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::value(
        "redis_up",
        Same,
        "polling",
        "Whether Rolecall can read the node: 0 after down_after without a reply or after two \
         refused connections in a row, whatever redis_node_state is; absent before the first \
         result, and while redis_down_reason is local.",
        |node| node.readable().map(f64::from),
    )
    .core(),
    NodeRow::state_set(
        "redis_node_state",
        Absent,
        &["state"],
        &Availability::LABELS,
        "polling, replies of other nodes",
        "State of the node: up; down: no reply, and no other node vouches for it; unreachable: no \
         reply to Rolecall, but another node vouches for it; unknown: never reached, not silent \
         for long enough, or the exporter cannot tell.",
        |node| Some(node.availability().label()),
    )
    .core(),
    NodeRow::samples(
        "redis_node_witnesses",
        Absent,
        &["state"],
        "replies of other nodes",
        "Other nodes that state that the node is alive or down while it does not reply; absent \
         while it replies.",
        |node, emit| {
            if node.polling.failing_since.is_some() {
                let down = node.witnesses.iter().filter(|witness| witness.says_down()).count();
                emit(&["alive"], node.vouching().count() as f64);
                emit(&["down"], down as f64);
            }
        },
    )
    .core(),
    NodeRow::value(
        "rolecall_node_identities",
        Absent,
        "INFO server: run_id",
        "Servers that replied at the address of the node recently, at most 64; absent \
         unless several servers take turns.",
        |node| node.servers.map(|servers| servers as f64),
    )
    .core(),
    NodeRow::samples(
        "redis_node_info",
        Absent,
        &["kind"],
        "configuration, INFO server: redis_mode",
        "Kind of the node, data or sentinel, also while it is down; the value is always 1.",
        |node, emit| emit(&[if node.holds_data() { "data" } else { "sentinel" }], 1.0),
    )
    .core(),
    NodeRow::samples(
        "redis_down_reason",
        Absent,
        &["reason"],
        "polling",
        "Reason why redis_up is 0 (or absent, if the reason is local: a problem of the exporter); \
         the value is always 1, absent while the node is up and while its state is unknown because \
         rolecall_blind is 1.",
        |node, emit| {
            if let Some(reason) = node.failure().filter(|_| !node.is_cut_off()) {
                emit(&[reason.label()], 1.0);
            }
        },
    )
    .core(),
    NodeRow::value(
        "redis_polls_total",
        Absent,
        "polling",
        "Polls of the node, successful or not.",
        |node| Some(node.polling.polls as f64),
    ),
    NodeRow::samples(
        "redis_poll_failures_total",
        Absent,
        &["reason"],
        "polling",
        "Missed and failed polls of the node, by reason.",
        |node, emit| {
            for (reason, failures) in Reason::ALL.iter().zip(node.polling.failures) {
                if failures > 0 {
                    emit(&[reason.label()], failures as f64);
                }
            }
        },
    ),
    NodeRow::value(
        "redis_poll_duration_seconds",
        Absent,
        "polling",
        "Duration of the last successful poll, in seconds.",
        |node| node.polling.duration.map(|took| took.as_secs_f64()),
    ),
    NodeRow::value(
        "redis_last_poll_timestamp_seconds",
        Absent,
        "polling",
        "Time of the last successful poll, in seconds since the Unix epoch.",
        |node| node.polling.answered_at.map(unix_seconds),
    )
    .core(),
    NodeRow::value(
        "redis_tls_certificate_expiry_timestamp_seconds",
        Absent,
        "the TLS handshake",
        "Expiry time of the server's TLS certificate, in seconds since the Unix epoch; absent \
         without TLS.",
        |node| node.polling.certificate_expiry.map(|expiry| expiry.as_secs_f64()),
    ),
    NodeRow::value(
        "redis_data_dir_free_bytes",
        Absent,
        "the file system of data_dir",
        "Free space on the filesystem of data_dir, in bytes; absent if data_dir is not configured.",
        |node| node.disk.map(|disk| disk.free_bytes as f64),
    )
    .core(),
    NodeRow::value(
        "redis_data_dir_free_inodes",
        Absent,
        "the file system of data_dir",
        "Free inodes on the filesystem of data_dir.",
        |node| node.disk?.free_inodes.map(|free| free as f64),
    )
    .core(),
    NodeRow::value(
        "redis_restarts_total",
        Absent,
        "INFO server: run_id, uptime_in_seconds, process_id",
        "Restarts of the node, detected by a new run_id with an uptime shorter than the time since \
         the last successful poll; without a run_id, by a shorter uptime or another process_id \
         with such an uptime.",
        |node| Some(node.process.restarts as f64),
    )
    .core(),
    NodeRow::value(
        "redis_node_replacements_total",
        Absent,
        "INFO server: run_id, uptime_in_seconds, process_id",
        "Replacements of the node by another server, detected by a new run_id, or without one by \
         another process_id, with an uptime longer than the time since the last successful poll.",
        |node| Some(node.process.replacements as f64),
    )
    .core(),
    NodeRow::value(
        "redis_role_changes_total",
        Absent,
        "INFO replication: role",
        "Changes of the role that the node claims.",
        |node| Some(node.process.role_changes as f64),
    )
    .core(),
    NodeRow::value(
        "redis_link_drops_total",
        Absent,
        "INFO replication: master_link_status",
        "Times that the replication link of the node went down.",
        |node| Some(node.link.drops as f64),
    )
    .core(),
];

/// Returns a time in seconds since the Unix epoch.
pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
