//! The document of deployments, shards, endpoints and nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use topology::{
    Cause, DeploymentView, EndpointView, FailoverCandidate, FailoverView, MisroutedClients,
    MisroutedView, NodeView, Upstream, Witness, active_reasons,
};

use super::{rfc3339, seconds};

/// The document of `/api/v1/topology`.
#[derive(Debug, Serialize)]
pub struct Topology {
    /// The requested deployments.
    pub deployments: Vec<DeploymentDocument>,
}

/// One deployment.
#[derive(Debug, Serialize)]
pub struct DeploymentDocument {
    /// The name.
    pub name: String,
    /// The kind: `static`, `sentinel`, `cluster`, `dns`.
    pub kind: &'static str,
    /// End of the last round; absent before the first round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The number of things that exceed a limit, so that they are left out, by limit: `nodes`,
    /// `masters`, `group_nodes`, `connections`, `label_values`, `names`; absent for a limit that is
    /// not exceeded.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limit_excess: BTreeMap<&'static str, u64>,
    /// The shards; exactly one outside of a cluster.
    pub shards: Vec<ShardDocument>,
    /// The configured endpoints of applications.
    pub endpoints: Vec<EndpointDocument>,
    /// The nodes.
    pub nodes: Vec<NodeDocument>,
}

/// An endpoint of applications, as of its last check.
#[derive(Debug, Serialize)]
pub struct EndpointDocument {
    /// The purpose: `primary` for writes, `reader` for reads.
    pub endpoint: &'static str,
    /// The configured address.
    pub address: String,
    /// True if the server replied to the check; absent before the first check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// The reason of a failed check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_reason: Option<&'static str>,
    /// The role that the server claims: `master`, `replica`, `sentinel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The node behind the endpoint, or `stranger` for an unknown server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<String>,
    /// True if the endpoint leads to a correct server; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correct: Option<bool>,
}

/// A shard: the nodes that share one data set.
#[expect(clippy::struct_excessive_bools, reason = "independent fields of a JSON document")]
#[derive(Debug, Serialize)]
pub struct ShardDocument {
    /// The label of the shard, in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The primary; absent while none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The evidence that decides: `cluster`, `sentinel`, `sole`, `followers`, `writers`,
    /// `declared`, `endpoint`, `lineage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<&'static str>,
    /// True if the evidence for another primary is current too.
    pub disputed: bool,
    /// True if Sentinels are known, but no majority of them was read within 10 s.
    pub unconfirmed: bool,
    /// The nodes that claim to be master.
    pub masters: Vec<String>,
    /// The masters that are stale.
    pub stale_masters: Vec<String>,
    /// The masters that share no history with the primary or with any other master.
    pub unrelated_masters: Vec<String>,
    /// True if several nodes claim to be master of one data set.
    pub split_brain: bool,
    /// Total time with a split brain.
    pub split_brain_seconds_total: f64,
    /// True if the evidence shows that no node is primary.
    pub no_primary: bool,
    /// The reason: `all_down`, `loop`, `primary_down`, `all_replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_primary_why: Option<&'static str>,
    /// Total time without a primary.
    pub no_primary_seconds_total: f64,
    /// True if nodes replicate in a circle.
    pub replication_loop: bool,
    /// Writes that stale masters accepted and the primary does not have.
    pub unreplicated_writes_total: u64,
    /// These writes as replication stream, bytes; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreplicated_bytes: Option<u64>,
    /// Changes of the primary, by cause.
    pub primary_changes_total: BTreeMap<&'static str, u64>,
    /// Number of restarts of the primary without its data.
    pub emptied_total: u64,
    /// Number of replacements of its data set by a foreign one.
    pub dataset_replaced_total: u64,
    /// True if the known primary accepts writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writable: Option<bool>,
    /// True if any node serves reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readable: Option<bool>,
    /// Readiness for an automatic failover; absent while it is unknown, and where none is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<FailoverDocument>,
}

/// The readiness of a shard for an automatic failover.
#[derive(Debug, Serialize)]
pub struct FailoverDocument {
    /// True if a failover would succeed.
    pub ready: bool,
    /// The reasons for which it would fail or lose data: `no_candidate`, `candidate_empty`,
    /// `no_quorum`, `sentinels_blind`, `waiting`, `candidate_lagging`.
    pub blockers: Vec<&'static str>,
    /// The replica that would be promoted, or several of which it would be one.
    pub candidates: Vec<CandidateDocument>,
    /// The replicas that would not be promoted.
    pub refused: Vec<RefusedDocument>,
    /// True if Sentinels know more replicas than they list, and may promote one of those.
    pub unlisted: bool,
    /// Time until Sentinels start another failover, while they wait after an aborted one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_seconds: Option<f64>,
}

/// A replica that may be promoted.
#[derive(Debug, Serialize)]
pub struct CandidateDocument {
    /// The replica.
    pub node: String,
    /// Changes of the primary that it does not have; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<u64>,
    /// The least possible number of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes_min: Option<u64>,
    /// The largest possible number of them; absent if there is no upper bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes_max: Option<u64>,
}

/// A replica that would not be promoted.
#[derive(Debug, Serialize)]
pub struct RefusedDocument {
    /// The replica.
    pub node: String,
    /// The reason: `priority`, `no_failover`, `too_few_masters`, `masters_down`, `down`,
    /// `link_down`.
    pub why: &'static str,
}

/// A node. The values of its replies are absent while it is down.
#[derive(Debug, Serialize)]
pub struct NodeDocument {
    /// The label.
    pub name: String,
    /// The configured or discovered address.
    pub address: String,
    /// The state: `up`, `down`, `unreachable` for Rolecall but alive according to a witness,
    /// `unknown`.
    pub state: &'static str,
    /// Statements of peers about the node, while it does not reply to Rolecall.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<WitnessDocument>,
    /// False while Rolecall cannot read the node; absent until it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// The reason of the last failed poll, while Rolecall cannot read the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_reason: Option<&'static str>,
    /// The role that the node claims: `master`, `replica`, `sentinel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The role that the node claims, if Rolecall does not know it, as the server reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_role: Option<String>,
    /// Number of servers that replied at the address recently, while they take turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<usize>,
    /// The upstream of a replica: a node, or an address without a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// State of the replication link: `up`, `stalled`, `syncing`, `sync_looping`, `lost`,
    /// `never_up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state: Option<&'static str>,
    /// The reason for which the replica is not connected to the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphaned: Option<&'static str>,
    /// Replication stream of the primary that the replica has not applied, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// Time since the replication stream of the primary passed the offset of the replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<f64>,
    /// Age of the replica's data: time since the primary had the same data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_age_seconds: Option<f64>,
    /// True if the data of the replica differs from the data of its primary.
    pub diverged: bool,
    /// The replication ID. INFO field `master_replid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_id: Option<String>,
    /// The replication offset, bytes. INFO field `master_repl_offset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The reasons for which a master refuses writes.
    pub writes_refused: Vec<&'static str>,
    /// The reasons for which the node refuses reads.
    pub reads_refused: Vec<&'static str>,
    /// Clients that write to the replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misrouted: Option<MisroutedDocument>,
    /// The version. INFO field `valkey_version`, or else `redis_version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A peer that observes a node which does not reply to Rolecall.
#[derive(Debug, Serialize)]
pub struct WitnessDocument {
    /// The peer; absent for a check of an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The way in which it observes the node: `replica`, `primary`, `sentinel`, `cluster`,
    /// `endpoint`.
    pub kind: &'static str,
    /// Its last statement: `alive` or `down`.
    pub state: &'static str,
    /// Time since its last contact with the node, seconds; absent if it considers the node down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// True if the contact is later than the last one of Rolecall, and recent enough to count.
    pub vouches: bool,
}

/// Clients that write to a replica.
#[derive(Debug, Serialize)]
pub struct MisroutedDocument {
    /// The probable reason: `wrong_endpoint`, `demotion`, `stale_topology`, `unknown`.
    pub why: &'static str,
    /// Refused writes per second.
    pub per_second: f64,
    /// The refused commands, the most refused first.
    pub commands: Vec<String>,
    /// Number of these clients by library; absent until CLIENT LIST was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<BTreeMap<String, usize>>,
    /// Number of clients that connected before the demotion of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_clients: Option<usize>,
}

/// Returns the document of deployments.
pub fn topology<'a>(views: impl IntoIterator<Item = &'a Arc<DeploymentView>>) -> Topology {
    Topology { deployments: views.into_iter().map(|view| deployment(view)).collect() }
}

/// Returns the document of one deployment.
pub fn deployment(view: &DeploymentView) -> DeploymentDocument {
    DeploymentDocument {
        name: view.deployment.name.clone(),
        kind: view.deployment.kind.label(),
        at: view.at.map(rfc3339),
        limit_excess: view
            .excess
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| (kind.label(), count))
            .collect(),
        shards: shards(view),
        endpoints: view.endpoints.iter().map(endpoint).collect(),
        nodes: view.members().map(|(_, node)| self::node(view, node)).collect(),
    }
}

/// Returns the documents of the shards of a deployment.
pub fn shards(view: &DeploymentView) -> Vec<ShardDocument> {
    let names = |indices: &[topology::NodeIndex]| {
        indices.iter().map(|index| view.name(*index).to_owned()).collect()
    };
    let shards = view.shards.iter().map(|shard| ShardDocument {
        shard: shard.shard.clone(),
        primary: shard.primary.map(|primary| view.name(primary.node).to_owned()),
        evidence: shard.primary.map(|primary| primary.evidence.label()),
        disputed: shard.primary_disputed,
        unconfirmed: shard.primary_unconfirmed,
        masters: names(&shard.masters),
        stale_masters: names(&shard.stale_masters),
        unrelated_masters: names(&shard.unrelated_masters),
        split_brain: !shard.split_brain.masters.is_empty(),
        split_brain_seconds_total: seconds(shard.split_brain.total),
        no_primary: shard.no_primary.why.is_some(),
        no_primary_why: shard.no_primary.why.map(topology::NoPrimaryReason::label),
        no_primary_seconds_total: seconds(shard.no_primary.total),
        replication_loop: !shard.replication_loop.is_empty(),
        unreplicated_writes_total: shard.lost_writes.total,
        unreplicated_bytes: shard.lost_writes.bytes,
        primary_changes_total: Cause::ALL
            .map(Cause::label)
            .into_iter()
            .zip(shard.primary_change_counts)
            .collect(),
        emptied_total: shard.emptied.total,
        dataset_replaced_total: shard.dataset_replaced.total,
        writable: shard.writable,
        readable: shard.readable,
        failover: shard.failover.as_ref().map(|found| failover(view, found)),
    });
    shards.collect()
}

fn failover(view: &DeploymentView, failover: &FailoverView) -> FailoverDocument {
    let candidate = |candidate: &FailoverCandidate| CandidateDocument {
        node: view.name(candidate.node).to_owned(),
        changes: candidate.changes.map(|changes| changes.about),
        changes_min: candidate.changes.map(|changes| changes.low),
        changes_max: candidate
            .changes
            .filter(|changes| !changes.at_least)
            .map(|changes| changes.high),
    };
    FailoverDocument {
        ready: failover.is_ready(),
        blockers: failover.blockers.iter().map(|blocker| blocker.label()).collect(),
        candidates: failover.candidates.iter().map(candidate).collect(),
        refused: failover
            .refused
            .iter()
            .map(|refused| RefusedDocument {
                node: view.name(refused.node).to_owned(),
                why: refused.why.label(),
            })
            .collect(),
        unlisted: failover.unlisted,
        waits_seconds: failover.waits_for.map(seconds),
    }
}

fn endpoint(view: &EndpointView) -> EndpointDocument {
    EndpointDocument {
        endpoint: view.configured.kind.label(),
        address: view.configured.address.clone(),
        up: view.up,
        down_reason: view.reason.map(snapshot::Reason::label),
        role: view.role.map(snapshot::Role::label),
        leads_to: view.leads_to.as_ref().map(|leads_to| leads_to.label().to_owned()),
        correct: view.correct,
    }
}

fn node(view: &DeploymentView, node: &NodeView) -> NodeDocument {
    let snapshot = node.snapshot();
    let version = ["valkey_version", "redis_version"]
        .into_iter()
        .find_map(|field| snapshot?.fields.get(field));
    NodeDocument {
        name: node.node.name.clone(),
        address: node.node.address.clone(),
        state: node.availability().label(),
        witnesses: node.witnesses.iter().map(|found| witness(view, found)).collect(),
        up: node.readable(),
        down_reason: node.failure().filter(|_| !node.is_cut_off()).map(snapshot::Reason::label),
        role: node.role().map(snapshot::Role::label),
        unknown_role: snapshot
            .and_then(|snapshot| snapshot.replication.unknown_role.as_deref())
            .map(str::to_owned),
        servers: node.servers,
        follows: upstream(view, node),
        link_state: snapshot.and(node.link.state).map(topology::LinkState::label),
        orphaned: node.orphan.map(topology::OrphanReason::label),
        lag_bytes: node.lag.bytes,
        lag_seconds: node.lag.behind.map(seconds),
        data_age_seconds: node.lag.age.map(seconds),
        diverged: node.diverged,
        replication_id: snapshot
            .and_then(|snapshot| snapshot.replication.replid.as_deref())
            .map(str::to_owned),
        offset: snapshot.and_then(|snapshot| snapshot.replication.offset),
        writes_refused: active_reasons(&node.writes_refused),
        reads_refused: active_reasons(&node.reads_refused),
        misrouted: node.misrouted.as_deref().map(misrouted),
        version: version.map(str::to_owned),
    }
}

fn witness(view: &DeploymentView, witness: &Witness) -> WitnessDocument {
    WitnessDocument {
        peer: witness.peer.map(|peer| view.name(peer).to_owned()),
        kind: witness.kind.label(),
        state: if witness.says_down() { "down" } else { "alive" },
        seconds: witness.alive_at.map(|at| seconds(view.now.since(at))),
        vouches: witness.vouches,
    }
}

fn misrouted(misrouted: &MisroutedView) -> MisroutedDocument {
    let libraries = |clients: &MisroutedClients| {
        clients.libraries.iter().map(|(library, count)| (library.to_string(), *count)).collect()
    };
    MisroutedDocument {
        why: misrouted.why.label(),
        per_second: (misrouted.per_second * 1000.0).round() / 1000.0,
        commands: misrouted.commands.iter().map(ToString::to_string).collect(),
        clients: misrouted.writers.as_deref().map(libraries),
        stale_clients: misrouted.stale_clients.as_ref().map(|stale| stale.total),
    }
}

/// Returns the upstream of a node: a node, or an address without a node.
pub(crate) fn upstream(view: &DeploymentView, node: &NodeView) -> Option<String> {
    match &node.upstream {
        Upstream::Nothing => None,
        Upstream::Node(index) => Some(view.name(*index).to_owned()),
        Upstream::Unknown(address) => Some(address.clone()),
    }
}
