//! Findings about Sentinels, and about disagreement between Sentinels and nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::FindingsCollector;
use crate::model::finding::evidence::{
    MAX_MONITORED, SentinelConfigError, SentinelConfigEvidence, SentinelDisagreementEvidence,
    SentinelGhostsEvidence, SentinelQuorumEvidence, SentinelTiltEvidence,
};
use crate::model::finding::{Evidence, Severity};

use crate::model::node::NodeView;
use crate::model::node_index::NodeIndex;
use crate::model::sentinels::{Disagreement, SentinelStatement, SentinelsView};

impl FindingsCollector<'_> {
    /// Checks all Sentinels together.
    pub(super) fn check_sentinels(&mut self, sentinels: &SentinelsView) {
        self.check_disagreement(sentinels);
        self.check_reach(sentinels);
        self.check_quorum(sentinels);
        let ghosts = &sentinels.ghosts;
        if !ghosts.replicas.is_empty() || !ghosts.sentinels.is_empty() {
            let evidence = SentinelGhostsEvidence {
                replicas: ghosts.replicas.clone(),
                sentinels: ghosts.sentinels.clone(),
            };
            self.add(Severity::Warning, None, Evidence::RedisSentinelGhosts(evidence));
        }
        self.check_listed_nodes(sentinels);
    }

    fn check_disagreement(&mut self, sentinels: &SentinelsView) {
        let primary =
            self.view.shards.first().and_then(|shard| shard.primary).map(|primary| primary.node);
        let Some(reason) = sentinels.disagreement(primary) else { return };
        let disagrees = |statement: &&SentinelStatement| {
            if reason == Disagreement::RoleReported {
                statement.role_mismatch
            } else {
                sentinels.dissenters.contains(&statement.sentinel)
            }
        };
        let disagreeing: Vec<_> = sentinels.statements.iter().filter(disagrees).collect();
        let mut named: Vec<_> =
            disagreeing.iter().map(|statement| statement.address.clone()).collect();
        named.sort_unstable();
        named.dedup();
        let severity = match reason {
            Disagreement::Dissenter => Severity::Warning,
            Disagreement::Majority | Disagreement::RoleReported => Severity::Critical,
        };
        let evidence = SentinelDisagreementEvidence {
            reason,
            primary: primary.map(|primary| self.view.name(primary).to_owned()),
            named,
            sentinels: self.sentinel_names(&disagreeing),
            epoch: disagreeing.iter().map(|statement| statement.epoch).max(),
            lasted: Duration::ZERO,
        };
        self.add(severity, None, Evidence::RedisSentinelDisagreement(evidence));
    }

    fn check_quorum(&mut self, sentinels: &SentinelsView) {
        if !sentinels.quorum_lost() {
            return;
        }
        let without_quorum: Vec<_> = sentinels
            .statements
            .iter()
            .filter(|statement| statement.quorum.is_some_and(|quorum| !quorum.ok))
            .collect();
        let usable = |statement: &&SentinelStatement| statement.quorum?.usable;
        let evidence = SentinelQuorumEvidence {
            sentinels: self.sentinel_names(&without_quorum),
            usable: without_quorum.iter().filter_map(usable).max(),
            quorum: without_quorum.iter().map(|statement| statement.needed).max(),
            known: without_quorum.iter().map(|statement| statement.known).max(),
            lasted: Duration::ZERO,
        };
        self.add(Severity::Critical, None, Evidence::RedisSentinelQuorumLost(evidence));
    }

    /// Checks the nodes that Sentinels list for contradictions.
    fn check_listed_nodes(&mut self, sentinels: &SentinelsView) {
        let errors: Vec<_> = [
            (SentinelConfigError::SelfReplication, !sentinels.self_replicating.is_empty()),
            (SentinelConfigError::MixedNames, !sentinels.mixed.is_empty()),
            (SentinelConfigError::UnknownMaster, !sentinels.without_master.is_empty()),
        ]
        .into_iter()
        .filter(|(_, present)| *present)
        .map(|(error, _)| error)
        .collect();
        if errors.is_empty() {
            return;
        }
        // Sentinels make a node that is listed as its own replica replicate from itself. The
        // deployment then has no primary.
        let severity = if errors.contains(&SentinelConfigError::SelfReplication) {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let discovery = self.view.deployment.discovery.as_ref();
        let monitored = self.monitored_by(&sentinels.without_master);
        let evidence = SentinelConfigEvidence {
            errors,
            nodes: [&sentinels.self_replicating[..], &sentinels.mixed].concat(),
            sentinels: self.names(&sentinels.without_master),
            master_name: discovery.map(|discovery| discovery.master.clone()).unwrap_or_default(),
            monitored_total: monitored.len(),
            monitored: monitored.into_iter().take(MAX_MONITORED).map(str::to_owned).collect(),
        };
        self.add(severity, None, Evidence::RedisSentinelMisconfigured(evidence));
    }

    /// Returns the names of the masters that these Sentinels monitor.
    fn monitored_by(&self, sentinels: &[NodeIndex]) -> BTreeSet<&str> {
        let snapshots = sentinels.iter().filter_map(|index| self.view.nodes[*index].snapshot());
        let reports = snapshots.filter_map(|snapshot| snapshot.sentinel.as_ref());
        reports.flat_map(|report| report.masters()).map(|report| &*report.master.name).collect()
    }

    fn sentinel_names(&self, statements: &[&SentinelStatement]) -> Vec<String> {
        let sentinels: Vec<_> = statements.iter().map(|statement| statement.sentinel).collect();
        self.names(&sentinels)
    }

    /// Checks one Sentinel for TILT mode.
    pub(super) fn check_tilt(&mut self, node: &NodeView) {
        let Some(snapshot) =
            node.snapshot().filter(|snapshot| snapshot.fields.flag("sentinel_tilt") == Some(true))
        else {
            return;
        };
        let since_seconds =
            snapshot.fields.number("sentinel_tilt_since_seconds").filter(|since| *since >= 0.0);
        let evidence = SentinelTiltEvidence { since_seconds };
        self.add(Severity::Warning, Some(node), Evidence::RedisSentinelTilt(evidence));
    }
}
