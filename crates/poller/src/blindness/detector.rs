//! Collector of the contact with all nodes, which reports if the exporter is cut off.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::contact::DeploymentContact;
use super::fleet_contact::FleetContact;

/// Collector of the contact with the nodes of all deployments.
#[derive(Debug, Default)]
pub(crate) struct BlindnessDetector {
    state: Mutex<DetectorState>,
    next_id: AtomicU64,
    /// Notified when the exporter is no longer cut off.
    ended: Notify,
}

/// State of a [`BlindnessDetector`].
#[derive(Debug, Default)]
struct DetectorState {
    contact: FleetContact,
    /// Monotonic time since which the exporter is cut off.
    cut_off_since: Option<Duration>,
}

/// Reporter of the contact with one deployment. Its last report counts until it is dropped.
#[derive(Debug)]
pub(crate) struct ContactReporter {
    detector: Arc<BlindnessDetector>,
    id: u64,
}

impl BlindnessDetector {
    /// Creates the reporter of one deployment.
    pub(crate) fn reporter(self: &Arc<Self>) -> ContactReporter {
        ContactReporter { detector: Arc::clone(self), id: self.next_id.fetch_add(1, Relaxed) }
    }

    /// Returns true while the exporter is cut off.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.state().cut_off_since.is_some()
    }

    /// Waits until the exporter is no longer cut off. Never returns if it was not.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Decides again if the exporter is cut off, after the state changed at this monotonic time.
    fn decide(&self, state: &mut DetectorState, now: Duration) {
        let was_cut_off = state.cut_off_since.is_some();
        let since = state.cut_off_since.unwrap_or(now);
        state.cut_off_since = state.contact.is_cut_off().then_some(since);
        if was_cut_off && state.cut_off_since.is_none() {
            self.ended.notify_waiters();
        }
    }

    fn state(&self) -> MutexGuard<'_, DetectorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ContactReporter {
    /// Reports one round of the deployment, which ended at a monotonic time. Returns the time for
    /// which the exporter has been cut off; `None` if it is not, or if no node of this deployment
    /// is silent.
    pub(crate) fn report(&self, contact: &DeploymentContact, now: Duration) -> Option<Duration> {
        let mut state = self.detector.state();
        state.contact.report(self.id, contact);
        self.detector.decide(&mut state, now);
        let since = state.cut_off_since?;
        contact.has_silent_node().then(|| now.saturating_sub(since))
    }
}

impl Drop for ContactReporter {
    fn drop(&mut self) {
        let mut state = self.detector.state();
        state.contact.remove(self.id);
        // The removal of a deployment never begins a period.
        if let Some(since) = state.cut_off_since {
            self.detector.decide(&mut state, since);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fastrand::Rng;
    use snapshot::Reason;

    use super::*;
    use crate::blindness::contact::NodeContact;
    use crate::blindness::verdict;

    const WINDOW: Duration = Duration::from_millis(2800);

    /// Returns three nodes on three hosts, of which this number is silent.
    fn silent_of_three(silent_nodes: u8) -> DeploymentContact {
        let since = Duration::from_secs(100);
        let node = |host| match host {
            host if host <= silent_nodes => NodeContact::failing(host, Reason::Timeout, since),
            host => NodeContact::replying(host),
        };
        DeploymentContact { window: WINDOW, nodes: (1..=3).map(node).collect() }
    }

    fn reporters<const N: usize>() -> (Arc<BlindnessDetector>, [ContactReporter; N]) {
        let detector = Arc::default();
        let reporters = [(); N].map(|()| BlindnessDetector::reporter(&detector));
        (detector, reporters)
    }

    #[test]
    fn deployments_with_silent_nodes_learn_the_time_cut_off() {
        let second = Duration::from_secs;
        let (detector, [a, b, c, d]) = reporters();
        for reporter in [&a, &b, &c, &d] {
            assert_eq!(reporter.report(&silent_of_three(0), second(100)), None);
        }
        assert_eq!(a.report(&silent_of_three(3), second(101)), None);
        assert_eq!(b.report(&silent_of_three(2), second(102)), None);
        assert!(!detector.is_cut_off());
        assert_eq!(c.report(&silent_of_three(2), second(103)), Some(second(0)));
        assert!(detector.is_cut_off());
        assert_eq!(d.report(&silent_of_three(0), second(104)), None, "no silent node");
        assert_eq!(a.report(&silent_of_three(3), second(113)), Some(second(10)));
        assert_eq!(c.report(&silent_of_three(1), second(114)), None, "most nodes reply again");
        assert!(!detector.is_cut_off());
        assert_eq!(c.report(&silent_of_three(2), second(120)), Some(second(0)), "a new period");
    }

    #[test]
    fn dropped_reporter_no_longer_counts() {
        let (detector, [a, b, c, d]) = reporters();
        for reporter in [&a, &b, &c, &d] {
            reporter.report(&silent_of_three(0), Duration::from_secs(100));
        }
        for reporter in [&a, &b, &c] {
            reporter.report(&silent_of_three(2), Duration::from_secs(101));
        }
        assert!(detector.is_cut_off());
        drop(a);
        assert!(!detector.is_cut_off(), "two of three");
    }

    /// Detector that reads all nodes after each change.
    #[derive(Default)]
    struct NaiveDetector {
        deployments: BTreeMap<usize, DeploymentContact>,
        cut_off_since: Option<Duration>,
    }

    impl NaiveDetector {
        fn report(
            &mut self,
            id: usize,
            contact: &DeploymentContact,
            now: Duration,
        ) -> Option<Duration> {
            if self.deployments.get(&id) != Some(contact) {
                self.deployments.insert(id, contact.clone());
                self.decide(now);
            }
            let since = self.cut_off_since?;
            contact.has_silent_node().then(|| now.saturating_sub(since))
        }

        fn remove(&mut self, id: usize) {
            self.deployments.remove(&id);
            if let Some(since) = self.cut_off_since {
                self.decide(since);
            }
        }

        fn decide(&mut self, now: Duration) {
            let since = self.cut_off_since.unwrap_or(now);
            let deployments: Vec<_> = self.deployments.values().collect();
            let is_cut_off = verdict::is_cut_off(&deployments);
            self.cut_off_since = is_cut_off.then_some(since);
        }
    }

    /// Returns the state of a node after a poll. Most nodes share the fate of the exporter.
    fn next_contact(
        rng: &mut Rng,
        node: &NodeContact,
        cut_off: bool,
        now: Duration,
    ) -> NodeContact {
        const REASONS: [Reason; 4] =
            [Reason::Timeout, Reason::Timeout, Reason::Unreachable, Reason::Refused];
        let fails = if rng.u8(..10) == 0 { rng.bool() } else { cut_off };
        if !fails {
            return NodeContact::replying(rng.u8(1..=4));
        }
        let mut next = node.clone();
        if next.is_replying() {
            next = NodeContact::failing(rng.u8(1..=4), REASONS[rng.usize(..4)], now);
        }
        if rng.u8(..200) == 0 {
            next.record_peer_report();
        }
        next
    }

    /// Compares a random history of this number of deployments with a [`NaiveDetector`]. Returns
    /// the number of reports after which the exporter was cut off.
    fn compare(seed: u64, deployments: usize) -> usize {
        let rng = &mut Rng::with_seed(seed);
        let (detector, mut naive) = (Arc::<BlindnessDetector>::default(), NaiveDetector::default());
        let new = |rng: &mut Rng| {
            let nodes = vec![NodeContact::default(); rng.usize(..4)];
            (detector.reporter(), DeploymentContact { window: WINDOW, nodes })
        };
        let mut reporters: Vec<_> = (0..deployments).map(|_| new(rng)).collect();
        let (mut now, mut cut_off, mut times_cut_off) = (Duration::ZERO, false, 0);
        for step in 0..400 {
            now += Duration::from_millis(rng.u64(..3000 / deployments as u64));
            cut_off ^= rng.usize(..deployments * 3) == 0;
            let id = rng.usize(..deployments);
            if rng.u8(..50) == 0 {
                naive.remove(id);
                reporters[id] = new(rng);
            } else {
                let (reporter, contact) = &mut reporters[id];
                for node in &mut contact.nodes {
                    *node = next_contact(rng, node, cut_off, now);
                }
                let expected = naive.report(id, contact, now);
                assert_eq!(reporter.report(contact, now), expected, "seed {seed}, step {step}");
            }
            let expected = naive.cut_off_since.is_some();
            assert_eq!(detector.is_cut_off(), expected, "seed {seed}, step {step}");
            times_cut_off += usize::from(expected);
        }
        times_cut_off
    }

    #[test]
    fn verdicts_are_those_of_reading_all_nodes_after_each_change() {
        let times: Vec<_> =
            (0..300).zip((1..=20).cycle()).map(|(seed, count)| compare(seed, count)).collect();
        let some = times.iter().filter(|times| (1..400).contains(*times)).count();
        assert!(some > 100, "histories with both verdicts: {some}");
    }

    #[test]
    fn thousands_of_mostly_silent_deployments_are_cut_off() {
        const DEPLOYMENTS: usize = 3000;
        let second = Duration::from_secs;
        let detector = Arc::<BlindnessDetector>::default();
        let reporters: Vec<_> = (0..DEPLOYMENTS).map(|_| detector.reporter()).collect();
        for reporter in &reporters {
            reporter.report(&silent_of_three(0), second(100));
        }
        let cut_off_at = |silent_nodes: u8, cut_off: bool| {
            let decides = |reporter: &&ContactReporter| {
                reporter.report(&silent_of_three(silent_nodes), second(101));
                detector.is_cut_off() == cut_off
            };
            reporters.iter().position(|reporter| decides(&reporter))
        };
        assert_eq!(cut_off_at(2, true), Some(DEPLOYMENTS / 2), "more than half of them");
        assert_eq!(cut_off_at(3, false), None);
        assert_eq!(cut_off_at(1, false), Some(DEPLOYMENTS / 2 - 1), "half of them");
    }
}
