//! Clusters: the other cluster nodes are witnesses.

use tests::{Cluster, ClusterSetup, Daemon, PathFault, Side, Signal, SplitNetwork};

use super::{Cut, LIMIT, SECOND, until_calm};

/// Slot of the keys that a client writes during the fault.
const SLOT: u16 = 12_182;

#[test]
fn cluster_master_that_others_vouch_for_is_unreachable() {
    let mut network = SplitNetwork::new();
    let hosts = [(); 6].map(|()| network.add_host(Side::Left));
    let mut cluster = Cluster::start_at(&ClusterSetup::default(), &hosts);
    let exporter = network.add_host(Side::Left);
    let daemon = Daemon::on_host(&exporter, &cluster.deployment("orders", &[0, 1], ""));
    until_calm(&daemon, 6);

    let master = cluster.owner(SLOT);
    let cut = Cut {
        daemon: &daemon,
        exporter: &exporter,
        node: &cluster.nodes[master],
        fault: PathFault::Refusal,
        primary: &cluster.nodes[master],
        keys: Some("{foo}"),
        witnesses: vec![cluster.nodes[0].address(), cluster.nodes[1].address()],
        known: &[],
    };
    let path = cut.begin();
    assert_eq!(daemon.value("redis_cluster_slots_uncovered"), Some(0.0));
    let after = cut.dies(|| cluster.nodes[master].signal(Signal::Kill));
    assert!(after < SECOND * 5, "down after {after:?}");
    let promoted = cluster.until_failed_over(LIMIT, master, SLOT);
    let address = cluster.nodes[promoted].address();
    daemon.until(LIMIT, "redis_deployment_primary_info", &[("node", &address)], 1.0);
    drop(path);
    cluster.nodes[master].kill();
    cluster.nodes[master].restart();
    cluster.until_healthy();
    until_calm(&daemon, 6);
}
