//! A network that is cut.

use tests::{Cluster, ClusterSetup, Side, Sides, eventually};

use super::{
    CONFLICTING, DOUBTFUL, OK, UNCOVERED, check_changed, check_only_shard, check_shards, findings,
    of_shard, role_changed, roles_changed, settled, until_known, until_primary,
};
use crate::monitor::{
    FindingRecorder, LIMIT, PRIMARY_INFO, SOON, UNREPLICATED_WRITES, check_names,
};

#[test]
fn partitioned_cluster_master_is_replaced() {
    let mut sides = Sides::new();
    let alone = sides.place(Side::Left);
    let mut places = vec![alone];
    places.extend((0..5).map(|_| sides.place(Side::Right)));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let monitor = settled(&cluster, &[1], "");
    let recorder = FindingRecorder::start(&monitor.daemon);
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[3]);

    sides.cut();
    eventually(LIMIT, "it holds the cluster not to work", || {
        (cluster.info(0).get("cluster_state")? == "fail").then_some(())
    });
    eventually(LIMIT, "the others have a master instead", || {
        (cluster.owner_by(1, 0)? == 3).then_some(())
    });
    until_primary(&monitor, "cache", "0", new);
    let found = monitor.until_finding(SOON, "RedisClusterDown", "warning");
    assert_eq!(found["evidence"]["why"], "minority", "{found}");
    check_names(&found["evidence"]["nodes"], &[old.address()]);
    monitor.daemon.until(SOON, OK, &[], 1.0);
    monitor.daemon.until(SOON, DOUBTFUL, &[], 1.0);
    monitor.daemon.until(SOON, UNCOVERED, &[], 0.0);
    monitor.daemon.let_pass(10);
    assert_eq!(
        (monitor.daemon.value(OK), monitor.daemon.value(DOUBTFUL), monitor.daemon.value(UNCOVERED)),
        (Some(1.0), Some(1.0), Some(0.0))
    );
    assert_eq!(
        monitor.daemon.value(CONFLICTING),
        Some(0.0),
        "what it claims still is served by its successor"
    );
    // It refuses all writes, so that nothing is lost.
    assert_eq!(old.ask(&["SET", "key", "1"])[0].split(' ').next(), Some("-CLUSTERDOWN"));
    monitor.daemon.let_pass(2);
    assert_eq!(
        (
            of_shard(&monitor, UNREPLICATED_WRITES, "0"),
            of_shard(&monitor, "redis_deployment_writable", "0")
        ),
        (Some(0.0), Some(1.0))
    );
    check_shards(&monitor.daemon.samples(), "cache");
    assert!(
        findings(&monitor, "RedisClusterDown").len() == 1
            && monitor.daemon.finding("RedisWritesLost").is_none()
    );
    assert_eq!(of_shard(&monitor, PRIMARY_INFO, "0"), Some(1.0), "one is known");

    sides.heal();
    cluster.until_works();
    monitor.daemon.until(SOON, "redis_role", &[("node", &old.address()), ("role", "replica")], 1.0);
    monitor.until_quiet();
    monitor.daemon.let_pass(3);
    until_known(&monitor, &cluster, "cache");
    let events = monitor.daemon.events();
    let kinds: Vec<_> = events
        .iter()
        .filter(|event| event["shard"] == "0")
        .map(|event| event["kind"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds, ["primary_changed", "split_brain_began", "split_brain_ended"], "{events:?}");
    assert_eq!(monitor.events("split_brain_ended")[0]["unreplicated_writes"], 0);
    check_only_shard(&monitor, "0");
    check_changed(&monitor, "0", old, new);
    assert_eq!(
        roles_changed(&monitor),
        [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]
    );
    assert!(monitor.events("node_unreachable").is_empty(), "all were always in reach");
    for ((severity, kind, node), lasted) in recorder.above_info() {
        assert_ne!(
            (severity.as_str(), kind.as_str()),
            ("critical", "RedisSplitBrain"),
            "{lasted:?}"
        );
        assert_ne!(kind, "RedisWritesLost", "{node}");
    }
}
