//! Detection of an exporter that is cut off from the network.
//!
//! If most nodes of most deployments fall silent at the same time, the exporter itself is cut off,
//! and the silence says nothing about the nodes. [`is_cut_off`] decides this from the state of all
//! nodes; [`BlindnessDetector`] collects this state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snapshot::Reason;
use tokio::sync::Notify;
use topology::PollOutcome;

/// Minimum number of deployments that must have lost most of their nodes, unless all nodes of all
/// deployments are silent.
const MIN_DEPLOYMENTS: usize = 3;

/// Minimum number of hosts of the silent nodes. The loss of one host is not blindness.
const MIN_HOSTS: usize = 2;

/// Time after which an earlier failure of a node is known and does not count as contact. Failures
/// that follow each other more closely may be one spreading outage.
const KNOWN_AFTER: Duration = Duration::from_secs(60);

/// Limit of the windows of common failures that are examined.
const MAX_CANDIDATES: usize = 4;

/// Contact with one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeContact {
    /// Host of the last reply; `None` before the first one.
    host: Option<Host>,
    /// Failure since the last reply.
    failure: Option<ContactFailure>,
}

/// Host of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    /// Host with this IP address.
    Remote(IpAddr),
    /// This host, over a Unix socket.
    Local,
}

/// Failed contact with a node that replied before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContactFailure {
    /// Monotonic time of the first failed poll since the last reply.
    since: Duration,
    /// Reason of the latest attempt.
    reason: Reason,
    /// A peer that replies stated that the node is down.
    reported_down: bool,
}

/// Contact with the nodes of one deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeploymentContact {
    /// Maximum time between the first and the last start of failures with a common cause.
    pub(crate) window: Duration,
    /// The nodes, by node index.
    pub(crate) nodes: Vec<NodeContact>,
}

impl NodeContact {
    /// Processes the outcome of one poll at a monotonic time.
    pub(crate) fn observe(&mut self, outcome: &PollOutcome, now: Duration) {
        match outcome {
            PollOutcome::Answered(reply) => {
                let host = reply.peer.map_or(Host::Local, |peer| Host::Remote(peer.ip()));
                (self.host, self.failure) = (Some(host), None);
            }
            PollOutcome::Missed(reason) | PollOutcome::Failed(reason) if self.host.is_some() => {
                let failure = self.failure.get_or_insert(ContactFailure {
                    since: now,
                    reason: *reason,
                    reported_down: false,
                });
                failure.reason = *reason;
            }
            // A node that never replied shows nothing.
            PollOutcome::Pending | PollOutcome::Missed(_) | PollOutcome::Failed(_) => {}
        }
    }

    /// Records that a peer which replies stated that the node is down. The statement counts until
    /// the next reply of the node.
    pub(crate) fn record_peer_report(&mut self) {
        if let Some(failure) = &mut self.failure {
            failure.reported_down = true;
        }
    }

    /// Returns the failure if the node and its host are silent. A host that refuses or resets a
    /// connection can be reached.
    fn silence(&self) -> Option<ContactFailure> {
        self.failure.filter(|failure| failure.reason.is_silent())
    }
}

impl DeploymentContact {
    /// Returns true if a node of the deployment is silent.
    fn has_silent_node(&self) -> bool {
        self.nodes.iter().any(|node| node.silence().is_some())
    }
}

/// Returns true if the exporter is cut off.
///
/// This is the case if nodes on several hosts fell silent at the same time, namely most nodes of
/// most deployments and of at least three, or all nodes of all deployments. Nodes that never
/// replied, or failed more than a minute before, do not count. One statement of a peer that one of
/// the silent nodes is down refutes it: a lost rack is not blindness.
pub(crate) fn is_cut_off(deployments: &BTreeMap<u64, DeploymentContact>) -> bool {
    let deployments = deployments.values();
    let window = deployments.clone().map(|deployment| deployment.window).max().unwrap_or_default();
    let nodes = deployments.clone().flat_map(|deployment| &deployment.nodes);
    let mut starts: Vec<_> =
        nodes.filter_map(NodeContact::silence).map(|failure| failure.since).collect();
    starts.sort_unstable();
    // Many nodes may have failed together long ago, so one candidate is not enough.
    (0..MAX_CANDIDATES).any(|_| {
        start_of_most(&starts, window).is_some_and(|start| {
            starts.retain(|other| !(start..=start + window).contains(other));
            is_cut_off_since(start, window, deployments.clone())
        })
    })
}

/// Returns true if the nodes that fell silent within one window show that the exporter is cut off.
fn is_cut_off_since<'a>(
    start: Duration,
    window: Duration,
    deployments: impl Iterator<Item = &'a DeploymentContact>,
) -> bool {
    let is_common = |failure: &ContactFailure| (start..=start + window).contains(&failure.since);
    let mut hosts = BTreeSet::new();
    let (mut total, mut mostly_silent, mut all_silent) = (0, 0, true);
    for deployment in deployments {
        let (mut readable, mut silent) = (0, 0);
        for node in &deployment.nodes {
            let Some(host) = node.host else { continue };
            if node.failure.is_some_and(|failure| failure.since + KNOWN_AFTER < start) {
                continue;
            }
            readable += 1;
            if let Some(failure) = node.silence().filter(is_common) {
                if failure.reported_down {
                    return false;
                }
                silent += 1;
                hosts.insert(host);
            }
        }
        if readable > 0 {
            total += 1;
            mostly_silent += usize::from(silent * 2 > readable);
            all_silent &= silent == readable;
        }
    }
    let most = mostly_silent >= MIN_DEPLOYMENTS && mostly_silent * 2 > total;
    hosts.len() >= MIN_HOSTS && (most || all_silent)
}

/// Returns the start of the window that contains most of these times, which are sorted; `None`
/// without times.
fn start_of_most(starts: &[Duration], window: Duration) -> Option<Duration> {
    let mut most = (0, None);
    let mut end = 0;
    for (index, start) in starts.iter().enumerate() {
        while starts.get(end).is_some_and(|other| *other <= *start + window) {
            end += 1;
        }
        if end - index > most.0 {
            most = (end - index, Some(*start));
        }
    }
    most.1
}

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
    /// Last report of each deployment, by the ID of its reporter.
    deployments: BTreeMap<u64, DeploymentContact>,
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
        state.cut_off_since =
            is_cut_off(&state.deployments).then(|| state.cut_off_since.unwrap_or(now));
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
    pub(crate) fn report(&self, contact: DeploymentContact, now: Duration) -> Option<Duration> {
        let mut state = self.detector.state();
        let has_silent_node = contact.has_silent_node();
        if state.deployments.get(&self.id) != Some(&contact) {
            state.deployments.insert(self.id, contact);
            self.detector.decide(&mut state, now);
        }
        let since = state.cut_off_since;
        since.filter(|_| has_silent_node).map(|since| now.saturating_sub(since))
    }
}

impl Drop for ContactReporter {
    fn drop(&mut self) {
        let mut state = self.detector.state();
        state.deployments.remove(&self.id);
        // The removal of a deployment never begins a period.
        if let Some(since) = state.cut_off_since {
            self.detector.decide(&mut state, since);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use snapshot::NodeSnapshot;
    use topology::NodeReply;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(2800);

    /// Returns a node on a host that replied and has been failing since a second.
    fn failing(host: u8, reason: Reason, second: u64) -> NodeContact {
        let failure =
            ContactFailure { since: Duration::from_secs(second), reason, reported_down: false };
        NodeContact { failure: Some(failure), ..replying(host) }
    }

    fn silent(host: u8, second: u64) -> NodeContact {
        failing(host, Reason::Timeout, second)
    }

    fn replying(host: u8) -> NodeContact {
        NodeContact { host: Some(Host::Remote([10, 0, 0, host].into())), failure: None }
    }

    fn reported_down(mut node: NodeContact) -> NodeContact {
        node.record_peer_report();
        node
    }

    fn contact(nodes: Vec<NodeContact>) -> DeploymentContact {
        DeploymentContact { window: WINDOW, nodes }
    }

    /// Returns three nodes on three hosts, of which this number is silent.
    fn silent_of_three(silent_nodes: u8) -> DeploymentContact {
        let node = |host| if host <= silent_nodes { silent(host, 100) } else { replying(host) };
        contact((1..=3).map(node).collect())
    }

    fn cut_off(deployments: &[DeploymentContact]) -> bool {
        is_cut_off(&(0..).zip(deployments.iter().cloned()).collect())
    }

    #[test]
    fn silence_of_most_nodes_in_most_deployments_means_cut_off() {
        let [healthy, half_dead, dead] = [0, 2, 3].map(silent_of_three);
        assert!(cut_off(&[dead.clone(), half_dead.clone(), half_dead.clone()]));
        assert!(cut_off(&[dead.clone(), dead.clone(), half_dead.clone(), healthy.clone()]));
        assert!(!cut_off(&[dead.clone(), dead.clone(), healthy.clone()]), "two deployments");
        assert!(!cut_off(&[vec![dead; 3], vec![healthy; 3]].concat()), "half of the deployments");
        let one = silent_of_three(1);
        assert!(!cut_off(&[one.clone(), one.clone(), one]), "a third of the nodes of each");
    }

    #[test]
    fn largest_deployment_alone_never_means_cut_off() {
        let largest = contact((1..=6).map(|host| silent(host, 100)).collect());
        let small = contact(vec![replying(7), replying(8)]);
        assert!(!cut_off(&[largest, small.clone(), small]), "six of ten nodes");
    }

    #[test]
    fn silence_of_all_nodes_on_several_hosts_means_cut_off() {
        let on = |hosts: [u8; 2]| contact(hosts.map(|host| silent(host, 100)).to_vec());
        assert!(cut_off(&[on([1, 2])]), "one deployment on two hosts");
        assert!(!cut_off(&[on([1, 1])]), "one host");
        assert!(cut_off(&[on([1, 1]), on([2, 2])]), "two deployments, each on one host");
        assert!(!cut_off(&[on([1, 1]), on([1, 1]), on([1, 1])]), "one host for everything");
        assert!(!cut_off(&[on([1, 2]), contact(vec![replying(3)])]), "one node replies");
        assert!(!cut_off(&[]), "no deployment");
    }

    #[test]
    fn reply_of_the_host_is_not_silence() {
        for reason in [Reason::Refused, Reason::Reset, Reason::Closed, Reason::Local] {
            let dead = contact((1..=3).map(|host| failing(host, reason, 100)).collect());
            assert!(!cut_off(&vec![dead; 4]), "{reason}");
        }
        for reason in [Reason::Timeout, Reason::Unreachable, Reason::Dns] {
            let dead = contact((1..=3).map(|host| failing(host, reason, 100)).collect());
            assert!(cut_off(&vec![dead; 4]), "{reason}");
        }
        let refused =
            contact(vec![silent(1, 100), silent(2, 100), { failing(3, Reason::Refused, 100) }]);
        assert!(!cut_off(&[refused]), "not every node is silent");
    }

    #[test]
    fn failures_at_different_times_have_no_common_cause() {
        let at = |second| contact((1..=3).map(|host| silent(host, second)).collect());
        assert!(cut_off(&[at(100), at(101), at(102)]));
        assert!(!cut_off(&[at(100), at(103), at(106)]));
    }

    #[test]
    fn nodes_that_failed_before_or_never_replied_do_not_count() {
        let never = NodeContact::default();
        let old = || contact(vec![silent(1, 5), failing(2, Reason::Refused, 6), never.clone()]);
        let dead = || contact(vec![silent(1, 100), silent(2, 100), silent(3, 7), never.clone()]);
        assert!(cut_off(&[dead(), dead(), dead(), old(), old(), old(), old()]));
        assert!(!cut_off(&[contact(vec![never; 9])]));
    }

    #[test]
    fn one_report_of_a_peer_refutes_it() {
        let dead = || silent_of_three(2);
        let refuted = contact(vec![reported_down(silent(1, 100)), silent(2, 100), replying(3)]);
        assert!(cut_off(&[dead(), dead(), dead()]));
        assert!(!cut_off(&[dead(), dead(), refuted]));
        let old = contact(vec![reported_down(silent(4, 5))]);
        assert!(cut_off(&[dead(), dead(), dead(), old]), "about an earlier failure");
    }

    #[test]
    fn contact_ends_with_the_first_failure_and_begins_with_a_reply() {
        let second = Duration::from_secs;
        let reply = || {
            let snapshot = NodeSnapshot::from_info("role:master\n").expect("an INFO reply");
            let mut reply = NodeReply::new(snapshot, Duration::ZERO, SystemTime::UNIX_EPOCH);
            reply.peer = Some(([10, 0, 0, 1], 6379).into());
            PollOutcome::Answered(reply)
        };
        let mut node = NodeContact::default();
        node.observe(&PollOutcome::Failed(Reason::Timeout), second(1));
        assert_eq!(node, NodeContact::default(), "the node never replied");
        node.observe(&reply(), second(2));
        node.observe(&PollOutcome::Missed(Reason::Timeout), second(3));
        node.observe(&PollOutcome::Pending, second(4));
        node.observe(&PollOutcome::Missed(Reason::Dns), second(5));
        assert_eq!(node, failing(1, Reason::Dns, 3), "the first time and the latest reason");
        node.record_peer_report();
        node.observe(&PollOutcome::Failed(Reason::Timeout), second(6));
        assert_eq!(node, reported_down(silent(1, 3)));
        node.observe(&reply(), second(7));
        node.record_peer_report();
        assert_eq!(node, replying(1));
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
            assert_eq!(reporter.report(silent_of_three(0), second(100)), None);
        }
        assert_eq!(a.report(silent_of_three(3), second(101)), None);
        assert_eq!(b.report(silent_of_three(2), second(102)), None);
        assert!(!detector.is_cut_off());
        assert_eq!(c.report(silent_of_three(2), second(103)), Some(second(0)));
        assert!(detector.is_cut_off());
        assert_eq!(d.report(silent_of_three(0), second(104)), None, "no silent node");
        assert_eq!(a.report(silent_of_three(3), second(113)), Some(second(10)));
        assert_eq!(c.report(silent_of_three(1), second(114)), None, "most nodes reply again");
        assert!(!detector.is_cut_off());
        assert_eq!(c.report(silent_of_three(2), second(120)), Some(second(0)), "a new period");
    }

    #[test]
    fn dropped_reporter_no_longer_counts() {
        let (detector, [a, b, c, d]) = reporters();
        for reporter in [&a, &b, &c, &d] {
            reporter.report(silent_of_three(0), Duration::from_secs(100));
        }
        for reporter in [&a, &b, &c] {
            reporter.report(silent_of_three(2), Duration::from_secs(101));
        }
        assert!(detector.is_cut_off());
        drop(a);
        assert!(!detector.is_cut_off(), "two of three");
    }
}
