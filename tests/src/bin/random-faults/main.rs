//! Random faults on real servers, checked by an oracle.
//!
//! A seed draws deployments and a history of operations. An oracle that knows the truth without
//! Rolecall compares it with the statements of Rolecall, every second. See `CONTRIBUTING.md`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]

mod apply;
mod client;
mod deployment;
mod history;
mod mesh;
mod observed;
mod opening;
mod operation;
mod oracle;
mod plan;
mod replay;
mod results;
mod server;
mod summary;
mod truth;
mod world;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use tests::{Stopwatch, interruption};

use crate::history::Report;
use crate::plan::{Choice, Kind, Plan};
use crate::results::Results;

/// Runs random histories of faults on real servers, and compares Rolecall with the truth.
#[derive(Debug, Parser)]
struct Arguments {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of seeds, unless `--minutes` or `--until-fault` is given.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Starts further histories for this time.
    #[arg(long)]
    minutes: Option<u64>,
    /// Kind of the first deployment.
    #[arg(long)]
    kind: Option<Kind>,
    /// Version of all servers.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(tests::VERSIONS))]
    version: Option<String>,
    /// Starts further histories until one has a fault.
    #[arg(long)]
    until_fault: bool,
    /// Histories that run at the same time.
    #[arg(long, default_value_t = 5)]
    parallel: usize,
    /// Seconds with operations in each history.
    #[arg(long, default_value_t = 70)]
    seconds: u64,
    /// File to which the results are appended. Seeds with a result in it are skipped.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Directory for the recordings of histories with a fault.
    #[arg(long, default_value = "target/random-faults")]
    recordings: PathBuf,
    /// Prints what a seed draws, and runs nothing.
    #[arg(long)]
    print: bool,
    /// Prints the log of each history.
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let version = arguments
        .version
        .as_ref()
        .and_then(|version| tests::VERSIONS.into_iter().find(|known| known == version));
    let choice = Choice { kind: arguments.kind, version };
    let draw = |seed| Plan::draw(seed, choice, Duration::from_secs(arguments.seconds));
    if arguments.print {
        println!("{:#?}", draw(arguments.seed));
        return ExitCode::SUCCESS;
    }
    if let Err(error) = interruption::watch() {
        eprintln!("cannot handle signals: {error}");
        return ExitCode::from(2);
    }
    let results = match Results::open(arguments.results.as_deref()) {
        Ok(results) => Mutex::new(results),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let is_endless = arguments.minutes.is_some() || arguments.until_fault;
    let count = if is_endless { u64::MAX - arguments.seed } else { arguments.seeds };
    let done = results.lock().expect("a thread panicked").seeds();
    let seeds = (arguments.seed..arguments.seed.saturating_add(count))
        .filter(move |seed| !done.contains(seed));
    let seeds = Mutex::new(seeds);
    let (clock, has_fault) = (Stopwatch::start(), AtomicBool::new(false));
    let limit = arguments.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let numbers: Mutex<VecDeque<usize>> = Mutex::new((0..mesh::MAX_NETWORKS).collect());
    std::thread::scope(|scope| {
        for _ in 0..arguments.parallel.clamp(1, mesh::MAX_NETWORKS) {
            scope.spawn(|| {
                loop {
                    let is_over = interruption::is_interrupted()
                        || limit.is_some_and(|limit| clock.elapsed() >= limit)
                        || (arguments.until_fault && has_fault.load(Ordering::Relaxed));
                    let next = seeds.lock().expect("a thread panicked").next();
                    let Some(seed) = next.filter(|_| !is_over) else { return };
                    let number = numbers.lock().expect("a thread panicked").pop_front();
                    let number = number.expect("there are as many numbers as threads");
                    let plan = draw(seed);
                    let report = history::run(&plan, number, &arguments.recordings);
                    numbers.lock().expect("a thread panicked").push_back(number);
                    if interruption::is_interrupted() {
                        return;
                    }
                    let failed = report.as_ref().map_or(true, |report| !report.faults.is_empty());
                    has_fault.fetch_or(failed, Ordering::Relaxed);
                    print_report(&plan, &report, arguments.verbose);
                    let mut results = results.lock().expect("a thread panicked");
                    if let Err(error) = results.add(&plan, &report) {
                        eprintln!("{error}");
                    }
                }
            });
        }
    });
    println!("\n{}", results.lock().expect("a thread panicked").table());
    let failed = has_fault.load(Ordering::Relaxed) || interruption::is_interrupted();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints the result of a history in one line, and its log if it has a fault.
fn print_report(plan: &Plan, report: &Result<Report, String>, verbose: bool) {
    let kinds = results::kinds(plan);
    match report {
        Err(error) => println!("seed {}: {kinds}: could not run: {error}", plan.seed),
        Ok(report) => {
            println!(
                "seed {}: {kinds}: {} operations, {} comparisons, {} writes, {} lost, {} counted, \
                 {} faults, {:.0} s",
                plan.seed,
                report.operations.values().sum::<u64>(),
                report.comparisons.values().sum::<u64>(),
                report.writes.acknowledged,
                report.writes.lost,
                report.counted_losses,
                report.faults.len(),
                report.duration.as_secs_f64(),
            );
            for fault in &report.faults {
                println!(
                    "  {:.0} s {:?} {:?}: {}",
                    fault.at.as_secs_f64(),
                    fault.rule,
                    fault.subject,
                    fault.text
                );
            }
            for replay in &report.replays {
                println!("  {replay}");
            }
            if verbose {
                println!("{}", report.log.join("\n"));
            }
        }
    }
}
