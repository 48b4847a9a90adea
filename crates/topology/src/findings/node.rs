//! Conditions of single nodes.

use snapshot::{ErrorStats, NodeSnapshot, Reason, Role};

use super::{FindingKind, Found, Severity, Value, seconds, text};

use crate::limits::{AOF_BLOATED_FACTOR, LAG_HIGH, MEMORY_NEAR_LIMIT_RATIO, REFUSED_WITHIN};
use crate::model::deployment::{DeploymentKind, NodeKind};
use crate::model::monotonic::Monotonic;
use crate::model::node::{LinkState, NodeState, NodeView, Upstream, is_absence};
use crate::model::node_index::NodeIndex;

use crate::model::refusals::RefusalReason;

impl Found<'_> {
    pub(super) fn of_node(&mut self, index: NodeIndex) {
        let node = &self.view.nodes[index];
        if let NodeState::Down { reason, .. } = node.presence {
            self.down(index, node, reason);
        }
        let Some(snapshot) = node.snapshot() else { return };
        self.tilt(node);
        self.persistence(node, snapshot);
        self.memory(index, node, snapshot);
        self.role(node);
        if snapshot.replication.role == Some(Role::Replica) {
            self.replica(node, snapshot);
            if let Some(misrouted) = &node.misrouted {
                self.misrouted(node, misrouted);
            }
        }
    }

    fn down(&mut self, index: NodeIndex, node: &NodeView, reason: Reason) {
        let mut evidence =
            vec![("reason", text(reason.label())), ("seconds", seconds(node.polling.silence))];
        let role = node.last.as_ref().and_then(|last| last.replication.role);
        evidence.extend(role.map(|role| ("last_role", text(role.label()))));
        if !is_absence(reason) {
            self.add(FindingKind::RolecallCannotRead, Severity::Warning, Some(node), evidence);
            return;
        }
        if role == Some(Role::Sentinel) || matches!(node.node.kind, NodeKind::Sentinel { .. }) {
            self.sentinel_down(node, reason.label());
            return;
        }
        // A server with this policy exits when its append-only file fails, so its absence may be the only sign.
        let policy = node.appendfsync.as_deref().map(text);
        evidence.extend(policy.map(|policy| ("appendfsync", policy)));
        let followed =
            || self.view.nodes.values().any(|other| other.upstream == Upstream::Node(index));
        let was_primary = self.view.shards.iter().any(|shard| match shard.last_primary {
            Some(last) => last == index,
            None => role == Some(Role::Master) || followed(),
        });
        let left = self.view.nodes.values().any(NodeView::follows);
        // In a cluster that is for each shard to say.
        let last_replica = role == Some(Role::Replica)
            && !left
            && self.view.deployment.kind != DeploymentKind::Cluster;
        let severity =
            if was_primary || last_replica { Severity::Critical } else { Severity::Warning };
        self.add(FindingKind::RedisDown, severity, Some(node), evidence);
    }

    fn persistence(&mut self, node: &NodeView, snapshot: &NodeSnapshot) {
        use FindingKind as DeploymentKind;
        let aof = &snapshot.persistence.aof;
        let role = || {
            snapshot
                .replication
                .role
                .map_or_else(Vec::new, |role| vec![("role", text(role.label()))])
        };
        let policy = snapshot
            .config
            .as_ref()
            .and_then(|config| config.get("appendfsync"))
            .map(|policy| ("appendfsync", text(policy)));
        if aof.failing() == Some(true) {
            let kind = if aof.fsync_stuck() == Some(true) {
                DeploymentKind::RedisAofFsyncStuck
            } else {
                DeploymentKind::RedisAofWriteFailing
            };
            let buffered =
                aof.buffered.map(|bytes| ("aof_buffer_length", Value::Number(bytes as f64)));
            self.add(
                kind,
                Severity::Critical,
                Some(node),
                role().into_iter().chain(buffered).chain(policy).collect(),
            );
        }
        if aof.enabled == Some(true) && aof.rewrite_ok == Some(false) {
            self.add(
                DeploymentKind::RedisAofRewriteFailing,
                Severity::Warning,
                Some(node),
                vec![("aof_last_bgrewrite_status", text("err"))],
            );
        }
        if let Some((current, trigger)) = bloated(snapshot) {
            let evidence = vec![
                ("aof_current_size", Value::Number(current)),
                ("rewrite_due_at", Value::Number(trigger)),
            ];
            self.add(DeploymentKind::RedisAofBloated, Severity::Warning, Some(node), evidence);
        }
        if node.expected_aof == Some(true) && aof.enabled == Some(false) {
            self.add(DeploymentKind::RedisAofDisabled, Severity::Warning, Some(node), role());
        }
        if snapshot.persistence.rdb.save_ok == Some(false) {
            let blocks = node.writes_refused.contains(&(RefusalReason::MisconfRdb, true));
            let evidence = vec![("blocks_writes", text(if blocks { "yes" } else { "no" }))];
            self.add(DeploymentKind::RedisBgsaveFailing, Severity::Warning, Some(node), evidence);
        }
        if snapshot.persistence.loading == Some(true) {
            let left = snapshot
                .fields
                .number("loading_eta_seconds")
                .map(|left| ("eta_seconds", Value::Number(left)));
            self.add(
                DeploymentKind::RedisLoading,
                Severity::Info,
                Some(node),
                left.into_iter().collect(),
            );
        }
        if snapshot.errors == ErrorStats::Wiped {
            self.add(
                DeploymentKind::RedisErrorStatsDisabled,
                Severity::Warning,
                Some(node),
                Vec::new(),
            );
        }
    }

    fn memory(&mut self, index: NodeIndex, node: &NodeView, snapshot: &NodeSnapshot) {
        let number = |field| snapshot.fields.number(field);
        let (Some(used), Some(limit)) = (number("used_memory"), number("maxmemory")) else {
            return;
        };
        let evidence =
            vec![("used_memory", Value::Number(used)), ("maxmemory", Value::Number(limit))];
        let is_primary =
            self.view.shards.iter().any(|shard| shard.primaries().any(|primary| *primary == index));
        let refuses = |reason| node.writes_refused.contains(&(reason, true));
        let lately = |risen: Option<Monotonic>| {
            risen.is_some_and(|risen| self.view.now.since(risen) <= REFUSED_WITHIN)
        };
        if refuses(RefusalReason::Oom) || (is_primary && lately(node.memory_refused)) {
            self.add(FindingKind::RedisOutOfMemory, Severity::Critical, Some(node), evidence);
        } else if limit > 0.0 && used > limit * MEMORY_NEAR_LIMIT_RATIO && evicts_nothing(snapshot)
        {
            self.add(FindingKind::RedisMemoryNearLimit, Severity::Warning, Some(node), evidence);
        }
        // On a fenced stale master this is the fence at work.
        if refuses(RefusalReason::Noreplicas) && is_primary {
            let good = snapshot
                .replication
                .good_replicas
                .map(|good| ("good_replicas", Value::Number(good as f64)));
            self.add(
                FindingKind::RedisNotEnoughReplicas,
                Severity::Critical,
                Some(node),
                good.into_iter().collect(),
            );
        }
    }

    fn role(&mut self, node: &NodeView) {
        if node.unexpected_role() == Some(true)
            && let (Some(role), Some(expected)) = (node.role(), node.node.expected_role)
        {
            let evidence = vec![("role", text(role.label())), ("expected", text(expected.label()))];
            self.add(FindingKind::RedisUnexpectedRole, Severity::Critical, Some(node), evidence);
        }
    }

    fn replica(&mut self, node: &NodeView, snapshot: &NodeSnapshot) {
        use FindingKind as DeploymentKind;
        let view = self.view;
        let link = snapshot.replication.link.as_ref();
        let master = match &node.upstream {
            Upstream::Node(index) => Some(view.name(*index).to_owned()),
            Upstream::Unknown(address) => Some(address.clone()),
            Upstream::Nothing => None,
        };
        let master = || master.clone().map(|master| ("master", Value::Text(master)));
        let denied = match &node.upstream {
            Upstream::Node(index) => {
                view.nodes[*index].access_denied.filter(|_| view.nodes[*index].up() == Some(true))
            }
            _ => None,
        };
        let denied = denied.is_some_and(|denied| view.now.since(denied) <= REFUSED_WITHIN);
        // What looks like a synchronisation may be attempts that are turned away: then the master knows of none.
        let synced = matches!(&node.upstream, Upstream::Node(index) if view.nodes[*index].attached_replicas.iter().any(|replica| &*replica.reported.state != "online"));
        // While it reads its data from disk it asks for no link.
        let loads = |node: &NodeView| node.reads_refused.contains(&(RefusalReason::Loading, true));
        let denied = denied && !loads(node);
        match node.link.state {
            Some(LinkState::Lost | LinkState::NeverUp) if denied => {
                self.add(
                    DeploymentKind::RedisReplicationAuthFailing,
                    Severity::Critical,
                    Some(node),
                    master().into_iter().collect(),
                );
            }
            Some(LinkState::Syncing | LinkState::SyncLooping) if denied && !synced => {
                self.add(
                    DeploymentKind::RedisReplicationAuthFailing,
                    Severity::Critical,
                    Some(node),
                    master().into_iter().collect(),
                );
            }
            Some(LinkState::SyncLooping) => {
                self.add(
                    DeploymentKind::RedisFullSyncLoop,
                    Severity::Critical,
                    Some(node),
                    master().into_iter().collect(),
                );
            }
            _ => {}
        }
        if let Some(state @ (LinkState::Lost | LinkState::NeverUp | LinkState::Stalled)) =
            node.link.state.filter(|_| !loads(node))
        {
            let evidence =
                [Some(("state", text(state.label()))), master()].into_iter().flatten().collect();
            let healthy = view
                .nodes
                .values()
                .any(|other| other.is_replica() && other.link.state == Some(LinkState::Up));
            // Its master turns it away until it has read its own data.
            let waits =
                matches!(&node.upstream, Upstream::Node(index) if loads(&view.nodes[*index]));
            let (kind, severity) = match state {
                LinkState::Stalled => (DeploymentKind::RedisReplicaLinkStalled, Severity::Warning),
                _ if healthy || waits => (DeploymentKind::RedisReplicaLinkDown, Severity::Warning),
                _ => (DeploymentKind::RedisReplicaLinkDown, Severity::Critical),
            };
            self.add(kind, severity, Some(node), evidence);
        }
        // During its first synchronisation a replica refuses reads, and is right to.
        let was_up = node.link.down_since.is_some() || node.link.state == Some(LinkState::Lost);
        if was_up && node.reads_refused.contains(&(RefusalReason::Masterdown, true)) {
            let serves = view.nodes.values().any(|other| {
                other.role() == Some(Role::Replica)
                    && !crate::model::refusals::refuses(&other.reads_refused)
            });
            let severity = if serves { Severity::Warning } else { Severity::Critical };
            self.add(
                DeploymentKind::RedisReplicaRejectsReads,
                severity,
                Some(node),
                master().into_iter().collect(),
            );
        }
        if let Some(why) = node.orphan {
            let evidence =
                [Some(("why", text(why.label()))), master()].into_iter().flatten().collect();
            self.add(DeploymentKind::RedisReplicaOrphaned, Severity::Warning, Some(node), evidence);
        }
        if let Some(behind) = node.lag.behind.filter(|behind| *behind > LAG_HIGH) {
            let bytes = node.lag.bytes.map(|bytes| ("bytes", Value::Number(bytes as f64)));
            self.add(
                DeploymentKind::RedisReplicationLag,
                Severity::Warning,
                Some(node),
                bytes.into_iter().chain([("seconds", seconds(behind))]).collect(),
            );
        }
        if link.and_then(|link| link.read_only) == Some(false) {
            self.add(
                DeploymentKind::RedisReplicaWritable,
                Severity::Warning,
                Some(node),
                vec![("slave_read_only", Value::Number(0.0))],
            );
        }
        if node.diverged {
            self.add(
                DeploymentKind::RedisReplicaDiverged,
                Severity::Warning,
                Some(node),
                master().into_iter().collect(),
            );
        }
    }
}

/// At its limit the server refuses writes: it may evict nothing, or only keys that expire, of which there are none.
fn evicts_nothing(snapshot: &NodeSnapshot) -> bool {
    let expiring = || snapshot.keyspace.iter().any(|database| database.expiring > 0);
    match snapshot.fields.get("maxmemory_policy") {
        Some("noeviction") => true,
        Some(policy) => policy.starts_with("volatile-") && !expiring(),
        None => false,
    }
}

/// Size of an append-only file that should have been rewritten, and the size at which that was due, bytes.
fn bloated(snapshot: &NodeSnapshot) -> Option<(f64, f64)> {
    let (config, number) = (snapshot.config.as_ref()?, |field| snapshot.fields.number(field));
    let (current, base) = (number("aof_current_size")?, number("aof_base_size")?);
    let (percentage, least) = (
        config.number("auto-aof-rewrite-percentage")?,
        config.number("auto-aof-rewrite-min-size")?,
    );
    // Where rewriting is off by 0 the usual trigger says when it would have been due.
    let percentage = if percentage > 0.0 { percentage } else { 100.0 };
    let due = (base * (1.0 + percentage / 100.0)).max(least);
    let waits = snapshot.persistence.aof.rewriting == Some(true) || base <= 0.0;
    (!waits && current > due * AOF_BLOATED_FACTOR).then_some((current, due))
}
