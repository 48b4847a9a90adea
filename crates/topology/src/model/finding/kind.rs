//! The closed set of findings: kinds, and the evidence that belongs to each kind.

use super::evidence::{
    AmbiguousNodeEvidence, AofBloatedEvidence, AofDisabledEvidence, AofFailingEvidence,
    AofRewriteEvidence, BgsaveEvidence, ClusterDownEvidence, DatasetReplacedEvidence,
    EmptiedPrimaryEvidence, EndpointEvidence, FailoverEvidence, LoadingEvidence,
    LostWritesEvidence, MemoryEvidence, MisroutedWritesEvidence, NeverReachedEvidence, NoEvidence,
    NoPrimaryEvidence, NodeDownEvidence, NodeSharedEvidence, NotEnoughReplicasEvidence,
    OpenSlotsEvidence, OrphanEvidence, ReplicaCountEvidence, ReplicaEvidence,
    ReplicationLagEvidence, ReplicationLinkEvidence, ReplicationLoopEvidence, RoleEvidence,
    SentinelCannotReachEvidence, SentinelConfigEvidence, SentinelDisagreementEvidence,
    SentinelDownEvidence, SentinelGhostsEvidence, SentinelQuorumEvidence, SentinelTiltEvidence,
    SlotConflictEvidence, SplitBrainEvidence, StaleClientsEvidence, TopologyCommandEvidence,
    UncoveredSlotsEvidence, UnknownRoleEvidence, UnreachableEvidence, UnrelatedMastersEvidence,
    WritableReplicaEvidence, WritesBlockedEvidence,
};
use super::values::{EvidenceValues, Value};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($evidence:ty),)*) => {
        /// The kinds of findings, each named after its alert and its runbook. A cause is listed
        /// before its effects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FindingKind {
            $($(#[$doc])* $kind,)*
        }

        impl FindingKind {
            /// Every kind.
            pub const ALL: &[FindingKind] = &[$(FindingKind::$kind,)*];

            /// Returns the name of the alert.
            pub const fn label(self) -> &'static str {
                match self {
                    $(FindingKind::$kind => stringify!($kind),)*
                }
            }
        }

        /// The typed evidence of a finding. The variant determines the kind of the finding.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Evidence {
            $(
                #[doc = concat!("Evidence of [`FindingKind::", stringify!($kind), "`].")]
                $kind($evidence),
            )*
        }

        impl Evidence {
            /// Returns the kind of finding that this evidence belongs to.
            pub const fn kind(&self) -> FindingKind {
                match self {
                    $(Evidence::$kind(_) => FindingKind::$kind,)*
                }
            }

            /// Returns the evidence as named values, in display order. The names are the keys of
            /// the JSON documents.
            pub fn values(&self) -> Vec<(&'static str, Value)> {
                match self {
                    $(Evidence::$kind(evidence) => evidence.values(),)*
                }
            }
        }
    };
}

kinds! {
    /// Rolecall cannot read a node because of its own credentials, ACL rights or TLS settings.
    RolecallCannotRead(NodeDownEvidence),
    /// Nodes never replied, and nothing shows that they ever ran.
    RolecallNeverReached(NeverReachedEvidence),
    /// Masters without a common history are configured as one deployment.
    RolecallUnrelatedMasters(UnrelatedMastersEvidence),
    /// A process is a node of several deployments.
    RolecallNodeShared(NodeSharedEvidence),
    /// Several servers reply at the address of a node.
    RolecallNodeAmbiguous(AmbiguousNodeEvidence),
    /// A node claims a role that Rolecall does not know, or none.
    RolecallUnknownRole(UnknownRoleEvidence),
    /// A node is down.
    RedisDown(NodeDownEvidence),
    /// Rolecall cannot reach a node that its peers consider alive.
    RedisUnreachable(UnreachableEvidence),
    /// Writing the append-only file fails.
    RedisAofWriteFailing(AofFailingEvidence),
    /// An fsync of the append-only file failed. The error stays until the server is restarted.
    RedisAofFsyncStuck(AofFailingEvidence),
    /// Memory is at its limit, and the server refuses writes.
    RedisOutOfMemory(MemoryEvidence),
    /// The primary refuses writes because it has fewer good replicas than `min-replicas-to-write`.
    RedisNotEnoughReplicas(NotEnoughReplicasEvidence),
    /// The last background save failed.
    RedisBgsaveFailing(BgsaveEvidence),
    /// The data of a primary was replaced by data that shares no history with it.
    RedisDatasetReplaced(DatasetReplacedEvidence),
    /// The primary restarted without its data.
    RedisPrimaryRestartedEmpty(EmptiedPrimaryEvidence),
    /// Several nodes claim to be master of one data set.
    RedisSplitBrain(SplitBrainEvidence),
    /// Stale masters accepted writes that the primary does not have.
    RedisWritesLost(LostWritesEvidence),
    /// Nodes replicate in a circle.
    RedisReplicationLoop(ReplicationLoopEvidence),
    /// No node is primary.
    RedisNoPrimary(NoPrimaryEvidence),
    /// Cluster nodes report `cluster_state:fail`.
    RedisClusterDown(ClusterDownEvidence),
    /// No working node serves some of the slots.
    RedisClusterSlotsUncovered(UncoveredSlotsEvidence),
    /// Two nodes claim to serve the same slots.
    RedisClusterSlotConflict(SlotConflictEvidence),
    /// A slot stays migrating or importing.
    RedisClusterSlotOpen(OpenSlotsEvidence),
    /// The primary refuses writes.
    RedisWritesBlocked(WritesBlockedEvidence),
    /// Sentinels name another node than the primary.
    RedisSentinelDisagreement(SentinelDisagreementEvidence),
    /// Sentinels consider the primary down, although it replies to Rolecall.
    RedisSentinelCannotReach(SentinelCannotReachEvidence),
    /// The reachable Sentinels are too few for a failover.
    RedisSentinelQuorumLost(SentinelQuorumEvidence),
    /// A node claims another role than the configured one.
    RedisUnexpectedRole(RoleEvidence),
    /// An endpoint leads to the wrong server.
    RedisPrimaryEndpointWrong(EndpointEvidence),
    /// A replica cannot authenticate to its master.
    RedisReplicationAuthFailing(ReplicaEvidence),
    /// A replica starts one full resync after another, and none completes.
    RedisFullSyncLoop(ReplicaEvidence),
    /// The replication link of a replica is down.
    RedisReplicaLinkDown(ReplicationLinkEvidence),
    /// A Sentinel is down.
    RedisSentinelDown(SentinelDownEvidence),
    /// A replica refuses reads.
    RedisReplicaRejectsReads(ReplicaEvidence),
    /// There are fewer replicas than expected.
    RedisReplicasMissing(ReplicaCountEvidence),
    /// A shard of a cluster has no replica.
    RedisClusterShardWithoutReplica(ReplicaCountEvidence),
    /// A replica is not connected to the primary.
    RedisReplicaOrphaned(OrphanEvidence),
    /// The replication link of a replica is up, but its master sends nothing.
    RedisReplicaLinkStalled(ReplicationLinkEvidence),
    /// A replica lags behind the primary.
    RedisReplicationLag(ReplicationLagEvidence),
    /// A failover would fail, or lose data.
    RedisFailoverNotReady(FailoverEvidence),
    /// Clients that connected before their server was demoted still write to it.
    RedisStaleClients(StaleClientsEvidence),
    /// Clients write to a replica.
    RedisWritesHitReplica(MisroutedWritesEvidence),
    /// A replica accepts writes from clients.
    RedisReplicaWritable(WritableReplicaEvidence),
    /// The data of a replica differs from the data of its primary.
    RedisReplicaDiverged(ReplicaEvidence),
    /// The last rewrite of the append-only file failed.
    RedisAofRewriteFailing(AofRewriteEvidence),
    /// A Sentinel is in TILT mode: it distrusts its clock and performs no failover.
    RedisSentinelTilt(SentinelTiltEvidence),
    /// Sentinels list nodes that are dead for a long time.
    RedisSentinelGhosts(SentinelGhostsEvidence),
    /// The Sentinels list contradictory or impossible nodes.
    RedisSentinelMisconfigured(SentinelConfigEvidence),
    /// The append-only file is far above the size at which a rewrite is due.
    RedisAofBloated(AofBloatedEvidence),
    /// The append-only file is off, and the configuration expects it to be on.
    RedisAofDisabled(AofDisabledEvidence),
    /// Memory is close to its limit.
    RedisMemoryNearLimit(MemoryEvidence),
    /// The server stopped counting errors by code.
    RedisErrorStatsDisabled(NoEvidence),
    /// A command that may still have an effect: CLIENT PAUSE.
    RedisTopologyCommand(TopologyCommandEvidence),
    /// The node loads its data set.
    RedisLoading(LoadingEvidence),
}

/// Alerts that have no finding, each with the reason.
pub const NO_FINDING: [(&str, &str); 18] = [
    ("RedisPrimaryChanged", "one occurrence, reported as an event"),
    ("RedisRoleFlapping", "a rate over one hour"),
    ("RedisErrorReplies", "a rate over minutes"),
    ("RedisRestarted", "one occurrence, reported as an event"),
    ("RedisCrashLoop", "a rate over minutes"),
    ("RedisReplicaLinkFlapping", "a rate over minutes"),
    ("RedisClientAuthFailing", "a rate over minutes"),
    ("RedisBacklogTooSmall", "one occurrence: a link drop that ended in a full resync"),
    ("RedisAofDelayedFsync", "a rate over minutes"),
    ("RedisForkSlow", "one occurrence"),
    ("RedisMaxClients", "a rate over minutes"),
    ("RedisDiskSpaceLow", "a trend over hours"),
    ("RolecallDown", "about the exporter, which cannot report it while it is down"),
    ("RolecallStale", "about the exporter, which cannot report its own stale data"),
    ("RolecallBlind", "about the exporter, reported as a metric"),
    ("RolecallReloadFailed", "about the exporter, reported as a metric"),
    ("RolecallLimitExceeded", "about a limit of the exporter, shown on the page of the deployment"),
    ("Watchdog", "always fires, to prove that alerts are delivered"),
];
