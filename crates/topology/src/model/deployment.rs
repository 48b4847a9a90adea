//! What was configured: the deployment, its nodes, and what is expected of them.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::Role;

use crate::model::endpoint::ServiceEndpoint;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::node_names::NodeNameTemplate;

/// Label names and values, in the order in which they are written.
pub type Labels = Vec<(String, String)>;

/// One Redis as its users name it: the nodes that hold one data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The label `deployment`.
    pub name: String,
    /// How its nodes are known.
    pub kind: DeploymentKind,
    /// `deployment` and the configured labels: what stands on every series of the deployment.
    pub labels: Labels,
    /// Time from one round to the next.
    pub interval: Duration,
    /// How long a node must be silent before it counts as down.
    pub down_after: Duration,
    /// The nodes by their places, free places among them: those listed in the order of the configuration, then those that were found.
    pub nodes: NodeVec<Arc<Node>>,
    /// What its configuration declares.
    pub expect: Expectations,
    /// The endpoints that applications use, as far as they are configured.
    pub endpoints: Vec<ServiceEndpoint>,
    /// How its nodes are found, where they are not listed.
    pub discovery: Option<Discovery>,
    /// Nodes that are listed; the others were found.
    configured: usize,
    /// Which node is at an address.
    addresses: HashMap<String, NodeIndex>,
}

/// What the configuration of a deployment declares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expectations {
    /// Replicas that there are to be.
    pub replicas: Option<u32>,
    /// Masters that there are to be, where it is not one.
    pub masters: Option<u32>,
    /// The primary is meant to be elsewhere: all nodes here are replicas of it.
    pub external: bool,
    /// Where the append-only file is to be on.
    pub aof: Option<AofExpectation>,
    /// Until when all this is declared.
    pub until: Option<SystemTime>,
}

/// Where the append-only file is to be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AofExpectation {
    /// On every node.
    All,
    /// On replicas; a master may do without.
    Replicas,
    /// Nowhere.
    None,
}

/// How the nodes of a deployment are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentKind {
    /// The nodes are listed.
    Static,
    /// Sentinels are listed, which name the nodes.
    Sentinel,
    /// Some nodes of a cluster are listed, which name the others.
    Cluster,
    /// Names are listed, each of whose addresses is a node.
    Dns,
}

/// How nodes are found that others name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The name by which Sentinels know the master; empty without Sentinels.
    pub master: String,
    /// What the nodes are called.
    pub names: NodeNameTemplate,
    /// Where to reach what is at an address that others name, if not there.
    pub address_map: BTreeMap<String, String>,
    /// A node that is listed, but was held down for longer, is a ghost, and no member of the deployment.
    pub ghost_after: Duration,
    /// A node that nobody lists for longer is no member any more.
    pub forget_after: Duration,
}

/// One server process of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The label `node`: its configured name, else its address. It never changes with its role.
    pub name: String,
    /// Where it was configured or found to be, `host:port`.
    pub address: String,
    /// What it is to the deployment.
    pub kind: NodeKind,
    /// `deployment`, `node` and the configured labels: what stands on every series of the node.
    pub labels: Labels,
    /// The role that its configuration declares.
    pub expected_role: Option<Role>,
}

/// What a node is to its deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// It is there for the data.
    Data,
    /// It is a Sentinel that was listed as such.
    Sentinel {
        /// Its own series, events and findings appear here. Of deployments that share a Sentinel this is the first.
        shown: bool,
    },
    /// There is none any more: its place is free.
    Vacant,
}

impl Deployment {
    /// A deployment without nodes yet.
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
            configured: 0,
            addresses: HashMap::new(),
        }
    }

    /// Adds a node at an address (`host:port`); its labels are the deployment's and its own name.
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

    /// Adds a Sentinel at an address; its own series, events and findings appear here if `shown`.
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

    /// Makes it that of another master, under another name.
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

    /// Says of the Sentinel at a place whether its own series, events and findings appear here.
    pub fn show_sentinel(&mut self, index: NodeIndex, shown: bool) {
        Arc::make_mut(&mut self.nodes[index]).kind = NodeKind::Sentinel { shown };
    }

    /// The places of its Sentinels.
    pub fn sentinels(&self) -> impl Iterator<Item = NodeIndex> {
        self.nodes
            .iter()
            .filter(|(_, node)| matches!(node.kind, NodeKind::Sentinel { .. }))
            .map(|(index, _)| index)
    }

    /// The node at a place was listed, not found.
    pub(crate) fn is_configured(&self, index: NodeIndex) -> bool {
        index.get() < self.configured
    }

    /// How many nodes there are beside Sentinels.
    pub(crate) fn data_node_count(&self) -> usize {
        self.nodes.values().filter(|node| node.kind == NodeKind::Data).count()
    }

    /// Gives a free place to a node that was found, and says which.
    pub(crate) fn assign(&mut self, name: String, address: String) -> NodeIndex {
        let free = self
            .nodes
            .position(|node| node.kind == NodeKind::Vacant)
            .unwrap_or(NodeIndex::new(self.nodes.len()));
        self.set_node(free, name, address, NodeKind::Data, None);
        free
    }

    /// The node at a place is at another address now.
    pub(crate) fn relocate(&mut self, index: NodeIndex, name: String, address: String) {
        self.addresses.retain(|_, at| *at != index);
        self.set_node(index, name, address, NodeKind::Data, None);
    }

    /// Frees the place of a node that is gone.
    pub(crate) fn remove(&mut self, index: NodeIndex) {
        self.addresses.retain(|_, at| *at != index);
        self.nodes[index] = Arc::new(Node::vacant());
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
        let node = Arc::new(Node { name, address, kind, labels, expected_role });
        match self.nodes.get_mut(index) {
            Some(taken) => *taken = node,
            None => drop(self.nodes.push(node)),
        }
    }

    /// Makes another address known as that of the node at `known`; false when there is none.
    pub fn alias(&mut self, other: impl Into<String>, known: &str) -> bool {
        let Some(index) = self.addresses.get(known).copied() else { return false };
        self.addresses.insert(other.into(), index);
        true
    }

    /// Other addresses of nodes, and the one where the node was configured to be; sorted.
    pub fn other_addresses(&self) -> Vec<(&str, &str)> {
        let known = self
            .addresses
            .iter()
            .map(|(other, index)| (other.as_str(), self.nodes[*index].address.as_str()));
        let mut others: Vec<_> = known.filter(|(other, known)| other != known).collect();
        others.sort_unstable();
        others
    }

    /// The place of the node that was configured to be at an address.
    pub fn index(&self, address: &str) -> Option<NodeIndex> {
        self.addresses.get(address).copied()
    }

    /// The name of the node at an address, if it is one of ours; else the address.
    pub fn name_at(&self, address: String) -> String {
        self.addresses.get(&address).map_or(address, |index| self.nodes[*index].name.clone())
    }
}

impl Node {
    /// A free place.
    pub(crate) fn vacant() -> Self {
        Node {
            name: String::new(),
            address: String::new(),
            kind: NodeKind::Vacant,
            labels: Labels::new(),
            expected_role: None,
        }
    }
}

impl Expectations {
    /// What is expected at a time.
    #[must_use]
    pub fn at(self, now: SystemTime) -> Self {
        if self.until.is_some_and(|until| now > until) { Expectations::default() } else { self }
    }
}

impl AofExpectation {
    /// The value in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            AofExpectation::All => "all",
            AofExpectation::Replicas => "replicas",
            AofExpectation::None => "none",
        }
    }

    /// Whether the append-only file is to be on, on a node of this role; `None` where nothing is said.
    pub const fn for_role(self, role: Role) -> Option<bool> {
        match (self, role) {
            (_, Role::Sentinel) | (AofExpectation::Replicas, Role::Master) => None,
            (AofExpectation::All, _) | (AofExpectation::Replicas, Role::Replica) => Some(true),
            (AofExpectation::None, _) => Some(false),
        }
    }
}

impl DeploymentKind {
    /// The value of the label `kind`.
    pub const fn label(self) -> &'static str {
        match self {
            DeploymentKind::Static => "static",
            DeploymentKind::Sentinel => "sentinel",
            DeploymentKind::Cluster => "cluster",
            DeploymentKind::Dns => "dns",
        }
    }
}

/// An address as it names a node.
pub fn address(ip: &str, port: u16) -> String {
    if ip.parse::<Ipv6Addr>().is_ok() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}
