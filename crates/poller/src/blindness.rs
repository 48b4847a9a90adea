//! Whether it is the exporter that is cut off: when most nodes of several deployments began to fail together, no server is to blame.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The fewest nodes and deployments of which a common failure means anything.
const MIN_NODES: usize = 10;
const MIN_DEPLOYMENTS: usize = 3;

/// Nodes that began to fail within that time began together.
const TOGETHER: Duration = Duration::from_secs(10);

/// When each node of each deployment began to fail, if it fails and had answered before; by the number of the witness.
#[derive(Debug, Default)]
pub(super) struct BlindnessDetector(Mutex<BTreeMap<u64, Vec<Option<Duration>>>>, AtomicU64);

/// One deployment among those whose failures are held against each other. What it said counts for as long as it lives.
#[derive(Debug)]
pub(super) struct FailureReporter {
    blindness: Arc<BlindnessDetector>,
    number: u64,
}

impl BlindnessDetector {
    /// Another deployment.
    pub(super) fn witness(self: &Arc<Self>) -> FailureReporter {
        FailureReporter { blindness: Arc::clone(self), number: self.1.fetch_add(1, Relaxed) }
    }

    fn said(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Option<Duration>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailureReporter {
    /// Takes note of one round of the deployment: for each node, since when it fails, on the monotonic clock; `None` where it does not, or
    /// never answered. Says whether the failures of this deployment are part of a common one.
    pub(super) fn note(&self, failing: Vec<Option<Duration>>) -> bool {
        let mut deployments = self.blindness.said();
        deployments.insert(self.number, failing);
        let nodes: usize = deployments.values().map(Vec::len).sum();
        if nodes < MIN_NODES || deployments.len() < MIN_DEPLOYMENTS {
            return false;
        }
        let mut begun: Vec<Duration> = deployments.values().flatten().flatten().copied().collect();
        begun.sort_unstable();
        // More than half of all nodes began within one stretch of time, and one of this deployment did.
        let half = nodes / 2;
        let common = begun
            .windows(half + 1)
            .find(|window| window[half].abs_diff(window[0]) <= TOGETHER)
            .map(|window| window[0]);
        let ours = deployments.get(&self.number).into_iter().flatten().flatten();
        common.is_some_and(|start| {
            ours.copied().any(|begun| begun >= start && begun.abs_diff(start) <= TOGETHER)
        })
    }
}

impl Drop for FailureReporter {
    fn drop(&mut self) {
        self.blindness.said().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witnesses<const N: usize>() -> [FailureReporter; N] {
        let blindness = Arc::default();
        [(); N].map(|()| BlindnessDetector::witness(&blindness))
    }

    fn failing(seconds: [u64; 4]) -> Vec<Option<Duration>> {
        seconds.map(|second| (second > 0).then(|| Duration::from_secs(second))).to_vec()
    }

    #[test]
    fn most_nodes_of_several_deployments_must_begin_to_fail_together() {
        let [a, b, c] = witnesses();
        for witness in [&a, &b, &c] {
            assert!(!witness.note(failing([0; 4])));
        }
        assert!(!a.note(failing([100; 4])), "a third of the nodes");
        assert!(!b.note(failing([101, 101, 0, 0])), "half of the nodes");
        assert!(b.note(failing([101, 101, 102, 0])));
        assert!(a.note(failing([100; 4])), "for as long as it lasts");
        assert!(!c.note(failing([0; 4])), "nothing fails here");
        assert!(!c.note(failing([500, 0, 0, 0])), "this failure is another one");
        assert!(!b.note(failing([101, 0, 0, 0])), "most nodes are back");
    }

    #[test]
    fn few_nodes_prove_nothing() {
        let few = witnesses::<3>();
        for witness in &few {
            assert!(
                !witness.note(vec![Some(Duration::from_secs(1)); 3]),
                "nine nodes in three deployments"
            );
        }
        let two = witnesses::<2>();
        for witness in &two {
            assert!(!witness.note(vec![Some(Duration::from_secs(1)); 50]), "two deployments");
        }
    }

    #[test]
    fn a_deployment_that_is_polled_no_more_says_nothing() {
        let [a, b, c, d] = witnesses();
        for witness in [&a, &b] {
            witness.note(failing([100; 4]));
        }
        c.note(failing([0; 4]));
        assert!(b.note(failing([100; 4])), "two of three");
        d.note(failing([0; 4]));
        drop(a);
        assert!(!b.note(failing([100; 4])), "one of three");
    }
}
