//! The server's own figures by command.

use snapshot::{CommandStat, CommandStats};
use topology::NodeView;

use crate::row::Legacy::Same;
use crate::row::{Emit, NodeRow};

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::many(
        "redis_commands_total",
        &["cmd"],
        "INFO commandstats: calls",
        "Calls of the command since the server started.",
        |node, emit| {
            each(node, emit, |command| Some(command.calls as f64));
        },
    )
    .legacy(Same),
    NodeRow::many(
        "redis_commands_duration_seconds_total",
        &["cmd"],
        "INFO commandstats: usec",
        "Time spent running the command since the server started, seconds.",
        |node, emit| each(node, emit, |command| Some(command.micros as f64 / 1e6)),
    )
    .legacy(Same),
    NodeRow::many(
        "redis_commands_rejected_calls_total",
        &["cmd"],
        "INFO commandstats: rejected_calls",
        "Calls of the command refused before it ran, since the server started.",
        |node, emit| each(node, emit, |command| command.rejected.map(|rejected| rejected as f64)),
    )
    .legacy(Same),
    NodeRow::many(
        "redis_commands_failed_calls_total",
        &["cmd"],
        "INFO commandstats: failed_calls",
        "Calls of the command that failed while it ran, since the server started.",
        |node, emit| each(node, emit, |command| command.failed.map(|failed| failed as f64)),
    )
    .legacy(Same),
    NodeRow::many(
        "redis_command_latency_seconds",
        &["cmd", "percentile"],
        "INFO latencystats: latency_percentiles_usec_*",
        "Percentile of the time that the command takes, seconds; only where latencystats is configured.",
        |node, emit| {
            let latencies = node.snapshot().and_then(|snapshot| snapshot.latencies.as_deref());
            for command in latencies.into_iter().flatten() {
                for (percentile, time) in &command.percentiles {
                    emit(&[&command.name, percentile], time.as_secs_f64());
                }
            }
        },
    ),
];

fn each(node: &NodeView, emit: Emit<'_>, read: fn(&CommandStat) -> Option<f64>) {
    let commands = node.snapshot().and_then(|snapshot| snapshot.commands.as_deref());
    for command in commands.into_iter().flat_map(CommandStats::iter) {
        if let Some(value) = read(command) {
            emit(&[&command.name], value);
        }
    }
}
