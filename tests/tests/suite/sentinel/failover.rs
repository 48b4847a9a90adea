//! Failovers by real Sentinels and related failures, each with its exact events.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use tests::{
    MASTER, SECOND, SentinelDeployment, SentinelSetup, Server, Signal, Stopwatch, eventually, pause,
};

use crate::monitor::{
    FindingRecorder, LIMIT, Monitor, PRIMARY_INFO, SENTINEL_DISAGREEMENT, SOON, SPLIT_BRAIN,
    UNREPLICATED_WRITES, check_names, write_keys,
};

/// Events of a deployment whose old primary is never down, or returns within `down_after`, and is
/// demoted later.
const PLANNED_FAILOVER: [&str; 3] = ["primary_changed", "split_brain_began", "split_brain_ended"];

/// Events of a deployment whose primary is down for longer than `down_after` and returns after the
/// failover.
const UNPLANNED_FAILOVER: [&str; 5] = [
    "primary_lost",
    "primary_changed",
    "primary_regained",
    "split_brain_began",
    "split_brain_ended",
];

#[test]
fn planned_sentinel_failover_reports_exact_events() {
    check_planned_failover("redis-7.0.15");
}

#[test]
fn planned_sentinel_failover_reports_exact_events_on_valkey() {
    check_planned_failover("valkey-9.1.2");
}

fn check_planned_failover(version: &'static str) {
    let group = SentinelDeployment::start(&SentinelSetup { version, ..SentinelSetup::default() });
    write_keys(group.primary(), "key", 100);
    let monitor = Monitor::start_settled(&group, "");
    let clock = Arc::new(Stopwatch::start());
    let listeners: Vec<_> = (0..3).map(|sentinel| group.listen(sentinel, &clock)).collect();
    let recorder = FindingRecorder::start(&monitor.daemon);

    let before = group.failover();
    let (promoted, shown_at) = std::thread::scope(|scope| {
        let promoted = scope.spawn(|| {
            let replicas: Vec<_> =
                group.nodes.iter().filter(|node| node.address() != before).collect();
            let master = || {
                replicas
                    .iter()
                    .find(|node| node.role().as_deref() == Some("master"))
                    .map(|node| node.address())
            };
            let (address, _) = eventually(LIMIT, "a replica is promoted", master);
            (address, clock.elapsed())
        });
        eventually(LIMIT, "another node is shown as primary", || {
            let samples = monitor.daemon.samples();
            (samples.count(PRIMARY_INFO, &[]) == 1
                && samples.count(PRIMARY_INFO, &[("node", &before)]) == 0)
                .then_some(())
        });
        (promoted.join().expect("promoted"), clock.elapsed())
    });
    let (after, promoted_at) = promoted;
    // The Sentinels decide when two of the three name the new primary.
    let mut switched: Vec<_> =
        listeners.iter().map(|listener| listener.until(LIMIT, "+switch-master").at).collect();
    switched.sort_unstable();
    let switched_at = switched[1];
    println!(
        "{version}: promoted at {promoted_at:?}, on /metrics at {shown_at:?}, \
         second +switch-master at {switched_at:?}"
    );
    assert!(
        shown_at <= switched_at + SECOND.mul_f64(1.5),
        "shown at {shown_at:?}, but published at {switched_at:?}: the interval is 1 s"
    );
    monitor.until_primary(&after);
    assert_eq!(group.until_failed_over(LIMIT, &before), after);

    monitor.daemon.until_event(LIMIT, "split_brain_ended");
    group.until_replicating(LIMIT);
    monitor.until_no_findings();
    // INFO commandstats is sent every 10 s.
    monitor.daemon.until_rounds(12);
    check_planned_events(&monitor, &before, &after);
    check_reconfiguration(&monitor, &group, &after);
    assert_eq!(
        monitor
            .daemon
            .samples()
            .get("redis_deployment_primary_changes_total", &[("cause", "sentinel")]),
        Some(1.0)
    );
    assert_eq!(
        (monitor.daemon.value(UNREPLICATED_WRITES), monitor.daemon.value(SENTINEL_DISAGREEMENT)),
        (Some(0.0), Some(0.0))
    );
    for node in &group.nodes {
        let expected: &[&str] =
            if [&before, &after].contains(&&node.address()) { &["role_changed"] } else { &[] };
        assert_eq!(monitor.node_events_without_moves(node), expected, "{}", node.address());
        assert_eq!(node.execute(&["DBSIZE"]), ["100"]);
    }
    check_sentinel_events(
        &monitor,
        &group,
        &format!("{MASTER} {before} {after}").replace(':', " "),
    );

    println!("{version}: {:?}", recorder.durations());
    for ((severity, kind, node), lasted) in recorder.above_info() {
        // A replica has no link while it switches to the new primary, and the old primary has none
        // while it becomes a replica.
        let is_switching = ["RedisReplicaLinkDown", "RedisReplicaOrphaned"]
            .contains(&kind.as_str())
            && node != after;
        assert!(is_switching && lasted < SECOND * 5, "{severity} {kind} of {node} for {lasted:?}");
    }
    assert!(recorder.durations().contains_key(&(
        "info".to_owned(),
        "RedisSplitBrain".to_owned(),
        String::new()
    )));
}

/// Checks the events about the deployment and about the old and the new primary.
#[track_caller]
fn check_planned_events(monitor: &Monitor, before: &str, after: &str) {
    // Two nodes are masters before a majority of the Sentinels names the new one.
    let mut kinds = monitor.deployment_events_without_disputes();
    kinds.sort_unstable();
    assert_eq!(kinds, PLANNED_FAILOVER, "{:?}", monitor.daemon.events());
    let changed = &monitor.events("primary_changed")[0];
    assert_eq!(
        (&changed["from"], &changed["to"], &changed["cause"]),
        (&json!(before), &json!(after), &json!("sentinel"))
    );
    check_names(
        &monitor.events("split_brain_began")[0]["masters"],
        &[before.to_owned(), after.to_owned()],
    );
    let ended = &monitor.events("split_brain_ended")[0];
    assert_eq!(ended["unreplicated_writes"], 0, "{ended}");
    assert!(
        ended["seconds"].as_f64().is_some_and(|seconds| (5.0..25.0).contains(&seconds)),
        "{ended}"
    );
    let roles: Vec<_> = monitor
        .events("role_changed")
        .iter()
        .map(|event| json!([event["node"], event["from"], event["to"]]))
        .collect();
    assert_eq!(roles, [json!([after, "replica", "master"]), json!([before, "master", "replica"])]);
}

/// Checks that the events about the reconfiguration of nodes match the statistics of the servers.
#[track_caller]
fn check_reconfiguration(monitor: &Monitor, group: &SentinelDeployment, after: &str) {
    let synced = group.node_at(after).section("stats")["sync_full"].clone();
    assert_eq!(
        monitor.events("full_resync").len().to_string(),
        synced,
        "full resyncs that the new primary served"
    );
    for node in &group.nodes {
        let address = node.address();
        let reported = || -> BTreeSet<String> {
            let events = monitor.events("reconfigured");
            let of_node = events.iter().filter(|event| event["node"] == address);
            of_node.map(|event| event["command"].as_str().expect("a command").to_owned()).collect()
        };
        let (mut commands, mut expected) = (reported(), topology_commands(node));
        // The next INFO commandstats has all commands.
        eventually(SOON, "all topology commands are reported", || {
            (commands, expected) = (reported(), topology_commands(node));
            (commands == expected).then_some(())
        });
        monitor.check_links_restored(node);
    }
}

/// Returns the topology commands that a node executed, from its command statistics.
fn topology_commands(node: &Server) -> BTreeSet<String> {
    let commands = [
        "replicaof",
        "slaveof",
        "failover",
        "config_set",
        "config_rewrite",
        "client_kill",
        "debug",
        "shutdown",
    ];
    let statistics = node.section("commandstats");
    let names = statistics
        .keys()
        .filter_map(|key| key.strip_prefix("cmdstat_"))
        .map(|name| name.replace('|', "_"));
    names.filter(|name| commands.contains(&name.as_str())).collect()
}

/// Checks that each Sentinel published `+switch-master` once with this payload, and that hello
/// messages are not recorded.
#[track_caller]
fn check_sentinel_events(monitor: &Monitor, group: &SentinelDeployment, payload: &str) {
    let events = monitor.events("sentinel_event");
    for sentinel in &group.sentinels {
        let of_sentinel = events.iter().filter(|event| event["node"] == sentinel.address());
        let payloads: Vec<_> = of_sentinel
            .filter(|event| event["channel"] == "+switch-master")
            .map(|event| &event["payload"])
            .collect();
        assert_eq!(payloads, [payload], "{}", sentinel.address());
    }
    assert!(events.iter().all(|event| event["channel"] != "__sentinel__:hello"), "{events:?}");
    assert!(
        (20..=90).contains(&events.len()),
        "a failover has 34 to 51 messages, not {}",
        events.len()
    );
}

#[test]
fn killed_primary_is_replaced_and_demoted_on_return() {
    check_killed_primary("redis-7.0.15");
}

#[test]
fn killed_primary_is_replaced_and_demoted_on_return_on_valkey() {
    check_killed_primary("valkey-9.1.2");
}

fn check_killed_primary(version: &'static str) {
    let mut group = SentinelDeployment::start(&SentinelSetup {
        version,
        down_after: SECOND * 4,
        ..SentinelSetup::default()
    });
    write_keys(group.primary(), "key", 100);
    // `down_after` is shorter than that of the Sentinels, and longer than one missed round.
    let monitor = Monitor::start_settled(&group, "down_after = '2s'");
    let before = group.primary().address();
    let old = group.index_of(&before);

    group.nodes[old].kill();
    monitor.daemon.until(SOON, "redis_up", &[("node", &before)], 0.0);
    assert_eq!(monitor.until_finding(SOON, "RedisDown", "critical")["node"], before);
    let after = group.until_failed_over(LIMIT, &before);
    monitor.until_primary(&after);
    // Sentinels list the old primary as a replica that is down.
    eventually(SOON, "the dead node is no longer the primary", || {
        (monitor.daemon.finding("RedisDown")?["severity"] == "warning").then_some(())
    });
    assert_eq!(monitor.daemon.value(SPLIT_BRAIN), Some(0.0));

    group.nodes[old].restart();
    monitor.daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    assert_eq!(monitor.daemon.finding("RedisSplitBrain").expect("a finding")["severity"], "info");
    monitor.daemon.until_event(LIMIT, "split_brain_ended");
    group.until_replicating(LIMIT);
    monitor.until_no_findings();
    monitor.daemon.until_rounds(2);
    assert_eq!(
        monitor.deployment_events_without_disputes(),
        UNPLANNED_FAILOVER,
        "{:?}",
        monitor.daemon.events()
    );
    assert_eq!(monitor.events("primary_lost")[0]["why"], "primary_down");
    let changed = &monitor.events("primary_changed")[0];
    assert_eq!(
        (&changed["from"], &changed["to"], &changed["cause"]),
        (&json!(before), &json!(after), &json!("sentinel"))
    );
    assert_eq!(monitor.events("split_brain_ended")[0]["unreplicated_writes"], 0);
    assert_eq!(
        (
            monitor.daemon.value(UNREPLICATED_WRITES),
            monitor.daemon.value("redis_deployment_emptied_total")
        ),
        (Some(0.0), Some(0.0))
    );

    for node in &group.nodes {
        let (address, mut events) = (node.address(), monitor.node_events(node));
        let links = |kind: &str| events.iter().filter(|event| *event == kind).count();
        monitor.check_links_restored(node);
        if address == before {
            assert_eq!(
                monitor.node_events_without_moves(node),
                ["node_unreachable", "node_back", "restarted", "role_changed"],
                "{:?}",
                monitor.daemon.events()
            );
            assert_eq!(links("full_resync"), 1, "{events:?}");
        } else {
            assert!(links("link_dropped") >= 1, "{address} lost its primary: {events:?}");
            events.retain(|kind| {
                !kind.starts_with("link_")
                    && !["reconfigured", "full_resync"].contains(&kind.as_str())
            });
            let expected: &[&str] = if address == after { &["role_changed"] } else { &[] };
            assert_eq!(events, expected, "{address}");
        }
        assert_eq!(node.execute(&["DBSIZE"]), ["100"]);
    }
}

#[test]
fn replaced_frozen_primary_loses_writes_after_it_resumes() {
    const WRITES: u32 = 20;
    let group = SentinelDeployment::start(&SentinelSetup {
        down_after: SECOND * 4,
        ..SentinelSetup::default()
    });
    write_keys(group.primary(), "key", 100);
    let monitor = Monitor::start_settled(&group, "down_after = '2s'");
    let before = group.primary().address();
    let old = group.node_at(&before);

    let frozen = Stopwatch::start();
    old.signal(Signal::Stop);
    monitor.daemon.until(
        SOON,
        "redis_down_reason",
        &[("node", &before), ("reason", "timeout")],
        1.0,
    );
    let after = group.until_failed_over(LIMIT, &before);
    monitor.until_primary(&after);
    // There is no split brain while the old primary is frozen.
    pause((SECOND * 12).saturating_sub(frozen.elapsed()));
    assert_eq!(
        (monitor.daemon.value(SPLIT_BRAIN), monitor.daemon.value(UNREPLICATED_WRITES)),
        (Some(0.0), Some(0.0))
    );

    old.signal(Signal::Cont);
    monitor.daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    write_keys(old, "lost", WRITES);
    write_keys(group.node_at(&after), "kept", 5);
    monitor.daemon.until(SOON, UNREPLICATED_WRITES, &[], f64::from(WRITES));
    // Sentinel demotes the old primary within 15 s.
    monitor.until_finding(SOON, "RedisSplitBrain", "warning");
    assert_eq!(
        monitor.daemon.until_event(LIMIT, "split_brain_ended")["unreplicated_writes"],
        WRITES
    );
    group.until_replicating(LIMIT);
    monitor.until_finding(SOON, "RedisWritesLost", "warning");
    monitor.daemon.until_exact_findings(LIMIT, &["RedisWritesLost"]);
    assert_eq!(
        monitor.deployment_events_without_disputes(),
        UNPLANNED_FAILOVER,
        "{:?}",
        monitor.daemon.events()
    );
    assert_eq!(monitor.events("primary_changed")[0]["cause"], "sentinel");
    assert_eq!(
        monitor.node_events_without_moves(old),
        ["node_unreachable", "node_back", "role_changed"]
    );
    assert_eq!(monitor.node_events_without_moves(group.node_at(&after)), ["role_changed"]);
    assert_eq!(monitor.daemon.value(UNREPLICATED_WRITES), Some(f64::from(WRITES)));
    for node in &group.nodes {
        assert_eq!(
            node.execute(&["DBSIZE"]),
            ["105"],
            "every node has the data of the new primary"
        );
    }
}

#[test]
fn manual_demotion_means_no_primary_until_sentinels_react() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let monitor = Monitor::start_settled(&group, "");
    let before = group.primary().address();
    let (old, first) = (group.node_at(&before), group.replicas()[0]);

    assert_eq!(old.execute(&["REPLICAOF", &first.host, &first.port.to_string()]), ["OK"]);
    assert_eq!(monitor.daemon.until_event(SOON, "primary_lost")["why"], "loop");
    monitor.until_finding(SOON, "RedisNoPrimary", "critical");
    monitor.until_finding(SOON, "RedisReplicationLoop", "critical");
    let samples = monitor.daemon.samples();
    assert_eq!(
        (samples.count(PRIMARY_INFO, &[]), samples.count(SENTINEL_DISAGREEMENT, &[])),
        (0, 0),
        "no primary is known"
    );
    let finding = monitor.until_finding(LIMIT, "RedisSentinelDisagreement", "info");
    assert_eq!(finding["evidence"]["why"], "role_reported", "{finding}");
    check_names(&finding["evidence"]["named"], std::slice::from_ref(&before));
    for sentinel in &group.sentinels {
        let labels = [("node", &*sentinel.address())];
        monitor.daemon.until(SOON, "redis_sentinel_master_role_mismatch", &labels, 1.0);
        assert_eq!(sentinel.master(MASTER)["role-reported"], "slave");
    }
    // Sentinels tolerate the wrong role for a while.
    assert_eq!(group.primary_according_to(0).as_deref(), Some(&*before));

    let after = group.until_failed_over(LIMIT, &before);
    monitor.until_primary(&after);
    group.until_replicating(LIMIT);
    monitor.until_no_findings();
    monitor.daemon.until_rounds(12);
    assert_eq!(
        monitor.deployment_events(),
        ["primary_lost", "primary_changed", "primary_regained"],
        "{:?}",
        monitor.daemon.events()
    );
    let changed = &monitor.events("primary_changed")[0];
    assert_eq!(
        (&changed["from"], &changed["to"], &changed["cause"]),
        (&json!(before), &json!(after), &json!("sentinel"))
    );
    for address in [&before, &after] {
        assert_eq!(monitor.node_events_without_moves(group.node_at(address)), ["role_changed"]);
    }
    let is_manual =
        |event: &serde_json::Value| event["node"] == before && event["command"] == "replicaof";
    assert_eq!(monitor.events("reconfigured").iter().filter(|event| is_manual(event)).count(), 1);
    assert_eq!(
        (monitor.daemon.value(UNREPLICATED_WRITES), monitor.daemon.value(SENTINEL_DISAGREEMENT)),
        (Some(0.0), Some(0.0))
    );
    for sentinel in &group.sentinels {
        assert_eq!(monitor.node_value("redis_sentinel_master_role_mismatch", sentinel), Some(0.0));
    }
}

#[test]
fn lost_quorum_is_reported_while_the_primary_is_up() {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let monitor = Monitor::start_settled(&group, "");
    let [remaining, first_killed, second_killed] =
        [0, 1, 2].map(|sentinel| group.sentinels[sentinel].address());
    for sentinel in &mut group.sentinels[1..] {
        sentinel.kill();
    }
    let killed = Stopwatch::start();
    monitor.daemon.until(SOON, "redis_sentinel_quorum_ok", &[("node", &remaining)], 0.0);
    let took = killed.elapsed();
    assert!(
        group.sentinels[0].execute(&["SENTINEL", "CKQUORUM", MASTER])[0].starts_with("-NOQUORUM")
    );
    println!("quorum lost {took:?} after the kill");
    assert!(took < SECOND * 8, "{took:?}: the Sentinel itself takes 3 s");
    let finding = monitor.until_finding(SOON, "RedisSentinelQuorumLost", "warning");
    let evidence = &finding["evidence"];
    check_names(&evidence["sentinels"], std::slice::from_ref(&remaining));
    assert_eq!(
        [&evidence["usable"], &evidence["quorum"], &evidence["known"]]
            .map(serde_json::Value::as_f64),
        [1.0, 2.0, 3.0].map(Some)
    );
    for sentinel in [&first_killed, &second_killed] {
        monitor.daemon.until(SOON, "redis_up", &[("node", sentinel)], 0.0);
        assert!(
            monitor
                .daemon
                .findings()
                .contains(&("RedisSentinelDown".to_owned(), Some(sentinel.clone())))
        );
    }
    assert_eq!(
        monitor.node_value("redis_sentinel_master_ok_sentinels", &group.sentinels[0]),
        Some(1.0)
    );
    assert_eq!(monitor.daemon.value(SENTINEL_DISAGREEMENT), Some(0.0));
    assert_eq!(monitor.daemon.samples().count(PRIMARY_INFO, &[]), 1, "the primary is up");
    monitor.until_finding(SECOND * 80, "RedisSentinelQuorumLost", "critical");
    assert!(killed.elapsed() > SECOND * 60, "{:?}", killed.elapsed());

    for sentinel in &mut group.sentinels[1..] {
        sentinel.restart();
    }
    monitor.daemon.until(LIMIT, "redis_sentinel_quorum_ok", &[("node", &remaining)], 1.0);
    monitor.until_all_up(&group);
    monitor.until_no_findings();
    monitor.daemon.until_rounds(2);
    assert_eq!(monitor.deployment_events(), Vec::<String>::new(), "{:?}", monitor.daemon.events());
    for sentinel in &group.sentinels[1..] {
        let events = monitor.node_events(sentinel);
        assert_eq!(events[..2], ["node_unreachable", "node_back"], "{:?}", monitor.daemon.events());
        assert!(events[2..].iter().all(|kind| kind == "restarted"), "{events:?}");
    }
    for node in group.nodes.iter().chain(&group.sentinels[..1]) {
        assert_eq!(monitor.node_events(node), Vec::<String>::new());
    }
}

#[test]
fn sentinel_frozen_during_failover_is_down_then_in_tilt() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let monitor = Monitor::start_settled(&group, "");
    let frozen = &group.sentinels[2];
    frozen.signal(Signal::Stop);
    monitor.daemon.until(SOON, "redis_up", &[("node", &frozen.address())], 0.0);
    let finding = monitor.until_finding(SOON, "RedisSentinelDown", "warning");
    assert_eq!(
        (&finding["node"], &finding["evidence"]["reason"]),
        (&json!(frozen.address()), &json!("timeout"))
    );
    let before = group.failover();
    let after = eventually(LIMIT, "failed over", || {
        group.primary_according_to(0).filter(|named| *named != before)
    })
    .0;
    monitor.until_primary(&after);
    monitor.daemon.until_event(LIMIT, "split_brain_ended");
    assert_eq!(
        monitor.daemon.value(SENTINEL_DISAGREEMENT),
        Some(0.0),
        "a Sentinel that is down does not count as disagreement"
    );
    assert_eq!(
        monitor.node_value("redis_sentinel_quorum_ok", &group.sentinels[0]),
        Some(1.0),
        "two of three Sentinels are a quorum"
    );

    frozen.signal(Signal::Cont);
    let resumed = Stopwatch::start();
    monitor.daemon.until(SOON, "redis_sentinel_tilt", &[("node", &frozen.address())], 1.0);
    assert_eq!(frozen.section("sentinel")["sentinel_tilt"], "1");
    assert_eq!(
        monitor.until_finding(SOON, "RedisSentinelTilt", "warning")["node"],
        frozen.address()
    );
    group.until_all_report(LIMIT, &after);
    monitor.daemon.until(LIMIT, "redis_sentinel_tilt", &[("node", &frozen.address())], 0.0);
    println!("tilt ended after {:?}", resumed.elapsed());
    assert!(
        resumed.elapsed() > SECOND * 20 && resumed.elapsed() < SECOND * 45,
        "a Sentinel stays in tilt for 30 s"
    );
    monitor.until_no_findings();
    assert_eq!(monitor.daemon.value(SENTINEL_DISAGREEMENT), Some(0.0));
    check_planned_events(&monitor, &before, &after);
    assert_eq!(monitor.node_events(frozen), ["node_unreachable", "node_back"]);
    let labels = [("node", &*frozen.address()), ("address", &*after)];
    assert_eq!(monitor.daemon.samples().get("redis_sentinel_master_info", &labels), Some(1.0));
}

#[test]
fn daemon_started_after_a_failover_reports_none() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let before = group.failover();
    let after = group.until_failed_over(LIMIT, &before);
    let monitor = Monitor::start(&group.deployment("sessions", ""));
    monitor.until_primary(&after);
    group.until_replicating(LIMIT);
    monitor.until_no_findings();
    monitor.daemon.until_rounds(3);
    assert_eq!(monitor.events("primary_changed"), Vec::<serde_json::Value>::new());
    let began = monitor.events("split_brain_began").len();
    assert_eq!(began, monitor.events("split_brain_ended").len(), "{:?}", monitor.daemon.events());
    assert_eq!(monitor.daemon.value(UNREPLICATED_WRITES), Some(0.0));
    let epochs = group
        .sentinels
        .iter()
        .map(|sentinel| monitor.node_value("redis_sentinel_master_config_epoch", sentinel));
    assert_eq!(epochs.collect::<Vec<_>>(), [Some(1.0); 3]);
}
