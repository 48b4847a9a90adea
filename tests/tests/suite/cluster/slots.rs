//! Slots that move, that two claim, and that nobody serves.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::{Cluster, ClusterSetup, Server, eventually};

use super::{
    CONFLICTING, DOUBTFUL, MIGRATING, OK, SHARDS, UNCOVERED, check_shards, events_of_shard,
    of_shard, settled, until_known,
};
use crate::monitor::{FindingRecorder, LIMIT, PRIMARY_INFO, SOON, check_names};

#[test]
fn partial_coverage_cluster_works_without_one_shard() {
    let mut cluster = Cluster::start(&ClusterSetup {
        replicas: 0,
        options: "cluster-require-full-coverage no\n".into(),
        ..ClusterSetup::default()
    });
    let monitor = settled(&cluster, &[0], "");
    cluster.nodes[2].kill();
    monitor.daemon.until(SOON, UNCOVERED, &[], SHARDS[2].2);
    let found = monitor.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    assert_eq!(found["evidence"]["slots"].as_f64(), Some(SHARDS[2].2), "{found}");
    assert_eq!(monitor.until_finding(SOON, "RedisNoPrimary", "critical")["shard"], "10923");
    monitor.daemon.let_pass(3);
    assert_eq!((monitor.daemon.value(OK), monitor.daemon.value(DOUBTFUL)), (Some(1.0), Some(0.0)));
    assert!(monitor.daemon.finding("RedisClusterDown").is_none(), "the others say that they work");
    for shard in ["0", "5461"] {
        assert_eq!(of_shard(&monitor, "redis_deployment_writable", shard), Some(1.0), "{shard}");
    }
    cluster.nodes[2].restart();
    cluster.until_works();
    until_known(&monitor, &cluster, "cache");
    monitor.until_quiet();
    assert_eq!(events_of_shard(&monitor, "10923"), ["primary_lost", "primary_regained"]);
}

#[test]
fn slot_migration_raises_no_findings() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 3000);
    let monitor = settled(&cluster, &[0], "");
    let recorder = FindingRecorder::start(&monitor.daemon);
    let (of_first, second) =
        (cluster.keys(), cluster.nodes[1].ask(&["DBSIZE"])[0].parse::<u64>().expect("a number"));
    // The lowest slots of a shard: its label is what it was.
    cluster.move_slots(0..=199, 0, 1);
    assert!(
        cluster.nodes[1].ask(&["DBSIZE"])[0].parse::<u64>().expect("a number") > second,
        "keys were moved"
    );
    assert_eq!((cluster.keys(), cluster.owner(0), cluster.owner(200)), (of_first, 1, 0));
    monitor.daemon.let_pass(5);
    assert_eq!(monitor.daemon.value(MIGRATING), Some(0.0), "nothing moves any more");

    cluster.begin_to_move(200, 0, 1);
    let took = eventually(SOON, "a slot moves", || {
        monitor.daemon.value(MIGRATING).filter(|slots| *slots > 0.0)
    })
    .1;
    println!("{:?} slots move, seen after {took:?}", monitor.daemon.value(MIGRATING));
    monitor.daemon.let_pass(10);
    // Either end says so.
    assert!((1.0..=2.0).contains(&monitor.daemon.value(MIGRATING).expect("a count")));
    cluster.end_move(200, 0, 1);
    monitor.daemon.until(SOON, MIGRATING, &[], 0.0);
    // A few of the shard that has more than one range now, and on to the third.
    cluster.move_slots(5461..=5500, 1, 2);
    cluster.until_works();
    monitor.daemon.let_pass(5);
    monitor.until_quiet();

    let samples = monitor.daemon.samples();
    check_shards(&samples, "cache");
    for (place, (shard, ..)) in SHARDS.iter().enumerate() {
        let labels = [("shard", *shard), ("node", &cluster.nodes[place].address())];
        assert_eq!(samples.get(PRIMARY_INFO, &labels), Some(1.0), "{shard}");
        assert_eq!(
            samples.get("redis_deployment_replicas", &[("shard", shard)]),
            Some(1.0),
            "{shard}"
        );
    }
    assert_eq!(monitor.daemon.events(), Vec::<Value>::new(), "nothing happened to any node");
    assert_eq!(recorder.durations(), BTreeMap::new());
    assert_eq!(
        (monitor.daemon.value(OK), monitor.daemon.value(CONFLICTING), cluster.keys()),
        (Some(1.0), Some(0.0), of_first)
    );
}

#[test]
fn shard_series_appear_and_disappear_with_the_shard() {
    let mut cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let monitor = settled(&cluster, &[0], "");
    let node = cluster.add_replica(0);
    let address = cluster.nodes[node].address();
    monitor.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "0")], 1.0);
    // It becomes a master of its own, as an operator has it that adds a shard.
    cluster.nodes[node].ask(&["CLUSTER", "RESET", "SOFT"]);
    cluster.nodes[node].ask(&["FLUSHALL"]);
    let Server { host, port, .. } = &cluster.nodes[0];
    assert_eq!(cluster.nodes[node].ask(&["CLUSTER", "MEET", host, &port.to_string()]), ["OK"]);
    eventually(LIMIT, "it is a master to all", || {
        let is_master = |other: usize| {
            let map = cluster.map(other);
            map.len() == 4
                && map.iter().any(|entry| entry.id == cluster.id(node) && entry.master.is_none())
        };
        (0..4).all(is_master).then_some(())
    });
    // It has the history of the shard that it was in, and none of its slots: it is nobody's primary meanwhile.
    monitor.daemon.let_pass(3);
    let samples = monitor.daemon.samples();
    assert_eq!(
        samples.get(PRIMARY_INFO, &[("shard", "0"), ("node", &cluster.nodes[0].address())]),
        Some(1.0),
        "{:?}",
        monitor.daemon.events()
    );
    assert_eq!(
        events_of_shard(&monitor, "0"),
        Vec::<String>::new(),
        "{:?}",
        monitor.daemon.events()
    );
    cluster.move_slots(100..=299, 0, node);
    monitor.daemon.until(SOON, PRIMARY_INFO, &[("shard", "100"), ("node", &address)], 1.0);
    let samples = monitor.daemon.samples();
    assert_eq!(samples.count("redis_deployment_masters", &[]), 4);
    for (place, (shard, ..)) in SHARDS.iter().enumerate() {
        assert_eq!(
            samples
                .get(PRIMARY_INFO, &[("shard", shard), ("node", &cluster.nodes[place].address())]),
            Some(1.0),
            "{shard}"
        );
        assert_eq!(
            samples.get("redis_deployment_masters", &[("shard", shard)]),
            Some(1.0),
            "{shard}"
        );
    }
    assert_eq!(monitor.daemon.value(CONFLICTING), Some(0.0));
    assert!(
        monitor.events("split_brain_began").is_empty(),
        "a new shard is no split brain: {:?}",
        monitor.daemon.events()
    );

    cluster.move_slots(100..=299, node, 0);
    eventually(SOON, "the shard is gone", || {
        (monitor.daemon.samples().count("redis_deployment_masters", &[("shard", "100")]) == 0)
            .then_some(())
    });
    monitor.daemon.let_pass(3);
    check_shards(&monitor.daemon.samples(), "cache");
    assert!(
        monitor.events("primary_changed").is_empty()
            && monitor.events("split_brain_began").is_empty(),
        "{:?}",
        monitor.daemon.events()
    );
}

#[test]
fn slot_claimed_by_two_nodes_is_a_conflict() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let monitor = settled(&cluster, &[0], "");
    // Nodes that others do not hear take what they are told; SETSLOT on one of equal word needs a new epoch, and so both stay as they are
    // as long as they do not hear of one another.
    for (node, other) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        assert_eq!(cluster.nodes[node].ask(&["CLUSTER", "FORGET", cluster.id(other)]), ["OK"]);
    }
    for slot in ["5461", "5462"] {
        assert_eq!(cluster.nodes[0].ask(&["CLUSTER", "ADDSLOTS", slot]), ["OK"]);
    }
    monitor.daemon.until(SOON * 2, CONFLICTING, &[], 2.0);
    let found = monitor.until_finding(SOON, "RedisClusterSlotConflict", "critical");
    assert_eq!(found["evidence"]["slots"].as_f64(), Some(2.0), "{found}");
    check_names(
        &found["evidence"]["nodes"],
        &[cluster.nodes[0].address(), cluster.nodes[1].address()],
    );
}
