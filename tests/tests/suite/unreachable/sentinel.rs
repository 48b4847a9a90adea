//! Sentinel deployments: Sentinels are witnesses too.

use tests::{
    Daemon, Host, PathFault, SentinelDeployment, SentinelSetup, Side, Signal, SplitNetwork,
};

use super::{Cut, LIMIT, SECOND, until_calm};

/// Starts a primary, two replicas and three Sentinels, each on its own host, and the daemon on
/// another one.
fn start(network: &mut SplitNetwork) -> (SentinelDeployment, Host, Daemon) {
    let hosts = [(); 6].map(|()| network.add_host(Side::Left));
    let group = SentinelDeployment::start_at(&SentinelSetup::default(), &hosts[..3], &hosts[3..]);
    let exporter = network.add_host(Side::Left);
    let daemon = Daemon::on_host(&exporter, &group.deployment("orders", ""));
    until_calm(&daemon, 6);
    (group, exporter, daemon)
}

#[test]
fn primary_that_sentinels_vouch_for_is_unreachable() {
    let mut network = SplitNetwork::new();
    let (mut group, exporter, daemon) = start(&mut network);
    let cut = Cut {
        daemon: &daemon,
        exporter: &exporter,
        node: &group.nodes[0],
        fault: PathFault::NoRoute,
        primary: &group.nodes[0],
        keys: Some("kept"),
        witnesses: group.sentinels.iter().map(tests::Server::address).collect(),
        known: &[],
    };
    let path = cut.begin();
    let before = group.nodes[0].address();
    let after = cut.dies(|| group.nodes[0].signal(Signal::Kill));
    assert!(after < SECOND * 5, "down after {after:?}");
    let promoted = group.until_failed_over(LIMIT, &before);
    daemon.until(LIMIT, "redis_deployment_primary_info", &[("node", &promoted)], 1.0);
    drop(path);
    group.nodes[0].kill();
    group.nodes[0].restart();
    group.until_replicating(LIMIT);
    until_calm(&daemon, 6);
}

/// A Sentinel is a node too, and the other Sentinels observe it.
#[test]
fn sentinel_that_others_vouch_for_is_unreachable() {
    let mut network = SplitNetwork::new();
    let (group, exporter, daemon) = start(&mut network);
    let cut = Cut {
        daemon: &daemon,
        exporter: &exporter,
        node: &group.sentinels[0],
        fault: PathFault::Loss,
        primary: &group.nodes[0],
        keys: Some("kept"),
        witnesses: vec![group.sentinels[1].address()],
        known: &[],
    };
    let path = cut.begin();
    assert_eq!(daemon.value("redis_deployment_primary_disputed"), Some(0.0));
    drop(path);
    until_calm(&daemon, 6);
}
