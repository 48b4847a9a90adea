//! Tracker of cluster maps: which node serves which slots, and which nodes belong to the cluster.
//!
//! The maps of a few nodes are read in each round, so the state of each node is combined from
//! several maps: the entry with the highest configuration epoch wins, and of equal ones the last.
//! A slot that two entries claim belongs to the one with the higher epoch.

mod health;
mod known;
mod owners;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use snapshot::{Fields, NodeSnapshot, OpenSlot, Role};

use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::node::process::ProcessChange;

use health::ConflictCandidate;
pub(crate) use known::{KnownNode, MapExcess};
pub(crate) use owners::SlotOwner;

/// Number of nodes whose map is read in each round, in turn.
const MAPS_IN_TURN: usize = 3;

/// The largest number of maps that are read in one round.
const MAX_MAPS: usize = 16;

/// Tracks the maps of a cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterTracker {
    known: BTreeMap<Box<str>, KnownNode>,
    /// Cluster ID of each member.
    ids: NodeVec<Option<Box<str>>>,
    /// The first member with each cluster ID.
    members: HashMap<Box<str>, NodeIndex>,
    /// Last map of each member.
    maps: NodeVec<Option<MapReading>>,
    /// Position of the next map that is read in turn.
    turn: usize,
    conflict: ConflictCandidate,
    /// Open slots, with the monotonic time at which each was first seen.
    open_since: BTreeMap<u16, Monotonic>,
    /// Nodes that serve slots, ordered by their lowest slot.
    owners: Vec<SlotOwner>,
    /// Position in `owners` of each owner, by cluster ID.
    owner_positions: HashMap<Box<str>, usize>,
    /// Position in `owners` of the owner of each slot; empty before the first map.
    slots: Vec<Option<u16>>,
    /// Changes of owners in this round: the cluster IDs of the owners before by that of the owner
    /// now.
    taken: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    /// `known` has changed since `owners` was built.
    outdated: bool,
    /// Cluster IDs of nodes that a map of this round shows again after they had failed.
    returned: Vec<Box<str>>,
    /// Lines of the maps of this round that exceed a limit; those of the map with the most.
    excess: MapExcess,
}

/// The part of a map that concerns the node which reported it.
#[derive(Debug, Clone)]
struct MapReading {
    /// Fields of CLUSTER INFO when the map was read. While they are the same, the map is current.
    fingerprint: [Option<Box<str>>; 4],
    is_master: bool,
    slots: Vec<(u16, u16)>,
    open_slots: Vec<OpenSlot>,
    /// Number of maps read from this node.
    count: u64,
}

impl ClusterTracker {
    /// Processes the maps that were read in one round. At most `limit` nodes are known.
    pub(crate) fn observe(
        &mut self,
        nodes: &NodeVec<NodeView>,
        process_changes: &NodeVec<Option<ProcessChange>>,
        limit: usize,
        now: Monotonic,
    ) {
        self.ids.grow(nodes.len(), || None);
        self.maps.grow(nodes.len(), || None);
        self.returned.clear();
        self.taken.clear();
        let mut excesses = Vec::new();
        for (index, node) in nodes.iter().filter(|(index, _)| process_changes[*index].is_some()) {
            let Some(snapshot) = node.snapshot() else { continue };
            let Some(map) = &snapshot.map else { continue };
            let excess = self.merge_map(map, limit, now);
            excesses.push(excess);
            let own = map.myself();
            self.set_id(index, own.map(|own| &*own.id));
            let count = self.maps[index].as_ref().map_or(0, |reading| reading.count) + 1;
            self.maps[index] = own.map(|own| MapReading {
                fingerprint: fingerprint(snapshot.cluster.as_deref())
                    .map(|field| field.map(Into::into)),
                is_master: own.is("master"),
                slots: if own.is("master") { own.slots.clone() } else { Vec::new() },
                // Replicas of Valkey report the open slots of their master, too.
                open_slots: if own.is("master") { own.open_slots.clone() } else { Vec::new() },
                count,
            });
        }
        if let Some(excess) = excesses.into_iter().max_by_key(|excess| (excess.nodes, excess.names))
        {
            self.excess = excess;
        }
        if std::mem::take(&mut self.outdated) {
            self.build_owners();
        }
    }

    /// Sets the cluster ID of a member.
    fn set_id(&mut self, index: NodeIndex, id: Option<&str>) {
        self.ids.grow(index.get() + 1, || None);
        if self.ids[index].as_deref() == id {
            return;
        }
        let before = std::mem::replace(&mut self.ids[index], id.map(Into::into));
        if let Some(before) = before.filter(|before| self.members.get(before) == Some(&index)) {
            match self.ids.position(|other| other.as_ref() == Some(&before)) {
                Some(other) => drop(self.members.insert(before, other)),
                None => drop(self.members.remove(&before)),
            }
        }
        if let Some(id) = id {
            let first = self.members.entry(id.into()).or_insert(index);
            *first = index.min(*first);
        }
    }

    /// Returns the member with a cluster ID.
    pub(crate) fn index(&self, id: &str) -> Option<NodeIndex> {
        self.members.get(id).copied()
    }

    /// Returns the members that the map of another node shows again, in this round, after they had
    /// failed.
    pub(crate) fn returned(&self) -> impl Iterator<Item = NodeIndex> {
        self.returned.iter().filter_map(|id| self.index(id))
    }

    /// Returns the cluster ID of a member.
    pub(crate) fn id(&self, index: NodeIndex) -> Option<&str> {
        self.ids.get(index)?.as_deref()
    }

    /// Returns true if a member is a master that serves no slot, according to its own map.
    pub(crate) fn is_empty_master(&self, index: NodeIndex, node: &NodeView) -> bool {
        let reading = self.maps.get(index).and_then(Option::as_ref);
        node.role() == Some(Role::Master)
            && reading.is_some_and(|reading| reading.is_master && reading.slots.is_empty())
    }

    /// Returns true if a master knows no assigned slot at all: it was reset and belongs to no
    /// shard, even if other maps still list it there.
    pub(crate) fn was_reset(node: &NodeView) -> bool {
        let assigned = node
            .snapshot()
            .and_then(|snapshot| snapshot.cluster.as_ref()?.count("cluster_slots_assigned"));
        node.role() == Some(Role::Master) && assigned == Some(0)
    }

    /// Records the cluster ID of a member that maps list at its address, unless the member
    /// reported its ID itself.
    pub(crate) fn identify(&mut self, index: NodeIndex, id: &str) {
        if self.id(index).is_none() && self.index(id).is_none() {
            self.set_id(index, Some(id));
        }
    }

    /// Forgets a member that left. Maps may still list it.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.set_id(index, None);
        self.maps.get_mut(index).map(Option::take);
    }

    /// Returns the members whose maps should be read in the next round: a few in turn, and those
    /// whose CLUSTER INFO changed since the last map.
    pub(crate) fn maps_to_read(&mut self, nodes: &NodeVec<NodeView>) -> Vec<NodeIndex> {
        let up: Vec<_> = nodes
            .iter()
            .filter(|(_, node)| node.snapshot().is_some_and(in_cluster))
            .map(|(index, _)| index)
            .collect();
        let has_changed = |index: &NodeIndex| {
            let now =
                nodes[*index].snapshot().map(|snapshot| fingerprint(snapshot.cluster.as_deref()));
            let reading = self.maps.get(*index).and_then(Option::as_ref);
            reading.map(|reading| reading.fingerprint.each_ref().map(Option::as_deref)) != now
        };
        let mut to_read: Vec<_> = up.iter().copied().filter(has_changed).take(MAX_MAPS).collect();
        for _ in 0..MAPS_IN_TURN.min(up.len()) {
            let index = up[self.turn % up.len()];
            self.turn = (self.turn + 1) % up.len();
            if !to_read.contains(&index) {
                to_read.push(index);
            }
        }
        to_read
    }
}

/// Returns the fields of CLUSTER INFO that change when the map of the node changes.
fn fingerprint(info: Option<&Fields>) -> [Option<&str>; 4] {
    ["cluster_state", "cluster_known_nodes", "cluster_current_epoch", "cluster_my_epoch"]
        .map(|field| info?.get(field))
}

fn in_cluster(snapshot: &NodeSnapshot) -> bool {
    snapshot.fields.flag("cluster_enabled") == Some(true)
}
