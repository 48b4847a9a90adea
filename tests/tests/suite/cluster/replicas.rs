//! Shards with too few replicas, and with none ever.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::{Cluster, ClusterSetup};

use super::{
    DOUBTFUL, OK, SHARDS, UNCOVERED, WITHOUT_REPLICA, check_only_shard, findings, of_shard, settled,
};
use crate::monitor::{FindingRecorder, LIMIT, SOON};

#[test]
fn only_the_shard_that_lost_its_replica_has_a_finding() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let monitor = settled(&cluster, &[0], "");
    cluster.nodes[4].kill();
    let found = monitor.until_finding(SOON, WITHOUT_REPLICA, "warning");
    assert_eq!((&found["shard"], found["node"].is_null()), (&json!("5461"), true), "{found}");
    assert_eq!(
        (found["evidence"]["replicas"].as_f64(), found["evidence"]["expected"].as_f64()),
        (Some(0.0), Some(1.0)),
        "{found}"
    );
    monitor.daemon.let_pass(5);
    assert_eq!(findings(&monitor, WITHOUT_REPLICA).len(), 1, "that of one shard only");
    monitor.daemon.until_only(LIMIT, &["RedisDown", WITHOUT_REPLICA]);
    let down = monitor.until_finding(SOON, "RedisDown", "warning");
    assert_eq!(down["node"], cluster.nodes[4].address(), "{down}");
    assert_eq!(
        (
            of_shard(&monitor, "redis_deployment_replicas", "5461"),
            of_shard(&monitor, "redis_deployment_replicas", "0")
        ),
        (Some(0.0), Some(1.0))
    );
    assert_eq!(
        (monitor.daemon.value(OK), monitor.daemon.value(UNCOVERED), monitor.daemon.value(DOUBTFUL)),
        (Some(1.0), Some(0.0), Some(0.0))
    );

    cluster.nodes[4].restart();
    cluster.until_works();
    monitor.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "5461")], 1.0);
    monitor.until_quiet();
    monitor.daemon.let_pass(3);
    check_only_shard(&monitor, "none");
    assert_eq!(
        monitor.node_events_without_moves(&cluster.nodes[4]),
        ["node_unreachable", "node_back", "restarted"]
    );
}

#[test]
fn cluster_without_replicas_has_no_findings() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let monitor = settled(&cluster, &[0], "");
    let recorder = FindingRecorder::start(&monitor.daemon);
    monitor.daemon.let_pass(20);
    assert_eq!(recorder.durations(), BTreeMap::new());
    for (shard, ..) in SHARDS {
        assert_eq!(
            (
                of_shard(&monitor, "redis_deployment_replicas", shard),
                of_shard(&monitor, "redis_deployment_writable", shard)
            ),
            (Some(0.0), Some(1.0))
        );
    }
    assert_eq!(monitor.daemon.events(), Vec::<Value>::new());
}
