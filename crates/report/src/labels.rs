//! Labels from closed sets in plain words, for pages and `diagnose`. Metrics and JSON documents use
//! the labels themselves.

use snapshot::Reason;
use topology::evidence::{ClusterDownReporters, ReplacementReason, SentinelConfigError};
use topology::{
    Cause, Disagreement, FailoverBlocker, LinkState, MisrouteReason, NoPrimaryReason, OrphanReason,
    PauseCause, PrimaryEvidence, PromotionObstacle, RefusalReason, Refusals, UnknownReason,
    UnreachedReason, Witness, WitnessKind,
};

/// Appends the label to its meaning: runbooks and metrics use the label.
fn with_label(meaning: &str, label: &str) -> String {
    format!("{meaning} ({label})")
}

/// Returns the state of a node whose state is unknown for this reason.
pub(crate) const fn unknown_node(why: UnknownReason) -> &'static str {
    match why {
        UnknownReason::CutOff => "unknown (Rolecall is cut off)",
        UnknownReason::Undecided => "unknown (no reply yet)",
        UnknownReason::NeverReached => "unknown (never reached)",
    }
}

/// Returns the kind of a witness.
pub(crate) const fn witness_kind(kind: WitnessKind) -> &'static str {
    match kind {
        WitnessKind::Replica => "replica",
        WitnessKind::Primary => "primary",
        WitnessKind::Sentinel => "Sentinel",
        WitnessKind::Cluster => "cluster node",
        WitnessKind::Endpoint => "endpoint check",
    }
}

/// Returns the last observation of a witness.
pub(crate) fn observation(witness: &Witness) -> &'static str {
    match (witness.kind, witness.says_down()) {
        (WitnessKind::Replica, false) => "link up",
        (WitnessKind::Replica, true) => "link down",
        (WitnessKind::Primary, false) => "lists it as online",
        (WitnessKind::Primary, true) => "does not list it as online",
        (WitnessKind::Sentinel | WitnessKind::Cluster, false) => "gets replies to its pings",
        (WitnessKind::Sentinel, true) => "considers it down",
        (WitnessKind::Cluster, true) => "considers it failed",
        (WitnessKind::Endpoint, false) => "reached it",
        (WitnessKind::Endpoint, true) => "did not reach it",
    }
}

/// Returns the evidence that identifies a primary.
pub(crate) const fn primary_evidence(evidence: PrimaryEvidence) -> &'static str {
    match evidence {
        PrimaryEvidence::Cluster => "configuration epoch",
        PrimaryEvidence::Sentinel => "most Sentinels",
        PrimaryEvidence::Followers => "replicas",
        PrimaryEvidence::Writers => "clients that write",
        PrimaryEvidence::Declared => "configured role",
        PrimaryEvidence::Endpoint => "write endpoint",
        PrimaryEvidence::Previous => "earlier rounds",
        PrimaryEvidence::Lineage => "replication history",
        PrimaryEvidence::Sole => "only master",
    }
}

/// Returns the reason for which a shard has no primary.
pub(crate) fn no_primary(reason: NoPrimaryReason) -> String {
    let meaning = match reason {
        NoPrimaryReason::AllDown => "all nodes are down",
        NoPrimaryReason::Loop => "the nodes replicate in a loop",
        NoPrimaryReason::PrimaryDown => "the primary is down",
        NoPrimaryReason::AllReplicas => "all nodes are replicas",
    };
    with_label(meaning, reason.label())
}

/// Returns the way in which a data set was replaced.
pub(crate) fn replacement(reason: ReplacementReason) -> String {
    let meaning = match reason {
        ReplacementReason::ForeignPrimary => "full resync from a foreign master",
        ReplacementReason::Planned => "REPLICAOF by an operator",
        ReplacementReason::ForeignMasters => "foreign masters took slots of the cluster",
    };
    with_label(meaning, reason.label())
}

/// Returns the reason for which a replica is not connected to the primary.
pub(crate) fn orphan(reason: OrphanReason) -> String {
    let meaning = match reason {
        OrphanReason::UnknownAddress => "unknown upstream",
        OrphanReason::DeadNode => "upstream is down",
        OrphanReason::StaleMaster => "upstream is a stale master",
        OrphanReason::BrokenChain => "upstream is disconnected",
    };
    with_label(meaning, reason.label())
}

/// Returns the probable reason for which clients write to a replica.
pub(crate) fn misroute(reason: MisrouteReason) -> String {
    let meaning = match reason {
        MisrouteReason::WrongEndpoint => "clients use the wrong endpoint",
        MisrouteReason::Demotion => "the node was demoted recently",
        MisrouteReason::StaleTopology => "clients use an outdated topology",
        MisrouteReason::Unknown => return "unknown".to_owned(),
    };
    with_label(meaning, reason.label())
}

/// Returns the form of a disagreement of Sentinels.
pub(crate) fn disagreement(disagreement: Disagreement) -> String {
    let meaning = match disagreement {
        Disagreement::Majority => "most Sentinels name another node",
        Disagreement::RoleReported => "the named master reports that it is a replica",
        Disagreement::Dissenter => "a minority of the Sentinels names another node",
    };
    with_label(meaning, disagreement.label())
}

/// Returns an error in the nodes that Sentinels list.
pub(crate) fn sentinel_config_error(error: SentinelConfigError) -> String {
    let meaning = match error {
        SentinelConfigError::SelfReplication => "a node is listed as its own replica",
        SentinelConfigError::MixedNames => "host names and IP addresses are mixed",
        SentinelConfigError::UnknownMaster => "a Sentinel does not know the master",
    };
    with_label(meaning, error.label())
}

/// Returns the share of the masters that report a cluster as failed.
pub(crate) fn cluster_down_reporters(reporters: ClusterDownReporters) -> String {
    let meaning = match reporters {
        ClusterDownReporters::Majority => "reported by at least half of the masters",
        ClusterDownReporters::Minority => "reported by fewer than half of the masters",
    };
    with_label(meaning, reporters.label())
}

/// Returns a reason for which a node refuses commands.
pub(crate) fn refusal(reason: RefusalReason) -> String {
    let meaning = match reason {
        RefusalReason::MisconfAof => "AOF write error",
        RefusalReason::MisconfRdb => "last RDB save failed",
        RefusalReason::Oom => "memory limit reached",
        RefusalReason::Noreplicas => "too few good replicas",
        RefusalReason::Masterdown => "replication link is down",
        RefusalReason::Loading => "loading the data set",
        RefusalReason::Busy => "blocked by a script",
        RefusalReason::Clusterdown => "cluster is down",
        RefusalReason::Paused => "writes wait",
    };
    with_label(meaning, reason.label())
}

/// Returns the operation for which writes wait.
pub(crate) fn pause_cause(cause: PauseCause) -> String {
    let meaning = match cause {
        PauseCause::ClientPause => "command CLIENT PAUSE",
        PauseCause::Failover => "failover that waits for a replica",
        PauseCause::Shutdown => "shutdown that waits for replicas",
        PauseCause::SlotMigration => "migration of slots that waits for its target",
        PauseCause::Other => "operation that Rolecall does not know",
    };
    with_label(meaning, cause.label())
}

/// Returns the reason for which a Sentinel gets no valid replies from the primary.
pub(crate) fn unreached(reason: UnreachedReason) -> String {
    let meaning = match reason {
        UnreachedReason::Auth => "the primary refuses their password or user",
        UnreachedReason::Misconf => "the primary cannot save its data, and replies MISCONF",
        UnreachedReason::ErrorReply => "the primary replies to their pings with an error",
        UnreachedReason::Network => "no reply of the primary arrives",
    };
    with_label(meaning, reason.label())
}

/// Returns the reasons that apply now.
pub(crate) fn refusals(refusals: &Refusals) -> impl Iterator<Item = String> {
    refusals.iter().filter(|(_, applies)| *applies).map(|(reason, _)| refusal(*reason))
}

/// Returns a reason for which a failover would fail or lose data.
pub(crate) fn failover_blocker(blocker: FailoverBlocker) -> String {
    let meaning = match blocker {
        FailoverBlocker::NoCandidate => "no replica would be promoted",
        FailoverBlocker::CandidateEmpty => "the replica was never synchronized",
        FailoverBlocker::NoQuorum => "too few Sentinels reach each other",
        FailoverBlocker::SentinelsBlind => "the Sentinels cannot reach the primary",
        FailoverBlocker::Waiting => "the Sentinels wait after an aborted failover",
        FailoverBlocker::CandidateLagging => "the replica is far behind",
    };
    with_label(meaning, blocker.label())
}

/// Returns the reason for which a replica would not be promoted.
pub(crate) const fn promotion_obstacle(obstacle: PromotionObstacle) -> &'static str {
    match obstacle {
        PromotionObstacle::Priority => "priority 0",
        PromotionObstacle::NoFailover => "cluster-replica-no-failover",
        PromotionObstacle::TooFewMasters => "the cluster has fewer than three masters",
        PromotionObstacle::MastersDown => "too many masters are down",
        PromotionObstacle::Down => "does not reply",
        PromotionObstacle::LinkDown => "link down for too long",
    }
}

/// Returns the state of a replication link.
pub(crate) fn link_state(state: LinkState) -> String {
    state.label().replace('_', " ")
}

/// Returns the cause of a change of the primary.
pub(crate) const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Sentinel => "Sentinel failover",
        Cause::Operator => "REPLICAOF by an operator",
        Cause::FailoverCommand => "command FAILOVER",
        Cause::Cluster => "cluster failover",
        Cause::Restart => "restart as a master",
        Cause::Unknown => "unknown",
    }
}

/// Returns a sentence about the reason of a missed or failed poll.
pub(crate) const fn poll_failure(reason: Reason) -> &'static str {
    match reason {
        Reason::Dns => "The host name does not resolve.",
        Reason::Refused => "The host refuses the connection: nothing listens on this port.",
        Reason::Unreachable => "There is no route to the host.",
        Reason::Timeout => "No reply in time.",
        Reason::Reset => "The connection was reset.",
        Reason::Closed => "The server closed the connection.",
        Reason::Tls => "The TLS handshake failed.",
        Reason::Auth => "The credentials are missing or wrong.",
        Reason::Noperm => "The ACL of the user does not allow INFO.",
        Reason::Busy => "The server is blocked by a script.",
        Reason::Maxclients => "The server has reached its maxclients limit.",
        Reason::Protocol => "The reply is not a valid INFO reply of the Redis protocol.",
        Reason::Toolarge => "The reply exceeds the size limit.",
        Reason::Unsupported => "no INFO: a proxy? Or the command is renamed.",
        Reason::Identity => "Another server replies at this address.",
        Reason::Local => "A limit or error on the host of Rolecall, or trust denies the address.",
    }
}
