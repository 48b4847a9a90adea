//! What a node refused, and the commands that change a topology; our own commands left out.

use snapshot::ErrorStats;

use crate::row::{Legacy, NodeRow};

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::many(
        "redis_errors_total",
        &["err"],
        "INFO errorstats: errorstat_*, less our own",
        "Error replies by code since the exporter first saw the node; absent where the server keeps no error table.",
        |node, emit| {
            if node.snapshot().is_some() {
                node.counters.errors().into_iter().flatten().for_each(|(code, count)| emit(&[code], count as f64));
            }
        },
    )
    .legacy(Legacy::Same),
    NodeRow::one(
        "redis_errors_overflow_total",
        "INFO errorstats: errorstat_*, errorstat_ERRORSTATS_OVERFLOW",
        "Error replies whose code has no series of its own: one too many, or no usable name.",
        |node| node.snapshot().and(node.counters.error_overflow()).map(|count| count as f64),
    ),
    NodeRow::one(
        "redis_error_replies_total",
        "INFO stats: total_error_replies, less our own",
        "Error replies of all kinds since the exporter first saw the node.",
        |node| node.snapshot().and(node.counters.error_replies()).map(|count| count as f64),
    )
    .legacy(Legacy::As("redis_total_error_replies")),
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
            if node.snapshot().is_some_and(|snapshot| snapshot.commands.is_some()) {
                node.counters.topology().for_each(|(command, count)| emit(&[command], count as f64));
            }
        },
    ),
];
