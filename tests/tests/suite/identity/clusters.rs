//! Two clusters that meet, and slot migrations, which replace nothing.

use tests::{Cluster, ClusterSetup, Server, eventually};

use super::{REPLACED, REPLACED_TOTAL, check_nothing_replaced, replacements};
use crate::monitor::{LIMIT, Monitor, SOON};

fn setup() -> ClusterSetup {
    ClusterSetup { replicas: 0, ..ClusterSetup::default() }
}

/// Starts to monitor a cluster, and waits until it is healthy.
fn monitored(cluster: &Cluster) -> Monitor {
    let monitor = Monitor::start(&cluster.deployment("cache", &[0], ""));
    for node in &cluster.nodes {
        monitor.daemon.until(LIMIT, "redis_up", &[("node", &node.address())], 1.0);
    }
    monitor.until_no_findings();
    monitor.daemon.until_rounds(3);
    monitor
}

/// Returns the configuration epoch of a node.
fn epoch(node: &Server) -> u64 {
    let reply = node.execute(&["CLUSTER", "INFO"]).concat();
    let epoch = reply.lines().find_map(|line| line.trim_end().strip_prefix("cluster_my_epoch:"));
    epoch.and_then(|epoch| epoch.parse().ok()).expect("an epoch")
}

#[test]
fn two_clusters_that_meet_are_reported() {
    let (own, foreign) = (Cluster::start(&setup()), Cluster::start(&setup()));
    own.write("own", 300);
    foreign.write("foreign", 300);
    // Its epochs are higher, so it takes all slots. The highest one is not raised further.
    let epochs = own.nodes.iter().map(epoch).max();
    eventually(LIMIT, "the foreign epochs are higher", || {
        for node in &foreign.nodes {
            node.execute(&["CLUSTER", "BUMPEPOCH"]);
        }
        foreign.nodes.iter().all(|node| Some(epoch(node)) > epochs).then_some(())
    });
    let monitor = monitored(&own);
    let (host, port) = (&foreign.nodes[0].host, foreign.nodes[0].port.to_string());
    assert_eq!(own.nodes[0].execute(&["CLUSTER", "MEET", host, &port]), ["OK"]);
    eventually(LIMIT, "the masters follow foreign ones", || {
        own.nodes.iter().all(|node| node.role().as_deref() == Some("slave")).then_some(())
    });
    for shard in ["0", "5461", "10923"] {
        monitor.daemon.until(SOON, REPLACED_TOTAL, &[("shard", shard)], 1.0);
    }
    monitor.daemon.until(SOON, "redis_cluster_foreign_masters_total", &[], 3.0);
    monitor.daemon.until_severity(SOON, REPLACED, "critical");
    let mut replaced: Vec<_> = replacements(&monitor.daemon)
        .into_iter()
        .map(|event| event["node"].as_str().expect("a node").to_owned())
        .collect();
    replaced.sort_unstable();
    let mut expected: Vec<_> = own.nodes.iter().map(Server::address).collect();
    expected.sort_unstable();
    assert_eq!(replaced, expected);
    let keys: u64 = replacements(&monitor.daemon)
        .iter()
        .map(|event| event["keys_before"].as_u64().expect("a number"))
        .sum();
    assert_eq!(keys, 300);
}

#[test]
fn a_slot_migration_that_empties_a_master_is_silent() {
    let mut cluster = Cluster::start(&setup());
    cluster.write("key", 300);
    let monitor = monitored(&cluster);
    // A new master takes all slots of the first one, which becomes its replica.
    let new = cluster.add_master();
    cluster.move_slots(0..=5460, 0, new);
    eventually(LIMIT, "the empty master is a replica", || {
        (cluster.nodes[0].role()? == "slave").then_some(())
    });
    monitor.daemon.until_rounds(10);
    check_nothing_replaced(&monitor.daemon);
    assert_eq!(cluster.keys(), 300);
}

#[test]
fn an_atomic_slot_migration_is_silent() {
    let version = "valkey-9.1.2";
    let mut cluster = Cluster::start(&ClusterSetup { version, ..setup() });
    cluster.write("key", 300);
    let monitor = monitored(&cluster);
    let new = cluster.add_master();
    let target = cluster.id(new).to_owned();
    let migrate = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "0", "5460", "NODE", &target];
    assert_eq!(cluster.nodes[0].execute(&migrate), ["OK"]);
    eventually(LIMIT, "the empty master is a replica", || {
        (cluster.nodes[0].role()? == "slave").then_some(())
    });
    cluster.nodes[0].until_synchronised();
    monitor.daemon.until_rounds(10);
    check_nothing_replaced(&monitor.daemon);
    assert_eq!(cluster.keys(), 300);
}

#[test]
fn an_atomic_migration_to_another_shard_is_silent() {
    let version = "valkey-9.1.2";
    let cluster = Cluster::start(&ClusterSetup { version, ..setup() });
    cluster.write("key", 300);
    let monitor = monitored(&cluster);
    let target = cluster.id(1).to_owned();
    let migrate = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "0", "5460", "NODE", &target];
    assert_eq!(cluster.nodes[0].execute(&migrate), ["OK"]);
    eventually(LIMIT, "the empty master is a replica", || {
        (cluster.nodes[0].role()? == "slave").then_some(())
    });
    cluster.nodes[0].until_synchronised();
    monitor.daemon.until_rounds(10);
    check_nothing_replaced(&monitor.daemon);
}

#[test]
fn a_replica_that_moves_to_another_shard_is_silent() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let monitor = monitored(&cluster);
    let spare = cluster.add_replica(0);
    monitor.daemon.until(LIMIT, "redis_up", &[("node", &cluster.nodes[spare].address())], 1.0);
    cluster.replicate(spare, 1);
    cluster.until_healthy();
    // The old master of the shard moves after a failover.
    let replica = cluster.replicas_of(2)[0];
    cluster.failover(replica);
    cluster.until_failed_over(LIMIT, 2, 10_923);
    cluster.replicate(2, 1);
    cluster.until_healthy();
    monitor.daemon.until_rounds(5);
    check_nothing_replaced(&monitor.daemon);
}

#[test]
fn a_cluster_of_empty_masters_that_meet_is_silent() {
    let (own, other) = (Cluster::start(&setup()), Cluster::start(&setup()));
    let monitor = monitored(&own);
    let (host, port) = (&other.nodes[0].host, other.nodes[0].port.to_string());
    assert_eq!(own.nodes[0].execute(&["CLUSTER", "MEET", host, &port]), ["OK"]);
    eventually(LIMIT, "the clusters met", || (own.nodes_seen_by(0).len() == 6).then_some(()));
    monitor.daemon.until_rounds(10);
    check_nothing_replaced(&monitor.daemon);
}
