//! Slots that move, that two claim, and that nobody serves.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::{Cluster, ClusterSetup, Server, eventually};

use super::{
    CONFLICTING, DOUBTFUL, MIGRATING, OK, SHARDS, UNCOVERED, check_shards, events_of_shard,
    of_shard, settled, until_known,
};
use crate::watch::{LIMIT, Observer, PRIMARY, SOON, check_names};

#[test]
fn a_cluster_that_needs_no_full_coverage_works_without_a_shard() {
    let mut cluster = Cluster::start(&ClusterSetup {
        replicas: 0,
        options: "cluster-require-full-coverage no\n".into(),
        ..ClusterSetup::default()
    });
    let watch = settled(&cluster, &[0], "");
    cluster.nodes[2].kill();
    watch.daemon.until(SOON, UNCOVERED, &[], SHARDS[2].2);
    let found = watch.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    assert_eq!(found["evidence"]["slots"].as_f64(), Some(SHARDS[2].2), "{found}");
    assert_eq!(watch.until_finding(SOON, "RedisNoPrimary", "critical")["shard"], "10923");
    watch.daemon.let_pass(3);
    assert_eq!((watch.daemon.value(OK), watch.daemon.value(DOUBTFUL)), (Some(1.0), Some(0.0)));
    assert!(watch.daemon.finding("RedisClusterDown").is_none(), "the others say that they work");
    for shard in ["0", "5461"] {
        assert_eq!(of_shard(&watch, "redis_deployment_writable", shard), Some(1.0), "{shard}");
    }
    cluster.nodes[2].restart();
    cluster.until_works();
    until_known(&watch, &cluster, "cache");
    watch.until_quiet();
    assert_eq!(events_of_shard(&watch, "10923"), ["primary_lost", "primary_regained"]);
}

#[test]
fn slots_that_are_moved_bother_nobody() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 3000);
    let watch = settled(&cluster, &[0], "");
    let observer = Observer::start(&watch.daemon);
    let (of_first, second) =
        (cluster.keys(), cluster.nodes[1].ask(&["DBSIZE"])[0].parse::<u64>().expect("a number"));
    // The lowest slots of a shard: its label is what it was.
    cluster.move_slots(0..=199, 0, 1);
    assert!(
        cluster.nodes[1].ask(&["DBSIZE"])[0].parse::<u64>().expect("a number") > second,
        "keys were moved"
    );
    assert_eq!((cluster.keys(), cluster.owner(0), cluster.owner(200)), (of_first, 1, 0));
    watch.daemon.let_pass(5);
    assert_eq!(watch.daemon.value(MIGRATING), Some(0.0), "nothing moves any more");

    cluster.begin_to_move(200, 0, 1);
    let took = eventually(SOON, "a slot moves", || {
        watch.daemon.value(MIGRATING).filter(|slots| *slots > 0.0)
    })
    .1;
    println!("{:?} slots move, seen after {took:?}", watch.daemon.value(MIGRATING));
    watch.daemon.let_pass(10);
    // Either end says so.
    assert!((1.0..=2.0).contains(&watch.daemon.value(MIGRATING).expect("a count")));
    cluster.end_move(200, 0, 1);
    watch.daemon.until(SOON, MIGRATING, &[], 0.0);
    // A few of the shard that has more than one range now, and on to the third.
    cluster.move_slots(5461..=5500, 1, 2);
    cluster.until_works();
    watch.daemon.let_pass(5);
    watch.until_quiet();

    let samples = watch.daemon.samples();
    check_shards(&samples, "cache");
    for (place, (shard, ..)) in SHARDS.iter().enumerate() {
        let labels = [("shard", *shard), ("node", &cluster.nodes[place].address())];
        assert_eq!(samples.get(PRIMARY, &labels), Some(1.0), "{shard}");
        assert_eq!(
            samples.get("redis_deployment_replicas", &[("shard", shard)]),
            Some(1.0),
            "{shard}"
        );
    }
    assert_eq!(watch.daemon.events(), Vec::<Value>::new(), "nothing happened to any node");
    assert_eq!(observer.seen(), BTreeMap::new());
    assert_eq!(
        (watch.daemon.value(OK), watch.daemon.value(CONFLICTING), cluster.keys()),
        (Some(1.0), Some(0.0), of_first)
    );
}

#[test]
fn a_new_shard_and_one_that_is_emptied_come_and_go() {
    let mut cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let watch = settled(&cluster, &[0], "");
    let node = cluster.add_replica(0);
    let address = cluster.nodes[node].address();
    watch.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "0")], 1.0);
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
    watch.daemon.let_pass(3);
    let samples = watch.daemon.samples();
    assert_eq!(
        samples.get(PRIMARY, &[("shard", "0"), ("node", &cluster.nodes[0].address())]),
        Some(1.0),
        "{:?}",
        watch.daemon.events()
    );
    assert_eq!(events_of_shard(&watch, "0"), Vec::<String>::new(), "{:?}", watch.daemon.events());
    cluster.move_slots(100..=299, 0, node);
    watch.daemon.until(SOON, PRIMARY, &[("shard", "100"), ("node", &address)], 1.0);
    let samples = watch.daemon.samples();
    assert_eq!(samples.count("redis_deployment_masters", &[]), 4);
    for (place, (shard, ..)) in SHARDS.iter().enumerate() {
        assert_eq!(
            samples.get(PRIMARY, &[("shard", shard), ("node", &cluster.nodes[place].address())]),
            Some(1.0),
            "{shard}"
        );
        assert_eq!(
            samples.get("redis_deployment_masters", &[("shard", shard)]),
            Some(1.0),
            "{shard}"
        );
    }
    assert_eq!(watch.daemon.value(CONFLICTING), Some(0.0));
    assert!(
        watch.events("split_brain_began").is_empty(),
        "a new shard is no split brain: {:?}",
        watch.daemon.events()
    );

    cluster.move_slots(100..=299, node, 0);
    eventually(SOON, "the shard is gone", || {
        (watch.daemon.samples().count("redis_deployment_masters", &[("shard", "100")]) == 0)
            .then_some(())
    });
    watch.daemon.let_pass(3);
    check_shards(&watch.daemon.samples(), "cache");
    assert!(
        watch.events("primary_changed").is_empty() && watch.events("split_brain_began").is_empty(),
        "{:?}",
        watch.daemon.events()
    );
}

#[test]
fn a_slot_that_two_nodes_claim_is_a_conflict() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let watch = settled(&cluster, &[0], "");
    // Nodes that others do not hear take what they are told; SETSLOT on one of equal word needs a new epoch, and so both stay as they are
    // as long as they do not hear of one another.
    for (node, other) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        assert_eq!(cluster.nodes[node].ask(&["CLUSTER", "FORGET", cluster.id(other)]), ["OK"]);
    }
    for slot in ["5461", "5462"] {
        assert_eq!(cluster.nodes[0].ask(&["CLUSTER", "ADDSLOTS", slot]), ["OK"]);
    }
    watch.daemon.until(SOON * 2, CONFLICTING, &[], 2.0);
    let found = watch.until_finding(SOON, "RedisClusterSlotConflict", "critical");
    assert_eq!(found["evidence"]["slots"].as_f64(), Some(2.0), "{found}");
    check_names(
        &found["evidence"]["nodes"],
        &[cluster.nodes[0].address(), cluster.nodes[1].address()],
    );
}
