//! A lost rack: two of three nodes in each of three deployments are gone at the same time. The
//! exporter is not cut off: the remaining nodes contradict.

use tests::{
    Cluster, ClusterSetup, Daemon, SECOND, SentinelDeployment, SentinelSetup, Server, Signal,
    eventually, pause,
};

use crate::monitor::{LIMIT, SOON};

/// Loss of the nodes of a rack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Killed,
    Frozen,
}

/// Checks that the lost nodes are reported as down soon, and that the exporter is not blind then.
#[track_caller]
fn check_lost(daemon: &Daemon, lost: &[String]) {
    let ((), took) = eventually(SECOND * 25, "all lost nodes are down", || {
        let found = daemon.findings();
        lost.iter()
            .all(|node| found.contains(&("RedisDown".to_owned(), Some(node.clone()))))
            .then_some(())
    });
    println!("down after {took:?}");
    for _ in 0..5 {
        pause(SECOND);
        assert_eq!(daemon.value("rolecall_blind"), Some(0.0));
    }
    assert!(!daemon.get("/", "").text.contains("verdict good"));
}

/// Kills or freezes these servers.
fn lose<'a>(servers: impl Iterator<Item = &'a Server>, loss: Loss) {
    let signal = if loss == Loss::Killed { Signal::Kill } else { Signal::Stop };
    servers.for_each(|server| server.signal(signal));
}

fn check_sentinel_rack(loss: Loss) {
    let setup = SentinelSetup { sentinels: 3, ..SentinelSetup::default() };
    let groups = [(); 3].map(|()| SentinelDeployment::start(&setup));
    let text: String = groups
        .iter()
        .zip(["a", "b", "c"])
        .map(|(group, name)| group.deployment(name, ""))
        .collect();
    let daemon = Daemon::configured(&text);
    for node in groups.iter().flat_map(|group| group.nodes.iter().chain(&group.sentinels)) {
        daemon.until(LIMIT, "redis_up", &[("node", &node.address())], 1.0);
    }
    pause(SECOND * 2);
    // The primary and one replica of each deployment are in the rack.
    let rack = || groups.iter().flat_map(|group| &group.nodes[..2]);
    lose(rack(), loss);
    let addresses: Vec<_> = rack().map(Server::address).collect();
    check_lost(&daemon, &addresses);
    for (group, name) in groups.iter().zip(["a", "b", "c"]) {
        let survivor = group.nodes[2].address();
        let labels = [("deployment", name), ("node", survivor.as_str())];
        daemon.until(LIMIT, "redis_deployment_primary_info", &labels, 1.0);
        let deployment = [("deployment", name)];
        daemon.until(SOON, "redis_deployment_no_primary", &deployment, 0.0);
    }
}

#[test]
fn killed_rack_of_sentinel_deployments_is_not_blindness() {
    check_sentinel_rack(Loss::Killed);
}

#[test]
fn frozen_rack_of_sentinel_deployments_is_not_blindness() {
    check_sentinel_rack(Loss::Frozen);
}

/// The rack holds one master and its replica, and one node of another shard, twice: the cluster
/// keeps a majority of its masters.
fn check_cluster_rack(loss: Loss) {
    let setup = ClusterSetup { replicas: 2, ..ClusterSetup::default() };
    let cluster = Cluster::start(&setup);
    let daemon = Daemon::configured(&cluster.deployment("cache", &[0, 1, 2], ""));
    for node in &cluster.nodes {
        daemon.until(LIMIT, "redis_up", &[("node", &node.address())], 1.0);
    }
    pause(SECOND * 2);
    // One master with one of its replicas, and both replicas of each other shard.
    let rack = || [0, 3, 5, 6, 7, 8].into_iter().map(|node| &cluster.nodes[node]);
    lose(rack(), loss);
    let addresses: Vec<_> = rack().map(Server::address).collect();
    check_lost(&daemon, &addresses);
    let survivor = cluster.nodes[4].address();
    let labels = [("shard", "0"), ("node", survivor.as_str())];
    daemon.until(LIMIT, "redis_deployment_primary_info", &labels, 1.0);
    assert_eq!(daemon.samples().sum("redis_deployment_no_primary", &[]).to_string(), "0");
}

#[test]
fn killed_rack_of_a_cluster_is_not_blindness() {
    check_cluster_rack(Loss::Killed);
}

#[test]
fn frozen_rack_of_a_cluster_is_not_blindness() {
    check_cluster_rack(Loss::Frozen);
}
