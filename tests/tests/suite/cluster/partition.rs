//! A network that is cut.

use tests::{Cluster, ClusterSetup, Side, Sides, eventually};

use super::{
    CONFLICTING, DOUBTFUL, OK, UNCOVERED, check_changed, check_only_shard, check_shards, findings,
    of_shard, role_changed, roles_changed, settled, until_known, until_primary,
};
use crate::watch::{LIMIT, LOST, Observer, PRIMARY, SOON, check_names};

#[test]
fn a_master_that_is_cut_off_says_so_alone_and_is_replaced() {
    let mut sides = Sides::new();
    let alone = sides.place(Side::Left);
    let mut places = vec![alone];
    places.extend((0..5).map(|_| sides.place(Side::Right)));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let watch = settled(&cluster, &[1], "");
    let observer = Observer::start(&watch.daemon);
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[3]);

    sides.cut();
    eventually(LIMIT, "it holds the cluster not to work", || {
        (cluster.info(0).get("cluster_state")? == "fail").then_some(())
    });
    eventually(LIMIT, "the others have a master instead", || {
        (cluster.owner_by(1, 0)? == 3).then_some(())
    });
    until_primary(&watch, "cache", "0", new);
    let found = watch.until_finding(SOON, "RedisClusterDown", "warning");
    assert_eq!(found["evidence"]["why"], "minority", "{found}");
    check_names(&found["evidence"]["nodes"], &[old.address()]);
    watch.daemon.until(SOON, OK, &[], 1.0);
    watch.daemon.until(SOON, DOUBTFUL, &[], 1.0);
    watch.daemon.until(SOON, UNCOVERED, &[], 0.0);
    watch.daemon.let_pass(10);
    assert_eq!(
        (watch.daemon.value(OK), watch.daemon.value(DOUBTFUL), watch.daemon.value(UNCOVERED)),
        (Some(1.0), Some(1.0), Some(0.0))
    );
    assert_eq!(
        watch.daemon.value(CONFLICTING),
        Some(0.0),
        "what it claims still is served by its successor"
    );
    // It refuses all writes, so that nothing is lost.
    assert_eq!(old.ask(&["SET", "key", "1"])[0].split(' ').next(), Some("-CLUSTERDOWN"));
    watch.daemon.let_pass(2);
    assert_eq!(
        (of_shard(&watch, LOST, "0"), of_shard(&watch, "redis_deployment_writable", "0")),
        (Some(0.0), Some(1.0))
    );
    check_shards(&watch.daemon.samples(), "cache");
    assert!(
        findings(&watch, "RedisClusterDown").len() == 1
            && watch.daemon.finding("RedisWritesLost").is_none()
    );
    assert_eq!(of_shard(&watch, PRIMARY, "0"), Some(1.0), "one is known");

    sides.heal();
    cluster.until_works();
    watch.daemon.until(SOON, "redis_role", &[("node", &old.address()), ("role", "replica")], 1.0);
    watch.until_quiet();
    watch.daemon.let_pass(3);
    until_known(&watch, &cluster, "cache");
    let events = watch.daemon.events();
    let kinds: Vec<_> = events
        .iter()
        .filter(|event| event["shard"] == "0")
        .map(|event| event["kind"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds, ["primary_changed", "split_brain_began", "split_brain_ended"], "{events:?}");
    assert_eq!(watch.events("split_brain_ended")[0]["unreplicated_writes"], 0);
    check_only_shard(&watch, "0");
    check_changed(&watch, "0", old, new);
    assert_eq!(
        roles_changed(&watch),
        [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]
    );
    assert!(watch.events("node_unreachable").is_empty(), "all were always in reach");
    for ((severity, kind, node), lasted) in observer.above_info() {
        assert_ne!(
            (severity.as_str(), kind.as_str()),
            ("critical", "RedisSplitBrain"),
            "{lasted:?}"
        );
        assert_ne!(kind, "RedisWritesLost", "{node}");
    }
}
