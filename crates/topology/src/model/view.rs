//! What is known of a deployment after a round. Immutable: each round makes a new one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{AttachedReplica, NodeSnapshot, Role};

use crate::discovery::cluster::ClusterView;
use crate::discovery::sentinels::SentinelsView;
use crate::endpoints::EndpointView;
use crate::findings::Finding;
use crate::model::deployment::{Deployment, DeploymentKind, Expectations, Labels, Node, NodeKind};
use crate::model::event_history::EventHistory;
use crate::model::round::{DiskSpace, ResolvedName};
use crate::node::counters::Counters;
use crate::node::link::LinkView;
use crate::node::poll_history::PollRecord;
use crate::node::process::ProcessView;
use crate::node::refusals::Refusals;
use crate::node::state::{NodeState, PollStats, is_absence};
use crate::shard::change_cause::{Cause, PrimaryChange};
use crate::shard::emptied::EmptiedView;
use crate::shard::lag::Lag;
use crate::shard::lost_writes::LostWritesView;
use crate::shard::misrouted::MisroutedView;
use crate::shard::no_primary::NoPrimaryView;
use crate::shard::primary::PrimaryView;
use crate::shard::serving::refuses;
use crate::shard::split_brain::SplitBrainView;
use crate::shard::upstream::{OrphanReason, Upstream};

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
    pub rounds: RoundStats,
    /// What is expected now: nothing, once the declaration has expired.
    pub expect: Expectations,
    /// The nodes by their places, free places among them: those listed in the order of the configuration, then those that were found.
    pub nodes: Vec<NodeView>,
    /// What the nodes mean together: one entry, or one for each shard of a cluster.
    pub shards: Vec<ShardView>,
    /// Where the endpoints lead that applications use.
    pub endpoints: Vec<EndpointView>,
    /// What its Sentinels say, if it has any.
    pub sentinels: Option<SentinelsView>,
    /// What the nodes of a cluster say of it.
    pub cluster: Option<ClusterView>,
    /// What the names stand for whose addresses are the nodes, if such are listed.
    pub names: Arc<[ResolvedName]>,
    /// What needs a person, the worst first.
    pub findings: Vec<Finding>,
    /// What happened of late.
    pub history: Arc<EventHistory>,
}

/// What the nodes that hold one data set mean together. Nodes are given by their places in [`DeploymentView::nodes`].
#[derive(Debug, Clone, Default)]
pub struct ShardView {
    /// What stands on every series of the shard.
    pub labels: Arc<Labels>,
    /// The label `shard`; `None` where there is only one.
    pub shard: Option<String>,
    /// The nodes that claim to be master.
    pub masters: Vec<usize>,
    /// The primary; `None` while none is known.
    pub primary: Option<PrimaryView>,
    /// The primary, or all masters where several are meant.
    pub(crate) acting: Vec<usize>,
    /// The primary that was known last.
    pub last_primary: Option<usize>,
    /// Masters beside the primary that share a history with it, and those whose history another one took over.
    pub stale: Vec<usize>,
    /// Masters that share no history with the primary, or with any other.
    pub unrelated: Vec<usize>,
    /// Several masters of one data set.
    pub split_brain: SplitBrainView,
    /// Writes that stale masters accepted.
    pub lost_writes: LostWritesView,
    /// No master at all.
    pub no_primary: NoPrimaryView,
    /// The nodes that follow one another in a circle.
    pub looped: Vec<usize>,
    /// Changes of the primary whose cause this round settled.
    pub changed: Vec<PrimaryChange>,
    /// Changes of the primary since the exporter started, in the order of [`Cause::ALL`].
    pub changes: [u64; Cause::ALL.len()],
    /// Replicas that answer, or that only we cannot read.
    pub replicas: usize,
    /// Replicas that there should be: as declared, else the most that were seen of late.
    pub replicas_wanted: usize,
    /// The primary came back without its data.
    pub emptied: EmptiedView,
    /// Whether the known primary takes writes.
    pub writable: Option<bool>,
    /// Whether any node serves reads.
    pub readable: Option<bool>,
}

/// Figures about the rounds themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoundStats {
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
    pub presence: NodeState,
    /// What it said last, also while it is down; see [`NodeView::snapshot`].
    pub last: Option<Arc<NodeSnapshot>>,
    /// The room left for its data, where that is configured and seen.
    pub disk: Option<DiskSpace>,
    /// Whether its append-only file is expected to be on; `None` where nothing is declared for its role.
    pub expected_aof: Option<bool>,
    /// What asking it has come to.
    pub polling: PollStats,
    /// What came of asking it in each of the last rounds, the newest last.
    pub askings: Arc<VecDeque<PollRecord>>,
    /// Restarts, replacements, changes of role.
    pub process: ProcessView,
    /// Its link to its master.
    pub link: LinkView,
    /// What it follows.
    pub upstream: Upstream,
    /// How many links lie between it and its master; `None` on others than replicas, and in a circle.
    pub depth: Option<usize>,
    /// Why it gets nothing from the primary, if so.
    pub orphan: Option<OrphanReason>,
    /// How far it is behind the primary.
    pub lag: Lag,
    /// Its data is not its primary's.
    pub diverged: bool,
    /// Full synchronisations that it went through, since the exporter started.
    pub resyncs: u64,
    /// CONFIG `appendfsync`, as last known, also while it is down.
    pub appendfsync: Option<Arc<str>>,
    /// Monotonic time at which it last turned somebody away for their credentials.
    pub access_denied: Option<Duration>,
    /// Monotonic time at which it last refused something for want of memory.
    pub memory_refused: Option<Duration>,
    /// Writing its append-only file failed, and did not succeed since.
    pub aof_failed: bool,
    /// Offset in its stream that no write was seen beyond: what follows are greetings of Sentinels, and pings.
    pub written: Option<u64>,
    /// The replicas attached to it, as it sees them.
    pub attached: Vec<AttachedView>,
    /// Refusals and topology commands counted.
    pub counters: Arc<Counters>,
    /// Clients that write to it, though it is a replica; `None` while it refuses none for that.
    pub misrouted: Option<Arc<MisroutedView>>,
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
    pub seen: AttachedReplica,
}

impl DeploymentView {
    /// What is known before the first round: every node is pending.
    pub fn empty(deployment: Arc<Deployment>) -> Self {
        let nodes = deployment.nodes.iter().map(NodeView::pending).collect();
        DeploymentView {
            expect: deployment.expect,
            // The shards of a cluster are not known yet.
            shards: match deployment.kind {
                DeploymentKind::Cluster => Vec::new(),
                DeploymentKind::Static | DeploymentKind::Sentinel | DeploymentKind::Dns => {
                    vec![ShardView {
                        labels: Arc::new(deployment.labels.clone()),
                        ..ShardView::default()
                    }]
                }
            },
            endpoints: EndpointView::pending(&deployment),
            deployment,
            at: None,
            elapsed: Duration::ZERO,
            rounds: RoundStats::default(),
            nodes,
            sentinels: None,
            cluster: None,
            names: Arc::default(),
            findings: Vec::new(),
            history: Arc::default(),
        }
    }

    /// The label of the node at a place.
    pub fn name(&self, index: usize) -> &str {
        &self.nodes[index].node.name
    }

    /// The nodes, free places left out.
    pub fn members(&self) -> impl Iterator<Item = (usize, &NodeView)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.node.kind != NodeKind::Vacant)
    }

    /// The nodes whose own series, findings and events appear here, and not under another deployment.
    pub fn shown(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| node.shown())
    }

    /// The masters of a split brain that take writes beside the primary; where none is known, all but one.
    pub fn writable_stale_masters(&self, shard: &ShardView) -> Vec<usize> {
        let primary = shard.primary.map(|primary| primary.node);
        let takes = |index: &usize| {
            self.nodes[*index].up() == Some(true) && !refuses(&self.nodes[*index].writes_refused)
        };
        let others = shard
            .split_brain
            .masters
            .iter()
            .copied()
            .filter(|index| Some(*index) != primary && takes(index));
        others.skip(usize::from(primary.is_none())).collect()
    }

    /// The nodes that claim to be master.
    pub fn masters(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| node.role() == Some(Role::Master))
    }
}

impl ShardView {
    /// Gives its nodes by other places.
    pub(crate) fn at_places(&mut self, index: impl Fn(usize) -> usize) {
        let moved = |indices: &mut Vec<usize>| indices.iter_mut().for_each(|at| *at = index(*at));
        for indices in [
            &mut self.masters,
            &mut self.acting,
            &mut self.stale,
            &mut self.unrelated,
            &mut self.looped,
        ] {
            moved(indices);
        }
        moved(&mut self.split_brain.masters);
        if let Some(loss) = &mut self.lost_writes.loss {
            moved(&mut loss.stale);
        }
        if let Some(primary) = &mut self.primary {
            primary.node = index(primary.node);
        }
        self.last_primary = self.last_primary.map(&index);
        for change in &mut self.changed {
            (change.from, change.to) = (index(change.from), index(change.to));
        }
    }

    /// The places of the primary, or of all masters where several are meant.
    pub fn acting(&self) -> impl Iterator<Item = &usize> {
        self.acting.iter()
    }
}

impl NodeView {
    /// What stands for a node where there is none.
    pub(crate) fn vacant() -> Self {
        Self::pending(&Arc::new(Node::vacant()))
    }

    pub(crate) fn pending(node: &Arc<Node>) -> Self {
        NodeView {
            node: Arc::clone(node),
            presence: NodeState::Pending,
            last: None,
            disk: None,
            expected_aof: None,
            polling: PollStats::default(),
            askings: Arc::default(),
            process: ProcessView::default(),
            link: LinkView::default(),
            upstream: Upstream::default(),
            depth: None,
            orphan: None,
            lag: Lag::default(),
            diverged: false,
            resyncs: 0,
            appendfsync: None,
            access_denied: None,
            memory_refused: None,
            aof_failed: false,
            written: None,
            attached: Vec::new(),
            counters: Arc::default(),
            misrouted: None,
            writes_refused: Refusals::new(),
            reads_refused: Refusals::new(),
        }
    }

    /// Its own series, findings and events appear in this deployment.
    pub fn shown(&self) -> bool {
        matches!(self.node.kind, NodeKind::Data | NodeKind::Sentinel { shown: true })
    }

    /// Whether it is there for the data: no Sentinel, and no free place.
    pub fn holds_data(&self) -> bool {
        let says_sentinel =
            self.last.as_ref().is_some_and(|last| last.replication.role == Some(Role::Sentinel));
        self.node.kind == NodeKind::Data && !says_sentinel
    }

    /// What it says; `None` unless it is up.
    pub fn snapshot(&self) -> Option<&NodeSnapshot> {
        self.last.as_deref().filter(|_| self.presence == NodeState::Up)
    }

    /// What the node claims to be, if it is up.
    pub fn role(&self) -> Option<Role> {
        self.snapshot()?.replication.role
    }

    /// The process that it is, if it is up.
    pub(crate) fn run_id(&self) -> Option<&str> {
        self.snapshot()?.identity.run_id.as_deref()
    }

    /// Whether both are up and are one process, which is behind two addresses.
    pub(crate) fn is_same_process(&self, other: &NodeView) -> bool {
        self.run_id().is_some_and(|own| other.run_id() == Some(own))
    }

    /// Whether it is up and claims to be a replica.
    pub fn is_replica(&self) -> bool {
        self.role() == Some(Role::Replica)
    }

    /// Whether it is a replica: it says so, or said so last and only we cannot read it.
    pub(crate) fn follows(&self) -> bool {
        let last =
            || self.last.as_ref().and_then(|last| last.replication.role) == Some(Role::Replica);
        match self.presence {
            NodeState::Down { reason, .. } => !is_absence(reason) && last(),
            _ => self.is_replica(),
        }
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
            NodeState::Pending => None,
            NodeState::Up => Some(true),
            NodeState::Down { .. } => Some(false),
        }
    }
}
