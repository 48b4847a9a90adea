//! Shards with too few replicas, and with none ever.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::{Cluster, ClusterSetup};

use super::{
    DOUBTFUL, OK, SHARDS, UNCOVERED, WITHOUT_REPLICA, check_only_shard, findings, of_shard, settled,
};
use crate::watch::{LIMIT, Observer, SOON};

#[test]
fn a_shard_that_lost_its_only_replica_is_found_and_no_other() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let watch = settled(&cluster, &[0], "");
    cluster.nodes[4].kill();
    let found = watch.until_finding(SOON, WITHOUT_REPLICA, "warning");
    assert_eq!((&found["shard"], found["node"].is_null()), (&json!("5461"), true), "{found}");
    assert_eq!(
        (found["evidence"]["replicas"].as_f64(), found["evidence"]["expected"].as_f64()),
        (Some(0.0), Some(1.0)),
        "{found}"
    );
    watch.daemon.let_pass(5);
    assert_eq!(findings(&watch, WITHOUT_REPLICA).len(), 1, "that of one shard only");
    watch.daemon.until_only(LIMIT, &["RedisDown", WITHOUT_REPLICA]);
    let down = watch.until_finding(SOON, "RedisDown", "warning");
    assert_eq!(down["node"], cluster.nodes[4].address(), "{down}");
    assert_eq!(
        (
            of_shard(&watch, "redis_deployment_replicas", "5461"),
            of_shard(&watch, "redis_deployment_replicas", "0")
        ),
        (Some(0.0), Some(1.0))
    );
    assert_eq!(
        (watch.daemon.value(OK), watch.daemon.value(UNCOVERED), watch.daemon.value(DOUBTFUL)),
        (Some(1.0), Some(0.0), Some(0.0))
    );

    cluster.nodes[4].restart();
    cluster.until_works();
    watch.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "5461")], 1.0);
    watch.until_quiet();
    watch.daemon.let_pass(3);
    check_only_shard(&watch, "none");
    assert_eq!(
        watch.plain_events_of(&cluster.nodes[4]),
        ["node_unreachable", "node_back", "restarted"]
    );
}

#[test]
fn a_cluster_that_never_had_replicas_is_silent() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let watch = settled(&cluster, &[0], "");
    let observer = Observer::start(&watch.daemon);
    watch.daemon.let_pass(20);
    assert_eq!(observer.seen(), BTreeMap::new());
    for (shard, ..) in SHARDS {
        assert_eq!(
            (
                of_shard(&watch, "redis_deployment_replicas", shard),
                of_shard(&watch, "redis_deployment_writable", shard)
            ),
            (Some(0.0), Some(1.0))
        );
    }
    assert_eq!(watch.daemon.events(), Vec::<Value>::new());
}
