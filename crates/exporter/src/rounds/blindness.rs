//! Whether it is the exporter that is cut off: when most nodes of several deployments began to fail together, no server is to blame.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The fewest nodes and deployments of which a common failure means anything.
const MIN_NODES: usize = 10;
const MIN_DEPLOYMENTS: usize = 3;

/// Nodes that began to fail within that time began together.
const TOGETHER: Duration = Duration::from_secs(10);

/// When each node of each deployment began to fail, if it fails and had answered before.
#[derive(Debug, Default)]
pub(super) struct Blindness(Mutex<BTreeMap<String, Vec<Option<Duration>>>>);

impl Blindness {
    /// Forgets a deployment that is no longer polled.
    pub(super) fn forget(&self, deployment: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(deployment);
    }

    /// Takes note of one round of a deployment: for each node, since when it fails, on the monotonic clock; `None` where it does not, or
    /// never answered. Says whether the failures of this deployment are part of a common one.
    pub(super) fn note(&self, deployment: &str, failing: Vec<Option<Duration>>) -> bool {
        let mut deployments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deployments.insert(deployment.to_owned(), failing);
        let nodes: usize = deployments.values().map(Vec::len).sum();
        if nodes < MIN_NODES || deployments.len() < MIN_DEPLOYMENTS {
            return false;
        }
        let mut begun: Vec<Duration> = deployments.values().flatten().flatten().copied().collect();
        begun.sort_unstable();
        // More than half of all nodes began within one stretch of time, and one of this deployment did.
        let half = nodes / 2;
        let common = begun.windows(half + 1).find(|window| window[half].abs_diff(window[0]) <= TOGETHER).map(|window| window[0]);
        let ours = deployments.get(deployment).into_iter().flatten().flatten();
        common.is_some_and(|start| ours.copied().any(|begun| begun >= start && begun.abs_diff(start) <= TOGETHER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(seconds: [u64; 4]) -> Vec<Option<Duration>> {
        seconds.map(|second| (second > 0).then(|| Duration::from_secs(second))).to_vec()
    }

    #[test]
    fn most_nodes_of_several_deployments_must_begin_to_fail_together() {
        let blindness = Blindness::default();
        for name in ["a", "b", "c"] {
            assert!(!blindness.note(name, failing([0; 4])));
        }
        assert!(!blindness.note("a", failing([100; 4])), "a third of the nodes");
        assert!(!blindness.note("b", failing([101, 101, 0, 0])), "half of the nodes");
        assert!(blindness.note("b", failing([101, 101, 102, 0])));
        assert!(blindness.note("a", failing([100; 4])), "for as long as it lasts");
        assert!(!blindness.note("c", failing([0; 4])), "nothing fails here");
        assert!(!blindness.note("c", failing([500, 0, 0, 0])), "this failure is another one");
        assert!(!blindness.note("b", failing([101, 0, 0, 0])), "most nodes are back");
    }

    #[test]
    fn few_nodes_prove_nothing() {
        let blindness = Blindness::default();
        for name in ["a", "b", "c"] {
            assert!(!blindness.note(name, vec![Some(Duration::from_secs(1)); 3]), "nine nodes in three deployments");
        }
        let blindness = Blindness::default();
        for name in ["a", "b"] {
            assert!(!blindness.note(name, vec![Some(Duration::from_secs(1)); 50]), "two deployments");
        }
    }
}
