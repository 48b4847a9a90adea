//! Decision if the exporter is cut off, from the contact with all nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::contact::{ContactFailure, DeploymentContact, NodeContact};

/// Minimum number of deployments that must have lost most of their nodes, unless all nodes of all
/// deployments are silent.
pub(super) const MIN_DEPLOYMENTS: usize = 3;

/// Minimum number of hosts of the silent nodes. The loss of one host is not blindness.
const MIN_HOSTS: usize = 2;

/// Time after which an earlier failure of a node is known and does not count as contact. Failures
/// that follow each other more closely may be one spreading outage.
const KNOWN_AFTER: Duration = Duration::from_secs(60);

/// Limit of the windows of common failures that are examined.
const MAX_CANDIDATES: usize = 4;

/// Returns true if the exporter is cut off.
///
/// This is the case if nodes on several hosts fell silent at the same time, namely most nodes of
/// most deployments and of at least three, or all nodes of all deployments. Nodes that never
/// replied, or failed more than a minute before, do not count. One statement of a peer that one of
/// the silent nodes is down refutes it: a lost rack is not blindness.
pub(super) fn is_cut_off(deployments: &[&DeploymentContact]) -> bool {
    let window = deployments.iter().map(|deployment| deployment.window).max().unwrap_or_default();
    let nodes = deployments.iter().flat_map(|deployment| &deployment.nodes);
    let mut starts: Vec<_> =
        nodes.filter_map(NodeContact::silence).map(|failure| failure.since).collect();
    starts.sort_unstable();
    // Many nodes may have failed together long ago, so one candidate is not enough.
    (0..MAX_CANDIDATES).any(|_| {
        start_of_most(&starts, window).is_some_and(|start| {
            starts.retain(|other| !(start..=start + window).contains(other));
            is_cut_off_since(start, window, deployments)
        })
    })
}

/// Returns true if the nodes that fell silent within one window show that the exporter is cut off.
fn is_cut_off_since(start: Duration, window: Duration, deployments: &[&DeploymentContact]) -> bool {
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

#[cfg(test)]
mod tests {
    use snapshot::Reason;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(2800);

    fn failing(host: u8, reason: Reason, second: u64) -> NodeContact {
        NodeContact::failing(host, reason, Duration::from_secs(second))
    }

    fn silent(host: u8, second: u64) -> NodeContact {
        failing(host, Reason::Timeout, second)
    }

    fn replying(host: u8) -> NodeContact {
        NodeContact::replying(host)
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
        is_cut_off(&deployments.iter().collect::<Vec<_>>())
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
}
