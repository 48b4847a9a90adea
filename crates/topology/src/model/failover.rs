//! Readiness of a shard for an automatic failover.

use std::time::Duration;

use crate::model::node_index::NodeIndex;
use crate::model::shard::ChangeCount;

/// Readiness of a shard for an automatic failover by Sentinels or by the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailoverView {
    /// Reasons for which a failover would fail or lose data, in the order of
    /// [`FailoverBlocker::ALL`]. Empty if it would succeed.
    pub blockers: Vec<FailoverBlocker>,
    /// The replica that would be promoted. Several if nothing tells in advance which one of them it
    /// would be; none if no replica would be promoted, and while this is unknown.
    pub candidates: Vec<FailoverCandidate>,
    /// Replicas that would not be promoted, in ascending order.
    pub refused: Vec<RefusedReplica>,
    /// Sentinels list fewer replicas than they know. They may promote one that is not listed
    /// (`replica-announced no`).
    pub unlisted: bool,
    /// Time until Sentinels start another failover, while they wait after an aborted one.
    pub waits_for: Option<Duration>,
}

/// A replica that may be promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailoverCandidate {
    /// The replica.
    pub node: NodeIndex,
    /// Changes of the primary that the replica does not have; `None` while this is unknown.
    pub changes: Option<ChangeCount>,
}

/// A replica that would not be promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedReplica {
    /// The replica.
    pub node: NodeIndex,
    /// The reason.
    pub why: PromotionObstacle,
}

/// Reason for which a failover would fail or lose data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailoverBlocker {
    /// No replica would be promoted.
    NoCandidate,
    /// The replica that would be promoted has not completed a synchronization since it started, and
    /// shares no history with the primary.
    CandidateEmpty,
    /// The Sentinels cannot reach quorum or majority.
    NoQuorum,
    /// Most Sentinels consider the primary down, and it replies to Rolecall.
    SentinelsBlind,
    /// A failover was aborted, and the Sentinels wait before they start another one.
    Waiting,
    /// The replica that would be promoted is far behind the primary.
    CandidateLagging,
}

/// Reason for which a replica would not be promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PromotionObstacle {
    /// Its `replica-priority` is 0.
    Priority,
    /// Its `cluster-replica-no-failover` is set.
    NoFailover,
    /// The cluster has fewer than three masters with slots, so no majority is left to elect it.
    TooFewMasters,
    /// So many masters of the cluster are down that no majority is left to elect it.
    MastersDown,
    /// It does not reply.
    Down,
    /// Its link to the primary has been down for too long, or was never up.
    LinkDown,
}

impl FailoverView {
    /// Returns true if a failover would succeed.
    pub fn is_ready(&self) -> bool {
        self.blockers.is_empty()
    }

    /// Returns true if the configuration alone prevents the promotion of every replica. Such a
    /// state is no part of a failover.
    pub(crate) fn is_disabled(&self) -> bool {
        let is_configured = |refused: &RefusedReplica| refused.why.is_configured();
        self.blockers.contains(&FailoverBlocker::NoCandidate)
            && !self.refused.is_empty()
            && self.refused.iter().all(is_configured)
    }
}

impl FailoverBlocker {
    /// Every reason, in the order of the reference.
    pub const ALL: [FailoverBlocker; 6] = [
        FailoverBlocker::NoCandidate,
        FailoverBlocker::CandidateEmpty,
        FailoverBlocker::NoQuorum,
        FailoverBlocker::SentinelsBlind,
        FailoverBlocker::Waiting,
        FailoverBlocker::CandidateLagging,
    ];

    /// Returns the value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            FailoverBlocker::NoCandidate => "no_candidate",
            FailoverBlocker::CandidateEmpty => "candidate_empty",
            FailoverBlocker::NoQuorum => "no_quorum",
            FailoverBlocker::SentinelsBlind => "sentinels_blind",
            FailoverBlocker::Waiting => "waiting",
            FailoverBlocker::CandidateLagging => "candidate_lagging",
        }
    }
}

impl PromotionObstacle {
    /// Returns the value of `why` in documents.
    pub const fn label(self) -> &'static str {
        match self {
            PromotionObstacle::Priority => "priority",
            PromotionObstacle::NoFailover => "no_failover",
            PromotionObstacle::TooFewMasters => "too_few_masters",
            PromotionObstacle::MastersDown => "masters_down",
            PromotionObstacle::Down => "down",
            PromotionObstacle::LinkDown => "link_down",
        }
    }

    /// Returns true if the obstacle is a setting or the size of the cluster, and no fault.
    const fn is_configured(self) -> bool {
        use PromotionObstacle::{NoFailover, Priority, TooFewMasters};
        matches!(self, Priority | NoFailover | TooFewMasters)
    }
}
