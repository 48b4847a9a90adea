//! Fact: which histories a node's data belonged to. Two masters that share one are one deployment in two parts; two that share none
//! are a mistake in the configuration.

use std::collections::{HashMap, VecDeque};

use snapshot::{NodeSnapshot, Replication};

use crate::process::Succession;

/// The most replication ids that are remembered of one node. Each failover adds one.
const MAX_IDS: usize = 8;

/// What the fact remembers: the replication ids of each node, and of each id who had it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    nodes: Vec<VecDeque<Box<str>>>,
    ids: HashMap<Box<str>, Seen>,
    rounds: u64,
}

/// What is known of one replication id.
#[derive(Debug)]
struct Seen {
    /// The round of first sight.
    round: u64,
    /// The nodes whose data belonged to it.
    by: Vec<usize>,
}

impl Memory {
    /// Begins a round.
    pub(crate) fn next_round(&mut self) {
        self.rounds += 1;
    }

    /// Takes up one answer of one node.
    pub(crate) fn apply(&mut self, node: usize, snapshot: &NodeSnapshot, succession: Succession) {
        self.reserve(node);
        if succession == Succession::Replaced {
            while let Some(id) = self.nodes[node].pop_front() {
                self.forget(node, &id);
            }
        }
        for id in [&snapshot.replication.replid2, &snapshot.replication.replid].into_iter().flatten() {
            self.add(node, id);
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
        self.ids(node).filter_map(|id| self.ids.get(id)).flat_map(|seen| &seen.by).copied().filter(move |other| *other != node)
    }

    /// Whether two nodes ever held data of one history.
    pub(crate) fn related(&self, a: usize, b: usize) -> bool {
        self.relatives(a).any(|other| other == b)
    }

    /// Whether one master took over from another: the history that it continued was the other's, and the other did not continue a
    /// later one of its own.
    pub(crate) fn succeeds(&self, (node, new): (usize, &Replication), (other, old): (usize, &Replication)) -> bool {
        let continued = |of: &Replication, by: usize| {
            let seen = self.ids.get(of.replid2.as_deref()?)?;
            seen.by.contains(&by).then_some(seen.round)
        };
        match (continued(new, other), continued(old, node)) {
            (Some(mine), Some(theirs)) => mine > theirs,
            (Some(_), None) => true,
            _ => false,
        }
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
        let round = self.rounds;
        self.ids.entry(id.into()).or_insert_with(|| Seen { round, by: Vec::new() }).by.push(node);
        if self.nodes[node].len() > MAX_IDS
            && let Some(oldest) = self.nodes[node].pop_front()
        {
            self.forget(node, &oldest);
        }
    }

    fn forget(&mut self, node: usize, id: &str) {
        if let Some(seen) = self.ids.get_mut(id) {
            seen.by.retain(|by| *by != node);
            if seen.by.is_empty() {
                self.ids.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut memory = Memory::default();
        for id in 0..1000 {
            memory.remember(id % 3, &format!("{id:040}"));
        }
        assert_eq!((memory.ids(0).count(), memory.ids.len()), (MAX_IDS, 3 * MAX_IDS));
    }
}
