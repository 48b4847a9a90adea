//! Acceptance and durability of writes on real servers: full disks, failing fsync, memory limits
//! and missing replicas.

use std::time::Duration;

use tests::{Daemon, Disk, FaultInjector, Findings, Redis, SECOND, diagnose, eventually, pause};

/// Timeout for changes on a busy machine. Nodes that were down are polled again after up to 10 s.
const LIMIT: Duration = Duration::from_secs(30);

fn has_kind(findings: &Findings, kind: &str) -> bool {
    findings.iter().any(|(found, _)| found == kind)
}

/// Waits until writes are refused for this reason and a finding of this kind exists. Checks that it
/// and `RedisWritesBlocked` are the only findings, and that `diagnose` has both.
#[track_caller]
fn until_writes_blocked(daemon: &Daemon, server: &Redis, reason: &str, kind: &str) {
    let node = server.address();
    daemon.until(LIMIT, "redis_writes_refused", &[("node", &node), ("reason", reason)], 1.0);
    daemon.until_found(LIMIT, kind);
    assert_eq!(daemon.value("redis_deployment_writable"), Some(0.0));
    let expected = [kind.to_owned(), "RedisWritesBlocked".to_owned()];
    let mut kinds: Vec<_> = daemon.findings().into_iter().map(|(kind, _)| kind).collect();
    kinds.sort();
    assert_eq!(kinds, expected, "no other findings");
    let (code, text, findings) = diagnose(&[server]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        findings.contains(&(kind.to_owned(), Some(node)))
            && has_kind(&findings, "RedisWritesBlocked"),
        "{text}"
    );
    let words = match reason {
        "misconf_aof" => "AOF write error (misconf_aof)",
        "misconf_rdb" => "last RDB save failed (misconf_rdb)",
        "oom" => "memory limit reached (oom)",
        other => panic!("unexpected reason {other}"),
    };
    assert!(
        text.contains("writes REFUSED") && text.contains(&format!("refuses writes: {words}")),
        "{text}"
    );
}

/// Waits until writes are accepted again and no findings are left.
#[track_caller]
fn until_recovered(daemon: &Daemon, server: &Redis) {
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    daemon.until_healthy(LIMIT, &[server]);
}

/// Starts a daemon with these keys of a deployment. It sends CONFIG GET every second.
fn start_daemon(deployment: &str) -> Daemon {
    Daemon::configured(&format!(
        "[[deployment]]\nname = 'a'\ncadence = {{ config = '1s' }}\n{deployment}"
    ))
}

#[test]
fn aof_on_a_full_disk_blocks_writes_until_space_is_free() {
    let disk = Disk::with_megabytes(2);
    let server = Redis::start(&["--appendonly", "yes", "--dir", &disk.folder()]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    disk.fill();
    // The first write to the full disk is still acknowledged.
    eventually(LIMIT, "writes are refused", || {
        server.cli(&["SET", "key", &"x".repeat(5000)]).contains("MISCONF").then_some(())
    });
    until_writes_blocked(&daemon, &server, "misconf_aof", "RedisAofWriteFailing");
    let samples = daemon.samples();
    assert_eq!(
        (
            samples.get("redis_aof_last_write_status", &[]),
            samples.get("redis_aof_fsync_stuck", &[])
        ),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(samples.get("redis_deployment_readable", &[]), Some(1.0), "reads are served");
    assert!(samples.get("redis_errors_total", &[("err", "MISCONF")]) >= Some(1.0));
    assert_eq!(daemon.until_event(LIMIT, "aof_write_failed")["node"], server.address());
    assert!(daemon.events().iter().all(|event| event["kind"] != "aof_write_recovered"));
    // Disabling this option, as is often advised, does not help: it only applies to RDB snapshots.
    server.cli(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    pause(SECOND * 3);
    assert!(server.cli(&["SET", "key", "x"]).contains("MISCONF"));
    assert_eq!(
        daemon.samples().get("redis_writes_refused", &[("reason", "misconf_aof")]),
        Some(1.0)
    );
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(0.0));

    disk.free();
    until_recovered(&daemon, &server);
    daemon.until_event(LIMIT, "aof_write_recovered");
    assert_eq!(
        (
            daemon.logged_events("aof_write_failed").len(),
            daemon.logged_events("aof_write_recovered").len()
        ),
        (1, 1),
        "{:?}",
        daemon.log()
    );
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(0.0));
}

#[test]
fn full_disk_on_a_replica_blocks_no_writes() {
    for (version, finding) in
        [("redis-6.2.14", "RedisAofWriteFailing"), ("redis-7.0.15", "RedisDown")]
    {
        let disk = Disk::with_megabytes(2);
        let primary = Redis::with_version(version, &[]);
        let mut replica = primary.replica_with(&["--appendonly", "yes", "--dir", &disk.folder()]);
        let daemon = Daemon::watch(&[&primary, &replica]);
        let node = replica.address();
        daemon.until_link(LIMIT, &replica, "up");
        daemon.until_no_findings(LIMIT);
        // The replica rewrites its AOF after the full resync.
        eventually(LIMIT, "the AOF is rewritten", || {
            let idle = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"]
                .iter()
                .all(|field| replica.info(field).as_deref() == Some("0"));
            (idle && replica.info("aof_last_rewrite_time_sec")? != "-1").then_some(())
        });
        disk.fill();
        let expected = (finding.to_owned(), Some(node.clone()));
        eventually(LIMIT, finding, || {
            assert_eq!(primary.cli(&["SET", "key", &"x".repeat(5000)]).trim(), "OK");
            daemon.findings().contains(&expected).then_some(())
        });
        let (samples, findings) = (daemon.samples(), daemon.findings());
        assert_eq!(samples.get("redis_deployment_writable", &[]), Some(1.0), "{version}");
        assert_ne!(
            samples.get("redis_writes_refused", &[("node", &node), ("reason", "misconf_aof")]),
            Some(1.0),
            "{version}"
        );
        assert!(!has_kind(&findings, "RedisWritesBlocked"), "{findings:?}");
        // A new process does not know that the dead replica ever ran.
        let diagnosed = if finding == "RedisDown" {
            ("RolecallNeverReached".to_owned(), None)
        } else {
            expected
        };
        assert!(diagnose(&[&primary, &replica]).2.contains(&diagnosed), "{version}");
        disk.free();
        if finding == "RedisDown" {
            // Since 7.0 a replica exits if it cannot write to its AOF.
            assert!(!replica.end(LIMIT).success());
            replica.restart();
        }
        daemon.until_no_findings(LIMIT);
    }
}

/// Starts a server with a shim for fsync, and a daemon that polls it.
fn start_with_shim(version: &'static str) -> (FaultInjector, Redis, Daemon) {
    let shim = FaultInjector::build();
    let server = Redis::with_environment(
        &shim.environment(),
        version,
        &["--appendonly", "yes", "--appendfsync", "everysec"],
    );
    let daemon = Daemon::watch(&[&server]);
    daemon.until(LIMIT, "redis_aof_fsync_stuck", &[], 0.0);
    (shim, server, daemon)
}

/// Makes fsync fail once. Checks that the failure is reported and persists.
fn check_fsync_stuck(shim: &FaultInjector, server: &Redis, daemon: &Daemon) {
    shim.fail_fsync();
    server.cli(&["SET", "key", "value"]);
    daemon.until(LIMIT, "redis_aof_fsync_stuck", &[], 1.0);
    until_writes_blocked(daemon, server, "misconf_aof", "RedisAofFsyncStuck");
    shim.clear_faults();
    pause(SECOND * 3);
    assert!(
        server.cli(&["SET", "key", "value"]).contains("MISCONF"),
        "a working disk alone does not help"
    );
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(1.0));
    assert!(has_kind(&daemon.findings(), "RedisAofFsyncStuck"));
}

#[test]
fn failed_fsync_lasts_until_aof_is_disabled_and_enabled() {
    let (shim, server, daemon) = start_with_shim("redis-7.0.15");
    check_fsync_stuck(&shim, &server, &daemon);
    // On 7.0 a rewrite does not help either.
    server.cli(&["BGREWRITEAOF"]);
    daemon.until(LIMIT, "redis_aof_rewrites_total", &[], 1.0);
    pause(SECOND * 3);
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(1.0));
    server.cli(&["CONFIG", "SET", "appendonly", "no"]);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    server.cli(&["CONFIG", "SET", "appendonly", "yes"]);
    daemon.until(LIMIT, "redis_aof_enabled", &[], 1.0);
    until_recovered(&daemon, &server);
    assert_eq!(server.cli(&["SET", "key", "value"]).trim(), "OK");
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(0.0));
    assert_eq!(
        (
            daemon.logged_events("aof_write_failed").len(),
            daemon.logged_events("aof_write_recovered").len()
        ),
        (1, 1),
        "{:?}",
        daemon.log()
    );
}

/// Checks that an AOF rewrite clears the failure. Only 7.0 needs more than that.
fn check_cleared_by_a_rewrite(version: &'static str) {
    let (shim, server, daemon) = start_with_shim(version);
    check_fsync_stuck(&shim, &server, &daemon);
    server.cli(&["BGREWRITEAOF"]);
    until_recovered(&daemon, &server);
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(0.0));
}

#[test]
fn failed_fsync_on_6_2_lasts_until_a_rewrite() {
    check_cleared_by_a_rewrite("redis-6.2.14");
}

#[test]
fn failed_fsync_on_8_2_lasts_until_a_rewrite() {
    check_cleared_by_a_rewrite("redis-8.2.3");
}

#[test]
fn failed_fsync_on_valkey_lasts_until_a_rewrite() {
    check_cleared_by_a_rewrite("valkey-9.1.2");
}

#[test]
fn slow_fsync_is_counted_and_is_not_a_failure() {
    let (shim, server, daemon) = start_with_shim("redis-7.0.15");
    shim.slow_fsync();
    eventually(LIMIT, "a delayed fsync", || {
        server.cli(&["SET", "key", "value"]);
        assert_eq!(daemon.findings(), Findings::new(), "no findings");
        (daemon.value("redis_aof_delayed_fsync_total") >= Some(1.0)).then_some(())
    });
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(0.0));
    assert_eq!(daemon.value("redis_deployment_writable"), Some(1.0));
}

#[test]
fn failed_bgsave_blocks_writes_only_with_save_points() {
    let disk = Disk::with_megabytes(2);
    let server = Redis::start(&["--save", "3600 1000000", "--dir", &disk.folder()]);
    let without_save_points = Redis::start(&["--dir", &disk.folder(), "--dbfilename", "other.rdb"]);
    let [daemon, other_daemon] =
        [&server, &without_save_points].map(|server| Daemon::watch(&[server]));
    daemon.until(LIMIT, "redis_config_save_points", &[], 1.0);
    other_daemon.until(LIMIT, "redis_config_save_points", &[], 0.0);
    disk.fill();
    for server in [&server, &without_save_points] {
        server.cli(&["SET", "key", &"x".repeat(100)]);
        server.cli(&["BGSAVE"]);
    }
    until_writes_blocked(&daemon, &server, "misconf_rdb", "RedisBgsaveFailing");
    assert!(server.cli(&["SET", "key", "x"]).contains("MISCONF"));

    other_daemon.until_found(LIMIT, "RedisBgsaveFailing");
    assert_eq!(
        other_daemon.findings(),
        [("RedisBgsaveFailing".to_owned(), Some(without_save_points.address()))]
    );
    assert_eq!(without_save_points.cli(&["SET", "key", "x"]).trim(), "OK");
    let samples = other_daemon.samples();
    assert_eq!(samples.get("redis_writes_refused", &[("reason", "misconf_rdb")]), Some(0.0));
    assert_eq!(samples.get("redis_deployment_writable", &[]), Some(1.0));
    let (code, text, findings) = diagnose(&[&without_save_points]);
    assert!(code == Some(1) && findings.len() == 1 && text.contains("writes accepted"), "{text}");

    // Free space alone does not help. A successful BGSAVE does.
    disk.free();
    pause(SECOND * 2);
    assert_eq!(daemon.value("redis_deployment_writable"), Some(0.0));
    for (daemon, server) in [(&daemon, &server), (&other_daemon, &without_save_points)] {
        server.cli(&["BGSAVE"]);
        until_recovered(daemon, server);
    }
}

#[test]
fn memory_near_and_at_maxmemory_is_reported() {
    let server = Redis::start(&["--enable-debug-command", "yes"]);
    server.cli(&["DEBUG", "POPULATE", "200", "key", "100000"]);
    let daemon = Daemon::watch(&[&server]);
    let used = server.number("used_memory");
    server.cli(&["CONFIG", "SET", "maxmemory", &(used * 4 / 3).to_string()]);
    daemon.until(LIMIT, "redis_memory_max_bytes", &[], (used * 4 / 3) as f64);
    assert_eq!(daemon.findings(), Findings::new());
    server.cli(&["CONFIG", "SET", "maxmemory", &(used * 100 / 95).to_string()]);
    daemon.until_found(LIMIT, "RedisMemoryNearLimit");
    assert_eq!(daemon.findings().len(), 1);
    assert_eq!(daemon.value("redis_deployment_writable"), Some(1.0));
    assert!(has_kind(&diagnose(&[&server]).2, "RedisMemoryNearLimit"));

    let mut length = 0;
    let (refused, _) = eventually(LIMIT, "writes are refused", || {
        length += 100_000;
        Some(server.cli(&["SETRANGE", "long", &length.to_string(), "x"]))
            .filter(|reply| reply.trim().parse::<u64>().is_err())
    });
    assert!(refused.starts_with("OOM"), "{refused}");
    until_writes_blocked(&daemon, &server, "oom", "RedisOutOfMemory");
    daemon.until(LIMIT, "redis_errors_total", &[("err", "OOM")], 1.0);
    server.cli(&["DEL", "long"]);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    daemon.until_found(LIMIT, "RedisMemoryNearLimit");
    server.cli(&["FLUSHALL"]);
    until_recovered(&daemon, &server);
}

#[test]
fn writes_that_exceed_free_memory_are_counted() {
    let server = Redis::start(&["--maxmemory", "20mb"]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(LIMIT, "redis_errors_total", &[("err", "OOM")], 0.0);
    let value = "x".repeat(100_000);
    let mut refused = 0;
    eventually(LIMIT, "writes are refused", || {
        let key = server.info("total_commands_processed").expect("a count");
        refused += i32::from(server.cli(&["SET", &key, &value]).starts_with("OOM"));
        (refused == 3).then_some(())
    });
    // Each refused command needed memory that was free again before the next poll.
    daemon.until(LIMIT, "redis_errors_total", &[("err", "OOM")], 3.0);
    let findings = daemon.findings();
    assert!(
        has_kind(&findings, "RedisMemoryNearLimit") || has_kind(&findings, "RedisOutOfMemory"),
        "{findings:?}"
    );
}

#[test]
fn full_cache_that_evicts_is_healthy() {
    let server = Redis::start(&["--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru"]);
    let daemon = Daemon::watch(&[&server]);
    let value = "x".repeat(100_000);
    let mut key = 0;
    eventually(LIMIT, "evictions", || {
        key += 1;
        assert_eq!(server.cli(&["SET", &key.to_string(), &value]).trim(), "OK");
        (daemon.value("redis_evicted_keys_total") >= Some(20.0)).then_some(())
    });
    let samples = daemon.samples();
    assert!(
        samples.get("redis_memory_used_bytes", &[])
            > samples.get("redis_memory_max_bytes", &[]).map(|limit| limit * 0.9)
    );
    assert_eq!((daemon.findings(), diagnose(&[&server]).2), (Findings::new(), Findings::new()));
    assert_eq!(samples.get("redis_writes_refused", &[("reason", "oom")]), Some(0.0));
}

#[test]
fn primary_below_min_replicas_refuses_writes() {
    let primary = Redis::start(&["--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"]);
    let mut replica = primary.replica();
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = primary.address();
    let refused = [("node", node.as_str()), ("reason", "noreplicas")];
    daemon.until(LIMIT, "redis_writes_refused", &refused, 0.0);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    replica.kill();
    daemon.until(LIMIT, "redis_writes_refused", &refused, 1.0);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 0.0);
    assert!(primary.cli(&["SET", "key", "x"]).contains("NOREPLICAS"));
    for kind in ["RedisNotEnoughReplicas", "RedisWritesBlocked"] {
        daemon.until_found(LIMIT, kind);
        assert!(has_kind(&diagnose(&[&primary, &replica]).2, kind), "{kind}");
    }
    replica.restart();
    daemon.until(LIMIT, "redis_writes_refused", &refused, 0.0);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    daemon.until_no_findings(LIMIT);
}

#[test]
fn fenced_stale_master_has_no_finding_about_writes() {
    let old = Redis::start(&["--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"]);
    let new = old.replica();
    let daemon = Daemon::watch(&[&old, &new]);
    let (old_node, new_node) = (old.address(), new.address());
    daemon.until(LIMIT, "redis_deployment_primary_info", &[("node", &old_node)], 1.0);
    new.promote();
    // A client of the new master decides between the two.
    daemon.until(LIMIT, "redis_deployment_split_brain", &[], 1.0);
    new.cli(&["SET", "kept", "1"]);
    daemon.until(LIMIT, "redis_deployment_primary_info", &[("node", &new_node)], 1.0);
    daemon.until(
        LIMIT,
        "redis_writes_refused",
        &[("node", &old_node), ("reason", "noreplicas")],
        1.0,
    );
    assert!(old.cli(&["SET", "key", "x"]).contains("NOREPLICAS"), "the stale master is fenced");
    for _ in 0..10 {
        let findings = daemon.findings();
        assert!(
            !has_kind(&findings, "RedisNotEnoughReplicas")
                && !has_kind(&findings, "RedisWritesBlocked"),
            "{findings:?}"
        );
        pause(SECOND / 2);
    }
    assert_eq!(daemon.value("redis_deployment_writable"), Some(1.0), "the primary accepts writes");
    let (_, text, findings) = diagnose(&[&old, &new]);
    assert!(
        !has_kind(&findings, "RedisNotEnoughReplicas")
            && !has_kind(&findings, "RedisWritesBlocked"),
        "{text}"
    );
    old.replicate_from(&new);
    daemon.until_no_findings(LIMIT);
}

#[test]
fn exit_on_a_full_disk_is_reported_with_appendfsync() {
    let disk = Disk::with_megabytes(2);
    let mut server =
        Redis::start(&["--appendonly", "yes", "--appendfsync", "always", "--dir", &disk.folder()]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(LIMIT, "redis_config_appendfsync", &[("policy", "always")], 1.0);
    disk.fill();
    server.cli(&["SET", "key", &"x".repeat(5000)]);
    assert_eq!(server.end(LIMIT).code(), Some(1));
    daemon.until(LIMIT, "redis_up", &[], 0.0);
    let (finding, _) = eventually(LIMIT, "RedisDown", || daemon.finding("RedisDown"));
    assert_eq!(
        (&finding["severity"], &finding["node"]),
        (&"critical".into(), &server.address().into()),
        "the node was the primary"
    );
    assert_eq!(finding["evidence"]["appendfsync"], "always", "{finding}");
    let writable = daemon.value("redis_deployment_writable");
    assert_eq!(writable, None, "unknown while no primary replies");
    disk.free();
    server.restart();
    daemon.until(LIMIT, "redis_up", &[], 1.0);
    until_recovered(&daemon, &server);
}

#[test]
fn disabled_aof_is_reported_where_it_is_expected() {
    let primary = Redis::start(&["--appendonly", "yes"]);
    let replica = primary.replica_with(&["--appendonly", "yes"]);
    let nodes = format!(
        "nodes = [{{ url = '{}', name = 'p' }}, {{ url = '{}', name = 'r' }}]\n",
        primary.url(),
        replica.url()
    );
    let [all, replicas] = ["all", "replicas"]
        .map(|aof| start_daemon(&format!("{nodes}expect = {{ aof = '{aof}' }}\n")));
    for daemon in [&all, &replicas] {
        daemon.until(LIMIT, "redis_link_state", &[("node", "r"), ("state", "up")], 1.0);
        daemon.until(LIMIT, "redis_aof_enabled", &[("node", "p")], 1.0);
        daemon.until_no_findings(LIMIT);
    }
    primary.cli(&["CONFIG", "SET", "appendonly", "no"]);
    all.until_found(LIMIT, "RedisAofDisabled");
    assert_eq!(all.findings(), [("RedisAofDisabled".to_owned(), Some("p".to_owned()))]);
    replicas.until(LIMIT, "redis_aof_enabled", &[("node", "p")], 0.0);
    pause(SECOND * 2);
    assert_eq!(replicas.findings(), Findings::new(), "the AOF is only expected on replicas");
    assert_eq!(
        diagnose(&[&primary, &replica]).2,
        Findings::new(),
        "no AOF is expected without configuration"
    );
    replica.cli(&["CONFIG", "SET", "appendonly", "no"]);
    replicas.until_found(LIMIT, "RedisAofDisabled");
    assert_eq!(replicas.findings(), [("RedisAofDisabled".to_owned(), Some("r".to_owned()))]);
    for server in [&primary, &replica] {
        server.cli(&["CONFIG", "SET", "appendonly", "yes"]);
    }
    all.until_no_findings(LIMIT);
    replicas.until_no_findings(LIMIT);
}

#[test]
fn failed_aof_rewrite_is_reported_and_writes_continue() {
    let server = Redis::start(&["--appendonly", "yes"]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(LIMIT, "redis_aof_last_bgrewrite_status", &[], 1.0);
    // Without root this would be done by changing the permissions of the directory.
    let [folder, away] = ["appendonlydir", "away"].map(|name| server.directory().join(name));
    std::fs::rename(&folder, &away).expect("renamed");
    std::fs::write(&folder, "in the way").expect("a file");
    server.cli(&["BGREWRITEAOF"]);
    daemon.until_found(LIMIT, "RedisAofRewriteFailing");
    assert_eq!(daemon.until_event(LIMIT, "aof_rewrite_failed")["node"], server.address());
    assert_eq!(daemon.findings(), [("RedisAofRewriteFailing".to_owned(), Some(server.address()))]);
    assert_eq!(server.cli(&["SET", "key", "x"]).trim(), "OK");
    pause(SECOND * 2);
    let samples = daemon.samples();
    assert_eq!(
        (
            samples.get("redis_aof_last_write_status", &[]),
            samples.get("redis_deployment_writable", &[])
        ),
        (Some(1.0), Some(1.0))
    );
    assert!(has_kind(&diagnose(&[&server]).2, "RedisAofRewriteFailing"));

    std::fs::remove_file(&folder).expect("removed");
    std::fs::rename(&away, &folder).expect("renamed");
    pause(SECOND * 2);
    assert!(
        has_kind(&daemon.findings(), "RedisAofRewriteFailing"),
        "the finding stays until the next successful rewrite"
    );
    server.cli(&["BGREWRITEAOF"]);
    until_recovered(&daemon, &server);
    assert_eq!(daemon.logged_events("aof_rewrite_failed").len(), 1);
}

#[test]
fn too_many_error_codes_disable_errorstats() {
    let server = Redis::with_version("redis-8.2.3", &[]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(LIMIT, "redis_errorstats_disabled", &[], 0.0);
    daemon.until(LIMIT, "redis_errors_total", &[("err", "READONLY")], 0.0);
    for code in 0..140 {
        server.cli(&[
            "EVAL",
            "return redis.error_reply(ARGV[1])",
            "0",
            &format!("MADEUP{code} by a script"),
        ]);
    }
    daemon.until(LIMIT, "redis_errorstats_disabled", &[], 1.0);
    daemon.until_found(LIMIT, "RedisErrorStatsDisabled");
    assert_eq!(daemon.findings(), [("RedisErrorStatsDisabled".to_owned(), Some(server.address()))]);
    assert!(has_kind(&diagnose(&[&server]).2, "RedisErrorStatsDisabled"));
    server.cli(&["CONFIG", "RESETSTAT"]);
    daemon.until(LIMIT, "redis_errorstats_disabled", &[], 0.0);
    until_recovered(&daemon, &server);
}

#[test]
fn free_disk_space_is_measured_while_the_server_is_down() {
    let disk = Disk::with_megabytes(16);
    let mut server = Redis::start(&["--dir", &disk.folder()]);
    let daemon = start_daemon(&format!(
        "nodes = [{{ url = '{}', data_dir = '{}' }}]\n",
        server.url(),
        disk.folder()
    ));
    let until_free = |limit: f64| {
        let left = || daemon.value("redis_data_dir_free_bytes").filter(|free| *free <= limit);
        eventually(LIMIT, "the free space is measured", left).0
    };
    assert!(until_free(f64::from(16 << 20)) > f64::from(15 << 20));
    assert!(daemon.value("redis_data_dir_free_inodes") > Some(100.0));
    disk.fill();
    assert!(until_free(0.0) <= 0.0);
    server.kill();
    daemon.until(LIMIT, "redis_up", &[], 0.0);
    disk.free();
    let left = || daemon.value("redis_data_dir_free_bytes").filter(|free| *free > 1e6);
    eventually(LIMIT, "the free space is measured while the server is down", left);
}
