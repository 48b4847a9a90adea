//! Tracker of replication histories. Two masters that share a history are a split brain of one
//! deployment. Two masters that share none are a mistake in the configuration.

use std::collections::{HashMap, VecDeque};

use snapshot::{NodeSnapshot, Role};

use crate::model::copying::copy_changed;
use crate::model::node_index::{NodeIndex, NodeMap};
use crate::node::process::ProcessChange;

/// The largest number of stored replication IDs of one node. Each failover adds one.
const MAX_IDS: usize = 8;

/// Tracks the replication IDs of the data of each node.
#[derive(Debug, Default)]
pub(crate) struct LineageTracker {
    /// Replication IDs of each node, the newest last.
    ids: NodeMap<VecDeque<Box<str>>>,
    /// Nodes whose data belonged to a replication ID.
    nodes: HashMap<Box<str>, Vec<NodeIndex>>,
    /// The history that each process continued, the last `master_replid2` of INFO. A master forgets
    /// it when it has had no replica for `repl-backlog-ttl`.
    continued: NodeMap<Box<str>>,
}

impl LineageTracker {
    /// Processes one reply of a node.
    pub(crate) fn observe(
        &mut self,
        node: NodeIndex,
        snapshot: &NodeSnapshot,
        process_change: ProcessChange,
    ) {
        if process_change == ProcessChange::Replaced {
            self.clear(node);
        }
        // `replid2` is the older ID. It goes first, so that the IDs are in the order of their
        // creation.
        let replication = &snapshot.replication;
        let is_master = replication.role == Some(Role::Master);
        if let Some(id) = &replication.replid2 {
            copy_changed(self.continued.entry(node).or_default(), id);
        } else if process_change != ProcessChange::Same || !is_master {
            self.continued.remove(&node);
        }
        for id in [&replication.replid2, &replication.replid].into_iter().flatten() {
            self.add(node, id);
        }
    }

    /// Forgets the histories of a node.
    pub(crate) fn clear(&mut self, node: NodeIndex) {
        self.continued.remove(&node);
        for id in self.ids.remove(&node).into_iter().flatten() {
            self.remove_owner(node, &id);
        }
    }

    /// Restores a saved replication ID of a node.
    pub(crate) fn restore(&mut self, node: NodeIndex, id: &str) {
        self.add(node, id);
    }

    /// Restores the saved ID of the history that a node continued.
    pub(crate) fn restore_continued(&mut self, node: NodeIndex, id: &str) {
        self.continued.insert(node, id.into());
    }

    /// Returns the ID of the history that a node continued.
    pub(crate) fn continued(&self, node: NodeIndex) -> Option<&str> {
        self.continued.get(&node).map(|id| &**id)
    }

    /// Returns the replication IDs of the data of a node, the newest last.
    pub(crate) fn ids(&self, node: NodeIndex) -> impl Iterator<Item = &str> {
        self.ids.get(&node).into_iter().flatten().map(|id| &**id)
    }

    /// Returns the nodes whose data belonged to a history.
    pub(crate) fn holders(&self, id: &str) -> &[NodeIndex] {
        self.nodes.get(id).map_or(&[], Vec::as_slice)
    }

    /// Returns the other nodes whose data belonged to a history of this node.
    fn relatives(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        let holders = self.ids(node).flat_map(|id| self.holders(id)).copied();
        holders.filter(move |other| *other != node)
    }

    /// Returns true if the data of two nodes ever belonged to the same history.
    pub(crate) fn related(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self.relatives(a).any(|other| other == b)
    }

    /// Returns true if one master took over from another: it continued a history of the other, and
    /// the other did not continue a later one of its own.
    pub(crate) fn succeeds(&self, new: NodeIndex, old: NodeIndex) -> bool {
        let position = |id: &str| self.ids(new).position(|own| own == id);
        let Some(continued_by_new) = self.continued_of(new, old) else { return false };
        let Some(continued_by_old) = self.continued_of(old, new) else { return true };
        position(continued_by_new) > position(continued_by_old)
    }

    /// Returns true if a master continued a history of another node.
    pub(crate) fn continues(&self, master: NodeIndex, other: NodeIndex) -> bool {
        self.continued_of(master, other).is_some()
    }

    /// Returns the history of another node that a master continued.
    fn continued_of(&self, master: NodeIndex, other: NodeIndex) -> Option<&str> {
        let continued = self.continued(master)?;
        self.ids(other).any(|id| id == continued).then_some(continued)
    }

    fn add(&mut self, node: NodeIndex, id: &str) {
        let ids = self.ids.entry(node).or_default();
        if ids.iter().any(|other| **other == *id) {
            return;
        }
        ids.push_back(id.into());
        self.nodes.entry(id.into()).or_default().push(node);
        if ids.len() > MAX_IDS {
            // An ID of this node alone shows no relation, so it goes first. The last two IDs are
            // those of the current data.
            let is_exclusive = |id: &str| self.nodes.get(id).is_none_or(|nodes| nodes.len() < 2);
            let oldest = ids.iter().take(MAX_IDS - 1).position(|id| is_exclusive(id));
            if let Some(dropped) = ids.remove(oldest.unwrap_or_default()) {
                self.remove_owner(node, &dropped);
            }
        }
    }

    fn remove_owner(&mut self, node: NodeIndex, id: &str) {
        if let Some(nodes) = self.nodes.get_mut(id) {
            nodes.retain(|other| *other != node);
            if nodes.is_empty() {
                self.nodes.remove(id);
            }
        }
    }
}

/// Relations between the masters of one round. They are found by replication ID: most masters of a
/// large deployment share no history with any other one.
pub(crate) struct MasterRelations<'a> {
    lineage: &'a LineageTracker,
    /// In ascending order.
    masters: &'a [NodeIndex],
    /// The histories that masters continued, each with the master, in ascending order.
    continued: Vec<(&'a str, NodeIndex)>,
}

impl<'a> MasterRelations<'a> {
    /// Finds the relations between some masters, which must be in ascending order.
    pub(crate) fn new(lineage: &'a LineageTracker, masters: &'a [NodeIndex]) -> Self {
        let continued =
            masters.iter().filter_map(|master| Some((lineage.continued(*master)?, *master)));
        let mut continued: Vec<_> = continued.collect();
        continued.sort_unstable();
        MasterRelations { lineage, masters, continued }
    }

    /// Returns the histories of all nodes.
    pub(crate) fn lineage(&self) -> &'a LineageTracker {
        self.lineage
    }

    /// Returns the other masters that share a history with a master. One may appear several times.
    pub(crate) fn relatives(&self, master: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        self.lineage.relatives(master).filter(|other| self.is_master(*other))
    }

    /// Returns the other masters to whose data the history that a master continued belonged.
    pub(crate) fn predecessors(&self, master: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        let continued = self.lineage.continued(master);
        let holders = continued.map_or(&[][..], |id| self.lineage.holders(id)).iter().copied();
        holders.filter(move |other| *other != master && self.is_master(*other))
    }

    /// Returns the other masters that continued a history of a master.
    pub(crate) fn successors(&self, master: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        let successors = self.lineage.ids(master).flat_map(|id| {
            let first = self.continued.partition_point(|(continued, _)| *continued < id);
            self.continued[first..].iter().take_while(move |(continued, _)| *continued == id)
        });
        successors.map(|(_, other)| *other).filter(move |other| *other != master)
    }

    /// Returns true if another master took over from a master.
    pub(crate) fn is_succeeded(&self, master: NodeIndex) -> bool {
        self.successors(master).any(|other| self.lineage.succeeds(other, master))
    }

    fn is_master(&self, node: NodeIndex) -> bool {
        self.masters.binary_search(&node).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_ids_is_bounded() {
        let mut tracker = LineageTracker::default();
        for id in 0..1000 {
            tracker.restore(NodeIndex::new(id % 3), &format!("{id:040}"));
        }
        assert_eq!(
            (tracker.ids(NodeIndex::new(0)).count(), tracker.nodes.len()),
            (MAX_IDS, 3 * MAX_IDS)
        );
    }

    #[test]
    fn many_restarts_do_not_drop_a_shared_id() {
        let [first, second] = [0, 1].map(NodeIndex::new);
        let mut tracker = LineageTracker::default();
        tracker.restore(first, "shared");
        tracker.restore(second, "shared");
        for id in 0..20 {
            tracker.restore(first, &id.to_string());
        }
        assert!(tracker.related(first, second));
    }

    #[test]
    fn masters_are_related_by_their_histories() {
        let [old, new, other] = [0, 1, 2].map(NodeIndex::new);
        let mut tracker = LineageTracker::default();
        for (node, id) in [(old, "a"), (new, "a"), (new, "b"), (other, "c")] {
            tracker.restore(node, id);
        }
        tracker.restore_continued(new, "a");
        let masters = [old, new, other];
        let relations = MasterRelations::new(&tracker, &masters);
        let related = masters.map(|master| relations.relatives(master).collect::<Vec<_>>());
        assert_eq!(related, [vec![new], vec![old], vec![]]);
        assert_eq!(relations.successors(old).collect::<Vec<_>>(), [new]);
        assert_eq!(relations.predecessors(new).collect::<Vec<_>>(), [old]);
        assert_eq!(masters.map(|master| relations.is_succeeded(master)), [true, false, false]);
    }
}
