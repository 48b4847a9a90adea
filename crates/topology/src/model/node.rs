//! State of a node.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{AttachedReplica, NodeSnapshot, Reason, Role};

use crate::model::counters::Counters;
use crate::model::deployment::{Node, NodeKind};
use crate::model::misrouted::MisroutedView;
use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;
use crate::model::node_state::{Availability, NodeState, UnknownNode, UnknownReason};
use crate::model::pause::PauseView;
use crate::model::refusals::Refusals;
use crate::model::round::DiskSpace;
use crate::model::shard::ChangeCount;
use crate::model::witness::{Witness, WitnessKind};

/// State of a node after a round.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// The node as configured or discovered.
    pub node: Arc<Node>,
    /// Availability.
    pub presence: NodeState,
    /// The last reply, even while the node is down. See [`NodeView::snapshot`].
    pub last: Option<Arc<NodeSnapshot>>,
    /// Free space of its disk, if it is configured and known.
    pub disk: Option<DiskSpace>,
    /// The append-only file is expected to be enabled; `None` without an expectation for the role
    /// of the node.
    pub expected_aof: Option<bool>,
    /// True if the configuration expects that the node reports no role, or one that Rolecall does
    /// not know.
    pub expects_unknown_role: bool,
    /// The expected role: the configured one, or that of a replica if the primary is expected
    /// outside of the deployment; `None` without an expectation.
    pub expected_role: Option<Role>,
    /// Statements of peers about the node while it does not reply; otherwise empty.
    pub witnesses: Arc<[Witness]>,
    /// Polls so far.
    pub polling: PollStats,
    /// The last polls, the newest last.
    pub polls: Arc<VecDeque<PollRecord>>,
    /// Restarts, replacements and changes of the role.
    pub process: ProcessView,
    /// Number of servers that replied at the address within
    /// [`servers_seen_within`](crate::limits::servers_seen_within) while they take turns; `None`
    /// while one server replies. The last reply then contains only what all of them have in common,
    /// and no replication.
    pub servers: Option<usize>,
    /// Replication link.
    pub link: LinkView,
    /// The node from which this one replicates.
    pub upstream: Upstream,
    /// Links between a replica and the master of its chain; `None` for a node that is no replica
    /// and in a replication loop.
    pub depth: Option<usize>,
    /// Reason why the replica is not connected to the primary; `None` if it is.
    pub orphan: Option<OrphanReason>,
    /// Lag behind the primary.
    pub lag: Lag,
    /// The data differs from that of the primary.
    pub diverged: bool,
    /// Full resyncs of the replica since the exporter started.
    pub resyncs: u64,
    /// Last known value of CONFIG `appendfsync`, even while the node is down.
    pub appendfsync: Option<Arc<str>>,
    /// Monotonic time of the last error because of credentials or permissions.
    pub access_denied: Option<Monotonic>,
    /// Monotonic time of the last error because of the memory limit.
    pub memory_refused: Option<Monotonic>,
    /// Paused writes, as of the last reply.
    pub pause: PauseView,
    /// A write of the append-only file failed, and none has succeeded since.
    pub aof_failed: bool,
    /// Replication offset of the last write, as far as known. The stream beyond it consists of
    /// pings and messages of Sentinels.
    pub last_write_offset: Option<u64>,
    /// Connected replicas, as this node reports them.
    pub attached_replicas: Vec<AttachedView>,
    /// Counted errors and topology commands.
    pub counters: Arc<Counters>,
    /// Clients that write to the node although it is a replica; `None` if there are none.
    pub misrouted: Option<Arc<MisroutedView>>,
    /// Reasons to refuse writes.
    pub writes_refused: Refusals,
    /// Reasons to refuse reads.
    pub reads_refused: Refusals,
}

/// A connected replica, as its upstream reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedView {
    /// Label of the node at its address, if it belongs to the deployment; otherwise the address.
    pub name: String,
    /// The replica as reported.
    pub reported: AttachedReplica,
}

/// Polls of a node.
#[derive(Debug, Clone, Default)]
pub struct PollStats {
    /// Polls since the exporter started, with or without a reply.
    pub polls: u64,
    /// Polls without a reply by reason, in the order of [`Reason::ALL`].
    pub failures: [u64; Reason::ALL.len()],
    /// Time from the last request to the end of its reply.
    pub duration: Option<Duration>,
    /// Sum of these times over all polls with a reply.
    pub total_duration: Duration,
    /// Monotonic time of the request for the last reply.
    pub requested: Option<Monotonic>,
    /// Wall time of the last reply.
    pub answered_at: Option<SystemTime>,
    /// Expiry of the certificate of the server, since the Unix epoch; `None` without TLS.
    pub certificate_expiry: Option<Duration>,
    /// Reason of the failure of the last poll; `None` if the node replied.
    pub failing: Option<Reason>,
    /// Time without a reply. Rounds in which the exporter was blind do not count.
    pub silence: Duration,
    /// Monotonic time at which the contact with the node failed: that of the first request without
    /// a reply, or of the loss of the connection. `None` if the node replied.
    pub failing_since: Option<Monotonic>,
    /// The node is known to have run: it replied in this run or according to the saved state, or a
    /// peer knew it alive.
    pub lived: bool,
    /// The node is silent, and its state is unknown; otherwise `None`.
    pub unknown: Option<UnknownNode>,
}

/// One poll of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollRecord {
    /// Wall time of the reply; without one, wall time at which the round closed.
    pub at: SystemTime,
    /// The exporter was blind in this round: failures say nothing about nodes.
    pub blind: bool,
    /// Result of the poll.
    pub result: PollResult,
}

/// Result of one poll of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollResult {
    /// The node replied after this time.
    Replied(Duration),
    /// No reply in this round. The text is that of the error, if there is one.
    Missed(Reason, Option<Arc<str>>),
    /// An attempt to connect or to read failed. The text is that of the error, if there is one.
    Failed(Reason, Option<Arc<str>>),
}

/// Changes of the server process of a node, counted since the exporter started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessView {
    /// Restarts of the node, detected by a new `run_id` with an uptime shorter than the time
    /// since the last reply. Without a `run_id`, a shorter uptime or another `process_id` decides.
    pub restarts: u64,
    /// Replacements of the node by an older process.
    pub replacements: u64,
    /// Monotonic time of the last replacement.
    pub replaced_at: Option<Monotonic>,
    /// Changes of the claimed role.
    pub role_changes: u64,
}

/// State of a replication link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Connected and active.
    Up,
    /// Connected, but the upstream has been silent for longer than its pings allow.
    Stalled,
    /// Down while a synchronization runs.
    Syncing,
    /// Down. Synchronizations start again and again and do not complete.
    SyncLooping,
    /// Down, was up before.
    Lost,
    /// Down, was never up.
    NeverUp,
}

/// Replication link of one replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkView {
    /// State of the link; `None` if the node is no replica or reports no known link status.
    pub state: Option<LinkState>,
    /// Times that the connected link went down, since the exporter started.
    pub drops: u64,
    /// Monotonic time at which the link went down, while it is down.
    pub down_since: Option<Monotonic>,
}

/// The node from which another one replicates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Upstream {
    /// None: the node claims to be master, or nothing is known.
    #[default]
    Nothing,
    /// Another node of the deployment.
    Node(NodeIndex),
    /// An address at which the deployment has no node.
    Unknown(String),
}

/// Reason why a replica is not connected to the primary, or will not be for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanReason {
    /// The deployment has no node at the address of its upstream.
    UnknownAddress,
    /// Its upstream does not reply.
    DeadNode,
    /// Its upstream claims to be master and is not the primary.
    StaleMaster,
    /// A link above its own is down.
    BrokenChain,
}

/// Lag of a replica behind the primary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lag {
    /// Bytes of the replication stream that the replica has not applied. `None` unless the primary
    /// and the replica reply and share a history.
    pub bytes: Option<u64>,
    /// Time since the primary passed the offset of the replica; zero if the replica has applied
    /// the whole stream.
    pub behind: Option<Duration>,
    /// Time since the data of the replica was that of the primary. It also rises while the primary
    /// is down.
    pub age: Option<Duration>,
    /// Changes of the primary that the replica has not applied, as `rdb_changes_since_last_save`
    /// counts them; `None` unless both share a history.
    pub changes: Option<ChangeCount>,
}

impl NodeView {
    /// Returns the view of a node before its first round.
    pub(crate) fn pending(node: &Arc<Node>) -> Self {
        Self::with(node, Arc::default(), Arc::default())
    }

    /// Returns the view of a node of which nothing but its polls and counters is known.
    pub(crate) fn with(
        node: &Arc<Node>,
        polls: Arc<VecDeque<PollRecord>>,
        counters: Arc<Counters>,
    ) -> Self {
        NodeView {
            node: Arc::clone(node),
            presence: NodeState::Pending,
            witnesses: Arc::default(),
            last: None,
            disk: None,
            expected_aof: None,
            expects_unknown_role: false,
            expected_role: node.expected_role,
            polling: PollStats::default(),
            polls,
            process: ProcessView::default(),
            servers: None,
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
            pause: PauseView::default(),
            aof_failed: false,
            last_write_offset: None,
            attached_replicas: Vec::new(),
            counters,
            misrouted: None,
            writes_refused: Refusals::new(),
            reads_refused: Refusals::new(),
        }
    }

    /// Returns true if the series, findings and events of the node appear in this deployment.
    pub fn shown(&self) -> bool {
        matches!(self.node.kind, NodeKind::Data | NodeKind::Sentinel { shown: true })
    }

    /// Returns true if the node is a data node and does not reply as a Sentinel.
    pub fn holds_data(&self) -> bool {
        self.node.kind == NodeKind::Data && self.last_role() != Some(Role::Sentinel)
    }

    /// Returns the last reply, if the node is up.
    pub fn snapshot(&self) -> Option<&NodeSnapshot> {
        self.last.as_deref().filter(|_| self.presence == NodeState::Up)
    }

    /// Returns the claimed role, if the node is up.
    pub fn role(&self) -> Option<Role> {
        self.snapshot()?.replication.role
    }

    /// Returns true if the node claims a role that Rolecall does not know, or none; `None` if it is
    /// not up, while several servers take turns, and if such a role is expected.
    pub fn has_unknown_role(&self) -> Option<bool> {
        let replication = &self.snapshot().filter(|_| self.servers.is_none())?.replication;
        let is_unknown = replication.role.is_none();
        (!is_unknown || !self.expects_unknown_role).then_some(is_unknown)
    }

    /// Returns the role that the node claimed in its last reply, even if it is down.
    pub(crate) fn last_role(&self) -> Option<Role> {
        self.last.as_ref()?.replication.role
    }

    /// Returns the ID of the replication history that the node writes, if it is up and a master.
    pub(crate) fn written_history(&self) -> Option<&str> {
        let replication = &self.snapshot()?.replication;
        replication.replid.as_deref().filter(|_| replication.role == Some(Role::Master))
    }

    /// Returns the `run_id` of the process, if the node is up.
    pub(crate) fn run_id(&self) -> Option<&str> {
        self.snapshot()?.identity.run_id.as_deref()
    }

    /// Returns true if both nodes are up and are one process with two addresses.
    pub(crate) fn is_same_process(&self, other: &NodeView) -> bool {
        self.run_id().is_some_and(|own| other.run_id() == Some(own))
    }

    /// Returns true if the node is up and claims to be a replica.
    pub fn is_replica(&self) -> bool {
        self.role() == Some(Role::Replica)
    }

    /// Returns true if the node is a replica. A node that only Rolecall cannot reach or read counts
    /// with its last role.
    pub(crate) fn follows(&self) -> bool {
        let was_replica = self.last_role() == Some(Role::Replica);
        match self.presence {
            NodeState::Unreachable { .. } => {
                let is_listed = |witness: &Witness| witness.kind == WitnessKind::Primary;
                !self.claims_master() && (was_replica || self.vouching().any(is_listed))
            }
            NodeState::Unreadable { .. } => was_replica,
            _ => self.is_replica(),
        }
    }

    /// Returns true if the node is down, or never replied although it had the time to.
    pub(crate) fn is_absent(&self) -> bool {
        self.is_down() || self.was_never_reached()
    }

    /// Returns true if the node does not reply at its address. It may be alive.
    pub(crate) fn is_silent(&self) -> bool {
        self.polling.failing.is_some_and(is_absence)
    }

    /// Returns true if the node is down.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.presence, NodeState::Down { .. })
    }

    /// Returns true if the node does not reply to Rolecall and a witness vouches for it.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.presence, NodeState::Unreachable { .. })
    }

    /// Returns true if the node never replied, nothing shows that it ever ran, and it had the time
    /// to reply.
    pub fn was_never_reached(&self) -> bool {
        self.polling
            .unknown
            .is_some_and(|unknown| unknown.why == UnknownReason::NeverReached && unknown.unread)
    }

    /// Returns the reason of the failed polls, if Rolecall cannot read the node.
    pub fn failure(&self) -> Option<Reason> {
        let unread = self.polling.unknown.is_some_and(|unknown| unknown.unread);
        self.presence.failure().or(self.polling.failing.filter(|_| unread))
    }

    /// Returns the availability of the node.
    pub fn availability(&self) -> Availability {
        match self.presence {
            _ if self.is_unknown() => Availability::Unknown,
            NodeState::Up => Availability::Up,
            NodeState::Down { .. } => Availability::Down,
            NodeState::Unreachable { .. } => Availability::Unreachable,
            NodeState::Pending | NodeState::Unreadable { .. } => Availability::Unknown,
        }
    }

    /// Returns the witnesses that vouch for the node.
    pub fn vouching(&self) -> impl Iterator<Item = &Witness> {
        self.witnesses.iter().filter(|witness| witness.vouches)
    }

    /// Returns true if the node claims to be master: by its reply, or while it is unreachable by
    /// the statement of a witness that vouches for it. A node that is connected to a master as its
    /// replica is none: Sentinels read roles only every 10 s.
    pub(crate) fn claims_master(&self) -> bool {
        match self.presence {
            NodeState::Unreachable { .. } => {
                let is_attached =
                    self.vouching().any(|witness| witness.kind == WitnessKind::Primary);
                !is_attached && self.vouching().any(|witness| witness.master)
            }
            _ => self.role() == Some(Role::Master),
        }
    }

    /// Returns true if the role differs from the expected one; `None` without an expected role,
    /// or while the role is unknown.
    pub fn unexpected_role(&self) -> Option<bool> {
        Some(self.role()? != self.expected_role?)
    }

    /// Returns true if writes of the append-only file fail; `None` while this is unknown.
    pub fn aof_failing(&self) -> Option<bool> {
        self.snapshot()?.persistence.aof.failing()
    }

    /// Returns true if the node is silent and its state is unknown.
    pub fn is_unknown(&self) -> bool {
        self.polling.unknown.is_some()
    }

    /// Returns true if the node does not reply and its state is not decided. A single missed poll
    /// does not count.
    pub(crate) fn is_undecided(&self, interval: Duration) -> bool {
        if let Some(unknown) = self.polling.unknown {
            return unknown.why == UnknownReason::Undecided;
        }
        let is_open = matches!(self.presence, NodeState::Up | NodeState::Pending);
        is_open && self.polling.silence > interval
    }

    /// Returns true if the state of the node is unknown because the exporter is cut off.
    pub fn is_cut_off(&self) -> bool {
        self.polling.unknown.is_some_and(|unknown| unknown.why == UnknownReason::CutOff)
    }

    /// Returns true if the node is up and its state is not unknown.
    pub fn is_known_up(&self) -> bool {
        self.up() == Some(true) && !self.is_unknown()
    }

    /// Returns true if Rolecall can read the node: false after `down_after` without a reply and
    /// after two refused attempts, also while its state is unknown. `None` before the first result,
    /// and while the reason is a problem of the exporter: that says nothing about the node.
    pub fn readable(&self) -> Option<bool> {
        if self.failure() == Some(Reason::Local) {
            return None;
        }
        if self.polling.unknown.is_some_and(|unknown| unknown.unread) {
            return Some(false);
        }
        self.up()
    }

    /// Returns the node without its outdated state: only its polls and counters remain.
    pub(crate) fn without_state(&self) -> Self {
        NodeView {
            last: self.last.clone(),
            disk: self.disk,
            polling: self.polling.clone(),
            polls: Arc::clone(&self.polls),
            process: self.process,
            link: LinkView { drops: self.link.drops, ..LinkView::default() },
            resyncs: self.resyncs,
            appendfsync: self.appendfsync.clone(),
            counters: Arc::clone(&self.counters),
            ..NodeView::pending(&self.node)
        }
    }

    /// Returns true if the node is up; `None` while this is unknown.
    pub fn up(&self) -> Option<bool> {
        match self.presence {
            NodeState::Pending => None,
            NodeState::Up => Some(true),
            NodeState::Down { .. }
            | NodeState::Unreachable { .. }
            | NodeState::Unreadable { .. } => Some(false),
        }
    }
}

/// Returns true if failures with this reason mean that the node is not running or not reachable.
/// The other reasons concern Rolecall alone: the node may serve other clients.
pub(crate) fn is_absence(reason: Reason) -> bool {
    use Reason::{Closed, Dns, Refused, Reset, Timeout, Unreachable};
    matches!(reason, Refused | Timeout | Reset | Closed | Dns | Unreachable)
}

impl LinkState {
    /// The labels of all states, in the order of the reference.
    pub const LABELS: [&str; 6] = [
        LinkState::Up.label(),
        LinkState::Stalled.label(),
        LinkState::Syncing.label(),
        LinkState::SyncLooping.label(),
        LinkState::Lost.label(),
        LinkState::NeverUp.label(),
    ];

    /// Returns the value of the label `state`.
    pub const fn label(self) -> &'static str {
        match self {
            LinkState::Up => "up",
            LinkState::Stalled => "stalled",
            LinkState::Syncing => "syncing",
            LinkState::SyncLooping => "sync_looping",
            LinkState::Lost => "lost",
            LinkState::NeverUp => "never_up",
        }
    }

    /// Returns true if the link is connected and synchronized.
    pub const fn is_connected(self) -> bool {
        matches!(self, LinkState::Up | LinkState::Stalled)
    }
}

impl OrphanReason {
    /// The labels of all reasons, in the order of the reference.
    pub const LABELS: [&str; 4] = [
        OrphanReason::UnknownAddress.label(),
        OrphanReason::DeadNode.label(),
        OrphanReason::StaleMaster.label(),
        OrphanReason::BrokenChain.label(),
    ];

    /// Returns the value of the label `why`.
    pub const fn label(self) -> &'static str {
        match self {
            OrphanReason::UnknownAddress => "unknown_address",
            OrphanReason::DeadNode => "dead_node",
            OrphanReason::StaleMaster => "stale_master",
            OrphanReason::BrokenChain => "broken_chain",
        }
    }
}
