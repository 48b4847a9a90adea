//! Slot migrations, slots that two nodes claim, and slots that no node serves.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::{Cluster, ClusterSetup, Server, eventually};

use super::{
    CLUSTER_OK, CONFLICTING_SLOTS, DOUBTFUL_NODES, MIGRATING_SLOTS, SHARDS, UNCOVERED_SLOTS,
    check_shards, shard_events, shard_value, start_settled, until_discovered,
};
use crate::monitor::{FindingRecorder, LIMIT, PRIMARY_INFO, SOON, check_names};

#[test]
fn partial_coverage_cluster_works_without_one_shard() {
    let mut cluster = Cluster::start(&ClusterSetup {
        replicas: 0,
        options: "cluster-require-full-coverage no\n".into(),
        ..ClusterSetup::default()
    });
    let monitor = start_settled(&cluster, &[0], "");
    cluster.nodes[2].kill();
    monitor.daemon.until(SOON, UNCOVERED_SLOTS, &[], SHARDS[2].2);
    let finding = monitor.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    assert_eq!(finding["evidence"]["slots"].as_f64(), Some(SHARDS[2].2), "{finding}");
    assert_eq!(monitor.until_finding(SOON, "RedisNoPrimary", "critical")["shard"], "10923");
    monitor.daemon.until_rounds(3);
    assert_eq!(
        (monitor.daemon.value(CLUSTER_OK), monitor.daemon.value(DOUBTFUL_NODES)),
        (Some(1.0), Some(0.0))
    );
    assert!(
        monitor.daemon.finding("RedisClusterDown").is_none(),
        "the other nodes report cluster_state:ok"
    );
    for shard in ["0", "5461"] {
        assert_eq!(shard_value(&monitor, "redis_deployment_writable", shard), Some(1.0), "{shard}");
    }
    cluster.nodes[2].restart();
    cluster.until_healthy();
    until_discovered(&monitor, &cluster, "cache");
    monitor.until_no_findings();
    assert_eq!(shard_events(&monitor, "10923"), ["primary_lost", "primary_regained"]);
}

#[test]
fn slot_migration_raises_no_findings() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 3000);
    let monitor = start_settled(&cluster, &[0], "");
    let recorder = FindingRecorder::start(&monitor.daemon);
    let (keys, keys_of_second) = (
        cluster.keys(),
        cluster.nodes[1].execute(&["DBSIZE"])[0].parse::<u64>().expect("a number"),
    );
    // Moving the lowest slots of a shard keeps its label.
    cluster.move_slots(0..=199, 0, 1);
    assert!(
        cluster.nodes[1].execute(&["DBSIZE"])[0].parse::<u64>().expect("a number") > keys_of_second,
        "keys were moved"
    );
    assert_eq!((cluster.keys(), cluster.owner(0), cluster.owner(200)), (keys, 1, 0));
    monitor.daemon.until_rounds(5);
    assert_eq!(monitor.daemon.value(MIGRATING_SLOTS), Some(0.0), "the migration is complete");

    cluster.start_slot_migration(200, 0, 1);
    let took = eventually(SOON, "a slot migration is reported", || {
        monitor.daemon.value(MIGRATING_SLOTS).filter(|slots| *slots > 0.0)
    })
    .1;
    println!("{:?} migrating slots after {took:?}", monitor.daemon.value(MIGRATING_SLOTS));
    monitor.daemon.until_rounds(10);
    assert_eq!(monitor.daemon.value(MIGRATING_SLOTS), Some(1.0), "source and target report it");
    let open_for = monitor.daemon.value("redis_cluster_open_slot_seconds").expect("a duration");
    assert!((5.0..120.0).contains(&open_for), "{open_for} s");
    cluster.finish_slot_migration(200, 0, 1);
    monitor.daemon.until(SOON, MIGRATING_SLOTS, &[], 0.0);
    assert_eq!(monitor.daemon.value("redis_cluster_open_slot_seconds"), None);
    // The second shard has several slot ranges now. Some of its slots move to the third shard.
    cluster.move_slots(5461..=5500, 1, 2);
    cluster.until_healthy();
    monitor.daemon.until_rounds(5);
    monitor.until_no_findings();

    let samples = monitor.daemon.samples();
    check_shards(&samples, "cache");
    for (index, (shard, ..)) in SHARDS.iter().enumerate() {
        let labels = [("shard", *shard), ("node", &cluster.nodes[index].address())];
        assert_eq!(samples.get(PRIMARY_INFO, &labels), Some(1.0), "{shard}");
        assert_eq!(
            samples.get("redis_deployment_replicas", &[("shard", shard)]),
            Some(1.0),
            "{shard}"
        );
    }
    assert_eq!(monitor.daemon.events(), Vec::<Value>::new(), "a migration causes no events");
    assert_eq!(recorder.durations(), BTreeMap::new());
    assert_eq!(
        (monitor.daemon.value(CLUSTER_OK), monitor.daemon.value(CONFLICTING_SLOTS), cluster.keys()),
        (Some(1.0), Some(0.0), keys)
    );
}

#[test]
fn target_of_an_open_slot_refuses_all_writes_after_a_failover() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let monitor = start_settled(&cluster, &[1], "");
    cluster.start_slot_migration(0, 0, 1);
    monitor.daemon.until(SOON, MIGRATING_SLOTS, &[], 1.0);
    cluster.nodes[0].kill();
    // The target does not agree about slot 0.
    cluster.until_failed_over(LIMIT, 0, 100);
    // The new owner of slot 0 serves it, and the target of the migration does not accept that.
    let target = cluster.nodes[1].address();
    // During the failover, the whole cluster is down for about a second.
    eventually(LIMIT, "only the target refuses writes", || {
        let writable = |shard| shard_value(&monitor, "redis_deployment_writable", shard);
        let shards = ["0", "5461", "10923"].map(writable);
        let works = monitor.daemon.value(CLUSTER_OK) == Some(1.0);
        (works && shards == [Some(1.0), Some(0.0), Some(1.0)]).then_some(())
    });
    let finding = monitor.until_finding(SOON, "RedisWritesBlocked", "critical");
    let evidence = &finding["evidence"];
    assert_eq!((&finding["shard"], &evidence["primary"]), (&"5461".into(), &target.clone().into()));
    assert_eq!(evidence["reasons"], serde_json::json!(["clusterdown"]), "{finding}");
    assert_eq!(evidence["importing_slots"], serde_json::json!(["0"]), "{finding}");
    assert_eq!(
        (monitor.daemon.value(CLUSTER_OK), monitor.daemon.value(MIGRATING_SLOTS)),
        (Some(1.0), Some(1.0)),
        "the cluster works for all others"
    );
    // The page of the runbook has the command that ends it.
    let page = monitor.daemon.get("/runbooks/RedisWritesBlocked?deployment=cache", "text/html");
    let (host, port) = target.rsplit_once(':').expect("an address");
    let command = format!("redis-cli -h {host} -p {port} cluster setslot 0 stable");
    assert!(page.text.contains(&command), "{}", page.text);
    assert_eq!(cluster.nodes[1].execute(&["CLUSTER", "SETSLOT", "0", "STABLE"]), ["OK"]);
    monitor.daemon.until(SOON, "redis_deployment_writable", &[("shard", "5461")], 1.0);
    monitor.daemon.until(SOON, MIGRATING_SLOTS, &[], 0.0);
}

#[test]
fn shard_series_appear_and_disappear_with_the_shard() {
    let mut cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let monitor = start_settled(&cluster, &[0], "");
    let node = cluster.add_replica(0);
    let address = cluster.nodes[node].address();
    monitor.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "0")], 1.0);
    // The replica becomes a separate master, as when an operator adds a shard.
    cluster.nodes[node].execute(&["CLUSTER", "RESET", "SOFT"]);
    cluster.nodes[node].execute(&["FLUSHALL"]);
    let Server { host, port, .. } = &cluster.nodes[0];
    assert_eq!(cluster.nodes[node].execute(&["CLUSTER", "MEET", host, &port.to_string()]), ["OK"]);
    eventually(LIMIT, "all nodes know the new node as master", || {
        let is_master = |other: usize| {
            let map = cluster.nodes_seen_by(other);
            map.len() == 4
                && map.iter().any(|entry| entry.id == cluster.id(node) && entry.master.is_none())
        };
        (0..4).all(is_master).then_some(())
    });
    // The node shares the replication history of its old shard but has no slots, so it is not the
    // primary of a shard yet.
    monitor.daemon.until_rounds(3);
    let samples = monitor.daemon.samples();
    assert_eq!(
        samples.get(PRIMARY_INFO, &[("shard", "0"), ("node", &cluster.nodes[0].address())]),
        Some(1.0),
        "{:?}",
        monitor.daemon.events()
    );
    assert_eq!(shard_events(&monitor, "0"), Vec::<String>::new(), "{:?}", monitor.daemon.events());
    cluster.move_slots(100..=299, 0, node);
    monitor.daemon.until(SOON, PRIMARY_INFO, &[("shard", "100"), ("node", &address)], 1.0);
    let samples = monitor.daemon.samples();
    assert_eq!(samples.count("redis_deployment_masters", &[]), 4);
    for (index, (shard, ..)) in SHARDS.iter().enumerate() {
        assert_eq!(
            samples
                .get(PRIMARY_INFO, &[("shard", shard), ("node", &cluster.nodes[index].address())]),
            Some(1.0),
            "{shard}"
        );
        assert_eq!(
            samples.get("redis_deployment_masters", &[("shard", shard)]),
            Some(1.0),
            "{shard}"
        );
    }
    assert_eq!(monitor.daemon.value(CONFLICTING_SLOTS), Some(0.0));
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
    monitor.daemon.until_rounds(3);
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
    let monitor = start_settled(&cluster, &[0], "");
    // Two nodes that do not know each other both keep a slot that they claim, since neither
    // receives the claim of the other.
    for (node, other) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        assert_eq!(cluster.nodes[node].execute(&["CLUSTER", "FORGET", cluster.id(other)]), ["OK"]);
    }
    for slot in ["5461", "5462"] {
        assert_eq!(cluster.nodes[0].execute(&["CLUSTER", "ADDSLOTS", slot]), ["OK"]);
    }
    monitor.daemon.until(SOON * 2, CONFLICTING_SLOTS, &[], 2.0);
    let finding = monitor.until_finding(SOON, "RedisClusterSlotConflict", "critical");
    assert_eq!(finding["evidence"]["slots"].as_f64(), Some(2.0), "{finding}");
    check_names(
        &finding["evidence"]["nodes"],
        &[cluster.nodes[0].address(), cluster.nodes[1].address()],
    );
}
