//! Theme `errors`: error replies, refused clients and commands that change the topology. The
//! commands of the exporter itself are subtracted.

use snapshot::ErrorStats;

use crate::row::NodeRow;
use crate::row::RedisExporterName::{Absent, AsCounter, Same, SeparateRow};

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::samples(
        "redis_errors_total",
        SeparateRow("redis_errors_total"),
        &["err"],
        "INFO errorstats: errorstat_*, minus replies to the exporter",
        "Error replies by error code since the exporter first saw the node, except replies to the \
         exporter; other is the sum of codes beyond limits.label_values and of invalid ones; \
         absent if the server has no error statistics.",
        |node, emit| {
            node.counters
                .errors()
                .into_iter()
                .flatten()
                .for_each(|(code, count)| emit(&[code], count as f64));
        },
    )
    .core(),
    NodeRow::value(
        "redis_errors_overflow_total",
        Absent,
        "INFO errorstats: errorstat_*, errorstat_ERRORSTATS_OVERFLOW",
        "Error replies that redis_errors_total counts as other because of the limit of codes or an \
         invalid name.",
        |node| node.counters.error_overflow().map(|count| count as f64),
    ),
    NodeRow::value(
        "redis_error_replies_total",
        SeparateRow("redis_total_error_replies"),
        "INFO stats: total_error_replies, minus replies to the exporter",
        "Error replies since the exporter first saw the node, except replies to the exporter; \
         absent before Redis 6.2.",
        |node| node.counters.error_replies().map(|count| count as f64),
    )
    .core(),
    NodeRow::samples(
        "redis_misrouted_clients",
        Absent,
        &["lib"],
        "CLIENT LIST: cmd, lib-name; INFO errorstats: errorstat_READONLY; INFO commandstats: \
         rejected_calls",
        "Clients that write to the replica, by client library; read only while the replica refuses \
         writes, at most every 30 seconds and with at most 1,000 clients.",
        |node, emit| {
            let Some(writers) =
                node.misrouted.as_ref().and_then(|misrouted| misrouted.writers.as_ref())
            else {
                return;
            };
            writers
                .libraries
                .iter()
                .for_each(|(library, clients)| emit(&[library], *clients as f64));
            if writers.libraries.is_empty() {
                emit(&["unknown"], 0.0);
            }
        },
    )
    .core(),
    NodeRow::value(
        "redis_stale_clients",
        Absent,
        "CLIENT LIST: age; INFO errorstats: errorstat_READONLY",
        "Clients of the replica that have been connected since before its demotion; read under the \
         conditions of redis_misrouted_clients.",
        |node| Some(node.misrouted.as_ref()?.stale_clients.as_ref()?.total as f64),
    )
    .core(),
    NodeRow::field(
        "redis_unexpected_error_replies_total",
        AsCounter("redis_unexpected_error_replies"),
        "stats",
        "unexpected_error_replies",
        "Errors while applying the replication stream or loading the AOF, a sign of diverged data.",
    ),
    NodeRow::field(
        "redis_dump_payload_sanitizations_total",
        AsCounter("redis_dump_payload_sanitizations"),
        "stats",
        "dump_payload_sanitizations",
        "Deep integrity checks of dump payloads (sanitize-dump-payload).",
    ),
    NodeRow::field(
        "redis_acl_access_denied_auth_total",
        Same,
        "stats",
        "acl_access_denied_auth",
        "Failed authentications.",
    )
    .core(),
    NodeRow::field(
        "redis_acl_access_denied_cmd_total",
        Same,
        "stats",
        "acl_access_denied_cmd",
        "Commands denied by the command rules of ACL.",
    ),
    NodeRow::field(
        "redis_acl_access_denied_key_total",
        Same,
        "stats",
        "acl_access_denied_key",
        "Commands denied by the key rules of ACL.",
    ),
    NodeRow::field(
        "redis_acl_access_denied_channel_total",
        Same,
        "stats",
        "acl_access_denied_channel",
        "Commands denied by the channel rules of ACL.",
    ),
    NodeRow::field(
        "redis_acl_access_denied_db_total",
        Same,
        "stats",
        "acl_access_denied_db",
        "Commands denied by the database rules of ACL, on Valkey.",
    ),
    NodeRow::field(
        "redis_acl_access_denied_tls_cert_total",
        Same,
        "stats",
        "acl_access_denied_tls_cert",
        "Failed authentications with a TLS certificate, on Valkey.",
    ),
    NodeRow::value(
        "redis_errorstats_disabled",
        Absent,
        "INFO errorstats: errorstat_ERRORSTATS_DISABLED",
        "Whether the server has disabled its error statistics because of too many error codes; \
         absent before Redis 6.2.",
        |node| match node.snapshot()?.errors {
            ErrorStats::Unsupported => None,
            ErrorStats::Wiped => Some(1.0),
            ErrorStats::Counts { .. } => Some(0.0),
        },
    )
    .core(),
    NodeRow::samples(
        "redis_topology_commands_total",
        Absent,
        &["command"],
        "INFO commandstats: calls minus failed_calls",
        "Successful commands that change the topology or the configuration or that pause clients, \
         by command, since the exporter first saw the node.",
        |node, emit| {
            let counters = &node.counters;
            if counters.counts_topology() {
                counters.topology().for_each(|(command, count)| emit(&[command], count as f64));
            }
        },
    )
    .core(),
];
