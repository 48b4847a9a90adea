//! Comparison of alerts with harm.

use std::time::Duration;

use super::{Comparison, Fact, Rule};
use crate::plan::Kind;
use crate::truth::DeploymentTruth;

/// Time for which critical alerts may report harm that is over: the longest range of their
/// expressions, and the longest `keep_firing_for` in a history.
const LOOKS_BACK: Duration = Duration::from_secs(120);

/// Time from the start of a history to its first comparison, at most.
const FIRST: Duration = Duration::from_secs(5);

/// Critical alerts about harm that clients do not see: lost data, data that a crash would lose,
/// restarts, and a failover that would not work.
const WITHOUT_FAILED_WRITES: [&str; 7] = [
    "RedisPrimaryRestartedEmpty",
    "RedisAofWriteFailing",
    "RedisAofFsyncStuck",
    "RedisCrashLoop",
    "RedisSentinelDisagreement",
    "RedisSentinelQuorumLost",
    "RedisSentinelMisconfigured",
];

impl Comparison<'_> {
    pub(super) fn compare_alerts(&mut self) {
        let (truth, observed) = (self.truth, self.observed);
        for (index, deployment) in truth.deployments.iter().enumerate() {
            for node in 0..deployment.nodes.len() {
                if deployment.is_readable(node) {
                    self.compare_down_alert(index, deployment, node);
                }
            }
            let clients = &deployment.clients;
            let all_write = clients.iter().all(|client| client.acknowledged > 0);
            if all_write && deployment.kind != Kind::Cluster {
                let fires = observed.fires(deployment.name, "RedisNoPrimary", "critical");
                self.check(Rule::NoPrimaryAlert, (index, 0), !fires, || {
                    "RedisNoPrimary is critical, but all clients write".to_owned()
                });
            }
            if deployment.all_reply()
                && deployment.kind != Kind::Cluster
                && deployment.masters().len() <= 1
            {
                let fires = observed.fires(deployment.name, "RedisSplitBrain", "critical");
                self.check(Rule::SplitBrainAlert, (index, 0), !fires, || {
                    "RedisSplitBrain is critical, but there is only one master".to_owned()
                });
            }
            self.compare_harmless(index, deployment);
            self.compare_silence(index, deployment);
        }
    }

    /// Checks that no critical alert fires while all nodes work and all clients write.
    fn compare_harmless(&mut self, index: usize, deployment: &DeploymentTruth) {
        let works = self.lasts(Fact::Works, (index, 0), works(deployment));
        // Everything works before the history starts.
        let is_first = works.is_some_and(|works| self.truth.at.saturating_sub(works) < FIRST);
        if !is_first && works.is_none_or(|works| works < LOOKS_BACK) {
            return;
        }
        let critical: Vec<_> = self
            .observed
            .alerts_of(deployment.name)
            .filter(|labels| labels.get("severity").is_some_and(|own| own == "critical"))
            .filter_map(|labels| labels.get("alertname"))
            .filter(|name| !WITHOUT_FAILED_WRITES.contains(&name.as_str()))
            .collect();
        self.check(Rule::HarmlessAlert, (index, 0), critical.is_empty(), || {
            format!("{critical:?} are critical, but all nodes work and all clients write")
        });
    }

    fn compare_down_alert(&mut self, index: usize, deployment: &DeploymentTruth, node: usize) {
        let stated = self.observed.deployment(deployment.name);
        let Some(document) = stated.and_then(|stated| stated.node(&deployment.addresses[node]))
        else {
            return;
        };
        let fires = self.observed.alerts_of(deployment.name).any(|labels| {
            labels.get("alertname").is_some_and(|name| name == "RedisDown")
                && labels.get("node") == Some(&document.name)
        });
        // The node counts as up as late as `RepliesUp` allows, which is checked there.
        let is_up = document.state == "up";
        self.check(Rule::DownAlert, (index, node), !fires || !is_up, || {
            format!("RedisDown fires for n{node}, but it replies")
        });
    }

    /// Checks that an alert fires when all writes of all clients fail for long.
    fn compare_silence(&mut self, index: usize, deployment: &DeploymentTruth) {
        let clients = &deployment.clients;
        let all_fail = clients.iter().all(|client| client.acknowledged == 0)
            && clients.iter().any(|client| client.failed > 0 && client.reaches_all);
        let nodes_read = deployment.nodes.iter().all(|node| node.loss == 0);
        let failing = self.lasts(Fact::WritesFail, (index, 0), all_fail && nodes_read);
        // An exporter that has just started must see the outage itself.
        let since_start = self.truth.at.saturating_sub(self.truth.exporter_started);
        if failing.is_some() && since_start > Duration::from_secs(90) {
            let alerts: Vec<_> = self
                .observed
                .alerts_of(deployment.name)
                .filter(|labels| labels.get("severity").is_some_and(|own| own != "info"))
                .collect();
            self.check(Rule::SilentOutage, (index, 0), !alerts.is_empty(), || {
                format!("no client of {} can write, and no alert fires", deployment.name)
            });
        }
    }
}

/// Returns true if all nodes of a deployment reply and replicate, and all writes succeed.
fn works(deployment: &DeploymentTruth) -> bool {
    deployment.is_replicating()
        && deployment.clients.iter().all(|client| client.acknowledged > 0 && client.failed == 0)
}
