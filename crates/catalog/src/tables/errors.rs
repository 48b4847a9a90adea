//! What a node refused, and the commands that change a topology; our own commands left out.

use snapshot::ErrorStats;

use crate::row::Legacy::{Counter, Own};
use crate::row::NodeRow;

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::many(
        "redis_errors_total",
        &["err"],
        "INFO errorstats: errorstat_*, less our own",
        "Error replies by code since the exporter first saw the node; absent where the server keeps no error table.",
        |node, emit| {
            node.counters.errors().into_iter().flatten().for_each(|(code, count)| emit(&[code], count as f64));
        },
    )
    .legacy(Own("redis_errors_total")),
    NodeRow::one(
        "redis_errors_overflow_total",
        "INFO errorstats: errorstat_*, errorstat_ERRORSTATS_OVERFLOW",
        "Error replies whose code has no series of its own: one too many, or no usable name.",
        |node| node.counters.error_overflow().map(|count| count as f64),
    ),
    NodeRow::one(
        "redis_error_replies_total",
        "INFO stats: total_error_replies, less our own",
        "Error replies of all kinds since the exporter first saw the node.",
        |node| node.counters.error_replies().map(|count| count as f64),
    )
    .legacy(Own("redis_total_error_replies")),
    NodeRow::many(
        "redis_misrouted_clients",
        &["lib"],
        "CLIENT LIST: cmd, lib-name; INFO errorstats: errorstat_READONLY; INFO commandstats: rejected_calls",
        "Clients of the replica that write to it, by library; read only while it refuses writes, at most once in 30 s, and never if over 1,000.",
        |node, emit| {
            let Some(writers) = node.misrouted.as_ref().and_then(|misrouted| misrouted.writers.as_ref()) else { return };
            writers.libraries.iter().for_each(|(library, clients)| emit(&[library], *clients as f64));
            if writers.libraries.is_empty() {
                emit(&["unknown"], 0.0);
            }
        },
    ),
    NodeRow::one(
        "redis_stale_clients",
        "CLIENT LIST: age; INFO errorstats: errorstat_READONLY",
        "Clients connected since before the node was demoted, read as redis_misrouted_clients.",
        |node| Some(node.misrouted.as_ref()?.stale_clients.as_ref()?.total as f64),
    ),
    NodeRow::field(
        "redis_unexpected_error_replies_total",
        "stats",
        "unexpected_error_replies",
        "Errors of the stream that the node applies, which mean that it diverged.",
    )
    .legacy(Counter("redis_unexpected_error_replies")),
    NodeRow::field(
        "redis_dump_payload_sanitizations_total",
        "stats",
        "dump_payload_sanitizations",
        "Payloads of RESTORE that were checked in depth.",
    )
    .legacy(Counter("redis_dump_payload_sanitizations")),
    NodeRow::field("redis_acl_access_denied_auth_total", "stats", "acl_access_denied_auth", "Logins refused."),
    NodeRow::field(
        "redis_acl_access_denied_cmd_total",
        "stats",
        "acl_access_denied_cmd",
        "Commands refused because the user may not run them.",
    ),
    NodeRow::field("redis_acl_access_denied_key_total", "stats", "acl_access_denied_key", "Commands refused because of their keys."),
    NodeRow::field(
        "redis_acl_access_denied_channel_total",
        "stats",
        "acl_access_denied_channel",
        "Commands refused because of their channels.",
    ),
    NodeRow::field(
        "redis_acl_access_denied_db_total",
        "stats",
        "acl_access_denied_db",
        "Commands refused because of their database, on Valkey.",
    ),
    NodeRow::field(
        "redis_acl_access_denied_tls_cert_total",
        "stats",
        "acl_access_denied_tls_cert",
        "Logins by certificate refused, on Valkey.",
    ),
    NodeRow::one(
        "redis_errorstats_disabled",
        "INFO errorstats: errorstat_ERRORSTATS_DISABLED",
        "Whether the server threw its error table away because of too many codes.",
        |node| match node.snapshot()?.errors {
            ErrorStats::Unsupported => None,
            ErrorStats::Wiped => Some(1.0),
            ErrorStats::Counts { .. } => Some(0.0),
        },
    ),
    NodeRow::many(
        "redis_topology_commands_total",
        &["command"],
        "INFO commandstats: calls less failed_calls",
        "Commands that change a topology or its configuration, run since the exporter first saw the node.",
        |node, emit| {
            node.counters.topology().for_each(|(command, count)| emit(&[command], count as f64));
        },
    ),
];
