//! Tracker of the members of a deployment whose nodes are discovered: the nodes that any Sentinel,
//! cluster map or DNS name lists, without the ghosts.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use snapshot::Role;

use crate::discovery::cluster::ClusterTracker;
use crate::discovery::sources::{ListedAddresses, ListedNode, NodeSource, node_source};
use crate::discovery::succession::{Succession, SuccessionTracker};
use crate::model::deployment::{Deployment, DeploymentKind, Discovery, NodeKind};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::node_names::is_address;
use crate::model::round::Round;
use crate::node::process::DuplicateProcess;

/// The largest number of stored addresses that nodes moved away from.
const MAX_OLD_ADDRESSES: usize = 1024;

/// Tracks the members of a deployment.
#[derive(Debug, Default)]
pub(crate) struct MembershipTracker {
    /// Monotonic time at which each node was last listed.
    last_listed: NodeVec<Monotonic>,
    /// Addresses that nodes moved away from, as long as no other node uses them.
    old_addresses: Vec<String>,
    succession: SuccessionTracker,
    /// Configured cluster nodes that the cluster listed at the configured IP addresses.
    listed_as_configured: BTreeSet<NodeIndex>,
    /// Member that joined as the listed master although the group of Sentinels had as many nodes as
    /// its limit permits, as long as the group has no room.
    beyond_group: Option<NodeIndex>,
}

/// Changes of the membership in one round.
#[derive(Debug, Default)]
pub(crate) struct MembershipChanges {
    /// The deployment with its new nodes, if they changed.
    pub(crate) deployment: Option<Arc<Deployment>>,
    /// Nodes that left.
    pub(crate) gone: Vec<NodeIndex>,
    /// Replicas among them that were removed on purpose.
    pub(crate) removed: Vec<NodeIndex>,
    /// Nodes that have another address now, and possibly another name.
    pub(crate) moved: Vec<NodeIndex>,
    /// Nodes that are listed in this round, in ascending order.
    pub(crate) listed: Vec<NodeIndex>,
    /// IP addresses whose host names are needed.
    pub(crate) unnamed: Vec<String>,
    /// Addresses of cluster nodes that are listed as failed for longer than `ghost_after`.
    pub(crate) ghosts: Vec<String>,
    /// Listed nodes that exceed the limit of nodes.
    pub(crate) excess: usize,
    /// Listed nodes that exceed the limit of nodes of a group of Sentinels.
    pub(crate) excess_of_group: usize,
}

impl MembershipTracker {
    /// Processes the lists of one round.
    pub(crate) fn observe(
        &mut self,
        deployment: &Arc<Deployment>,
        nodes: &NodeVec<NodeView>,
        cluster: &mut ClusterTracker,
        round: &Round,
    ) -> MembershipChanges {
        let Some(discovery) = &deployment.discovery else { return MembershipChanges::default() };
        if deployment.kind == DeploymentKind::Cluster {
            cluster.forget(discovery.forget_after, nodes, deployment.interval);
        }
        self.last_listed.grow(nodes.len(), || round.now);
        let source = node_source(deployment, nodes, discovery, cluster, round);
        let data_nodes_before = deployment.data_node_count();
        if round.nodes_left != Some(0) {
            self.beyond_group = None;
        }
        let mut update = MembershipUpdate {
            tracker: self,
            deployment,
            changed: None,
            discovery,
            nodes,
            round,
            source: &*source,
            processes: OnceCell::new(),
            joined: BTreeSet::new(),
            joined_processes: HashMap::new(),
            named: HashSet::new(),
            listed: BTreeSet::new(),
            alive: HashSet::new(),
            identified: Vec::new(),
            data_nodes_before,
            changes: MembershipChanges::default(),
        };
        update.process_list();
        update.drop_succeeded();
        update.drop_unlisted();
        update.drop_duplicates();
        let MembershipUpdate { changed, identified, listed, mut changes, .. } = update;
        changes.listed = listed.into_iter().collect();
        changes.deployment = changed.map(Arc::new);
        let identified: Vec<_> =
            identified.into_iter().map(|(id, index)| (id.to_owned(), index)).collect();
        drop(source);
        for (id, index) in identified {
            cluster.identify(index, &id);
        }
        changes
    }
}

impl MembershipTracker {
    /// Returns the addresses that nodes moved away from.
    pub(crate) fn old_addresses(&self) -> &[String] {
        &self.old_addresses
    }

    /// Restores the addresses that nodes moved away from.
    pub(crate) fn restore(&mut self, old_addresses: Vec<String>) {
        self.old_addresses = old_addresses;
    }

    fn add_old_address(&mut self, address: String) {
        if self.old_addresses.len() == MAX_OLD_ADDRESSES {
            self.old_addresses.remove(0);
        }
        self.old_addresses.push(address);
    }
}

/// One round of a [`MembershipTracker`].
struct MembershipUpdate<'a> {
    tracker: &'a mut MembershipTracker,
    /// The deployment before the round.
    deployment: &'a Deployment,
    /// The deployment after the changes so far.
    changed: Option<Deployment>,
    discovery: &'a Discovery,
    nodes: &'a NodeVec<NodeView>,
    round: &'a Round,
    source: &'a dyn NodeSource,
    /// The first data node that replies with each `run_id`; empty until it is needed.
    processes: OnceCell<HashMap<&'a str, NodeIndex>>,
    /// Data nodes that joined in this round.
    joined: BTreeSet<NodeIndex>,
    /// Nodes that joined in this round, by `run_id`.
    joined_processes: HashMap<&'a str, NodeIndex>,
    /// Members that are listed as the master.
    named: HashSet<NodeIndex>,
    /// Nodes that are listed so far in this round.
    listed: BTreeSet<NodeIndex>,
    /// Nodes that the source considers alive at their addresses.
    alive: HashSet<NodeIndex>,
    /// Cluster IDs and the members at their addresses.
    identified: Vec<(&'a str, NodeIndex)>,
    /// Number of data nodes before the round.
    data_nodes_before: usize,
    changes: MembershipChanges,
}

impl<'a> MembershipUpdate<'a> {
    fn current(&self) -> &Deployment {
        self.changed.as_ref().unwrap_or(self.deployment)
    }

    fn change(&mut self) -> &mut Deployment {
        self.changed.get_or_insert_with(|| self.deployment.clone())
    }

    fn process_list(&mut self) {
        let mut listed = self.source.listed();
        if !self.source.is_current(&listed) {
            self.tracker.last_listed.fill(self.round.now);
        }
        if self.source.lists_old_addresses() {
            let addresses: HashSet<_> =
                listed.iter().map(|node| node.addresses(self.discovery).reachable).collect();
            self.tracker.old_addresses.retain(|old| addresses.contains(old));
        }
        // Nodes that are up go first. Of two entries for one process, the one with a host name
        // gives the label.
        listed.sort_by_key(|node| (node.down_for.is_some(), is_address(node.host)));
        for node in listed.iter().filter(|node| node.master) {
            let index = self.known_node(*node, &node.addresses(self.discovery));
            self.named.extend(index);
        }
        for node in listed {
            self.process_node(node);
        }
        // A former master that left for another one may be listed as a replica.
        let gone = self.gone();
        self.listed.retain(|index| !gone.contains(index));
    }

    fn process_node(&mut self, node: ListedNode<'a>) {
        let addresses = node.addresses(self.discovery);
        if let Some(index) = self.moved_node(node, &addresses) {
            self.mark_listed(index);
            match self.label_at(index, node) {
                Some(name) => self.relocate(index, name, addresses.reachable),
                None => self.changes.unnamed.push(node.host.to_owned()),
            }
            return;
        }
        let is_ghost = self.is_ghost(node);
        if is_ghost && node.cluster_id.is_some() {
            self.changes.ghosts.push(addresses.reachable.clone());
        }
        match self.known_node(node, &addresses) {
            Some(index) => {
                self.alive.extend(node.alive.then_some(index));
                self.identified.extend(node.cluster_id.map(|id| (id, index)));
                self.compare_configured(index, &addresses);
                if is_ghost && self.may_drop(index) {
                    self.changes.gone.push(index);
                } else {
                    self.mark_listed(index);
                    self.add_aliases(addresses, index);
                }
            }
            None if is_ghost || self.is_old_address(node, &addresses) => {}
            None if self.is_full(node.master) => self.changes.excess += 1,
            None if self.is_group_full(node.master) => self.changes.excess_of_group += 1,
            None => match node.label(self.discovery, &self.round.host_names) {
                Some(name) => self.add_node(node, name, addresses),
                None => self.changes.unnamed.push(node.host.to_owned()),
            },
        }
    }

    /// Returns true if the deployment has as many data nodes as the limit permits. One master more
    /// may join: without it there is no primary after a failover to a node beyond the limit.
    fn is_full(&self, master: bool) -> bool {
        self.data_nodes() >= self.deployment.node_limit() + usize::from(master)
    }

    /// Returns the number of data nodes with those that joined so far.
    fn data_nodes(&self) -> usize {
        self.data_nodes_before + self.joined.len()
    }

    /// Returns true if the deployments of the group have as many data nodes as the limit permits.
    /// One master of each deployment may join nevertheless.
    fn is_group_full(&self, master: bool) -> bool {
        let is_taken = || self.tracker.beyond_group.is_some_and(|node| self.named.contains(&node));
        self.has_group_limit_reached() && (!master || is_taken())
    }

    fn has_group_limit_reached(&self) -> bool {
        self.round.nodes_left.is_some_and(|left| self.joined.len() >= left)
    }

    fn mark_listed(&mut self, index: NodeIndex) {
        let now = self.round.now;
        self.tracker.last_listed.grow(index.get() + 1, || now);
        self.tracker.last_listed[index] = now;
        self.listed.insert(index);
    }

    /// Returns true if all sources have listed the node as down for longer than `ghost_after`.
    fn is_ghost(&self, node: ListedNode<'_>) -> bool {
        !node.master && node.down_for.is_some_and(|down| down > self.discovery.ghost_after)
    }

    /// Returns true if a discovered node does not reply to Rolecall either and is not listed at
    /// another address.
    fn may_drop(&self, index: NodeIndex) -> bool {
        !self.listed.contains(&index)
            && self.nodes.get(index).is_some_and(NodeView::is_absent)
            && !self.deployment.is_configured(index)
    }

    /// Returns the member that a listed node is: by cluster ID, address or `run_id`. Sentinels may
    /// list a node under another address than Rolecall uses.
    fn known_node(&self, node: ListedNode<'_>, addresses: &ListedAddresses) -> Option<NodeIndex> {
        node.index
            .or_else(|| self.current().index(&addresses.reachable))
            .or_else(|| self.joined_processes.get(node.run_id).copied())
            .or_else(|| self.with_run_id(node.run_id))
    }

    /// Returns the data node that replies with a `run_id`.
    fn with_run_id(&self, run_id: &str) -> Option<NodeIndex> {
        let processes = || {
            let mut processes = HashMap::new();
            let is_data = |node: &NodeView| node.node.kind == NodeKind::Data;
            for (index, node) in self.nodes.iter().filter(|(_, node)| is_data(node)) {
                if let Some(run_id) = node.run_id() {
                    processes.entry(run_id).or_insert(index);
                }
            }
            processes
        };
        // Without a `run_id`, the list of the source does not tell the process.
        let is_known = !run_id.is_empty();
        is_known.then(|| self.processes.get_or_init(processes).get(run_id).copied())?
    }

    /// Returns the member that a cluster node with another address is: it keeps its ID.
    fn moved_node(&self, node: ListedNode<'_>, addresses: &ListedAddresses) -> Option<NodeIndex> {
        let index = node.index?;
        let (deployment, address) = (self.current(), &addresses.reachable);
        let moved = node.down_for.is_none() && deployment.nodes[index].address != *address;
        let is_free = deployment.index(address).is_none_or(|other| other == index);
        let is_silent = self.nodes.get(index).is_some_and(NodeView::is_silent);
        (moved && is_free && is_silent && self.may_move(index)).then_some(index)
    }

    /// Returns true if a node is not bound to its address. A configured host name leads to the new
    /// address of the node. A configured IP address does not, unless the cluster never listed it:
    /// then it is translated on the way.
    fn may_move(&self, index: NodeIndex) -> bool {
        !self.deployment.is_configured(index) || self.tracker.listed_as_configured.contains(&index)
    }

    /// Records if the cluster lists a configured node that replies at its configured address.
    fn compare_configured(&mut self, index: NodeIndex, addresses: &ListedAddresses) {
        let (host, _) = addresses.reachable.rsplit_once(':').unwrap_or_default();
        let is_configured = self.deployment.is_configured(index)
            && is_address(host.trim_matches(['[', ']']))
            && self.nodes.get(index).is_some_and(|node| node.polling.failing.is_none());
        if is_configured && self.current().nodes[index].address == addresses.reachable {
            self.tracker.listed_as_configured.insert(index);
        }
    }

    /// Returns the label of a node at another address. A configured name stays.
    fn label_at(&self, index: NodeIndex, listed: ListedNode<'_>) -> Option<String> {
        let node = &self.current().nodes[index];
        if self.deployment.is_configured(index) && node.name != node.address {
            return Some(node.name.clone());
        }
        listed.label(self.discovery, &self.round.host_names)
    }

    /// Returns true if a node moved away from this address and none has replaced it.
    fn is_old_address(&self, node: ListedNode<'_>, addresses: &ListedAddresses) -> bool {
        (self.source.lists_old_addresses() || node.down_for.is_some() || !node.alive)
            && self.tracker.old_addresses.contains(&addresses.reachable)
    }

    /// Changes the address of a member, and its name if the new one is free. A second node of
    /// one name has its address as name.
    fn relocate(&mut self, index: NodeIndex, name: String, address: String) {
        let is_free = |name: &String| {
            let mut nodes = self.current().nodes.iter();
            nodes.all(|(other, node)| other == index || node.name != *name)
        };
        if let Some(name) = [name, address.clone()].into_iter().find(is_free) {
            self.change().relocate(index, name, address);
            self.changes.moved.push(index);
        }
    }

    fn add_node(&mut self, node: ListedNode<'a>, name: String, addresses: ListedAddresses) {
        let address = &addresses.reachable;
        self.tracker.old_addresses.retain(|old| old != address);
        let (is_beyond_group, before) = (self.has_group_limit_reached(), self.joined.len());
        let Some(index) = self.assign(name, address.clone(), node.down_for.is_none()) else {
            return;
        };
        if is_beyond_group && self.joined.len() > before {
            // It takes the place of the former master beyond the limit.
            self.changes.gone.extend(self.tracker.beyond_group.replace(index));
            self.named.insert(index);
        }
        self.tracker.succession.join(index, self.round.now);
        self.mark_listed(index);
        self.identified.extend(node.cluster_id.map(|id| (id, index)));
        self.add_aliases(addresses, index);
        if !node.run_id.is_empty() {
            self.joined_processes.insert(node.run_id, index);
        }
    }

    /// Assigns an index to a node that is listed for the first time: that of a member of the same
    /// name that moved to this address, or a new one. `is_up` is false if a source lists the node
    /// as down.
    fn assign(&mut self, name: String, address: String, is_up: bool) -> Option<NodeIndex> {
        let deployment = self.current();
        let namesake = deployment.nodes.position(|node| node.name == name);
        let has_moved = |index: NodeIndex| {
            is_up
                && deployment.nodes[index].kind == NodeKind::Data
                && self.nodes.get(index).is_some_and(NodeView::is_absent)
                && !self.changes.gone.contains(&index)
        };
        match namesake {
            Some(index) if has_moved(index) => {
                let old = deployment.nodes[index].address.clone();
                self.tracker.add_old_address(old);
                self.change().relocate(index, name, address);
                self.changes.moved.push(index);
                Some(index)
            }
            // A second node of one name has its address as name.
            Some(_) if deployment.nodes.values().any(|node| node.name == address) => None,
            Some(_) => Some(self.assign_new(address.clone(), address)),
            None => Some(self.assign_new(name, address)),
        }
    }

    fn assign_new(&mut self, name: String, address: String) -> NodeIndex {
        let index = self.change().assign(name, address);
        self.joined.insert(index);
        index
    }

    /// Adds the addresses of a member that no other node has.
    fn add_aliases(&mut self, addresses: ListedAddresses, index: NodeIndex) {
        for alias in [addresses.reachable, addresses.listed] {
            if self.current().index(&alias).is_none() {
                let known = self.current().nodes[index].address.clone();
                self.change().alias(alias, &known);
            }
        }
    }

    /// Drops the dead nodes whose place another process took. Sentinels go on listing their
    /// addresses.
    fn drop_succeeded(&mut self) {
        if !self.source.has_successions() {
            return;
        }
        let gone = self.gone();
        let may_leave = self.nodes.indices().filter(|index| {
            let is_free = !self.alive.contains(index) && !gone.contains(index);
            is_free && !self.deployment.is_configured(*index) && self.nodes[*index].is_absent()
        });
        let may_leave: Vec<_> = may_leave.collect();
        let tracker = &mut *self.tracker;
        let successions =
            tracker.succession.observe(self.nodes, may_leave.into_iter(), self.round.now);
        for Succession { dead, .. } in successions {
            tracker.add_old_address(self.deployment.nodes[dead].address.clone());
            self.changes.gone.push(dead);
        }
    }

    /// Drops discovered nodes that have not been listed for longer than `forget_after`. Of those
    /// that the source would keep, as many leave as exceed the limit of nodes.
    fn drop_unlisted(&mut self) {
        let gone = self.gone();
        let remaining = self.data_nodes().saturating_sub(gone.len());
        let mut excess = remaining.saturating_sub(self.deployment.node_limit());
        for (index, node) in self.nodes.iter() {
            let unlisted = self.round.now.since(self.tracker.last_listed[index]);
            let is_excess = excess > 0 || self.tracker.beyond_group == Some(index);
            let stays = node.node.kind != NodeKind::Data
                || (self.source.keeps_unlisted(node) && !is_excess)
                || self.deployment.is_configured(index)
                || gone.contains(&index);
            if unlisted > self.source.forget_after(node, self.discovery) && !stays {
                excess = excess.saturating_sub(1);
                self.changes.gone.push(index);
                if self.source.removes_on_purpose() && node.last_role() == Some(Role::Replica) {
                    self.changes.removed.push(index);
                }
            }
        }
    }

    /// Returns the nodes that leave in this round, as far as they are known.
    fn gone(&self) -> HashSet<NodeIndex> {
        self.changes.gone.iter().copied().collect()
    }

    fn drop_duplicates(&mut self) {
        let gone = self.gone();
        let remaining = self.nodes.indices().filter(|index| !gone.contains(index)).collect();
        let duplicates = self.source.duplicates(remaining);
        self.changes.gone.extend(duplicates.iter().map(|duplicate| duplicate.second));
        for index in self.changes.gone.clone() {
            self.tracker.succession.clear(index);
            self.tracker.beyond_group.take_if(|beyond| *beyond == index);
        }
        if !self.changes.gone.is_empty() {
            let gone = self.gone();
            self.change().remove(&gone);
        }
        for DuplicateProcess { first, second } in duplicates {
            let [known, alias] = [first, second].map(|index| &self.nodes[index].node.address);
            self.change().alias(alias, known);
        }
    }
}
