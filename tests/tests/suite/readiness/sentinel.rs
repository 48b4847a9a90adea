//! Reasons against a failover by Sentinels. Each test lets the Sentinels show that it is one.

use tests::{
    Diagnosis, MASTER, SECOND, SentinelDeployment, SentinelSetup, Server, eventually, until_ok,
};

use super::{
    NOT_READY, candidates, check_stays_ready, cut, failover, mend, obstacles, restart_empty,
    until_blockers, until_not_ready,
};
use crate::monitor::{LIMIT, Monitor, SOON, write_keys};

/// One primary and one replica.
fn pair(version: &'static str) -> SentinelSetup {
    SentinelSetup { version, replicas: 1, ..SentinelSetup::default() }
}

/// Makes Sentinels read INFO of the replicas each second (7.0 and later).
fn read_often(group: &SentinelDeployment) {
    for sentinel in &group.sentinels {
        assert_eq!(sentinel.execute(&["SENTINEL", "DEBUG", "info-period", "1000"]), ["OK"]);
    }
}

/// Waits until the first Sentinel refuses to fail over for lack of a replica.
#[track_caller]
fn until_no_good_replica(group: &SentinelDeployment) {
    eventually(SOON, "the Sentinel knows no replica that it may promote", || {
        let reply = group.sentinels[0].execute(&["SENTINEL", "FAILOVER", MASTER]).concat();
        reply.contains("NOGOODSLAVE").then_some(())
    });
}

fn check_healthy(version: &'static str) {
    let group = SentinelDeployment::start(&pair(version));
    let monitor = Monitor::start_settled(&group, "");
    let found = until_blockers(&monitor.daemon, None, LIMIT, &[]);
    assert_eq!(candidates(&found), [group.nodes[1].address()]);
    check_stays_ready(&monitor.daemon, &[None]);
    assert!(monitor.daemon.finding(NOT_READY).is_none());
}

#[test]
fn a_healthy_pair_is_always_ready_on_redis_5() {
    check_healthy("redis-5.0.6");
}

#[test]
fn a_healthy_pair_is_always_ready_on_redis_6() {
    check_healthy("redis-6.2.14");
}

#[test]
fn a_healthy_pair_is_always_ready_on_valkey() {
    check_healthy("valkey-9.1.2");
}

#[test]
fn a_deployment_without_replicas_has_no_readiness() {
    let group =
        SentinelDeployment::start(&SentinelSetup { replicas: 0, ..SentinelSetup::default() });
    let monitor = Monitor::start_settled(&group, "");
    monitor.daemon.until_rounds(5);
    assert!(failover(&monitor.daemon, None).is_null());
    assert_eq!(monitor.daemon.value(super::READY), None);
}

#[test]
fn priority_zero_on_all_replicas_leaves_no_candidate() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    read_often(&group);
    let monitor = Monitor::start_settled(&group, "");
    let found = until_blockers(&monitor.daemon, None, LIMIT, &[]);
    assert_eq!(candidates(&found).len(), 2, "nothing decides between two equal replicas: {found}");
    let set_priority = |priority: &str| {
        for replica in group.replicas() {
            let set = ["CONFIG", "SET", "replica-priority", priority];
            assert_eq!(replica.execute(&set), ["OK"]);
        }
    };
    set_priority("0");
    let found = until_blockers(&monitor.daemon, None, SOON, &["no_candidate"]);
    assert_eq!(obstacles(&found), ["priority", "priority"]);
    let finding = until_not_ready(&monitor.daemon);
    assert_eq!(finding["severity"], "warning", "{finding}");
    until_no_good_replica(&group);
    let diagnosis = Diagnosis::of(&[&group.url(0)]);
    assert_eq!(diagnosis.severity(NOT_READY), Some("warning"), "{}", diagnosis.text);
    assert_eq!(diagnosis.code, Some(1));
    assert!(diagnosis.text.contains("failover NOT READY"), "{}", diagnosis.text);
    assert!(diagnosis.text.contains("replica-priority is 0 on all"), "{}", diagnosis.text);
    set_priority("100");
    until_blockers(&monitor.daemon, None, SOON, &[]);
    monitor.until_no_findings();
}

#[test]
fn a_dead_replica_is_no_candidate() {
    let mut group = SentinelDeployment::start(&pair("redis-7.0.15"));
    let monitor = Monitor::start_settled(&group, "");
    until_blockers(&monitor.daemon, None, LIMIT, &[]);
    group.nodes[1].kill();
    let found = until_blockers(&monitor.daemon, None, LIMIT, &["no_candidate"]);
    assert_eq!(obstacles(&found), ["down"]);
    assert_eq!(until_not_ready(&monitor.daemon)["caused_by"], "RedisDown");
    until_no_good_replica(&group);
    group.nodes[1].restart();
    until_blockers(&monitor.daemon, None, LIMIT, &[]);
    monitor.until_no_findings();
}

#[test]
fn a_replica_without_a_link_for_too_long_is_no_candidate() {
    let group =
        SentinelDeployment::start(&SentinelSetup { down_after: SECOND, ..pair("redis-8.2.3") });
    let monitor = Monitor::start_settled(&group, "");
    cut(&group.nodes[0], &group.nodes[1]);
    let found = until_blockers(&monitor.daemon, None, LIMIT, &["no_candidate"]);
    assert_eq!(obstacles(&found), ["link_down"]);
    assert_eq!(until_not_ready(&monitor.daemon)["caused_by"], "RedisReplicaLinkDown");
    until_no_good_replica(&group);
    mend(&group.nodes[1]);
    until_blockers(&monitor.daemon, None, LIMIT, &[]);
}

#[test]
fn a_lagging_candidate_is_named_with_the_missing_changes() {
    let group = SentinelDeployment::start(&pair("redis-6.2.14"));
    let monitor = Monitor::start_settled(&group, "");
    write_keys(&group.nodes[0], "before", 20);
    monitor.daemon.until_rounds(3);
    cut(&group.nodes[0], &group.nodes[1]);
    write_keys(&group.nodes[0], "after", 40);
    let found = until_blockers(&monitor.daemon, None, LIMIT, &["candidate_lagging"]);
    assert_eq!(candidates(&found), [group.nodes[1].address()]);
    let number = |name: &str| found["candidates"][0][name].as_u64().expect(name);
    let bounds = number("changes_min")..=number("changes_max");
    assert!(bounds.contains(&40) && *bounds.end() <= 60, "40 changes are missing: {found}");
    assert_eq!(until_not_ready(&monitor.daemon)["caused_by"], "RedisReplicaLinkDown");
    mend(&group.nodes[1]);
    let found = until_blockers(&monitor.daemon, None, LIMIT, &[]);
    assert_eq!(found["candidates"][0]["changes"], 0, "{found}");
}

/// The Sentinel promotes the empty replica, except on 5.0.
fn check_empty_candidate(version: &'static str) {
    let mut group = SentinelDeployment::start(&pair(version));
    let monitor = Monitor::start_settled(&group, "");
    write_keys(&group.nodes[0], "key", 50);
    let (primary, replicas) = group.nodes.split_at_mut(1);
    restart_empty(&primary[0], &mut replicas[0]);
    if version == "redis-5.0.6" {
        let found = until_blockers(&monitor.daemon, None, LIMIT, &["no_candidate"]);
        assert_eq!(obstacles(&found), ["link_down"]);
        until_no_good_replica(&group);
        return;
    }
    let found = until_blockers(&monitor.daemon, None, LIMIT, &["candidate_empty"]);
    assert_eq!(candidates(&found), [group.nodes[1].address()]);
    let before = eventually(LIMIT, "the Sentinel accepts the failover", || {
        let accepted = group.sentinels[0].execute(&["SENTINEL", "FAILOVER", MASTER]) == ["OK"];
        accepted.then(|| group.nodes[0].address())
    });
    let promoted = group.until_failed_over(LIMIT, &before.0);
    assert_eq!(promoted, group.nodes[1].address());
    assert_eq!(group.nodes[1].execute(&["DBSIZE"]), ["0"]);
}

#[test]
fn a_replica_that_was_never_synchronised_is_an_empty_candidate() {
    check_empty_candidate("redis-8.2.3");
}

#[test]
fn valkey_would_promote_a_replica_that_was_never_synchronised() {
    check_empty_candidate("valkey-9.1.2");
}

#[test]
fn redis_5_refuses_a_replica_that_was_never_synchronised() {
    check_empty_candidate("redis-5.0.6");
}

#[test]
fn too_few_sentinels_are_no_quorum_even_if_all_are_down() {
    let mut group = SentinelDeployment::start(&pair("redis-7.0.15"));
    let monitor = Monitor::start_settled(&group, "");
    until_blockers(&monitor.daemon, None, LIMIT, &[]);
    group.sentinels[1..].iter_mut().for_each(Server::kill);
    until_blockers(&monitor.daemon, None, LIMIT, &["no_quorum"]);
    let quorum = eventually(LIMIT, "the finding has a cause", || {
        monitor.daemon.finding(NOT_READY)?["caused_by"].as_str().map(str::to_owned)
    });
    assert_eq!(quorum.0, "RedisSentinelQuorumLost");
    group.sentinels[0].kill();
    monitor.daemon.until(LIMIT, "redis_up", &[("node", &group.sentinels[0].address())], 0.0);
    until_blockers(&monitor.daemon, None, LIMIT, &["no_quorum"]);
    group.sentinels.iter_mut().for_each(Server::restart);
    group.until_discovered();
    until_blockers(&monitor.daemon, None, LIMIT, &[]);
}

#[test]
fn sentinels_with_a_wrong_password_are_blind() {
    const PASSWORD: &str = "nodes";
    let setup = SentinelSetup { password: Some(PASSWORD), ..pair("redis-7.0.15") };
    let group = SentinelDeployment::start(&setup);
    let monitor = Monitor::start_settled(&group, &format!("password = '{PASSWORD}'"));
    until_blockers(&monitor.daemon, None, LIMIT, &[]);
    let set_password = |password: &str| {
        for sentinel in &group.sentinels {
            let set = ["SENTINEL", "SET", MASTER, "auth-pass", password];
            assert_eq!(sentinel.execute(&set), ["OK"]);
        }
    };
    set_password("outdated");
    // The established connections of the Sentinels stay valid.
    for node in &group.nodes {
        node.execute(&["CLIENT", "KILL", "TYPE", "normal"]);
        node.execute(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    until_blind(&monitor, true);
    assert_eq!(monitor.daemon.value("redis_deployment_writable"), Some(1.0));
    set_password(PASSWORD);
    group.until_discovered();
    until_blind(&monitor, false);
}

/// Waits until the Sentinels are blind, or are not. They may wait after an aborted failover.
#[track_caller]
fn until_blind(monitor: &Monitor, expected: bool) {
    until_ok(LIMIT, || {
        let found = failover(&monitor.daemon, None);
        let blockers = found["blockers"].as_array().cloned().unwrap_or_default();
        let is_blind = blockers.contains(&"sentinels_blind".into());
        if is_blind == expected && !found.is_null() { Ok(()) } else { Err(found.to_string()) }
    });
}

/// The Sentinels wait although the reason of the abort is gone and CKQUORUM says OK.
#[test]
fn sentinels_wait_after_an_aborted_failover() {
    let setup = SentinelSetup {
        down_after: SECOND * 2,
        failover_timeout: SECOND * 20,
        ..pair("redis-7.0.15")
    };
    let mut group = SentinelDeployment::start(&setup);
    read_often(&group);
    let monitor = Monitor::start_settled(&group, "");
    let set_priority = |replica: &Server, priority: &str| {
        let set = ["CONFIG", "SET", "replica-priority", priority];
        assert_eq!(replica.execute(&set), ["OK"]);
    };
    set_priority(&group.nodes[1], "0");
    until_blockers(&monitor.daemon, None, LIMIT, &["no_candidate"]);
    until_no_good_replica(&group);
    group.nodes[0].kill();
    until_blockers(&monitor.daemon, None, LIMIT, &["no_candidate", "waiting"]);
    set_priority(&group.nodes[1], "100");
    let found = until_blockers(&monitor.daemon, None, SOON, &["waiting"]);
    assert_eq!(candidates(&found), [group.nodes[1].address()]);
    let left = found["waits_seconds"].as_f64().expect("a time");
    assert!((5.0..=40.0).contains(&left), "twice the timeout, or less: {left}");
    let quorum = group.sentinels[0].execute(&["SENTINEL", "CKQUORUM", MASTER]).concat();
    assert!(quorum.starts_with("OK"), "{quorum}");
    let before = group.nodes[0].address();
    let promoted = || group.nodes[1].role().filter(|role| role == "master");
    let (_, took) = eventually(LIMIT, "the Sentinels promote the replica", promoted);
    // They also elect a leader, after a delay of up to one second.
    let took = took.as_secs_f64();
    assert!(took > left - 3.0 && took < left + 15.0, "promoted after {took} s, not {left} s");
    group.until_failed_over(LIMIT, &before);
    group.nodes[0].restart();
    until_blockers(&monitor.daemon, None, LIMIT, &[]);
}

/// A replica with `replica-announced no` is not listed, and is promoted nevertheless.
#[test]
fn a_replica_that_is_not_announced_is_promoted() {
    let group = SentinelDeployment::start(&pair("redis-8.2.3"));
    let monitor = Monitor::start_settled(&group, "expect = { replicas = 1 }");
    assert_eq!(group.nodes[1].execute(&["CONFIG", "SET", "replica-announced", "no"]), ["OK"]);
    let is_hidden = || {
        let listed = group.sentinels[0].table(&["SENTINEL", "REPLICAS", MASTER]);
        listed.is_empty().then_some(())
    };
    eventually(LIMIT, "the Sentinel does not list the replica", is_hidden);
    // Another replica may be promoted than those that Rolecall knows, so nothing is claimed.
    eventually(LIMIT, "the readiness is unknown", || {
        monitor.daemon.value(super::READY).is_none().then_some(())
    });
    assert!(monitor.daemon.finding(NOT_READY).is_none());
    let before = group.failover();
    assert_eq!(group.until_failed_over(LIMIT, &before), group.nodes[1].address());
}
