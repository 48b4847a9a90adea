//! Conditions of the nodes that hold one data set.

use super::{FindingKind, Found, Severity, TAKING_WRITES, Value, list, seconds, text};

use crate::limits::LOSS_SHOWN_FOR;
use crate::model::monotonic::Monotonic;
use crate::model::node::{NodeState, NodeView};
use crate::model::refusals::{RefusalReason, active_reasons};
use crate::model::shard::ShardView;

impl Found<'_> {
    pub(super) fn of_shard(&mut self, shard: &ShardView) {
        use FindingKind as DeploymentKind;
        let view = self.view;
        let recent = |last: Option<Monotonic>| {
            last.is_some_and(|last| view.now.since(last) <= LOSS_SHOWN_FOR)
        };
        if !shard.unrelated_masters.is_empty() {
            let evidence = vec![
                ("masters", self.names(&shard.masters)),
                ("unrelated", self.names(&shard.unrelated_masters)),
            ];
            self.add(DeploymentKind::RolecallUnrelatedMasters, Severity::Warning, None, evidence);
        }
        if recent(shard.emptied.last) {
            let mut evidence = self.primary(shard);
            evidence.push(("keys_before", Value::Number(shard.emptied.keys as f64)));
            self.add(
                DeploymentKind::RedisPrimaryRestartedEmpty,
                Severity::Critical,
                None,
                evidence,
            );
        }
        let lost = &shard.lost_writes;
        if !shard.split_brain.masters.is_empty() {
            let mut evidence = vec![
                ("masters", self.names(&shard.split_brain.masters)),
                ("stale", self.names(&shard.stale_masters)),
            ];
            evidence.extend(self.primary(shard));
            evidence.push(("seconds", seconds(view.now.since(shard.split_brain.since))));
            evidence.push((TAKING_WRITES, self.names(&view.writable_stale_masters(shard))));
            evidence.push(("unreplicated_writes", Value::Number(lost.in_split_brain as f64)));
            evidence.extend(
                lost.bytes.map(|bytes| ("unreplicated_bytes", Value::Number(bytes as f64))),
            );
            let severity = match (lost.in_split_brain, shard.split_brain.began_before_start) {
                (0, false) => Severity::Info,
                // It may be days old.
                (0, true) => Severity::Warning,
                _ => Severity::Critical,
            };
            self.add(DeploymentKind::RedisSplitBrain, severity, None, evidence);
        }
        if let Some(loss) = lost.loss.as_ref().filter(|loss| recent(Some(loss.last))) {
            let mut evidence = vec![
                ("unreplicated_writes", Value::Number(loss.writes as f64)),
                ("stale", self.names(&loss.stale_masters)),
            ];
            // It may have become primary since.
            if !shard.primary.is_some_and(|primary| loss.stale_masters.contains(&primary.node)) {
                evidence.extend(self.primary(shard));
            }
            self.add(DeploymentKind::RedisWritesLost, Severity::Critical, None, evidence);
        }
        if !shard.replication_loop.is_empty() {
            let evidence = vec![("nodes", self.names(&shard.replication_loop))];
            self.add(DeploymentKind::RedisReplicationLoop, Severity::Critical, None, evidence);
        }
        if let Some(why) = shard.no_primary.why {
            let mut evidence = vec![("why", text(why.label()))];
            evidence.extend(shard.last_primary.map(|last| ("last_primary", text(view.name(last)))));
            evidence.push(("seconds", seconds(view.now.since(shard.no_primary.since))));
            self.add(DeploymentKind::RedisNoPrimary, Severity::Critical, None, evidence);
        }
        let refusing = |index: &&crate::NodeIndex| {
            crate::model::refusals::refuses(&view.nodes[**index].writes_refused)
        };
        let blocked = || shard.last_primary.as_ref().filter(|_| shard.masters.is_empty());
        if let (Some(false), Some(index)) =
            (shard.writable, shard.primaries().find(refusing).or_else(blocked))
        {
            let node = &view.nodes[*index];
            let reasons = if node.snapshot().is_some() {
                active_reasons(&node.writes_refused)
            } else {
                vec![RefusalReason::Busy.label()]
            };
            let ends =
                node.snapshot().and_then(|snapshot| snapshot.fields.number("loading_eta_seconds"));
            let loading = reasons == [RefusalReason::Loading.label()] && ends.is_some();
            let severity = if loading { Severity::Warning } else { Severity::Critical };
            let evidence = vec![("primary", text(&node.node.name)), ("reasons", list(&reasons))];
            self.add(DeploymentKind::RedisWritesBlocked, severity, None, evidence);
        }
        // A stale master is a replica to be, and a node that was not reached yet may be one.
        let waits = |node: &&NodeView| node.presence == NodeState::Pending;
        let data = || view.nodes.values().filter(|node| node.holds_data());
        let waits = data().find(waits).is_some() || data().next().is_none();
        if shard.replicas + shard.stale_masters.len() < shard.expected_replicas && !waits {
            let severity = if shard.replicas == 0 { Severity::Critical } else { Severity::Warning };
            let numbers = [("replicas", shard.replicas), ("expected", shard.expected_replicas)];
            let evidence =
                numbers.map(|(name, count)| (name, Value::Number(count as f64))).to_vec();
            // Of a cluster each shard is one of many: a replica less is the business of that shard.
            let (kind, severity) = match (&shard.shard, shard.replicas) {
                (Some(_), 0) => {
                    (DeploymentKind::RedisClusterShardWithoutReplica, Severity::Warning)
                }
                _ => (DeploymentKind::RedisReplicasMissing, severity),
            };
            self.add(kind, severity, None, evidence);
        }
    }
}
