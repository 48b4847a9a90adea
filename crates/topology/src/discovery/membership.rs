//! Fact: which nodes belong to a deployment whose nodes others name, Sentinels, the nodes of a cluster, or DNS: the union of what all of
//! them list, less the ghosts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use snapshot::{MasterReport, NodeSnapshot, Role, SentinelEntry};

use crate::discovery::addresses::AddressIndex;
use crate::discovery::cluster;
use crate::model::deployment::{Deployment, DeploymentKind, Discovery, Node, NodeKind, address};
use crate::model::node_names::is_address;
use crate::model::round::{ResolvedName, Round};
use crate::model::view::NodeView;
use crate::node::process::duplicate_processes;
use crate::node::state::{NodeState, is_absence};

/// The most nodes that are found of one deployment: as many as clusters can have.
const MAX_FOUND: usize = 1024;

/// Host names of addresses, as far as they were looked up: `None` where there is none.
pub type HostNames = BTreeMap<String, Option<String>>;

/// What the fact remembers: of each place, when a node was last listed there.
#[derive(Debug, Default)]
pub(crate) struct MembershipTracker {
    listed: Vec<Duration>,
    /// Addresses that nodes moved away from, until somebody else is there.
    left: Vec<String>,
}

/// What a round changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The deployment, if its nodes are others now.
    pub(crate) deployment: Option<Arc<Deployment>>,
    /// The places of nodes that are gone.
    pub(crate) gone: Vec<usize>,
    /// Those of them that were replicas, and that nobody lists any more: somebody took them away.
    pub(crate) removed: Vec<usize>,
    /// The places of nodes that are at another address now, perhaps under another name.
    pub(crate) moved: Vec<usize>,
    /// The places of the nodes that are listed now.
    pub(crate) listed: Vec<usize>,
    /// Addresses whose host names are needed.
    pub(crate) unnamed: Vec<String>,
    /// Addresses of nodes of a cluster that are listed, and failed long ago.
    pub(crate) ghosts: Vec<String>,
}

/// What Sentinels list and nobody can reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ghosts {
    /// Addresses of replicas.
    pub replicas: Vec<String>,
    /// Addresses of Sentinels.
    pub sentinels: Vec<String>,
}

/// A node that is listed.
struct ListedNodes<'a> {
    host: &'a str,
    port: u16,
    /// Its announced host name, where that is apart.
    hostname: Option<&'a str>,
    run_id: &'a str,
    /// Where it is already, as it said itself.
    index: Option<usize>,
    /// It is the master of one of them.
    master: bool,
    /// For how long all Sentinels that list it have held it to be down; `None` if one does not.
    down_for: Option<Duration>,
}

impl MembershipTracker {
    /// Takes up what the Sentinels say now, or the nodes of a cluster said last, or what names stand for.
    pub(crate) fn observe(
        &mut self,
        deployment: &Arc<Deployment>,
        nodes: &[NodeView],
        cluster: &mut cluster::ClusterTracker,
        round: &Round,
    ) -> Changes {
        let elapsed = round.elapsed;
        let mut changes = Changes::default();
        let Some(discovery) = &deployment.discovery else { return changes };
        let (is_cluster, is_dns) =
            (deployment.kind == DeploymentKind::Cluster, deployment.kind == DeploymentKind::Dns);
        if is_cluster {
            cluster.forget(discovery.forget_after);
        }
        let listed: Vec<_> = match deployment.kind {
            DeploymentKind::Cluster => in_maps(cluster, elapsed),
            DeploymentKind::Dns => behind_names(&round.resolved),
            DeploymentKind::Static | DeploymentKind::Sentinel => {
                listed(nodes, &discovery.master).into_values().collect()
            }
        };
        // Those that are there go first, and of two entries about one process the one with a host name gives the label.
        let mut entries: Vec<_> = listed.iter().collect();
        entries.sort_by_key(|node| (node.down_for.is_some(), is_address(node.host)));
        self.listed.resize(nodes.len(), elapsed);
        // A Sentinel that cannot see the master cannot find its replicas either.
        let tells = |report: &MasterReport| report.replicas.is_some() && !report.master.down();
        let told = match deployment.kind {
            DeploymentKind::Cluster | DeploymentKind::Dns => !listed.is_empty(),
            DeploymentKind::Static | DeploymentKind::Sentinel => {
                nodes.iter().filter_map(|node| report(node, discovery)).any(tells)
            }
        };
        if !told {
            // Nobody says anything: this is no evidence that somebody is gone.
            self.listed.fill(elapsed);
        }
        if is_dns {
            self.left.retain(|left| listed.iter().any(|node| mapped(discovery, node).1 == *left));
        }
        let mut seated: HashMap<&str, usize> = HashMap::new();
        let mut at: Vec<(String, usize)> = Vec::new();
        for node in entries {
            let (said, found) = mapped(discovery, node);
            let is_ghost =
                !node.master && node.down_for.is_some_and(|down| down > discovery.ghost_after);
            let deployment = Arc::clone(changes.deployment.as_ref().unwrap_or(deployment));
            let known = node.index.or_else(|| deployment.index(&found));
            let index = known
                .or_else(|| seated.get(node.run_id).copied())
                .or_else(|| of_run_id(nodes, node.run_id));
            // A node of a cluster keeps its id when it moves.
            let moved = node.index.filter(|index| {
                let is_elsewhere =
                    node.down_for.is_none() && deployment.nodes[*index].address != found;
                let is_free = deployment.index(&found).is_none_or(|other| other == *index);
                is_elsewhere
                    && is_free
                    && nodes.get(*index).is_some_and(is_gone)
                    && !deployment.is_configured(*index)
            });
            if let Some(index) = moved {
                self.listed[index] = elapsed;
                changes.listed.push(index);
                match named(node, discovery, &round.host_names) {
                    Some(name) => changes.relocate(&deployment, index, name, found),
                    None => changes.unnamed.push(node.host.to_owned()),
                }
                continue;
            }
            // Where a node was that moved, and where nobody is now.
            let left = (is_dns || node.down_for.is_some()) && self.left.contains(&found);
            if is_ghost && is_cluster {
                changes.ghosts.push(found.clone());
            }
            at.extend(index.filter(|_| is_cluster).map(|index| (node.run_id.to_owned(), index)));
            let droppable = |index: usize, changes: &Changes| {
                is_ghost
                    && !changes.listed.contains(&index)
                    && nodes.get(index).is_some_and(is_gone)
                    && !deployment.is_configured(index)
            };
            match index {
                Some(index) if droppable(index, &changes) => {
                    changes.gone.push(index);
                }
                Some(index) => {
                    self.listed[index] = elapsed;
                    changes.listed.push(index);
                    changes.also_at(&deployment, [found, said], index);
                }
                None if is_ghost || left || (deployment.found() >= MAX_FOUND && !node.master) => {}
                None => match named(node, discovery, &round.host_names) {
                    Some(name) => {
                        self.left.retain(|left| *left != found);
                        let index = self.seat(
                            &mut changes,
                            &deployment,
                            nodes,
                            name,
                            found.clone(),
                            node.down_for.is_none(),
                        );
                        if let (Some(index), Some(deployment)) = (index, changes.deployment.clone())
                        {
                            self.listed
                                .resize(deployment.nodes.len().max(self.listed.len()), elapsed);
                            self.listed[index] = elapsed;
                            changes.listed.push(index);
                            at.extend(is_cluster.then(|| (node.run_id.to_owned(), index)));
                            changes.also_at(&deployment, [found, said], index);
                            seated
                                .extend((!node.run_id.is_empty()).then_some((node.run_id, index)));
                        }
                    }
                    None => changes.unnamed.push(node.host.to_owned()),
                },
            }
        }
        drop(listed);
        for (id, index) in at {
            cluster.identify(index, &id);
        }
        self.drop_unlisted(&mut changes, deployment, discovery, nodes, elapsed);
        let duplicate_processes = if is_dns {
            duplicate_processes(
                nodes,
                (0..nodes.len()).filter(|index| !changes.gone.contains(index)),
            )
        } else {
            Vec::new()
        };
        changes.gone.extend(duplicate_processes.iter().map(|(_, second)| *second));
        if !changes.gone.is_empty() {
            let smaller =
                Arc::make_mut(changes.deployment.get_or_insert_with(|| Arc::clone(deployment)));
            changes.gone.iter().for_each(|index| smaller.vacate(*index));
            for (first, second) in duplicate_processes {
                smaller.alias(nodes[second].node.address.clone(), &nodes[first].node.address);
            }
        }
        changes
    }

    /// Those that nobody lists any more, for long enough, are gone.
    fn drop_unlisted(
        &self,
        changes: &mut Changes,
        deployment: &Deployment,
        discovery: &Discovery,
        nodes: &[NodeView],
        elapsed: Duration,
    ) {
        for (index, node) in
            nodes.iter().enumerate().filter(|(_, node)| node.node.kind == NodeKind::Data)
        {
            let unlisted = elapsed.saturating_sub(self.listed[index]);
            let forget_after = match deployment.kind {
                // What maps list is forgotten in time already.
                DeploymentKind::Cluster => Duration::ZERO,
                // A name that stood for nothing yet.
                DeploymentKind::Dns if is_unresolved(&node.node) => Duration::ZERO,
                _ => discovery.forget_after,
            };
            let lives = match deployment.kind {
                DeploymentKind::Cluster => false,
                // Names leave out what is not ready, which need not be gone.
                DeploymentKind::Dns => node.up() == Some(true),
                // A master that Sentinels forgot, and that still answers, is one that they will never demote.
                DeploymentKind::Static | DeploymentKind::Sentinel => {
                    node.role() == Some(Role::Master)
                }
            };
            let stays = lives || deployment.is_configured(index);
            if unlisted > forget_after && !stays && !changes.gone.contains(&index) {
                changes.gone.push(index);
                // Nobody takes a node away by letting it vanish.
                changes.removed.extend(
                    (was_replica(node) && deployment.kind != DeploymentKind::Dns).then_some(index),
                );
            }
        }
    }

    /// Gives a place to a node that is listed for the first time; `there` says that somebody holds it to be up.
    fn seat(
        &mut self,
        changes: &mut Changes,
        deployment: &Arc<Deployment>,
        nodes: &[NodeView],
        name: String,
        found: String,
        there: bool,
    ) -> Option<usize> {
        let mut deployment = Arc::clone(deployment);
        let larger = Arc::make_mut(&mut deployment);
        let holder = larger.nodes.iter().position(|node| node.name == name);
        let moved = |index: usize| {
            let of_data = larger.nodes[index].kind == NodeKind::Data;
            there
                && of_data
                && nodes.get(index).is_some_and(is_gone)
                && !changes.gone.contains(&index)
        };
        let index = match holder {
            // A node that moved: another process where the name is now.
            Some(index) if moved(index) => {
                if self.left.len() == MAX_FOUND {
                    self.left.remove(0);
                }
                self.left.push(larger.nodes[index].address.clone());
                larger.relocate(index, name, found);
                changes.moved.push(index);
                index
            }
            // Two nodes of one name are told apart by their addresses.
            Some(_) if larger.nodes.iter().any(|node| node.name == found) => return None,
            Some(_) => larger.seat(found.clone(), found),
            None => larger.seat(name, found),
        };
        changes.deployment = Some(deployment);
        Some(index)
    }
}

impl Changes {
    /// The node at a place is found at another address, which may give it another name.
    fn relocate(
        &mut self,
        deployment: &Arc<Deployment>,
        index: usize,
        name: String,
        found: String,
    ) {
        let larger = Arc::make_mut(self.deployment.get_or_insert_with(|| Arc::clone(deployment)));
        // Two nodes of one name are told apart by their addresses.
        let is_free = |name: &String| {
            larger
                .nodes
                .iter()
                .enumerate()
                .all(|(other, node)| other == index || node.name != *name)
        };
        if let Some(name) = [name, found.clone()].into_iter().find(is_free) {
            larger.relocate(index, name, found);
            self.moved.push(index);
        }
    }

    /// Makes these addresses known as those of the node at a place, where they are nobody's.
    fn also_at(&mut self, deployment: &Arc<Deployment>, addresses: [String; 2], index: usize) {
        for other in addresses {
            if deployment.index(&other).is_none() {
                let larger =
                    Arc::make_mut(self.deployment.get_or_insert_with(|| Arc::clone(deployment)));
                let known = larger.nodes[index].address.clone();
                larger.alias(other, &known);
            }
        }
    }
}

impl Ghosts {
    /// Those that all Sentinels which list them have held to be down for long, and that do not answer us either.
    pub(crate) fn find(
        nodes: &[NodeView],
        deployment: &Deployment,
        indices: &AddressIndex,
    ) -> Self {
        let Some(discovery) = &deployment.discovery else { return Ghosts::default() };
        let long = |down: Option<Duration>| down.is_some_and(|down| down > discovery.ghost_after);
        let is_node = |index: Option<usize>| {
            index.is_some_and(|index| nodes[index].node.kind != NodeKind::Vacant)
        };
        let replicas = listed(nodes, &discovery.master);
        let replicas = replicas
            .values()
            .filter(|node| !node.master && long(node.down_for))
            .map(|node| mapped(discovery, node).1);
        let mut sentinels: BTreeMap<String, bool> = BTreeMap::new();
        for report in nodes.iter().filter_map(|node| report(node, discovery)) {
            for sentinel in report.sentinels.iter().flat_map(|list| list.iter()) {
                let ghost = sentinels.entry(address(&sentinel.ip, sentinel.port)).or_insert(true);
                *ghost &= sentinel.down() && long(sentinel.down_for);
            }
        }
        // One that was configured is down, and has a finding of its own.
        let sentinels = sentinels
            .into_iter()
            .filter(|(at, ghost)| *ghost && !is_node(indices.at(deployment, at)));
        Ghosts {
            replicas: replicas.filter(|at| !is_node(indices.at(deployment, at))).collect(),
            sentinels: sentinels.map(|(at, _)| at).collect(),
        }
    }
}

/// What a Sentinel says of the deployment's master.
pub(crate) fn report<'a>(node: &'a NodeView, discovery: &Discovery) -> Option<&'a MasterReport> {
    if !matches!(node.node.kind, NodeKind::Sentinel { .. }) {
        return None;
    }
    node.snapshot()
        .and_then(|snapshot: &NodeSnapshot| snapshot.sentinel.as_ref())?
        .master(&discovery.master)
}

/// The nodes that any Sentinel lists, by address.
fn listed<'a>(nodes: &'a [NodeView], master: &str) -> BTreeMap<(&'a str, u16), ListedNodes<'a>> {
    let mut all: BTreeMap<(&str, u16), ListedNodes<'_>> = BTreeMap::new();
    let sentinels = nodes.iter().filter(|node| matches!(node.node.kind, NodeKind::Sentinel { .. }));
    for report in sentinels.filter_map(|node| node.snapshot()?.sentinel.as_ref()?.master(master)) {
        // One that cannot see the master may well be the one that is cut off.
        let believed = !report.master.down();
        let mut add = |watched: &'a SentinelEntry, master: bool| {
            let down_for = watched.down_for.filter(|_| believed && watched.down());
            let key = (&*watched.ip, watched.port);
            let first = ListedNodes {
                host: &watched.ip,
                port: watched.port,
                hostname: None,
                run_id: "",
                index: None,
                master,
                down_for,
            };
            let known = all.entry(key).or_insert(first);
            known.master |= master;
            known.down_for = known.down_for.zip(down_for).map(|(one, other)| one.min(other));
            if known.run_id.is_empty() {
                known.run_id = &watched.run_id;
            }
        };
        add(&report.master, true);
        report.replicas.iter().flat_map(|list| list.iter()).for_each(|replica| add(replica, false));
    }
    all
}

/// The nodes that maps of a cluster list.
fn in_maps(cluster: &cluster::ClusterTracker, elapsed: Duration) -> Vec<ListedNodes<'_>> {
    let reachable = cluster.known().filter(|(_, known)| !known.host.is_empty() && known.port > 0);
    reachable
        .map(|(id, known)| ListedNodes {
            host: &known.host,
            port: known.port,
            hostname: known.hostname.as_deref(),
            run_id: id,
            index: cluster.index(id),
            master: false,
            down_for: known.failed.map(|failed| elapsed.saturating_sub(failed)),
        })
        .collect()
}

/// The nodes at the addresses that names stand for. A name that stood for none yet is itself a node that nobody can reach.
fn behind_names(resolved: &[ResolvedName]) -> Vec<ListedNodes<'_>> {
    let at = |host, port| ListedNodes {
        host,
        port,
        hostname: None,
        run_id: "",
        index: None,
        master: false,
        down_for: None,
    };
    let all = resolved.iter().flat_map(|name| {
        let addresses = name.addresses.as_deref().unwrap_or(std::slice::from_ref(&name.host));
        addresses.iter().map(move |address| at(address, name.port))
    });
    all.collect()
}

/// The node stands for a name of which no address is known.
pub(crate) fn is_unresolved(node: &Node) -> bool {
    let host = node.address.rsplit_once(':').map_or("", |(host, _)| host);
    !is_address(host.trim_matches(['[', ']']))
}

/// Where a node that is listed is said to be, and where to reach it.
fn mapped(discovery: &Discovery, node: &ListedNodes<'_>) -> (String, String) {
    let said = address(node.host, node.port);
    let found = discovery.address_map.get(&said).unwrap_or(&said).clone();
    (said, found)
}

/// The label of a node that is listed; `None` while its host name is not known.
fn named(node: &ListedNodes<'_>, discovery: &Discovery, names: &HostNames) -> Option<String> {
    if !discovery.names.needs_name() || !is_address(node.host) || node.hostname.is_some() {
        return Some(discovery.names.label(node.host, node.hostname, node.port));
    }
    let name = names.get(node.host)?;
    Some(discovery.names.label(node.host, name.as_deref(), node.port))
}

/// The node that answers with a run id: Sentinels may know it by another address than we do.
fn of_run_id(nodes: &[NodeView], run_id: &str) -> Option<usize> {
    let is = |node: &NodeView| {
        node.snapshot().and_then(|snapshot| snapshot.identity.run_id.as_deref()) == Some(run_id)
    };
    nodes.iter().position(|node| !run_id.is_empty() && node.node.kind == NodeKind::Data && is(node))
}

fn is_gone(node: &NodeView) -> bool {
    matches!(node.presence, NodeState::Down { reason, .. } if is_absence(reason))
}

/// It was a replica when it last answered.
fn was_replica(node: &NodeView) -> bool {
    node.last.as_ref().and_then(|last| last.replication.role) == Some(Role::Replica)
}
