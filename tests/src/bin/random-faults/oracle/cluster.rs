//! Comparison of the slots of clusters and of the primaries of shards.

use super::{Comparison, Rule};
use crate::plan::Kind;
use crate::server::{Fields, ProcessState};
use crate::truth::DeploymentTruth;

/// Number of slots in a cluster.
const SLOTS: usize = 16_384;

impl Comparison<'_> {
    pub(super) fn compare_clusters(&mut self) {
        let (truth, observed) = (self.truth, self.observed);
        for (index, deployment) in truth.deployments.iter().enumerate() {
            let Some(stated) = observed.deployment(deployment.name) else { continue };
            // Slots of merged clusters belong to nodes of the other one.
            if deployment.kind != Kind::Cluster || deployment.is_merged() {
                continue;
            }
            for shard in &stated.shards {
                let Some(primary) = self.certain_primary(deployment, shard) else { continue };
                if !deployment.is_readable(primary) {
                    continue;
                }
                let own = own_slots(deployment, primary);
                self.check(Rule::PrimaryOfCluster, (index, primary), own > 0, || {
                    format!("n{primary} is the primary of {:?}, but owns no slots", shard.shard)
                });
            }
            self.compare_slots(index, deployment);
        }
    }

    fn compare_slots(&mut self, index: usize, deployment: &DeploymentTruth) {
        let nodes = 0..deployment.nodes.len();
        // A node that runs and hangs may serve its slots in a moment.
        let is_known = |node: usize| {
            deployment.is_readable(node) || deployment.nodes[node].state != ProcessState::Running
        };
        let reads_all = nodes.clone().all(is_known);
        if !reads_all {
            return;
        }
        let covered: usize = nodes
            .clone()
            .filter(|node| deployment.nodes[*node].info.is_some())
            .map(|node| own_slots(deployment, node))
            .sum();
        let replying = deployment.nodes.iter().filter(|node| node.info.is_some());
        let is_ok = replying.clone().all(|node| node.cluster_ok) && covered == SLOTS;
        let reported: Vec<_> = self
            .observed
            .findings
            .iter()
            .filter(|finding| finding.deployment.as_deref() == Some(deployment.name))
            .filter(|finding| {
                let kinds = ["RedisClusterDown", "RedisClusterSlotsUncovered", "RedisNoPrimary"];
                finding.severity == "critical" && kinds.contains(&finding.kind.as_str())
            })
            .map(|finding| finding.summary.clone())
            .collect();
        let all_write =
            deployment.clients.iter().all(|client| client.acknowledged > 0 && client.failed == 0);
        if is_ok && all_write {
            let stated = self.observed.deployment(deployment.name);
            let shards = stated.map(|stated| &stated.shards[..]).unwrap_or_default();
            let refusing: Vec<_> = shards
                .iter()
                .filter(|shard| shard.writable == Some(false))
                .map(|shard| shard.shard.clone().unwrap_or_default())
                .collect();
            self.check(Rule::Writable, (index, 0), refusing.is_empty(), || {
                format!("all writes succeed, but shards are not writable: {refusing:?}")
            });
        }
        if is_ok {
            self.check(Rule::Slots, (index, 0), reported.is_empty(), || {
                format!("all slots have an owner, but: {reported:?}")
            });
        } else if covered < SLOTS && replying.count() > 0 {
            self.check(Rule::Slots, (index, 1), !reported.is_empty(), || {
                format!("only {covered} slots have an owner that replies, and nothing is found")
            });
        }
    }
}

/// Returns the number of slots that a node owns according to itself. A node that is a master in its
/// map but follows another node serves no slots: it refuses all writes.
fn own_slots(deployment: &DeploymentTruth, node: usize) -> usize {
    if !deployment.nodes[node].info.as_ref().is_some_and(Fields::is_master) {
        return 0;
    }
    let own = deployment.nodes[node].map.iter().find(|line| line.has("myself"));
    let ranges = own.filter(|line| line.has("master")).map(|line| &line.slots[..]);
    let slots = ranges.unwrap_or_default().iter();
    slots.map(|(first, last)| usize::from(last - first) + 1).sum()
}
