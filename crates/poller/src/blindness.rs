//! Detection of a blind exporter.
//!
//! If most nodes of several deployments start to fail at the same time, the exporter itself is cut
//! off from the network. Such failures say nothing about the nodes.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Minimum number of nodes for a common failure to be meaningful.
const MIN_NODES: usize = 10;

/// Minimum number of deployments for a common failure to be meaningful.
const MIN_DEPLOYMENTS: usize = 3;

/// Maximum time between the first and the last start of failures with a common cause.
const COMMON_WINDOW: Duration = Duration::from_secs(10);

/// Detector of failures that nodes of several deployments have in common.
#[derive(Debug, Default)]
pub(crate) struct BlindnessDetector {
    /// Last report of each deployment, by the ID of its reporter.
    deployments: Mutex<BTreeMap<u64, FailingNodes>>,
    next_id: AtomicU64,
}

/// Failing nodes of one deployment.
#[derive(Debug)]
struct FailingNodes {
    /// Monotonic time at which each node started to fail; `None` if it does not fail or never
    /// replied.
    since: Vec<Option<Duration>>,
}

/// Reporter of the failures of one deployment. Its last report counts until it is dropped.
#[derive(Debug)]
pub(crate) struct FailureReporter {
    detector: Arc<BlindnessDetector>,
    id: u64,
}

impl BlindnessDetector {
    /// Creates the reporter of one deployment.
    pub(crate) fn reporter(self: &Arc<Self>) -> FailureReporter {
        FailureReporter { detector: Arc::clone(self), id: self.next_id.fetch_add(1, Relaxed) }
    }

    fn deployments(&self) -> MutexGuard<'_, BTreeMap<u64, FailingNodes>> {
        self.deployments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailureReporter {
    /// Reports one round of the deployment. Returns true if its failures are part of a common one.
    ///
    /// `since` has the monotonic time at which each node started to fail; `None` if it does not
    /// fail or never replied.
    pub(crate) fn report(&self, since: Vec<Option<Duration>>) -> bool {
        let mut deployments = self.detector.deployments();
        deployments.insert(self.id, FailingNodes { since });
        let nodes: usize = deployments.values().map(|failing| failing.since.len()).sum();
        if nodes < MIN_NODES || deployments.len() < MIN_DEPLOYMENTS {
            return false;
        }
        let mut starts: Vec<Duration> =
            deployments.values().flat_map(|failing| &failing.since).flatten().copied().collect();
        starts.sort_unstable();
        // More than half of all nodes started to fail within one window, and so did a node of this
        // deployment.
        let half = nodes / 2;
        let common_start = starts
            .windows(half + 1)
            .find(|window| window[half].abs_diff(window[0]) <= COMMON_WINDOW)
            .map(|window| window[0]);
        let own_starts =
            deployments.get(&self.id).into_iter().flat_map(|failing| &failing.since).flatten();
        common_start.is_some_and(|common| {
            own_starts
                .copied()
                .any(|start| start >= common && start.abs_diff(common) <= COMMON_WINDOW)
        })
    }
}

impl Drop for FailureReporter {
    fn drop(&mut self) {
        self.detector.deployments().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reporters<const N: usize>() -> [FailureReporter; N] {
        let detector = Arc::default();
        [(); N].map(|()| BlindnessDetector::reporter(&detector))
    }

    fn failing(seconds: [u64; 4]) -> Vec<Option<Duration>> {
        seconds.map(|second| (second > 0).then(|| Duration::from_secs(second))).to_vec()
    }

    #[test]
    fn simultaneous_failure_of_most_nodes_means_blind() {
        let [a, b, c] = reporters();
        for reporter in [&a, &b, &c] {
            assert!(!reporter.report(failing([0; 4])));
        }
        assert!(!a.report(failing([100; 4])), "a third of the nodes");
        assert!(!b.report(failing([101, 101, 0, 0])), "half of the nodes");
        assert!(b.report(failing([101, 101, 102, 0])));
        assert!(a.report(failing([100; 4])), "blind while the common failure lasts");
        assert!(!c.report(failing([0; 4])), "no failing node in this deployment");
        assert!(!c.report(failing([500, 0, 0, 0])), "a separate, later failure");
        assert!(!b.report(failing([101, 0, 0, 0])), "most nodes reply again");
    }

    #[test]
    fn few_nodes_or_deployments_never_mean_blind() {
        let few = reporters::<3>();
        for reporter in &few {
            assert!(
                !reporter.report(vec![Some(Duration::from_secs(1)); 3]),
                "nine nodes in three deployments"
            );
        }
        let two = reporters::<2>();
        for reporter in &two {
            assert!(!reporter.report(vec![Some(Duration::from_secs(1)); 50]), "two deployments");
        }
    }

    #[test]
    fn dropped_reporter_no_longer_counts() {
        let [a, b, c, d] = reporters();
        for reporter in [&a, &b] {
            reporter.report(failing([100; 4]));
        }
        c.report(failing([0; 4]));
        assert!(b.report(failing([100; 4])), "two of three");
        d.report(failing([0; 4]));
        drop(a);
        assert!(!b.report(failing([100; 4])), "one of three");
    }
}
