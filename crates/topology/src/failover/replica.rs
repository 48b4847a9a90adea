//! Properties of a replica that decide about its promotion, from its own reply.

use std::time::Duration;

use snapshot::{LinkStatus, NodeSnapshot};

use crate::limits::{CANDIDATE_LAGS_AFTER, OFFSETS_DIFFER_FOR};
use crate::model::failover::{FailoverBlocker, FailoverCandidate};
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::shard::context::RoundContext;

/// Judgement of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement<R> {
    /// It may be promoted.
    Accepted,
    /// It would not be promoted.
    Refused(R),
    /// Not known yet.
    Unknown,
}

/// Returns the time since the link of a replica went down, as servers compute it: zero while it is
/// up. A link that was never up counts as just lost from Redis 6.2 on, and as lost for decades
/// before. `None` if the reply does not tell.
pub(super) fn link_down_for(snapshot: &NodeSnapshot) -> Option<Duration> {
    match snapshot.replication.link.as_ref()?.status? {
        LinkStatus::Up => Some(Duration::ZERO),
        LinkStatus::Down(_) => {
            let seconds = snapshot.fields.number("master_link_down_since_seconds")?;
            Duration::try_from_secs_f64(seconds.max(0.0)).ok()
        }
    }
}

/// Returns true if the link of a replica is up.
pub(super) fn is_linked(snapshot: &NodeSnapshot) -> bool {
    let link = snapshot.replication.link.as_ref();
    link.is_some_and(|link| link.status == Some(LinkStatus::Up))
}

/// Returns true if the link of a replica was never up since the replica started.
pub(super) fn was_never_linked(snapshot: &NodeSnapshot) -> bool {
    let link = snapshot.replication.link.as_ref();
    link.is_some_and(|link| link.status == Some(LinkStatus::Down(None)))
}

/// Returns the time by which two replicas that follow the primary may seem to differ, because they
/// are not polled at the same moment.
pub(super) fn tolerance(context: &RoundContext<'_>) -> Duration {
    OFFSETS_DIFFER_FOR.max(context.interval() * 3)
}

/// Returns the candidates with the changes that they do not have.
pub(super) fn candidates(
    chosen: &[NodeIndex],
    nodes: &NodeVec<NodeView>,
) -> Vec<FailoverCandidate> {
    let candidate =
        |node: &NodeIndex| FailoverCandidate { node: *node, changes: nodes[*node].lag.changes };
    chosen.iter().map(candidate).collect()
}

/// Returns what is wrong with the data of the replicas of which one would be promoted.
pub(super) fn data_blockers(
    chosen: &[NodeIndex],
    primary: NodeIndex,
    nodes: &NodeVec<NodeView>,
    context: &RoundContext<'_>,
) -> Vec<FailoverBlocker> {
    let any = |has: &dyn Fn(&NodeView) -> bool| chosen.iter().any(|node| has(&nodes[*node]));
    let primary = &nodes[primary];
    let mut blockers = Vec::new();
    if any(&|replica| is_empty(replica, primary)) {
        blockers.push(FailoverBlocker::CandidateEmpty);
    } else if any(&|replica| is_lagging(replica, primary, context)) {
        blockers.push(FailoverBlocker::CandidateLagging);
    }
    blockers
}

/// Returns true if a replica has not completed a synchronization since it started, and its data
/// does not belong to the history of the primary.
fn is_empty(replica: &NodeView, primary: &NodeView) -> bool {
    let (Some(replica), Some(primary)) = (replica.snapshot(), primary.last.as_deref()) else {
        return false;
    };
    let Some(replid) = &replica.replication.replid else { return false };
    let histories = [&primary.replication.replid, &primary.replication.replid2];
    let is_known = histories.iter().any(|history| history.is_some());
    let is_shared = histories.into_iter().flatten().any(|history| history == replid);
    was_never_linked(replica) && is_known && !is_shared
}

/// Returns true if a replica is further behind the primary than permitted.
fn is_lagging(replica: &NodeView, primary: &NodeView, context: &RoundContext<'_>) -> bool {
    let Some((last, primary)) = replica.snapshot().zip(primary.snapshot()) else { return false };
    let link_down_for = link_down_for(last).filter(|_| !is_linked(last));
    let behind = replica.lag.behind.or(link_down_for);
    behind.is_some_and(|behind| behind > lag_limit(primary).max(tolerance(context)))
}

/// Returns the permitted lag: `min-replicas-max-lag` where it is in use.
fn lag_limit(primary: &NodeSnapshot) -> Duration {
    let number = |name| primary.config.as_ref().and_then(|config| config.number(name));
    let is_used = number("min-replicas-to-write").is_some_and(|replicas| replicas > 0.0);
    number("min-replicas-max-lag")
        .filter(|seconds| is_used && *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(CANDIDATE_LAGS_AFTER)
}
