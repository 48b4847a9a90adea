//! Findings about the nodes that share one data set.

use super::FindingsCollector;
use crate::model::finding::evidence::{
    DatasetReplacedEvidence, EmptiedPrimaryEvidence, LostWritesEvidence, NoPrimaryEvidence,
    ReplacedDataset, ReplacementReason, ReplicaCountEvidence, ReplicationLoopEvidence,
    SplitBrainEvidence, UnrelatedMastersEvidence, WritesBlockedEvidence,
};
use crate::model::finding::{Evidence, Severity};

use crate::limits::{LOSS_SHOWN_FOR, SPLIT_BRAIN_CRITICAL_AFTER};
use crate::model::deployment::DeploymentKind;
use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;
use crate::model::refusals::RefusalReason;
use crate::model::refusals::refuses;
use crate::model::shard::{DivergingWrites, PrimaryEvidence, ShardView};
use crate::model::view::DeploymentView;

/// Returns the kinds of evidence that would decide which master is the primary, if none does.
fn missing_evidence(shard: &ShardView, has_sentinels: bool) -> Vec<PrimaryEvidence> {
    use PrimaryEvidence::{Declared, Endpoint, Followers, Sentinel, Writers};
    if shard.primary.is_some() || !shard.primary_disputed {
        return Vec::new();
    }
    let sentinel = has_sentinels.then_some(Sentinel);
    sentinel.into_iter().chain([Followers, Writers, Declared, Endpoint]).collect()
}

/// Returns true if no node is a replica, no two masters share a history, and they belong together:
/// there are more than two, one DNS name lists them, or a replica is expected. Two servers may be
/// independent and listed together by mistake.
fn is_every_node_master(view: &DeploymentView, shard: &ShardView) -> bool {
    let (masters, unrelated) = (shard.masters.len(), shard.unrelated_masters.len());
    let belong_together =
        masters > 2 || view.deployment.kind == DeploymentKind::Dns || shard.expected_replicas > 0;
    shard.replicas == 0 && masters > 1 && unrelated + 1 >= masters && belong_together
}

impl FindingsCollector<'_> {
    pub(super) fn check_shard(&mut self, shard: &ShardView) {
        self.check_masters(shard);
        self.check_lost_data(shard);
        if !shard.replication_loop.is_empty() {
            let evidence = ReplicationLoopEvidence {
                nodes: self.names(&shard.replication_loop),
                last_primary: shard.last_primary.map(|last| self.view.name(last).to_owned()),
            };
            self.add(Severity::Critical, None, Evidence::RedisReplicationLoop(evidence));
        }
        if let Some(reason) = shard.no_primary.why {
            let evidence = NoPrimaryEvidence {
                reason,
                last_primary: shard.last_primary.map(|last| self.view.name(last).to_owned()),
                lasted: self.view.now.since(shard.no_primary.since),
            };
            self.add(Severity::Critical, None, Evidence::RedisNoPrimary(evidence));
        }
        self.check_refused_writes(shard);
        self.check_replica_count(shard);
        self.check_failover(shard);
    }

    /// Checks for unrelated masters and for a split brain.
    fn check_masters(&mut self, shard: &ShardView) {
        let view = self.view;
        if !shard.unrelated_masters.is_empty() {
            let evidence = UnrelatedMastersEvidence {
                masters: self.names(&shard.masters),
                unrelated: self.names(&shard.unrelated_masters),
            };
            let severity = if is_every_node_master(view, shard) {
                Severity::Critical
            } else {
                Severity::Warning
            };
            self.add(severity, None, Evidence::RolecallUnrelatedMasters(evidence));
        }
        if let Some(severity) = view.split_brain_severity(shard) {
            let lost = &shard.lost_writes;
            let diverging =
                |side: &DivergingWrites| format!("{} ({})", view.name(side.node), side.changes);
            let evidence = SplitBrainEvidence {
                masters: self.names(&shard.split_brain.masters),
                stale: self.names(&shard.stale_masters),
                primary: self.primary(shard),
                witnesses: if shard.is_primary_certain() {
                    Vec::new()
                } else {
                    view.witnesses(shard)
                },
                missing: missing_evidence(shard, view.sentinels.is_some()),
                certain: shard.is_primary_certain(),
                lasted: view.now.since(shard.split_brain.since),
                taking_writes: self.names(&view.writable_stale_masters(shard)),
                cause: shard.split_brain.cause,
                diverging: lost.diverging.iter().map(diverging).collect(),
                unreplicated_writes: lost.in_split_brain,
                unreplicated_bytes: lost.bytes,
            };
            self.add(severity, None, Evidence::RedisSplitBrain(evidence));
        }
    }

    /// Checks for data that was lost within [`LOSS_SHOWN_FOR`].
    fn check_lost_data(&mut self, shard: &ShardView) {
        let view = self.view;
        let recent = |last: Option<Monotonic>| {
            last.is_some_and(|last| view.now.since(last) <= LOSS_SHOWN_FOR)
        };
        if recent(shard.emptied.last) {
            let evidence = EmptiedPrimaryEvidence {
                primary: self.primary(shard),
                keys_before: shard.emptied.keys,
            };
            self.add(Severity::Critical, None, Evidence::RedisPrimaryRestartedEmpty(evidence));
        }
        if let Some((last, severity)) =
            shard.dataset_replaced.last.as_ref().zip(view.dataset_replaced_severity(shard))
        {
            let evidence = DatasetReplacedEvidence {
                reason: if last.planned {
                    ReplacementReason::Planned
                } else {
                    ReplacementReason::ForeignPrimary
                },
                replaced: Some(ReplacedDataset {
                    node: last.node.clone(),
                    from: last.from.clone(),
                    keys_before: last.keys_before,
                    keys_after: last.keys_after,
                }),
                masters: Vec::new(),
            };
            self.add(severity, None, Evidence::RedisDatasetReplaced(evidence));
        }
        // While the split brain lasts, its finding has the lost writes too.
        let is_over = shard.split_brain.masters.is_empty() || shard.lost_writes.in_split_brain == 0;
        let loss = shard.lost_writes.loss.as_ref().filter(|_| is_over);
        if let Some(loss) = loss.filter(|loss| recent(Some(loss.last))) {
            let evidence = LostWritesEvidence {
                changes: loss.changes,
                stale: self.names(&loss.stale_masters),
                primary_again: self.names(&loss.primary_again),
                // The present primary may be the node that accepted the writes.
                primary: self.primary(shard).filter(|_| !loss.stale_masters.is_empty()),
            };
            self.add(Severity::Warning, None, Evidence::RedisWritesLost(evidence));
        }
    }

    /// Checks whether the primary refuses writes.
    fn check_refused_writes(&mut self, shard: &ShardView) {
        let view = self.view;
        let refusing = |index: &&NodeIndex| refuses(&view.nodes[**index].writes_refused);
        let blocked = || shard.last_primary.as_ref().filter(|_| shard.masters.is_empty());
        let (Some(false), Some(index)) =
            (shard.writable, shard.primaries().find(refusing).or_else(blocked))
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
        let importing_slots = self.slots_of_unknown_owner(*index, &reasons);
        let paused_by = node.pause.reported.filter(|_| reasons.contains(&RefusalReason::Paused));
        let primary = node.node.name.clone();
        let evidence = WritesBlockedEvidence { primary, reasons, importing_slots, paused_by };
        self.add(severity, None, Evidence::RedisWritesBlocked(evidence));
    }

    /// Returns the slots that a primary imports while it alone reports the cluster as failed.
    ///
    /// Redis 7.0 and 8.2 ignore a new owner of a slot that they import. If its source fails over,
    /// they assign the slot to the failed node for ever and refuse all commands.
    fn slots_of_unknown_owner(&self, primary: NodeIndex, reasons: &[RefusalReason]) -> Vec<u16> {
        let cluster = self.view.cluster.as_ref().filter(|cluster| cluster.working() == Some(true));
        let refuses = reasons.contains(&RefusalReason::Clusterdown);
        let slots = cluster.filter(|_| refuses).map(|cluster| cluster.imported_by(primary));
        slots.into_iter().flatten().collect()
    }

    /// Checks for missing replicas.
    fn check_replica_count(&mut self, shard: &ShardView) {
        // A stale master will become a replica.
        let split_for = self.view.now.since(shard.split_brain.since);
        let stale = match shard.primary {
            // Nobody demoted them: they do not become replicas by themselves. A cluster demotes
            // its stale masters as soon as it reaches them.
            _ if shard.shard.is_none() && split_for > SPLIT_BRAIN_CRITICAL_AFTER => 0,
            Some(_) => shard.stale_masters.len(),
            // All masters but one will become replicas.
            None => shard.split_brain.masters.len().saturating_sub(1),
        };
        if !self.overview.knows_replicas || shard.replicas + stale >= shard.expected_replicas {
            return;
        }
        let evidence =
            ReplicaCountEvidence { replicas: shard.replicas, expected: shard.expected_replicas };
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
