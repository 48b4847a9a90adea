//! The truth about a moment of a history, read without Rolecall: processes, replies through Unix
//! sockets, the network, and what clients experienced.

use std::collections::BTreeMap;
use std::time::Duration;

use ::tests::ClusterNode;

use crate::client::{Outcome, WriteLog};
use crate::operation::{Act, HostId, NodeId};
use crate::plan::Kind;
use crate::server::{Fields, ProcessState, ServerProcess};
use crate::world::World;

/// The truth about a moment.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    /// Time since the start of the history.
    pub(crate) at: Duration,
    /// Time at which the exporter started.
    pub(crate) exporter_started: Duration,
    pub(crate) deployments: Vec<DeploymentTruth>,
    pub(crate) sentinels: Vec<SentinelTruth>,
    /// The network loses no packets.
    pub(crate) is_network_whole: bool,
    /// Number of operations so far.
    pub(crate) operations: u64,
}

/// The truth about a deployment.
#[derive(Debug, Clone)]
pub(crate) struct DeploymentTruth {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Its nodes require a password, and its replicas, its clients and the exporter log in to them.
    pub(crate) has_password: bool,
    pub(crate) nodes: Vec<NodeTruth>,
    pub(crate) clients: Vec<ClientTruth>,
    /// Time of the last act of each kind.
    pub(crate) acts: BTreeMap<Act, Duration>,
    /// Addresses of each node.
    pub(crate) addresses: Vec<[String; 2]>,
}

/// The truth about a data node.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug, Clone)]
pub(crate) struct NodeTruth {
    pub(crate) state: ProcessState,
    /// Its reply to INFO; `None` if it does not reply.
    pub(crate) info: Option<Fields>,
    /// Share of the packets between it and the exporter that are lost, percent.
    pub(crate) loss: u8,
    /// The exporter has the right password.
    pub(crate) accepts_exporter: bool,
    /// Rolecall can discover it: the DNS name or a Sentinel that Rolecall can read lists it, or the
    /// deployment has neither.
    pub(crate) is_listed: bool,
    /// A peer that Rolecall can read reaches it without loss: a Sentinel that monitors the
    /// deployment, or a replica whose link to it is up.
    pub(crate) is_witnessed: bool,
    /// Its reply to CLUSTER NODES, in a cluster.
    pub(crate) map: Vec<ClusterNode>,
    /// `cluster_state` is `ok`.
    pub(crate) cluster_ok: bool,
    /// It has denied access to a server or a client of another deployment.
    pub(crate) denied_foreigner: bool,
}

/// Experience of a client.
#[derive(Debug, Clone)]
pub(crate) struct ClientTruth {
    /// Writes that were acknowledged within the last five seconds.
    pub(crate) acknowledged: usize,
    /// Writes that a master refused within the last five seconds because of its own state.
    pub(crate) refused: usize,
    /// Writes that were not acknowledged within the last five seconds.
    pub(crate) failed: usize,
    /// No packet between the client and the servers of the deployment is lost.
    pub(crate) reaches_all: bool,
}

/// The truth about a Sentinel.
#[derive(Debug, Clone)]
pub(crate) struct SentinelTruth {
    pub(crate) state: ProcessState,
    pub(crate) loss: u8,
    /// The masters that it monitors, by name.
    pub(crate) masters: BTreeMap<String, WatchedMaster>,
    /// Addresses of the replicas that it lists, by name of their master.
    pub(crate) replicas: BTreeMap<String, Vec<String>>,
}

/// A master as a Sentinel sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatchedMaster {
    pub(crate) address: String,
    /// It has the flag `s_down` or `o_down`, or a failover is in progress.
    pub(crate) is_in_doubt: bool,
    /// It has the flag `s_down`.
    pub(crate) is_down: bool,
}

/// Span of time in which writes of clients are counted.
const RECENT: Duration = Duration::from_secs(5);

/// Error codes with which a master refuses writes because of its own state.
const REFUSALS: [&str; 3] = ["MISCONF", "OOM", "NOREPLICAS"];

impl Truth {
    /// Reads the truth.
    pub(crate) fn read(world: &mut World) -> Self {
        for id in world.node_ids() {
            world.node_mut(id).is_alive();
        }
        for sentinel in &mut world.sentinels {
            sentinel.is_alive();
        }
        let at = world.now();
        let deployments = (0..world.deployments.len()).map(|index| deployment(world, index, at));
        let sentinels = (0..world.sentinels.len()).map(|index| sentinel(world, index));
        let mut truth = Truth {
            at,
            exporter_started: world.exporter_started,
            deployments: deployments.collect(),
            sentinels: sentinels.collect(),
            is_network_whole: world.mesh.is_whole(),
            operations: world.operations,
        };
        for id in world.node_ids() {
            if world.deployments[id.deployment].plan.kind == Kind::Sentinel {
                let is_listed = truth.is_listed_by_sentinel(id);
                truth.deployments[id.deployment].nodes[id.node].is_listed = is_listed;
            }
        }
        for id in world.node_ids() {
            let is_witnessed = truth.has_witness(world, id);
            truth.deployments[id.deployment].nodes[id.node].is_witnessed = is_witnessed;
        }
        truth
    }

    /// Returns true if a Sentinel that Rolecall can read lists a node. No Sentinel lists a replica
    /// of a replica.
    fn is_listed_by_sentinel(&self, id: NodeId) -> bool {
        let deployment = &self.deployments[id.deployment];
        let is_node = |address: &String| deployment.node_at(address) == Some(id.node);
        let readable = self
            .sentinels
            .iter()
            .filter(|sentinel| sentinel.state == ProcessState::Running && sentinel.loss == 0);
        readable.into_iter().any(|sentinel| {
            let master = sentinel.masters.get(deployment.name);
            let replicas = sentinel.replicas.get(deployment.name);
            master.is_some_and(|master| is_node(&master.address))
                || replicas.is_some_and(|replicas| replicas.iter().any(is_node))
        })
    }

    fn has_witness(&self, world: &World, id: NodeId) -> bool {
        let host = HostId::Node(id);
        let deployment = &self.deployments[id.deployment];
        let by_sentinel = self.sentinels.iter().enumerate().any(|(index, sentinel)| {
            sentinel.state == ProcessState::Running
                && sentinel.loss == 0
                && sentinel.masters.contains_key(deployment.name)
                && world.mesh.connects(host, HostId::Sentinel(index))
        });
        by_sentinel
            || (0..deployment.nodes.len()).any(|peer| {
                let peer_host = HostId::Node(NodeId { node: peer, ..id });
                deployment.is_readable(peer)
                    && deployment.upstream(peer) == Some(id.node)
                    && deployment.info(peer).is_some_and(Fields::is_linked)
                    && world.mesh.connects(host, peer_host)
            })
    }
}

impl DeploymentTruth {
    /// Returns the node at an address.
    pub(crate) fn node_at(&self, address: &str) -> Option<usize> {
        self.addresses.iter().position(|own| own.iter().any(|own| own == address))
    }

    /// Returns the INFO fields of a node that replies.
    pub(crate) fn info(&self, node: usize) -> Option<&Fields> {
        self.nodes[node].info.as_ref()
    }

    /// Returns the node that a replica follows; `None` for masters, and for foreign masters.
    pub(crate) fn upstream(&self, node: usize) -> Option<usize> {
        self.node_at(&self.info(node)?.master_address()?)
    }

    /// Returns the nodes that reply as masters.
    pub(crate) fn masters(&self) -> Vec<usize> {
        let nodes = 0..self.nodes.len();
        nodes.filter(|node| self.info(*node).is_some_and(Fields::is_master)).collect()
    }

    /// Returns true if the cluster met another one and has masters of it, according to one of its
    /// nodes. A node whose address is unknown is none of them.
    pub(crate) fn is_merged(&self) -> bool {
        let is_foreign = |line: &ClusterNode| {
            line.has("master")
                && !line.has("handshake")
                && !line.has("noaddr")
                && self.node_at(&line.address).is_none()
        };
        self.acts.contains_key(&Act::Foreign)
            && self.nodes.iter().flat_map(|node| &node.map).any(is_foreign)
    }

    /// Returns true if nodes of the deployment may have replicated from nodes of another one, and
    /// Rolecall may have read those: both had the same password at first, or none. Without it, a
    /// replica is denied every sync, and keeps its data. No rotation makes passwords equal.
    pub(crate) fn accepts_same_password(&self, other: &DeploymentTruth) -> bool {
        self.has_password == other.has_password
    }

    /// Returns true if the deployment has the masters that it should have, and every other node is
    /// linked to its master.
    pub(crate) fn is_replicating(&self) -> bool {
        let masters = self.masters();
        let has_masters = match self.kind {
            Kind::Cluster => !self.is_merged() && self.nodes.iter().all(|node| node.cluster_ok),
            _ => masters.len() == 1,
        };
        let is_linked = |node: usize| self.info(node).is_some_and(Fields::is_linked);
        has_masters && (0..self.nodes.len()).all(|node| masters.contains(&node) || is_linked(node))
    }

    /// Returns true if servers or clients of another deployment may have connected to its nodes.
    pub(crate) fn has_met_another(&self) -> bool {
        has_met_another(&self.acts)
    }

    /// Returns true if all nodes reply through their Unix sockets.
    pub(crate) fn all_reply(&self) -> bool {
        self.nodes.iter().all(|node| node.info.is_some())
    }

    /// Returns true if Rolecall can read a node.
    pub(crate) fn is_readable(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.info.is_some() && node.loss == 0 && node.accepts_exporter && node.is_listed
    }
}

fn has_met_another(acts: &BTreeMap<Act, Duration>) -> bool {
    Act::MEETINGS.iter().any(|act| acts.contains_key(act))
}

fn deployment(world: &World, index: usize, at: Duration) -> DeploymentTruth {
    let running = &world.deployments[index];
    let nodes = (0..running.nodes.len()).map(|node| node_truth(world, running.id(node)));
    let clients = running.clients.iter().enumerate().map(|(client, process)| {
        let host = HostId::Client(index, client);
        client_truth(world, host, index, &process.log(), at)
    });
    DeploymentTruth {
        name: running.plan.name,
        kind: running.plan.kind,
        has_password: running.plan.has_password,
        nodes: nodes.collect(),
        clients: clients.collect(),
        acts: running.acts.clone(),
        addresses: running.addresses.clone(),
    }
}

fn node_truth(world: &World, id: NodeId) -> NodeTruth {
    let (deployment, server) = (&world.deployments[id.deployment], world.node(id));
    let is_cluster = deployment.plan.kind == Kind::Cluster;
    let info = server.info();
    let reply = |command| {
        let needed = is_cluster && info.is_some();
        needed.then(|| server.execute(&["CLUSTER", command])).flatten().unwrap_or_default().concat()
    };
    NodeTruth {
        state: server.state,
        loss: world.mesh.loss_between(HostId::Node(id), HostId::Exporter),
        accepts_exporter: server.password == deployment.password && world.reload_at.is_none(),
        is_listed: deployment.listed[id.node],
        is_witnessed: false,
        map: reply("NODES").lines().filter_map(ClusterNode::parse).collect(),
        cluster_ok: reply("INFO").contains("cluster_state:ok"),
        denied_foreigner: has_met_another(&deployment.acts) && has_denied_foreigner(server),
        info,
    }
}

/// Returns true if a server has denied access to others than Rolecall and replicas with the right
/// password. Without a password, Rolecall sends INFO first; and each replica sends PING before it
/// logs in.
fn has_denied_foreigner(server: &ServerProcess) -> bool {
    let sections = ["errorstats", "commandstats"];
    let replies = sections.iter().filter_map(|section| server.execute(&["INFO", section]));
    let fields = Fields::parse(&replies.flatten().collect::<Vec<_>>().join("\n"));
    denied_by_foreigners(&fields) > 0
}

/// Returns the number of denials of which neither Rolecall nor a replica with the right password is
/// the cause, from INFO errorstats and commandstats.
fn denied_by_foreigners(fields: &Fields) -> u64 {
    let count = |field: &str, name: &str| {
        let pairs = fields.get(field).unwrap_or_default().split(',');
        let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(own, _)| *own == name);
        value.and_then(|(_, value)| value.parse::<u64>().ok()).unwrap_or_default()
    };
    let codes = ["NOAUTH", "WRONGPASS", "NOPERM"].iter();
    let denied: u64 = codes.map(|code| count(&format!("errorstat_{code}"), "count")).sum();
    let rejected = ["info", "ping"].iter();
    let explained: u64 =
        rejected.map(|command| count(&format!("cmdstat_{command}"), "rejected_calls")).sum();
    denied.saturating_sub(explained)
}

fn client_truth(
    world: &World,
    host: HostId,
    deployment: usize,
    log: &WriteLog,
    at: Duration,
) -> ClientTruth {
    let recent = at.saturating_sub(RECENT)..at;
    let acknowledged = log.count(recent.clone(), |outcome| *outcome == Outcome::Acknowledged);
    let is_refusal = |outcome: &Outcome| match outcome {
        Outcome::Refused(code) => REFUSALS.contains(&code.as_str()),
        Outcome::Acknowledged | Outcome::Hung => false,
    };
    let nodes = &world.deployments[deployment];
    let nodes = (0..nodes.nodes.len()).map(|node| HostId::Node(nodes.id(node)));
    let sentinels = (0..world.sentinels.len()).map(HostId::Sentinel);
    ClientTruth {
        acknowledged,
        refused: log.count(recent.clone(), is_refusal),
        failed: log.count(recent, |_| true) - acknowledged,
        reaches_all: nodes.chain(sentinels).all(|other| world.mesh.connects(host, other)),
    }
}

fn sentinel(world: &World, index: usize) -> SentinelTruth {
    let server = &world.sentinels[index];
    let address = |fields: &BTreeMap<String, String>| {
        Some(format!("{}:{}", fields.get("ip")?, fields.get("port")?))
    };
    let masters = server.table(&["SENTINEL", "MASTERS"]).unwrap_or_default();
    let masters: BTreeMap<_, _> = masters
        .into_iter()
        .filter_map(|master| {
            let flags = master.get("flags")?;
            let watched = WatchedMaster {
                address: address(&master)?,
                is_in_doubt: flags.split(',').any(|flag| flag != "master"),
                is_down: flags.split(',').any(|flag| flag == "s_down"),
            };
            Some((master.get("name")?.clone(), watched))
        })
        .collect();
    let replicas = masters.keys().map(|name| {
        let replicas = server.table(&["SENTINEL", "REPLICAS", name]).unwrap_or_default();
        (name.clone(), replicas.iter().filter_map(address).collect())
    });
    SentinelTruth {
        state: server.state,
        loss: world.mesh.loss_between(HostId::Sentinel(index), HostId::Exporter),
        replicas: replicas.collect(),
        masters,
    }
}

#[cfg(test)]
mod denial_tests {
    use super::*;

    #[test]
    fn denials_of_rolecall_and_of_replicas_are_no_foreigners() {
        // A replica of a Valkey cluster that met another cluster: only Rolecall has no password.
        let replica = "errorstat_ERR:count=1\nerrorstat_NOAUTH:count=60\n\
             cmdstat_info:calls=257,usec=20039,usec_per_call=78,rejected_calls=60,failed_calls=0";
        assert_eq!(denied_by_foreigners(&Fields::parse(replica)), 0);
        // A master of it: replicas and clients of the other cluster have no password either.
        let master = "errorstat_NOAUTH:count=388\n\
             cmdstat_info:calls=261,usec=27705,usec_per_call=106,rejected_calls=60,failed_calls=0\n\
             cmdstat_ping:calls=1,usec=1,usec_per_call=1,rejected_calls=59,failed_calls=0\n\
             cmdstat_psync:calls=2,usec=1070,usec_per_call=535,rejected_calls=57,failed_calls=0\n\
             cmdstat_client|setinfo:calls=4,usec=2,rejected_calls=41,failed_calls=0";
        assert_eq!(denied_by_foreigners(&Fields::parse(master)), 269);
        // Before 6.2.
        assert_eq!(denied_by_foreigners(&Fields::parse("cmdstat_info:calls=29,usec=1172")), 0);
    }
}
