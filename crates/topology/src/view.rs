//! What is known of a deployment after a round. Immutable: each round makes a new one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{Attached, NodeSnapshot, Role};

use crate::{Counters, Deployment, LinkView, Node, Polling, Presence, ProcessView, Refusals};

/// What is known of a deployment after a round.
#[derive(Debug, Clone)]
pub struct DeploymentView {
    /// What was configured.
    pub deployment: Arc<Deployment>,
    /// Wall time of the round's close; `None` before the first.
    pub at: Option<SystemTime>,
    /// Monotonic time of the round's close.
    pub elapsed: Duration,
    /// Figures about the rounds themselves.
    pub rounds: RoundFigures,
    /// The nodes, in the order of the configuration.
    pub nodes: Vec<NodeView>,
}

/// Figures about the rounds themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoundFigures {
    /// Rounds so far.
    pub total: u64,
    /// Rounds that should have begun and did not.
    pub missed: u64,
    /// Rounds in which the exporter itself was held up.
    pub blind: u64,
    /// Time from asking to close, of the last round.
    pub took: Duration,
}

/// What is known of one node after a round.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// What was configured.
    pub node: Arc<Node>,
    /// Whether it is there.
    pub presence: Presence,
    /// What it said last, also while it is down; see [`NodeView::snapshot`].
    pub last: Option<Arc<NodeSnapshot>>,
    /// Whether its append-only file is expected to be on; `None` where nothing is declared for its role.
    pub expected_aof: Option<bool>,
    /// What asking it has come to.
    pub polling: Polling,
    /// Restarts, replacements, changes of role.
    pub process: ProcessView,
    /// Its link to its master.
    pub link: LinkView,
    /// The replicas attached to it, as it sees them.
    pub attached: Vec<AttachedView>,
    /// Refusals and topology commands counted.
    pub counters: Arc<Counters>,
    /// The writes it refuses.
    pub writes_refused: Refusals,
    /// The reads it refuses.
    pub reads_refused: Refusals,
}

/// A replica as its master sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedView {
    /// The label of the node at its address, if it is one of ours; else the address.
    pub name: String,
    /// What the master says of it.
    pub seen: Attached,
}

impl DeploymentView {
    /// What is known before the first round: every node is pending.
    pub fn empty(deployment: Arc<Deployment>) -> Self {
        let nodes = deployment.nodes.iter().map(NodeView::pending).collect();
        DeploymentView { deployment, at: None, elapsed: Duration::ZERO, rounds: RoundFigures::default(), nodes }
    }

    /// The nodes that claim to be master.
    pub fn masters(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| node.role() == Some(Role::Master))
    }
}

impl NodeView {
    fn pending(node: &Arc<Node>) -> Self {
        NodeView {
            node: Arc::clone(node),
            presence: Presence::Pending,
            last: None,
            expected_aof: None,
            polling: Polling::default(),
            process: ProcessView::default(),
            link: LinkView::default(),
            attached: Vec::new(),
            counters: Arc::default(),
            writes_refused: Refusals::new(),
            reads_refused: Refusals::new(),
        }
    }

    /// What it says; `None` unless it is up.
    pub fn snapshot(&self) -> Option<&NodeSnapshot> {
        self.last.as_deref().filter(|_| self.presence == Presence::Up)
    }

    /// What the node claims to be, if it is up.
    pub fn role(&self) -> Option<Role> {
        self.snapshot()?.replication.role
    }

    /// Whether its role differs from the declared one; `None` without a declaration, or while the role is unknown.
    pub fn unexpected_role(&self) -> Option<bool> {
        Some(self.role()? != self.node.expected_role?)
    }

    /// Whether the append-only file fails now; `None` while unknown.
    pub fn aof_failing(&self) -> Option<bool> {
        self.snapshot()?.persistence.aof.failing()
    }

    /// Whether it is there; `None` while nothing is known.
    pub fn up(&self) -> Option<bool> {
        match self.presence {
            Presence::Pending => None,
            Presence::Up => Some(true),
            Presence::Down { .. } => Some(false),
        }
    }
}
