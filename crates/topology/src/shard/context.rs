//! Input of the trackers of a shard: one round.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::model::deployment::{Deployment, Expectations, Labels};
use crate::model::monotonic::Monotonic;
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::round::{NodeReply, PollOutcome, Round};
use crate::model::sentinels::SentinelsView;
use crate::model::view::DeploymentView;
use crate::node::process::ProcessChange;

/// One round of a deployment.
pub(crate) struct RoundContext<'a> {
    pub(crate) round: &'a Round,
    pub(crate) deployment: &'a Deployment,
    pub(crate) expect: Expectations,
    /// Relation of the process that replied to the one before; `None` for nodes without a reply.
    pub(crate) process_changes: &'a NodeVec<Option<ProcessChange>>,
    /// Replies that count instead of those of the round, of nodes at whose addresses several
    /// servers take turns.
    pub(crate) common: &'a NodeMap<NodeReply>,
    /// Time that this round may add to durations that accumulate.
    pub(crate) accrued: Duration,
    /// The view after the previous round, with the nodes of this one.
    pub(crate) previous: &'a DeploymentView,
    pub(crate) sentinels: Option<&'a SentinelsView>,
    /// Nodes that Sentinels list, in ascending order.
    pub(crate) listed: &'a [NodeIndex],
}

/// One round of a shard.
pub(crate) struct ShardContext<'a> {
    pub(crate) round: &'a RoundContext<'a>,
    /// The nodes of the shard, in ascending order.
    pub(crate) members: &'a [NodeIndex],
    /// Nodes that are listed together, in ascending order: by Sentinels, or as one shard of a
    /// cluster.
    pub(crate) listed: &'a [NodeIndex],
    /// Labels of all series of the shard.
    pub(crate) labels: &'a Arc<Labels>,
    /// In a cluster, the node that serves the slots of the shard at the highest epoch.
    pub(crate) slot_owner: Option<NodeIndex>,
}

impl<'a> RoundContext<'a> {
    /// Returns the monotonic time at which the round closed.
    pub(crate) fn now(&self) -> Monotonic {
        self.round.now
    }

    /// Returns the time between two rounds.
    pub(crate) fn interval(&self) -> Duration {
        self.deployment.interval
    }

    /// Returns true if the node replied in this round.
    pub(crate) fn answered(&self, index: NodeIndex) -> bool {
        self.process_change(index).is_some()
    }

    /// Returns the relation of the process that replied to the one before.
    pub(crate) fn process_change(&self, index: NodeIndex) -> Option<ProcessChange> {
        self.process_changes[index]
    }

    /// Returns the reply of a node, even if it is that of a stranger. Where several servers take
    /// turns, it has only what their replies have in common.
    pub(crate) fn reply(&self, index: NodeIndex) -> Option<&'a NodeReply> {
        if let Some(reply) = self.common.get(&index) {
            return Some(reply);
        }
        match self.round.outcomes.get(index) {
            Some(PollOutcome::Answered(reply)) => Some(reply),
            _ => None,
        }
    }
}

impl ShardContext<'_> {
    /// Returns true if a node is listed. Nodes that are listed together belong to one data set even
    /// if their replication histories differ.
    pub(crate) fn is_listed(&self, node: NodeIndex) -> bool {
        self.listed.binary_search(&node).is_ok()
    }
}

impl<'a> Deref for ShardContext<'a> {
    type Target = RoundContext<'a>;

    fn deref(&self) -> &RoundContext<'a> {
        self.round
    }
}
