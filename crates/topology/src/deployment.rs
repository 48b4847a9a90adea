//! What was configured: the deployment, its nodes, and what is expected of them.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::Role;

/// Label names and values, in the order in which they are written.
pub type Labels = Vec<(String, String)>;

/// One Redis as its users name it: the nodes that hold one data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The label `deployment`.
    pub name: String,
    /// How its nodes are known.
    pub kind: Kind,
    /// `deployment` and the configured labels: what stands on every series of the deployment.
    pub labels: Labels,
    /// Time from one round to the next.
    pub interval: Duration,
    /// How long a node must be silent before it counts as down.
    pub down_after: Duration,
    /// The nodes, in the order of the configuration.
    pub nodes: Vec<Arc<Node>>,
    /// What its configuration declares.
    pub expect: Expectations,
    /// Which node is at an address.
    addresses: HashMap<String, usize>,
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
pub enum Kind {
    /// The nodes are listed.
    Static,
}

/// One server process of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The label `node`: its configured name, else its address. It never changes with its role.
    pub name: String,
    /// Where it was configured to be, `host:port`.
    pub address: String,
    /// `deployment`, `node` and the configured labels: what stands on every series of the node.
    pub labels: Labels,
    /// The role that its configuration declares.
    pub expected_role: Option<Role>,
}

impl Deployment {
    /// A deployment without nodes yet.
    pub fn new(name: impl Into<String>, kind: Kind, configured: &[(String, String)], interval: Duration, down_after: Duration) -> Self {
        let name = name.into();
        let labels = [("deployment".to_owned(), name.clone())].into_iter().chain(configured.iter().cloned()).collect();
        Deployment {
            name,
            kind,
            labels,
            interval,
            down_after,
            nodes: Vec::new(),
            expect: Expectations::default(),
            addresses: HashMap::new(),
        }
    }

    /// Adds a node at an address (`host:port`); its labels are the deployment's and its own name.
    pub fn add(&mut self, name: impl Into<String>, address: impl Into<String>, expected_role: Option<Role>) {
        let (name, address) = (name.into(), address.into());
        self.addresses.entry(address.clone()).or_insert(self.nodes.len());
        let mut labels = self.labels.clone();
        labels.insert(1, ("node".to_owned(), name.clone()));
        self.nodes.push(Arc::new(Node { name, address, labels, expected_role }));
    }

    /// Makes another address known as that of the node at `known`; false when there is none.
    pub fn alias(&mut self, other: impl Into<String>, known: &str) -> bool {
        let Some(place) = self.addresses.get(known).copied() else { return false };
        self.addresses.insert(other.into(), place);
        true
    }

    /// Other addresses of nodes, and the one where the node was configured to be; sorted.
    pub fn other_addresses(&self) -> Vec<(&str, &str)> {
        let known = self.addresses.iter().map(|(other, place)| (other.as_str(), self.nodes[*place].address.as_str()));
        let mut others: Vec<_> = known.filter(|(other, known)| other != known).collect();
        others.sort_unstable();
        others
    }

    /// The place of the node that was configured to be at an address.
    pub fn place(&self, address: &str) -> Option<usize> {
        self.addresses.get(address).copied()
    }

    /// The name of the node at an address, if it is one of ours; else the address.
    pub fn name_of(&self, address: String) -> String {
        self.addresses.get(&address).map_or(address, |place| self.nodes[*place].name.clone())
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
    pub const fn of(self, role: Role) -> Option<bool> {
        match (self, role) {
            (_, Role::Sentinel) | (AofExpectation::Replicas, Role::Master) => None,
            (AofExpectation::All, _) | (AofExpectation::Replicas, Role::Replica) => Some(true),
            (AofExpectation::None, _) => Some(false),
        }
    }
}

impl Kind {
    /// The value of the label `kind`.
    pub const fn label(self) -> &'static str {
        match self {
            Kind::Static => "static",
        }
    }
}

/// An address as it names a node.
pub(crate) fn address(ip: &str, port: u16) -> String {
    if ip.parse::<Ipv6Addr>().is_ok() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}
