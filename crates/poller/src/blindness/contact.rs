//! Contact with single nodes and with the nodes of one deployment.

use std::net::IpAddr;
use std::time::Duration;

use snapshot::Reason;
use topology::{NodeIndex, PollOutcome};

/// Contact with one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NodeContact {
    /// Host of the last reply; `None` before the first one.
    pub(super) host: Option<Host>,
    /// Failure since the last reply.
    pub(super) failure: Option<ContactFailure>,
}

/// Host of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// Host with this IP address.
    Remote(IpAddr),
    /// This host, over a Unix socket.
    Local,
}

/// Failed contact with a node that replied before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContactFailure {
    /// Monotonic time of the first failed poll since the last reply.
    pub(super) since: Duration,
    /// Reason of the latest attempt.
    pub(super) reason: Reason,
    /// A peer that replies stated that the node is down.
    pub(super) reported_down: bool,
}

/// Contact with the nodes of one deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeploymentContact {
    /// Maximum time between the first and the last start of failures with a common cause.
    pub(super) window: Duration,
    /// The nodes, by node index.
    pub(super) nodes: Vec<NodeContact>,
}

impl NodeContact {
    /// Processes the outcome of one poll at a monotonic time.
    fn observe(&mut self, outcome: &PollOutcome, now: Duration) {
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
    pub(super) fn record_peer_report(&mut self) {
        if let Some(failure) = &mut self.failure {
            failure.reported_down = true;
        }
    }

    /// Returns true if the node replied to its last poll that ended.
    pub(super) fn is_replying(&self) -> bool {
        self.host.is_some() && self.failure.is_none()
    }

    /// Returns the failure if the node and its host are silent. A host that refuses or resets a
    /// connection can be reached.
    pub(super) fn silence(&self) -> Option<ContactFailure> {
        self.failure.filter(|failure| failure.reason.is_silent())
    }
}

impl DeploymentContact {
    /// Creates the contact with the nodes of a deployment that was not polled yet. `window` is the
    /// maximum time between the first and the last start of failures with a common cause.
    pub(crate) fn new(window: Duration) -> Self {
        DeploymentContact { window, nodes: Vec::new() }
    }

    /// Forgets the contact with the node at this index, which is another node now.
    pub(crate) fn reset(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            *node = NodeContact::default();
        }
    }

    /// Processes the outcomes of one round, which ended at a monotonic time. An overloaded exporter
    /// causes failures itself, so only replies count then.
    pub(crate) fn observe(&mut self, outcomes: &[PollOutcome], overloaded: bool, now: Duration) {
        self.nodes.resize_with(outcomes.len(), NodeContact::default);
        for (node, outcome) in self.nodes.iter_mut().zip(outcomes) {
            if !overloaded || matches!(outcome, PollOutcome::Answered(_)) {
                node.observe(outcome, now);
            }
        }
    }

    /// Records that a peer which replies stated that the node at this index is down.
    pub(crate) fn record_peer_report(&mut self, index: NodeIndex) {
        if let Some(node) = self.nodes.get_mut(index.get()) {
            node.record_peer_report();
        }
    }

    /// Returns true if a node of the deployment is silent.
    pub(super) fn has_silent_node(&self) -> bool {
        self.nodes.iter().any(|node| node.silence().is_some())
    }
}

/// Contacts for the tests of this module.
#[cfg(test)]
impl NodeContact {
    /// Returns a node on a host that replied to the last poll.
    pub(super) fn replying(host: u8) -> Self {
        NodeContact { host: Some(Host::Remote([10, 0, 0, host].into())), failure: None }
    }

    /// Returns a node on a host that replied and has been failing since a monotonic time.
    pub(super) fn failing(host: u8, reason: Reason, since: Duration) -> Self {
        let failure = ContactFailure { since, reason, reported_down: false };
        NodeContact { failure: Some(failure), ..NodeContact::replying(host) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use snapshot::NodeSnapshot;
    use topology::NodeReply;

    use super::*;

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
        assert_eq!(
            node,
            NodeContact::failing(1, Reason::Dns, second(3)),
            "the first time and the latest reason"
        );
        node.record_peer_report();
        node.observe(&PollOutcome::Failed(Reason::Timeout), second(6));
        let mut reported_down = NodeContact::failing(1, Reason::Timeout, second(3));
        reported_down.record_peer_report();
        assert_eq!(node, reported_down);
        node.observe(&reply(), second(7));
        node.record_peer_report();
        assert_eq!(node, NodeContact::replying(1));
    }
}
