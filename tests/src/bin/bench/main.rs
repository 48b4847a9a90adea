//! Benchmark of the cost of monitoring. Compares Rolecall with redis_exporter 1.45.0 and with a
//! poller of bare sockets, on the same servers in one run, and with limits. Started by
//! `tests/bench.sh`.

#![expect(clippy::print_stdout, reason = "it prints a report")]

mod division;
mod evaluation;
mod fleets;
mod instructions;
mod measure;
mod pages;
mod real_servers;
mod reconnect;
mod report;
mod scrapes;
mod server_time;
mod tls;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::report::Report;

/// Measures the cost of monitoring.
#[derive(Parser)]
struct Arguments {
    /// Parts to measure; all of them by default.
    parts: Vec<Part>,
    /// Measure only instructions and small fleets, within two minutes.
    #[arg(long, conflicts_with_all = ["parts", "write"])]
    quick: bool,
    /// Write the report into tests/BENCH.md.
    #[arg(long)]
    write: bool,
}

/// Part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Instructions, counted by callgrind.
    Instructions,
    /// Fleets of fake servers of all sizes, scrapes, and the loss of all connections.
    Fleets,
    /// A fleet with TLS.
    Tls,
    /// Prometheus that scrapes three parts.
    Division,
    /// Real servers, and redis_exporter.
    Servers,
    /// Time of servers by command.
    ServerTime,
    /// Evaluation of rounds.
    Evaluation,
    /// Web pages.
    Pages,
}

fn main() -> ExitCode {
    let Arguments { parts, quick, write } = Arguments::parse();
    let is_selected = |part: Part| match part {
        Part::Instructions | Part::Fleets => parts.is_empty() || parts.contains(&part),
        _ => !quick && (parts.is_empty() || parts.contains(&part)),
    };
    let report = &mut Report::new();
    if is_selected(Part::Instructions) {
        instructions::measure(report);
    }
    let largest = is_selected(Part::Fleets).then(|| fleets::measure(report, quick)).flatten();
    if is_selected(Part::Tls) {
        tls::measure(report);
    }
    if is_selected(Part::Division) {
        let prometheus = division::measure(report);
        if let Some(exporter) = largest {
            division::estimate(report, exporter, prometheus);
        }
    }
    if is_selected(Part::Servers) {
        real_servers::measure(report);
    }
    if is_selected(Part::ServerTime) {
        server_time::measure(report);
    }
    if is_selected(Part::Evaluation) {
        evaluation::measure(report);
    }
    if is_selected(Part::Pages) {
        pages::measure(report);
    }
    // Without this, a limit that is exceeded would go unnoticed.
    if report.finish(write) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
