//! The exporter itself: its build, its configuration, and its process.

use crate::row::ExporterRow;
use crate::tables::polling::unix_seconds;
use crate::{ExporterView, ProcessFigures};

const PROC: &str = "the operating system";

pub(super) const ROWS: &[ExporterRow] = &[
    ExporterRow::many(
        "rolecall_build_info",
        &["version", "revision", "rustc"],
        "the build",
        "What is running: always 1.",
        |exporter, emit| {
            let build = exporter.build;
            emit(&[build.version, build.revision, build.rustc], 1.0);
        },
    ),
    ExporterRow::many(
        "rolecall_web_info",
        &["external_url"],
        "configuration: web.external_url",
        "Where people reach the pages of the exporter: always 1; absent where that is not configured.",
        |exporter, emit| exporter.external_url.iter().for_each(|url| emit(&[url], 1.0)),
    ),
    ExporterRow::one(
        "rolecall_deployments",
        "configuration",
        "Deployments that are polled.",
        |exporter| Some(exporter.deployments as f64),
    ),
    ExporterRow::one(
        "rolecall_config_last_reload_successful",
        "configuration",
        "Whether the last attempt to read the configuration succeeded.",
        |exporter| Some(f64::from(exporter.reload.successful)),
    ),
    ExporterRow::one(
        "rolecall_config_last_reload_success_timestamp_seconds",
        "configuration",
        "When the running configuration was read, seconds since the Unix epoch.",
        |exporter| Some(unix_seconds(exporter.reload.succeeded_at)),
    ),
    ExporterRow::many(
        "rolecall_commands_total",
        &["command"],
        "polling",
        "Commands that the exporter sent over open connections; connecting takes AUTH, CLIENT ID and INFO beside.",
        |exporter, emit| {
            exporter.commands.iter().for_each(|(command, count)| emit(&[command], *count as f64));
        },
    ),
    ExporterRow::one(
        "rolecall_tasks",
        "the runtime",
        "Tasks of the exporter that are alive.",
        |exporter| Some(exporter.tasks as f64),
    ),
    ExporterRow::one(
        "process_cpu_seconds_total",
        PROC,
        "Processor time spent, user and system, seconds.",
        |exporter| process(exporter, |process| Some(process.cpu.as_secs_f64())),
    ),
    ExporterRow::one("process_open_fds", PROC, "Open file descriptors.", |exporter| {
        process(exporter, |process| Some(process.open_fds as f64))
    }),
    ExporterRow::one(
        "process_max_fds",
        PROC,
        "The most file descriptors that may be open.",
        |exporter| process(exporter, |process| process.max_fds.map(|max| max as f64)),
    ),
    ExporterRow::one(
        "process_virtual_memory_bytes",
        PROC,
        "Size of the address space, bytes.",
        |exporter| process(exporter, |process| Some(process.virtual_memory as f64)),
    ),
    ExporterRow::one(
        "process_virtual_memory_max_bytes",
        PROC,
        "The largest address space allowed, bytes; absent without a limit.",
        |exporter| process(exporter, |process| process.virtual_memory_max.map(|max| max as f64)),
    ),
    ExporterRow::one("process_resident_memory_bytes", PROC, "Memory in use, bytes.", |exporter| {
        process(exporter, |process| Some(process.resident_memory as f64))
    }),
    ExporterRow::one(
        "process_start_time_seconds",
        PROC,
        "When the process started, seconds since the Unix epoch.",
        |exporter| process(exporter, |process| Some(process.started.as_secs_f64())),
    ),
    ExporterRow::one("process_threads", PROC, "Threads of the process.", |exporter| {
        process(exporter, |process| Some(process.threads as f64))
    }),
];

fn process(exporter: &ExporterView, read: fn(&ProcessFigures) -> Option<f64>) -> Option<f64> {
    read(exporter.process.as_ref()?)
}
