//! Redis Cluster whose nodes are pods.

use std::sync::Arc;

use super::{LIMIT, Operation, move_pod};
use crate::{Cluster, ClusterSetup, Connection, NameServer, Server, Writer};

/// Cluster of three masters with one replica each.
pub struct ClusterPods {
    name_server: Arc<NameServer>,
    /// The cluster.
    pub cluster: Cluster,
    deployment: &'static str,
}

impl ClusterPods {
    /// The operations that need no more than this deployment and that no alert may notice.
    pub const OPERATIONS: [Operation<Self>; 3] = [
        ("rolling restart with other addresses", Self::rolling_restart),
        ("one replica more, and one less", Self::scale_out_and_in),
        ("CLUSTER FAILOVER", Self::fail_over),
    ];

    /// Starts the cluster. With `announces`, each pod announces its address, as many charts
    /// configure it. Otherwise the others learn a new address from the connections of the pod, and
    /// the pod itself reports its old one.
    pub fn start(name_server: &Arc<NameServer>, deployment: &'static str, announces: bool) -> Self {
        let places: Vec<_> = (0..6).map(|_| name_server.new_host()).collect();
        let cluster =
            Cluster::start_at(&ClusterSetup { announces, ..ClusterSetup::default() }, &places);
        let pods = ClusterPods { name_server: Arc::clone(name_server), cluster, deployment };
        (0..pods.cluster.nodes.len()).for_each(|node| pods.publish(node));
        pods
    }

    /// Returns a `[[deployment]]` section with the IP addresses of these nodes as seeds.
    pub fn configuration(&self, seeds: &[usize]) -> String {
        self.cluster.deployment(self.deployment, seeds, "")
    }

    /// Returns a `[[deployment]]` section with the host name of the first node as seed.
    pub fn configuration_by_name(&self) -> String {
        let (deployment, port) = (self.deployment, self.cluster.nodes[0].port);
        let seed = format!("redis://{}:{port}", self.host_name(0));
        let network = self.name_server.network();
        format!(
            "[[deployment]]\nname = '{deployment}'\ncluster = ['{seed}']\ntrust = ['{network}']\n"
        )
    }

    fn host_name(&self, node: usize) -> String {
        format!("node-{node}.{}.test", self.deployment)
    }

    /// Makes the host name of a pod resolve to its address.
    fn publish(&self, node: usize) {
        let place = &self.cluster.nodes[node].place;
        self.name_server.rename(place, &[&self.host_name(node)]);
    }

    fn move_node(&mut self, node: usize) {
        let server = &mut self.cluster.nodes[node];
        self.name_server.rename(&server.place, &[]);
        move_pod(server, &self.name_server.new_host());
        self.publish(node);
    }

    /// Restarts each pod. Each one returns with another address: first the replicas, then, after a
    /// planned failover, the old masters.
    pub fn rolling_restart(&mut self) {
        let masters: Vec<_> = [0, 6000, 12_000].map(|slot| self.cluster.owner(slot)).into();
        let replicas: Vec<_> =
            masters.iter().map(|master| self.cluster.replicas_of(*master)[0]).collect();
        for replica in &replicas {
            self.move_pod(*replica);
        }
        for ((master, replica), slot) in masters.into_iter().zip(replicas).zip([0, 6000, 12_000]) {
            self.cluster.failover(replica);
            self.cluster.until_failed_over(LIMIT, master, slot);
            self.cluster.until_healthy();
            self.move_pod(master);
        }
    }

    /// Moves the replica of the last shard to another address. The others may be unhealthy.
    pub fn move_last_replica(&mut self) {
        let replica = self.cluster.replicas_of(self.cluster.owner(12_000))[0];
        self.move_node(replica);
        self.cluster.nodes[replica].until_synchronised();
    }

    fn move_pod(&mut self, node: usize) {
        self.move_node(node);
        self.cluster.until_healthy();
    }

    /// Adds a replica and removes one, with the steps of `redis-cli --cluster del-node`.
    pub fn scale_out_and_in(&mut self) {
        let place = self.name_server.new_host();
        let master = self.cluster.owner(0);
        let added = self.cluster.add_replica_at(&place, master);
        self.cluster.remove(added);
        self.cluster.until_healthy();
    }

    /// Kills the replica of the first shard, which stays dead.
    pub fn kill_replica(&mut self) -> String {
        let replica = self.cluster.replicas_of(self.cluster.owner(0))[0];
        self.cluster.nodes[replica].kill();
        self.cluster.nodes[replica].address()
    }

    /// Performs a planned failover of the first shard.
    pub fn fail_over(&mut self) {
        let master = self.cluster.owner(0);
        let replica = self.cluster.replicas_of(master)[0];
        self.cluster.failover(replica);
        self.cluster.until_failed_over(LIMIT, master, 0);
        self.cluster.until_healthy();
    }

    /// Starts a client that writes to the master of the first shard. The hash tag `{b}` selects a
    /// slot of it.
    pub fn write(&self, prefix: &'static str, per_second: u32) -> Writer {
        let addresses: Vec<_> = self.cluster.nodes.iter().map(Server::address).collect();
        Writer::follow(
            move || {
                addresses.iter().find_map(|address| {
                    let mut wire = Connection::connect(address, None).ok()?;
                    let reply = wire.execute(&["SET", &format!("{prefix}0"), "1"]).ok()?;
                    (reply == ["OK"]).then(|| address.clone())
                })
            },
            prefix,
            per_second,
        )
    }
}
