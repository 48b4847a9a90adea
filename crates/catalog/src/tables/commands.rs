//! The server's own figures by command.

use snapshot::{CommandStat, CommandStats};
use topology::NodeView;

use crate::row::{Emit, Legacy, NodeRow};

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
    .legacy(Legacy::Same),
    NodeRow::many(
        "redis_commands_duration_seconds_total",
        &["cmd"],
        "INFO commandstats: usec",
        "Time spent running the command since the server started, seconds.",
        |node, emit| each(node, emit, |command| Some(command.micros as f64 / 1e6)),
    )
    .legacy(Legacy::Same),
    NodeRow::many(
        "redis_commands_rejected_calls_total",
        &["cmd"],
        "INFO commandstats: rejected_calls",
        "Calls of the command refused before it ran, since the server started.",
        |node, emit| each(node, emit, |command| command.rejected.map(|rejected| rejected as f64)),
    )
    .legacy(Legacy::Same),
    NodeRow::many(
        "redis_commands_failed_calls_total",
        &["cmd"],
        "INFO commandstats: failed_calls",
        "Calls of the command that failed while it ran, since the server started.",
        |node, emit| each(node, emit, |command| command.failed.map(|failed| failed as f64)),
    )
    .legacy(Legacy::Same),
];

fn each(node: &NodeView, emit: Emit<'_>, read: fn(&CommandStat) -> Option<f64>) {
    let commands = node.snapshot().and_then(|snapshot| snapshot.commands.as_deref());
    for command in commands.into_iter().flat_map(CommandStats::iter) {
        if let Some(value) = read(command) {
            emit(&[&command.name], value);
        }
    }
}
