//! The evidence of findings: one struct for each shape of evidence. Nodes are given by their
//! labels. The names under which the values are displayed are in `values.rs`.

use std::sync::Arc;
use std::time::Duration;

use snapshot::{Reason, Role};

use crate::model::endpoint::{EndpointKind, EndpointTarget};
use crate::model::failover::{FailoverBlocker, PromotionObstacle};
use crate::model::misrouted::{MisrouteReason, MisroutedClients};
use crate::model::node::LinkState;
use crate::model::node::OrphanReason;
use crate::model::pause::PauseCause;
use crate::model::refusals::RefusalReason;
use crate::model::sentinels::{Disagreement, UnreachedReason};
use crate::model::shard::{Cause, ChangeCount, NoPrimaryReason, PrimaryEvidence};
use crate::model::witness::WitnessKind;

/// The evidence of a finding that needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEvidence;

/// The primary of a shard, with the evidence that identifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedPrimary {
    /// The primary.
    pub node: String,
    /// The evidence that identifies it.
    pub evidence: PrimaryEvidence,
}

/// A node that is down or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDownEvidence {
    /// The reason of the last failed poll.
    pub reason: Reason,
    /// Time since the last reply.
    pub silence: Duration,
    /// The role that the node claimed last.
    pub last_role: Option<Role>,
    /// Setting `appendfsync`, set only for [`FindingKind::RedisDown`]: with `always` a server exits
    /// when its append-only file fails.
    ///
    /// [`FindingKind::RedisDown`]: crate::FindingKind::RedisDown
    pub appendfsync: Option<String>,
    /// Rolecall has no password for the node, and the node requires a login.
    pub password_missing: bool,
}

/// A node that Rolecall cannot reach and that witnesses vouch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachableEvidence {
    /// The reason of the last failed poll.
    pub reason: Reason,
    /// Time since the last reply.
    pub silence: Duration,
    /// The role that the node claimed last.
    pub last_role: Option<Role>,
    /// The witnesses that vouch for the node.
    pub witnesses: Vec<WitnessEvidence>,
    /// Address of the node as other nodes list it, if an entry of `address_map` may be missing.
    pub unmapped: Option<String>,
}

/// A witness that vouches for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessEvidence {
    /// The peer; `None` for a check of an endpoint.
    pub peer: Option<String>,
    /// The way in which it observes the node.
    pub kind: WitnessKind,
    /// Time since the node was alive.
    pub age: Duration,
}

/// Nodes of a deployment that never replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeverReachedEvidence {
    /// The nodes.
    pub nodes: Vec<String>,
    /// Number of nodes of the deployment that replied.
    pub replied: usize,
    /// Number of nodes by the reason of the last failed poll, the most frequent one first.
    pub reasons: Vec<(Reason, usize)>,
}

/// A Sentinel that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentinelDownEvidence {
    /// The reason of the last failed poll.
    pub reason: Reason,
    /// Time since the last reply.
    pub silence: Duration,
}

/// An append-only file that cannot be written or synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AofFailingEvidence {
    /// The role of the node.
    pub role: Option<Role>,
    /// The `aof_buffer_length` field of INFO, bytes.
    pub buffered: Option<u64>,
    /// Setting `appendfsync`.
    pub appendfsync: Option<String>,
}

/// A failed rewrite of the append-only file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AofRewriteEvidence;

/// An append-only file that was not rewritten in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AofBloatedEvidence {
    /// The `aof_current_size` field of INFO, bytes.
    pub current: f64,
    /// Size at which a rewrite was due, bytes.
    pub due: f64,
}

/// An append-only file that is off against expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AofDisabledEvidence {
    /// The role of the node.
    pub role: Option<Role>,
}

/// A failed background save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BgsaveEvidence {
    /// The node refuses writes because of the failed save.
    pub blocks_writes: bool,
}

/// A data set that is being loaded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadingEvidence {
    /// The `loading_eta_seconds` field of INFO.
    pub eta_seconds: Option<f64>,
}

/// The memory of a node and its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryEvidence {
    /// The `used_memory` field of INFO, bytes.
    pub used: f64,
    /// The `maxmemory` field of INFO, bytes.
    pub limit: f64,
}

/// A primary with too few good replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotEnoughReplicasEvidence {
    /// The `min_slaves_good_slaves` field of INFO.
    pub good_replicas: Option<u64>,
}

/// A role that differs from the configured one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleEvidence {
    /// The role that the node claims.
    pub role: Role,
    /// The configured role.
    pub expected: Role,
}

/// A replica and its master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaEvidence {
    /// The upstream of the replica: a node, or an address without a node.
    pub master: Option<String>,
}

/// A replication link that is down or stalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationLinkEvidence {
    /// State of the link.
    pub state: LinkState,
    /// The upstream of the replica: a node, or an address without a node.
    pub master: Option<String>,
}

/// A replica that is not connected to the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanEvidence {
    /// The reason.
    pub reason: OrphanReason,
    /// The upstream of the replica: a node, or an address without a node.
    pub master: Option<String>,
}

/// A replica that lags behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicationLagEvidence {
    /// Replication stream of the primary that the replica has not applied, bytes.
    pub bytes: Option<u64>,
    /// Time since the replication stream of the primary passed the offset of the replica.
    pub behind: Duration,
}

/// A replica that accepts writes from clients: the `slave_read_only` field of INFO is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritableReplicaEvidence;

/// Clients that write to a replica.
#[derive(Debug, Clone, PartialEq)]
pub struct MisroutedWritesEvidence {
    /// The probable reason.
    pub reason: MisrouteReason,
    /// Refused writes per second.
    pub per_second: f64,
    /// Time from the first to the last refused write.
    pub lasted: Duration,
    /// The refused commands, the most refused first.
    pub commands: Vec<Box<str>>,
    /// The clients that write; `None` if CLIENT LIST was not read.
    pub writers: Option<Arc<MisroutedClients>>,
    /// Number of connected clients, if it is too large for CLIENT LIST.
    pub too_many_clients: Option<u64>,
}

/// Clients that connected before their server was demoted.
#[derive(Debug, Clone, PartialEq)]
pub struct StaleClientsEvidence {
    /// The clients.
    pub clients: Arc<MisroutedClients>,
    /// Time since the demotion.
    pub demoted_ago: Duration,
}

/// Masters without a common history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrelatedMastersEvidence {
    /// All masters.
    pub masters: Vec<String>,
    /// The masters that share no history with the primary or with any other master.
    pub unrelated: Vec<String>,
}

/// A primary that restarted without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmptiedPrimaryEvidence {
    /// The primary now.
    pub primary: Option<IdentifiedPrimary>,
    /// Number of keys before the restart.
    pub keys_before: u64,
}

/// A data set that was replaced by foreign data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetReplacedEvidence {
    /// The way in which it was replaced.
    pub reason: ReplacementReason,
    /// The former primary; `None` for [`ReplacementReason::ForeignMasters`].
    pub replaced: Option<ReplacedDataset>,
    /// The foreign masters; empty for the other reasons.
    pub masters: Vec<String>,
}

/// The way in which a data set was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplacementReason {
    /// The primary became a replica of a foreign master, and no operator sent REPLICAOF to it.
    ForeignPrimary,
    /// An operator sent REPLICAOF to the primary: a migration or a rebuild.
    Planned,
    /// Masters with slots and keys of their own joined the cluster.
    ForeignMasters,
}

/// A former primary and the source of its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedDataset {
    /// The former primary.
    pub node: String,
    /// The source: a node, or an address without a node.
    pub from: String,
    /// Keys of the former primary in its last reply as a master.
    pub keys_before: u64,
    /// Its keys after the full resync.
    pub keys_after: u64,
}

/// A process that is a node of several deployments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSharedEvidence {
    /// The other deployments.
    pub deployments: Vec<String>,
    /// The role that the node claims.
    pub role: Option<Role>,
    /// The upstream of the node: a node of this deployment, or another address.
    pub master: Option<String>,
}

/// A node at whose address several servers reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmbiguousNodeEvidence {
    /// Number of servers that replied recently.
    pub servers: usize,
}

/// A node whose role is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRoleEvidence {
    /// The role that the node claims; `None` if it claims none.
    pub role: Option<String>,
    /// The upstream that the node reports.
    pub master: Option<String>,
}

/// Several masters of one data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitBrainEvidence {
    /// The masters.
    pub masters: Vec<String>,
    /// The stale masters among them.
    pub stale: Vec<String>,
    /// The primary, if one is identified.
    pub primary: Option<IdentifiedPrimary>,
    /// If the primary is not certain, the nodes with the evidence for each.
    pub witnesses: Vec<String>,
    /// If nothing decides which master is the primary, the kinds of evidence that would.
    pub missing: Vec<PrimaryEvidence>,
    /// It is certain which node is the primary: advice may name the stale masters.
    pub certain: bool,
    /// Time since the split brain began.
    pub lasted: Duration,
    /// The stale masters that accept writes.
    pub taking_writes: Vec<String>,
    /// Cause of the change of the primary that belongs to it; `None` if there was none, and while
    /// it is not decided.
    pub cause: Option<Cause>,
    /// The masters with their changes since they diverged: `node (about 105 (99 to 110))`.
    pub diverging: Vec<String>,
    /// Changes that are lost already.
    pub unreplicated_writes: u64,
    /// The diverging changes of stale masters as replication stream, bytes.
    pub unreplicated_bytes: Option<u64>,
}

/// Writes that stale masters accepted and the primary does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostWritesEvidence {
    /// The lost changes.
    pub changes: ChangeCount,
    /// The stale masters that accepted them, without those in `primary_again`.
    pub stale: Vec<String>,
    /// Nodes that accepted them as stale masters and have become primary since.
    pub primary_again: Vec<String>,
    /// The primary; `None` if all stale masters have become primary since.
    pub primary: Option<IdentifiedPrimary>,
}

/// Nodes that replicate in a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationLoopEvidence {
    /// The nodes.
    pub nodes: Vec<String>,
    /// The last known primary.
    pub last_primary: Option<String>,
}

/// A shard without a primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPrimaryEvidence {
    /// The reason.
    pub reason: NoPrimaryReason,
    /// The last known primary.
    pub last_primary: Option<String>,
    /// Time without a primary.
    pub lasted: Duration,
}

/// A primary that refuses writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritesBlockedEvidence {
    /// The primary.
    pub primary: String,
    /// The reasons.
    pub reasons: Vec<RefusalReason>,
    /// Slots that the primary imports, if it reports its cluster as failed while the cluster works.
    /// It may not know the present owner of these slots.
    pub importing_slots: Vec<u16>,
    /// Operation for which writes wait, if they do.
    pub paused_by: Option<PauseCause>,
}

/// A command that may still have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopologyCommandEvidence {
    /// Label of the command.
    pub command: &'static str,
    /// Time since it was seen.
    pub ago: Duration,
    /// The `blocked_clients` field of INFO: clients that wait, for any reason.
    pub blocked_clients: Option<u64>,
}

/// A shard with fewer replicas than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaCountEvidence {
    /// Number of replicas.
    pub replicas: usize,
    /// Expected number of replicas.
    pub expected: usize,
}

/// Nodes that report the cluster as failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDownEvidence {
    /// Masters that reply and serve slots.
    pub masters: usize,
    /// Those of them that report `cluster_state:ok`.
    pub ok: usize,
    /// Share of the masters that report the failure.
    pub reported_by: ClusterDownReporters,
    /// The nodes that report `cluster_state:fail`.
    pub nodes: Vec<String>,
}

/// Share of the masters that report a cluster as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterDownReporters {
    /// At least half of the masters.
    Majority,
    /// Fewer than half of the masters, for example a master in a network partition.
    Minority,
}

/// Slots that no working node serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UncoveredSlotsEvidence {
    /// Number of slots.
    pub slots: u64,
}

/// Slots that two nodes claim to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotConflictEvidence {
    /// Number of slots.
    pub slots: u64,
    /// The nodes that claim them.
    pub nodes: Vec<String>,
}

/// Slots that stay migrating or importing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSlotsEvidence {
    /// The slots, in ascending order.
    pub slots: Vec<u16>,
    /// The masters that report them as migrating.
    pub migrating: Vec<String>,
    /// The masters that report them as importing.
    pub importing: Vec<String>,
    /// Time since the first of them was seen open.
    pub open_for: Duration,
}

/// Sentinels that name another node than the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelDisagreementEvidence {
    /// Form of the disagreement.
    pub reason: Disagreement,
    /// The primary.
    pub primary: Option<String>,
    /// The addresses that the Sentinels name instead.
    pub named: Vec<String>,
    /// The Sentinels that name them.
    pub sentinels: Vec<String>,
    /// The highest configuration epoch of these Sentinels.
    pub epoch: Option<u64>,
    /// Time since the finding was first seen.
    pub lasted: Duration,
}

/// Sentinels that consider the primary down, although it replies to Rolecall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelCannotReachEvidence {
    /// The primary.
    pub primary: String,
    /// The reasons, that of the most Sentinels first.
    pub reasons: Vec<UnreachedReason>,
    /// The Sentinels; with the reason of each if they differ.
    pub sentinels: Vec<String>,
    /// Number of Sentinels that reply and monitor the master.
    pub known: usize,
    /// Codes of the error replies of the primary that increase at the pace of the Sentinels.
    pub error_codes: Vec<&'static str>,
    /// Time since the first of them considers the primary down.
    pub lasted: Duration,
}

/// Sentinels that cannot reach the quorum or the majority for a failover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelQuorumEvidence {
    /// The Sentinels that report it.
    pub sentinels: Vec<String>,
    /// Sentinels that these consider reachable.
    pub usable: Option<u64>,
    /// The configured quorum.
    pub quorum: Option<u64>,
    /// Sentinels that these know.
    pub known: Option<u64>,
    /// Time since the finding was first seen.
    pub lasted: Duration,
}

/// Dead nodes that Sentinels still list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelGhostsEvidence {
    /// Addresses of replicas.
    pub replicas: Vec<String>,
    /// Addresses of Sentinels.
    pub sentinels: Vec<String>,
}

/// Errors in the nodes that Sentinels list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelConfigEvidence {
    /// The errors, in the order of [`SentinelConfigError`].
    pub errors: Vec<SentinelConfigError>,
    /// Addresses of the nodes that are listed wrongly.
    pub nodes: Vec<String>,
    /// The Sentinels that do not know the master.
    pub sentinels: Vec<String>,
    /// Name of the master in the configuration.
    pub master_name: String,
    /// Masters that these Sentinels monitor instead, at most [`MAX_MONITORED`].
    pub monitored: Vec<String>,
    /// Number of the masters that these Sentinels monitor.
    pub monitored_total: usize,
}

/// Maximum number of names of masters in the evidence.
pub const MAX_MONITORED: usize = 8;

/// A deployment or shard in which a failover would fail or lose data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverEvidence {
    /// The reasons.
    pub reasons: Vec<FailoverBlocker>,
    /// The replicas of which one would be promoted.
    pub candidates: Vec<String>,
    /// Replicas that would not be promoted, each with the reason.
    pub refused: Vec<(String, PromotionObstacle)>,
    /// Changes of the primary that the worst of the candidates does not have.
    pub changes: Option<ChangeCount>,
    /// Lag of the worst of the candidates.
    pub behind: Option<Duration>,
    /// Time until Sentinels start another failover, while they wait after an aborted one.
    pub waits_for: Option<Duration>,
    /// The configuration alone prevents the promotion of every replica.
    pub disabled: bool,
}

/// An error in the nodes that Sentinels list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SentinelConfigError {
    /// A node is listed as a replica of itself.
    SelfReplication,
    /// Host names and IP addresses are mixed.
    MixedNames,
    /// A Sentinel does not know the master.
    UnknownMaster,
}

/// A Sentinel in TILT mode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SentinelTiltEvidence {
    /// The `sentinel_tilt_since_seconds` field of INFO.
    pub since_seconds: Option<f64>,
}

/// An endpoint that leads to the wrong server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointEvidence {
    /// The endpoint.
    pub endpoint: EndpointKind,
    /// The server behind it.
    pub leads_to: Option<EndpointTarget>,
    /// The role that this server claims.
    pub role: Option<Role>,
    /// The primaries: none, one, or several in a deployment with several expected masters.
    pub primaries: Vec<String>,
    /// Consecutive checks with a wrong result.
    pub checks: u32,
}

impl ReplacementReason {
    /// Returns the value of `why` in documents.
    pub const fn label(self) -> &'static str {
        match self {
            ReplacementReason::ForeignPrimary => "foreign_primary",
            ReplacementReason::Planned => "planned",
            ReplacementReason::ForeignMasters => "foreign_masters",
        }
    }
}

impl ClusterDownReporters {
    /// Returns the value of `why` in documents.
    pub const fn label(self) -> &'static str {
        match self {
            ClusterDownReporters::Majority => "majority",
            ClusterDownReporters::Minority => "minority",
        }
    }
}

impl SentinelConfigError {
    /// Returns the value of `why` in documents.
    pub const fn label(self) -> &'static str {
        match self {
            SentinelConfigError::SelfReplication => "self_replication",
            SentinelConfigError::MixedNames => "mixed_names",
            SentinelConfigError::UnknownMaster => "unknown_master",
        }
    }
}
