//! Availability of a node.

use snapshot::Reason;

use crate::model::monotonic::Monotonic;

/// State of a node, as the polls and the witnesses decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Not decided yet: the node never replied, and nothing shows that it ever ran.
    Pending,
    /// The node replies, or its silence is not decided yet: see [`UnknownNode`].
    Up,
    /// The node does not reply, and no witness vouches for it.
    Down {
        /// Reason of the last failed poll.
        reason: Reason,
        /// Monotonic time at which the node was detected as down.
        since: Monotonic,
    },
    /// The node does not reply to Rolecall, but a witness vouches for it.
    Unreachable {
        /// Reason of the last failed poll.
        reason: Reason,
        /// Monotonic time at which the node was detected as unreachable.
        since: Monotonic,
    },
    /// The failure concerns Rolecall alone, for example a wrong password. It is unknown if the node
    /// serves other clients.
    Unreadable {
        /// Reason of the last failed poll.
        reason: Reason,
        /// Monotonic time at which the node was detected as unreadable.
        since: Monotonic,
    },
}

/// Availability of a node, as `redis_node_state` exports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// The node replies to Rolecall.
    Up,
    /// The node does not reply, and no witness vouches for it.
    Down,
    /// The node does not reply to Rolecall, but a witness vouches for it.
    Unreachable,
    /// Nothing is known about the node.
    Unknown,
}

/// Silence of a node that says nothing about the node yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownNode {
    /// Reason why the state is unknown.
    pub why: UnknownReason,
    /// The node has not replied for `down_after`, or it refused two attempts.
    pub unread: bool,
    /// The exporter has been cut off for longer than [`BLIND_LIMIT`](crate::limits::BLIND_LIMIT):
    /// the last known state of the node is outdated.
    pub outdated: bool,
}

/// Reason why the state of a silent node is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownReason {
    /// The exporter is cut off.
    CutOff,
    /// Witnesses may still vouch for the node.
    Undecided,
    /// The node never replied, and nothing shows that it ever ran.
    NeverReached,
}

impl NodeState {
    /// Returns the reason of the last failed poll, if the node is down, unreachable or unreadable.
    pub fn failure(self) -> Option<Reason> {
        match self {
            NodeState::Pending | NodeState::Up => None,
            NodeState::Down { reason, .. }
            | NodeState::Unreachable { reason, .. }
            | NodeState::Unreadable { reason, .. } => Some(reason),
        }
    }

    /// Returns the monotonic time since which the node is down, unreachable or unreadable.
    pub(crate) fn failed_since(self) -> Option<Monotonic> {
        match self {
            NodeState::Pending | NodeState::Up => None,
            NodeState::Down { since, .. }
            | NodeState::Unreachable { since, .. }
            | NodeState::Unreadable { since, .. } => Some(since),
        }
    }
}

impl Availability {
    /// The labels of all states, in the order of the reference.
    pub const LABELS: [&str; 4] = [
        Availability::Up.label(),
        Availability::Down.label(),
        Availability::Unreachable.label(),
        Availability::Unknown.label(),
    ];

    /// Returns the value of the label `state`.
    pub const fn label(self) -> &'static str {
        match self {
            Availability::Up => "up",
            Availability::Down => "down",
            Availability::Unreachable => "unreachable",
            Availability::Unknown => "unknown",
        }
    }
}
