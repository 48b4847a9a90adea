//! How replicas fail to follow, on real servers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::{Daemon, Disk, Found, Peer, Redis, deployment, diagnose, diagnose_urls, eventually, free_port, has, pause};

const SECOND: Duration = Duration::from_secs(1);

/// The longest that a change may take to show, on a busy machine: nodes that were gone are asked again after up to 10 s.
const LIMIT: Duration = Duration::from_secs(30);

#[track_caller]
fn until_orphan(daemon: &Daemon, node: &Redis, why: &str, is: f64) {
    daemon.until(LIMIT, "redis_replica_orphaned", &[("node", &node.address()), ("why", why)], is);
}

/// A daemon on these nodes, with more about their deployment in its configuration.
fn configured(nodes: &[&Redis], more: &str) -> Daemon {
    Daemon::configured(&(deployment("a", nodes) + more))
}

/// Fills a server with that many megabytes, which do not shrink in a snapshot.
fn fill(server: &Redis, megabytes: u32) {
    for (parameter, value) in [("rdbcompression", "no"), ("save", "")] {
        server.cli(&["CONFIG", "SET", parameter, value]);
    }
    let script = "for key = 1, ARGV[1] do redis.call('SET', 'filler' .. key, string.rep('x', 1000000)) end";
    server.cli(&["EVAL", script, "0", &megabytes.to_string()]);
}

#[test]
fn a_chain_breaks_below_the_node_that_dies() {
    let mut top = Redis::start(&[]);
    let mut middle = top.replica();
    let leaf = middle.replica();
    let daemon = Daemon::watch(&[&top, &middle, &leaf]);
    daemon.until(LIMIT, "redis_replica_chain_depth", &[("node", &leaf.address())], 2.0);
    daemon.until_healthy(LIMIT, &[&top, &middle, &leaf]);

    middle.kill();
    until_orphan(&daemon, &leaf, "dead_node", 1.0);
    daemon.until_link(LIMIT, &leaf, "lost");
    daemon.until_told(LIMIT, &[&top, &middle, &leaf], "RedisReplicaOrphaned", &leaf);
    middle.restart();
    until_orphan(&daemon, &leaf, "dead_node", 0.0);
    daemon.until_healthy(LIMIT, &[&top, &middle, &leaf]);

    top.kill();
    daemon.until_link(LIMIT, &middle, "lost");
    until_orphan(&daemon, &middle, "dead_node", 1.0);
    until_orphan(&daemon, &leaf, "broken_chain", 1.0);
    assert_eq!(leaf.info("master_link_status").as_deref(), Some("up"), "its own link stands");
    assert_eq!(daemon.samples().get("redis_link_state", &[("node", &leaf.address()), ("state", "up")]), Some(1.0));
    daemon.until_told(LIMIT, &[&top, &middle, &leaf], "RedisReplicaOrphaned", &leaf);
    top.restart();
    until_orphan(&daemon, &leaf, "broken_chain", 0.0);
    daemon.until_healthy(LIMIT, &[&top, &middle, &leaf]);
}

#[test]
fn a_replica_of_nobody_is_an_orphan() {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let daemon = Daemon::watch(&[&primary, &replica]);
    daemon.until_link(LIMIT, &replica, "up");
    let nowhere = free_port();
    replica.cli(&["REPLICAOF", "127.0.0.1", &nowhere.to_string()]);
    until_orphan(&daemon, &replica, "unknown_address", 1.0);
    daemon.until_told(LIMIT, &[&primary, &replica], "RedisReplicaOrphaned", &replica);
    let finding = daemon.finding("RedisReplicaOrphaned");
    assert_eq!(finding.expect("found")["evidence"]["master"], format!("127.0.0.1:{nowhere}"));
    replica.follow(&primary);
    until_orphan(&daemon, &replica, "unknown_address", 0.0);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

/// A replica with these options cannot authenticate with a master that has a password, until `mend` is done to it.
fn check_authentication(version: &'static str, options: &[&str], mend: &[[&str; 2]]) {
    let primary = Redis::of(version, &["--requirepass", "secret", "--user", "narrow", "on", ">secret", "+ping", "+replconf"]);
    let replica = primary.replica_with(options);
    let urls = [format!("redis://:secret@{}", primary.address()), replica.url()];
    let urls = urls.each_ref().map(String::as_str);
    let daemon = Daemon::serve(&urls);
    daemon.until_link(LIMIT, &replica, "never_up");
    daemon.until_finds(LIMIT, "RedisReplicationAuthFailing", &replica);
    let (code, text, found) = diagnose_urls(&urls);
    assert!(code == Some(1) && has(&found, "RedisReplicationAuthFailing", &replica), "{version} {options:?}: {text}");
    let mend = || {
        for [parameter, value] in mend {
            replica.cli(&["CONFIG", "SET", parameter, value]);
        }
        daemon.until_link(LIMIT, &replica, "up");
        daemon.until_quiet(LIMIT);
    };
    mend();

    // A rotation bites at the next connection, not before.
    primary.cli(&["-a", "secret", "CONFIG", "SET", "requirepass", "rotated"]);
    pause(SECOND * 3);
    assert_eq!(daemon.findings(), Found::new(), "nothing is wrong yet");
    replica.cli(&["CONFIG", "SET", "masterauth", "outdated"]);
    primary.cli(&["-a", "rotated", "CLIENT", "KILL", "TYPE", "replica"]);
    daemon.until_link(LIMIT, &replica, "lost");
    daemon.until_finds(LIMIT, "RedisReplicationAuthFailing", &replica);
    primary.cli(&["-a", "rotated", "CONFIG", "SET", "requirepass", "secret"]);
    mend();
    assert_eq!(diagnose_urls(&urls).2, Found::new());
}

#[test]
fn a_wrong_masterauth() {
    check_authentication("redis-7.0.15", &["--masterauth", "wrong"], &[["masterauth", "secret"]]);
}

#[test]
fn a_wrong_masterauth_of_valkey() {
    check_authentication("valkey-9.1.2", &["--masterauth", "wrong"], &[["masterauth", "secret"]]);
}

#[test]
fn a_missing_masterauth() {
    check_authentication("redis-7.0.15", &[], &[["masterauth", "secret"]]);
}

#[test]
fn a_missing_masterauth_of_6_2() {
    check_authentication("redis-6.2.14", &[], &[["masterauth", "secret"]]);
}

#[test]
fn a_masteruser_that_may_not_replicate() {
    let mend = [["masteruser", ""], ["masterauth", "secret"]];
    check_authentication("redis-7.0.15", &["--masteruser", "narrow", "--masterauth", "secret"], &mend);
}

#[test]
fn a_client_with_a_wrong_password_is_no_replica_with_one() {
    let primary = Redis::start(&["--requirepass", "secret", "--rdb-key-save-delay", "200000"]);
    let standing = primary.replica_with(&["--masterauth", "secret"]);
    let daemon = Daemon::serve(&[&format!("redis://:secret@{}", primary.address()), &standing.url()]);
    daemon.until_link(LIMIT, &standing, "up");
    let node = primary.address();
    let wrong = || primary.cli(&["-a", "wrong", "PING"]);
    for round in 1..5 {
        wrong();
        eventually(LIMIT, "the error is counted", || {
            (daemon.samples().get("redis_errors_total", &[("node", &node), ("err", "WRONGPASS")]) >= Some(f64::from(round))).then_some(())
        });
        assert_eq!(daemon.findings(), Found::new());
    }
    // Nor while a replica takes its time to synchronise: its link is not lost, and it was let in.
    for key in 0..40 {
        primary.cli(&["-a", "secret", "SET", &key.to_string(), "x"]);
    }
    let node = standing.address();
    standing.promote();
    standing.follow(&primary);
    daemon.until_link(LIMIT, &standing, "syncing");
    eventually(LIMIT, "synchronised", || {
        wrong();
        let (found, samples) = (daemon.findings(), daemon.samples());
        let is = |state| samples.get("redis_link_state", &[("node", &node), ("state", state)]) == Some(1.0);
        let states = ["syncing", "lost", "never_up"].map(is);
        assert!(!has(&found, "RedisReplicationAuthFailing", &standing), "syncing, lost, never up: {states:?}");
        is("up").then_some(())
    });
}

/// Waits until a replica is told to synchronise again and again, and checks that it is told so for as long as it does.
#[track_caller]
fn until_looping(daemon: &Daemon, primary: &Redis, replica: &Redis) {
    let looping = daemon.until(LIMIT, "redis_link_state", &[("node", &replica.address()), ("state", "sync_looping")], 1.0);
    println!("looping after {looping:?}");
    daemon.until_finds(LIMIT, "RedisFullSyncLoop", replica);
    assert!(daemon.samples().get("redis_replica_resyncs_full_total", &[("node", &primary.address())]) >= Some(3.0));
    for _ in 0..10 {
        assert!(daemon.finds("RedisFullSyncLoop", replica), "{:?}", daemon.findings());
        pause(SECOND / 2);
    }
}

/// A full disk makes a synchronisation begin again and again, until there is space.
fn check_full_disk(disk: &Disk, primary: &Redis, replica: &Redis) {
    fill(primary, 8);
    let daemon = Daemon::watch(&[primary, replica]);
    daemon.until(LIMIT, "redis_up", &[("node", &replica.address())], 1.0);
    disk.fill();
    replica.follow(primary);
    until_looping(&daemon, primary, replica);
    let (_, text, found) = diagnose(&[primary, replica]);
    let about = found.iter().any(|(_, node)| node.as_ref() == Some(&replica.address()));
    assert!(about, "a replica that never gets its data: {text}");
    disk.free();
    daemon.until_link(LIMIT, replica, "up");
    primary.cli(&["BGSAVE"]);
    daemon.until_healthy(LIMIT, &[primary, replica]);
}

#[test]
fn a_full_disk_of_the_replica_makes_it_synchronise_for_ever() {
    let disk = Disk::of(30);
    let primary = Redis::start(&[]);
    let replica = Redis::start(&["--dir", &disk.folder()]);
    check_full_disk(&disk, &primary, &replica);
}

#[test]
fn a_full_disk_of_the_master_makes_its_replica_synchronise_for_ever() {
    let disk = Disk::of(30);
    let primary = Redis::start(&["--repl-diskless-sync", "no", "--dir", &disk.folder()]);
    let replica = Redis::start(&[]);
    check_full_disk(&disk, &primary, &replica);
}

#[test]
fn a_replica_that_is_cut_off_for_the_writes_meanwhile_synchronises_for_ever() {
    let limit = ["--client-output-buffer-limit", "replica 64kb 64kb 0", "--repl-backlog-size", "16kb"];
    let primary = Redis::start(&[&limit[..], &["--rdb-key-save-delay", "100000"]].concat());
    for key in 0..20 {
        primary.cli(&["SET", &format!("key{key}"), "x"]);
    }
    let replica = Redis::start(&[]);
    let daemon = Daemon::watch(&[&primary, &replica]);
    daemon.until(LIMIT, "redis_up", &[("node", &replica.address())], 1.0);
    replica.follow(&primary);
    let written = "x".repeat(50_000);
    eventually(LIMIT, "a loop", || {
        primary.cli(&["SET", "written", &written]);
        daemon.finds("RedisFullSyncLoop", &replica).then_some(())
    });
    // Nobody writes any more.
    daemon.until_link(LIMIT, &replica, "up");
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

#[test]
fn a_new_replica_needs_nobody() {
    // Some 8 s of synchronisation; the reads that it refuses meanwhile nobody has asked it for.
    let primary = Redis::start(&["--rdb-key-save-delay", "200000", "--repl-diskless-sync-delay", "3"]);
    fill(&primary, 25);
    let replica = Redis::start(&["--replica-serve-stale-data", "no"]);
    let daemon = Daemon::watch(&[&primary]);
    daemon.until(LIMIT, "redis_up", &[], 1.0);
    drop(daemon);
    replica.follow(&primary);
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    let mut refused = false;
    eventually(LIMIT, "synchronised", || {
        let (found, samples) = (daemon.findings(), daemon.samples());
        for kind in ["RedisFullSyncLoop", "RedisReplicaRejectsReads", "RedisReplicaOrphaned", "RedisReplicationAuthFailing"] {
            assert!(!has(&found, kind, &replica), "{found:?}");
        }
        refused |= samples.get("redis_reads_refused", &[("node", &node), ("reason", "masterdown")]) == Some(1.0);
        (samples.get("redis_link_state", &[("node", &node), ("state", "up")]) == Some(1.0)).then_some(())
    });
    assert!(refused, "it did refuse reads");
    daemon.until(LIMIT, "redis_reads_refused", &[("node", &node), ("reason", "masterdown")], 0.0);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
    assert_eq!(daemon.samples().get("redis_link_drops_total", &[("node", &node)]), Some(0.0));
}

#[test]
fn several_new_replicas_at_once_are_no_loop() {
    // Each is one more synchronisation of the same primary, while none of them stands yet.
    let primary = Redis::start(&["--rdb-key-save-delay", "200000"]);
    fill(&primary, 15);
    let replicas = [(); 5].map(|()| Redis::start(&[]));
    let mut nodes = vec![&primary];
    nodes.extend(&replicas);
    let daemon = Daemon::watch(&nodes);
    daemon.until(LIMIT, "redis_deployment_nodes", &[("state", "answering")], 6.0);
    for replica in &replicas {
        replica.follow(&primary);
        pause(SECOND / 2);
    }
    eventually(LIMIT, "all are synchronised", || {
        assert!(daemon.findings().iter().all(|(kind, _)| kind != "RedisFullSyncLoop"), "{:?}", daemon.findings());
        (daemon.samples().count("redis_link_state", &[]) == 30).then_some(())?;
        replicas.iter().all(|replica| replica.info("master_link_status").as_deref() == Some("up")).then_some(())
    });
    assert_eq!(primary.info("sync_full").as_deref(), Some("5"));
    daemon.until_healthy(LIMIT, &nodes);
}

#[test]
fn a_writable_replica_and_what_outlives_it() {
    let primary = Redis::start(&[]);
    let mut replica = primary.replica_with(&[]);
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    let diverged = || daemon.samples().get("redis_replica_diverged", &[("node", &node)]);
    daemon.until_link(LIMIT, &replica, "up");
    replica.cli(&["CONFIG", "SET", "replica-read-only", "no"]);
    daemon.until(LIMIT, "redis_slave_read_only", &[("node", &node)], 0.0);
    daemon.until_told(LIMIT, &[&primary, &replica], "RedisReplicaWritable", &replica);
    // It is no different as long as nobody writes to it, whatever the primary is told.
    for round in 0..20 {
        primary.cli(&["SET", &format!("key{round}"), "x"]);
        primary.cli(&["DEL", &format!("key{}", round / 2)]);
        primary.cli(&["SET", "fleeting", "x", "PX", "100"]);
        pause(SECOND / 4);
        assert_eq!(diverged(), Some(0.0));
    }

    replica.cli(&["SET", "stray", "x"]);
    daemon.until(LIMIT, "redis_replica_diverged", &[("node", &node)], 1.0);
    daemon.until_told(LIMIT, &[&primary, &replica], "RedisReplicaDiverged", &replica);
    // That a replica is read-only again gives it no other data; nor does a restart with what it has.
    replica.cli(&["CONFIG", "SET", "replica-read-only", "yes"]);
    daemon.until(LIMIT, "redis_slave_read_only", &[("node", &node)], 1.0);
    eventually(LIMIT, "RedisReplicaWritable is gone", || (!daemon.finds("RedisReplicaWritable", &replica)).then_some(()));
    assert_eq!(daemon.findings(), [("RedisReplicaDiverged".to_owned(), Some(node.clone()))]);
    let full = || primary.info("sync_full").expect("a count");
    let before = full();
    replica.cli(&["SHUTDOWN", "SAVE"]);
    replica.end(LIMIT);
    replica.restart();
    daemon.until(LIMIT, "redis_restarts_total", &[("node", &node)], 1.0);
    daemon.until_link(LIMIT, &replica, "up");
    assert_eq!((full(), replica.cli(&["EXISTS", "stray"]).trim()), (before, "1"), "a partial synchronisation");
    pause(SECOND * 2);
    assert_eq!(diverged(), Some(1.0));
    assert!(daemon.finds("RedisReplicaDiverged", &replica));
}

/// Writes to a replica that was made writable for that, and then does something to it that gives it all of its primary's data again.
fn check_rebuilt(options: &[&str], rebuild: impl FnOnce(&Redis, &mut Redis)) {
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
    rebuild(&primary, &mut replica);
    eventually(LIMIT, "a full synchronisation", || (primary.info("sync_full")? == "2" && replica.info("loading")? == "0").then_some(()));
    daemon.until(LIMIT, "redis_replica_diverged", &[("node", &node)], 0.0);
    assert_eq!(replica.cli(&["EXISTS", "stray"]).trim(), "0");
    assert_eq!(daemon.until_event(LIMIT, "full_resync")["node"], node);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

fn follow_anew(primary: &Redis, replica: &mut Redis) {
    replica.promote();
    replica.follow(primary);
}

fn start_without_data(_: &Redis, replica: &mut Redis) {
    replica.kill();
    // What the first synchronisation left there.
    std::fs::remove_file(replica.directory().join("dump.rdb")).expect("removed");
    replica.restart();
}

#[test]
fn a_replica_that_follows_anew_is_its_primary_s_again() {
    // A second or two of synchronisation, which rounds see.
    check_rebuilt(&["--rdb-key-save-delay", "250000"], follow_anew);
}

#[test]
fn a_replica_that_follows_anew_between_two_rounds_is_its_primary_s_again() {
    check_rebuilt(&[], follow_anew);
}

#[test]
fn a_replica_that_starts_without_data_is_its_primary_s_again() {
    check_rebuilt(&["--rdb-key-save-delay", "250000"], start_without_data);
}

#[test]
fn a_replica_that_starts_without_data_between_two_rounds_is_its_primary_s_again() {
    check_rebuilt(&[], start_without_data);
}

/// A proxy in front of a port, and what makes it hold back all that flows while it is true.
fn holding(target: u16) -> (Peer, Arc<AtomicBool>) {
    fn pump(mut from: TcpStream, mut to: TcpStream, holds: &AtomicBool) {
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            while holds.load(Ordering::Relaxed) {
                pause(SECOND / 100);
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        // They may be closed already.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
    let holds = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&holds);
    let peer = Peer::start(move |client| {
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
        let (from, to) = (client.try_clone().expect("a stream"), server.try_clone().expect("a stream"));
        let shared_too = Arc::clone(&shared);
        std::thread::spawn(move || pump(from, to, &shared_too));
        pump(server, client, &shared);
    });
    (peer, holds)
}

#[test]
fn a_replica_that_falls_behind() {
    let primary = Redis::start(&[]);
    let (peer, holds) = holding(primary.port);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &peer.port.to_string()]);
    let map = format!("address_map = {{ '127.0.0.1:{}' = '{}' }}\n", peer.port, primary.address());
    let mapped = configured(&[&primary, &replica], &map);
    let unmapped = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    let labels = [("node", node.as_str())];
    for daemon in [&mapped, &unmapped] {
        daemon.until_link(LIMIT, &replica, "up");
        daemon.until(LIMIT, "redis_replication_lag_bytes", &labels, 0.0);
        daemon.until_healthy(LIMIT, &[&primary, &replica]);
    }
    let follows = |daemon: &Daemon| daemon.document("/api/v1/topology")["deployments"][0]["nodes"][1]["follows"].clone();
    assert_eq!((follows(&mapped), follows(&unmapped)), (primary.address().into(), format!("127.0.0.1:{}", peer.port).into()));

    holds.store(true, Ordering::Relaxed);
    primary.cli(&["SET", "key", &"x".repeat(5000)]);
    for daemon in [&mapped, &unmapped] {
        for name in ["redis_replication_lag_seconds", "redis_replica_data_age_seconds"] {
            eventually(LIMIT, name, || (daemon.samples().get(name, &labels) > Some(10.0)).then_some(()));
        }
        assert!(daemon.samples().get("redis_replication_lag_bytes", &labels) >= Some(5000.0));
        daemon.until_finds(LIMIT, "RedisReplicationLag", &replica);
        let others: Vec<_> =
            daemon.findings().into_iter().filter(|(kind, _)| kind != "RedisReplicationLag" && kind != "RedisReplicaLinkStalled").collect();
        assert_eq!(others, Found::new(), "a slow link makes no orphan");
    }
    holds.store(false, Ordering::Relaxed);
    for daemon in [&mapped, &unmapped] {
        daemon.until(LIMIT, "redis_replication_lag_bytes", &labels, 0.0);
        daemon.until(LIMIT, "redis_replication_lag_seconds", &labels, 0.0);
        assert!(daemon.samples().get("redis_replica_data_age_seconds", &labels) < Some(2.5));
        daemon.until_healthy(LIMIT, &[&primary, &replica]);
    }
}

#[test]
fn the_data_of_a_replica_ages_while_its_link_is_down() {
    let primary = Redis::start(&[]);
    let (peer, holds) = holding(primary.port);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &peer.port.to_string(), "--repl-timeout", "5"]);
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    let labels = [("node", node.as_str())];
    daemon.until_link(LIMIT, &replica, "up");
    daemon.until(LIMIT, "redis_replication_lag_bytes", &labels, 0.0);
    holds.store(true, Ordering::Relaxed);
    primary.cli(&["SET", "key", &"x".repeat(5000)]);
    daemon.until_link(LIMIT, &replica, "lost");
    for name in ["redis_replication_lag_seconds", "redis_replica_data_age_seconds"] {
        eventually(LIMIT, name, || (daemon.samples().get(name, &labels) > Some(10.0)).then_some(()));
    }
    daemon.until_told(LIMIT, &[&primary, &replica], "RedisReplicaLinkDown", &replica);
    daemon.until_finds(LIMIT, "RedisReplicationLag", &replica);
    holds.store(false, Ordering::Relaxed);
    daemon.until_link(LIMIT, &replica, "up");
    daemon.until(LIMIT, "redis_replication_lag_bytes", &labels, 0.0);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

#[test]
fn a_replica_that_serves_no_stale_data_refuses_reads_without_its_master() {
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
    daemon.until_told(LIMIT, &[&primary, &replica], "RedisReplicaRejectsReads", &replica);
    assert_eq!(daemon.severity("RedisReplicaRejectsReads").as_deref(), Some("critical"), "no replica serves reads");
    primary.restart();
    daemon.until(LIMIT, "redis_reads_refused", &refused, 0.0);
    daemon.until(LIMIT, "redis_deployment_readable", &[], 1.0);
    daemon.until_healthy(LIMIT, &[&primary, &replica]);
}

#[test]
fn replicas_are_missed_when_declared_or_seen() {
    let primary = Redis::start(&[]);
    let (mut first, mut second) = (primary.replica(), primary.replica());
    let declared = configured(&[&primary, &first], "expect = { replicas = 2 }\n");
    let seen = Daemon::watch(&[&primary, &first, &second]);
    declared.until_found(LIMIT, "RedisReplicasMissing");
    assert_eq!(declared.value("redis_expected_replicas"), Some(2.0));
    assert_eq!(declared.value("redis_deployment_replicas"), Some(1.0));
    seen.until(LIMIT, "redis_deployment_replicas", &[], 2.0);
    seen.until_healthy(LIMIT, &[&primary, &first, &second]);

    let declared = configured(&[&primary, &first, &second], "expect = { replicas = 2 }\n");
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
