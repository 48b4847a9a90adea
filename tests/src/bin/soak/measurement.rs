//! Measurements of the exporter, and the bounds that they must keep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tests::{Daemon, resident_kilobytes};

/// Growth of memory from the second to the last quarter of the run that still counts as flat:
/// a fraction, and kB.
const MEMORY_GROWTH: (f64, f64) = (0.05, 1024.0);

/// Tasks and descriptors at the end of the run that the start did not have. Hostile peers are
/// always in some state of connecting.
const SPREAD: f64 = 25.0;

/// Resources of the exporter at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    /// Resident memory, kB.
    memory: f64,
    tasks: f64,
    descriptors: f64,
    series: f64,
}

/// Polls of the healthy deployments.
#[derive(Debug)]
pub(crate) struct Polls {
    rounds: f64,
    missed: f64,
    /// Polls of all nodes, successful or not.
    total: f64,
    /// Failed polls by reason.
    failures: BTreeMap<String, f64>,
    nodes: f64,
}

impl Measurement {
    /// Measures the exporter now.
    pub(crate) fn take(daemon: &Daemon) -> Self {
        let samples = daemon.samples();
        let folder = format!("/proc/{}/fd", daemon.id());
        Measurement {
            memory: resident_kilobytes(daemon.id()) as f64,
            tasks: samples.get("rolecall_tasks", &[]).expect("a number of tasks"),
            descriptors: std::fs::read_dir(folder).expect("descriptors").count() as f64,
            series: samples.len() as f64,
        }
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measurement { memory, tasks, descriptors, series } = self;
        write!(f, "{memory} kB, {tasks} tasks, {descriptors} descriptors, {series} series")
    }
}

impl Polls {
    /// Reads the counters of the first deployments.
    pub(crate) fn read(daemon: &Daemon, deployments: usize) -> Self {
        let samples = daemon.samples();
        let names: Vec<_> = (0..deployments).map(|index| format!("good-{index}")).collect();
        let sum = |name| -> f64 {
            names.iter().map(|deployment| samples.sum(name, &[("deployment", deployment)])).sum()
        };
        let failures = |reason: &str| -> f64 {
            let labels = |deployment| [("deployment", deployment), ("reason", reason)];
            let name = "redis_poll_failures_total";
            names.iter().map(|deployment| samples.sum(name, &labels(deployment))).sum()
        };
        let reasons: BTreeSet<_> =
            samples.labels("redis_poll_failures_total", "reason").into_iter().collect();
        Polls {
            rounds: sum("rolecall_rounds_total"),
            missed: sum("rolecall_rounds_missed_total"),
            total: sum("redis_polls_total"),
            failures: reasons
                .into_iter()
                .map(|reason| {
                    let failures = failures(&reason);
                    (reason, failures)
                })
                .collect(),
            nodes: sum("redis_up") / deployments as f64,
        }
    }

    /// Returns a text about the polls from these counters to later ones.
    pub(crate) fn to(&self, later: &Polls) -> String {
        format!(
            "{} rounds, {} missed rounds, {} polls, failed polls: {:?}",
            later.rounds - self.rounds,
            later.missed - self.missed,
            later.total - self.total,
            self.failures_until(later)
        )
    }

    /// Returns the failed polls from these counters to later ones, by reason.
    fn failures_until(&self, later: &Polls) -> BTreeMap<String, f64> {
        let before = |reason| self.failures.get(reason).copied().unwrap_or(0.0);
        let failures = later
            .failures
            .iter()
            .map(|(reason, failures)| (reason.clone(), failures - before(reason)));
        failures.filter(|(_, failures)| *failures > 0.0).collect()
    }

    /// Returns the problems from these counters to later ones. Each round polls each node.
    pub(crate) fn problems(&self, later: &Polls) -> Vec<String> {
        let (rounds, polls) = (later.rounds - self.rounds, later.total - self.total);
        let complete = polls >= rounds * self.nodes - 2.0 * self.nodes;
        let is_good =
            later.missed <= self.missed && self.failures_until(later).is_empty() && complete;
        if is_good { Vec::new() } else { vec![format!("healthy nodes: {}", self.to(later))] }
    }
}

/// Returns the problems of the measurements during the run, and of those before and after it.
pub(crate) fn problems(
    first: &Measurement,
    during: &[Measurement],
    last: &Measurement,
) -> Vec<String> {
    let quarter = during.len() / 4;
    let mean = |part: &[Measurement]| {
        part.iter().map(|measurement| measurement.memory).sum::<f64>() / part.len().max(1) as f64
    };
    let second = mean(&during[quarter..quarter * 2]);
    let fourth = mean(&during[quarter * 3..]);
    println!("memory: {second:.0} kB in the second quarter, {fourth:.0} kB in the last one");
    let mut problems = Vec::new();
    if fourth > second * (1.0 + MEMORY_GROWTH.0) + MEMORY_GROWTH.1 {
        problems.push(format!("memory grew from {second:.0} kB to {fourth:.0} kB"));
    }
    for (what, before, after) in
        [("tasks", first.tasks, last.tasks), ("descriptors", first.descriptors, last.descriptors)]
    {
        if after > before + SPREAD {
            problems.push(format!("{before} {what} before the faults, {after} after them"));
        }
    }
    problems
}
