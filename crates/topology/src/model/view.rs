//! State of a deployment after a round. Immutable: each round creates a new view.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::Role;

use crate::limits::{DEMOTED_WITHIN, PRIMARY_AWAITED_FOR, SPLIT_BRAIN_CRITICAL_AFTER};
use crate::model::cluster::ClusterView;
use crate::model::counters::succeeded;
use crate::model::deployment::{Deployment, DeploymentKind, Expectations, NodeKind};
use crate::model::endpoint::EndpointView;
use crate::model::event_history::EventHistory;
use crate::model::excess::Excess;
use crate::model::finding::{Finding, Severity};
use crate::model::identity::{ForeignMastersView, SharedNode};
use crate::model::monotonic::Monotonic;
use crate::model::node::{NodeView, Upstream};
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::refusals::refuses;
use crate::model::round::ResolvedName;
use crate::model::sentinels::SentinelsView;
use crate::model::shard::{Cause, ShardView};

/// State of a deployment after a round.
#[derive(Debug, Clone)]
pub struct DeploymentView {
    /// The deployment as configured and discovered.
    pub deployment: Arc<Deployment>,
    /// Wall time at which the round closed; `None` before the first round.
    pub at: Option<SystemTime>,
    /// Monotonic time at which the round closed.
    pub now: Monotonic,
    /// Rounds so far.
    pub rounds: RoundStats,
    /// Expectations that have not expired.
    pub expect: Expectations,
    /// The nodes, including vacant positions: first the configured ones in the order of the
    /// configuration, then the discovered ones.
    pub nodes: NodeVec<NodeView>,
    /// The shards: one, or those of a cluster.
    pub shards: Vec<ShardView>,
    /// The endpoints that applications use.
    pub endpoints: Vec<EndpointView>,
    /// Reports of the Sentinels, if the deployment has any.
    pub sentinels: Option<SentinelsView>,
    /// State of the cluster, if the deployment is one.
    pub cluster: Option<ClusterView>,
    /// Masters that joined the cluster with slots and keys of their own.
    pub foreign_masters: ForeignMastersView,
    /// Nodes whose processes are nodes of other deployments, too.
    pub shared: Vec<SharedNode>,
    /// The DNS names whose addresses are the nodes.
    pub names: Arc<[ResolvedName]>,
    /// Nodes that do not reply, and that a node which replies reports as down.
    pub reported_down: Vec<NodeIndex>,
    /// Things that servers listed and that exceed a limit.
    pub excess: Excess,
    /// Conditions that need attention, the most severe first.
    pub findings: Vec<Finding>,
    /// Recent events.
    pub history: Arc<EventHistory>,
}

/// Rounds of a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoundStats {
    /// Rounds since the exporter started.
    pub total: u64,
    /// Rounds that were due and did not start.
    pub missed: u64,
    /// Rounds in which the exporter was cut off or overloaded.
    pub blind: u64,
    /// Rounds that took longer than a tenth of the interval to compute, without the last round.
    pub slow: u64,
    /// Time from the first request of the last round to its close.
    pub duration: Duration,
    /// Time that the computation of the round before the last one took; `None` before the second
    /// round.
    pub computation: Option<Duration>,
}

impl DeploymentView {
    /// Returns the view before the first round: all nodes are pending.
    pub fn empty(deployment: Arc<Deployment>) -> Self {
        DeploymentView {
            expect: deployment.expect,
            // The shards of a cluster are discovered.
            shards: match deployment.kind {
                DeploymentKind::Cluster => Vec::new(),
                DeploymentKind::Static | DeploymentKind::Sentinel | DeploymentKind::Dns => {
                    vec![ShardView {
                        labels: Arc::new(deployment.labels.clone()),
                        ..ShardView::default()
                    }]
                }
            },
            endpoints: deployment.endpoints.iter().map(EndpointView::pending).collect(),
            nodes: deployment.nodes.values().map(NodeView::pending).collect(),
            deployment,
            at: None,
            now: Monotonic::START,
            rounds: RoundStats::default(),
            sentinels: None,
            cluster: None,
            foreign_masters: ForeignMastersView::default(),
            shared: Vec::new(),
            names: Arc::default(),
            reported_down: Vec::new(),
            excess: Excess::default(),
            findings: Vec::new(),
            history: Arc::default(),
        }
    }

    /// Returns true if the state of a data node is unknown because the exporter is cut off.
    pub fn is_unknown(&self) -> bool {
        self.nodes.values().any(|node| node.holds_data() && node.is_cut_off())
    }

    /// Returns true if the exporter has been cut off for so long that the last known state of a
    /// node, and so that of the deployment, is outdated.
    pub fn is_outdated(&self) -> bool {
        let is_outdated =
            |node: &NodeView| node.polling.unknown.is_some_and(|unknown| unknown.outdated);
        self.nodes.values().any(is_outdated)
    }

    /// Returns the view without outdated state of nodes and shards. Findings, events and counters
    /// remain.
    pub(crate) fn without_outdated(&self) -> Self {
        let mut view = self.clone();
        for (_, node) in view.nodes.iter_mut() {
            if node.polling.unknown.is_some_and(|unknown| unknown.outdated) {
                *node = node.without_state();
            }
        }
        for shard in &mut view.shards {
            *shard = shard.without_state();
        }
        view
    }

    /// Returns the label of a node.
    pub fn name(&self, index: NodeIndex) -> &str {
        &self.nodes[index].node.name
    }

    /// Returns the nodes without vacant positions.
    pub fn members(&self) -> impl Iterator<Item = (NodeIndex, &NodeView)> {
        self.nodes.iter().filter(|(_, node)| node.node.kind != NodeKind::Vacant)
    }

    /// Returns the nodes whose series, findings and events appear in this deployment. Those of a
    /// shared Sentinel appear in one deployment only.
    pub fn shown(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.values().filter(|node| node.shown())
    }

    /// Returns the shard that the node belongs to.
    pub fn shard_of(&self, index: NodeIndex) -> Option<&ShardView> {
        self.shards.iter().find(|shard| shard.contains(index))
    }

    /// Returns the nodes whose return is awaited: their shard lost the primary within
    /// [`PRIMARY_AWAITED_FOR`], and no other node became primary.
    pub fn awaited(&self) -> HashSet<NodeIndex> {
        let (mut awaited, mut seen) = (HashSet::new(), HashSet::new());
        for shard in &self.shards {
            let is_awaited = shard
                .primary_lost_at
                .is_some_and(|lost_at| self.now.since(lost_at) <= PRIMARY_AWAITED_FOR);
            // The first shard of a node decides, as in `shard_of`.
            let members = shard.members.iter().filter(|member| seen.insert(**member));
            awaited.extend(members.filter(|_| is_awaited));
        }
        awaited
    }

    /// Returns the masters of a split brain that accept writes, without the primary. If the
    /// primary is unknown, all but one of them.
    pub fn writable_stale_masters(&self, shard: &ShardView) -> Vec<NodeIndex> {
        let primary = shard.primary.map(|primary| primary.node);
        let accepts_writes = |index: NodeIndex| {
            let node = &self.nodes[index];
            node.up() == Some(true) && !refuses(&node.writes_refused)
        };
        shard
            .split_brain
            .masters
            .iter()
            .copied()
            .filter(|index| Some(*index) != primary && accepts_writes(*index))
            .skip(usize::from(primary.is_none()))
            .collect()
    }

    /// Returns the severity of the last replacement of the data set of a shard; `None` if there was
    /// none recently.
    pub fn dataset_replaced_severity(&self, shard: &ShardView) -> Option<Severity> {
        let last = shard.dataset_replaced.last.as_ref()?;
        Some(if last.planned { Severity::Warning } else { Severity::Critical })
    }

    /// Returns true if a migration explains that a node belongs to another deployment, too: it
    /// replicates from a node that only one of the two has, because an operator sent REPLICAOF, and
    /// no Sentinel sent SLAVEOF.
    pub fn is_migrating(&self, shared: &SharedNode) -> bool {
        let node = &self.nodes[shared.node];
        let follows_here = matches!(node.upstream, Upstream::Node(_));
        let commands = node.snapshot().and_then(|snapshot| snapshot.commands.as_deref());
        node.is_replica()
            && follows_here != shared.follows_there
            && commands.is_some_and(|commands| {
                succeeded(commands, "replicaof") > 0 && succeeded(commands, "slaveof") == 0
            })
    }

    /// Returns the severity of the split brain of a shard; `None` if there is none.
    pub fn split_brain_severity(&self, shard: &ShardView) -> Option<Severity> {
        let split = &shard.split_brain;
        if split.masters.is_empty() {
            return None;
        }
        let lasted = self.now.since(split.since);
        // A stale master that refuses writes does no harm: it is fenced, or a cluster cut it off.
        if lasted > SPLIT_BRAIN_CRITICAL_AFTER && !self.writable_stale_masters(shard).is_empty() {
            return Some(Severity::Critical);
        }
        if !shard.has_diverging_writes() {
            // A split brain of the first round may be days old.
            return Some(if split.began_before_start { Severity::Warning } else { Severity::Info });
        }
        // A failover by Sentinels or by the cluster works that way. While the cause is not decided,
        // it may be one.
        let may_be_failover = split.cause.is_none_or(Cause::may_be_failover);
        Some(if may_be_failover && lasted <= DEMOTED_WITHIN {
            Severity::Warning
        } else {
            Severity::Critical
        })
    }

    /// Returns the nodes for which there is evidence that they are the primary, in the form
    /// `node (evidence, evidence)`.
    pub fn witnesses(&self, shard: &ShardView) -> Vec<String> {
        let statements = shard.primary_statements.chunk_by(|a, b| a.node == b.node);
        statements
            .map(|about| {
                let labels: Vec<_> =
                    about.iter().map(|statement| statement.evidence.label()).collect();
                format!("{} ({})", self.name(about[0].node), labels.join(", "))
            })
            .collect()
    }

    /// Returns true if a node replies.
    pub fn has_reply(&self) -> bool {
        self.members().any(|(_, node)| node.up() == Some(true))
    }

    /// Returns the nodes that claim the role of master.
    pub fn masters(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.values().filter(|node| node.role() == Some(Role::Master))
    }
}
