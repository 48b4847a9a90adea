//! Comparison of statements about foreign data and wrong passwords.

use super::{Comparison, Rule};
use crate::operation::Act;
use crate::truth::DeploymentTruth;

/// Alert and finding about a replaced data set.
const REPLACED: &str = "RedisDatasetReplaced";

impl Comparison<'_> {
    pub(super) fn compare_foreign(&mut self) {
        let (truth, observed) = (self.truth, self.observed);
        let is_found = |deployment: &DeploymentTruth| observed.finds(deployment.name, REPLACED);
        // An exporter that started later never saw the former data.
        let saw_former_data = |deployment: &&DeploymentTruth| {
            let met = deployment.acts.get(&Act::Foreign);
            met.is_some_and(|met| *met > truth.exporter_started)
        };
        let merged: Vec<_> = truth
            .deployments
            .iter()
            .filter(|deployment| deployment.is_merged())
            .filter(saw_former_data)
            .collect();
        if truth.is_network_whole && !merged.is_empty() {
            let is_found = merged.into_iter().any(is_found);
            self.check(Rule::ReplacedData, (0, 0), is_found, || {
                "the clusters were merged, and no replaced data set is found".to_owned()
            });
        }
        for (index, deployment) in truth.deployments.iter().enumerate() {
            if !deployment.acts.contains_key(&Act::Foreign) {
                let is_found = is_found(deployment);
                self.check(Rule::ReplacedData, (index, 1), !is_found, || {
                    "a replaced data set is found, but there were no foreign masters".to_owned()
                });
            }
            if !deployment.acts.contains_key(&Act::Password) {
                let blamed = observed.fires(deployment.name, "RedisClientAuthFailing", "warning");
                self.check(Rule::ClientBlamed, (index, 0), !blamed, || {
                    "RedisClientAuthFailing fires, but all clients have the right password"
                        .to_owned()
                });
            }
        }
    }
}
