//! Findings about the nodes that share one data set.

use std::time::Duration;

use super::evidence::{
    EmptiedPrimaryEvidence, LostWritesEvidence, NoPrimaryEvidence, ReplicaCountEvidence,
    ReplicationLoopEvidence, SplitBrainEvidence, UnrelatedMastersEvidence, WritesBlockedEvidence,
};
use super::{Evidence, FindingsCollector, Severity};

use crate::limits::LOSS_SHOWN_FOR;
use crate::model::view::{NodeView, ShardView};
use crate::node::refusals::RefusalReason;
use crate::node::state::NodeState;
use crate::shard::serving::refuses;

impl FindingsCollector<'_> {
    pub(super) fn check_shard(&mut self, shard: &ShardView) {
        self.check_masters(shard);
        self.check_lost_data(shard);
        if !shard.looped.is_empty() {
            let evidence = ReplicationLoopEvidence { nodes: self.names(&shard.looped) };
            self.add(Severity::Critical, None, Evidence::RedisReplicationLoop(evidence));
        }
        if let Some(reason) = shard.no_primary.why {
            let evidence = NoPrimaryEvidence {
                reason,
                last_primary: shard.last_primary.map(|last| self.view.name(last).to_owned()),
                lasted: self.view.elapsed.saturating_sub(shard.no_primary.since),
            };
            self.add(Severity::Critical, None, Evidence::RedisNoPrimary(evidence));
        }
        self.check_refused_writes(shard);
        self.check_replica_count(shard);
    }

    /// Checks for unrelated masters and for a split brain.
    fn check_masters(&mut self, shard: &ShardView) {
        let view = self.view;
        if !shard.unrelated.is_empty() {
            let evidence = UnrelatedMastersEvidence {
                masters: self.names(&shard.masters),
                unrelated: self.names(&shard.unrelated),
            };
            self.add(Severity::Warning, None, Evidence::RolecallUnrelatedMasters(evidence));
        }
        if !shard.split_brain.masters.is_empty() {
            let lost = &shard.lost_writes;
            let severity = match (lost.of_split, shard.split_brain.unseen) {
                (0, false) => Severity::Info,
                // The split brain was there in the first round, and may be days old.
                (0, true) => Severity::Warning,
                _ => Severity::Critical,
            };
            let evidence = SplitBrainEvidence {
                masters: self.names(&shard.split_brain.masters),
                stale: self.names(&shard.stale),
                primary: self.primary(shard),
                lasted: view.elapsed.saturating_sub(shard.split_brain.since),
                taking_writes: self.names(&view.writable_stale_masters(shard)),
                unreplicated_writes: lost.of_split,
                unreplicated_bytes: lost.bytes,
            };
            self.add(severity, None, Evidence::RedisSplitBrain(evidence));
        }
    }

    /// Checks for data that was lost within [`LOSS_SHOWN_FOR`].
    fn check_lost_data(&mut self, shard: &ShardView) {
        let view = self.view;
        let recent = |last: Option<Duration>| {
            last.is_some_and(|last| view.elapsed.saturating_sub(last) <= LOSS_SHOWN_FOR)
        };
        if recent(shard.emptied.last) {
            let evidence = EmptiedPrimaryEvidence {
                primary: self.primary(shard),
                keys_before: shard.emptied.keys,
            };
            self.add(Severity::Critical, None, Evidence::RedisPrimaryRestartedEmpty(evidence));
        }
        if let Some(loss) = shard.lost_writes.loss.as_ref().filter(|loss| recent(Some(loss.last))) {
            // A stale master may have become primary since.
            let is_stale = shard.primary.is_some_and(|primary| loss.stale.contains(&primary.node));
            let evidence = LostWritesEvidence {
                unreplicated_writes: loss.writes,
                stale: self.names(&loss.stale),
                primary: if is_stale { None } else { self.primary(shard) },
            };
            self.add(Severity::Critical, None, Evidence::RedisWritesLost(evidence));
        }
    }

    /// Checks whether the primary refuses writes.
    fn check_refused_writes(&mut self, shard: &ShardView) {
        let view = self.view;
        let refusing = |index: &&usize| refuses(&view.nodes[**index].writes_refused);
        let blocked = || shard.last_primary.as_ref().filter(|_| shard.masters.is_empty());
        let (Some(false), Some(index)) =
            (shard.writable, shard.acting().find(refusing).or_else(blocked))
        else {
            return;
        };
        let node = &view.nodes[*index];
        let snapshot = node.snapshot();
        let reasons = if snapshot.is_some() {
            let refused = node.writes_refused.iter().filter(|(_, applies)| *applies);
            refused.map(|(reason, _)| *reason).collect()
        } else {
            vec![RefusalReason::Busy]
        };
        let eta = snapshot.and_then(|snapshot| snapshot.fields.number("loading_eta_seconds"));
        let loading = reasons == [RefusalReason::Loading] && eta.is_some();
        let severity = if loading { Severity::Warning } else { Severity::Critical };
        let evidence = WritesBlockedEvidence { primary: node.node.name.clone(), reasons };
        self.add(severity, None, Evidence::RedisWritesBlocked(evidence));
    }

    /// Checks for missing replicas.
    fn check_replica_count(&mut self, shard: &ShardView) {
        // A stale master will become a replica. A node that was not reached yet may be a replica.
        let pending = |node: &NodeView| node.presence == NodeState::Pending;
        let data = || self.view.nodes.iter().filter(|node| node.holds_data());
        let unknown = data().any(pending) || data().next().is_none();
        if unknown || shard.replicas + shard.stale.len() >= shard.replicas_wanted {
            return;
        }
        let evidence =
            ReplicaCountEvidence { replicas: shard.replicas, expected: shard.replicas_wanted };
        // A cluster has many shards, and one replica less affects only its own shard.
        let (severity, evidence) = match (&shard.shard, shard.replicas) {
            (Some(_), 0) => {
                (Severity::Warning, Evidence::RedisClusterShardWithoutReplica(evidence))
            }
            (None, 0) => (Severity::Critical, Evidence::RedisReplicasMissing(evidence)),
            (_, _) => (Severity::Warning, Evidence::RedisReplicasMissing(evidence)),
        };
        self.add(severity, None, evidence);
    }
}
