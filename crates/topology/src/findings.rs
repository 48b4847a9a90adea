//! Findings: conditions that need a person, derived from a view. A closed set; each has a runbook of the same name.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use snapshot::{ErrorStats, NodeSnapshot, Reason, Role};

use crate::limits::{
    AOF_BLOATED_FACTOR, LAG_HIGH, LINK_DOWN_CRITICAL_AFTER, LOSS_SHOWN_FOR, MEMORY_NEAR_LIMIT_RATIO, REFUSED_WITHIN,
    SPLIT_BRAIN_CRITICAL_AFTER,
};
use crate::presence::is_absence;
use crate::refusals::holding;
use crate::{DeploymentView, LinkState, NodeView, Presence, Refusal, ShardView, Upstream};

/// A condition that needs a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// How bad it is now.
    pub severity: Severity,
    /// Label of the node that it is about, if it is about one.
    pub node: Option<String>,
    /// Wall time at which it was first seen.
    pub since: SystemTime,
    /// The live values that show it.
    pub evidence: Vec<(&'static str, Value)>,
}

/// A live value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number; its name says the unit.
    Number(f64),
    /// A name from a closed set, or of a node.
    Text(String),
    /// Several of these.
    List(Vec<String>),
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody should be woken.
    Critical,
    /// Somebody should look, today.
    Warning,
    /// Good to know.
    Info,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// What can be found; the names are those of the alerts and of their runbooks. In the order in which one causes another.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FindingKind {
            $($(#[$doc])* $kind,)*
        }

        impl FindingKind {
            /// Every kind.
            pub const ALL: &[FindingKind] = &[$(FindingKind::$kind,)*];

            /// The name of its alert.
            pub const fn label(self) -> &'static str {
                match self {
                    $(FindingKind::$kind => stringify!($kind),)*
                }
            }
        }
    };
}

kinds! {
    /// A node cannot be read for a reason of our own: credentials, rights, TLS.
    RolecallCannotRead,
    /// Masters that share no history are listed as one deployment.
    RolecallUnrelatedMasters,
    /// A node does not answer.
    RedisDown,
    /// The append-only file cannot be written.
    RedisAofWriteFailing,
    /// The append-only file failed at fsync, and no write will clear that.
    RedisAofFsyncStuck,
    /// Memory is at its limit, and writes are refused.
    RedisOutOfMemory,
    /// The primary refuses writes for want of replicas.
    RedisNotEnoughReplicas,
    /// The last background save failed.
    RedisBgsaveFailing,
    /// The primary came back without its data.
    RedisPrimaryRestartedEmpty,
    /// Several nodes claim to be master of one data set.
    RedisSplitBrain,
    /// Stale masters accepted writes that the primary does not have.
    RedisWritesLost,
    /// The nodes follow one another in a circle.
    RedisReplicationLoop,
    /// No node is primary.
    RedisNoPrimary,
    /// The primary refuses writes.
    RedisWritesBlocked,
    /// A node claims another role than the declared one.
    RedisUnexpectedRole,
    /// A replica cannot authenticate with its master.
    RedisReplicationAuthFailing,
    /// Full synchronisations begin again and again.
    RedisFullSyncLoop,
    /// The link of a replica is down.
    RedisReplicaLinkDown,
    /// A replica refuses reads.
    RedisReplicaRejectsReads,
    /// There are fewer replicas than there should be.
    RedisReplicasMissing,
    /// A replica gets nothing from the primary.
    RedisReplicaOrphaned,
    /// The master of a replica is silent.
    RedisReplicaLinkStalled,
    /// A replica is late.
    RedisReplicationLag,
    /// A replica accepts writes.
    RedisReplicaWritable,
    /// The data of a replica is not its primary's.
    RedisReplicaDiverged,
    /// The last rewrite of the append-only file failed.
    RedisAofRewriteFailing,
    /// The append-only file was not rewritten in time.
    RedisAofBloated,
    /// The append-only file is off where it is expected to be on.
    RedisAofDisabled,
    /// Memory is close to its limit.
    RedisMemoryNearLimit,
    /// The server stopped to count errors by code.
    RedisErrorStatsDisabled,
    /// The data set is being loaded.
    RedisLoading,
}

/// Alerts that are no condition of a moment, and so no finding: their names, and why.
pub const NO_FINDING: [(&str, &str); 24] = [
    ("RedisPrimaryChanged", "an occurrence; it is an event"),
    ("RedisRoleFlapping", "a rate over an hour"),
    ("RedisWritesHitReplica", "a rate over minutes"),
    ("RedisErrorReplies", "a rate over minutes"),
    ("RedisTopologyCommand", "an occurrence; it is an event"),
    ("RedisRestarted", "an occurrence; it is an event"),
    ("RedisCrashLoop", "a rate over minutes"),
    ("RedisReplicaLinkFlapping", "a rate over minutes"),
    ("RedisClientAuthFailing", "a rate over minutes"),
    ("RedisBacklogTooSmall", "an occurrence: a drop that ended in a full synchronisation"),
    ("RedisAofDelayedFsync", "a rate over minutes"),
    ("RedisForkSlow", "an occurrence"),
    ("RedisMaxClients", "a rate over minutes"),
    ("RedisStaleClients", "needs the list of clients, which is read only then"),
    ("RedisDiskSpaceLow", "a trend over hours"),
    ("RedisSentinelDisagreement", "comes with deployments that have Sentinels"),
    ("RedisSentinelQuorumLost", "comes with deployments that have Sentinels"),
    ("RedisSentinelGhosts", "comes with deployments that have Sentinels"),
    ("RedisClusterDown", "comes with clusters"),
    ("RedisPrimaryEndpointWrong", "comes with endpoints"),
    ("RolecallDown", "about the exporter, which cannot show it"),
    ("RolecallStale", "about the exporter, which cannot show it"),
    ("RolecallBlind", "about the exporter; it is a metric"),
    ("RolecallReloadFailed", "about the exporter; it is a metric"),
];

impl Severity {
    /// The value of the label `severity`.
    pub const fn label(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// What is remembered of findings: since when each has been there.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    since: HashMap<(FindingKind, Option<String>), (SystemTime, Duration)>,
}

impl Memory {
    /// The findings of a view, the worst first; of equals the cause before its effect.
    pub(crate) fn apply(&mut self, view: &DeploymentView) -> Vec<Finding> {
        let Some(at) = view.at else { return Vec::new() };
        let mut findings = Found { view, at, findings: Vec::new() };
        for shard in &view.shards {
            findings.of_shard(shard);
        }
        for place in 0..view.nodes.len() {
            findings.of_node(place);
        }
        let mut findings = findings.findings;
        let mut since = HashMap::with_capacity(findings.len());
        for finding in &mut findings {
            let key = (finding.kind, finding.node.clone());
            let (first, begun) = self.since.get(&key).copied().unwrap_or((at, view.elapsed));
            finding.since = first;
            finding.escalate(view.elapsed.saturating_sub(begun));
            since.insert(key, (first, begun));
        }
        self.since = since;
        findings.sort_by(|a, b| (a.severity, a.kind, &a.node).cmp(&(b.severity, b.kind, &b.node)));
        findings
    }
}

impl Finding {
    /// Some conditions are routine for a while.
    fn escalate(&mut self, lasted: Duration) {
        let limit = match self.kind {
            FindingKind::RedisSplitBrain => SPLIT_BRAIN_CRITICAL_AFTER,
            FindingKind::RedisReplicaLinkDown => LINK_DOWN_CRITICAL_AFTER,
            _ => return,
        };
        if lasted > limit {
            self.severity = Severity::Critical;
        }
    }
}

/// The findings so far.
struct Found<'a> {
    view: &'a DeploymentView,
    at: SystemTime,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, kind: FindingKind, severity: Severity, node: Option<&NodeView>, evidence: Vec<(&'static str, Value)>) {
        let node = node.map(|node| node.node.name.clone());
        self.findings.push(Finding { kind, severity, node, since: self.at, evidence });
    }

    fn names(&self, places: &[usize]) -> Value {
        Value::List(places.iter().map(|place| self.view.name(*place).to_owned()).collect())
    }

    fn primary(&self, shard: &ShardView) -> Vec<(&'static str, Value)> {
        let primary =
            shard.primary.map(|primary| [("primary", text(self.view.name(primary.node))), ("by", text(primary.evidence.label()))]);
        primary.into_iter().flatten().collect()
    }

    fn of_shard(&mut self, shard: &ShardView) {
        use FindingKind as Kind;
        let view = self.view;
        let recent = |last: Option<Duration>| last.is_some_and(|last| view.elapsed.saturating_sub(last) <= LOSS_SHOWN_FOR);
        if !shard.unrelated.is_empty() {
            let evidence = vec![("masters", self.names(&shard.masters)), ("unrelated", self.names(&shard.unrelated))];
            self.add(Kind::RolecallUnrelatedMasters, Severity::Warning, None, evidence);
        }
        if recent(shard.emptied.last) {
            let mut evidence = self.primary(shard);
            evidence.push(("keys_before", Value::Number(shard.emptied.keys as f64)));
            self.add(Kind::RedisPrimaryRestartedEmpty, Severity::Critical, None, evidence);
        }
        let lost = &shard.lost_writes;
        if !shard.split_brain.masters.is_empty() {
            let mut evidence = vec![("masters", self.names(&shard.split_brain.masters)), ("stale", self.names(&shard.stale))];
            evidence.extend(self.primary(shard));
            evidence.push(("seconds", seconds(view.elapsed.saturating_sub(shard.split_brain.since))));
            evidence.push(("unreplicated_writes", Value::Number(lost.of_split as f64)));
            evidence.extend(lost.bytes.map(|bytes| ("unreplicated_bytes", Value::Number(bytes as f64))));
            let severity = match (lost.of_split, shard.split_brain.unseen) {
                (0, false) => Severity::Info,
                // It may be days old.
                (0, true) => Severity::Warning,
                _ => Severity::Critical,
            };
            self.add(Kind::RedisSplitBrain, severity, None, evidence);
        }
        if let Some(loss) = lost.loss.as_ref().filter(|loss| recent(Some(loss.last))) {
            let mut evidence = vec![("unreplicated_writes", Value::Number(loss.writes as f64)), ("stale", self.names(&loss.stale))];
            evidence.extend(self.primary(shard));
            self.add(Kind::RedisWritesLost, Severity::Critical, None, evidence);
        }
        if !shard.looped.is_empty() {
            let evidence = vec![("nodes", self.names(&shard.looped))];
            self.add(Kind::RedisReplicationLoop, Severity::Critical, None, evidence);
        }
        if let Some(why) = shard.no_primary.why {
            let mut evidence = vec![("why", text(why.label()))];
            evidence.extend(shard.last_primary.map(|last| ("last_primary", text(view.name(last)))));
            evidence.push(("seconds", seconds(view.elapsed.saturating_sub(shard.no_primary.since))));
            self.add(Kind::RedisNoPrimary, Severity::Critical, None, evidence);
        }
        let refusing = |place: &&usize| crate::serving::refuses(&view.nodes[**place].writes_refused);
        let blocked = || shard.last_primary.as_ref().filter(|_| shard.masters.is_empty());
        if let (Some(false), Some(place)) = (shard.writable, shard.acting().find(refusing).or_else(blocked)) {
            let node = &view.nodes[*place];
            let reasons = if node.snapshot().is_some() { holding(&node.writes_refused) } else { vec![Refusal::Busy.label()] };
            let ends = node.snapshot().and_then(|snapshot| snapshot.fields.number("loading_eta_seconds"));
            let loading = reasons == [Refusal::Loading.label()] && ends.is_some();
            let severity = if loading { Severity::Warning } else { Severity::Critical };
            let evidence = vec![("primary", text(&node.node.name)), ("reasons", list(&reasons))];
            self.add(Kind::RedisWritesBlocked, severity, None, evidence);
        }
        // A stale master is a replica to be, and a node that was not reached yet may be one.
        let waits = view.nodes.iter().any(|node| node.presence == Presence::Pending);
        if shard.replicas + shard.stale.len() < shard.replicas_wanted && !waits {
            let severity = if shard.replicas == 0 { Severity::Critical } else { Severity::Warning };
            let numbers = [("replicas", shard.replicas), ("expected", shard.replicas_wanted)];
            let evidence = numbers.map(|(name, count)| (name, Value::Number(count as f64))).to_vec();
            self.add(Kind::RedisReplicasMissing, severity, None, evidence);
        }
    }

    fn of_node(&mut self, place: usize) {
        let node = &self.view.nodes[place];
        if let Presence::Down { reason, .. } = node.presence {
            self.down(place, node, reason);
        }
        let Some(snapshot) = node.snapshot() else { return };
        self.persistence(node, snapshot);
        self.memory(place, node, snapshot);
        self.role(node);
        if snapshot.replication.role == Some(Role::Replica) {
            self.replica(node, snapshot);
        }
    }

    fn down(&mut self, place: usize, node: &NodeView, reason: Reason) {
        let mut evidence = vec![("reason", text(reason.label())), ("seconds", seconds(node.polling.silence))];
        let role = node.last.as_ref().and_then(|last| last.replication.role);
        evidence.extend(role.map(|role| ("last_role", text(role.label()))));
        if !is_absence(reason) {
            self.add(FindingKind::RolecallCannotRead, Severity::Warning, Some(node), evidence);
            return;
        }
        // A server with this policy exits when its append-only file fails, so its absence may be the only sign.
        let policy = node.appendfsync.as_deref().map(text);
        evidence.extend(policy.map(|policy| ("appendfsync", policy)));
        let followed = || self.view.nodes.iter().any(|other| other.upstream == Upstream::Node(place));
        let was_primary = self.view.shards.iter().any(|shard| match shard.last_primary {
            Some(last) => last == place,
            None => role == Some(Role::Master) || followed(),
        });
        let left = self.view.nodes.iter().any(NodeView::follows);
        let severity = if was_primary || (role == Some(Role::Replica) && !left) { Severity::Critical } else { Severity::Warning };
        self.add(FindingKind::RedisDown, severity, Some(node), evidence);
    }

    fn persistence(&mut self, node: &NodeView, snapshot: &NodeSnapshot) {
        use FindingKind as Kind;
        let aof = &snapshot.persistence.aof;
        let role = || snapshot.replication.role.map_or_else(Vec::new, |role| vec![("role", text(role.label()))]);
        let policy = snapshot.config.as_ref().and_then(|config| config.get("appendfsync")).map(|policy| ("appendfsync", text(policy)));
        if aof.failing() == Some(true) {
            let kind = if aof.fsync_stuck() == Some(true) { Kind::RedisAofFsyncStuck } else { Kind::RedisAofWriteFailing };
            let buffered = aof.buffered.map(|bytes| ("aof_buffer_length", Value::Number(bytes as f64)));
            self.add(kind, Severity::Critical, Some(node), role().into_iter().chain(buffered).chain(policy).collect());
        }
        if aof.enabled == Some(true) && aof.rewrite_ok == Some(false) {
            self.add(Kind::RedisAofRewriteFailing, Severity::Warning, Some(node), vec![("aof_last_bgrewrite_status", text("err"))]);
        }
        if let Some((current, trigger)) = bloated(snapshot) {
            let evidence = vec![("aof_current_size", Value::Number(current)), ("rewrite_due_at", Value::Number(trigger))];
            self.add(Kind::RedisAofBloated, Severity::Warning, Some(node), evidence);
        }
        if node.expected_aof == Some(true) && aof.enabled == Some(false) {
            self.add(Kind::RedisAofDisabled, Severity::Warning, Some(node), role());
        }
        if snapshot.persistence.rdb.save_ok == Some(false) {
            let blocks = node.writes_refused.contains(&(Refusal::MisconfRdb, true));
            let evidence = vec![("blocks_writes", text(if blocks { "yes" } else { "no" }))];
            self.add(Kind::RedisBgsaveFailing, Severity::Warning, Some(node), evidence);
        }
        if snapshot.persistence.loading == Some(true) {
            let left = snapshot.fields.number("loading_eta_seconds").map(|left| ("eta_seconds", Value::Number(left)));
            self.add(Kind::RedisLoading, Severity::Info, Some(node), left.into_iter().collect());
        }
        if snapshot.errors == ErrorStats::Wiped {
            self.add(Kind::RedisErrorStatsDisabled, Severity::Warning, Some(node), Vec::new());
        }
    }

    fn memory(&mut self, place: usize, node: &NodeView, snapshot: &NodeSnapshot) {
        let number = |field| snapshot.fields.number(field);
        let (Some(used), Some(limit)) = (number("used_memory"), number("maxmemory")) else { return };
        let evidence = vec![("used_memory", Value::Number(used)), ("maxmemory", Value::Number(limit))];
        let is_primary = self.view.shards.iter().any(|shard| shard.acting().any(|primary| *primary == place));
        let refuses = |reason| node.writes_refused.contains(&(reason, true));
        let lately = |risen: Option<Duration>| risen.is_some_and(|risen| self.view.elapsed.saturating_sub(risen) <= REFUSED_WITHIN);
        if refuses(Refusal::Oom) || (is_primary && lately(node.memory_refused)) {
            self.add(FindingKind::RedisOutOfMemory, Severity::Critical, Some(node), evidence);
        } else if limit > 0.0 && used > limit * MEMORY_NEAR_LIMIT_RATIO && evicts_nothing(snapshot) {
            self.add(FindingKind::RedisMemoryNearLimit, Severity::Warning, Some(node), evidence);
        }
        // On a fenced stale master this is the fence at work.
        if refuses(Refusal::Noreplicas) && is_primary {
            let good = snapshot.replication.good_replicas.map(|good| ("good_replicas", Value::Number(good as f64)));
            self.add(FindingKind::RedisNotEnoughReplicas, Severity::Critical, Some(node), good.into_iter().collect());
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
        use FindingKind as Kind;
        let view = self.view;
        let link = snapshot.replication.link.as_ref();
        let master = match &node.upstream {
            Upstream::Node(place) => Some(view.name(*place).to_owned()),
            Upstream::Unknown(address) => Some(address.clone()),
            Upstream::Nothing => None,
        };
        let master = || master.clone().map(|master| ("master", Value::Text(master)));
        let denied = match &node.upstream {
            Upstream::Node(place) => view.nodes[*place].access_denied.filter(|_| view.nodes[*place].up() == Some(true)),
            _ => None,
        };
        let denied = denied.is_some_and(|denied| view.elapsed.saturating_sub(denied) <= REFUSED_WITHIN);
        // What looks like a synchronisation may be attempts that are turned away: then the master knows of none.
        let synced = matches!(&node.upstream, Upstream::Node(place) if view.nodes[*place].attached.iter().any(|replica| &*replica.seen.state != "online"));
        match node.link.state {
            Some(LinkState::Lost | LinkState::NeverUp) if denied => {
                self.add(Kind::RedisReplicationAuthFailing, Severity::Critical, Some(node), master().into_iter().collect());
            }
            Some(LinkState::Syncing | LinkState::SyncLooping) if denied && !synced => {
                self.add(Kind::RedisReplicationAuthFailing, Severity::Critical, Some(node), master().into_iter().collect());
            }
            Some(LinkState::SyncLooping) => {
                self.add(Kind::RedisFullSyncLoop, Severity::Critical, Some(node), master().into_iter().collect());
            }
            _ => {}
        }
        if let Some(state @ (LinkState::Lost | LinkState::NeverUp | LinkState::Stalled)) = node.link.state {
            let evidence = [Some(("state", text(state.label()))), master()].into_iter().flatten().collect();
            let healthy = view.nodes.iter().any(|other| other.is_replica() && other.link.state == Some(LinkState::Up));
            let (kind, severity) = match state {
                LinkState::Stalled => (Kind::RedisReplicaLinkStalled, Severity::Warning),
                _ if healthy => (Kind::RedisReplicaLinkDown, Severity::Warning),
                _ => (Kind::RedisReplicaLinkDown, Severity::Critical),
            };
            self.add(kind, severity, Some(node), evidence);
        }
        // During its first synchronisation a replica refuses reads, and is right to.
        let was_up = node.link.down_since.is_some() || node.link.state == Some(LinkState::Lost);
        if was_up && node.reads_refused.contains(&(Refusal::Masterdown, true)) {
            let serves =
                view.nodes.iter().any(|other| other.role() == Some(Role::Replica) && !crate::serving::refuses(&other.reads_refused));
            let severity = if serves { Severity::Warning } else { Severity::Critical };
            self.add(Kind::RedisReplicaRejectsReads, severity, Some(node), master().into_iter().collect());
        }
        if let Some(why) = node.orphan {
            let evidence = [Some(("why", text(why.label()))), master()].into_iter().flatten().collect();
            self.add(Kind::RedisReplicaOrphaned, Severity::Warning, Some(node), evidence);
        }
        if let Some(behind) = node.lag.behind.filter(|behind| *behind > LAG_HIGH) {
            let bytes = node.lag.bytes.map(|bytes| ("bytes", Value::Number(bytes as f64)));
            self.add(
                Kind::RedisReplicationLag,
                Severity::Warning,
                Some(node),
                bytes.into_iter().chain([("seconds", seconds(behind))]).collect(),
            );
        }
        if link.and_then(|link| link.read_only) == Some(false) {
            self.add(Kind::RedisReplicaWritable, Severity::Warning, Some(node), vec![("slave_read_only", Value::Number(0.0))]);
        }
        if node.diverged {
            self.add(Kind::RedisReplicaDiverged, Severity::Warning, Some(node), master().into_iter().collect());
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
    let (percentage, least) = (config.number("auto-aof-rewrite-percentage")?, config.number("auto-aof-rewrite-min-size")?);
    // Where rewriting is off by 0 the usual trigger says when it would have been due.
    let percentage = if percentage > 0.0 { percentage } else { 100.0 };
    let due = (base * (1.0 + percentage / 100.0)).max(least);
    let waits = snapshot.persistence.aof.rewriting == Some(true) || base <= 0.0;
    (!waits && current > due * AOF_BLOATED_FACTOR).then_some((current, due))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| (*item).to_owned()).collect())
}

fn seconds(duration: Duration) -> Value {
    Value::Number((duration.as_secs_f64() * 10.0).round() / 10.0)
}
