//! State of a cluster as its nodes report it.

use crate::model::node_index::NodeIndex;

/// Number of hash slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// State of a cluster as its nodes report it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Masters that reply and serve slots.
    pub masters: usize,
    /// Masters among them that report `cluster_state:ok`.
    pub ok: usize,
    /// Nodes that reply and report another `cluster_state`.
    pub doubtful: Vec<NodeIndex>,
    /// Slots that no working node serves, according to most masters, without the slots of masters
    /// that reply and report `cluster_state:ok`; `None` while no master replies.
    pub uncovered: Option<u64>,
    /// Slots that two nodes both claim to serve.
    pub conflicts: u64,
    /// The nodes that claim these slots.
    pub conflicting: Vec<NodeIndex>,
    /// Slots that are migrating.
    pub migrating: u64,
    /// Nodes whose role differs from the role that other nodes report for them.
    pub misjudged: Vec<NodeIndex>,
    /// Nodes that the cluster knows.
    pub known: usize,
    /// Addresses of nodes that are listed as failed for longer than `ghost_after`.
    pub ghosts: Vec<String>,
}

impl ClusterView {
    /// Returns true if the cluster works according to most of the masters that reply. If none
    /// replies, a replica that reports a failed cluster decides.
    pub fn working(&self) -> Option<bool> {
        match self.masters {
            0 => (!self.doubtful.is_empty()).then_some(false),
            masters => Some(self.ok * 2 > masters),
        }
    }
}
