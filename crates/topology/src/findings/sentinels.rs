//! Conditions that Sentinels are in, or that they are in with one another.

use super::{FindingKind, Found, Severity, Value, list, seconds, text};

use crate::limits::TILT_LASTS;
use crate::model::node::NodeView;
use crate::model::sentinels::{Disagreement, SentinelStatement, SentinelsView};

impl Found<'_> {
    /// Conditions of all Sentinels together.
    pub(super) fn of_sentinels(&mut self, sentinels: &SentinelsView) {
        use FindingKind as DeploymentKind;
        let primary =
            self.view.shards.first().and_then(|shard| shard.primary).map(|primary| primary.node);
        if let Some(why) = sentinels.disagreement(primary) {
            let odd = |said: &&SentinelStatement| {
                if why == Disagreement::RoleReported {
                    said.role_mismatch
                } else {
                    sentinels.dissenters.contains(&said.sentinel)
                }
            };
            let odd: Vec<_> = sentinels.statements.iter().filter(odd).collect();
            let mut named: Vec<_> = odd.iter().map(|said| said.address.as_str()).collect();
            named.sort_unstable();
            named.dedup();
            let mut evidence = vec![("why", text(why.label()))];
            evidence.extend(primary.map(|primary| ("primary", text(self.view.name(primary)))));
            evidence.push(("named", list(&named)));
            evidence.push((
                "sentinels",
                self.names(&odd.iter().map(|said| said.sentinel).collect::<Vec<_>>()),
            ));
            evidence.extend(
                odd.iter()
                    .map(|said| said.epoch)
                    .max()
                    .map(|epoch| ("epoch", Value::Number(epoch as f64))),
            );
            let severity =
                if why == Disagreement::Dissenter { Severity::Warning } else { Severity::Critical };
            self.add(DeploymentKind::RedisSentinelDisagreement, severity, None, evidence);
        }
        if sentinels.quorum_lost() {
            let without: Vec<_> = sentinels
                .statements
                .iter()
                .filter(|said| said.quorum.is_some_and(|quorum| !quorum.ok))
                .collect();
            let usable = without
                .iter()
                .filter_map(|said| said.quorum?.usable)
                .max()
                .map(|usable| ("usable", usable));
            let needed =
                without.iter().map(|said| said.needed).max().map(|needed| ("quorum", needed));
            let known = without.iter().map(|said| said.known).max().map(|known| ("known", known));
            let mut evidence = vec![(
                "sentinels",
                self.names(&without.iter().map(|said| said.sentinel).collect::<Vec<_>>()),
            )];
            evidence.extend(
                [usable, needed, known]
                    .into_iter()
                    .flatten()
                    .map(|(name, count)| (name, Value::Number(count as f64))),
            );
            self.add(DeploymentKind::RedisSentinelQuorumLost, Severity::Critical, None, evidence);
        }
        let ghosts = &sentinels.ghosts;
        if !ghosts.replicas.is_empty() || !ghosts.sentinels.is_empty() {
            let evidence = vec![
                ("replicas", Value::List(ghosts.replicas.clone())),
                ("sentinels", Value::List(ghosts.sentinels.clone())),
            ];
            self.add(DeploymentKind::RedisSentinelGhosts, Severity::Warning, None, evidence);
        }
        let faults = [
            ("self_replication", !sentinels.self_replicating.is_empty()),
            ("mixed_names", !sentinels.mixed.is_empty()),
            ("unknown_master", !sentinels.without_master.is_empty()),
        ];
        let why: Vec<_> =
            faults.into_iter().filter(|(_, found)| *found).map(|(why, _)| why).collect();
        if !why.is_empty() {
            let nodes = [&sentinels.self_replicating[..], &sentinels.mixed].concat();
            let mut evidence = vec![("why", list(&why)), ("nodes", Value::List(nodes))];
            evidence.extend(
                (!sentinels.without_master.is_empty())
                    .then(|| ("sentinels", self.names(&sentinels.without_master))),
            );
            // A Sentinel tells such a node to follow itself, and then there is no primary.
            let severity = if sentinels.self_replicating.is_empty() {
                Severity::Warning
            } else {
                Severity::Critical
            };
            self.add(DeploymentKind::RedisSentinelMisconfigured, severity, None, evidence);
        }
    }

    /// A Sentinel that does not trust its clock.
    pub(super) fn tilt(&mut self, node: &NodeView) {
        let Some(snapshot) =
            node.snapshot().filter(|snapshot| snapshot.fields.flag("sentinel_tilt") == Some(true))
        else {
            return;
        };
        let since =
            snapshot.fields.number("sentinel_tilt_since_seconds").filter(|since| *since >= 0.0);
        let left = since.map(|since| {
            ("seconds_left", Value::Number((TILT_LASTS.as_secs_f64() - since).max(0.0)))
        });
        let mut evidence: Vec<_> =
            since.map(|since| ("seconds", Value::Number(since))).into_iter().collect();
        evidence.extend(left);
        self.add(FindingKind::RedisSentinelTilt, Severity::Warning, Some(node), evidence);
    }

    /// A Sentinel that does not answer.
    pub(super) fn sentinel_down(&mut self, node: &NodeView, reason: &'static str) {
        let evidence = vec![("reason", text(reason)), ("seconds", seconds(node.polling.silence))];
        self.add(FindingKind::RedisSentinelDown, Severity::Warning, Some(node), evidence);
    }
}
