//! Nodes that cluster maps list.

use std::collections::HashSet;
use std::time::Duration;

use snapshot::{ClusterMap, ClusterNode};

use super::{ClusterTracker, MAPS_IN_TURN};
use crate::limits::LISTS_SETTLE_WITHIN;
use crate::model::copying::copy_changed;
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};

/// Lines of a map that were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MapExcess {
    /// Lines about more nodes than the limit.
    pub(crate) nodes: usize,
    /// Lines with a name that is too long.
    pub(crate) names: usize,
}

/// A node that cluster maps list.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownNode {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) hostname: Option<Box<str>>,
    /// Another node listed this one at its address.
    is_reached: bool,
    pub(super) epoch: u64,
    pub(super) slots: Vec<(u16, u16)>,
    /// Cluster ID of the master of a replica.
    pub(super) master: Option<Box<str>>,
    /// Monotonic time at which the map of another node last listed this one.
    last_listed: Monotonic,
    /// Monotonic time since which the node is listed as failed.
    pub(crate) failed_since: Option<Monotonic>,
    /// Other nodes list this one as a master.
    pub(super) master_to_others: Option<bool>,
    /// The setting `cluster-replica-no-failover`.
    no_failover: bool,
}

impl ClusterTracker {
    /// Merges a map into the known nodes. Returns the lines that were left out.
    pub(super) fn merge_map(
        &mut self,
        map: &ClusterMap,
        limit: usize,
        now: Monotonic,
    ) -> MapExcess {
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
            match self.known.get_mut(&node.id) {
                Some(known) if node.epoch >= known.epoch || node.is("myself") => {
                    let is_failed = ["myself", "fail", "fail?"].iter().any(|flag| node.is(flag));
                    if known.failed_since.is_some() && !is_failed {
                        self.returned.push(node.id.clone());
                    }
                    self.outdated |= known.update(node, now);
                }
                Some(known) => known.last_listed = now,
                None => {
                    self.known.insert(node.id.clone(), KnownNode::new(node, now));
                    self.outdated = true;
                }
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

    /// Returns the listed nodes by their cluster IDs.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&str, &KnownNode)> {
        self.known.iter().map(|(id, known)| (&**id, known))
    }

    /// Returns true if a member never takes over the slots of its master
    /// (`cluster-replica-no-failover`).
    pub(crate) fn has_failover_disabled(&self, index: NodeIndex) -> bool {
        let known = self.id(index).and_then(|id| self.known.get(id));
        known.is_some_and(|known| known.no_failover)
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

    /// Returns true if maps list a node with this cluster ID.
    pub(crate) fn is_known(&self, id: &str) -> bool {
        self.known.contains_key(id)
    }
}

impl KnownNode {
    /// Creates a node from the first entry about it.
    fn new(node: &ClusterNode, now: Monotonic) -> Self {
        let mut known = KnownNode { last_listed: now, ..KnownNode::default() };
        known.update(node, now);
        known
    }

    /// Adds an entry of a map. Returns true if it changes the slots, their epoch or the master.
    fn update(&mut self, node: &ClusterNode, now: Monotonic) -> bool {
        let is_own = node.is("myself");
        // A node that moved may report its old address for itself, and a node that has not met
        // another one reports none. The other nodes know the address at which they reach it.
        if !is_own || !self.is_reached {
            copy_changed(&mut self.host, &node.host);
        }
        self.port = node.port;
        copy_changed(&mut self.hostname, &node.hostname);
        self.no_failover = node.is("nofailover");
        self.failed_since = node.is("fail").then(|| self.failed_since.unwrap_or(now));
        if !is_own {
            self.is_reached = true;
            self.master_to_others = Some(node.is("master"));
            // A node always lists itself, which says nothing about its membership.
            self.last_listed = now;
        }
        let slots = if node.is("master") { node.slots.as_slice() } else { &[] };
        let has_changed =
            (self.slots.as_slice(), self.epoch, &self.master) != (slots, node.epoch, &node.master);
        if has_changed {
            slots.clone_into(&mut self.slots);
            self.epoch = node.epoch;
            self.master.clone_from(&node.master);
        }
        has_changed
    }
}
