//! Replication problems on real servers: orphaned replicas, failing authentication, divergence, lag
//! and missing replicas.

use std::time::Duration;

use tests::{
    Daemon, Findings, Proxy, Redis, SECOND, deployment, diagnose_urls, eventually, free_port,
    has_finding, pause,
};

/// Timeout for changes on a busy machine. Nodes that were down are polled again after up to 10 s.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until `redis_replica_orphaned` with this cause has this value.
#[track_caller]
fn until_orphaned(daemon: &Daemon, node: &Redis, why: &str, value: f64) {
    daemon.until(
        LIMIT,
        "redis_replica_orphaned",
        &[("node", &node.address()), ("why", why)],
        value,
    );
}

/// Starts a daemon on these nodes, with these additional keys of the deployment.
fn start_daemon(nodes: &[&Redis], more: &str) -> Daemon {
    Daemon::configured(&(deployment("a", nodes) + more))
}

#[test]
fn replicas_below_a_dead_node_are_orphaned() {
    let mut top = Redis::start(&[]);
    let mut middle = top.replica();
    let leaf = middle.replica();
    let daemon = Daemon::watch(&[&top, &middle, &leaf]);
    daemon.until(LIMIT, "redis_replica_chain_depth", &[("node", &leaf.address())], 2.0);
    daemon.until_healthy(LIMIT, &[&top, &middle, &leaf]);

    middle.kill();
    until_orphaned(&daemon, &leaf, "dead_node", 1.0);
    daemon.until_link(LIMIT, &leaf, "lost");
    daemon.until_found_by_diagnose(LIMIT, &[&top, &middle, &leaf], "RedisReplicaOrphaned", &leaf);
    middle.restart();
    until_orphaned(&daemon, &leaf, "dead_node", 0.0);
    daemon.until_healthy(LIMIT, &[&top, &middle, &leaf]);

    top.kill();
    daemon.until_link(LIMIT, &middle, "lost");
    until_orphaned(&daemon, &middle, "dead_node", 1.0);
    until_orphaned(&daemon, &leaf, "broken_chain", 1.0);
    assert_eq!(
        leaf.info("master_link_status").as_deref(),
        Some("up"),
        "the link of the leaf itself is up"
    );
    assert_eq!(
        daemon.samples().get("redis_link_state", &[("node", &leaf.address()), ("state", "up")]),
        Some(1.0)
    );
    daemon.until_found_by_diagnose(LIMIT, &[&top, &middle, &leaf], "RedisReplicaOrphaned", &leaf);
    top.restart();
    until_orphaned(&daemon, &leaf, "broken_chain", 0.0);
    daemon.until_healthy(LIMIT, &[&top, &middle, &leaf]);
}

#[test]
fn replica_of_an_unknown_address_is_orphaned() {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let daemon = Daemon::watch(&[&primary, &replica]);
    daemon.until_link(LIMIT, &replica, "up");
    let unused_port = free_port();
    replica.cli(&["REPLICAOF", "127.0.0.1", &unused_port.to_string()]);
    until_orphaned(&daemon, &replica, "unknown_address", 1.0);
    daemon.until_found_by_diagnose(LIMIT, &[&primary, &replica], "RedisReplicaOrphaned", &replica);
    let finding = daemon.finding("RedisReplicaOrphaned");
    assert_eq!(
        finding.expect("a finding")["evidence"]["master"],
        format!("127.0.0.1:{unused_port}")
    );
    replica.replicate_from(&primary);
    until_orphaned(&daemon, &replica, "unknown_address", 0.0);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

/// Checks that a replica with these options cannot authenticate with its master until the
/// parameters in `correction` are set.
fn check_replication_auth(version: &'static str, options: &[&str], correction: &[[&str; 2]]) {
    let primary = Redis::with_version(
        version,
        &["--requirepass", "secret", "--user", "narrow", "on", ">secret", "+ping", "+replconf"],
    );
    let replica = primary.replica_with(options);
    let urls = [format!("redis://:secret@{}", primary.address()), replica.url()];
    let urls = urls.each_ref().map(String::as_str);
    let daemon = Daemon::serve(&urls);
    daemon.until_link(LIMIT, &replica, "never_up");
    daemon.until_found_on(LIMIT, "RedisReplicationAuthFailing", &replica);
    let (code, text, findings) = diagnose_urls(&urls);
    assert!(
        code == Some(1) && has_finding(&findings, "RedisReplicationAuthFailing", &replica),
        "{version} {options:?}: {text}"
    );
    let correct = || {
        for [parameter, value] in correction {
            replica.cli(&["CONFIG", "SET", parameter, value]);
        }
        daemon.until_link(LIMIT, &replica, "up");
        daemon.until_no_findings(LIMIT);
    };
    correct();

    // A new password takes effect at the next connection.
    primary.cli(&["-a", "secret", "CONFIG", "SET", "requirepass", "rotated"]);
    pause(SECOND * 3);
    assert_eq!(daemon.findings(), Findings::new(), "the open connection is still authenticated");
    replica.cli(&["CONFIG", "SET", "masterauth", "outdated"]);
    primary.cli(&["-a", "rotated", "CLIENT", "KILL", "TYPE", "replica"]);
    daemon.until_link(LIMIT, &replica, "lost");
    daemon.until_found_on(LIMIT, "RedisReplicationAuthFailing", &replica);
    primary.cli(&["-a", "rotated", "CONFIG", "SET", "requirepass", "secret"]);
    correct();
    assert_eq!(diagnose_urls(&urls).2, Findings::new());
}

#[test]
fn wrong_masterauth_is_an_auth_failure() {
    check_replication_auth("redis-7.0.15", &["--masterauth", "wrong"], &[["masterauth", "secret"]]);
}

#[test]
fn wrong_masterauth_is_an_auth_failure_on_valkey() {
    check_replication_auth("valkey-9.1.2", &["--masterauth", "wrong"], &[["masterauth", "secret"]]);
}

#[test]
fn missing_masterauth_is_an_auth_failure() {
    check_replication_auth("redis-7.0.15", &[], &[["masterauth", "secret"]]);
}

#[test]
fn missing_masterauth_is_an_auth_failure_on_6_2() {
    check_replication_auth("redis-6.2.14", &[], &[["masterauth", "secret"]]);
}

#[test]
fn masteruser_without_permissions_is_an_auth_failure() {
    let correction = [["masteruser", ""], ["masterauth", "secret"]];
    check_replication_auth(
        "redis-7.0.15",
        &["--masteruser", "narrow", "--masterauth", "secret"],
        &correction,
    );
}

#[test]
fn wrong_client_password_is_no_replication_auth_failure() {
    let primary = Redis::start(&["--requirepass", "secret", "--rdb-key-save-delay", "200000"]);
    let replica = primary.replica_with(&["--masterauth", "secret"]);
    let daemon =
        Daemon::serve(&[&format!("redis://:secret@{}", primary.address()), &replica.url()]);
    daemon.until_link(LIMIT, &replica, "up");
    let node = primary.address();
    let send_wrong_password = || primary.cli(&["-a", "wrong", "PING"]);
    for round in 1..5 {
        send_wrong_password();
        eventually(LIMIT, "the error is counted", || {
            (daemon.samples().get("redis_errors_total", &[("node", &node), ("err", "WRONGPASS")])
                >= Some(f64::from(round)))
            .then_some(())
        });
        assert_eq!(daemon.findings(), Findings::new());
    }
    // There is no finding during a long full resync either: the link is not lost, and the replica
    // was authenticated.
    for key in 0..40 {
        primary.cli(&["-a", "secret", "SET", &key.to_string(), "x"]);
    }
    let node = replica.address();
    replica.promote();
    replica.replicate_from(&primary);
    daemon.until_link(LIMIT, &replica, "syncing");
    eventually(LIMIT, "the replica is synchronised", || {
        send_wrong_password();
        let (findings, samples) = (daemon.findings(), daemon.samples());
        let is = |state| {
            samples.get("redis_link_state", &[("node", &node), ("state", state)]) == Some(1.0)
        };
        let states = ["syncing", "lost", "never_up"].map(is);
        assert!(
            !has_finding(&findings, "RedisReplicationAuthFailing", &replica),
            "syncing, lost, never up: {states:?}"
        );
        is("up").then_some(())
    });
}

#[test]
fn write_to_a_writable_replica_is_a_lasting_divergence() {
    let primary = Redis::start(&[]);
    let mut replica = primary.replica_with(&[]);
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    let diverged = || daemon.samples().get("redis_replica_diverged", &[("node", &node)]);
    daemon.until_link(LIMIT, &replica, "up");
    replica.cli(&["CONFIG", "SET", "replica-read-only", "no"]);
    daemon.until(LIMIT, "redis_slave_read_only", &[("node", &node)], 0.0);
    daemon.until_found_by_diagnose(LIMIT, &[&primary, &replica], "RedisReplicaWritable", &replica);
    // The replica does not diverge without a write to it, whatever is written to the primary.
    for round in 0..20 {
        primary.cli(&["SET", &format!("key{round}"), "x"]);
        primary.cli(&["DEL", &format!("key{}", round / 2)]);
        primary.cli(&["SET", "fleeting", "x", "PX", "100"]);
        pause(SECOND / 4);
        assert_eq!(diverged(), Some(0.0));
    }

    replica.cli(&["SET", "stray", "x"]);
    daemon.until(LIMIT, "redis_replica_diverged", &[("node", &node)], 1.0);
    daemon.until_found_by_diagnose(LIMIT, &[&primary, &replica], "RedisReplicaDiverged", &replica);
    // Neither making the replica read-only again nor a restart with its data ends the divergence.
    replica.cli(&["CONFIG", "SET", "replica-read-only", "yes"]);
    daemon.until(LIMIT, "redis_slave_read_only", &[("node", &node)], 1.0);
    eventually(LIMIT, "no finding RedisReplicaWritable", || {
        (!daemon.has_finding_on("RedisReplicaWritable", &replica)).then_some(())
    });
    assert_eq!(daemon.findings(), [("RedisReplicaDiverged".to_owned(), Some(node.clone()))]);
    let full_resyncs = || primary.info("sync_full").expect("a count");
    let before = full_resyncs();
    replica.cli(&["SHUTDOWN", "SAVE"]);
    replica.end(LIMIT);
    replica.restart();
    daemon.until(LIMIT, "redis_restarts_total", &[("node", &node)], 1.0);
    daemon.until_link(LIMIT, &replica, "up");
    assert_eq!(
        (full_resyncs(), replica.cli(&["EXISTS", "stray"]).trim()),
        (before, "1"),
        "the replica restarts with a partial resync"
    );
    pause(SECOND * 2);
    assert_eq!(diverged(), Some(1.0));
    assert!(daemon.has_finding_on("RedisReplicaDiverged", &replica));
}

#[test]
fn stalled_replica_reports_lag_and_data_age() {
    let primary = Redis::start(&[]);
    let proxy = Proxy::start(primary.port);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &proxy.peer.port.to_string()]);
    let address_map =
        format!("address_map = {{ '127.0.0.1:{}' = '{}' }}\n", proxy.peer.port, primary.address());
    let mapped = start_daemon(&[&primary, &replica], &address_map);
    let unmapped = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    let labels = [("node", node.as_str())];
    for daemon in [&mapped, &unmapped] {
        daemon.until_link(LIMIT, &replica, "up");
        daemon.until(LIMIT, "redis_replication_lag_bytes", &labels, 0.0);
        daemon.until_healthy(LIMIT, &[&primary, &replica]);
    }
    let upstream = |daemon: &Daemon| {
        daemon.document("/api/v1/topology")["deployments"][0]["nodes"][1]["follows"].clone()
    };
    assert_eq!(
        (upstream(&mapped), upstream(&unmapped)),
        (primary.address().into(), format!("127.0.0.1:{}", proxy.peer.port).into())
    );

    proxy.set_stalled(true);
    primary.cli(&["SET", "key", &"x".repeat(5000)]);
    for daemon in [&mapped, &unmapped] {
        for name in ["redis_replication_lag_seconds", "redis_replica_data_age_seconds"] {
            eventually(LIMIT, name, || {
                (daemon.samples().get(name, &labels) > Some(10.0)).then_some(())
            });
        }
        assert!(daemon.samples().get("redis_replication_lag_bytes", &labels) >= Some(5000.0));
        daemon.until_found_on(LIMIT, "RedisReplicationLag", &replica);
        let others: Vec<_> = daemon
            .findings()
            .into_iter()
            .filter(|(kind, _)| kind != "RedisReplicationLag" && kind != "RedisReplicaLinkStalled")
            .collect();
        assert_eq!(others, Findings::new(), "a stalled link does not orphan the replica");
    }
    proxy.set_stalled(false);
    for daemon in [&mapped, &unmapped] {
        daemon.until(LIMIT, "redis_replication_lag_bytes", &labels, 0.0);
        daemon.until(LIMIT, "redis_replication_lag_seconds", &labels, 0.0);
        assert!(daemon.samples().get("redis_replica_data_age_seconds", &labels) < Some(2.5));
        daemon.until_healthy(LIMIT, &[&primary, &replica]);
    }
}

#[test]
fn replica_data_age_grows_while_its_link_is_down() {
    let primary = Redis::start(&[]);
    let proxy = Proxy::start(primary.port);
    let replica = Redis::start(&[
        "--replicaof",
        "127.0.0.1",
        &proxy.peer.port.to_string(),
        "--repl-timeout",
        "5",
    ]);
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    let labels = [("node", node.as_str())];
    daemon.until_link(LIMIT, &replica, "up");
    daemon.until(LIMIT, "redis_replication_lag_bytes", &labels, 0.0);
    proxy.set_stalled(true);
    primary.cli(&["SET", "key", &"x".repeat(5000)]);
    daemon.until_link(LIMIT, &replica, "lost");
    for name in ["redis_replication_lag_seconds", "redis_replica_data_age_seconds"] {
        eventually(LIMIT, name, || {
            (daemon.samples().get(name, &labels) > Some(10.0)).then_some(())
        });
    }
    daemon.until_found_by_diagnose(LIMIT, &[&primary, &replica], "RedisReplicaLinkDown", &replica);
    daemon.until_found_on(LIMIT, "RedisReplicationLag", &replica);
    proxy.set_stalled(false);
    daemon.until_link(LIMIT, &replica, "up");
    daemon.until(LIMIT, "redis_replication_lag_bytes", &labels, 0.0);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

#[test]
fn replica_without_stale_reads_refuses_reads_on_lost_link() {
    let mut primary = Redis::start(&[]);
    let replica = primary.replica_with(&["--replica-serve-stale-data", "no"]);
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    let refused = [("node", node.as_str()), ("reason", "masterdown")];
    daemon.until_link(LIMIT, &replica, "up");
    daemon.until(LIMIT, "redis_config_replica_serve_stale_data", &refused[..1], 0.0);
    daemon.until(LIMIT, "redis_reads_refused", &refused, 0.0);
    assert_eq!(daemon.value("redis_deployment_readable"), Some(1.0));
    primary.kill();
    daemon.until(LIMIT, "redis_reads_refused", &refused, 1.0);
    assert!(replica.cli(&["GET", "key"]).contains("MASTERDOWN"));
    daemon.until(LIMIT, "redis_deployment_readable", &[], 0.0);
    daemon.until_found_by_diagnose(
        LIMIT,
        &[&primary, &replica],
        "RedisReplicaRejectsReads",
        &replica,
    );
    assert_eq!(
        daemon.severity("RedisReplicaRejectsReads").as_deref(),
        Some("critical"),
        "no replica serves reads"
    );
    primary.restart();
    daemon.until(LIMIT, "redis_reads_refused", &refused, 0.0);
    daemon.until(LIMIT, "redis_deployment_readable", &[], 1.0);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

#[test]
fn missing_replicas_are_reported_if_declared_or_seen() {
    let primary = Redis::start(&[]);
    let (mut first, mut second) = (primary.replica(), primary.replica());
    let declared = start_daemon(&[&primary, &first], "expect = { replicas = 2 }\n");
    let seen = Daemon::watch(&[&primary, &first, &second]);
    declared.until_found(LIMIT, "RedisReplicasMissing");
    assert_eq!(declared.value("redis_expected_replicas"), Some(2.0));
    assert_eq!(declared.value("redis_deployment_replicas"), Some(1.0));
    seen.until(LIMIT, "redis_deployment_replicas", &[], 2.0);
    seen.until_healthy(LIMIT, &[&primary, &first, &second]);

    let declared = start_daemon(&[&primary, &first, &second], "expect = { replicas = 2 }\n");
    declared.until(LIMIT, "redis_deployment_replicas", &[], 2.0);
    declared.until_healthy(LIMIT, &[&primary, &first, &second]);
    second.kill();
    for daemon in [&declared, &seen] {
        daemon.until(LIMIT, "redis_deployment_replicas", &[], 1.0);
        daemon.until_severity(LIMIT, "RedisReplicasMissing", "warning");
    }
    first.kill();
    for daemon in [&declared, &seen] {
        daemon.until_severity(LIMIT, "RedisReplicasMissing", "critical");
        assert_eq!(daemon.value("redis_deployment_replicas"), Some(0.0));
    }
    first.restart();
    second.restart();
    for daemon in [&declared, &seen] {
        daemon.until_healthy(LIMIT, &[&primary, &first, &second]);
    }
}
