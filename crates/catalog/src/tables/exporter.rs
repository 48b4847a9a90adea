//! Theme `exporter`: build, configuration and process of the exporter itself.

use crate::row::ExporterRow;
use crate::row::RedisExporterName::Absent;
use crate::tables::polling::unix_seconds;
use crate::{ExporterView, ProcessFigures};

const PROC: &str = "the operating system";

pub(super) const ROWS: &[ExporterRow] = &[
    ExporterRow::samples(
        "rolecall_build_info",
        Absent,
        &["version", "revision", "rustc"],
        "the build",
        "Version, source revision and Rust compiler version of the exporter; the value is always \
         1.",
        |exporter, emit| {
            let build = exporter.build;
            emit(&[build.version, build.revision, build.rustc], 1.0);
        },
    )
    .core(),
    ExporterRow::samples(
        "rolecall_web_info",
        Absent,
        &["external_url"],
        "configuration: web.external_url",
        "External URL of the exporter's pages (web.external_url); the value is always 1, absent if \
         not configured.",
        |exporter, emit| exporter.external_url.iter().for_each(|url| emit(&[url], 1.0)),
    )
    .core(),
    ExporterRow::value(
        "rolecall_deployments",
        Absent,
        "configuration",
        "Deployments that the exporter polls.",
        |exporter| Some(exporter.deployments as f64),
    ),
    ExporterRow::value(
        "rolecall_blind",
        Absent,
        "polling",
        "Whether the exporter is cut off, so that the state of silent nodes is unknown: most nodes \
         of most deployments, or all nodes, fell silent at the same time, and no node that replies \
         reports one of them as down.",
        |exporter| Some(f64::from(exporter.cut_off)),
    )
    .core(),
    ExporterRow::samples(
        "rolecall_never_reached_nodes",
        Absent,
        &["reason"],
        "polling",
        "Nodes that never replied and of which nothing shows that they ever ran, by the reason of \
         the last failed poll; absent for a reason without such nodes.",
        |exporter, emit| {
            for (reason, nodes) in &exporter.never_reached.nodes {
                emit(&[reason.label()], *nodes as f64);
            }
        },
    )
    .core(),
    ExporterRow::value(
        "rolecall_never_reached_deployments",
        Absent,
        "polling",
        "Deployments in which no data node ever replied and nothing shows that one ever ran.",
        |exporter| Some(exporter.never_reached.deployments as f64),
    )
    .core(),
    ExporterRow::value(
        "rolecall_config_last_reload_successful",
        Absent,
        "configuration",
        "Whether the last attempt to load the configuration succeeded.",
        |exporter| Some(f64::from(exporter.reload.successful)),
    )
    .core(),
    ExporterRow::value(
        "rolecall_config_last_reload_success_timestamp_seconds",
        Absent,
        "configuration",
        "Time of the last successful load of the configuration, in seconds since the Unix epoch.",
        |exporter| Some(unix_seconds(exporter.reload.succeeded_at)),
    )
    .core(),
    ExporterRow::samples(
        "rolecall_commands_total",
        Absent,
        &["command"],
        "polling",
        "Commands that the exporter sent over established connections, by command; those of the \
         connection setup (AUTH, CLIENT ID, INFO server) are not counted.",
        |exporter, emit| {
            exporter.commands.iter().for_each(|(command, count)| emit(&[command], *count as f64));
        },
    ),
    ExporterRow::samples(
        "rolecall_http_requests_total",
        Absent,
        &["path", "code"],
        "the web server",
        "Requests to the web server that have ended, by the pattern of the path (other for paths \
         that do not exist) and the status code.",
        |exporter, emit| {
            for (path, code, count) in exporter.requests.responses() {
                emit(&[path, &code.to_string()], count as f64);
            }
        },
    ),
    ExporterRow::histograms(
        "rolecall_http_request_duration_seconds",
        Absent,
        &["path"],
        "the web server",
        "Durations of requests to the web server until the client has received the response, in \
         seconds, by the pattern of the path; absent for a path without requests.",
        |exporter, emit| {
            for (path, durations) in exporter.requests.durations() {
                emit(&[path], durations);
            }
        },
    ),
    ExporterRow::samples(
        "rolecall_http_connections_refused_total",
        Absent,
        &["limit"],
        "the web server",
        "Connections to the web server that were closed at once because a limit was reached: \
         address for that of one client address, total for that of all connections.",
        |exporter, emit| {
            let refused = exporter.refused_connections;
            emit(&["address"], refused.by_address as f64);
            emit(&["total"], refused.by_total as f64);
        },
    ),
    ExporterRow::value(
        "rolecall_tasks",
        Absent,
        "the runtime",
        "Live tasks of the exporter's async runtime.",
        |exporter| Some(exporter.tasks as f64),
    ),
    ExporterRow::value(
        "process_cpu_seconds_total",
        Absent,
        PROC,
        "User and system CPU time spent, in seconds.",
        |exporter| process(exporter, |process| Some(process.cpu.as_secs_f64())),
    ),
    ExporterRow::value("process_open_fds", Absent, PROC, "Open file descriptors.", |exporter| {
        process(exporter, |process| Some(process.open_fds as f64))
    }),
    ExporterRow::value(
        "process_max_fds",
        Absent,
        PROC,
        "Limit of open file descriptors; absent without a limit.",
        |exporter| process(exporter, |process| process.max_fds.map(|max| max as f64)),
    ),
    ExporterRow::value(
        "process_virtual_memory_bytes",
        Absent,
        PROC,
        "Virtual memory size, in bytes.",
        |exporter| process(exporter, |process| Some(process.virtual_memory as f64)),
    ),
    ExporterRow::value(
        "process_virtual_memory_max_bytes",
        Absent,
        PROC,
        "Limit of the virtual memory size, in bytes; absent without a limit.",
        |exporter| process(exporter, |process| process.virtual_memory_max.map(|max| max as f64)),
    ),
    ExporterRow::value(
        "process_resident_memory_bytes",
        Absent,
        PROC,
        "Resident memory size, in bytes.",
        |exporter| process(exporter, |process| Some(process.resident_memory as f64)),
    ),
    ExporterRow::value(
        "process_start_time_seconds",
        Absent,
        PROC,
        "Start time of the process, in seconds since the Unix epoch.",
        |exporter| process(exporter, |process| Some(process.started.as_secs_f64())),
    ),
    ExporterRow::value(
        "process_threads",
        Absent,
        PROC,
        "Operating system threads of the process.",
        |exporter| process(exporter, |process| Some(process.threads as f64)),
    ),
];

fn process(exporter: &ExporterView, read: fn(&ProcessFigures) -> Option<f64>) -> Option<f64> {
    read(exporter.process.as_ref()?)
}
