//! Comparison of replication links, lag, loops and orphans.

use super::{Comparison, Rule};
use crate::plan::Kind;
use crate::server::Fields;
use crate::truth::DeploymentTruth;

/// Difference that is no contradiction, bytes: what clients write within some seconds.
const LAG_BYTES: i64 = 64 * 1024;

impl Comparison<'_> {
    pub(super) fn compare_links(&mut self) {
        let (truth, observed) = (self.truth, self.observed);
        for (index, deployment) in truth.deployments.iter().enumerate() {
            let Some(stated) = observed.deployment(deployment.name) else { continue };
            for node in 0..deployment.nodes.len() {
                let Some(document) = stated.node(&deployment.addresses[node]) else { continue };
                let info = deployment.info(node).filter(|_| deployment.is_readable(node));
                let Some(info) = info.filter(|info| !info.is_master()) else { continue };
                if document.state != "up" || document.role.as_deref() != Some("replica") {
                    continue;
                }
                let is_up = matches!(document.link_state.as_deref(), Some("up" | "stalled"));
                self.check(Rule::Link, (index, node), is_up == info.is_linked(), || {
                    format!(
                        "the link of n{node} is {:?}, but master_link_status is {:?}",
                        document.link_state,
                        info.get("master_link_status")
                    )
                });
            }
            if deployment.kind != Kind::Cluster {
                self.compare_loop(index, deployment);
                self.compare_replicas(index, deployment);
            }
        }
    }

    fn compare_loop(&mut self, index: usize, deployment: &DeploymentTruth) {
        let stated = self.observed.deployment(deployment.name);
        let Some(shard) = stated.and_then(|stated| stated.shards.first()) else { return };
        let all_read = (0..deployment.nodes.len()).all(|node| deployment.is_readable(node));
        if !all_read {
            return;
        }
        let looping: Vec<_> =
            (0..deployment.nodes.len()).filter(|node| is_in_loop(deployment, *node)).collect();
        let is_right = shard.replication_loop != looping.is_empty();
        self.check(Rule::Loop, (index, 0), is_right, || {
            format!("nodes in a loop: {looping:?}, reported: {}", shard.replication_loop)
        });
    }

    /// Compares the replicas that are linked to the undisputed primary.
    fn compare_replicas(&mut self, index: usize, deployment: &DeploymentTruth) {
        let Some(stated) = self.observed.deployment(deployment.name) else { return };
        let Some(shard) = stated.shards.first() else { return };
        let Some(primary) = self.certain_primary(deployment, shard) else { return };
        let is_master = deployment.info(primary).is_some_and(Fields::is_master);
        if !is_master || !deployment.is_readable(primary) {
            return;
        }
        for node in (0..deployment.nodes.len()).filter(|node| deployment.is_readable(*node)) {
            let Some(document) = stated.node(&deployment.addresses[node]) else { continue };
            if !is_linked_to(deployment, node, primary) {
                continue;
            }
            let orphaned = &document.orphaned;
            self.check(Rule::NoOrphan, (index, node), orphaned.is_none(), || {
                format!("n{node} is linked to the primary n{primary}, but orphaned: {orphaned:?}")
            });
            let offset = |node: usize| deployment.info(node)?.number("master_repl_offset");
            if let (Some(lag), Some(own), Some(whole)) =
                (document.lag_bytes, offset(node), offset(primary))
            {
                let real = (whole - own).max(0);
                let lag = i64::try_from(lag).unwrap_or(i64::MAX);
                self.check(Rule::Lag, (index, node), (lag - real).abs() <= LAG_BYTES, || {
                    format!("n{node} lags {lag} bytes, but the offsets differ by {real}")
                });
            }
        }
    }
}

/// Returns true if a node is linked to another, directly or through other replicas that Rolecall
/// reads.
fn is_linked_to(deployment: &DeploymentTruth, node: usize, primary: usize) -> bool {
    let mut current = node;
    for _ in 0..deployment.nodes.len() {
        if current == primary {
            return current != node;
        }
        let is_linked = deployment.info(current).is_some_and(Fields::is_linked);
        match deployment.upstream(current).filter(|_| is_linked && deployment.is_readable(current))
        {
            Some(upstream) => current = upstream,
            None => return false,
        }
    }
    false
}

fn is_in_loop(deployment: &DeploymentTruth, node: usize) -> bool {
    let mut current = node;
    for _ in 0..deployment.nodes.len() {
        match deployment.upstream(current) {
            Some(upstream) if upstream == node => return true,
            Some(upstream) => current = upstream,
            None => return false,
        }
    }
    false
}
