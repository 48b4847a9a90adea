//! Masters that are gone, and are replaced or not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Cluster, ClusterSetup, SECOND, Samples, Signal, Stopwatch, eventually};

use super::{
    DOUBTFUL, NO_PRIMARY, OK, REPLACED, SHARDS, UNCOVERED, WITHOUT_REPLICA, check_changed,
    check_only_shard, check_shards, events_of_shard, findings, of_shard, role_changed,
    roles_changed, settled, until_known, until_primary,
};
use crate::monitor::{
    FindingRecorder, LIMIT, Monitor, PRIMARY_INFO, PageRecorder, SOON, SPLIT_BRAIN,
    UNREPLICATED_WRITES, check_names,
};

/// For how long the cluster worked or not.
fn working(monitor: &Monitor) -> PageRecorder<String> {
    PageRecorder::read_page(&monitor.daemon, "/metrics", |text| {
        let value = Samples::parse(text).get(OK, &[]);
        vec![value.map_or_else(|| "absent".to_owned(), |value| value.to_string())]
    })
}

/// Nothing was found above info but these kinds, and of these only about the shard or nobody's.
#[track_caller]
fn check_bothered(recorder: &FindingRecorder, allowed: &[&str]) {
    for ((severity, kind, node), lasted) in recorder.above_info() {
        assert!(allowed.contains(&kind.as_str()), "{severity} {kind} of {node:?} for {lasted:?}");
    }
}

#[test]
fn killed_cluster_master_returns_as_a_replica() {
    killed("redis-7.0.15");
}

#[test]
fn killed_cluster_master_returns_as_a_replica_on_valkey() {
    killed("valkey-9.1.2");
}

fn killed(version: &'static str) {
    let mut cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
    cluster.write("key", 300);
    // Sooner than the cluster replaces it.
    let monitor = settled(&cluster, &[0, 1, 2], "down_after = '2s'");
    let (recorder, gauge) = (FindingRecorder::start(&monitor.daemon), working(&monitor));

    cluster.nodes[0].kill();
    let killed = Stopwatch::start();
    monitor.daemon.until(SOON, "redis_up", &[("node", &cluster.nodes[0].address())], 0.0);
    assert_eq!(monitor.daemon.until_event(SOON, "primary_lost")["why"], "primary_down");
    let after = cluster.until_failed_over(LIMIT, 0, 0);
    assert_eq!(after, 3);
    let promoted = killed.elapsed();
    until_primary(&monitor, "cache", "0", &cluster.nodes[3]);
    let shown = killed.elapsed();
    println!("{version}: promoted {promoted:?} after the kill, on /metrics after {shown:?}");
    assert!(shown < promoted + SECOND * 3, "the interval is 1 s");
    monitor.daemon.until(SOON, OK, &[], 1.0);
    monitor.daemon.until(SOON, UNCOVERED, &[], 0.0);
    // The dead one is listed as failed master still, and is no master of the shard.
    monitor.daemon.let_pass(3);
    check_shards(&monitor.daemon.samples(), "cache");
    assert_eq!(
        (of_shard(&monitor, "redis_deployment_masters", "0"), of_shard(&monitor, NO_PRIMARY, "0")),
        (Some(1.0), Some(0.0))
    );
    let found = findings(&monitor, WITHOUT_REPLICA);
    assert_eq!(
        found.iter().map(|finding| (&finding["severity"], &finding["shard"])).collect::<Vec<_>>(),
        [(&json!("warning"), &json!("0"))]
    );

    cluster.nodes[0].restart();
    cluster.until_works();
    monitor.daemon.until(
        SOON,
        "redis_role",
        &[("node", &cluster.nodes[0].address()), ("role", "replica")],
        1.0,
    );
    monitor.until_quiet();
    monitor.daemon.let_pass(12);
    until_known(&monitor, &cluster, "cache");
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[3]);
    assert_eq!(events_of_shard(&monitor, "0"), REPLACED, "{:?}", monitor.daemon.events());
    check_only_shard(&monitor, "0");
    check_changed(&monitor, "0", old, new);
    // Between its start and the first word of the others it may still hold itself for a master.
    assert_eq!(
        roles_changed(&monitor),
        [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]
    );
    assert_eq!(
        monitor.node_events_without_moves(old),
        ["node_unreachable", "node_back", "restarted", "role_changed"]
    );
    assert_eq!(monitor.node_events_without_moves(new), ["role_changed"]);
    for node in [1, 2, 4, 5] {
        assert_eq!(
            monitor.node_events(&cluster.nodes[node]),
            Vec::<String>::new(),
            "nothing happened to {node}"
        );
    }
    assert_eq!((of_shard(&monitor, UNREPLICATED_WRITES, "0"), cluster.keys()), (Some(0.0), 300));
    check_shards(&monitor.daemon.samples(), "cache");

    println!(
        "{version}: ok {:?}, not ok {:?}, absent {:?}; {:?}",
        gauge.duration("1"),
        gauge.duration("0"),
        gauge.duration("absent"),
        recorder.durations()
    );
    assert_eq!(gauge.duration("absent"), Duration::ZERO, "two masters answered all the time");
    assert!(gauge.duration("0") < SECOND * 6, "{:?}", gauge.duration("0"));
    let shown = [
        "RedisDown",
        "RedisNoPrimary",
        "RedisClusterDown",
        "RedisClusterSlotsUncovered",
        "RedisWritesBlocked",
        WITHOUT_REPLICA,
    ];
    check_bothered(
        &recorder,
        &[&shown[..], &["RedisReplicaLinkDown", "RedisReplicaOrphaned"]].concat(),
    );
}

#[test]
fn planned_cluster_failover_reports_exact_events() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let monitor = settled(&cluster, &[0], "");
    let (recorder, gauge) = (FindingRecorder::start(&monitor.daemon), working(&monitor));
    let (old, new) = (&cluster.nodes[1], &cluster.nodes[4]);

    cluster.failover(4);
    assert_eq!(cluster.until_failed_over(LIMIT, 1, 5461), 4);
    until_primary(&monitor, "cache", "5461", new);
    cluster.until_works();
    monitor.daemon.until_event(SOON * 2, "primary_changed");
    monitor.until_quiet();
    // Command counters are read every 10 s.
    monitor.daemon.let_pass(12);
    until_known(&monitor, &cluster, "cache");
    assert_eq!(
        events_of_shard(&monitor, "5461"),
        ["primary_changed"],
        "{:?}",
        monitor.daemon.events()
    );
    check_only_shard(&monitor, "5461");
    check_changed(&monitor, "5461", old, new);
    let mut roles = roles_changed(&monitor);
    roles.sort_by_key(|role| role[1] == "master");
    assert_eq!(
        roles,
        [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]
    );
    let reconfigured: Vec<_> = monitor
        .events("reconfigured")
        .iter()
        .map(|event| json!([event["node"], event["command"]]))
        .collect();
    assert_eq!(reconfigured, [json!([new.address(), "cluster_failover"])]);
    let synced = new.section("stats")["sync_full"].parse::<usize>().expect("a number");
    assert_eq!(
        monitor.events("full_resync").len(),
        synced,
        "full synchronisations that the new primary served"
    );
    for node in [old, new] {
        assert_eq!(monitor.node_events_without_moves(node), ["role_changed"]);
        let events = monitor.node_events(node);
        let count = |kind: &str| events.iter().filter(|event| *event == kind).count();
        assert_eq!(count("link_dropped"), count("link_restored"), "{events:?}");
    }
    for node in [0, 2, 3, 5] {
        assert_eq!(
            monitor.node_events(&cluster.nodes[node]),
            Vec::<String>::new(),
            "nothing happened to {node}"
        );
    }
    check_shards(&monitor.daemon.samples(), "cache");
    assert_eq!((of_shard(&monitor, UNREPLICATED_WRITES, "5461"), cluster.keys()), (Some(0.0), 300));
    assert_eq!(
        (gauge.duration("0"), gauge.duration("absent")),
        (Duration::ZERO, Duration::ZERO),
        "it worked all the time"
    );
    println!("{:?}", recorder.durations());
    // A replica is without its master while the two change places.
    for ((severity, kind, node), lasted) in recorder.above_info() {
        let moves = kind == "RedisReplicaLinkDown" && node == old.address() && lasted < SECOND * 3;
        assert!(moves, "{severity} {kind} of {node:?} for {lasted:?}");
    }

    // And back: what was replica before is nothing else.
    cluster.failover(1);
    assert_eq!(cluster.until_failed_over(LIMIT, 4, 5461), 1);
    until_primary(&monitor, "cache", "5461", old);
    cluster.until_works();
    monitor.daemon.until(
        SOON * 2,
        "redis_deployment_primary_changes_total",
        &[("shard", "5461"), ("cause", "cluster")],
        2.0,
    );
    monitor.until_quiet();
    assert_eq!(events_of_shard(&monitor, "5461"), ["primary_changed", "primary_changed"]);
    check_shards(&monitor.daemon.samples(), "cache");
}

#[test]
fn frozen_cluster_master_is_replaced_and_becomes_a_replica() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let monitor = settled(&cluster, &[0], "down_after = '2s'");
    let recorder = FindingRecorder::start(&monitor.daemon);
    let (old, new) = (&cluster.nodes[2], &cluster.nodes[5]);
    old.signal(Signal::Stop);
    monitor.daemon.until(
        SOON,
        "redis_down_reason",
        &[("node", &old.address()), ("reason", "timeout")],
        1.0,
    );
    assert_eq!(cluster.until_failed_over(LIMIT, 2, 10_923), 5);
    until_primary(&monitor, "cache", "10923", new);
    monitor.daemon.until(SOON, OK, &[], 1.0);
    monitor.daemon.let_pass(3);
    assert_eq!(of_shard(&monitor, SPLIT_BRAIN, "10923"), Some(0.0));

    old.signal(Signal::Cont);
    monitor.daemon.until(SOON, "redis_role", &[("node", &old.address()), ("role", "replica")], 1.0);
    cluster.until_works();
    monitor.until_quiet();
    monitor.daemon.let_pass(3);
    assert_eq!(events_of_shard(&monitor, "10923"), REPLACED, "{:?}", monitor.daemon.events());
    check_only_shard(&monitor, "10923");
    check_changed(&monitor, "10923", old, new);
    assert_eq!(
        roles_changed(&monitor),
        [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]
    );
    assert_eq!(
        monitor.node_events_without_moves(old),
        ["node_unreachable", "node_back", "role_changed"]
    );
    assert_eq!(monitor.node_events_without_moves(new), ["role_changed"]);
    for node in [0, 1, 3, 4] {
        assert_eq!(
            monitor.node_events(&cluster.nodes[node]),
            Vec::<String>::new(),
            "nothing happened to {node}"
        );
    }
    assert_eq!(
        (of_shard(&monitor, UNREPLICATED_WRITES, "10923"), cluster.keys()),
        (Some(0.0), 300)
    );
    let shown = [
        "RedisDown",
        "RedisNoPrimary",
        "RedisClusterDown",
        "RedisClusterSlotsUncovered",
        "RedisWritesBlocked",
        WITHOUT_REPLICA,
    ];
    check_bothered(
        &recorder,
        &[&shown[..], &["RedisReplicaLinkDown", "RedisReplicaOrphaned"]].concat(),
    );
}

#[test]
fn failover_within_down_after_reports_no_primary_lost() {
    let cluster = Cluster::start(&ClusterSetup::default());
    let monitor = settled(&cluster, &[0], "down_after = '30s'");
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[3]);
    old.signal(Signal::Stop);
    assert_eq!(cluster.until_failed_over(LIMIT, 0, 0), 3);
    until_primary(&monitor, "cache", "0", new);
    old.signal(Signal::Cont);
    cluster.until_works();
    monitor.daemon.until(SOON, "redis_role", &[("node", &old.address()), ("role", "replica")], 1.0);
    monitor.daemon.until_event(SOON * 2, "primary_changed");
    monitor.until_quiet();
    assert_eq!(
        events_of_shard(&monitor, "0"),
        ["primary_changed"],
        "{:?}",
        monitor.daemon.events()
    );
    check_changed(&monitor, "0", old, new);
    assert_eq!(
        roles_changed(&monitor),
        [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]
    );
    assert_eq!(monitor.events("node_unreachable"), Vec::<Value>::new());
}

#[test]
fn only_a_shard_with_all_nodes_down_has_no_primary() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let monitor = settled(&cluster, &[0], "");
    // The replica first: it must not be promoted.
    for node in [4, 1] {
        cluster.nodes[node].kill();
    }
    let found = monitor.until_finding(SOON, "RedisClusterDown", "critical");
    let evidence = &found["evidence"];
    monitor.daemon.until(SOON, OK, &[], 0.0);
    assert_eq!(
        (&evidence["why"], found["shard"].is_null(), found["node"].is_null()),
        (&json!("majority"), true, true),
        "{found}"
    );
    assert_eq!(evidence["masters"].as_f64(), Some(2.0), "{found}");
    eventually(SOON, "nobody holds it to work", || {
        let found = monitor.daemon.finding("RedisClusterDown")?;
        (found["evidence"]["ok"].as_f64() == Some(0.0)
            && found["evidence"]["nodes"].as_array()?.len() == 4)
            .then_some(())
    });
    let alive = [0, 2, 3, 5].map(|node| cluster.nodes[node].address());
    check_names(
        &monitor.daemon.finding("RedisClusterDown").expect("a finding")["evidence"]["nodes"],
        &alive,
    );
    monitor.daemon.until(SOON, DOUBTFUL, &[], 4.0);
    monitor.daemon.until(SOON, UNCOVERED, &[], SHARDS[1].2);
    assert_eq!(cluster.info(0)["cluster_slots_fail"], "5462");
    let found = monitor.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    assert_eq!(found["evidence"]["slots"].as_f64(), Some(SHARDS[1].2), "{found}");
    let lost = monitor.daemon.until_event(SOON, "primary_lost");
    assert_eq!((&lost["shard"], &lost["why"]), (&json!("5461"), &json!("all_down")));
    let found = monitor.until_finding(SOON, "RedisNoPrimary", "critical");
    assert_eq!(
        (&found["shard"], &found["evidence"]["last_primary"]),
        (&json!("5461"), &json!(cluster.nodes[1].address())),
        "{found}"
    );
    monitor.daemon.let_pass(3);
    assert_eq!(findings(&monitor, "RedisNoPrimary").len(), 1);
    let samples = monitor.daemon.samples();
    check_shards(&samples, "cache");
    for (shard, ..) in SHARDS {
        let down = shard == "5461";
        let value = |series: &str| samples.get(series, &[("shard", shard)]);
        assert_eq!(value(NO_PRIMARY), Some(f64::from(u8::from(down))), "{shard}");
        assert_eq!(value("redis_deployment_masters"), Some(f64::from(u8::from(!down))), "{shard}");
        assert_eq!(samples.count(PRIMARY_INFO, &[("shard", shard)]), usize::from(!down), "{shard}");
        // Without full coverage nobody takes a write.
        assert_eq!(value("redis_deployment_writable"), (!down).then_some(0.0), "{shard}");
    }
    let kinds: BTreeSet<_> = monitor.daemon.findings().into_iter().map(|(kind, _)| kind).collect();
    println!("{kinds:?}");
    for kind in [
        "RedisSplitBrain",
        "RedisClusterSlotConflict",
        "RedisWritesLost",
        "RedisPrimaryRestartedEmpty",
        "RolecallUnrelatedMasters",
    ] {
        assert!(!kinds.contains(kind), "{kinds:?}");
    }

    for node in [1, 4] {
        cluster.nodes[node].restart();
    }
    cluster.until_works();
    until_known(&monitor, &cluster, "cache");
    monitor.until_quiet();
    monitor.daemon.let_pass(3);
    assert_eq!(
        events_of_shard(&monitor, "5461"),
        ["primary_lost", "primary_regained"],
        "{:?}",
        monitor.daemon.events()
    );
    check_only_shard(&monitor, "5461");
    for node in [1, 4] {
        assert_eq!(
            monitor.node_events_without_moves(&cluster.nodes[node]),
            ["node_unreachable", "node_back", "restarted"],
            "{node}"
        );
    }
    for node in [0, 2, 3, 5] {
        assert_eq!(
            monitor.node_events(&cluster.nodes[node]),
            Vec::<String>::new(),
            "nothing happened to {node}"
        );
    }
    assert_eq!(cluster.keys(), 300);
}

#[test]
fn shard_whose_replica_cannot_take_over_has_no_primary() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let monitor = settled(&cluster, &[1], "");
    // It is there, and must not take over: as one whose data is too old for the cluster.
    let behind = cluster.replicas_of(0)[0];
    cluster.nodes[behind].ask(&["CONFIG", "SET", "cluster-replica-no-failover", "yes"]);
    cluster.nodes[0].kill();
    let found = monitor.until_finding(SOON, "RedisNoPrimary", "critical");
    assert_eq!(
        (&found["shard"], &found["evidence"]["last_primary"]),
        (&json!("0"), &json!(cluster.nodes[0].address())),
        "{found}"
    );
    monitor.until_finding(SOON, "RedisClusterDown", "critical");
    monitor.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    let node = cluster.nodes[behind].address();
    monitor.daemon.until(
        SOON,
        "redis_replica_orphaned",
        &[("node", &node), ("why", "dead_node")],
        1.0,
    );
    monitor.daemon.until(SOON, "redis_link_state", &[("node", &node), ("state", "lost")], 1.0);
    assert_eq!(findings(&monitor, "RedisNoPrimary").len(), 1, "of no other shard");
    assert_eq!(monitor.daemon.finding("RedisSplitBrain"), None);
    assert_eq!(monitor.daemon.count("primary_changed"), 0);

    cluster.nodes[behind].ask(&["CONFIG", "SET", "cluster-replica-no-failover", "no"]);
    until_primary(&monitor, "cache", "0", &cluster.nodes[behind]);
    cluster.nodes[0].restart();
    cluster.until_works();
    until_known(&monitor, &cluster, "cache");
    monitor.until_quiet();
    check_only_shard(&monitor, "0");
    check_changed(&monitor, "0", &cluster.nodes[0], &cluster.nodes[behind]);
    assert_eq!(cluster.keys(), 300);
}

#[test]
fn replica_frozen_during_failover_follows_the_new_master() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let awake = cluster.replicas_of(0)[0];
    let sleeper = cluster.add_replica(0);
    let monitor = settled(&cluster, &[1], "");
    cluster.nodes[sleeper].signal(Signal::Stop);
    monitor.daemon.until(SOON, "redis_up", &[("node", &cluster.nodes[sleeper].address())], 0.0);
    cluster.nodes[0].kill();
    until_primary(&monitor, "cache", "0", &cluster.nodes[awake]);
    cluster.nodes[sleeper].signal(Signal::Cont);
    monitor.daemon.until(
        LIMIT,
        "redis_link_state",
        &[("node", &cluster.nodes[sleeper].address()), ("state", "up")],
        1.0,
    );
    cluster.nodes[0].restart();
    cluster.until_works();
    until_known(&monitor, &cluster, "cache");
    monitor.until_quiet();
    check_only_shard(&monitor, "0");
    check_changed(&monitor, "0", &cluster.nodes[0], &cluster.nodes[awake]);
    let of_sleeper = monitor.node_events_without_moves(&cluster.nodes[sleeper]);
    assert_eq!(of_sleeper, ["node_unreachable", "node_back"], "it never was a master");
}
