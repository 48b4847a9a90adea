//! Comparison of statements about foreign data and wrong passwords.

use super::{Comparison, Rule};
use crate::operation::Act;
use crate::truth::DeploymentTruth;

/// Alert and finding about a replaced data set.
const REPLACED: &str = "RedisDatasetReplaced";

/// Alert about clients with a wrong password.
const BLAMED: &str = "RedisClientAuthFailing";

impl Comparison<'_> {
    pub(super) fn compare_foreign(&mut self) {
        let (truth, observed) = (self.truth, self.observed);
        let is_found = |deployment: &DeploymentTruth| observed.finds(deployment.name, REPLACED);
        // An exporter that started later never saw the former data.
        let saw_former_data = |deployment: &&DeploymentTruth| {
            let met = deployment.acts.get(&Act::Foreign);
            met.is_some_and(|met| *met > truth.exporter_started)
        };
        let can_lose_data = |deployment: &DeploymentTruth| {
            truth.deployments.iter().all(|other| deployment.accepts_same_password(other))
        };
        let merged: Vec<_> = truth
            .deployments
            .iter()
            .filter(|deployment| deployment.is_merged() && can_lose_data(deployment))
            .filter(saw_former_data)
            .collect();
        if truth.is_network_whole && !merged.is_empty() {
            let is_found = merged.into_iter().any(is_found);
            self.check(Rule::ReplacedData, (0, 0), is_found, || {
                "the clusters were merged, and no replaced data set is found".to_owned()
            });
        }
        for (index, deployment) in truth.deployments.iter().enumerate() {
            if !deployment.acts.contains_key(&Act::Foreign) || !can_lose_data(deployment) {
                let is_found = is_found(deployment);
                self.check(Rule::ReplacedData, (index, 1), !is_found, || {
                    "a replaced data set is found, but no node has data of foreign masters"
                        .to_owned()
                });
            }
            if !deployment.acts.contains_key(&Act::Password) {
                self.compare_blamed_clients(index, deployment);
            }
        }
    }

    /// Checks that no client of a deployment is blamed whose clients all have the right password.
    /// Servers and clients of another deployment may have a wrong one for a node, but Rolecall must
    /// not take its own attempts for theirs.
    fn compare_blamed_clients(&mut self, index: usize, deployment: &DeploymentTruth) {
        let observed = self.observed;
        let stated = observed.deployment(deployment.name);
        let blamed: Vec<_> = observed
            .alerts_of(deployment.name)
            .filter(|labels| labels.get("alertname").is_some_and(|name| name == BLAMED))
            .filter_map(|labels| labels.get("node"))
            .collect();
        let mut others = blamed.len();
        for (number, node) in deployment.nodes.iter().enumerate() {
            let addresses = &deployment.addresses[number];
            let document = stated.and_then(|stated| stated.node(addresses));
            let is_blamed = document.is_some_and(|document| blamed.contains(&&document.name));
            others -= usize::from(is_blamed);
            let holds = !is_blamed || node.denied_foreigner;
            self.check(Rule::ClientBlamed, (index, number), holds, || {
                format!("{BLAMED} fires for n{number}, but all clients have the right password")
            });
        }
        // Rolecall may take nodes of another deployment for members, but only after they met.
        let holds = others == 0 || deployment.has_met_another();
        self.check(Rule::ClientBlamed, (index, 0), holds, || {
            format!("{BLAMED} fires, but all clients have the right password")
        });
    }
}
