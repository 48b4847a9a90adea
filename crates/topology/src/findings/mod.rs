//! Findings: conditions that need attention, derived from a view. The set of kinds is closed, and
//! each kind has a runbook of the same name.

mod clients;
mod cluster;
mod endpoints;
mod failover;
mod identity;
mod node;
mod overview;
mod reach;
mod replica;
mod sentinels;
mod shard;
mod tracker;

use std::time::{Duration, SystemTime};

use overview::Overview;
pub(crate) use tracker::FindingsTracker;

use crate::limits::LINK_DOWN_CRITICAL_AFTER;
use crate::model::finding::evidence::IdentifiedPrimary;
use crate::model::finding::{Evidence, Finding, Severity};
use crate::model::node::NodeView;
use crate::model::node_index::NodeIndex;
use crate::model::shard::ShardView;
use crate::model::view::DeploymentView;

impl Finding {
    /// Adjusts the severity, and the duration in the evidence, to the time since the finding was
    /// first seen. Some conditions are normal for a short time, for example during a failover.
    fn escalate(&mut self, lasted: Duration) {
        match &mut self.evidence {
            Evidence::RedisReplicaLinkDown(_) if lasted > LINK_DOWN_CRITICAL_AFTER => {
                self.severity = Severity::Critical;
            }
            Evidence::RedisSentinelDisagreement(evidence) => evidence.lasted = lasted,
            Evidence::RedisSentinelQuorumLost(evidence) => evidence.lasted = lasted,
            _ => {}
        }
        self.severity = self.severity_at(lasted);
    }
}

/// Collects the findings of one view. The methods that detect conditions are in the modules of
/// this directory.
struct FindingsCollector<'a> {
    view: &'a DeploymentView,
    overview: Overview<'a>,
    at: SystemTime,
    /// Label of the shard that is being examined; `None` outside of a cluster.
    shard: Option<String>,
    findings: Vec<Finding>,
}

impl<'a> FindingsCollector<'a> {
    /// Returns the findings of a view of a round that ended at this wall time.
    fn collect(view: &'a DeploymentView, at: SystemTime) -> Vec<Finding> {
        let overview = Overview::of(view);
        let mut collector =
            FindingsCollector { view, overview, at, shard: None, findings: Vec::new() };
        for shard in &view.shards {
            collector.shard.clone_from(&shard.shard);
            collector.check_shard(shard);
        }
        collector.shard = None;
        if let Some(cluster) = &view.cluster {
            collector.check_cluster(cluster);
        }
        for endpoint in &view.endpoints {
            collector.check_endpoint(endpoint);
        }
        if let Some(sentinels) = &view.sentinels {
            collector.check_sentinels(sentinels);
        }
        collector.check_never_reached();
        collector.check_foreign_masters();
        collector.check_shared_nodes();
        for (index, _) in view.members().filter(|(_, node)| node.shown()) {
            collector.check_node(index);
        }
        collector.findings
    }

    fn add(&mut self, severity: Severity, node: Option<&NodeView>, evidence: Evidence) {
        self.findings.push(Finding {
            kind: evidence.kind(),
            severity,
            node: node.map(|node| node.node.name.clone()),
            shard: self.shard.clone(),
            since: self.at,
            evidence,
        });
    }

    fn names(&self, indices: &[NodeIndex]) -> Vec<String> {
        indices.iter().map(|index| self.view.name(*index).to_owned()).collect()
    }

    fn primary(&self, shard: &ShardView) -> Option<IdentifiedPrimary> {
        shard.primary.map(|primary| IdentifiedPrimary {
            node: self.view.name(primary.node).to_owned(),
            evidence: primary.evidence,
        })
    }
}
