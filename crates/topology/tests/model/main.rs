//! Random histories of a modelled deployment, with the truth as judge.
//!
//! A model of servers, Sentinels, clients and the network generates the replies of each round. The
//! views that the tracker derives from them must agree with the model. A fault prints the seed and
//! the operations of its history.

mod history;
mod network;
mod operations;
mod oracle;
mod replies;
mod sentinels;
mod server;
mod world;

use history::History;

/// Histories of one test run.
const HISTORIES: u64 = 1000;

/// Reads a number from an environment variable.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn views_agree_with_the_truth_in_random_histories() {
    let first = setting("SEED").unwrap_or_default();
    let count = setting("HISTORIES").unwrap_or(HISTORIES);
    let (mut faults, mut comparisons, mut operations) = (Vec::new(), 0, 0);
    for seed in first..first + count {
        let mut history = History::new(seed);
        let fault = history.run();
        comparisons += history.comparisons();
        operations += history.steps().len();
        if let Some(fault) = fault {
            faults.push((seed, fault, history.steps().to_vec()));
        }
    }
    assert!(comparisons > count * 100, "only {comparisons} comparisons");
    assert!(operations as u64 > count, "only {operations} operations");
    let summary: Vec<_> = faults
        .iter()
        .filter({
            let mut n = std::collections::BTreeMap::new();
            move |(_, fault, _)| {
                let c = n.entry(fault.rule).or_insert(0);
                *c += 1;
                *c <= 2
            }
        })
        .map(|(seed, fault, steps)| {
            format!("seed {seed}: {} s, {:?}: {}\n{steps:#?}", fault.at, fault.rule, fault.text)
        })
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {count} histories have a fault\n{}",
        faults.len(),
        summary.join("\n")
    );
}
