//! Tracker of cluster maps: which node serves which slots, and which nodes belong to the cluster.
//!
//! The maps of a few nodes are read in each round, so the state of each node is combined from
//! several maps: the entry with the highest configuration epoch wins, and of equal ones the last.
//! A slot that two entries claim belongs to the one with the higher epoch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use snapshot::{
    ClusterMap, ClusterNode, Fields, NodeSnapshot, OpenSlot, Role, SLOTS, SlotDirection, SlotSet,
};

use crate::limits::{CONFLICT_AFTER_MAPS, LISTS_SETTLE_WITHIN};
use crate::model::cluster::{ClusterView, OpenSlotView};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::node::process::ProcessChange;

/// Number of nodes whose map is read in each round, in turn.
const MAPS_IN_TURN: usize = 3;

/// The largest number of maps that are read in one round.
const MAX_MAPS: usize = 16;

/// The largest number of steps from a replica of a replica to the node that serves the slots.
const MAX_CHAIN: usize = 4;

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

/// Lines of a map that were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MapExcess {
    /// Lines about more nodes than the limit.
    pub(crate) nodes: usize,
    /// Lines with a name that is too long.
    pub(crate) names: usize,
}

/// A node that cluster maps list.
#[derive(Debug, Clone)]
pub(crate) struct KnownNode {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) hostname: Option<Box<str>>,
    /// Another node listed this one at its address.
    is_reached: bool,
    epoch: u64,
    slots: Vec<(u16, u16)>,
    /// Cluster ID of the master of a replica.
    master: Option<Box<str>>,
    /// Monotonic time at which the map of another node last listed this one.
    last_listed: Monotonic,
    /// Monotonic time since which the node is listed as failed.
    pub(crate) failed_since: Option<Monotonic>,
    /// Other nodes list this one as a master.
    master_to_others: Option<bool>,
    /// The setting `cluster-replica-no-failover`.
    no_failover: bool,
}

/// A node that serves slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotOwner {
    /// Cluster ID.
    pub(crate) id: Box<str>,
    /// Lowest slot of the node.
    pub(crate) lowest: u16,
    /// Configuration epoch.
    pub(crate) epoch: u64,
    /// Number of its slots.
    slots: u64,
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

/// Nodes that claim the same slots. Maps are not read at the same moment, so a conflict is
/// reported only after several readings of all its nodes.
#[derive(Debug, Default)]
struct ConflictCandidate {
    nodes: Vec<NodeIndex>,
    /// The smallest number of readings of these nodes when the conflict was first seen.
    first_reading: u64,
}

/// Slots that several nodes claim.
#[derive(Debug, Default)]
struct SlotConflicts {
    nodes: Vec<NodeIndex>,
    slots: u64,
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
                fingerprint: fingerprint(snapshot.cluster.as_deref()),
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

    /// Merges a map into the known nodes. Returns the lines that were left out.
    fn merge_map(&mut self, map: &ClusterMap, limit: usize, now: Monotonic) -> MapExcess {
        let listed = || map.nodes.iter().filter(|node| !node.is("handshake") && !node.is("noaddr"));
        let new: HashSet<_> =
            listed().map(|node| &*node.id).filter(|id| !self.known.contains_key(*id)).collect();
        let free = limit.saturating_sub(self.known.len());
        let free = free + self.make_room(new.len().saturating_sub(free), map);
        let mut admitted = HashSet::new();
        let excess = MapExcess {
            nodes: new.len().saturating_sub(free) + map.excess_nodes,
            names: map.long_names,
        };
        for node in listed() {
            if new.contains(&*node.id) && !admitted.contains(&*node.id) {
                if admitted.len() == free {
                    continue;
                }
                admitted.insert(&*node.id);
            }
            let previous = self.known.get(&node.id);
            let is_newer =
                previous.is_none_or(|known| node.epoch >= known.epoch || node.is("myself"));
            if is_newer {
                let had_failed = previous.is_some_and(|known| known.failed_since.is_some());
                if had_failed && !["myself", "fail", "fail?"].iter().any(|flag| node.is(flag)) {
                    self.returned.push(node.id.clone());
                }
                let known = merge_node(node, previous, now);
                self.outdated |= previous.is_none_or(|previous| {
                    (&previous.slots, previous.epoch, &previous.master)
                        != (&known.slots, known.epoch, &known.master)
                });
                self.known.insert(node.id.clone(), known);
            } else if let Some(known) = self.known.get_mut(&node.id) {
                known.last_listed = now;
            }
        }
        excess
    }

    /// Forgets up to `count` nodes that this map does not list, those that were listed last the
    /// longest ago first. Returns their number.
    fn make_room(&mut self, count: usize, map: &ClusterMap) -> usize {
        if count == 0 {
            return 0;
        }
        let listed: HashSet<_> = map.nodes.iter().map(|node| &*node.id).collect();
        let unlisted = self.known.iter().filter(|(id, _)| !listed.contains(&***id));
        let mut unlisted: Vec<_> =
            unlisted.map(|(id, known)| (known.last_listed, id.clone())).collect();
        unlisted.sort_unstable();
        unlisted.truncate(count);
        for (_, id) in &unlisted {
            self.known.remove(id);
        }
        self.outdated |= !unlisted.is_empty();
        unlisted.len()
    }

    /// Returns the lines of the last maps that were left out.
    pub(crate) fn excess(&self) -> MapExcess {
        self.excess
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

    /// Returns the listed nodes by their cluster IDs.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&str, &KnownNode)> {
        self.known.iter().map(|(id, known)| (&**id, known))
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

    /// Returns true if a member never takes over the slots of its master
    /// (`cluster-replica-no-failover`).
    pub(crate) fn has_failover_disabled(&self, index: NodeIndex) -> bool {
        let known = self.id(index).and_then(|id| self.known.get(id));
        known.is_some_and(|known| known.no_failover)
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

    /// Forgets nodes that no map has listed for `after`, relative to the newest map, and those that
    /// are down and that no map lists any more.
    pub(crate) fn forget(
        &mut self,
        after: Duration,
        nodes: &NodeVec<NodeView>,
        interval: Duration,
    ) {
        let before = self.known.len();
        let newest = self.known.values().map(|known| known.last_listed).max().unwrap_or_default();
        let down: HashSet<Box<str>> = nodes
            .iter()
            .filter(|(_, node)| node.is_absent())
            .filter_map(|(index, _)| self.ids.get(index)?.clone())
            .collect();
        // Within this time each map was read.
        let turns = u32::try_from(before / MAPS_IN_TURN).unwrap_or(u32::MAX).saturating_add(1);
        let down_after = after.min(LISTS_SETTLE_WITHIN + interval.saturating_mul(turns));
        self.known.retain(|id, known| {
            let after = if down.contains(id) { down_after } else { after };
            newest.since(known.last_listed) <= after
        });
        self.outdated |= self.known.len() != before;
    }

    /// Returns the nodes that serve slots, ordered by their lowest slot.
    pub(crate) fn owners(&self) -> &[SlotOwner] {
        &self.owners
    }

    /// Returns the owner of slots with this cluster ID.
    pub(crate) fn owner(&self, id: &str) -> Option<&SlotOwner> {
        self.owner_positions.get(id).map(|position| &self.owners[*position])
    }

    /// Returns true if maps list a node with this cluster ID.
    pub(crate) fn is_known(&self, id: &str) -> bool {
        self.known.contains_key(id)
    }

    /// Returns the node that serves the slots of the shard of a node: the node itself or the
    /// master at the end of its replication chain.
    pub(crate) fn owner_of<'a>(&'a self, id: &'a str) -> Option<&'a SlotOwner> {
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            if let Some(owner) = self.owner(id) {
                return Some(owner);
            }
            id = self.known.get(id)?.master.as_deref()?;
        }
        None
    }

    /// Returns the cluster IDs of the nodes that took slots from another owner in this round.
    pub(crate) fn takers(&self) -> impl Iterator<Item = &str> {
        self.taken.keys().map(|id| &**id)
    }

    /// Returns the cluster IDs of the nodes from which a node took slots in this round.
    pub(crate) fn taken_by(&self, id: &str) -> impl Iterator<Item = &str> {
        self.taken.get(id).into_iter().flatten().map(|from| &**from)
    }

    /// Assigns each slot to the claim with the highest epoch; of equal ones, to the lowest ID.
    fn build_owners(&mut self) {
        let mut claims: Vec<_> =
            self.known.iter().filter(|(_, known)| !known.slots.is_empty()).collect();
        claims.sort_by_key(|(_, known)| Reverse(known.epoch));
        let (mut taken, mut ranges) = (SlotSet::default(), Vec::new());
        for (claim, (_, known)) in claims.iter().enumerate() {
            let mut own = Vec::new();
            for range in &known.slots {
                taken.claim(*range, &mut own);
            }
            ranges.extend(own.into_iter().map(|range| (range, claim)));
        }
        ranges.sort_unstable();
        let mut owners: Vec<SlotOwner> = Vec::new();
        let mut owned = vec![None; usize::from(SLOTS)];
        let mut positions = vec![None; claims.len()];
        for ((first, last), claim) in ranges {
            let (id, known) = claims[claim];
            let position = *positions[claim].get_or_insert_with(|| {
                let id = id.clone();
                owners.push(SlotOwner { id, lowest: first, epoch: known.epoch, slots: 0 });
                owners.len() - 1
            });
            owners[position].slots += u64::from(last - first) + 1;
            // There are at most as many owners as slots.
            owned[usize::from(first)..=usize::from(last)].fill(u16::try_from(position).ok());
        }
        let before = std::mem::replace(&mut self.owners, owners);
        let owned_before = std::mem::replace(&mut self.slots, owned);
        self.owner_positions =
            self.owners.iter().enumerate().map(|(at, owner)| (owner.id.clone(), at)).collect();
        let changes: HashSet<_> =
            owned_before.iter().zip(&self.slots).filter_map(|(a, b)| (*a).zip(*b)).collect();
        for (then, now) in changes {
            let (from, to) = (before.get(usize::from(then)), self.owners.get(usize::from(now)));
            let (Some(from), Some(to)) = (from, to) else { continue };
            if from.id != to.id {
                self.taken.entry(to.id.clone()).or_default().insert(from.id.clone());
            }
        }
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
            reading.map(|reading| &reading.fingerprint) != now.as_ref()
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

    /// Returns the state of the cluster after a round.
    pub(crate) fn view(
        &mut self,
        nodes: &NodeVec<NodeView>,
        stale_masters: &[NodeIndex],
        ghosts: Vec<String>,
        now: Monotonic,
    ) -> ClusterView {
        let mut view = ClusterView { ghosts, known: self.known.len(), ..ClusterView::default() };
        let mut uncovered: Vec<u64> = Vec::new();
        let mut served = 0;
        for (index, node) in nodes.iter() {
            let Some(snapshot) = node.snapshot().filter(|snapshot| in_cluster(snapshot)) else {
                continue;
            };
            let Some(info) = snapshot.cluster.as_deref() else { continue };
            let works = info.get("cluster_state") == Some("ok");
            let owned = self.id(index).and_then(|id| self.owner(id));
            if let Some(owned) = owned
                && node.role() == Some(Role::Master)
            {
                view.masters += 1;
                view.ok += usize::from(works);
                served += if works { owned.slots } else { 0 };
                uncovered.extend(
                    info.count("cluster_slots_ok").map(|ok| u64::from(SLOTS).saturating_sub(ok)),
                );
            }
            if !works {
                view.doubtful.push(index);
            }
            if self.is_misjudged(index, node) {
                view.misjudged.push(index);
            }
        }
        uncovered.sort_unstable();
        // Two masters that lost contact with each other both miss slots, but not the same ones, and
        // both serve theirs.
        let not_served = u64::from(SLOTS).saturating_sub(served);
        view.uncovered =
            uncovered.get(uncovered.len() / 2).map(|uncovered| *uncovered.min(&not_served));
        view.open_slots = self.open_slots(nodes, now);
        // A master that was replaced while it was partitioned serves none of its former slots.
        let was_replaced =
            |index: NodeIndex| stale_masters.contains(&index) && view.doubtful.contains(&index);
        let conflicts = self.confirmed_conflicts(nodes, was_replaced);
        (view.conflicting, view.conflicts) = (conflicts.nodes, conflicts.slots);
        view
    }

    /// Returns the slots that are open according to the last map of each node that replies. Source
    /// and target report the same slot.
    fn open_slots(&mut self, nodes: &NodeVec<NodeView>, now: Monotonic) -> Vec<OpenSlotView> {
        let mut open: BTreeMap<u16, OpenSlotView> = BTreeMap::new();
        for (index, reading) in self.maps.iter() {
            let replies = nodes.get(index).is_some_and(|node| node.snapshot().is_some());
            let Some(reading) = reading.as_ref().filter(|_| replies) else { continue };
            for OpenSlot { slot, direction, .. } in &reading.open_slots {
                let since = self.open_since.get(slot).copied().unwrap_or(now);
                let view = open.entry(*slot).or_insert_with(|| OpenSlotView {
                    slot: *slot,
                    since,
                    ..OpenSlotView::default()
                });
                let nodes = match direction {
                    SlotDirection::Migrating => &mut view.migrating,
                    SlotDirection::Importing => &mut view.importing,
                };
                if nodes.last() != Some(&index) {
                    nodes.push(index);
                }
            }
        }
        self.open_since = open.values().map(|open| (open.slot, open.since)).collect();
        open.into_values().collect()
    }

    /// Returns true if the role of a member is not the one that other nodes report.
    fn is_misjudged(&self, index: NodeIndex, node: &NodeView) -> bool {
        let to_others = self.id(index).and_then(|id| self.known.get(id)?.master_to_others);
        matches!(
            (node.role(), to_others),
            (Some(Role::Master), Some(false)) | (Some(Role::Replica), Some(true))
        )
    }

    /// Returns the conflicts that lasted for several readings of all nodes involved. A slot that
    /// migrates may look like a conflict until the maps of both nodes are read again.
    fn confirmed_conflicts(
        &mut self,
        nodes: &NodeVec<NodeView>,
        was_replaced: impl Fn(NodeIndex) -> bool,
    ) -> SlotConflicts {
        let conflicts = self.conflicts(nodes, was_replaced);
        let readings = conflicts
            .nodes
            .iter()
            .filter_map(|index| self.maps[*index].as_ref())
            .map(|reading| reading.count)
            .min()
            .unwrap_or_default();
        if conflicts.nodes.is_empty() || self.conflict.nodes != conflicts.nodes {
            self.conflict = ConflictCandidate { nodes: conflicts.nodes, first_reading: readings };
            return SlotConflicts::default();
        }
        let lasted = readings.saturating_sub(self.conflict.first_reading);
        if lasted >= u64::from(CONFLICT_AFTER_MAPS) { conflicts } else { SlotConflicts::default() }
    }

    /// Returns the slots that several masters claim in their own maps.
    fn conflicts(
        &self,
        nodes: &NodeVec<NodeView>,
        was_replaced: impl Fn(NodeIndex) -> bool,
    ) -> SlotConflicts {
        let mut owners: Vec<Option<NodeIndex>> = vec![None; usize::from(SLOTS)];
        let (mut involved, mut slots_in_conflict) = (BTreeSet::new(), 0);
        for (index, reading) in self.maps.iter() {
            let is_master = nodes[index].role() == Some(Role::Master) && !was_replaced(index);
            let Some(reading) = reading.as_ref().filter(|_| is_master) else { continue };
            let slots = reading
                .slots
                .iter()
                .flat_map(|(first, last)| usize::from(*first)..=usize::from(*last))
                .filter(|slot| *slot < usize::from(SLOTS));
            let mut last = None;
            for slot in slots {
                let Some(other) = owners[slot] else {
                    owners[slot] = Some(index);
                    continue;
                };
                slots_in_conflict += 1;
                // Neighbouring slots mostly have the same owner.
                if last != Some(other) {
                    involved.extend([other, index]);
                    last = Some(other);
                }
            }
        }
        SlotConflicts { nodes: involved.into_iter().collect(), slots: slots_in_conflict }
    }
}

/// Combines the entry of a map with the previous state of the node.
fn merge_node(node: &ClusterNode, previous: Option<&KnownNode>, now: Monotonic) -> KnownNode {
    // A node that moved may report its old address for itself, and a node that has not met another
    // one reports none. The other nodes know the address at which they reach it.
    let to_others = previous.filter(|known| node.is("myself") && known.is_reached);
    let host = to_others.map_or(&node.host, |known| &known.host).clone();
    let by_others = (!node.is("myself")).then(|| node.is("master"));
    KnownNode {
        master_to_others: by_others.or(previous.and_then(|known| known.master_to_others)),
        is_reached: !node.is("myself") || previous.is_some_and(|known| known.is_reached),
        host,
        port: node.port,
        hostname: node.hostname.clone(),
        epoch: node.epoch,
        slots: if node.is("master") { node.slots.clone() } else { Vec::new() },
        master: node.master.clone(),
        // A node always lists itself, which says nothing about its membership.
        last_listed: previous.filter(|_| node.is("myself")).map_or(now, |known| known.last_listed),
        no_failover: node.is("nofailover"),
        failed_since: node
            .is("fail")
            .then(|| previous.and_then(|known| known.failed_since).unwrap_or(now)),
    }
}

/// Returns the fields of CLUSTER INFO that change when the map of the node changes.
fn fingerprint(info: Option<&Fields>) -> [Option<Box<str>>; 4] {
    ["cluster_state", "cluster_known_nodes", "cluster_current_epoch", "cluster_my_epoch"]
        .map(|field| info?.get(field).map(Into::into))
}

fn in_cluster(snapshot: &NodeSnapshot) -> bool {
    snapshot.fields.flag("cluster_enabled") == Some(true)
}
