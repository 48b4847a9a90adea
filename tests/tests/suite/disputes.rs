//! Disputes about the primary on real servers: several nodes claim to be master, and the evidence
//! decides which of them is the primary.

use std::time::Duration;

use tests::{
    Daemon, Redis, SECOND, SentinelDeployment, SentinelSetup, Writer, deployment, diagnose,
    primary_with_replica, primary_with_two_replicas,
};

use crate::monitor::{LIMIT, Monitor, SPLIT_BRAIN, UNREPLICATED_WRITES, write_keys};

/// Timeout for changes that show within a few rounds, also on a busy machine.
const SOON: Duration = Duration::from_secs(15);

const DISPUTED: &str = "redis_deployment_primary_disputed";
const EVIDENCE: &str = "redis_deployment_primary_evidence";

#[test]
fn sentinels_decide_against_a_mistaken_promotion() {
    check_mistake_with_sentinels("redis-7.0.15");
}

#[test]
fn sentinels_decide_against_a_mistaken_promotion_on_valkey() {
    check_mistake_with_sentinels("valkey-9.1.2");
}

fn check_mistake_with_sentinels(version: &'static str) {
    let group = SentinelDeployment::start(&SentinelSetup { version, ..SentinelSetup::default() });
    let monitor = Monitor::start_settled(&group, "");
    let daemon = &monitor.daemon;
    let primary = group.primary();
    let mut writer = Writer::start(&primary.address(), "kept", 50);
    until_evidence(daemon, &primary.address(), "writers");
    assert_eq!(daemon.value(DISPUTED), Some(0.0));

    let mistake = group.replicas()[0];
    mistake.execute(&["REPLICAOF", "NO", "ONE"]);
    daemon.until(SOON, DISPUTED, &[], 1.0);
    for evidence in ["sentinel", "followers", "writers", "previous"] {
        until_evidence(daemon, &primary.address(), evidence);
    }
    until_evidence(daemon, &mistake.address(), "lineage");
    monitor.until_primary(&primary.address());
    let finding = daemon.finding("RedisSplitBrain").expect("a finding");
    let witnesses = finding["evidence"]["witnesses"].as_array().expect("both sides");
    assert_eq!(witnesses.len(), 2, "{finding}");
    // The Sentinels make the node a replica again.
    daemon.until_event(LIMIT, "primary_undisputed");
    group.until_replicating(LIMIT);
    daemon.until_rounds(3);
    assert!(writer.stop() > 100);
    assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0));
    assert_eq!(daemon.severity("RedisWritesLost"), None);
    monitor.until_primary(&primary.address());
    assert_eq!(
        ["primary_changed", "primary_disputed", "primary_undisputed", "split_brain_ended"]
            .map(|kind| daemon.count(kind)),
        [0, 1, 1, 1],
        "{:?}",
        daemon.events()
    );
}

#[test]
fn replicas_and_clients_decide_with_a_declared_role() {
    check_mistake(&Redis::start(&[]), true);
}

#[test]
fn replicas_and_clients_decide_with_a_declared_role_on_6_2() {
    check_mistake(&Redis::with_version("redis-6.2.14", &[]), true);
}

#[test]
fn replicas_and_clients_decide_without_a_declaration() {
    check_mistake(&Redis::start(&[]), false);
}

#[test]
fn replicas_and_clients_decide_without_a_declaration_on_valkey() {
    check_mistake(&Redis::with_version("valkey-9.1.2", &[]), false);
}

/// Promotes the replica C by mistake while B follows A and a client writes to A.
fn check_mistake(a: &Redis, declared: bool) {
    let (b, c) = (a.replica(), a.replica());
    for replica in [&b, &c] {
        replica.until_synchronised();
    }
    let text = deployment("orders", &[a, &b, &c]);
    let daemon = Daemon::configured(&if declared { declare(&text, a) } else { text });
    daemon.until_primary(SOON, a, "sole");
    let mut writer = Writer::start(&a.address(), "kept", 50);
    until_evidence(&daemon, &a.address(), "writers");

    c.promote();
    daemon.until(SOON, DISPUTED, &[], 1.0);
    daemon.until_primary(SOON, a, "followers");
    until_evidence(&daemon, &c.address(), "lineage");
    let statements = daemon.samples().count(EVIDENCE, &[("evidence", "declared")]);
    assert_eq!(statements, usize::from(declared));
    daemon.until_rounds(5);
    assert_eq!(
        (daemon.value(UNREPLICATED_WRITES), daemon.severity("RedisWritesLost")),
        (Some(0.0), None)
    );
    assert_eq!(daemon.value("redis_deployment_no_primary"), Some(0.0));
    // A fresh process reaches the same verdict, and no command names the primary as the node to
    // demote.
    let (code, text, findings) = diagnose(&[a, &b, &c]);
    println!("{text}");
    assert_eq!(code, Some(1), "{text}");
    assert!(findings.contains(&("RedisSplitBrain".to_owned(), None)), "{findings:?}");
    for command in ["config set min-replicas-to-write", "replicaof"] {
        for node in [a, &c] {
            assert!(!text.contains(&format!("-p {} {command}", node.port)), "{text}");
        }
    }

    c.replicate_from(a);
    daemon.until_event(SOON, "primary_undisputed");
    daemon.until_primary(SOON, a, "sole");
    daemon.until_link(SOON * 2, &c, "up");
    assert!(writer.stop() > 100);
    assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0), "C accepted no write");
    assert_eq!(
        ["primary_changed", "primary_disputed", "primary_undisputed"]
            .map(|kind| daemon.count(kind)),
        [0, 1, 1],
        "{:?}",
        daemon.events()
    );
}

#[test]
fn a_manual_failover_ends_on_the_new_primary() {
    check_manual_failover(Redis::start(&[]));
}

#[test]
fn a_manual_failover_ends_on_the_new_primary_on_valkey() {
    check_manual_failover(Redis::with_version("valkey-9.1.2", &[]));
}

fn check_manual_failover(a: Redis) {
    let (a, b, c, daemon) = primary_with_two_replicas(a);
    a.cli(&["SET", "before", "1"]);
    c.promote();
    daemon.until(SOON, DISPUTED, &[], 1.0);
    daemon.until_primary(SOON, &a, "followers");
    b.replicate_from(&c);
    daemon.until_primary(SOON, &c, "followers");
    a.replicate_from(&c);
    daemon.until_primary(SOON, &c, "sole");
    daemon.until_event(SOON, "primary_undisputed");
    let changed = daemon.until_event(SOON, "primary_changed");
    assert_eq!(
        (&changed["from"], &changed["to"], &changed["cause"]),
        (&a.address().into(), &c.address().into(), &"operator".into())
    );
    for replica in [&a, &b] {
        daemon.until_link(SOON * 2, replica, "up");
    }
    daemon.until_rounds(2);
    assert_eq!(
        (daemon.value(UNREPLICATED_WRITES), daemon.severity("RedisWritesLost")),
        (Some(0.0), None)
    );
    assert_eq!(
        ["primary_changed", "primary_disputed", "primary_undisputed", "primary_lost"]
            .map(|kind| daemon.count(kind)),
        [1, 1, 1, 0],
        "{:?}",
        daemon.events()
    );
    daemon.until_no_findings(SECOND * 20);
}

#[test]
fn a_pair_without_further_evidence_has_no_known_primary() {
    check_pair(Redis::start(&[]));
}

#[test]
fn a_pair_without_further_evidence_has_no_known_primary_on_6_2() {
    check_pair(Redis::with_version("redis-6.2.14", &[]));
}

fn check_pair(a: Redis) {
    let (mut a, b, daemon) = primary_with_replica(a);
    b.promote();
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    daemon.until(SOON, DISPUTED, &[], 1.0);
    until_evidence(&daemon, &a.address(), "previous");
    until_evidence(&daemon, &b.address(), "lineage");
    daemon.until_rounds(3);
    let is_undecided = || {
        assert_eq!(daemon.samples().count("redis_deployment_primary_info", &[]), 0);
        assert_eq!(daemon.value("redis_deployment_no_primary"), Some(0.0));
        assert_eq!(daemon.severity("RedisNoPrimary"), None);
        assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0));
    };
    is_undecided();
    let finding = daemon.finding("RedisSplitBrain").expect("a finding");
    assert_eq!(
        finding["evidence"]["missing"],
        serde_json::json!(["followers", "writers", "declared", "endpoint"])
    );
    // A restart of the former primary decides nothing: the other node was promoted before.
    a.kill();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    a.restart();
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    daemon.until_rounds(3);
    is_undecided();
    // Clients decide.
    let mut writer = Writer::start(&a.address(), "kept", 50);
    daemon.until_primary(SOON, &a, "writers");
    assert_eq!(daemon.value(DISPUTED), Some(1.0));
    writer.stop();
}

#[test]
fn a_declaration_decides_about_a_pair() {
    let a = Redis::start(&[]);
    let b = a.replica();
    b.until_synchronised();
    let daemon = Daemon::configured(&declare(&deployment("orders", &[&a, &b]), &a));
    daemon.until_primary(SOON, &a, "sole");
    b.promote();
    daemon.until(SOON, DISPUTED, &[], 1.0);
    daemon.until_primary(SOON, &a, "declared");
    assert_eq!(daemon.count("primary_changed"), 0);
}

#[test]
fn a_killed_master_that_returns_does_not_win() {
    check_killed_master("redis-7.0.15");
}

#[test]
fn a_killed_master_that_returns_does_not_win_on_valkey() {
    check_killed_master("valkey-9.1.2");
}

fn check_killed_master(version: &'static str) {
    let mut group =
        SentinelDeployment::start(&SentinelSetup { version, ..SentinelSetup::default() });
    write_keys(group.primary(), "key", 100);
    let monitor = Monitor::start_settled(&group, "");
    let before = group.primary().address();
    let killed = group.index_of(&before);
    // It returns with its data.
    group.nodes[killed].execute(&["SAVE"]);
    group.nodes[killed].kill();
    let after = group.until_failed_over(LIMIT, &before);
    monitor.until_primary(&after);
    group.nodes[killed].restart();
    monitor.daemon.until(LIMIT, "redis_deployment_masters", &[], 2.0);
    assert_eq!(
        monitor.daemon.samples().get("redis_deployment_primary_info", &[("node", &after)]),
        Some(1.0)
    );
    group.until_replicating(LIMIT);
    monitor.daemon.until(LIMIT, "redis_deployment_masters", &[], 1.0);
    monitor.until_primary(&after);
    assert_eq!(
        (monitor.events("primary_changed").len(), monitor.daemon.value(UNREPLICATED_WRITES)),
        (1, Some(0.0)),
        "{:?}",
        monitor.daemon.events()
    );
}

/// Waits until there is this evidence that a node is the primary.
#[track_caller]
fn until_evidence(daemon: &Daemon, node: &str, evidence: &str) {
    daemon.until(SOON, EVIDENCE, &[("node", node), ("evidence", evidence)], 1.0);
}

/// Declares a node of a deployment to be master.
fn declare(deployment: &str, node: &Redis) -> String {
    let url = format!("url = '{}'", node.url());
    deployment.replace(&url, &format!("{url}, role = 'master'"))
}
