//! The deployment as configured and discovered: its nodes and the expectations.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{OptionalCommand, Role};

use crate::model::access::NodeAccess;
use crate::model::endpoint::ServiceEndpoint;
use crate::model::excess::Limits;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::node_names::NodeNameTemplate;

/// Label names and values, in their order of output.
pub type Labels = Vec<(String, String)>;

/// One data set as its users name it, with the nodes that hold or watch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The label `deployment`.
    pub name: String,
    /// Kind, which decides how its nodes are known.
    pub kind: DeploymentKind,
    /// Labels of all series of the deployment: `deployment` and the configured ones.
    pub labels: Labels,
    /// Time between two rounds.
    pub interval: Duration,
    /// Silence after which a node counts as down.
    pub down_after: Duration,
    /// The nodes, including vacant positions: first the configured ones in the order of the
    /// configuration, then the discovered ones.
    pub nodes: NodeVec<Arc<Node>>,
    /// Expected state.
    pub expect: Expectations,
    /// The configured endpoints that applications use.
    pub endpoints: Vec<ServiceEndpoint>,
    /// Discovery of nodes; `None` if all nodes are configured.
    pub discovery: Option<Discovery>,
    /// Limits of the things that servers list.
    pub limits: Limits,
    /// Name of the preset, if one is configured.
    pub preset: Option<String>,
    /// Commands that are not sent, because the servers do not have them.
    pub skipped: BTreeSet<OptionalCommand>,
    /// Access to discovered nodes.
    pub discovered_access: Arc<NodeAccess>,
    /// Number of configured nodes. The others are discovered.
    configured: usize,
    /// The nodes by address, including aliases.
    addresses: HashMap<String, NodeIndex>,
}

/// Expected state of a deployment, as configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expectations {
    /// Number of replicas.
    pub replicas: Option<u32>,
    /// Number of masters, if it is not one.
    pub masters: Option<u32>,
    /// The primary is outside of the deployment: all nodes are replicas.
    pub external: bool,
    /// Nodes with an append-only file.
    pub aof: Option<AofExpectation>,
    /// The servers report no role, or one that Rolecall does not know. Never expires.
    pub unknown_role: bool,
    /// Wall time at which these expectations expire.
    pub until: Option<SystemTime>,
}

/// Nodes on which the append-only file is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AofExpectation {
    /// All nodes.
    All,
    /// Replicas. A master may have one or not.
    Replicas,
    /// No node.
    None,
}

/// Kind of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentKind {
    /// All nodes are configured.
    Static,
    /// Sentinels are configured, which list the nodes.
    Sentinel,
    /// Some nodes of a cluster are configured, which list the others.
    Cluster,
    /// DNS names are configured, and each of their addresses is a node.
    Dns,
}

/// Discovery of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Name of the master in the Sentinels; empty without Sentinels.
    pub master: String,
    /// Template for the labels of the nodes.
    pub names: NodeNameTemplate,
    /// Addresses to connect to instead of listed ones.
    pub address_map: BTreeMap<String, String>,
    /// Time after which a node that is listed as down is a ghost, and no member of the deployment.
    pub ghost_after: Duration,
    /// Time after which a node that is not listed leaves the deployment.
    pub forget_after: Duration,
}

/// One server process of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The label `node`: the configured name, otherwise the address. It does not depend on the
    /// role.
    pub name: String,
    /// Configured or discovered address, `host:port`.
    pub address: String,
    /// Kind.
    pub kind: NodeKind,
    /// Labels of all series of the node: `deployment`, `node` and the configured ones.
    pub labels: Labels,
    /// Configured role.
    pub expected_role: Option<Role>,
    /// Access of Rolecall.
    pub access: Arc<NodeAccess>,
}

/// Kind of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A data node.
    Data,
    /// A configured Sentinel.
    Sentinel {
        /// Its series, events and findings appear in this deployment. If deployments share a
        /// Sentinel, this is the first of them.
        shown: bool,
    },
    /// No node: the position is vacant.
    Vacant,
}

impl Deployment {
    /// Creates a deployment without nodes.
    pub fn new(
        name: impl Into<String>,
        kind: DeploymentKind,
        configured: &[(String, String)],
        interval: Duration,
        down_after: Duration,
    ) -> Self {
        let name = name.into();
        let labels = [("deployment".to_owned(), name.clone())]
            .into_iter()
            .chain(configured.iter().cloned())
            .collect();
        Deployment {
            name,
            kind,
            labels,
            interval,
            down_after,
            nodes: NodeVec::default(),
            expect: Expectations::default(),
            endpoints: Vec::new(),
            discovery: None,
            limits: Limits::DEFAULT,
            preset: None,
            skipped: BTreeSet::new(),
            discovered_access: Arc::default(),
            configured: 0,
            addresses: HashMap::new(),
        }
    }

    /// Adds a data node at an address, `host:port`.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        address: impl Into<String>,
        expected_role: Option<Role>,
    ) {
        self.set_node(
            NodeIndex::new(self.nodes.len()),
            name.into(),
            address.into(),
            NodeKind::Data,
            expected_role,
        );
        self.configured = self.nodes.len();
    }

    /// Adds a Sentinel at an address. Its series, events and findings appear in this deployment if
    /// `shown` is true.
    pub fn add_sentinel(
        &mut self,
        name: impl Into<String>,
        address: impl Into<String>,
        shown: bool,
    ) {
        self.set_node(
            NodeIndex::new(self.nodes.len()),
            name.into(),
            address.into(),
            NodeKind::Sentinel { shown },
            Some(Role::Sentinel),
        );
    }

    /// Changes the name of the deployment and the master that Sentinels watch.
    pub fn rename_for_master(&mut self, name: &str, master: &str) {
        name.clone_into(&mut self.name);
        name.clone_into(&mut self.labels[0].1);
        for (_, node) in self.nodes.iter_mut() {
            name.clone_into(&mut Arc::make_mut(node).labels[0].1);
        }
        if let Some(discovery) = &mut self.discovery {
            master.clone_into(&mut discovery.master);
        }
    }

    /// Sets if the series, events and findings of a Sentinel appear in this deployment.
    pub fn show_sentinel(&mut self, index: NodeIndex, shown: bool) {
        Arc::make_mut(&mut self.nodes[index]).kind = NodeKind::Sentinel { shown };
    }

    /// Returns the Sentinels.
    pub fn sentinels(&self) -> impl Iterator<Item = NodeIndex> {
        self.nodes
            .iter()
            .filter(|(_, node)| matches!(node.kind, NodeKind::Sentinel { .. }))
            .map(|(index, _)| index)
    }

    /// Returns true if a node is configured, and not discovered.
    pub(crate) fn is_configured(&self, index: NodeIndex) -> bool {
        index.get() < self.configured
    }

    /// Returns the limit of data nodes. Configured nodes never exceed it.
    pub(crate) fn node_limit(&self) -> usize {
        self.limits.nodes.max(self.configured)
    }

    /// Returns the number of data nodes.
    pub(crate) fn data_node_count(&self) -> usize {
        self.nodes.values().filter(|node| node.kind == NodeKind::Data).count()
    }

    /// Adds a discovered node at the first vacant position, and returns its index.
    pub(crate) fn assign(&mut self, name: String, address: String) -> NodeIndex {
        let vacant = self
            .nodes
            .position(|node| node.kind == NodeKind::Vacant)
            .unwrap_or(NodeIndex::new(self.nodes.len()));
        self.set_node(vacant, name, address, NodeKind::Data, None);
        self.set_access(vacant, Arc::clone(&self.discovered_access));
        vacant
    }

    /// Sets the access to a node.
    pub fn set_access(&mut self, index: NodeIndex, access: Arc<NodeAccess>) {
        Arc::make_mut(&mut self.nodes[index]).access = access;
    }

    /// Changes the name and the address of a node.
    pub(crate) fn relocate(&mut self, index: NodeIndex, name: String, address: String) {
        self.addresses.retain(|_, at| *at != index);
        self.set_node(index, name, address, NodeKind::Data, None);
    }

    /// Removes nodes. Their positions become vacant.
    pub(crate) fn remove(&mut self, gone: &HashSet<NodeIndex>) {
        self.addresses.retain(|_, at| !gone.contains(at));
        for index in gone {
            self.nodes[*index] = Arc::new(Node::vacant());
        }
    }

    fn set_node(
        &mut self,
        index: NodeIndex,
        name: String,
        address: String,
        kind: NodeKind,
        expected_role: Option<Role>,
    ) {
        self.addresses.entry(address.clone()).or_insert(index);
        let mut labels = self.labels.clone();
        labels.insert(1, ("node".to_owned(), name.clone()));
        // A node that moves keeps its access.
        let access = self.nodes.get(index).map(|node| Arc::clone(&node.access));
        let access = access.unwrap_or_default();
        let node = Arc::new(Node { name, address, kind, labels, expected_role, access });
        match self.nodes.get_mut(index) {
            Some(known) => *known = node,
            None => {
                self.nodes.push(node);
            }
        }
    }

    /// Adds another address of the node at the address `known`. Returns false if there is no such
    /// node.
    pub fn alias(&mut self, other: impl Into<String>, known: &str) -> bool {
        let Some(index) = self.addresses.get(known).copied() else { return false };
        self.addresses.insert(other.into(), index);
        true
    }

    /// Returns the aliases of nodes with the addresses of these nodes, sorted.
    pub fn other_addresses(&self) -> Vec<(&str, &str)> {
        let known = self
            .addresses
            .iter()
            .map(|(other, index)| (other.as_str(), self.nodes[*index].address.as_str()));
        let mut others: Vec<_> = known.filter(|(other, known)| other != known).collect();
        others.sort_unstable();
        others
    }

    /// Returns the node at an address, including aliases.
    pub fn index(&self, address: &str) -> Option<NodeIndex> {
        self.addresses.get(address).copied()
    }

    /// Returns the name of the node at an address, or the address if there is no node.
    pub fn name_at(&self, address: String) -> String {
        self.addresses.get(&address).map_or(address, |index| self.nodes[*index].name.clone())
    }
}

impl Node {
    /// Returns the placeholder of a vacant position.
    pub(crate) fn vacant() -> Self {
        Node {
            name: String::new(),
            address: String::new(),
            kind: NodeKind::Vacant,
            labels: Labels::new(),
            expected_role: None,
            access: Arc::default(),
        }
    }
}

impl Expectations {
    /// Returns the expectations at a point in time: after they expired, only the property of the
    /// servers to report no known role remains.
    #[must_use]
    pub fn at(self, now: SystemTime) -> Self {
        if self.until.is_none_or(|until| now <= until) {
            return self;
        }
        Expectations { unknown_role: self.unknown_role, ..Expectations::default() }
    }
}

impl AofExpectation {
    /// Returns the value in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            AofExpectation::All => "all",
            AofExpectation::Replicas => "replicas",
            AofExpectation::None => "none",
        }
    }

    /// Returns true if an append-only file is expected on a node of this role; `None` without an
    /// expectation.
    pub const fn for_role(self, role: Role) -> Option<bool> {
        match (self, role) {
            (_, Role::Sentinel) | (AofExpectation::Replicas, Role::Master) => None,
            (AofExpectation::All, _) | (AofExpectation::Replicas, Role::Replica) => Some(true),
            (AofExpectation::None, _) => Some(false),
        }
    }
}

impl DeploymentKind {
    /// Returns the value of the label `kind`.
    pub const fn label(self) -> &'static str {
        match self {
            DeploymentKind::Static => "static",
            DeploymentKind::Sentinel => "sentinel",
            DeploymentKind::Cluster => "cluster",
            DeploymentKind::Dns => "dns",
        }
    }
}

/// Returns `ip:port`, with brackets around an IPv6 address.
pub fn address(ip: &str, port: u16) -> String {
    let mut digits = itoa::Buffer::new();
    let port = digits.format(port);
    // Most addresses have no colon, which decides faster than the parser.
    let is_ipv6 = ip.contains(':') && ip.parse::<Ipv6Addr>().is_ok();
    if is_ipv6 { ["[", ip, "]:", port].concat() } else { [ip, ":", port].concat() }
}
