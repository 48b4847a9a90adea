//! Readiness of a shard of a cluster: a replica is promoted if its data is recent enough and a
//! majority of the masters with slots votes for it.

use std::time::Duration;

use snapshot::{Config, NodeSnapshot};

use crate::discovery::cluster::ClusterTracker;
use crate::model::failover::{FailoverBlocker, FailoverView, PromotionObstacle, RefusedReplica};
use crate::model::node::{NodeView, Upstream};
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::shard::ShardView;

use super::FailoverRound;
use super::choice::{Contender, TieBreak, choose};
use super::replica::{self, Judgement, candidates, data_blockers, tolerance};

/// Masters with slots that a failover needs: with two, the one that is left is no majority.
const SMALLEST_CLUSTER: usize = 3;

/// The masters with slots, which vote for a replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voters {
    total: usize,
    /// Masters that are not down. A node whose state is unknown counts.
    left: usize,
}

impl Voters {
    /// Counts the masters of a round.
    pub(super) fn count(nodes: &NodeVec<NodeView>, cluster: &ClusterTracker) -> Self {
        let owners = cluster.owners();
        let is_left = |index: NodeIndex| !nodes[index].is_absent();
        let left = owners.iter().filter(|owner| cluster.index(&owner.id).is_none_or(is_left));
        Voters { total: owners.len(), left: left.count() }
    }

    /// Returns the reason for which the masters that are left without the primary are no majority
    /// of all masters with slots; `None` if they are.
    fn lack_without(
        self,
        primary: NodeIndex,
        nodes: &NodeVec<NodeView>,
        cluster: &ClusterTracker,
    ) -> Option<PromotionObstacle> {
        let serves = || {
            let id = cluster.id(primary).filter(|id| cluster.index(id) == Some(primary));
            id.is_some_and(|id| cluster.owner(id).is_some())
        };
        let counts = !nodes[primary].is_absent() && serves();
        let left = self.left - usize::from(counts);
        match self.total {
            0..SMALLEST_CLUSTER => Some(PromotionObstacle::TooFewMasters),
            total if left <= total / 2 => Some(PromotionObstacle::MastersDown),
            _ => None,
        }
    }
}

/// Returns the readiness of a shard; `None` while it is unknown, and without replicas by design.
pub(super) fn readiness(
    shard: &ShardView,
    voters: Voters,
    round: FailoverRound<'_>,
) -> Option<FailoverView> {
    let FailoverRound { nodes, cluster, context, .. } = round;
    let primary = shard.primary.map(|primary| primary.node).or(shard.last_primary)?;
    let members = shard.members.iter().copied();
    let replicas: Vec<_> =
        members.filter(|node| *node != primary && nodes[*node].holds_data()).collect();
    if replicas.is_empty() && shard.expected_replicas == 0 {
        return None;
    }
    let lacks_votes = voters.lack_without(primary, nodes, cluster);
    let (mut contenders, mut refused, mut unknown) = (Vec::new(), Vec::new(), false);
    for node in replicas {
        let judgement = match (judge(node, primary, nodes, cluster), lacks_votes) {
            (Judgement::Accepted | Judgement::Unknown, Some(why)) => Judgement::Refused(why),
            (judgement, _) => judgement,
        };
        match judgement {
            Judgement::Accepted => contenders.extend(contender(node, &nodes[node])),
            Judgement::Refused(why) => refused.push(RefusedReplica { node, why }),
            Judgement::Unknown => unknown = true,
        }
    }
    if contenders.is_empty() && unknown {
        return None;
    }
    let chosen = choose(contenders, TieBreak::Chance, tolerance(context));
    let blockers = if chosen.is_empty() {
        vec![FailoverBlocker::NoCandidate]
    } else {
        data_blockers(&chosen, primary, nodes, context)
    };
    let candidates = candidates(&chosen, nodes);
    Some(FailoverView { blockers, candidates, refused, ..FailoverView::default() })
}

fn judge(
    node: NodeIndex,
    primary: NodeIndex,
    nodes: &NodeVec<NodeView>,
    cluster: &ClusterTracker,
) -> Judgement<PromotionObstacle> {
    let view = &nodes[node];
    if cluster.has_failover_disabled(node) {
        return Judgement::Refused(PromotionObstacle::NoFailover);
    }
    if view.is_absent() {
        return Judgement::Refused(PromotionObstacle::Down);
    }
    let Some(snapshot) = view.snapshot().filter(|_| view.is_replica()) else {
        return Judgement::Unknown;
    };
    if view.upstream != Upstream::Node(primary) {
        return Judgement::Unknown;
    }
    match is_recent(snapshot) {
        Some(true) => Judgement::Accepted,
        Some(false) => Judgement::Refused(PromotionObstacle::LinkDown),
        None => Judgement::Unknown,
    }
}

/// Returns true if the data of a replica is recent enough for a promotion now
/// (`cluster-replica-validity-factor`); `None` if its settings are unknown.
fn is_recent(snapshot: &NodeSnapshot) -> Option<bool> {
    if replica::is_linked(snapshot) {
        return Some(true);
    }
    // A replica that was never synchronized is infinitely old.
    let age = if replica::was_never_linked(snapshot) {
        Duration::MAX
    } else {
        replica::link_down_for(snapshot)?
    };
    Some(age <= validity(snapshot.config.as_deref()?)?)
}

/// Returns the age up to which data is recent enough, which is unlimited without a validity factor;
/// `None` if a setting is unknown.
fn validity(config: &Config) -> Option<Duration> {
    let factor = config.number("cluster-replica-validity-factor")?;
    if factor <= 0.0 {
        return Some(Duration::MAX);
    }
    let timeout = config.number("cluster-node-timeout")? / 1000.0;
    let period = config.number("repl-ping-replica-period")?;
    Duration::try_from_secs_f64(period + timeout * factor).ok()
}

fn contender(node: NodeIndex, view: &NodeView) -> Option<Contender> {
    let snapshot = view.snapshot()?;
    Some(Contender {
        node,
        priority: 0,
        offset: snapshot.replication.offset.unwrap_or_default(),
        run_id: Box::default(),
        live: replica::is_linked(snapshot),
        behind: view.lag.behind,
    })
}
