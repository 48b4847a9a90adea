//! Shards that lost their replicas, and shards that never had any.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::{Cluster, ClusterSetup};

use super::{
    CLUSTER_OK, DOUBTFUL_NODES, SHARDS, UNCOVERED_SLOTS, WITHOUT_REPLICA, check_only_shard,
    findings, shard_value, start_settled,
};
use crate::monitor::{FindingRecorder, LIMIT, SOON};

#[test]
fn only_the_shard_that_lost_its_replica_has_a_finding() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let monitor = start_settled(&cluster, &[0], "");
    cluster.nodes[4].kill();
    let finding = monitor.until_finding(SOON, WITHOUT_REPLICA, "warning");
    assert_eq!((&finding["shard"], finding["node"].is_null()), (&json!("5461"), true), "{finding}");
    assert_eq!(
        (finding["evidence"]["replicas"].as_f64(), finding["evidence"]["expected"].as_f64()),
        (Some(0.0), Some(1.0)),
        "{finding}"
    );
    monitor.daemon.until_rounds(5);
    assert_eq!(findings(&monitor, WITHOUT_REPLICA).len(), 1, "a finding about one shard only");
    monitor.daemon.until_exact_findings(LIMIT, &["RedisDown", WITHOUT_REPLICA]);
    let down = monitor.until_finding(SOON, "RedisDown", "warning");
    assert_eq!(down["node"], cluster.nodes[4].address(), "{down}");
    assert_eq!(
        (
            shard_value(&monitor, "redis_deployment_replicas", "5461"),
            shard_value(&monitor, "redis_deployment_replicas", "0")
        ),
        (Some(0.0), Some(1.0))
    );
    assert_eq!(
        (
            monitor.daemon.value(CLUSTER_OK),
            monitor.daemon.value(UNCOVERED_SLOTS),
            monitor.daemon.value(DOUBTFUL_NODES)
        ),
        (Some(1.0), Some(0.0), Some(0.0))
    );

    cluster.nodes[4].restart();
    cluster.until_healthy();
    monitor.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "5461")], 1.0);
    monitor.until_no_findings();
    monitor.daemon.until_rounds(3);
    check_only_shard(&monitor, "none");
    assert_eq!(
        monitor.node_events_without_moves(&cluster.nodes[4]),
        ["node_unreachable", "node_back", "restarted"]
    );
}

#[test]
fn cluster_without_replicas_has_no_findings() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let monitor = start_settled(&cluster, &[0], "");
    let recorder = FindingRecorder::start(&monitor.daemon);
    monitor.daemon.until_rounds(20);
    assert_eq!(recorder.durations(), BTreeMap::new());
    for (shard, ..) in SHARDS {
        assert_eq!(
            (
                shard_value(&monitor, "redis_deployment_replicas", shard),
                shard_value(&monitor, "redis_deployment_writable", shard)
            ),
            (Some(0.0), Some(1.0))
        );
    }
    assert_eq!(monitor.daemon.events(), Vec::<Value>::new());
}
