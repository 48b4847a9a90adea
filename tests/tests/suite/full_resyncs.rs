//! Full resyncs on real servers: single ones, and loops of failing ones.

use std::time::Duration;

use tests::{Daemon, Disk, Redis, SECOND, diagnose, eventually, has_finding, pause};

/// Timeout for changes on a busy machine. Nodes that were down are polled again after up to 10 s.
const LIMIT: Duration = Duration::from_secs(30);

/// Fills a server with this many megabytes of data and disables RDB compression.
fn fill(server: &Redis, megabytes: u32) {
    for (parameter, value) in [("rdbcompression", "no"), ("save", "")] {
        server.cli(&["CONFIG", "SET", parameter, value]);
    }
    let script =
        "for key = 1, ARGV[1] do redis.call('SET', 'filler' .. key, string.rep('x', 1000000)) end";
    server.cli(&["EVAL", script, "0", &megabytes.to_string()]);
}

/// Waits until a full sync loop of the replica is reported. Checks that the finding persists.
#[track_caller]
fn until_sync_looping(daemon: &Daemon, primary: &Redis, replica: &Redis) {
    let took = daemon.until(
        LIMIT,
        "redis_link_state",
        &[("node", &replica.address()), ("state", "sync_looping")],
        1.0,
    );
    println!("sync looping after {took:?}");
    daemon.until_found_on(LIMIT, "RedisFullSyncLoop", replica);
    assert!(
        daemon.samples().get("redis_replica_resyncs_full_total", &[("node", &primary.address())])
            >= Some(3.0)
    );
    for _ in 0..10 {
        assert!(daemon.has_finding_on("RedisFullSyncLoop", replica), "{:?}", daemon.findings());
        pause(SECOND / 2);
    }
}

/// Checks that a full disk causes a full sync loop, which ends when space is free.
fn check_full_disk(disk: &Disk, primary: &Redis, replica: &Redis) {
    fill(primary, 8);
    let daemon = Daemon::watch(&[primary, replica]);
    daemon.until(LIMIT, "redis_up", &[("node", &replica.address())], 1.0);
    disk.fill();
    replica.replicate_from(primary);
    until_sync_looping(&daemon, primary, replica);
    let (_, text, findings) = diagnose(&[primary, replica]);
    let has_finding = findings.iter().any(|(_, node)| node.as_ref() == Some(&replica.address()));
    assert!(has_finding, "a finding about the replica that never gets its data: {text}");
    disk.free();
    daemon.until_link(LIMIT, replica, "up");
    primary.cli(&["BGSAVE"]);
    daemon.until_healthy(LIMIT, &[primary, replica]);
}

#[test]
fn full_disk_on_the_replica_causes_a_full_sync_loop() {
    let disk = Disk::with_megabytes(30);
    let primary = Redis::start(&[]);
    let replica = Redis::start(&["--dir", &disk.folder()]);
    check_full_disk(&disk, &primary, &replica);
}

#[test]
fn full_disk_on_the_master_causes_a_full_sync_loop() {
    let disk = Disk::with_megabytes(30);
    let primary = Redis::start(&["--repl-diskless-sync", "no", "--dir", &disk.folder()]);
    let replica = Redis::start(&[]);
    check_full_disk(&disk, &primary, &replica);
}

#[test]
fn exceeded_output_buffer_causes_a_full_sync_loop() {
    let limit =
        ["--client-output-buffer-limit", "replica 64kb 64kb 0", "--repl-backlog-size", "16kb"];
    let primary = Redis::start(&[&limit[..], &["--rdb-key-save-delay", "100000"]].concat());
    for key in 0..20 {
        primary.cli(&["SET", &format!("key{key}"), "x"]);
    }
    let replica = Redis::start(&[]);
    let daemon = Daemon::watch(&[&primary, &replica]);
    daemon.until(LIMIT, "redis_up", &[("node", &replica.address())], 1.0);
    replica.replicate_from(&primary);
    let value = "x".repeat(50_000);
    eventually(LIMIT, "a full sync loop", || {
        primary.cli(&["SET", "written", &value]);
        daemon.has_finding_on("RedisFullSyncLoop", &replica).then_some(())
    });
    // The writes have stopped.
    daemon.until_link(LIMIT, &replica, "up");
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

#[test]
fn new_replica_in_its_first_sync_has_no_findings() {
    // The full resync takes about 8 s. No client reads from the replica during that time.
    let primary =
        Redis::start(&["--rdb-key-save-delay", "200000", "--repl-diskless-sync-delay", "3"]);
    fill(&primary, 25);
    let replica = Redis::start(&["--replica-serve-stale-data", "no"]);
    let daemon = Daemon::watch(&[&primary]);
    daemon.until(LIMIT, "redis_up", &[], 1.0);
    drop(daemon);
    replica.replicate_from(&primary);
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    let mut refused = false;
    eventually(LIMIT, "the replica is synchronised", || {
        let (findings, samples) = (daemon.findings(), daemon.samples());
        for kind in [
            "RedisFullSyncLoop",
            "RedisReplicaRejectsReads",
            "RedisReplicaOrphaned",
            "RedisReplicationAuthFailing",
        ] {
            assert!(!has_finding(&findings, kind, &replica), "{findings:?}");
        }
        refused |= samples.get("redis_reads_refused", &[("node", &node), ("reason", "masterdown")])
            == Some(1.0);
        (samples.get("redis_link_state", &[("node", &node), ("state", "up")]) == Some(1.0))
            .then_some(())
    });
    assert!(refused, "the replica refused reads during the resync");
    daemon.until(LIMIT, "redis_reads_refused", &[("node", &node), ("reason", "masterdown")], 0.0);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
    assert_eq!(daemon.samples().get("redis_link_drops_total", &[("node", &node)]), Some(0.0));
}

#[test]
fn several_new_replicas_are_no_full_sync_loop() {
    // Each replica causes one full resync of the same primary before any of them is linked.
    let primary = Redis::start(&["--rdb-key-save-delay", "200000"]);
    fill(&primary, 15);
    let replicas = [(); 5].map(|()| Redis::start(&[]));
    let mut nodes = vec![&primary];
    nodes.extend(&replicas);
    let daemon = Daemon::watch(&nodes);
    daemon.until(LIMIT, "redis_deployment_nodes", &[("state", "answering")], 6.0);
    for replica in &replicas {
        replica.replicate_from(&primary);
        pause(SECOND / 2);
    }
    eventually(LIMIT, "all replicas are synchronised", || {
        assert!(
            daemon.findings().iter().all(|(kind, _)| kind != "RedisFullSyncLoop"),
            "{:?}",
            daemon.findings()
        );
        (daemon.samples().count("redis_link_state", &[]) == 30).then_some(())?;
        replicas
            .iter()
            .all(|replica| replica.info("master_link_status").as_deref() == Some("up"))
            .then_some(())
    });
    assert_eq!(primary.info("sync_full").as_deref(), Some("5"));
    daemon.until_healthy(LIMIT, &nodes);
}

/// Makes a replica writable and writes to it. Checks that the full resync which `resync` causes
/// clears the divergence.
fn check_divergence_cleared(options: &[&str], resync: impl FnOnce(&Redis, &mut Redis)) {
    let primary = Redis::start(options);
    for key in 0..10 {
        primary.cli(&["SET", &format!("key{key}"), "x"]);
    }
    let mut replica = primary.replica();
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    daemon.until_link(LIMIT, &replica, "up");
    replica.cli(&["CONFIG", "SET", "replica-read-only", "no"]);
    daemon.until(LIMIT, "redis_slave_read_only", &[("node", &node)], 0.0);
    replica.cli(&["SET", "stray", "x"]);
    daemon.until(LIMIT, "redis_replica_diverged", &[("node", &node)], 1.0);
    replica.cli(&["CONFIG", "SET", "replica-read-only", "yes"]);
    resync(&primary, &mut replica);
    eventually(LIMIT, "a full resync", || {
        (primary.info("sync_full")? == "2" && replica.info("loading")? == "0").then_some(())
    });
    daemon.until(LIMIT, "redis_replica_diverged", &[("node", &node)], 0.0);
    assert_eq!(replica.cli(&["EXISTS", "stray"]).trim(), "0");
    assert_eq!(daemon.until_event(LIMIT, "full_resync")["node"], node);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

fn promote_and_follow(primary: &Redis, replica: &mut Redis) {
    replica.promote();
    replica.replicate_from(primary);
}

fn restart_without_data(_: &Redis, replica: &mut Redis) {
    replica.kill();
    // The first full resync left this file.
    std::fs::remove_file(replica.directory().join("dump.rdb")).expect("removed");
    replica.restart();
}

#[test]
fn slow_full_resync_clears_the_divergence() {
    // The full resync takes one or two seconds, so that a round sees it.
    check_divergence_cleared(&["--rdb-key-save-delay", "250000"], promote_and_follow);
}

#[test]
fn fast_full_resync_clears_the_divergence() {
    // The full resync ends between two rounds.
    check_divergence_cleared(&[], promote_and_follow);
}

#[test]
fn slow_restart_without_data_clears_the_divergence() {
    check_divergence_cleared(&["--rdb-key-save-delay", "250000"], restart_without_data);
}

#[test]
fn fast_restart_without_data_clears_the_divergence() {
    check_divergence_cleared(&[], restart_without_data);
}
