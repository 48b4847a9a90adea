//! Network partition of a cluster. This test needs root.

use tests::{Cluster, ClusterSetup, Side, SplitNetwork, eventually};

use super::{
    CLUSTER_OK, CONFLICTING_SLOTS, DOUBTFUL_NODES, UNCOVERED_SLOTS, check_only_shard,
    check_primary_change, check_shards, findings, role_change, role_changes, shard_value,
    start_settled, until_discovered, until_primary,
};
use crate::monitor::{
    FindingRecorder, LIMIT, PRIMARY_INFO, SOON, UNREPLICATED_WRITES, check_names,
};

#[test]
fn partitioned_cluster_master_is_replaced() {
    let mut sides = SplitNetwork::new();
    let isolated = sides.add_host(Side::Left);
    let mut places = vec![isolated];
    places.extend((0..5).map(|_| sides.add_host(Side::Right)));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let monitor = start_settled(&cluster, &[1], "");
    let recorder = FindingRecorder::start(&monitor.daemon);
    let (old_master, new_master) = (&cluster.nodes[0], &cluster.nodes[3]);

    sides.partition();
    eventually(LIMIT, "the isolated master reports cluster_state:fail", || {
        (cluster.info(0).get("cluster_state")? == "fail").then_some(())
    });
    eventually(LIMIT, "the majority has a new master", || {
        (cluster.owner_according_to(1, 0)? == 3).then_some(())
    });
    until_primary(&monitor, "cache", "0", new_master);
    let finding = monitor.until_finding(SOON, "RedisClusterDown", "warning");
    assert_eq!(finding["evidence"]["why"], "minority", "{finding}");
    check_names(&finding["evidence"]["nodes"], &[old_master.address()]);
    monitor.daemon.until(SOON, CLUSTER_OK, &[], 1.0);
    monitor.daemon.until(SOON, DOUBTFUL_NODES, &[], 1.0);
    monitor.daemon.until(SOON, UNCOVERED_SLOTS, &[], 0.0);
    monitor.daemon.until_rounds(10);
    assert_eq!(
        (
            monitor.daemon.value(CLUSTER_OK),
            monitor.daemon.value(DOUBTFUL_NODES),
            monitor.daemon.value(UNCOVERED_SLOTS)
        ),
        (Some(1.0), Some(1.0), Some(0.0))
    );
    assert_eq!(
        monitor.daemon.value(CONFLICTING_SLOTS),
        Some(0.0),
        "the slots that the isolated master claims are served by the new master"
    );
    // The isolated master refuses all writes, so none are lost.
    assert_eq!(old_master.execute(&["SET", "key", "1"])[0].split(' ').next(), Some("-CLUSTERDOWN"));
    monitor.daemon.until_rounds(2);
    assert_eq!(
        (
            shard_value(&monitor, UNREPLICATED_WRITES, "0"),
            shard_value(&monitor, "redis_deployment_writable", "0")
        ),
        (Some(0.0), Some(1.0))
    );
    check_shards(&monitor.daemon.samples(), "cache");
    assert!(
        findings(&monitor, "RedisClusterDown").len() == 1
            && monitor.daemon.finding("RedisWritesLost").is_none()
    );
    assert_eq!(shard_value(&monitor, PRIMARY_INFO, "0"), Some(1.0), "the primary is known");

    sides.heal();
    cluster.until_healthy();
    monitor.daemon.until(
        SOON,
        "redis_role",
        &[("node", &old_master.address()), ("role", "replica")],
        1.0,
    );
    monitor.until_no_findings();
    monitor.daemon.until_rounds(3);
    until_discovered(&monitor, &cluster, "cache");
    let events = monitor.daemon.events();
    let mut kinds: Vec<_> = events
        .iter()
        .filter(|event| event["shard"] == "0")
        .map(|event| event["kind"].as_str().expect("a kind"))
        .filter(|kind| !kind.ends_with("disputed"))
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["primary_changed", "split_brain_began", "split_brain_ended"], "{events:?}");
    assert_eq!(monitor.events("split_brain_ended")[0]["unreplicated_writes"], 0);
    check_only_shard(&monitor, "0");
    check_primary_change(&monitor, "0", old_master, new_master);
    assert_eq!(
        role_changes(&monitor),
        [
            role_change(new_master, "replica", "master"),
            role_change(old_master, "master", "replica")
        ]
    );
    assert!(monitor.events("node_unreachable").is_empty(), "all nodes were always reachable");
    for ((severity, kind, node), lasted) in recorder.above_info() {
        assert_ne!(
            (severity.as_str(), kind.as_str()),
            ("critical", "RedisSplitBrain"),
            "{lasted:?}"
        );
        assert_ne!(kind, "RedisWritesLost", "{node}");
    }
}
