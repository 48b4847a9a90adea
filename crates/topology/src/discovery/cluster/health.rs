//! State of a cluster as its members report it: working masters, open slots and slot conflicts.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use snapshot::{OpenSlot, Role, SLOTS, SlotDirection};

use super::{ClusterTracker, in_cluster};
use crate::limits::CONFLICT_AFTER_MAPS;
use crate::model::cluster::{ClusterView, OpenSlotView};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};

/// Nodes that claim the same slots. Maps are not read at the same moment, so a conflict is
/// reported only after several readings of all its nodes.
#[derive(Debug, Default)]
pub(super) struct ConflictCandidate {
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
        let stale_masters: HashSet<_> = stale_masters.iter().copied().collect();
        let was_replaced = |index: NodeIndex| {
            stale_masters.contains(&index) && view.doubtful.binary_search(&index).is_ok()
        };
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
        let is_master =
            |index: NodeIndex| nodes[index].role() == Some(Role::Master) && !was_replaced(index);
        let readings = self.maps.iter().filter(|(index, _)| is_master(*index));
        let readings: Vec<_> =
            readings.filter_map(|(index, reading)| Some((index, reading.as_ref()?))).collect();
        let mut ranges: Vec<_> = readings.iter().flat_map(|(_, reading)| &reading.slots).collect();
        ranges.sort_unstable();
        if ranges.windows(2).all(|pair| pair[0].1 < pair[1].0) {
            return SlotConflicts::default();
        }
        let mut owners: Vec<Option<NodeIndex>> = vec![None; usize::from(SLOTS)];
        let (mut involved, mut slots_in_conflict) = (BTreeSet::new(), 0);
        for (index, reading) in readings {
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
