//! Nodes that cluster maps list.

use std::collections::HashSet;
use std::time::Duration;

use snapshot::{ClusterMap, ClusterNode};

use super::{ClusterTracker, MAPS_IN_TURN};
use crate::limits::LISTS_SETTLE_WITHIN;
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
#[derive(Debug, Clone)]
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
