//! Random histories of a modelled deployment, with the truth as judge.
//!
//! A model of servers, Sentinels, clients and the network generates the replies of each round. The
//! views that the tracker derives from them must agree with the model. A fault is reduced to the
//! operations that it needs, and printed as a regression test for `regressions.rs`. The environment
//! variables `SEED` and `HISTORIES` select other histories.

mod history;
mod network;
mod operations;
mod oracle;
mod regressions;
mod replies;
mod sentinels;
mod server;
mod shrink;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use history::History;
use oracle::Rule;
use shrink::Finding;

/// Histories of one test run.
const HISTORIES: u64 = 1000;

/// The largest number of faults that are reduced and printed.
const MAX_FINDINGS: usize = 40;

/// Results of several histories.
#[derive(Default)]
struct Results {
    histories: u64,
    healthy: u64,
    operations: u64,
    comparisons: Vec<u64>,
    findings: Vec<Finding>,
}

impl Results {
    fn run(&mut self, seed: u64) {
        let mut history = History::random(seed);
        let fault = history.run();
        self.histories += 1;
        self.healthy += u64::from(history.oracle.ended_healthy);
        self.operations += history.steps.len() as u64;
        self.add(&history.oracle.comparisons);
        if let Some(fault) = fault {
            self.findings.push(Finding { seed, fault, steps: history.steps });
        }
    }

    fn add(&mut self, comparisons: &[u64]) {
        self.comparisons.resize(comparisons.len(), 0);
        for (sum, count) in self.comparisons.iter_mut().zip(comparisons) {
            *sum += count;
        }
    }

    fn merge(&mut self, other: Results) {
        self.histories += other.histories;
        self.healthy += other.healthy;
        self.operations += other.operations;
        self.add(&other.comparisons);
        self.findings.extend(other.findings);
    }
}

/// Reads a number from an environment variable.
#[expect(clippy::disallowed_methods, reason = "settings of this test only")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs the histories of consecutive seeds on all processors.
fn run(first: u64, count: u64) -> Results {
    let next = AtomicU64::new(0);
    let worker = || {
        let mut results = Results::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return results;
            }
            results.run(first + number);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut results = Results::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            results.merge(worker.join().expect("the worker ends"));
        }
    });
    results.findings.sort_by_key(|finding| (finding.fault.rule, finding.seed));
    results
}

#[test]
fn views_agree_with_the_truth_in_random_histories() {
    let first = setting("SEED").unwrap_or_default();
    let count = setting("HISTORIES").unwrap_or(HISTORIES);
    let results = run(first, count);
    let faults = results.findings.len();
    let tests: Vec<_> = results
        .findings
        .into_iter()
        .take(MAX_FINDINGS)
        .map(|finding| finding.shrink().test())
        .collect();
    assert!(tests.is_empty(), "{faults} of {count} histories have a fault\n{}", tests.join("\n"));
    assert_eq!(results.histories, count);
    assert!(results.operations > count * 2, "only {} operations", results.operations);
    assert!(results.healthy * 2 > count, "only {} histories end healthy", results.healthy);
    for (rule, comparisons) in Rule::all().zip(results.comparisons) {
        assert!(comparisons * 20 > count, "only {comparisons} comparisons of {rule:?}");
    }
}
