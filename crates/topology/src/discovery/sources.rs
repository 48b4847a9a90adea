//! Sources of membership: Sentinels, cluster maps and DNS names list the nodes of a deployment.

use std::collections::BTreeMap;
use std::time::Duration;

use snapshot::{MasterReport, Role, SentinelEntry};

use crate::discovery::cluster::ClusterTracker;
use crate::discovery::succession::is_dispensable;
use crate::limits::{LISTS_SETTLE_WITHIN, SENTINEL_HEARD_WITHIN};
use crate::model::deployment::{Deployment, DeploymentKind, Discovery, Node, NodeKind, address};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::node_names::is_address;
use crate::model::round::{HostNames, ResolvedName, Round};
use crate::node::process::{DuplicateProcess, duplicate_processes};

/// A node that a source lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListedNode<'a> {
    /// Host name or IP address, as listed.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Announced host name, if `host` is an IP address.
    pub(crate) hostname: Option<&'a str>,
    /// The `run_id` that Sentinels list; empty if it is unknown.
    pub(crate) run_id: &'a str,
    /// Node ID in the cluster.
    pub(crate) cluster_id: Option<&'a str>,
    /// Index of the member that reported this cluster ID.
    pub(crate) index: Option<NodeIndex>,
    /// A Sentinel lists the node as the master.
    pub(crate) master: bool,
    /// Time for which the node has been down according to all sources that list it; `None` if one
    /// of them does not consider it down.
    pub(crate) down_for: Option<Duration>,
    /// A source considers the node alive at this address.
    pub(crate) alive: bool,
}

/// Addresses of a listed node.
pub(crate) struct ListedAddresses {
    /// Address as listed, `host:port`.
    pub(crate) listed: String,
    /// Address to connect to: the listed one, or its entry in the address map.
    pub(crate) reachable: String,
}

/// Rules of one kind of deployment for the membership of its nodes.
pub(crate) trait NodeSource {
    /// Returns the nodes that the source lists now.
    fn listed(&self) -> Vec<ListedNode<'_>>;

    /// Returns true if nodes that are missing in this list may have left. Without a current list
    /// no node is forgotten.
    fn is_current(&self, listed: &[ListedNode<'_>]) -> bool {
        !listed.is_empty()
    }

    /// Returns the time after which a node that is not listed leaves.
    fn forget_after(&self, node: &NodeView, discovery: &Discovery) -> Duration;

    /// Returns true if a node stays although the source does not list it.
    fn keeps_unlisted(&self, node: &NodeView) -> bool;

    /// Returns true if an unlisted replica was removed on purpose, so that it is not missed.
    fn removes_on_purpose(&self) -> bool {
        true
    }

    /// Returns true if the source lists the old address of a moved node for a while without
    /// marking it as down.
    fn lists_old_addresses(&self) -> bool {
        false
    }

    /// Returns true if a node may return at another address without any sign of its identity.
    fn has_successions(&self) -> bool {
        false
    }

    /// Returns the members among `remaining` whose addresses lead to one process.
    fn duplicates(&self, _remaining: Vec<NodeIndex>) -> Vec<DuplicateProcess> {
        Vec::new()
    }
}

/// Source of a deployment whose nodes are configured.
struct StaticNodes;

/// Nodes that Sentinels list.
struct SentinelNodes<'a> {
    nodes: &'a NodeVec<NodeView>,
    discovery: &'a Discovery,
}

/// Nodes that cluster maps list.
struct ClusterNodes<'a> {
    cluster: &'a ClusterTracker,
    now: Monotonic,
}

/// Nodes at the addresses of DNS names.
struct DnsNodes<'a> {
    nodes: &'a NodeVec<NodeView>,
    resolved: &'a [ResolvedName],
    /// The configured number of replicas.
    expected_replicas: Option<u32>,
}

impl DnsNodes<'_> {
    /// Returns true if a node that is down is a replica more than the configured number.
    fn is_surplus(&self, node: &NodeView) -> bool {
        let replicas = self.nodes.values().filter(|node| node.is_replica()).count();
        let is_enough = |expected: u32| usize::try_from(expected).is_ok_and(|n| replicas >= n);
        node.is_absent()
            && node.last_role() == Some(Role::Replica)
            && self.expected_replicas.is_some_and(is_enough)
    }
}

/// Returns the source for a kind of deployment.
pub(crate) fn node_source<'a>(
    deployment: &Deployment,
    nodes: &'a NodeVec<NodeView>,
    discovery: &'a Discovery,
    cluster: &'a ClusterTracker,
    round: &'a Round,
) -> Box<dyn NodeSource + 'a> {
    match deployment.kind {
        DeploymentKind::Static => Box::new(StaticNodes),
        DeploymentKind::Sentinel => Box::new(SentinelNodes { nodes, discovery }),
        DeploymentKind::Cluster => Box::new(ClusterNodes { cluster, now: round.now }),
        DeploymentKind::Dns => {
            let expected_replicas = deployment.expect.at(round.at).replicas;
            Box::new(DnsNodes { nodes, resolved: &round.resolved, expected_replicas })
        }
    }
}

impl NodeSource for StaticNodes {
    fn listed(&self) -> Vec<ListedNode<'_>> {
        Vec::new()
    }

    fn forget_after(&self, _: &NodeView, discovery: &Discovery) -> Duration {
        discovery.forget_after
    }

    fn keeps_unlisted(&self, _: &NodeView) -> bool {
        true
    }
}

impl NodeSource for SentinelNodes<'_> {
    fn listed(&self) -> Vec<ListedNode<'_>> {
        listed_by_sentinels(self.nodes, &self.discovery.master).into_values().collect()
    }

    fn is_current(&self, _: &[ListedNode<'_>]) -> bool {
        // A Sentinel that cannot reach the master cannot discover its replicas either.
        let is_current = |report: &MasterReport| report.replicas.is_some() && !report.master.down();
        self.nodes.values().filter_map(|node| master_report(node, self.discovery)).any(is_current)
    }

    /// A node that is down was removed with SENTINEL RESET: Sentinels forget no node by themselves.
    fn forget_after(&self, node: &NodeView, discovery: &Discovery) -> Duration {
        let was_removed = node.is_absent() && is_dispensable(node, self.nodes);
        let settled = discovery.forget_after.min(LISTS_SETTLE_WITHIN);
        if was_removed { settled } else { discovery.forget_after }
    }

    /// Sentinels never demote a master that they forgot. It stays a member while it replies.
    fn keeps_unlisted(&self, node: &NodeView) -> bool {
        node.role() == Some(Role::Master)
    }

    fn has_successions(&self) -> bool {
        true
    }
}

impl NodeSource for ClusterNodes<'_> {
    fn listed(&self) -> Vec<ListedNode<'_>> {
        let reachable = |host: &str, port: u16| !host.is_empty() && port > 0;
        self.cluster
            .known()
            .filter(|(_, known)| reachable(&known.host, known.port))
            .map(|(id, known)| ListedNode {
                host: &known.host,
                port: known.port,
                hostname: known.hostname.as_deref(),
                run_id: "",
                cluster_id: Some(id),
                index: self.cluster.index(id),
                master: false,
                down_for: known.failed_since.map(|since| self.now.since(since)),
                alive: known.failed_since.is_none(),
            })
            .collect()
    }

    /// The cluster tracker itself forgets nodes that no map lists.
    fn forget_after(&self, _: &NodeView, _: &Discovery) -> Duration {
        Duration::ZERO
    }

    fn keeps_unlisted(&self, _: &NodeView) -> bool {
        false
    }
}

impl NodeSource for DnsNodes<'_> {
    /// A name without a known address is listed as a node that cannot be reached.
    fn listed(&self) -> Vec<ListedNode<'_>> {
        let listed = |host, port| ListedNode {
            host,
            port,
            hostname: None,
            run_id: "",
            cluster_id: None,
            index: None,
            master: false,
            down_for: None,
            alive: true,
        };
        let nodes = self.resolved.iter().flat_map(|name| {
            let addresses = name.addresses.as_deref().unwrap_or(std::slice::from_ref(&name.host));
            addresses.iter().map(move |address| listed(address, name.port))
        });
        nodes.collect()
    }

    fn forget_after(&self, node: &NodeView, discovery: &Discovery) -> Duration {
        // The name has addresses now, or it was scaled in.
        let leaves = is_unresolved(&node.node) || self.is_surplus(node);
        if leaves { Duration::ZERO } else { discovery.forget_after }
    }

    /// DNS names leave out nodes that are not ready. They stay members while they reply.
    fn keeps_unlisted(&self, node: &NodeView) -> bool {
        node.up() == Some(true)
    }

    fn removes_on_purpose(&self) -> bool {
        false
    }

    fn lists_old_addresses(&self) -> bool {
        true
    }

    fn has_successions(&self) -> bool {
        true
    }

    fn duplicates(&self, remaining: Vec<NodeIndex>) -> Vec<DuplicateProcess> {
        duplicate_processes(self.nodes, remaining.into_iter())
    }
}

impl ListedNode<'_> {
    /// Returns the listed address and the one to connect to.
    pub(crate) fn addresses(&self, discovery: &Discovery) -> ListedAddresses {
        let listed = address(self.host, self.port);
        let reachable = discovery.address_map.get(&listed).unwrap_or(&listed).clone();
        ListedAddresses { listed, reachable }
    }

    /// Returns the label of the node; `None` while its host name is needed and unknown.
    pub(crate) fn label(&self, discovery: &Discovery, host_names: &HostNames) -> Option<String> {
        let template = &discovery.names;
        if !template.needs_name() || !is_address(self.host) || self.hostname.is_some() {
            return Some(template.label(self.host, self.hostname, self.port));
        }
        let name = host_names.get(self.host)?;
        Some(template.label(self.host, name.as_deref(), self.port))
    }
}

/// Returns the report of a Sentinel about the master of the deployment.
pub(crate) fn master_report<'a>(
    node: &'a NodeView,
    discovery: &Discovery,
) -> Option<&'a MasterReport> {
    if !matches!(node.node.kind, NodeKind::Sentinel { .. }) {
        return None;
    }
    node.snapshot()?.sentinel.as_ref()?.master(&discovery.master)
}

/// Returns the nodes that any Sentinel lists, by host and port.
pub(crate) fn listed_by_sentinels<'a>(
    nodes: &'a NodeVec<NodeView>,
    master: &str,
) -> BTreeMap<(&'a str, u16), ListedNode<'a>> {
    let mut all: BTreeMap<(&str, u16), ListedNode<'_>> = BTreeMap::new();
    let sentinels =
        nodes.values().filter(|node| matches!(node.node.kind, NodeKind::Sentinel { .. }));
    for report in sentinels.filter_map(|node| node.snapshot()?.sentinel.as_ref()?.master(master)) {
        // A Sentinel that cannot reach the master may be partitioned itself.
        let reliable = !report.master.down();
        let mut add = |watched: &'a SentinelEntry, master: bool| {
            let down_for = watched.down_for.filter(|_| reliable && watched.down());
            let node = all.entry((&*watched.ip, watched.port)).or_insert(ListedNode {
                host: &watched.ip,
                port: watched.port,
                hostname: None,
                run_id: "",
                cluster_id: None,
                index: None,
                master,
                down_for,
                alive: false,
            });
            node.master |= master;
            node.alive |= heard_of(watched);
            node.down_for = node.down_for.zip(down_for).map(|(one, other)| one.min(other));
            if node.run_id.is_empty() {
                node.run_id = &watched.run_id;
            }
        };
        add(&report.master, true);
        report.replicas.iter().flat_map(|list| list.iter()).for_each(|replica| add(replica, false));
    }
    all
}

/// Returns true if a Sentinel heard of a node lately. An entry without `runid` is new: the Sentinel
/// has not reached the node since, and the age of its last reply means nothing.
fn heard_of(watched: &SentinelEntry) -> bool {
    let is_recent = |age| age <= SENTINEL_HEARD_WITHIN && !watched.run_id.is_empty();
    !watched.down() && watched.last_ok_ping.is_none_or(is_recent)
}

/// Returns true if the node stands for a DNS name without a known address.
pub(crate) fn is_unresolved(node: &Node) -> bool {
    let host = node.address.rsplit_once(':').map_or("", |(host, _)| host);
    !is_address(host.trim_matches(['[', ']']))
}
