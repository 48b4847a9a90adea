//! Witnesses: peers that observe a node.

use std::time::Duration;

use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;

/// The newest statement of one peer about one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// The peer; `None` for a check of an endpoint.
    pub peer: Option<NodeIndex>,
    /// The way in which the peer observes the node.
    pub kind: WitnessKind,
    /// Monotonic time of the exporter at which the node was alive at the latest; `None` if the peer
    /// considers the node lost.
    pub alive_at: Option<Monotonic>,
    /// Time within which the peer renews its statement. It is valid for
    /// [`WITNESS_SLACK`](crate::limits::WITNESS_SLACK) longer.
    pub valid_for: Duration,
    /// The node is a master, according to this witness.
    pub master: bool,
    /// The statement is later than the start of Rolecall's failed contact with the node, and still
    /// valid.
    pub vouches: bool,
}

/// Way in which a witness observes a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WitnessKind {
    /// A replica of the node: its replication link is up.
    Replica,
    /// The primary of the node: it lists the node as online.
    Primary,
    /// A Sentinel that monitors the node.
    Sentinel,
    /// A node of the same cluster.
    Cluster,
    /// A check of an endpoint that led to the node.
    Endpoint,
}

impl Witness {
    /// Returns true if the peer considers the node lost.
    pub fn says_down(&self) -> bool {
        self.alive_at.is_none()
    }
}

impl WitnessKind {
    /// Returns the name of the kind in findings and documents.
    pub const fn label(self) -> &'static str {
        match self {
            WitnessKind::Replica => "replica",
            WitnessKind::Primary => "primary",
            WitnessKind::Sentinel => "sentinel",
            WitnessKind::Cluster => "cluster",
            WitnessKind::Endpoint => "endpoint",
        }
    }
}
