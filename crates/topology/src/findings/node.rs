//! Findings about single nodes. The findings about replicas are in `replica.rs`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use snapshot::{ErrorStats, NodeSnapshot, Reason, Role};

use super::FindingsCollector;
use crate::model::finding::evidence::{
    AmbiguousNodeEvidence, AofBloatedEvidence, AofDisabledEvidence, AofFailingEvidence,
    AofRewriteEvidence, BgsaveEvidence, LoadingEvidence, MemoryEvidence, NeverReachedEvidence,
    NoEvidence, NodeDownEvidence, NotEnoughReplicasEvidence, RoleEvidence, SentinelDownEvidence,
    TopologyCommandEvidence, UnknownRoleEvidence, UnreachableEvidence, WitnessEvidence,
};
use crate::model::finding::{Evidence, Severity};

use crate::limits::{AOF_BLOATED_FACTOR, MEMORY_NEAR_LIMIT_RATIO, REFUSED_WITHIN};
use crate::model::counters::CLIENT_PAUSE;
use crate::model::deployment::{DeploymentKind, NodeKind};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node::is_absence;
use crate::model::node_index::NodeIndex;
use crate::model::node_state::NodeState;
use crate::model::refusals::RefusalReason;

impl FindingsCollector<'_> {
    pub(super) fn check_node(&mut self, index: NodeIndex) {
        let node = &self.view.nodes[index];
        self.check_failure(index, node);
        let Some(snapshot) = node.snapshot() else { return };
        self.check_tilt(node);
        self.check_aof(node, snapshot);
        self.check_rdb(node, snapshot);
        if snapshot.errors == ErrorStats::Wiped {
            let evidence = Evidence::RedisErrorStatsDisabled(NoEvidence);
            self.add(Severity::Warning, Some(node), evidence);
        }
        self.check_memory(index, node, snapshot);
        self.check_role(node);
        self.check_unknown_role(node, snapshot);
        self.check_pause(node, snapshot);
        if snapshot.replication.role == Some(Role::Replica) {
            self.check_replica(node, snapshot);
            if let Some(misrouted) = &node.misrouted {
                self.check_misrouted(node, misrouted);
            }
        }
    }

    /// Checks for nodes that never replied.
    pub(super) fn check_never_reached(&mut self) {
        let (mut nodes, mut counts) = (Vec::new(), BTreeMap::new());
        for node in self.view.shown().filter(|node| node.was_never_reached()) {
            nodes.push(node.node.name.clone());
            if let Some(reason) = node.polling.failing {
                *counts.entry(reason).or_default() += 1;
            }
        }
        if nodes.is_empty() {
            return;
        }
        let replied = |node: &&NodeView| node.polling.answered_at.is_some();
        let mut reasons: Vec<(Reason, usize)> = counts.into_iter().collect();
        reasons.sort_by_key(|(_, count)| Reverse(*count));
        let evidence = NeverReachedEvidence {
            nodes,
            replied: self.view.shown().filter(replied).count(),
            reasons,
        };
        self.add(Severity::Warning, None, Evidence::RolecallNeverReached(evidence));
    }

    /// Checks for a node that Rolecall cannot read.
    fn check_failure(&mut self, index: NodeIndex, node: &NodeView) {
        match node.presence {
            NodeState::Pending | NodeState::Up => {}
            NodeState::Down { reason, .. } => self.check_down(index, node, reason),
            NodeState::Unreachable { reason, .. } if is_absence(reason) => {
                self.check_unreachable(index, node, reason);
            }
            NodeState::Unreachable { reason, .. } | NodeState::Unreadable { reason, .. } => {
                let evidence = NodeDownEvidence {
                    reason,
                    silence: node.polling.silence,
                    last_role: node.last_role(),
                    appendfsync: None,
                    password_missing: reason == Reason::Auth && !node.node.access.has_password,
                };
                self.add(Severity::Warning, Some(node), Evidence::RolecallCannotRead(evidence));
            }
        }
    }

    /// Adds the finding about a node that witnesses vouch for.
    fn check_unreachable(&mut self, index: NodeIndex, node: &NodeView, reason: Reason) {
        let witnesses = node.vouching().map(|witness| WitnessEvidence {
            peer: witness.peer.map(|peer| self.view.name(peer).to_owned()),
            kind: witness.kind,
            age: witness.alive_at.map_or(Duration::ZERO, |at| self.view.now.since(at)),
        });
        let evidence = UnreachableEvidence {
            reason,
            silence: node.polling.silence,
            last_role: node.last_role(),
            witnesses: witnesses.collect(),
            unmapped: self.unmapped_address(index, node),
        };
        self.add(Severity::Warning, Some(node), Evidence::RedisUnreachable(evidence));
    }

    /// Returns the address of a node that only other nodes list, if an entry of `address_map` for
    /// it may help.
    fn unmapped_address(&self, index: NodeIndex, node: &NodeView) -> Option<String> {
        let deployment = &self.view.deployment;
        let discovery = deployment.discovery.as_ref()?;
        let address = &node.node.address;
        let is_mapped = discovery.address_map.values().any(|mapped| mapped == address);
        let never_replied = node.polling.answered_at.is_none();
        let may_help = never_replied || node.polling.failing == Some(Reason::Dns);
        (may_help && !is_mapped && !deployment.is_configured(index)).then(|| address.clone())
    }

    /// Adds the finding about a node that is down for this reason.
    fn check_down(&mut self, index: NodeIndex, node: &NodeView, reason: Reason) {
        let silence = node.polling.silence;
        let role = node.last.as_ref().and_then(|last| last.replication.role);
        if role == Some(Role::Sentinel) || matches!(node.node.kind, NodeKind::Sentinel { .. }) {
            let evidence = SentinelDownEvidence { reason, silence };
            self.add(Severity::Warning, Some(node), Evidence::RedisSentinelDown(evidence));
            return;
        }
        // Where no primary was ever known, a node without a known role may be the primary.
        let shard = self.overview.shard_of(index);
        let has_none = shard.is_some_and(|shard| shard.no_primary.why.is_some());
        let may_be_primary = || match role {
            Some(role) => role == Role::Master,
            None => self.overview.is_followed(index) || has_none || !self.overview.has_reply,
        };
        let was_primary = match shard {
            Some(shard) => shard.last_primary.map_or_else(may_be_primary, |last| last == index),
            None => !self.overview.has_known_primary && may_be_primary(),
        };
        // In a cluster, the findings of each shard report missing replicas.
        let last_replica = role == Some(Role::Replica)
            && !self.overview.has_replica
            && self.view.deployment.kind != DeploymentKind::Cluster;
        let severity =
            if was_primary || last_replica { Severity::Critical } else { Severity::Warning };
        // With `appendfsync always` a server exits when its append-only file fails. The setting may
        // be the only sign of that.
        let appendfsync = node.appendfsync.as_deref().map(str::to_owned);
        let evidence = NodeDownEvidence {
            reason,
            silence,
            last_role: role,
            appendfsync,
            password_missing: false,
        };
        self.add(severity, Some(node), Evidence::RedisDown(evidence));
    }

    /// Checks the append-only file.
    fn check_aof(&mut self, node: &NodeView, snapshot: &NodeSnapshot) {
        let aof = &snapshot.persistence.aof;
        let role = snapshot.replication.role;
        if aof.failing() == Some(true) {
            let config = snapshot.config.as_ref();
            let appendfsync = config.and_then(|config| config.get("appendfsync"));
            let evidence = AofFailingEvidence {
                role,
                buffered: aof.buffered,
                appendfsync: appendfsync.map(str::to_owned),
            };
            let evidence = if aof.fsync_stuck() == Some(true) {
                Evidence::RedisAofFsyncStuck(evidence)
            } else {
                Evidence::RedisAofWriteFailing(evidence)
            };
            self.add(Severity::Critical, Some(node), evidence);
        }
        if aof.enabled == Some(true) && aof.rewrite_ok == Some(false) {
            let evidence = Evidence::RedisAofRewriteFailing(AofRewriteEvidence);
            self.add(Severity::Warning, Some(node), evidence);
        }
        if let Some(evidence) = bloated(snapshot) {
            self.add(Severity::Warning, Some(node), Evidence::RedisAofBloated(evidence));
        }
        if node.expected_aof == Some(true) && aof.enabled == Some(false) {
            let evidence = Evidence::RedisAofDisabled(AofDisabledEvidence { role });
            self.add(Severity::Warning, Some(node), evidence);
        }
    }

    /// Checks the last background save and the loading of the data set.
    fn check_rdb(&mut self, node: &NodeView, snapshot: &NodeSnapshot) {
        if snapshot.persistence.rdb.save_ok == Some(false) {
            let blocks_writes = node.writes_refused.contains(&(RefusalReason::MisconfRdb, true));
            let evidence = Evidence::RedisBgsaveFailing(BgsaveEvidence { blocks_writes });
            self.add(Severity::Warning, Some(node), evidence);
        }
        if snapshot.persistence.loading == Some(true) {
            let eta_seconds = snapshot.fields.number("loading_eta_seconds");
            let evidence = Evidence::RedisLoading(LoadingEvidence { eta_seconds });
            self.add(Severity::Info, Some(node), evidence);
        }
    }

    /// Checks memory, and the number of good replicas.
    fn check_memory(&mut self, index: NodeIndex, node: &NodeView, snapshot: &NodeSnapshot) {
        let number = |field| snapshot.fields.number(field);
        let (Some(used), Some(limit)) = (number("used_memory"), number("maxmemory")) else {
            return;
        };
        let evidence = MemoryEvidence { used, limit };
        let is_primary = self.overview.is_primary(index);
        let refuses = |reason| node.writes_refused.contains(&(reason, true));
        let recently = |risen: Option<Monotonic>| {
            risen.is_some_and(|risen| self.view.now.since(risen) <= REFUSED_WITHIN)
        };
        if refuses(RefusalReason::Oom) || (is_primary && recently(node.memory_refused)) {
            self.add(Severity::Critical, Some(node), Evidence::RedisOutOfMemory(evidence));
        } else if limit > 0.0 && used > limit * MEMORY_NEAR_LIMIT_RATIO && evicts_nothing(snapshot)
        {
            self.add(Severity::Warning, Some(node), Evidence::RedisMemoryNearLimit(evidence));
        }
        // A stale master without good replicas is fenced by `min-replicas-to-write`, as intended.
        if refuses(RefusalReason::Noreplicas) && is_primary {
            let evidence =
                NotEnoughReplicasEvidence { good_replicas: snapshot.replication.good_replicas };
            self.add(Severity::Critical, Some(node), Evidence::RedisNotEnoughReplicas(evidence));
        }
    }

    /// Checks for a CLIENT PAUSE whose end the server does not report. Only masters take writes.
    fn check_pause(&mut self, node: &NodeView, snapshot: &NodeSnapshot) {
        let is_master = snapshot.replication.role == Some(Role::Master);
        let Some(paused_at) = node.pause.commanded.filter(|_| is_master) else { return };
        let evidence = TopologyCommandEvidence {
            command: CLIENT_PAUSE,
            ago: self.view.now.since(paused_at),
            blocked_clients: snapshot.fields.count("blocked_clients"),
        };
        self.add(Severity::Info, Some(node), Evidence::RedisTopologyCommand(evidence));
    }

    /// Checks for a node whose role says nothing: several servers reply, or it is not known.
    fn check_unknown_role(&mut self, node: &NodeView, snapshot: &NodeSnapshot) {
        if let Some(servers) = node.servers {
            let evidence = Evidence::RolecallNodeAmbiguous(AmbiguousNodeEvidence { servers });
            self.add(Severity::Warning, Some(node), evidence);
        } else if snapshot.replication.role.is_none() {
            // Some servers report no role while they load their data.
            if node.has_unknown_role() == Some(true) && snapshot.persistence.loading != Some(true) {
                let evidence = UnknownRoleEvidence {
                    role: snapshot.replication.unknown_role.as_deref().map(str::to_owned),
                    master: self.master(node),
                };
                self.add(Severity::Warning, Some(node), Evidence::RolecallUnknownRole(evidence));
            }
            self.check_link(node);
        }
    }

    /// Checks the role against the configured one.
    fn check_role(&mut self, node: &NodeView) {
        if node.unexpected_role() == Some(true)
            && let (Some(role), Some(expected)) = (node.role(), node.expected_role)
        {
            let evidence = Evidence::RedisUnexpectedRole(RoleEvidence { role, expected });
            self.add(Severity::Critical, Some(node), evidence);
        }
    }
}

/// Returns whether the server refuses writes at its memory limit: it may evict no keys, or only
/// keys that expire, and it has none of these.
fn evicts_nothing(snapshot: &NodeSnapshot) -> bool {
    let expiring = || snapshot.keyspace.iter().any(|database| database.expiring > 0);
    match snapshot.fields.get("maxmemory_policy") {
        Some("noeviction") => true,
        Some(policy) => policy.starts_with("volatile-") && !expiring(),
        None => false,
    }
}

/// Returns the sizes of an append-only file that is overdue for a rewrite; `None` if it is not
/// overdue, or is being rewritten.
fn bloated(snapshot: &NodeSnapshot) -> Option<AofBloatedEvidence> {
    let (config, number) = (snapshot.config.as_ref()?, |field| snapshot.fields.number(field));
    let (current, base) = (number("aof_current_size")?, number("aof_base_size")?);
    let (percentage, min_size) = (
        config.number("auto-aof-rewrite-percentage")?,
        config.number("auto-aof-rewrite-min-size")?,
    );
    // Percentage 0 turns automatic rewrites off. The default of 100 then shows when a rewrite would
    // have been due.
    let percentage = if percentage > 0.0 { percentage } else { 100.0 };
    let due = (base * (1.0 + percentage / 100.0)).max(min_size);
    let waits = snapshot.persistence.aof.rewriting == Some(true) || base <= 0.0;
    (!waits && current > due * AOF_BLOATED_FACTOR).then_some(AofBloatedEvidence { current, due })
}
