//! Statements of one peer about nodes that do not reply.

use std::collections::HashSet;
use std::time::Duration;

use snapshot::NodeSnapshot;

use crate::discovery::addresses::AddressIndex;
use crate::model::deployment::Deployment;
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::witness::WitnessKind;

/// Statement of one peer about one node, from one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one reply")]
pub(super) struct Statement {
    /// The node that the statement is about.
    pub(super) node: NodeIndex,
    pub(super) kind: WitnessKind,
    /// Monotonic time of the request to the peer.
    pub(super) requested: Monotonic,
    pub(super) content: Content,
    /// Time within which the peer renews its statement.
    pub(super) valid_for: Duration,
    /// The peer has a connection to the node.
    pub(super) connected: bool,
    /// The peer observes the process or the history that Rolecall last read from the node.
    pub(super) same: bool,
    /// The node is known to have run.
    pub(super) lived: bool,
    /// The node is a master, according to the peer.
    pub(super) master: bool,
}

/// Content of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The node was alive at this monotonic time.
    Alive(Monotonic),
    /// The peer considers the node lost, since this monotonic time if it is known.
    Lost(Option<Monotonic>),
    /// Neither.
    Nothing,
}

/// A node that replies, with its last reply.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) index: NodeIndex,
    pub(super) node: &'a NodeView,
    pub(super) snapshot: &'a NodeSnapshot,
    /// Monotonic time of the request for the reply.
    pub(super) requested: Monotonic,
}

/// The nodes of a deployment in one round.
#[derive(Clone, Copy)]
pub(super) struct Observed<'a> {
    pub(super) nodes: &'a NodeVec<NodeView>,
    pub(super) deployment: &'a Deployment,
    pub(super) addresses: &'a AddressIndex,
    /// Replication IDs of the masters that reply.
    pub(super) histories: &'a HashSet<&'a str>,
}

impl<'a> Observed<'a> {
    /// Returns the nodes that reply.
    pub(super) fn peers(self) -> impl Iterator<Item = Peer<'a>> {
        self.nodes.iter().filter_map(|(index, node)| {
            let replies = node.polling.failing_since.is_none();
            let snapshot = node.snapshot().filter(|_| replies)?;
            Some(Peer { index, node, snapshot, requested: node.polling.requested? })
        })
    }

    /// Returns the node at an address, if it is exactly one and does not reply.
    pub(super) fn failing_at(self, address: &str) -> Option<NodeIndex> {
        let index = self.addresses.node_at(self.deployment, address)?;
        self.is_failing(index).then_some(index)
    }

    /// Returns true if a node does not reply.
    pub(super) fn is_failing(self, index: NodeIndex) -> bool {
        self.nodes.get(index).is_some_and(|node| node.polling.failing_since.is_some())
    }

    /// Returns the indices of the nodes that do not reply.
    pub(super) fn failing(self) -> impl Iterator<Item = (NodeIndex, &'a NodeView)> {
        self.nodes.iter().filter(|(_, node)| node.polling.failing_since.is_some())
    }
}
