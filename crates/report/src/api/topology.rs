//! What each deployment is made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use topology::{
    Cause, DeploymentView, EndpointView, MisroutedClients, MisroutedView, NodeState, NodeView,
    Upstream, active_reasons,
};

use super::{seconds, time};

/// `/api/v1/topology`: what each deployment is made of.
#[derive(Debug, Serialize)]
pub struct Topology {
    /// The deployments that were asked for.
    pub deployments: Vec<DeploymentDocument>,
}

/// One deployment.
#[derive(Debug, Serialize)]
pub struct DeploymentDocument {
    /// Its name.
    pub name: String,
    /// How its nodes are known.
    pub kind: &'static str,
    /// When its last round closed; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What its nodes mean together: one entry, or one for each shard of a cluster.
    pub shards: Vec<ShardDocument>,
    /// The endpoints that applications use, as far as they are configured.
    pub endpoints: Vec<EndpointDocument>,
    /// Its nodes.
    pub nodes: Vec<NodeDocument>,
}

/// An endpoint that applications use, as of its last check.
#[derive(Debug, Serialize)]
pub struct EndpointDocument {
    /// What it is for: `primary` is the one for writes, `reader` the one for reads.
    pub endpoint: &'static str,
    /// Where it was configured to be.
    pub address: String,
    /// Whether the check was answered; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_reason: Option<&'static str>,
    /// What the server behind it claims to be: `master`, `replica`, `sentinel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The node behind it, or `stranger`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<String>,
    /// Whether it leads where it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correct: Option<bool>,
}

/// What the nodes that hold one data set mean together.
#[derive(Debug, Serialize)]
pub struct ShardDocument {
    /// Its label, in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The primary; absent while none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// What says so: `lineage`, `sentinel`, `sole`, `expected`, `previous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<&'static str>,
    /// The nodes that claim to be master.
    pub masters: Vec<String>,
    /// Those whose history another one took over.
    pub stale_masters: Vec<String>,
    /// Those that share no history with the primary, or with any other.
    pub unrelated_masters: Vec<String>,
    /// Whether several nodes claim to be master of one data set.
    pub split_brain: bool,
    /// All the time that this was so.
    pub split_brain_seconds_total: f64,
    /// Whether no node is primary, on evidence.
    pub no_primary: bool,
    /// Why not: `all_down`, `loop`, `primary_down`, `all_replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_primary_why: Option<&'static str>,
    /// All the time that this was so.
    pub no_primary_seconds_total: f64,
    /// Whether nodes follow one another in a circle.
    pub replication_loop: bool,
    /// Writes that stale masters accepted and the primary does not have.
    pub unreplicated_writes_total: u64,
    /// The same as replication stream, while it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreplicated_bytes: Option<u64>,
    /// Changes of the primary, by cause.
    pub primary_changes_total: BTreeMap<&'static str, u64>,
    /// How often the primary came back without its data.
    pub emptied_total: u64,
    /// Whether the known primary takes writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writable: Option<bool>,
    /// Whether any node serves reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readable: Option<bool>,
}

/// One node. What it said is there only while it is up.
#[derive(Debug, Serialize)]
pub struct NodeDocument {
    /// Its label.
    pub name: String,
    /// Where it was configured to be.
    pub address: String,
    /// Whether it answers; absent while nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_reason: Option<&'static str>,
    /// What it claims to be: `master`, `replica`, `sentinel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The node that it follows, or the address if no node is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// State of its link: `up`, `stalled`, `syncing`, `sync_looping`, `lost`, `never_up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state: Option<&'static str>,
    /// Why it gets nothing from the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphaned: Option<&'static str>,
    /// Replication stream of the primary that it has not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// Time since the primary's stream passed what it applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<f64>,
    /// Time since the primary's history last equalled its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_age_seconds: Option<f64>,
    /// Its data is not its primary's.
    pub diverged: bool,
    /// The history that its data belongs to. INFO replication: `master_replid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_id: Option<String>,
    /// INFO replication: `master_repl_offset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Why it refuses writes that it should take.
    pub writes_refused: Vec<&'static str>,
    /// Why it refuses reads.
    pub reads_refused: Vec<&'static str>,
    /// Clients write to it, though it is a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misrouted: Option<MisroutedDocument>,
    /// INFO server: `redis_version`, or `valkey_version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Clients that write to a replica.
#[derive(Debug, Serialize)]
pub struct MisroutedDocument {
    /// `wrong_endpoint`, `demotion`, `stale_topology`, `unknown`.
    pub why: &'static str,
    /// Writes that it refuses per second.
    pub per_second: f64,
    /// The commands that it refuses, the most refused first.
    pub commands: Vec<String>,
    /// How many clients do so, by library; absent before they were listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<BTreeMap<String, usize>>,
    /// How many clients are connected since before it was demoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_clients: Option<usize>,
}

/// What deployments are made of.
pub fn topology<'a>(views: impl IntoIterator<Item = &'a Arc<DeploymentView>>) -> Topology {
    Topology { deployments: views.into_iter().map(|view| deployment(view)).collect() }
}

/// What one deployment is made of.
pub fn deployment(view: &DeploymentView) -> DeploymentDocument {
    DeploymentDocument {
        name: view.deployment.name.clone(),
        kind: view.deployment.kind.label(),
        at: view.at.map(time),
        shards: shards(view),
        endpoints: view.endpoints.iter().map(endpoint).collect(),
        nodes: view.members().map(|(_, node)| self::node(view, node)).collect(),
    }
}

/// What the nodes of a deployment mean together.
pub fn shards(view: &DeploymentView) -> Vec<ShardDocument> {
    let names = |indices: &[topology::NodeIndex]| {
        indices.iter().map(|index| view.name(*index).to_owned()).collect()
    };
    let shards = view.shards.iter().map(|shard| ShardDocument {
        shard: shard.shard.clone(),
        primary: shard.primary.map(|primary| view.name(primary.node).to_owned()),
        evidence: shard.primary.map(|primary| primary.evidence.label()),
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
        writable: shard.writable,
        readable: shard.readable,
    });
    shards.collect()
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
        up: node.up(),
        down_reason: match node.presence {
            NodeState::Down { reason, .. } => Some(reason.label()),
            _ => None,
        },
        role: node.role().map(snapshot::Role::label),
        follows: follows(view, node),
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

/// The node that a node follows, or the address if no node is there.
pub(crate) fn follows(view: &DeploymentView, node: &NodeView) -> Option<String> {
    match &node.upstream {
        Upstream::Nothing => None,
        Upstream::Node(index) => Some(view.name(*index).to_owned()),
        Upstream::Unknown(address) => Some(address.clone()),
    }
}
