//! State of a cluster as its nodes report it.

use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;

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
    /// Slots that masters that reply report as migrating or importing, in ascending order.
    pub open_slots: Vec<OpenSlotView>,
    /// Nodes whose role differs from the role that other nodes report for them.
    pub misjudged: Vec<NodeIndex>,
    /// Nodes that the cluster knows.
    pub known: usize,
    /// Addresses of nodes that are listed as failed for longer than `ghost_after`.
    pub ghosts: Vec<String>,
}

/// A slot that is migrating from one master to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenSlotView {
    /// The slot.
    pub slot: u16,
    /// Masters that report it as migrating: its source.
    pub migrating: Vec<NodeIndex>,
    /// Masters that report it as importing: its target.
    pub importing: Vec<NodeIndex>,
    /// Monotonic time at which a map first showed it open.
    pub since: Monotonic,
}

impl ClusterView {
    /// Returns the slots that a node imports, in ascending order.
    pub fn imported_by(&self, index: NodeIndex) -> impl Iterator<Item = u16> {
        let open = self.open_slots.iter().filter(move |open| open.importing.contains(&index));
        open.map(|open| open.slot)
    }

    /// Returns the monotonic time since which the oldest open slot is open; `None` without open
    /// slots.
    pub fn open_since(&self) -> Option<Monotonic> {
        self.open_slots.iter().map(|open| open.since).min()
    }

    /// Returns true if the cluster works according to most of the masters that reply. If none
    /// replies, a replica that reports a failed cluster decides.
    pub fn working(&self) -> Option<bool> {
        match self.masters {
            0 => (!self.doubtful.is_empty()).then_some(false),
            masters => Some(self.ok * 2 > masters),
        }
    }
}
