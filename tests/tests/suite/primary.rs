//! The primary of a deployment on real servers: its loss, its changes and their causes.

use std::time::Duration;

use serde_json::Value;
use tests::{
    Daemon, Redis, SECOND, Signal, Stopwatch, deployment, diagnose, eventually, pause,
    primary_with_replica, primary_with_two_replicas,
};

/// Timeout for changes that show within a few rounds, also on a busy machine.
const SOON: Duration = Duration::from_secs(10);

const REPLICATION_LOOP: &str = "redis_deployment_replication_loop";
const NO_PRIMARY: &str = "redis_deployment_no_primary";
const NO_PRIMARY_SECONDS: &str = "redis_deployment_no_primary_seconds_total";
const SPLIT_BRAIN: &str = "redis_deployment_split_brain";
const SPLIT_BRAIN_SECONDS: &str = "redis_deployment_split_brain_seconds_total";
const UNREPLICATED_WRITES: &str = "redis_deployment_unreplicated_writes_total";
const UNRELATED_MASTERS: &str = "redis_deployment_unrelated_masters";

#[test]
fn replication_loop_is_detected_while_its_links_are_up() {
    check_replication_loop("redis-7.0.15", 1.0);
}

#[test]
fn replication_loop_is_detected_on_6_2() {
    check_replication_loop("redis-6.2.14", 0.0);
}

/// Makes the primary a replica of its own replica. `link_up` is the value of `redis_master_link_up`
/// that the two nodes of the loop report.
fn check_replication_loop(version: &'static str, link_up: f64) {
    let (a, b, c, daemon) = primary_with_two_replicas(Redis::with_version(version, &[]));
    assert_eq!(
        (
            daemon.value(REPLICATION_LOOP),
            daemon.value(NO_PRIMARY),
            daemon.value(NO_PRIMARY_SECONDS)
        ),
        (Some(0.0), Some(0.0), Some(0.0))
    );

    let stopwatch = Stopwatch::start();
    a.replicate_from(&b);
    daemon.until(SOON, REPLICATION_LOOP, &[], 1.0);
    daemon.until(SOON, NO_PRIMARY, &[], 1.0);
    for node in [&a, &b] {
        daemon.until(SOON, "redis_master_link_up", &[("node", &node.address())], link_up);
    }
    assert_eq!(daemon.until_event(SOON, "primary_lost")["why"], "loop");
    daemon.until_found(SOON, "RedisReplicationLoop");
    daemon.until_found(SOON, "RedisNoPrimary");
    assert_eq!(
        daemon.samples().count("redis_deployment_primary_info", &[]),
        0,
        "no node is the primary"
    );
    let (code, text, findings) = diagnose(&[&a, &b, &c]);
    println!("{text}");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("$FORMER_PRIMARY_HOST"), "diagnose did not see the primary: {text}");
    let command = format!("redis-cli -h 127.0.0.1 -p {} replicaof no one", a.port);
    for runbook in ["RedisReplicationLoop", "RedisNoPrimary"] {
        let page = daemon.get(&format!("/runbooks/{runbook}?deployment=default"), "text/html");
        assert!(page.text.contains(&command), "{}", page.text);
    }
    for kind in ["RedisReplicationLoop", "RedisNoPrimary"] {
        assert!(findings.contains(&(kind.to_owned(), None)), "{findings:?}");
        assert_eq!(daemon.severity(kind).as_deref(), Some("critical"));
    }

    a.promote();
    daemon.until_event(SOON, "primary_regained");
    assert_eq!((daemon.value(REPLICATION_LOOP), daemon.value(NO_PRIMARY)), (Some(0.0), Some(0.0)));
    daemon.until_primary(SOON, &a, "sole");
    let (elapsed, counted) =
        (stopwatch.elapsed().as_secs_f64(), daemon.value(NO_PRIMARY_SECONDS).expect("seconds"));
    assert!(counted >= 1.0 && counted <= elapsed + 1.0, "{counted} s of at most {elapsed} s");
    for replica in [&b, &c] {
        daemon.until_link(SOON * 2, replica, "up");
    }
    assert!(
        daemon.severity("RedisReplicationLoop").is_none()
            && daemon.severity("RedisNoPrimary").is_none()
    );
    let (code, text, _) = diagnose(&[&a, &b, &c]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!((daemon.count("primary_lost"), daemon.count("primary_changed")), (1, 0));
}

#[test]
fn repaired_replication_loop_leaves_no_finding() {
    let (a, b, c, daemon) = primary_with_two_replicas(Redis::start(&[]));
    a.replicate_from(&b);
    daemon.until(SOON, REPLICATION_LOOP, &[], 1.0);
    a.promote();
    daemon.until_primary(SOON, &a, "sole");
    for replica in [&b, &c] {
        daemon.until_link(SOON * 2, replica, "up");
    }
    daemon.until_no_findings(SECOND * 5);
}

#[test]
fn failover_command_is_the_cause_without_a_split_brain() {
    for version in ["redis-7.0.15", "valkey-9.1.2"] {
        let (a, b, daemon) = primary_with_replica(Redis::with_version(version, &[]));
        for key in 0..100 {
            a.cli(&["SET", &format!("key{key}"), "1"]);
        }
        assert_eq!(a.cli(&["FAILOVER"]).trim(), "OK");
        let changed = daemon.until_event(SOON, "primary_changed");
        assert_eq!(
            (&changed["from"], &changed["to"], &changed["cause"]),
            (&a.address().into(), &b.address().into(), &"failover_command".into())
        );
        daemon.until_primary(SOON, &b, "sole");
        daemon.until_rounds(2);
        assert_eq!(
            daemon
                .samples()
                .get("redis_deployment_primary_changes_total", &[("cause", "failover_command")]),
            Some(1.0)
        );
        assert_eq!(
            (daemon.value(UNREPLICATED_WRITES), daemon.value(SPLIT_BRAIN_SECONDS)),
            (Some(0.0), Some(0.0))
        );
        for kind in ["split_brain_began", "lagging_promotion"] {
            assert_eq!(daemon.count(kind), 0, "{version}: {:?}", daemon.events());
        }
        assert_eq!(b.cli(&["DBSIZE"]).trim(), "100");
        daemon.until_no_findings(SECOND * 5);
    }
}

#[test]
fn failover_command_seen_in_two_rounds_keeps_its_cause() {
    let (a, b, daemon) = primary_with_replica(Redis::start(&[]));
    daemon.until_rounds(1);
    // The primary demotes itself by force. The frozen replica takes over only after it resumes.
    b.signal(Signal::Stop);
    a.cli(&["SET", "key", "1"]);
    a.cli(&["FAILOVER", "TO", "127.0.0.1", &b.port.to_string(), "FORCE", "TIMEOUT", "100"]);
    daemon.until(SOON, "redis_role", &[("node", &a.address()), ("role", "replica")], 1.0);
    b.signal(Signal::Cont);
    let changed = daemon.until_event(SOON, "primary_changed");
    assert_eq!(
        (&changed["to"], &changed["cause"]),
        (&b.address().into(), &"failover_command".into()),
        "{:?}",
        daemon.events()
    );
    daemon.until_primary(SOON, &b, "sole");
    assert_eq!(daemon.count("split_brain_began"), 0);
}

#[test]
fn lagging_promotion_reports_the_missing_bytes() {
    let (mut a, b, daemon) = primary_with_replica(Redis::start(&[]));

    // More data than the socket buffers hold. The rest is lost with the primary.
    b.signal(Signal::Stop);
    a.cli(&[
        "EVAL",
        "for i = 1, 32 do redis.call('SET', 'key' .. i, string.rep('x', 1048576)) end",
        "0",
    ]);
    let written = a.number("master_repl_offset");
    eventually(SOON, "a round has the new offset", || {
        (daemon.samples().get("redis_master_repl_offset", &[("node", &a.address())])?
            >= written as f64)
            .then_some(())
    });
    a.kill();
    b.signal(Signal::Cont);
    b.promote();

    let lagging = daemon.until_event(SOON * 2, "lagging_promotion");
    let taken_over = b.number("second_repl_offset") - 1;
    let (reported, missing) = (lagging["bytes"].as_u64().expect("bytes"), written - taken_over);
    println!("{missing} bytes missing, {reported} reported");
    assert!(missing > 1 << 20, "only {missing} bytes are missing");
    // The primary may have sent a ping between the two measurements.
    assert!(reported.abs_diff(missing) < 100, "{reported} reported, {missing} missing");
    assert_eq!(lagging["node"], b.address());
    let changed = daemon.until_event(SOON, "primary_changed");
    assert_eq!((&changed["to"], &changed["cause"]), (&b.address().into(), &"operator".into()));
    assert_eq!((daemon.count("lagging_promotion"), daemon.count("split_brain_began")), (1, 0));
}

#[test]
fn promotion_of_an_up_to_date_replica_is_not_lagging() {
    let (mut a, b, daemon) = primary_with_replica(Redis::start(&[]));
    a.cli(&[
        "EVAL",
        "for i = 1, 1000 do redis.call('SET', 'key' .. i, string.rep('x', 1024)) end",
        "0",
    ]);
    eventually(SOON, "all keys are replicated", || {
        (b.cli(&["DBSIZE"]).trim() == "1000").then_some(())
    });
    daemon.until_rounds(1);
    a.kill();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    b.promote();
    assert_eq!(daemon.until_event(SOON, "primary_changed")["cause"], "operator");
    daemon.until_rounds(2);
    assert_eq!(
        ["lagging_promotion", "split_brain_began"].map(|kind| daemon.count(kind)),
        [0; 2],
        "{:?}",
        daemon.events()
    );
    assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0));
}

#[test]
fn primary_restart_with_its_data_is_no_primary_change() {
    let mut a = Redis::start(&["--appendonly", "yes"]);
    let b = a.replica();
    a.fill(&b);
    let daemon = Daemon::with_replicas(&a, &[&b]);

    a.kill();
    a.restart();
    let restarted = daemon.until_event(SOON * 2, "restarted");
    assert_eq!(restarted["node"], a.address());
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 1.0);
    daemon.until_link(SOON * 2, &b, "up");
    daemon.until_rounds(3);
    assert_eq!((a.cli(&["DBSIZE"]).trim(), b.cli(&["DBSIZE"]).trim()), ("100", "100"));
    assert_eq!(daemon.value("redis_deployment_emptied_total"), Some(0.0));
    assert_eq!(
        ["primary_changed", "split_brain_began"].map(|kind| daemon.count(kind)),
        [0; 2],
        "{:?}",
        daemon.events()
    );
    daemon.until_primary(SOON, &a, "sole");
    daemon.until_no_findings(SECOND * 5);
}

#[test]
fn primary_restart_without_its_data_empties_the_replica() {
    let mut a = Redis::start(&[]);
    let b = a.replica();
    a.fill(&b);
    let daemon = Daemon::with_replicas(&a, &[&b]);
    daemon.until(SOON, "redis_deployment_emptied_total", &[], 0.0);
    daemon.until_rounds(1);

    a.kill();
    a.restart();
    daemon.until(SOON * 2, "redis_deployment_emptied_total", &[], 1.0);
    daemon.until_severity(SOON, "RedisPrimaryRestartedEmpty", "critical");
    let finding = daemon.finding("RedisPrimaryRestartedEmpty").expect("a finding");
    assert_eq!(
        (&finding["evidence"]["keys_before"], &finding["evidence"]["primary"]),
        (&100.into(), &a.address().into())
    );
    assert_eq!(daemon.until_event(SOON, "restarted")["node"], a.address());
    daemon.until_link(SOON * 2, &b, "up");
    eventually(SOON, "the replica is empty", || (b.cli(&["DBSIZE"]).trim() == "0").then_some(()));
    daemon.until_rounds(3);
    assert_eq!(daemon.value("redis_deployment_emptied_total"), Some(1.0));
    assert_eq!(
        ["primary_changed", "split_brain_began"].map(|kind| daemon.count(kind)),
        [0; 2],
        "{:?}",
        daemon.events()
    );
}

#[test]
fn unreplaced_dead_primary_is_no_primary_after_down_after() {
    let (mut a, b, daemon) = primary_with_replica(Redis::start(&["--appendonly", "yes"]));

    a.kill();
    let killed = Stopwatch::start();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    assert_eq!(daemon.value(NO_PRIMARY), Some(0.0), "the primary may return before `down_after`");
    daemon.until(SOON, NO_PRIMARY, &[], 1.0);
    let took = killed.elapsed();
    println!("no primary {took:?} after the kill");
    // Its last reply came up to one interval before the kill.
    assert!(took >= SECOND.mul_f64(1.9) && took <= SECOND * 6, "after {took:?}");
    assert_eq!(daemon.until_event(SOON, "primary_lost")["why"], "primary_down");
    for kind in ["RedisNoPrimary", "RedisDown"] {
        daemon.until_severity(SOON, kind, "critical");
    }
    let (code, text, findings) = diagnose(&[&a, &b]);
    println!("{text}");
    assert_eq!(code, Some(1), "{text}");
    assert!(findings.contains(&("RedisDown".to_owned(), Some(a.address()))), "{findings:?}");

    a.restart();
    daemon.until_event(SOON * 2, "primary_regained");
    assert_eq!(daemon.value(NO_PRIMARY), Some(0.0));
    assert!(daemon.value(NO_PRIMARY_SECONDS) >= Some(1.0));
    daemon.until_primary(SOON, &a, "sole");
    daemon.until_link(SOON * 2, &b, "up");
    daemon.until_no_findings(SECOND * 5);
    assert_eq!(
        ["primary_lost", "primary_regained", "primary_changed"].map(|kind| daemon.count(kind)),
        [1, 1, 0]
    );
}

#[test]
fn role_change_is_in_metrics_within_two_intervals() {
    let (a, b, daemon) = primary_with_replica(Redis::start(&[]));
    let node = b.address();
    for turn in 0..6_u32 {
        // Each change starts at another point between two rounds.
        pause(SECOND / 7 * turn);
        let role = if turn % 2 == 0 { "master" } else { "replica" };
        let stopwatch = Stopwatch::start();
        if turn % 2 == 0 {
            b.promote();
        } else {
            b.replicate_from(&a);
        }
        daemon.until(SOON, "redis_role", &[("node", &node), ("role", role)], 1.0);
        let took = stopwatch.elapsed();
        println!("{role} after {took:?}");
        assert!(took <= SECOND * 2, "{role} after {took:?}: the interval is 1 s");
    }
}

#[test]
fn only_a_state_file_reveals_a_failover_during_downtime() {
    let mut a = Redis::start(&[]);
    let b = a.replica();
    a.fill(&b);
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state.json");
    let without = deployment("orders", &[&a, &b]);
    let with = format!("state_file = '{}'\n{without}", state.display());
    let mut daemon = Daemon::configured(&with);
    daemon.until_primary(SOON, &a, "sole");
    daemon.until_link(SOON * 2, &b, "up");
    daemon.signal(Signal::Term);
    daemon.end(SOON);
    println!("{}", std::fs::read_to_string(&state).expect("the state file was written"));

    b.promote();
    a.kill();
    a.restart();
    a.cli(&["SET", "elsewhere", "1"]);
    for node in [&a, &b] {
        assert_eq!(node.info("role").as_deref(), Some("master"));
    }

    let (with_state, without_state) = (Daemon::configured(&with), Daemon::configured(&without));
    with_state.until(SOON, SPLIT_BRAIN, &[], 1.0);
    // Nobody saw if A was absent when B was promoted.
    with_state.until(SOON, "redis_deployment_primary_disputed", &[], 1.0);
    with_state.until_rounds(2);
    assert_eq!(with_state.samples().count("redis_deployment_primary_info", &[]), 0);
    assert_eq!(
        with_state.until_event(SOON, "split_brain_began")["masters"],
        serde_json::json!([a.address(), b.address()])
    );
    assert_eq!(with_state.until_event(SOON, "restarted")["node"], a.address());
    assert_eq!(with_state.value(UNRELATED_MASTERS), Some(0.0));
    with_state.until_found(SOON, "RedisSplitBrain");

    without_state.until_found(SOON, "RolecallUnrelatedMasters");
    without_state.until_rounds(3);
    assert!(without_state.value(UNRELATED_MASTERS) >= Some(1.0));
    assert_eq!(without_state.value(SPLIT_BRAIN), Some(0.0));
    assert_eq!(
        ["primary_changed", "split_brain_began"].map(|kind| without_state.count(kind)),
        [0; 2],
        "{:?}",
        without_state.events()
    );

    // The clients of B decide.
    b.cli(&["SET", "kept", "1"]);
    with_state.until_primary(SOON, &b, "writers");
    let changed = with_state.until_event(SOON, "primary_changed");
    println!("{changed}");
    assert_eq!((&changed["from"], &changed["to"]), (&a.address().into(), &b.address().into()));
}

#[test]
fn broken_state_file_is_a_warning_and_is_replaced() {
    let a = Redis::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state.json");
    std::fs::write(&state, "{ broken").expect("a file");
    let mut daemon = Daemon::configured(&format!(
        "state_file = '{}'\n{}",
        state.display(),
        deployment("orders", &[&a])
    ));
    daemon.until_primary(SOON, &a, "sole");
    let warnings: Vec<_> =
        daemon.log().into_iter().filter(|line| line.contains("level=warn")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("the state file"), "{warnings:?}");
    daemon.signal(Signal::Term);
    assert!(daemon.end(SOON).0.success());
    let text = std::fs::read_to_string(&state).expect("a file");
    let state: Value = serde_json::from_str(&text).expect("a complete document");
    assert_eq!(state["deployments"]["orders"]["primary"], a.address());
}

#[test]
fn reverted_promotion_is_no_primary_change() {
    let (a, b, daemon) = primary_with_replica(Redis::start(&[]));
    b.promote();
    daemon.until(SOON, "redis_deployment_primary_disputed", &[], 1.0);
    b.replicate_from(&a);
    daemon.until_primary(SOON, &a, "sole");
    daemon.until_link(SOON * 2, &b, "up");
    daemon.until_rounds(3);
    assert_eq!(
        [
            "primary_changed",
            "primary_disputed",
            "primary_undisputed",
            "split_brain_began",
            "split_brain_ended"
        ]
        .map(|kind| daemon.count(kind)),
        [0, 1, 1, 1, 1]
    );
    assert_eq!(
        (daemon.value(SPLIT_BRAIN), daemon.value(UNREPLICATED_WRITES)),
        (Some(0.0), Some(0.0))
    );
    daemon.until_no_findings(SECOND * 5);
}
