//! Findings: conditions that need a person, derived from a view. A closed set; each has a runbook of the same name.

mod clients;
mod cluster;
mod endpoints;
mod node;
mod sentinels;
mod shard;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::limits::{
    CLUSTER_NODE_DOUBTS_FOR, LINK_DOWN_CRITICAL_AFTER, SENTINELS_AGREE_WITHIN,
    SENTINELS_LIST_WITHIN, SPLIT_BRAIN_CRITICAL_AFTER,
};
use crate::model::endpoint::EndpointKind;
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::NodeIndex;
use crate::model::shard::ShardView;
use crate::model::view::DeploymentView;

/// A condition that needs a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// How bad it is now.
    pub severity: Severity,
    /// Label of the node that it is about, if it is about one.
    pub node: Option<String>,
    /// Label of the shard that it is about, in a cluster, if it is about one.
    pub shard: Option<String>,
    /// The endpoint that it is about, if it is about one.
    pub endpoint: Option<EndpointKind>,
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
    /// A name from a closed set, or of a node; of clients also what they call themselves, in bounds.
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
    /// The cluster does not work.
    RedisClusterDown,
    /// Slots that no working node serves.
    RedisClusterSlotsUncovered,
    /// Slots that two nodes claim to serve.
    RedisClusterSlotConflict,
    /// The primary refuses writes.
    RedisWritesBlocked,
    /// Sentinels name another node than the one that is primary.
    RedisSentinelDisagreement,
    /// The Sentinels that can be reached do not suffice for a failover.
    RedisSentinelQuorumLost,
    /// A node claims another role than the declared one.
    RedisUnexpectedRole,
    /// An endpoint that applications use leads elsewhere than it should.
    RedisPrimaryEndpointWrong,
    /// A replica cannot authenticate with its master.
    RedisReplicationAuthFailing,
    /// Full synchronisations begin again and again.
    RedisFullSyncLoop,
    /// The link of a replica is down.
    RedisReplicaLinkDown,
    /// A Sentinel does not answer.
    RedisSentinelDown,
    /// A replica refuses reads.
    RedisReplicaRejectsReads,
    /// There are fewer replicas than there should be.
    RedisReplicasMissing,
    /// A shard has no replica.
    RedisClusterShardWithoutReplica,
    /// A replica gets nothing from the primary.
    RedisReplicaOrphaned,
    /// The master of a replica is silent.
    RedisReplicaLinkStalled,
    /// A replica is late.
    RedisReplicationLag,
    /// Clients are connected since before their server was demoted, and write there.
    RedisStaleClients,
    /// Clients write to a replica.
    RedisWritesHitReplica,
    /// A replica accepts writes.
    RedisReplicaWritable,
    /// The data of a replica is not its primary's.
    RedisReplicaDiverged,
    /// The last rewrite of the append-only file failed.
    RedisAofRewriteFailing,
    /// A Sentinel distrusts its clock, and does nothing.
    RedisSentinelTilt,
    /// Sentinels list nodes that are long gone.
    RedisSentinelGhosts,
    /// What Sentinels list cannot be right.
    RedisSentinelMisconfigured,
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
pub const NO_FINDING: [(&str, &str); 18] = [
    ("RedisPrimaryChanged", "an occurrence; it is an event"),
    ("RedisRoleFlapping", "a rate over an hour"),
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
    ("RedisDiskSpaceLow", "a trend over hours"),
    ("RolecallDown", "about the exporter, which cannot show it"),
    ("RolecallStale", "about the exporter, which cannot show it"),
    ("RolecallBlind", "about the exporter; it is a metric"),
    ("RolecallReloadFailed", "about the exporter; it is a metric"),
    ("Watchdog", "always fires: it shows that alerts arrive"),
];

/// The evidence of a split brain that says which of the stale masters take writes.
const TAKING_WRITES: &str = "taking_writes";

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

/// What a finding is, what it is about: its node, or its shard; and in which way, where one way is routine for a while and another began
/// just now.
type Subject = (FindingKind, Option<String>, Option<String>);

/// What is remembered of findings: since when each has been there.
#[derive(Debug, Default)]
pub(crate) struct FindingsTracker {
    since: HashMap<Subject, (SystemTime, Monotonic)>,
}

impl FindingsTracker {
    /// The findings of a view, the worst first; of equals the cause before its effect.
    pub(crate) fn observe(&mut self, view: &DeploymentView) -> Vec<Finding> {
        let Some(at) = view.at else { return Vec::new() };
        let mut findings = Found { view, at, shard: None, findings: Vec::new() };
        for shard in &view.shards {
            findings.shard.clone_from(&shard.shard);
            findings.of_shard(shard);
        }
        findings.shard = None;
        if let Some(cluster) = &view.cluster {
            findings.of_cluster(cluster);
        }
        for endpoint in &view.endpoints {
            findings.of_endpoint(endpoint);
        }
        if let Some(sentinels) = &view.sentinels {
            findings.of_sentinels(sentinels);
        }
        for (index, _) in view.members().filter(|(_, node)| node.shown()) {
            findings.of_node(index);
        }
        let mut findings = findings.findings;
        let mut since = HashMap::with_capacity(findings.len());
        for finding in &mut findings {
            let key = (
                finding.kind,
                finding.node.clone().or_else(|| finding.shard.clone()),
                finding.way(),
            );
            let (first, begun) = self.since.get(&key).copied().unwrap_or((at, view.now));
            finding.since = first;
            finding.escalate(view.now.since(begun));
            since.insert(key, (first, begun));
        }
        self.since = since;
        findings.sort_by(|a, b| {
            (a.severity, a.kind, &a.shard, &a.node, a.endpoint)
                .cmp(&(b.severity, b.kind, &b.shard, &b.node, b.endpoint))
        });
        findings
    }
}

impl Finding {
    /// Which endpoint it is about; in which way Sentinels disagree, or what they have wrong.
    fn way(&self) -> Option<String> {
        if let Some(endpoint) = self.endpoint {
            return Some(endpoint.label().to_owned());
        }
        if !matches!(
            self.kind,
            FindingKind::RedisSentinelDisagreement | FindingKind::RedisSentinelMisconfigured
        ) {
            return None;
        }
        self.evidence.iter().find(|(name, _)| *name == "why").map(|(_, why)| format!("{why:?}"))
    }

    /// A stale master takes writes: one that refuses them harms nobody, since its fence works, or it was cut off from its cluster.
    fn is_contested(&self) -> bool {
        self.evidence.iter().any(|(name, value)| {
            *name == TAKING_WRITES && matches!(value, Value::List(masters) if !masters.is_empty())
        })
    }

    /// Some conditions are routine for a while.
    fn escalate(&mut self, lasted: Duration) {
        self.severity = match self.kind {
            FindingKind::RedisSplitBrain
                if lasted > SPLIT_BRAIN_CRITICAL_AFTER && self.is_contested() =>
            {
                Severity::Critical
            }
            FindingKind::RedisReplicaLinkDown if lasted > LINK_DOWN_CRITICAL_AFTER => {
                Severity::Critical
            }
            FindingKind::RedisSentinelDisagreement if lasted < SENTINELS_AGREE_WITHIN => {
                Severity::Info
            }
            FindingKind::RedisSentinelQuorumLost if lasted < SENTINELS_AGREE_WITHIN => {
                Severity::Warning
            }
            FindingKind::RedisClusterDown
                if self.severity == Severity::Warning && lasted < CLUSTER_NODE_DOUBTS_FOR =>
            {
                Severity::Info
            }
            FindingKind::RedisSentinelMisconfigured if lasted < SENTINELS_LIST_WITHIN => {
                Severity::Info
            }
            _ => self.severity,
        };
        if matches!(
            self.kind,
            FindingKind::RedisSentinelDisagreement | FindingKind::RedisSentinelQuorumLost
        ) {
            self.evidence.push(("seconds", seconds(lasted)));
        }
    }
}

/// The findings so far.
struct Found<'a> {
    view: &'a DeploymentView,
    at: SystemTime,
    /// The shard that is looked at, in a cluster.
    shard: Option<String>,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(
        &mut self,
        kind: FindingKind,
        severity: Severity,
        node: Option<&NodeView>,
        evidence: Vec<(&'static str, Value)>,
    ) {
        let node = node.map(|node| node.node.name.clone());
        self.findings.push(Finding {
            kind,
            severity,
            node,
            shard: self.shard.clone(),
            endpoint: None,
            since: self.at,
            evidence,
        });
    }

    fn names(&self, indices: &[NodeIndex]) -> Value {
        Value::List(indices.iter().map(|index| self.view.name(*index).to_owned()).collect())
    }

    fn primary(&self, shard: &ShardView) -> Vec<(&'static str, Value)> {
        let primary = shard.primary.map(|primary| {
            [
                ("primary", text(self.view.name(primary.node))),
                ("by", text(primary.evidence.label())),
            ]
        });
        primary.into_iter().flatten().collect()
    }
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
