//! A cluster whose map contradicts a node. The first test needs root.

use tests::{Cluster, ClusterSetup, SECOND, Side, SplitNetwork, eventually};

use super::advice::check_not_demoted;
use super::{DISPUTED, EVIDENCE};
use crate::monitor::{LIMIT, Monitor, PRIMARY_INFO, SOON, UNREPLICATED_WRITES};

/// The shard of the first master.
const SHARD: (&str, &str) = ("shard", "0");

/// Starts a daemon on a cluster, and waits until the primary of the first shard is known.
fn start(cluster: &Cluster, seeds: &[usize]) -> Monitor {
    let monitor = Monitor::start(&cluster.deployment("cache", seeds, ""));
    let node = cluster.nodes[0].address();
    monitor.daemon.until(LIMIT, PRIMARY_INFO, &[SHARD, ("node", &node)], 1.0);
    let replica = cluster.nodes[3].address();
    monitor.daemon.until(LIMIT, "redis_link_state", &[("node", &replica), ("state", "up")], 1.0);
    monitor
}

/// The old master is cut off and still claims its slots. Rolecall reaches it.
#[test]
fn the_slot_owner_outweighs_a_master_that_was_cut_off() {
    let mut sides = SplitNetwork::new();
    let isolated = sides.add_host(Side::Left);
    let mut places = vec![isolated];
    places.extend((0..5).map(|_| sides.add_host(Side::Right)));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let monitor = start(&cluster, &[1]);
    let daemon = &monitor.daemon;
    let [old, new] = [0, 3].map(|node| cluster.nodes[node].address());

    sides.partition();
    eventually(LIMIT, "the majority has a new master", || {
        (cluster.owner_according_to(1, 0)? == 3).then_some(())
    });
    daemon.until(SOON, PRIMARY_INFO, &[SHARD, ("node", &new), ("evidence", "cluster")], 1.0);
    for _ in 0..4 {
        daemon.until_rounds(1);
        let samples = daemon.samples();
        assert_eq!(
            samples.get(PRIMARY_INFO, &[SHARD, ("node", &new), ("evidence", "cluster")]),
            Some(1.0)
        );
        assert_eq!(samples.get(DISPUTED, &[SHARD]), Some(1.0), "the old master is up");
        for (node, evidence) in [(&new, "cluster"), (&old, "previous")] {
            let labels = [SHARD, ("node", node), ("evidence", evidence)];
            assert_eq!(samples.get(EVIDENCE, &labels), Some(1.0), "{node} {evidence}");
        }
        assert_eq!(samples.get(UNREPLICATED_WRITES, &[SHARD]), Some(0.0));
    }
    for alert in ["RedisSplitBrain", "RedisWritesLost", "RedisDown", "RedisReplicaLinkDown"] {
        for node in [&old, &new] {
            let path = format!("/runbooks/{alert}?deployment=cache&node={node}");
            check_not_demoted(&daemon.get(&path, "").text, &new);
        }
    }
    sides.heal();
    cluster.until_healthy();
    daemon.until(SOON, DISPUTED, &[SHARD], 0.0);
    let node = [SHARD, ("node", &*new)];
    assert_eq!(daemon.samples().get(PRIMARY_INFO, &node), Some(1.0));
    assert_eq!(daemon.samples().get(UNREPLICATED_WRITES, &[SHARD]), Some(0.0));
}

/// A replica takes the slots over without the agreement of the cluster. The old master learns it
/// from the others.
#[test]
fn a_takeover_ends_on_the_node_with_the_higher_epoch() {
    for version in tests::VERSIONS {
        let cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
        let monitor = start(&cluster, &[0, 1, 2]);
        let daemon = &monitor.daemon;
        let new = cluster.nodes[3].address();
        assert_eq!(cluster.nodes[3].execute(&["CLUSTER", "FAILOVER", "TAKEOVER"]), ["OK"]);
        daemon.until(SOON, PRIMARY_INFO, &[SHARD, ("node", &new)], 1.0);
        cluster.until_failed_over(LIMIT, 0, 0);
        cluster.until_healthy();
        daemon.until(SOON, DISPUTED, &[SHARD], 0.0);
        daemon.until_rounds(3);
        let samples = daemon.samples();
        assert_eq!(samples.get(PRIMARY_INFO, &[SHARD, ("node", &new)]), Some(1.0), "{version}");
        assert_eq!(daemon.count("primary_changed"), 1, "{version}: {:?}", daemon.events());
    }
}

/// A killed master that was replaced returns as a replica. The maps of the other nodes show it
/// again before the next regular connection attempt.
#[test]
fn return_of_a_replaced_master_is_reported_within_two_seconds() {
    for version in ["redis-7.0.15", "valkey-9.1.2"] {
        let mut cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
        let monitor = start(&cluster, &[0, 1, 2]);
        let daemon = &monitor.daemon;
        let node = cluster.nodes[0].address();
        cluster.nodes[0].kill();
        cluster.until_failed_over(LIMIT, 0, 0);
        daemon.until(SOON, "redis_up", &[("node", &node)], 0.0);
        // The delays between the connection attempts have grown to 10 s.
        tests::pause(SECOND * 30);
        cluster.nodes[0].restart();
        let took = daemon.until(LIMIT, "redis_up", &[("node", &node)], 1.0);
        println!("{version}: {took:?} after the node replied");
        assert!(took <= SECOND * 2, "{version}: {took:?}");
        cluster.until_healthy();
    }
}
