//! Readiness for an automatic failover: which replica Sentinels or the cluster would promote, and
//! what would prevent it or lose data.

mod attempts;
mod choice;
mod cluster;
mod replica;
mod sentinels;

use crate::discovery::addresses::AddressIndex;
use crate::discovery::cluster::ClusterTracker;
use crate::model::deployment::{DeploymentKind, Expectations};
use crate::model::node::NodeView;
use crate::model::node_index::NodeVec;
use crate::model::sentinels::CannotReach;
use crate::model::shard::ShardView;
use crate::shard::context::RoundContext;

use self::sentinels::SentinelFailoverTracker;

/// Tracks the readiness of a deployment.
#[derive(Debug, Default)]
pub(crate) struct FailoverTracker {
    sentinels: SentinelFailoverTracker,
}

/// Inputs of one round.
#[derive(Clone, Copy)]
pub(crate) struct FailoverRound<'a> {
    pub(crate) nodes: &'a NodeVec<NodeView>,
    pub(crate) cluster: &'a ClusterTracker,
    pub(crate) addresses: &'a AddressIndex,
    /// The Sentinels that consider the primary down, although it replies.
    pub(crate) cannot_reach: &'a CannotReach,
    pub(crate) context: &'a RoundContext<'a>,
}

impl FailoverTracker {
    /// Processes one round: writes the readiness to the shards.
    pub(crate) fn observe(&mut self, shards: &mut [ShardView], round: FailoverRound<'_>) {
        let FailoverRound { nodes, cluster, context, .. } = round;
        let is_meant = is_meant(context.expect);
        let voters = cluster::Voters::count(nodes, cluster);
        for shard in shards {
            shard.failover = match context.deployment.kind {
                DeploymentKind::Sentinel => self.sentinels.observe(shard, round),
                DeploymentKind::Cluster => cluster::readiness(shard, voters, round),
                DeploymentKind::Static | DeploymentKind::Dns => None,
            }
            .filter(|_| is_meant);
        }
    }

    /// Returns true if the lists of the Sentinels should be read in the next round: they show the
    /// moment in which a Sentinel had no contact with a replica yet.
    pub(crate) fn needs_lists(&self) -> bool {
        self.sentinels.needs_lists()
    }
}

/// Returns true unless the configuration shows that no automatic failover is meant.
fn is_meant(expect: Expectations) -> bool {
    let one_master = expect.masters.is_none_or(|masters| masters <= 1);
    one_master && !expect.external && expect.replicas != Some(0)
}
