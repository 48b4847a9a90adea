//! Fact: which histories a node's data belonged to. Two masters that share one are one deployment in two parts; two that share none
//! are a mistake in the configuration.

use std::collections::{HashMap, VecDeque};

use snapshot::{NodeSnapshot, Replication};

use crate::node::process::ProcessChange;

/// The most replication ids that are remembered of one node. Each failover adds one.
const MAX_IDS: usize = 8;

/// What the fact remembers: the replication ids of each node, and of each id who had it.
#[derive(Debug, Default)]
pub(crate) struct LineageTracker {
    nodes: Vec<VecDeque<Box<str>>>,
    /// The nodes whose data belonged to an id.
    by: HashMap<Box<str>, Vec<usize>>,
}

impl LineageTracker {
    /// Takes up one answer of one node.
    pub(crate) fn observe(
        &mut self,
        node: usize,
        snapshot: &NodeSnapshot,
        succession: ProcessChange,
    ) {
        self.reserve(node);
        if succession == ProcessChange::Replaced {
            self.clear(node);
        }
        // The older of the two first, so that the order of first sight is that of their making.
        for id in
            [&snapshot.replication.replid2, &snapshot.replication.replid].into_iter().flatten()
        {
            self.add(node, id);
        }
    }

    /// Forgets what the node at a place had.
    pub(crate) fn clear(&mut self, node: usize) {
        while let Some(id) = self.nodes.get_mut(node).and_then(VecDeque::pop_front) {
            self.forget(node, &id);
        }
    }

    /// Takes up an id that a node had before the exporter started.
    pub(crate) fn remember(&mut self, node: usize, id: &str) {
        self.reserve(node);
        self.add(node, id);
    }

    /// The ids of a node's data, the last one first seen at the end.
    pub(crate) fn ids(&self, node: usize) -> impl Iterator<Item = &str> {
        self.nodes.get(node).into_iter().flatten().map(|id| &**id)
    }

    /// The other nodes that ever held data of a history of this one.
    pub(crate) fn relatives(&self, node: usize) -> impl Iterator<Item = usize> {
        self.ids(node)
            .filter_map(|id| self.by.get(id))
            .flatten()
            .copied()
            .filter(move |other| *other != node)
    }

    /// Whether two nodes ever held data of one history.
    pub(crate) fn related(&self, a: usize, b: usize) -> bool {
        self.relatives(a).any(|other| other == b)
    }

    /// Whether one master took over from another: the history that it continued was the other's, and the other did not continue a
    /// later one of its own.
    pub(crate) fn succeeds(
        &self,
        (node, new): (usize, &Replication),
        (other, old): (usize, &Replication),
    ) -> bool {
        let index = |of: usize, id: &str| self.ids(of).position(|own| own == id);
        let Some(mine) = new.replid2.as_deref().filter(|id| index(other, id).is_some()) else {
            return false;
        };
        let Some(theirs) = old.replid2.as_deref().filter(|id| index(node, id).is_some()) else {
            return true;
        };
        index(node, mine) > index(node, theirs)
    }

    fn reserve(&mut self, node: usize) {
        if self.nodes.len() <= node {
            self.nodes.resize_with(node + 1, VecDeque::new);
        }
    }

    fn add(&mut self, node: usize, id: &str) {
        if self.ids(node).any(|other| other == id) {
            return;
        }
        self.nodes[node].push_back(id.into());
        self.by.entry(id.into()).or_default().push(node);
        if self.nodes[node].len() > MAX_IDS {
            // What only this node had relates it to none, so that goes first; the last two are its own.
            let ids = self.nodes[node].iter().take(MAX_IDS - 1);
            let lonely = ids
                .map(|id| self.by.get(id).is_none_or(|by| by.len() < 2))
                .position(|lonely| lonely);
            if let Some(dropped) = self.nodes[node].remove(lonely.unwrap_or_default()) {
                self.forget(node, &dropped);
            }
        }
    }

    fn forget(&mut self, node: usize, id: &str) {
        if let Some(by) = self.by.get_mut(id) {
            by.retain(|by| *by != node);
            if by.is_empty() {
                self.by.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut memory = LineageTracker::default();
        for id in 0..1000 {
            memory.remember(id % 3, &format!("{id:040}"));
        }
        assert_eq!((memory.ids(0).count(), memory.by.len()), (MAX_IDS, 3 * MAX_IDS));
    }

    #[test]
    fn a_node_that_restarts_again_and_again_keeps_what_relates_it() {
        let mut memory = LineageTracker::default();
        memory.remember(0, "shared");
        memory.remember(1, "shared");
        for id in 0..20 {
            memory.remember(0, &id.to_string());
        }
        assert!(memory.related(0, 1));
    }
}
