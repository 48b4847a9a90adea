//! Comparison of alerts with harm.

use std::time::Duration;

use super::{Comparison, Fact, Rule};
use crate::plan::Kind;
use crate::truth::DeploymentTruth;

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
            self.compare_silence(index, deployment);
        }
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
