//! Failovers of cluster masters, and masters that are not replaced.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Cluster, ClusterSetup, SECOND, Samples, Signal, Stopwatch, eventually, pause};

use super::{
    CLUSTER_OK, DOUBTFUL_NODES, FAILOVER_EVENTS, NO_PRIMARY, SHARDS, UNCOVERED_SLOTS,
    WITHOUT_REPLICA, check_only_shard, check_primary_change, check_shards, findings, role_change,
    role_changes, shard_events, shard_value, start_settled, until_discovered, until_primary,
};
use crate::monitor::{
    FindingRecorder, LIMIT, Monitor, PRIMARY_INFO, PageRecorder, SOON, SPLIT_BRAIN,
    UNREPLICATED_WRITES, check_names,
};

/// Starts to record the value of `redis_cluster_ok`, or that it is absent.
fn record_cluster_ok(monitor: &Monitor) -> PageRecorder<String> {
    PageRecorder::read_page(&monitor.daemon, "/metrics", |text| {
        let value = Samples::parse(text).get(CLUSTER_OK, &[]);
        vec![value.map_or_else(|| "absent".to_owned(), |value| value.to_string())]
    })
}

/// Checks that all critical findings and warnings so far are of these kinds.
#[track_caller]
fn check_kinds_above_info(recorder: &FindingRecorder, allowed: &[&str]) {
    for ((severity, kind, node), lasted) in recorder.above_info() {
        assert!(allowed.contains(&kind.as_str()), "{severity} {kind} of {node:?} for {lasted:?}");
    }
}

#[test]
fn return_of_a_killed_shard_is_reported_within_two_seconds() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let monitor = start_settled(&cluster, &[0], "");
    // Kill the replica first. Otherwise the cluster promotes it.
    let shard = [cluster.replicas_of(1)[0], 1];
    for node in shard {
        cluster.nodes[node].kill();
    }
    let lost = |value| monitor.daemon.until(LIMIT, NO_PRIMARY, &[("shard", SHARDS[1].0)], value);
    lost(1.0);
    pause(SECOND * 20);

    cluster.nodes[1].restart();
    let regained = lost(0.0);
    println!("primary after {regained:?}");
    // The limit is 2 s. One second is a margin for a busy machine.
    assert!(regained <= SECOND * 3, "primary after {regained:?}");
    assert_eq!(
        monitor.daemon.samples().get("redis_up", &[("node", &cluster.nodes[1].address())]),
        Some(1.0)
    );
}

#[test]
fn killed_cluster_master_returns_as_a_replica() {
    check_killed_master("redis-7.0.15");
}

#[test]
fn killed_cluster_master_returns_as_a_replica_on_valkey() {
    check_killed_master("valkey-9.1.2");
}

fn check_killed_master(version: &'static str) {
    let mut cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
    cluster.write("key", 300);
    // The daemon reports the master down before the cluster replaces it.
    let monitor = start_settled(&cluster, &[0, 1, 2], "down_after = '2s'");
    let (recorder, cluster_ok) =
        (FindingRecorder::start(&monitor.daemon), record_cluster_ok(&monitor));

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
    monitor.daemon.until(SOON, CLUSTER_OK, &[], 1.0);
    monitor.daemon.until(SOON, UNCOVERED_SLOTS, &[], 0.0);
    // The cluster still lists the dead node as a failed master, but it is no master of the shard.
    monitor.daemon.until_rounds(3);
    check_shards(&monitor.daemon.samples(), "cache");
    assert_eq!(
        (
            shard_value(&monitor, "redis_deployment_masters", "0"),
            shard_value(&monitor, NO_PRIMARY, "0")
        ),
        (Some(1.0), Some(0.0))
    );
    let without_replica = findings(&monitor, WITHOUT_REPLICA);
    assert_eq!(
        without_replica
            .iter()
            .map(|finding| (&finding["severity"], &finding["shard"]))
            .collect::<Vec<_>>(),
        [(&json!("warning"), &json!("0"))]
    );

    cluster.nodes[0].restart();
    cluster.until_healthy();
    monitor.daemon.until(
        SOON,
        "redis_role",
        &[("node", &cluster.nodes[0].address()), ("role", "replica")],
        1.0,
    );
    monitor.until_no_findings();
    monitor.daemon.until_rounds(12);
    until_discovered(&monitor, &cluster, "cache");
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[3]);
    assert_eq!(shard_events(&monitor, "0"), FAILOVER_EVENTS, "{:?}", monitor.daemon.events());
    check_only_shard(&monitor, "0");
    check_primary_change(&monitor, "0", old, new);
    // Until it receives the first message of another node, the restarted node considers itself a
    // master.
    assert_eq!(
        role_changes(&monitor),
        [role_change(new, "replica", "master"), role_change(old, "master", "replica")]
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
            "no events about node {node}"
        );
    }
    assert_eq!((shard_value(&monitor, UNREPLICATED_WRITES, "0"), cluster.keys()), (Some(0.0), 300));
    check_shards(&monitor.daemon.samples(), "cache");

    println!(
        "{version}: ok {:?}, not ok {:?}, absent {:?}; {:?}",
        cluster_ok.duration("1"),
        cluster_ok.duration("0"),
        cluster_ok.duration("absent"),
        recorder.durations()
    );
    assert_eq!(cluster_ok.duration("absent"), Duration::ZERO, "two masters were always up");
    assert!(cluster_ok.duration("0") < SECOND * 6, "{:?}", cluster_ok.duration("0"));
    let shown = [
        "RedisDown",
        "RedisNoPrimary",
        "RedisClusterDown",
        "RedisClusterSlotsUncovered",
        "RedisWritesBlocked",
        WITHOUT_REPLICA,
    ];
    check_kinds_above_info(
        &recorder,
        &[&shown[..], &["RedisReplicaLinkDown", "RedisReplicaOrphaned"]].concat(),
    );
}

#[test]
fn planned_cluster_failover_reports_exact_events() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let monitor = start_settled(&cluster, &[0], "");
    let (recorder, cluster_ok) =
        (FindingRecorder::start(&monitor.daemon), record_cluster_ok(&monitor));
    let (old, new) = (&cluster.nodes[1], &cluster.nodes[4]);

    cluster.failover(4);
    assert_eq!(cluster.until_failed_over(LIMIT, 1, 5461), 4);
    until_primary(&monitor, "cache", "5461", new);
    cluster.until_healthy();
    monitor.daemon.until_event(SOON * 2, "primary_changed");
    monitor.until_no_findings();
    // INFO commandstats is sent every 10 s.
    monitor.daemon.until_rounds(12);
    until_discovered(&monitor, &cluster, "cache");
    assert_eq!(
        shard_events(&monitor, "5461"),
        ["primary_changed"],
        "{:?}",
        monitor.daemon.events()
    );
    check_only_shard(&monitor, "5461");
    check_primary_change(&monitor, "5461", old, new);
    let mut roles = role_changes(&monitor);
    roles.sort_by_key(|role| role[1] == "master");
    assert_eq!(
        roles,
        [role_change(new, "replica", "master"), role_change(old, "master", "replica")]
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
        "full resyncs that the new primary served"
    );
    for node in [old, new] {
        assert_eq!(monitor.node_events_without_moves(node), ["role_changed"]);
        monitor.check_links_restored(node);
    }
    for node in [0, 2, 3, 5] {
        assert_eq!(
            monitor.node_events(&cluster.nodes[node]),
            Vec::<String>::new(),
            "no events about node {node}"
        );
    }
    check_shards(&monitor.daemon.samples(), "cache");
    assert_eq!(
        (shard_value(&monitor, UNREPLICATED_WRITES, "5461"), cluster.keys()),
        (Some(0.0), 300)
    );
    assert_eq!(
        (cluster_ok.duration("0"), cluster_ok.duration("absent")),
        (Duration::ZERO, Duration::ZERO),
        "the cluster was always ok"
    );
    println!("{:?}", recorder.durations());
    // The old master has no link while it becomes a replica.
    for ((severity, kind, node), lasted) in recorder.above_info() {
        let is_switching =
            kind == "RedisReplicaLinkDown" && node == old.address() && lasted < SECOND * 3;
        assert!(is_switching, "{severity} {kind} of {node:?} for {lasted:?}");
    }

    // A second failover back to the old master.
    cluster.failover(1);
    assert_eq!(cluster.until_failed_over(LIMIT, 4, 5461), 1);
    until_primary(&monitor, "cache", "5461", old);
    cluster.until_healthy();
    monitor.daemon.until(
        SOON * 2,
        "redis_deployment_primary_changes_total",
        &[("shard", "5461"), ("cause", "cluster")],
        2.0,
    );
    monitor.until_no_findings();
    assert_eq!(shard_events(&monitor, "5461"), ["primary_changed", "primary_changed"]);
    check_shards(&monitor.daemon.samples(), "cache");
}

#[test]
fn frozen_cluster_master_is_replaced_and_becomes_a_replica() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let monitor = start_settled(&cluster, &[0], "down_after = '2s'");
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
    monitor.daemon.until(SOON, CLUSTER_OK, &[], 1.0);
    monitor.daemon.until_rounds(3);
    assert_eq!(shard_value(&monitor, SPLIT_BRAIN, "10923"), Some(0.0));

    old.signal(Signal::Cont);
    monitor.daemon.until(SOON, "redis_role", &[("node", &old.address()), ("role", "replica")], 1.0);
    cluster.until_healthy();
    monitor.until_no_findings();
    monitor.daemon.until_rounds(3);
    // The failover may end before the silence of the old master is decided.
    let events = shard_events(&monitor, "10923");
    let is_expected = events == FAILOVER_EVENTS || events == ["primary_changed"];
    assert!(is_expected, "{events:?}: {:?}", monitor.daemon.events());
    check_only_shard(&monitor, "10923");
    check_primary_change(&monitor, "10923", old, new);
    assert_eq!(
        role_changes(&monitor),
        [role_change(new, "replica", "master"), role_change(old, "master", "replica")]
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
            "no events about node {node}"
        );
    }
    assert_eq!(
        (shard_value(&monitor, UNREPLICATED_WRITES, "10923"), cluster.keys()),
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
    check_kinds_above_info(
        &recorder,
        &[&shown[..], &["RedisReplicaLinkDown", "RedisReplicaOrphaned"]].concat(),
    );
}

#[test]
fn failover_within_down_after_reports_no_primary_lost() {
    let cluster = Cluster::start(&ClusterSetup::default());
    let monitor = start_settled(&cluster, &[0], "down_after = '30s'");
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[3]);
    old.signal(Signal::Stop);
    assert_eq!(cluster.until_failed_over(LIMIT, 0, 0), 3);
    until_primary(&monitor, "cache", "0", new);
    old.signal(Signal::Cont);
    cluster.until_healthy();
    monitor.daemon.until(SOON, "redis_role", &[("node", &old.address()), ("role", "replica")], 1.0);
    monitor.daemon.until_event(SOON * 2, "primary_changed");
    monitor.until_no_findings();
    assert_eq!(shard_events(&monitor, "0"), ["primary_changed"], "{:?}", monitor.daemon.events());
    check_primary_change(&monitor, "0", old, new);
    assert_eq!(
        role_changes(&monitor),
        [role_change(new, "replica", "master"), role_change(old, "master", "replica")]
    );
    assert_eq!(monitor.events("node_unreachable"), Vec::<Value>::new());
}

#[test]
fn only_a_shard_with_all_nodes_down_has_no_primary() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let monitor = start_settled(&cluster, &[0], "");
    // The replica is killed first so that it is not promoted.
    for node in [4, 1] {
        cluster.nodes[node].kill();
    }
    let finding = monitor.until_finding(SOON, "RedisClusterDown", "critical");
    let evidence = &finding["evidence"];
    monitor.daemon.until(SOON, CLUSTER_OK, &[], 0.0);
    assert_eq!(
        (&evidence["why"], finding["shard"].is_null(), finding["node"].is_null()),
        (&json!("majority"), true, true),
        "{finding}"
    );
    assert_eq!(evidence["masters"].as_f64(), Some(2.0), "{finding}");
    eventually(SOON, "all four nodes report that the cluster is down", || {
        let finding = monitor.daemon.finding("RedisClusterDown")?;
        (finding["evidence"]["ok"].as_f64() == Some(0.0)
            && finding["evidence"]["nodes"].as_array()?.len() == 4)
            .then_some(())
    });
    let alive = [0, 2, 3, 5].map(|node| cluster.nodes[node].address());
    check_names(
        &monitor.daemon.finding("RedisClusterDown").expect("a finding")["evidence"]["nodes"],
        &alive,
    );
    monitor.daemon.until(SOON, DOUBTFUL_NODES, &[], 4.0);
    monitor.daemon.until(SOON, UNCOVERED_SLOTS, &[], SHARDS[1].2);
    assert_eq!(cluster.info(0)["cluster_slots_fail"], "5462");
    let finding = monitor.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    assert_eq!(finding["evidence"]["slots"].as_f64(), Some(SHARDS[1].2), "{finding}");
    let lost = monitor.daemon.until_event(SOON, "primary_lost");
    assert_eq!((&lost["shard"], &lost["why"]), (&json!("5461"), &json!("all_down")));
    let finding = monitor.until_finding(SOON, "RedisNoPrimary", "critical");
    assert_eq!(
        (&finding["shard"], &finding["evidence"]["last_primary"]),
        (&json!("5461"), &json!(cluster.nodes[1].address())),
        "{finding}"
    );
    monitor.daemon.until_rounds(3);
    assert_eq!(findings(&monitor, "RedisNoPrimary").len(), 1);
    let samples = monitor.daemon.samples();
    check_shards(&samples, "cache");
    for (shard, ..) in SHARDS {
        let down = shard == "5461";
        let value = |series: &str| samples.get(series, &[("shard", shard)]);
        assert_eq!(value(NO_PRIMARY), Some(f64::from(u8::from(down))), "{shard}");
        assert_eq!(value("redis_deployment_masters"), Some(f64::from(u8::from(!down))), "{shard}");
        assert_eq!(samples.count(PRIMARY_INFO, &[("shard", shard)]), usize::from(!down), "{shard}");
        // Without full coverage no shard accepts writes.
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
    cluster.until_healthy();
    until_discovered(&monitor, &cluster, "cache");
    monitor.until_no_findings();
    monitor.daemon.until_rounds(3);
    assert_eq!(
        shard_events(&monitor, "5461"),
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
            "no events about node {node}"
        );
    }
    assert_eq!(cluster.keys(), 300);
}

#[test]
fn shard_whose_replica_cannot_take_over_has_no_primary() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let monitor = start_settled(&cluster, &[1], "");
    // The replica is up but must not take over, like a replica whose data is too old.
    let passive_replica = cluster.replicas_of(0)[0];
    cluster.nodes[passive_replica].execute(&[
        "CONFIG",
        "SET",
        "cluster-replica-no-failover",
        "yes",
    ]);
    cluster.nodes[0].kill();
    let finding = monitor.until_finding(SOON, "RedisNoPrimary", "critical");
    assert_eq!(
        (&finding["shard"], &finding["evidence"]["last_primary"]),
        (&json!("0"), &json!(cluster.nodes[0].address())),
        "{finding}"
    );
    monitor.until_finding(SOON, "RedisClusterDown", "critical");
    monitor.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    let node = cluster.nodes[passive_replica].address();
    monitor.daemon.until(
        SOON,
        "redis_replica_orphaned",
        &[("node", &node), ("why", "dead_node")],
        1.0,
    );
    monitor.daemon.until(SOON, "redis_link_state", &[("node", &node), ("state", "lost")], 1.0);
    assert_eq!(findings(&monitor, "RedisNoPrimary").len(), 1, "no finding about another shard");
    assert_eq!(monitor.daemon.finding("RedisSplitBrain"), None);
    assert_eq!(monitor.daemon.count("primary_changed"), 0);

    cluster.nodes[passive_replica].execute(&["CONFIG", "SET", "cluster-replica-no-failover", "no"]);
    until_primary(&monitor, "cache", "0", &cluster.nodes[passive_replica]);
    cluster.nodes[0].restart();
    cluster.until_healthy();
    until_discovered(&monitor, &cluster, "cache");
    monitor.until_no_findings();
    check_only_shard(&monitor, "0");
    check_primary_change(&monitor, "0", &cluster.nodes[0], &cluster.nodes[passive_replica]);
    assert_eq!(cluster.keys(), 300);
}

#[test]
fn replica_frozen_during_failover_follows_the_new_master() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let promoted_replica = cluster.replicas_of(0)[0];
    let frozen_replica = cluster.add_replica(0);
    let monitor = start_settled(&cluster, &[1], "");
    cluster.nodes[frozen_replica].signal(Signal::Stop);
    monitor.daemon.until(
        SOON,
        "redis_up",
        &[("node", &cluster.nodes[frozen_replica].address())],
        0.0,
    );
    cluster.nodes[0].kill();
    until_primary(&monitor, "cache", "0", &cluster.nodes[promoted_replica]);
    cluster.nodes[frozen_replica].signal(Signal::Cont);
    monitor.daemon.until(
        LIMIT,
        "redis_link_state",
        &[("node", &cluster.nodes[frozen_replica].address()), ("state", "up")],
        1.0,
    );
    cluster.nodes[0].restart();
    cluster.until_healthy();
    until_discovered(&monitor, &cluster, "cache");
    monitor.until_no_findings();
    check_only_shard(&monitor, "0");
    check_primary_change(&monitor, "0", &cluster.nodes[0], &cluster.nodes[promoted_replica]);
    let events = monitor.node_events_without_moves(&cluster.nodes[frozen_replica]);
    assert_eq!(events, ["node_unreachable", "node_back"], "the frozen replica was never a master");
}
