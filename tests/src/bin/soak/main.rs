//! A long run with forty real servers, random faults and ten hostile peers.
//!
//! Checks that memory, tasks and file descriptors stay flat, that no round of a healthy node is
//! missed, and that every exposition is valid. See `CONTRIBUTING.md`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]

mod faults;
mod measurement;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use tests::{
    ConfigFile, Daemon, MemoryLimit, SECOND, Server, Stopwatch, StubServer, VERSIONS,
    hostile_peers, interruption, open_metrics_parser, pause, promtool, until_ok,
};

use crate::faults::Faults;
use crate::measurement::{Measurement, Polls};

/// Deployments of one primary and three replicas. The first ones get no faults.
const DEPLOYMENTS: usize = 10;
const HEALTHY: usize = 3;
const NODES: usize = 4;

/// Time between two measurements.
const EVERY: Duration = Duration::from_secs(10);

/// Runs Rolecall for a long time with forty real servers, random faults and ten hostile peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Minutes with faults.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Seed of the faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// End of the faults: sets its flag when it is dropped, also by a panic. The fault threads would
/// otherwise never end, and the scope that joins them neither.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = interruption::watch() {
        eprintln!("cannot handle signals: {error}");
        return ExitCode::from(2);
    }
    let deployments: Vec<Vec<Server>> = (0..DEPLOYMENTS).map(start_deployment).collect();
    let peers = hostile_peers();
    let file = ConfigFile::new(&configuration(&deployments, &peers));
    let group = MemoryLimit::new("soak", MemoryLimit::KUBERNETES);
    let mut command = group.command(&Daemon::binary());
    let daemon = Daemon::run(&mut command, &["--config.file", &file.path()]);
    until_all_up(&daemon);
    // The first connections, pages and rounds need memory once.
    pause_unless_interrupted(SECOND * 30);

    let first = Measurement::take(&daemon);
    println!("at the start: {first}");
    let before = Polls::read(&daemon, HEALTHY);
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let (measurements, servers) = std::thread::scope(|scope| {
        let end = End(&is_over);
        let threads: Vec<_> = deployments
            .into_iter()
            .enumerate()
            .map(|(index, nodes)| {
                let (is_over, count) = (&is_over, &count);
                let mut faults = Faults::new(nodes, arguments.seed * 1000 + index as u64);
                scope.spawn(move || {
                    if index < HEALTHY {
                        faults.write_until(is_over);
                    } else {
                        faults.inject_until(is_over, count);
                    }
                    faults
                })
            })
            .collect();
        let length = Duration::from_secs(arguments.minutes * 60);
        let measurements = measure(&daemon, length);
        drop(end);
        let servers: Vec<_> =
            threads.into_iter().map(|thread| thread.join().expect("a thread panicked")).collect();
        (measurements, servers)
    });
    if interruption::is_interrupted() {
        return ExitCode::FAILURE;
    }
    let after = Polls::read(&daemon, HEALTHY);
    until_all_up(&daemon);
    pause_unless_interrupted(SECOND * 60);
    if interruption::is_interrupted() {
        return ExitCode::FAILURE;
    }
    let last = Measurement::take(&daemon);
    println!("at the end: {last}");
    println!("{} faults, highest memory use {} kB", count.into_inner(), group.highest() >> 10);
    println!("healthy nodes: {}", before.to(&after));
    let mut problems = before.problems(&after);
    problems.extend(measurement::problems(&first, &measurements, &last));
    let log: usize = daemon.log().iter().map(String::len).sum();
    println!("log: {} lines, {log} bytes", daemon.log().len());
    drop((daemon, servers));
    for problem in &problems {
        eprintln!("problem: {problem}");
    }
    println!("{} problems", problems.len());
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts a primary and its replicas, of one version.
fn start_deployment(index: usize) -> Vec<Server> {
    let version = VERSIONS[index % VERSIONS.len()];
    let start = || Server::standalone(version);
    let nodes: Vec<_> = (0..NODES).map(|_| start()).collect();
    for replica in &nodes[1..] {
        replica.execute(&["REPLICAOF", "127.0.0.1", &nodes[0].port.to_string()]);
    }
    nodes
}

/// Each hostile peer is a node of one deployment, and a Sentinel of another one.
fn configuration(deployments: &[Vec<Server>], peers: &[StubServer]) -> String {
    let good = deployments.iter().enumerate().map(|(index, nodes)| {
        let urls: Vec<_> =
            nodes.iter().map(|node| format!("{{ url = '{}' }}", node.url())).collect();
        format!("[[deployment]]\nname = 'good-{index}'\nnodes = [{}]\n", urls.join(", "))
    });
    let bad = peers.iter().enumerate().map(|(index, peer)| {
        let url = peer.url();
        format!(
            "[[deployment]]\nname = 'node-{index}'\nnodes = [{{ url = '{url}' }}]\n\
             [[deployment]]\nname = 'sentinel-{index}'\nsentinels = ['{url}']\n\
             master_name = 'mymaster'\n"
        )
    });
    good.chain(bad).collect()
}

/// Waits until all real servers are up, or the run is interrupted.
fn until_all_up(daemon: &Daemon) {
    until_ok(SECOND * 120, || {
        if interruption::is_interrupted() {
            return Ok(());
        }
        let text = daemon.get("/metrics", "").text;
        let is_real = |line: &&str| line.contains("deployment=\"good-");
        let real: Vec<_> = text.lines().filter(is_real).collect();
        let up = real.iter().filter(|line| line.starts_with("redis_up{") && line.ends_with(" 1"));
        if up.count() == DEPLOYMENTS * NODES {
            return Ok(());
        }
        let is_reason = |line: &&&str| line.starts_with("redis_down_reason{");
        Err(format!(
            "all real servers are up: {:?}",
            real.iter().filter(is_reason).collect::<Vec<_>>()
        ))
    });
}

/// Measures until the time is over or the run is interrupted, and checks each exposition with two
/// independent parsers.
fn measure(daemon: &Daemon, length: Duration) -> Vec<Measurement> {
    let clock = Stopwatch::start();
    let mut measurements = Vec::new();
    while clock.elapsed() < length {
        pause_unless_interrupted(EVERY);
        if interruption::is_interrupted() {
            break;
        }
        let measurement = Measurement::take(daemon);
        println!("{:5.0} s: {measurement}", clock.elapsed().as_secs_f64());
        measurements.push(measurement);
        assert_eq!(promtool(&daemon.get("/metrics", "").text), "");
        open_metrics_parser(&daemon.get("/metrics", "application/openmetrics-text").text);
    }
    measurements
}

/// Sleeps, but not longer than until the run is interrupted.
fn pause_unless_interrupted(time: Duration) {
    let clock = Stopwatch::start();
    while clock.elapsed() < time && !interruption::is_interrupted() {
        pause(SECOND / 10);
    }
}
