//! State of a shard: the nodes that hold one data set.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::deployment::Labels;
use crate::model::failover::FailoverView;
use crate::model::identity::DatasetReplacedView;
use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;

/// State of a shard after a round.
#[derive(Debug, Clone, Default)]
pub struct ShardView {
    /// Labels of all series of the shard.
    pub labels: Arc<Labels>,
    /// The label `shard`; `None` in a deployment that is no cluster.
    pub shard: Option<String>,
    /// All nodes of the shard, in ascending order.
    pub(crate) members: Vec<NodeIndex>,
    /// Nodes that claim the role of master.
    pub masters: Vec<NodeIndex>,
    /// The primary; `None` while it is unknown.
    pub primary: Option<PrimaryView>,
    /// All current statements about the primary, in ascending order of the nodes.
    pub primary_statements: Vec<PrimaryStatement>,
    /// The statements contradict each other, or rivals cannot be told apart.
    pub primary_disputed: bool,
    /// Sentinels are known, but no majority of them was read recently.
    pub primary_unconfirmed: bool,
    /// The primary. If the configuration expects several masters, all nodes that claim that role.
    pub(crate) primaries: Vec<NodeIndex>,
    /// The last known primary.
    pub last_primary: Option<NodeIndex>,
    /// Monotonic time of the first round without the last known primary; `None` while there is a
    /// primary, and if none was ever known.
    pub primary_lost_at: Option<Monotonic>,
    /// Masters that share a history with the primary, and masters whose history another one
    /// continued.
    pub stale_masters: Vec<NodeIndex>,
    /// Masters that share no history with the primary, or with any other master.
    pub unrelated_masters: Vec<NodeIndex>,
    /// Several masters of one data set.
    pub split_brain: SplitBrainView,
    /// Writes that stale masters accepted.
    pub lost_writes: LostWritesView,
    /// Periods without a master.
    pub no_primary: NoPrimaryView,
    /// Nodes that replicate in a circle.
    pub replication_loop: Vec<NodeIndex>,
    /// While no node claims to be master, the node that was the undisputed primary; `None` if
    /// another node may have become primary since.
    pub former_primary: Option<NodeIndex>,
    /// Changes of the primary whose causes this round decided.
    pub primary_changes: Vec<PrimaryChange>,
    /// Changes of the primary since the exporter started, in the order of [`Cause::ALL`].
    pub primary_change_counts: [u64; Cause::ALL.len()],
    /// Replicas that reply, and replicas that only Rolecall cannot read.
    pub replicas: usize,
    /// Expected replicas: the configured number, or the largest number in the last hour.
    pub expected_replicas: usize,
    /// Restarts of the primary without its data.
    pub emptied: EmptiedView,
    /// Replacements of the data set by a foreign one.
    pub dataset_replaced: DatasetReplacedView,
    /// The primary accepts writes; `None` while this is unknown.
    pub writable: Option<bool>,
    /// Some node serves reads; `None` while no node replies.
    pub readable: Option<bool>,
    /// Readiness for an automatic failover; `None` while it is unknown, and where none is meant.
    pub failover: Option<FailoverView>,
}

/// The primary of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrimaryView {
    /// The node.
    pub node: NodeIndex,
    /// The evidence that identifies it.
    pub evidence: PrimaryEvidence,
}

/// Evidence that a node is the primary. The order is that of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrimaryEvidence {
    /// The node serves the slots at the highest epoch of the cluster.
    Cluster,
    /// A majority of the known Sentinels names the node at the highest epoch and can reach it.
    Sentinel,
    /// Most attached replicas follow the node by choice.
    Followers,
    /// The node is the only master that received writes recently.
    Writers,
    /// The configuration expects the node to be master.
    Declared,
    /// The endpoint for writes has constantly led to the node.
    Endpoint,
    /// The node was the undisputed primary, and the same process has continued since.
    Previous,
    /// The node took over the history of another master.
    Lineage,
    /// No other node claims the role of master.
    Sole,
}

/// A statement that a node is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrimaryStatement {
    /// The node.
    pub node: NodeIndex,
    /// The evidence for it.
    pub evidence: PrimaryEvidence,
}

/// Several masters of one data set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitBrainView {
    /// The masters; empty while there is no split brain.
    pub masters: Vec<NodeIndex>,
    /// Monotonic time at which the current or last split brain began.
    pub since: Monotonic,
    /// The split brain existed in the first round: it may have begun at any time before.
    pub began_before_start: bool,
    /// Total time with a split brain since the exporter started.
    pub total: Duration,
    /// Cause of the change of the primary that belongs to it; `None` while it is not decided, and
    /// if the primary did not change.
    pub cause: Option<Cause>,
}

/// Writes that stale masters accepted and the primary does not have. All numbers are changes as
/// `rdb_changes_since_last_save` counts them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostWritesView {
    /// Lost changes since the exporter started.
    pub total: u64,
    /// Lost changes since the current or last split brain began.
    pub in_split_brain: u64,
    /// The last split brain with lost changes.
    pub loss: Option<Loss>,
    /// Changes of each of several masters of one history since they diverged.
    pub diverging: Vec<DivergingWrites>,
    /// Bytes of the replication streams of stale masters beyond the offset at which the primary
    /// took over; `None` if the primary does not continue their histories.
    pub bytes: Option<u64>,
}

/// Changes of a master that its rival does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DivergingWrites {
    /// The master.
    pub node: NodeIndex,
    /// The changes.
    pub changes: ChangeCount,
}

/// A number of changes that is known within bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCount {
    /// The least possible number.
    pub low: u64,
    /// The most probable number; the least one if there is no upper bound.
    pub about: u64,
    /// The largest possible number; the least one if there is no upper bound.
    pub high: u64,
    /// There is no upper bound: a save, a restart or a gap in observation hides a part.
    pub at_least: bool,
}

/// Lost changes of one split brain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loss {
    /// The changes.
    pub changes: ChangeCount,
    /// The stale masters that accepted them, without those in `primary_again`.
    pub stale_masters: Vec<NodeIndex>,
    /// Nodes that accepted them as stale masters and have become primary since.
    pub primary_again: Vec<NodeIndex>,
    /// Monotonic time at which the last of them was counted.
    pub last: Monotonic,
}

/// Periods without a primary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoPrimaryView {
    /// Reason, while there is no primary.
    pub why: Option<NoPrimaryReason>,
    /// Monotonic time at which the current or last period began.
    pub since: Monotonic,
    /// Total time without a primary since the exporter started.
    pub total: Duration,
}

/// Reason why a shard has no primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPrimaryReason {
    /// No node replies.
    AllDown,
    /// The nodes replicate in a circle.
    Loop,
    /// A node does not reply, for example the last primary, and no other claims to be master.
    PrimaryDown,
    /// All nodes reply and claim to be replicas.
    AllReplicas,
}

/// Restarts of the primary without its data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmptiedView {
    /// Number since the exporter started.
    pub total: u64,
    /// Monotonic time of the last one.
    pub last: Option<Monotonic>,
    /// Keys without expiry that the primary held before the last one.
    pub keys: u64,
}

/// A change of the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrimaryChange {
    /// Wall time of the round that detected the change.
    pub at: SystemTime,
    /// The primary before.
    pub from: NodeIndex,
    /// The primary after.
    pub to: NodeIndex,
    /// Cause of the change.
    pub cause: Cause,
}

/// Cause of a change of the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A failover by Sentinels.
    Sentinel,
    /// The command `REPLICAOF` or `SLAVEOF`, sent by an operator.
    Operator,
    /// The command `FAILOVER`.
    FailoverCommand,
    /// A failover of a cluster.
    Cluster,
    /// The node was started as a master.
    Restart,
    /// Unknown.
    Unknown,
}

impl LostWritesView {
    /// Returns the lost changes of the current or last split brain.
    pub(crate) fn lost_changes(&self) -> ChangeCount {
        let loss = self.loss.as_ref().filter(|_| self.in_split_brain > 0);
        loss.map(|loss| loss.changes).unwrap_or_default()
    }
}

impl ChangeCount {
    /// Returns the sum of two numbers.
    #[must_use]
    pub fn plus(self, other: ChangeCount) -> ChangeCount {
        ChangeCount {
            low: self.low.saturating_add(other.low),
            about: self.about.saturating_add(other.about),
            high: self.high.saturating_add(other.high),
            at_least: self.at_least || other.at_least,
        }
    }
}

/// Writes the number in words: `25`, `about 25 (20 to 31)` or `at least 20`.
impl fmt::Display for ChangeCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChangeCount { low, about, high, at_least } = self;
        if *at_least {
            write!(f, "at least {low}")
        } else if low == high {
            write!(f, "{about}")
        } else {
            write!(f, "about {about} ({low} to {high})")
        }
    }
}

impl ShardView {
    /// Returns true if the node belongs to the shard.
    pub fn contains(&self, index: NodeIndex) -> bool {
        self.members.binary_search(&index).is_ok()
    }

    /// Returns the shard without its outdated state: only its labels and counters remain.
    pub(crate) fn without_state(&self) -> Self {
        ShardView {
            labels: Arc::clone(&self.labels),
            shard: self.shard.clone(),
            last_primary: self.last_primary,
            split_brain: SplitBrainView { masters: Vec::new(), ..self.split_brain.clone() },
            lost_writes: LostWritesView {
                bytes: None,
                diverging: Vec::new(),
                ..self.lost_writes.clone()
            },
            no_primary: NoPrimaryView { why: None, ..self.no_primary },
            primary_change_counts: self.primary_change_counts,
            emptied: self.emptied,
            dataset_replaced: self.dataset_replaced.clone(),
            ..ShardView::default()
        }
    }

    /// Returns the primary, or all masters if the configuration expects several.
    pub fn primaries(&self) -> impl Iterator<Item = &NodeIndex> {
        self.primaries.iter()
    }

    /// Returns true if one of several masters certainly accepted changes that will be lost,
    /// whichever of them wins, or that are lost already.
    pub(crate) fn has_diverging_writes(&self) -> bool {
        let primary = self.primary.map(|primary| primary.node);
        let rivals = self.lost_writes.diverging.iter();
        let at_risk = rivals
            .filter(|diverging| Some(diverging.node) != primary && diverging.changes.low > 0)
            .count();
        // Without a primary, any one of them may win.
        self.lost_writes.in_split_brain > 0 || at_risk > usize::from(primary.is_none())
    }

    /// Returns true if it is certain which node is the primary: advice may name nodes to demote.
    pub fn is_primary_certain(&self) -> bool {
        !self.primary_disputed && !self.primary_unconfirmed
    }
}

impl PrimaryEvidence {
    /// Returns the value of the label `evidence`.
    pub const fn label(self) -> &'static str {
        match self {
            PrimaryEvidence::Cluster => "cluster",
            PrimaryEvidence::Sentinel => "sentinel",
            PrimaryEvidence::Followers => "followers",
            PrimaryEvidence::Writers => "writers",
            PrimaryEvidence::Declared => "declared",
            PrimaryEvidence::Endpoint => "endpoint",
            PrimaryEvidence::Previous => "previous",
            PrimaryEvidence::Lineage => "lineage",
            PrimaryEvidence::Sole => "sole",
        }
    }
}

impl NoPrimaryReason {
    /// Returns the value of `why` in events and documents.
    pub const fn label(self) -> &'static str {
        match self {
            NoPrimaryReason::AllDown => "all_down",
            NoPrimaryReason::Loop => "loop",
            NoPrimaryReason::PrimaryDown => "primary_down",
            NoPrimaryReason::AllReplicas => "all_replicas",
        }
    }
}

impl Cause {
    /// All causes, in the order of the reference.
    pub const ALL: [Cause; 6] = [
        Cause::Sentinel,
        Cause::Operator,
        Cause::FailoverCommand,
        Cause::Cluster,
        Cause::Restart,
        Cause::Unknown,
    ];

    /// Returns the value of the label `cause`.
    pub const fn label(self) -> &'static str {
        match self {
            Cause::Sentinel => "sentinel",
            Cause::Operator => "operator",
            Cause::FailoverCommand => "failover_command",
            Cause::Cluster => "cluster",
            Cause::Restart => "restart",
            Cause::Unknown => "unknown",
        }
    }

    /// Returns true unless the change was certainly no failover by servers. Such a failover has two
    /// masters for some seconds by design.
    pub(crate) const fn may_be_failover(self) -> bool {
        match self {
            Cause::Sentinel | Cause::FailoverCommand | Cause::Cluster | Cause::Unknown => true,
            Cause::Operator | Cause::Restart => false,
        }
    }
}
