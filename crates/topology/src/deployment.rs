//! What was configured: the deployment, its nodes, and what is expected of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use snapshot::Role;

/// Label names and values, in the order in which they are written.
pub type Labels = Vec<(String, String)>;

/// One Redis as its users name it: the nodes that hold one data set.
#[derive(Debug, Clone)]
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
    /// Which node is at an address.
    addresses: HashMap<String, usize>,
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
        Deployment { name, kind, labels, interval, down_after, nodes: Vec::new(), addresses: HashMap::new() }
    }

    /// Adds a node at an address (`host:port`); its labels are the deployment's and its own name.
    pub fn add(&mut self, name: impl Into<String>, address: impl Into<String>, expected_role: Option<Role>) {
        let name = name.into();
        self.addresses.entry(address.into()).or_insert(self.nodes.len());
        let mut labels = self.labels.clone();
        labels.insert(1, ("node".to_owned(), name.clone()));
        self.nodes.push(Arc::new(Node { name, labels, expected_role }));
    }

    /// The name of the node at an address, if it is one of ours; else the address.
    pub fn name_of(&self, address: String) -> String {
        self.addresses.get(&address).map_or(address, |place| self.nodes[*place].name.clone())
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
