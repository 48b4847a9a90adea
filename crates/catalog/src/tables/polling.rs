//! Whether a node is there, and what asking it came to. The only series that a node keeps while it is down.

use std::time::{Duration, SystemTime};

use snapshot::Reason;
use topology::NodeState;

use crate::row::{Legacy, NodeRow};

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::one(
        "redis_up",
        "polling",
        "Whether the node answers: 0 once it was silent for down_after, or at once when its host refuses or cuts the connection, or when it never answered.",
        |node| node.up().map(f64::from),
    )
    .legacy(Legacy::Same),
    NodeRow::many(
        "redis_node_info",
        &["kind"],
        "configuration, INFO server: redis_mode",
        "What the node is to its deployment, data or sentinel, also while it is down: always 1.",
        |node, emit| emit(&[if node.holds_data() { "data" } else { "sentinel" }], 1.0),
    ),
    NodeRow::many(
        "redis_down_reason",
        &["reason"],
        "polling",
        "Why the node does not answer: 1 for the current reason while redis_up is 0.",
        |node, emit| {
            if let NodeState::Down { reason, .. } = node.presence {
                emit(&[reason.label()], 1.0);
            }
        },
    ),
    NodeRow::one("redis_polls_total", "polling", "Rounds in which the node was asked, answered or not.", |node| {
        Some(node.polling.polls as f64)
    }),
    NodeRow::many(
        "redis_poll_failures_total",
        &["reason"],
        "polling",
        "Rounds in which the node gave no answer, by reason.",
        |node, emit| {
            for (reason, failures) in Reason::ALL.iter().zip(node.polling.failures) {
                if failures > 0 {
                    emit(&[reason.label()], failures as f64);
                }
            }
        },
    ),
    NodeRow::one("redis_poll_duration_seconds", "polling", "Time from asking to the whole answer, of the last answer, seconds.", |node| {
        node.polling.duration.map(|took| took.as_secs_f64())
    }),
    NodeRow::one("redis_last_poll_timestamp_seconds", "polling", "When the node answered last, seconds since the Unix epoch.", |node| {
        node.polling.answered_at.map(unix_seconds)
    }),
    NodeRow::one(
        "redis_tls_certificate_expiry_timestamp_seconds",
        "the TLS handshake",
        "When the certificate that the server showed expires, seconds since the Unix epoch; absent without TLS.",
        |node| node.polling.certificate_expiry.map(|expiry| expiry.as_secs_f64()),
    ),
    NodeRow::one(
        "redis_data_dir_free_bytes",
        "the file system of data_dir",
        "Room left where the node keeps its data, bytes; only where data_dir is configured.",
        |node| node.disk.map(|disk| disk.free_bytes as f64),
    ),
    NodeRow::one(
        "redis_data_dir_free_inodes",
        "the file system of data_dir",
        "Files that can still be made where the node keeps its data; only where data_dir is configured.",
        |node| node.disk?.free_inodes.map(|free| free as f64),
    ),
    NodeRow::one(
        "redis_restarts_total",
        "INFO server: run_id, uptime_in_seconds",
        "New processes of the node, by a run id that is younger than the last answer.",
        |node| Some(node.process.restarts as f64),
    ),
    NodeRow::one(
        "redis_node_replacements_total",
        "INFO server: run_id, uptime_in_seconds",
        "Other, older processes that began to answer in place of the node.",
        |node| Some(node.process.replacements as f64),
    ),
    NodeRow::one("redis_role_changes_total", "INFO replication: role", "Changes of the role that the node claims.", |node| {
        Some(node.process.role_changes as f64)
    }),
    NodeRow::one("redis_link_drops_total", "INFO replication: master_link_status", "How often the link to the master went down.", |node| {
        Some(node.link.drops as f64)
    }),
];

/// Seconds since the Unix epoch, as Prometheus writes time.
pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
