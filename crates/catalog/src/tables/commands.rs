//! Theme `commands`: statistics of the server for each command.

use snapshot::{CommandStat, CommandStats};
use topology::NodeView;

use crate::row::RedisExporterName::{Absent, Same};
use crate::row::{EmitSample, NodeRow};

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::samples(
        "redis_commands_total",
        Same,
        &["cmd"],
        "INFO commandstats: calls",
        "Calls of the command; other is the sum of the commands beyond limits.label_values.",
        |node, emit| {
            each_command(node, emit, |command| Some(command.calls as f64));
        },
    ),
    NodeRow::samples(
        "redis_commands_duration_seconds_total",
        Same,
        &["cmd"],
        "INFO commandstats: usec",
        "Time spent executing the command, in seconds.",
        |node, emit| each_command(node, emit, |command| Some(command.micros as f64 / 1e6)),
    ),
    NodeRow::samples(
        "redis_commands_rejected_calls_total",
        Same,
        &["cmd"],
        "INFO commandstats: rejected_calls",
        "Calls of the command that were rejected before execution; absent before Redis 6.2.",
        |node, emit| {
            each_command(node, emit, |command| command.rejected.map(|rejected| rejected as f64));
        },
    )
    .core(),
    NodeRow::samples(
        "redis_commands_failed_calls_total",
        Same,
        &["cmd"],
        "INFO commandstats: failed_calls",
        "Calls of the command that failed during execution; absent before Redis 6.2.",
        |node, emit| each_command(node, emit, |command| command.failed.map(|failed| failed as f64)),
    ),
    NodeRow::samples(
        "redis_command_latency_seconds",
        Absent,
        &["cmd", "percentile"],
        "INFO latencystats: latency_percentiles_usec_*",
        "Percentile of the execution time of the command, in seconds; absent unless \
         cadence.latencystats is configured.",
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

/// Emits one value for each command of INFO commandstats.
fn each_command(node: &NodeView, emit: EmitSample<'_>, read: fn(CommandStat<'_>) -> Option<f64>) {
    let commands = node.snapshot().and_then(|snapshot| snapshot.commands.as_deref());
    for command in commands.into_iter().flat_map(CommandStats::iter) {
        if let Some(value) = read(command) {
            emit(&[command.name], value);
        }
    }
}
