//! Fact: what the nodes of a cluster know of it: who serves which slots, who follows whom, and whether they agree that it works.
//!
//! Maps are read from a few nodes at a time, so what is known of each node is put together from several: an entry of a higher
//! configuration epoch wins, and of equals the one read last. A slot that two entries claim belongs to the higher epoch.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use snapshot::{ClusterMap, Fields, NodeSnapshot, Role};

use crate::limits::CONFLICT_AFTER_MAPS;
use crate::model::view::NodeView;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

/// Nodes whose map is read in turn in each round.
const MAPS_IN_TURN: usize = 3;

/// The most maps that are read in a round.
const MAX_MAPS: usize = 16;

/// What the nodes of a cluster say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Masters that answer and serve slots, and those of them that hold the cluster to work.
    pub masters: usize,
    /// See `masters`.
    pub ok: usize,
    /// Places of nodes that answer and hold it not to work.
    pub doubtful: Vec<usize>,
    /// Slots that no working node serves, as most masters say; `None` while none answers.
    pub uncovered: Option<u64>,
    /// Slots that two nodes claim to serve, each by its own word: how many, and the places of those nodes.
    pub conflicts: u64,
    /// See `conflicts`.
    pub conflicting: Vec<usize>,
    /// Slots that are being moved.
    pub migrating: u64,
    /// Places of nodes whose own role is not the one that the cluster knows.
    pub misjudged: Vec<usize>,
    /// Nodes that the cluster knows.
    pub known: usize,
    /// Addresses of nodes that it lists and that have failed for long.
    pub ghosts: Vec<String>,
}

impl ClusterView {
    /// Whether the cluster works, as most masters say that answer; where none does a replica that doubts it is right.
    pub fn working(&self) -> Option<bool> {
        match self.masters {
            0 => (!self.doubtful.is_empty()).then_some(false),
            masters => Some(self.ok * 2 > masters),
        }
    }
}

/// What the fact remembers.
#[derive(Debug, Default)]
pub(crate) struct ClusterTracker {
    known: BTreeMap<Box<str>, Known>,
    /// The ids of the nodes at their places.
    ids: Vec<Option<Box<str>>>,
    /// For each place what CLUSTER INFO said when its map was read last, and its own slots then.
    read: Vec<Option<Read>>,
    /// Whose turn it is to be read.
    turn: usize,
    /// The places with conflicts, and how often each of them had been read when these were first seen.
    conflict: (Vec<usize>, u64),
    /// The owner of each slot: its epoch, and its place among the known; formed anew when something changed.
    shards: Vec<Owner>,
    stale: bool,
}

/// What is known of one node.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) hostname: Option<Box<str>>,
    epoch: u64,
    slots: Vec<(u16, u16)>,
    pub(crate) master: Option<Box<str>>,
    /// When a map last listed it.
    pub(crate) seen: Duration,
    /// Since when it is listed as failed.
    pub(crate) failed: Option<Duration>,
    /// Others hold it to be a master.
    master_to_others: Option<bool>,
}

/// A node that serves slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) id: Box<str>,
    /// The lowest of its slots.
    pub(crate) lowest: u16,
    pub(crate) epoch: u64,
}

/// What a node said when its map was read.
#[derive(Debug, Clone)]
struct Read {
    mark: [Option<Box<str>>; 4],
    /// It called itself a master.
    master: bool,
    slots: Vec<(u16, u16)>,
    migrating: u64,
    /// How often it was read.
    count: u64,
}

impl ClusterTracker {
    /// Takes up the maps that were read in this round.
    pub(crate) fn learn(&mut self, nodes: &[NodeView], answered: &[bool], elapsed: Duration) {
        self.ids.resize(nodes.len(), None);
        self.read.resize(nodes.len(), None);
        for (index, node) in nodes.iter().enumerate().filter(|(index, _)| answered[*index]) {
            let Some(snapshot) = node.snapshot() else { continue };
            let Some(map) = &snapshot.map else { continue };
            self.learn_map(map, elapsed);
            let own = map.myself();
            self.ids[index] = own.map(|own| own.id.clone());
            let count = self.read[index].as_ref().map_or(0, |read| read.count) + 1;
            self.read[index] = own.map(|own| Read {
                mark: mark(snapshot.cluster.as_deref()),
                master: own.is("master"),
                slots: if own.is("master") { own.slots.clone() } else { Vec::new() },
                migrating: own.migrating as u64,
                count,
            });
        }
        if std::mem::take(&mut self.stale) {
            self.shards = self.owners();
        }
    }

    fn learn_map(&mut self, map: &ClusterMap, elapsed: Duration) {
        for node in map.nodes.iter().filter(|node| !node.is("handshake") && !node.is("noaddr")) {
            let mut host = node.host.clone();
            let before = self.known.get(&node.id);
            if host.is_empty() {
                // A node that never met another does not know its own address.
                host = before.map_or_else(Box::default, |known| known.host.clone());
            }
            let newer = before.is_none_or(|known| node.epoch >= known.epoch || node.is("myself"));
            let failed =
                node.is("fail").then(|| before.and_then(|known| known.failed).unwrap_or(elapsed));
            if !newer {
                if let Some(known) = self.known.get_mut(&node.id).filter(|_| !node.is("myself")) {
                    known.seen = elapsed;
                }
                continue;
            }
            let by_others = (!node.is("myself")).then(|| node.is("master"));
            let known = Known {
                master_to_others: by_others.or(before.and_then(|known| known.master_to_others)),
                host,
                port: node.port,
                hostname: node.hostname.clone(),
                epoch: node.epoch,
                slots: if node.is("master") { node.slots.clone() } else { Vec::new() },
                master: node.master.clone(),
                // That a node lists itself says nothing.
                seen: before.filter(|_| node.is("myself")).map_or(elapsed, |known| known.seen),
                failed,
            };
            self.stale |= before.is_none_or(|before| {
                (&before.slots, before.epoch, &before.master)
                    != (&known.slots, known.epoch, &known.master)
            });
            self.known.insert(node.id.clone(), known);
        }
    }

    /// The nodes that maps list, by their ids.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.known.iter().map(|(id, known)| (&**id, known))
    }

    /// The place of the node with an id, as it said itself.
    pub(crate) fn index(&self, id: &str) -> Option<usize> {
        self.ids.iter().position(|own| own.as_deref() == Some(id))
    }

    /// The id of the node at a place.
    pub(crate) fn id(&self, index: usize) -> Option<&str> {
        self.ids.get(index)?.as_deref()
    }

    /// The node at a place is a master that serves nothing, by its own word.
    pub(crate) fn is_empty_master(&self, index: usize, node: &NodeView) -> bool {
        let read = self.read.get(index).and_then(Option::as_ref);
        node.role() == Some(Role::Master)
            && read.is_some_and(|read| read.master && read.slots.is_empty())
    }

    /// A master that knows of no slots at all is of no shard, whatever maps say: it was reset.
    pub(crate) fn was_reset(node: &NodeView) -> bool {
        let assigned = node
            .snapshot()
            .and_then(|snapshot| snapshot.cluster.as_ref()?.count("cluster_slots_assigned"));
        node.role() == Some(Role::Master) && assigned == Some(0)
    }

    /// The node at a place is the one with this id, as its address says; what it said itself goes before.
    pub(crate) fn identify(&mut self, index: usize, id: &str) {
        if self.ids.len() <= index {
            self.ids.resize(index + 1, None);
        }
        if self.ids[index].is_none() && self.index(id).is_none() {
            self.ids[index] = Some(id.into());
        }
    }

    /// Forgets the node at a place; maps may list it further.
    pub(crate) fn clear(&mut self, index: usize) {
        self.ids.get_mut(index).map(Option::take);
        self.read.get_mut(index).map(Option::take);
    }

    /// Forgets nodes that no map has listed for long. While no map is read, that is no evidence.
    pub(crate) fn forget(&mut self, after: Duration) {
        let before = self.known.len();
        let last = self.known.values().map(|known| known.seen).max().unwrap_or_default();
        self.known.retain(|_, known| last.saturating_sub(known.seen) <= after);
        self.stale |= self.known.len() != before;
    }

    /// The nodes that serve slots, sorted by their lowest.
    pub(crate) fn shards(&self) -> &[Owner] {
        &self.shards
    }

    /// The id of the node that serves the slots of the shard of a node: itself, or the master that it follows.
    pub(crate) fn owner_of<'a>(&'a self, id: &'a str) -> Option<&'a Owner> {
        let mut id = id;
        for _ in 0..4 {
            if let Some(owner) = self.shards.iter().find(|owner| &*owner.id == id) {
                return Some(owner);
            }
            id = self.known.get(id)?.master.as_deref()?;
        }
        None
    }

    /// Who serves slots, where several claim one the one of the highest epoch.
    fn owners(&self) -> Vec<Owner> {
        let mut slots: Vec<Option<(u64, &str)>> = vec![None; usize::from(SLOTS)];
        for (id, known) in &self.known {
            for (first, last) in &known.slots {
                for slot in
                    slots.get_mut(usize::from(*first)..=usize::from(*last)).into_iter().flatten()
                {
                    if slot.is_none_or(|(epoch, _)| known.epoch > epoch) {
                        *slot = Some((known.epoch, id));
                    }
                }
            }
        }
        let mut owners: Vec<Owner> = Vec::new();
        let mut found: HashSet<&str> = HashSet::new();
        for (slot, claim) in (0..SLOTS).zip(&slots) {
            if let Some((epoch, id)) = claim
                && found.insert(id)
            {
                owners.push(Owner { id: (*id).into(), lowest: slot, epoch: *epoch });
            }
        }
        owners
    }

    /// The places whose map should be read in the next round: a few in turn, and those where something moved.
    pub(crate) fn wanted(&mut self, nodes: &[NodeView]) -> Vec<usize> {
        let up: Vec<_> = (0..nodes.len())
            .filter(|index| nodes[*index].snapshot().is_some_and(in_cluster))
            .collect();
        let moved = |index: &usize| {
            let now = nodes[*index].snapshot().map(|snapshot| mark(snapshot.cluster.as_deref()));
            self.read.get(*index).and_then(Option::as_ref).map(|read| &read.mark) != now.as_ref()
        };
        let mut wanted: Vec<_> = up.iter().copied().filter(moved).take(MAX_MAPS).collect();
        for _ in 0..MAPS_IN_TURN.min(up.len()) {
            let index = up[self.turn % up.len()];
            self.turn = (self.turn + 1) % up.len();
            if !wanted.contains(&index) {
                wanted.push(index);
            }
        }
        wanted
    }

    /// What the nodes say of the cluster.
    pub(crate) fn view(
        &mut self,
        nodes: &[NodeView],
        stale: &[usize],
        ghosts: Vec<String>,
    ) -> ClusterView {
        let mut view = ClusterView { ghosts, known: self.known.len(), ..ClusterView::default() };
        let mut uncovered: Vec<u64> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let Some(snapshot) = node.snapshot().filter(|snapshot| in_cluster(snapshot)) else {
                continue;
            };
            let Some(info) = snapshot.cluster.as_deref() else { continue };
            let works = info.get("cluster_state") == Some("ok");
            let serves =
                self.id(index).is_some_and(|id| self.shards.iter().any(|owner| &*owner.id == id));
            if serves && node.role() == Some(Role::Master) {
                view.masters += 1;
                view.ok += usize::from(works);
                uncovered.extend(
                    info.count("cluster_slots_ok").map(|ok| u64::from(SLOTS).saturating_sub(ok)),
                );
            }
            if !works {
                view.doubtful.push(index);
            }
            if self.misjudges(index, node) {
                view.misjudged.push(index);
            }
        }
        uncovered.sort_unstable();
        view.uncovered = uncovered.get(uncovered.len() / 2).copied();
        view.migrating = self.read.iter().flatten().map(|read| read.migrating).sum();
        (view.conflicting, view.conflicts) =
            self.conflicts(nodes, |index| stale.contains(&index) && view.doubtful.contains(&index));
        view
    }

    /// The role that a node claims is not the one that others know.
    fn misjudges(&self, index: usize, node: &NodeView) -> bool {
        let to_others = self.id(index).and_then(|id| self.known.get(id)?.master_to_others);
        matches!(
            (node.role(), to_others),
            (Some(Role::Master), Some(false)) | (Some(Role::Replica), Some(true))
        )
    }

    /// Slots that two nodes claim by their own words. A slot that moves may look like this while only one of them was read anew, so it counts
    /// once it was there for several readings of each. One that was replaced while it was cut off serves none of those that it still claims.
    fn conflicts(
        &mut self,
        nodes: &[NodeView],
        was_replaced: impl Fn(usize) -> bool,
    ) -> (Vec<usize>, u64) {
        let mut owners: Vec<Option<usize>> = vec![None; usize::from(SLOTS)];
        let (mut indices, mut slots) = (Vec::new(), 0);
        for (index, read) in self.read.iter().enumerate() {
            let Some(read) = read
                .as_ref()
                .filter(|_| nodes[index].role() == Some(Role::Master) && !was_replaced(index))
            else {
                continue;
            };
            for owner in read
                .slots
                .iter()
                .flat_map(|(first, last)| usize::from(*first)..=usize::from(*last))
                .filter(|slot| *slot < usize::from(SLOTS))
            {
                match owners[owner] {
                    None => owners[owner] = Some(index),
                    Some(other) => {
                        slots += 1;
                        indices.extend(
                            [other, index]
                                .into_iter()
                                .filter(|found| !indices.contains(found))
                                .collect::<Vec<_>>(),
                        );
                    }
                }
            }
        }
        indices.sort_unstable();
        let readings = |indices: &[usize]| {
            indices
                .iter()
                .filter_map(|index| self.read[*index].as_ref())
                .map(|read| read.count)
                .min()
                .unwrap_or_default()
        };
        let now = readings(&indices);
        let (before, since) = &self.conflict;
        if indices.is_empty() || *before != indices {
            self.conflict = (indices, now);
            return (Vec::new(), 0);
        }
        let lasted = now.saturating_sub(*since);
        if lasted >= u64::from(CONFLICT_AFTER_MAPS) { (indices, slots) } else { (Vec::new(), 0) }
    }
}

/// What tells that the map of a node changed. CLUSTER INFO.
fn mark(info: Option<&Fields>) -> [Option<Box<str>>; 4] {
    ["cluster_state", "cluster_known_nodes", "cluster_current_epoch", "cluster_my_epoch"]
        .map(|field| info?.get(field).map(Into::into))
}

fn in_cluster(snapshot: &NodeSnapshot) -> bool {
    snapshot.fields.flag("cluster_enabled") == Some(true)
}
