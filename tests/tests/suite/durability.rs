//! Whether writes are accepted and survive, on real servers.

use std::time::Duration;

use tests::{Daemon, Disk, Found, Redis, SECOND, Shim, diagnose, eventually, pause};

/// The longest that a change may take to show, on a busy machine: nodes that were gone are asked again after up to 10 s.
const LIMIT: Duration = Duration::from_secs(30);

fn has(found: &Found, kind: &str) -> bool {
    found.iter().any(|(found, _)| found == kind)
}

/// Waits until writes are refused for this reason, and checks that the deployment is told to be blocked, and that `diagnose` finds `kind`.
#[track_caller]
fn blocked(daemon: &Daemon, server: &Redis, reason: &str, kind: &str) {
    let node = server.address();
    daemon.until(LIMIT, "redis_writes_refused", &[("node", &node), ("reason", reason)], 1.0);
    daemon.until_found(LIMIT, kind);
    assert_eq!(daemon.value("redis_deployment_writable"), Some(0.0));
    let all = [kind.to_owned(), "RedisWritesBlocked".to_owned()];
    let mut told: Vec<_> = daemon.findings().into_iter().map(|(kind, _)| kind).collect();
    told.sort();
    assert_eq!(told, all, "these and no others");
    let (code, text, found) = diagnose(&[server]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        found.contains(&(kind.to_owned(), Some(node))) && has(&found, "RedisWritesBlocked"),
        "{text}"
    );
    assert!(
        text.contains("writes REFUSED") && text.contains(&format!("refuses writes: {reason}")),
        "{text}"
    );
}

/// Waits until writes are accepted again and nothing is found any more.
#[track_caller]
fn mended(daemon: &Daemon, server: &Redis) {
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    daemon.until_healthy(LIMIT, &[server]);
}

/// A daemon whose configuration has this deployment; CONFIG is read every second.
fn configured(deployment: &str) -> Daemon {
    Daemon::configured(&format!(
        "[[deployment]]\nname = 'a'\ncadence = {{ config = '1s' }}\n{deployment}"
    ))
}

#[test]
fn aof_on_a_full_disk_blocks_writes_until_space_is_free() {
    let disk = Disk::of(2);
    let server = Redis::start(&["--appendonly", "yes", "--dir", &disk.folder()]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    disk.fill();
    // The write that meets the full disk is acknowledged all the same.
    eventually(LIMIT, "writes are refused", || {
        server.cli(&["SET", "key", &"x".repeat(5000)]).contains("MISCONF").then_some(())
    });
    blocked(&daemon, &server, "misconf_aof", "RedisAofWriteFailing");
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
    // What is widely advised does not help: that option is about snapshots.
    server.cli(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    pause(SECOND * 3);
    assert!(server.cli(&["SET", "key", "x"]).contains("MISCONF"));
    assert_eq!(
        daemon.samples().get("redis_writes_refused", &[("reason", "misconf_aof")]),
        Some(1.0)
    );
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(0.0));

    disk.free();
    mended(&daemon, &server);
    daemon.until_event(LIMIT, "aof_write_recovered");
    assert_eq!(
        (daemon.logged("aof_write_failed").len(), daemon.logged("aof_write_recovered").len()),
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
        let disk = Disk::of(2);
        let primary = Redis::of(version, &[]);
        let mut replica = primary.replica_with(&["--appendonly", "yes", "--dir", &disk.folder()]);
        let daemon = Daemon::watch(&[&primary, &replica]);
        let node = replica.address();
        daemon.until_link(LIMIT, &replica, "up");
        daemon.until_quiet(LIMIT);
        // It begins its file anew once it has the primary's data.
        eventually(LIMIT, "rewritten", || {
            let idle = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"]
                .iter()
                .all(|field| replica.info(field).as_deref() == Some("0"));
            (idle && replica.info("aof_last_rewrite_time_sec")? != "-1").then_some(())
        });
        disk.fill();
        let told = (finding.to_owned(), Some(node.clone()));
        eventually(LIMIT, finding, || {
            assert_eq!(primary.cli(&["SET", "key", &"x".repeat(5000)]).trim(), "OK");
            daemon.findings().contains(&told).then_some(())
        });
        let (samples, found) = (daemon.samples(), daemon.findings());
        assert_eq!(samples.get("redis_deployment_writable", &[]), Some(1.0), "{version}");
        assert_ne!(
            samples.get("redis_writes_refused", &[("node", &node), ("reason", "misconf_aof")]),
            Some(1.0),
            "{version}"
        );
        assert!(!has(&found, "RedisWritesBlocked"), "{found:?}");
        assert!(diagnose(&[&primary, &replica]).2.contains(&told), "{version}");
        disk.free();
        if finding == "RedisDown" {
            // From 7.0 on a replica rather ends than lets its file lack something.
            assert!(!replica.end(LIMIT).success());
            replica.restart();
        }
        daemon.until_quiet(LIMIT);
    }
}

/// The shim, a server behind it, and a daemon that watches it.
fn behind_a_shim(version: &'static str) -> (Shim, Redis, Daemon) {
    let shim = Shim::build();
    let server = Redis::within(
        &shim.environment(),
        version,
        &["--appendonly", "yes", "--appendfsync", "everysec"],
    );
    let daemon = Daemon::watch(&[&server]);
    daemon.until(LIMIT, "redis_aof_fsync_stuck", &[], 0.0);
    (shim, server, daemon)
}

/// Makes one fsync fail, and checks that this is told, and told to last.
fn stuck(shim: &Shim, server: &Redis, daemon: &Daemon) {
    shim.fail_fsync();
    server.cli(&["SET", "key", "value"]);
    daemon.until(LIMIT, "redis_aof_fsync_stuck", &[], 1.0);
    blocked(daemon, server, "misconf_aof", "RedisAofFsyncStuck");
    shim.mend();
    pause(SECOND * 3);
    assert!(
        server.cli(&["SET", "key", "value"]).contains("MISCONF"),
        "a good disk alone does not help"
    );
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(1.0));
    assert!(has(&daemon.findings(), "RedisAofFsyncStuck"));
}

#[test]
fn failed_fsync_lasts_until_aof_is_disabled_and_enabled() {
    let (shim, server, daemon) = behind_a_shim("redis-7.0.15");
    stuck(&shim, &server, &daemon);
    // On 7.0 a rewrite does not help either.
    server.cli(&["BGREWRITEAOF"]);
    daemon.until(LIMIT, "redis_aof_rewrites_total", &[], 1.0);
    pause(SECOND * 3);
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(1.0));
    server.cli(&["CONFIG", "SET", "appendonly", "no"]);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    server.cli(&["CONFIG", "SET", "appendonly", "yes"]);
    daemon.until(LIMIT, "redis_aof_enabled", &[], 1.0);
    mended(&daemon, &server);
    assert_eq!(server.cli(&["SET", "key", "value"]).trim(), "OK");
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(0.0));
    assert_eq!(
        (daemon.logged("aof_write_failed").len(), daemon.logged("aof_write_recovered").len()),
        (1, 1),
        "{:?}",
        daemon.log()
    );
}

/// On versions other than 7.0 a rewrite clears it.
fn check_cleared_by_a_rewrite(version: &'static str) {
    let (shim, server, daemon) = behind_a_shim(version);
    stuck(&shim, &server, &daemon);
    server.cli(&["BGREWRITEAOF"]);
    mended(&daemon, &server);
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
    let (shim, server, daemon) = behind_a_shim("redis-7.0.15");
    shim.slow_fsync();
    eventually(LIMIT, "a delayed fsync", || {
        server.cli(&["SET", "key", "value"]);
        assert_eq!(daemon.findings(), Found::new(), "no error");
        (daemon.value("redis_aof_delayed_fsync_total") >= Some(1.0)).then_some(())
    });
    assert_eq!(daemon.value("redis_aof_fsync_stuck"), Some(0.0));
    assert_eq!(daemon.value("redis_deployment_writable"), Some(1.0));
}

#[test]
fn failed_bgsave_blocks_writes_only_with_save_points() {
    let disk = Disk::of(2);
    let server = Redis::start(&["--save", "3600 1000000", "--dir", &disk.folder()]);
    let unsaved = Redis::start(&["--dir", &disk.folder(), "--dbfilename", "other.rdb"]);
    let [daemon, other] = [&server, &unsaved].map(|server| Daemon::watch(&[server]));
    daemon.until(LIMIT, "redis_config_save_points", &[], 1.0);
    other.until(LIMIT, "redis_config_save_points", &[], 0.0);
    disk.fill();
    for server in [&server, &unsaved] {
        server.cli(&["SET", "key", &"x".repeat(100)]);
        server.cli(&["BGSAVE"]);
    }
    blocked(&daemon, &server, "misconf_rdb", "RedisBgsaveFailing");
    assert!(server.cli(&["SET", "key", "x"]).contains("MISCONF"));

    other.until_found(LIMIT, "RedisBgsaveFailing");
    assert_eq!(other.findings(), [("RedisBgsaveFailing".to_owned(), Some(unsaved.address()))]);
    assert_eq!(unsaved.cli(&["SET", "key", "x"]).trim(), "OK");
    let samples = other.samples();
    assert_eq!(samples.get("redis_writes_refused", &[("reason", "misconf_rdb")]), Some(0.0));
    assert_eq!(samples.get("redis_deployment_writable", &[]), Some(1.0));
    let (code, text, found) = diagnose(&[&unsaved]);
    assert!(code == Some(1) && found.len() == 1 && text.contains("writes accepted"), "{text}");

    // Space alone does not help; a good snapshot does.
    disk.free();
    pause(SECOND * 2);
    assert_eq!(daemon.value("redis_deployment_writable"), Some(0.0));
    for (daemon, server) in [(&daemon, &server), (&other, &unsaved)] {
        server.cli(&["BGSAVE"]);
        mended(daemon, server);
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
    assert_eq!(daemon.findings(), Found::new());
    server.cli(&["CONFIG", "SET", "maxmemory", &(used * 100 / 95).to_string()]);
    daemon.until_found(LIMIT, "RedisMemoryNearLimit");
    assert_eq!(daemon.findings().len(), 1);
    assert_eq!(daemon.value("redis_deployment_writable"), Some(1.0));
    assert!(has(&diagnose(&[&server]).2, "RedisMemoryNearLimit"));

    let mut length = 0;
    let (refused, _) = eventually(LIMIT, "writes are refused", || {
        length += 100_000;
        Some(server.cli(&["SETRANGE", "long", &length.to_string(), "x"]))
            .filter(|reply| reply.trim().parse::<u64>().is_err())
    });
    assert!(refused.starts_with("OOM"), "{refused}");
    blocked(&daemon, &server, "oom", "RedisOutOfMemory");
    daemon.until(LIMIT, "redis_errors_total", &[("err", "OOM")], 1.0);
    server.cli(&["DEL", "long"]);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    daemon.until_found(LIMIT, "RedisMemoryNearLimit");
    server.cli(&["FLUSHALL"]);
    mended(&daemon, &server);
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
    // Each needed memory for itself that was free again before anybody could see it.
    daemon.until(LIMIT, "redis_errors_total", &[("err", "OOM")], 3.0);
    let found = daemon.findings();
    assert!(has(&found, "RedisMemoryNearLimit") || has(&found, "RedisOutOfMemory"), "{found:?}");
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
    assert_eq!((daemon.findings(), diagnose(&[&server]).2), (Found::new(), Found::new()));
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
        assert!(has(&diagnose(&[&primary, &replica]).2, kind), "{kind}");
    }
    replica.restart();
    daemon.until(LIMIT, "redis_writes_refused", &refused, 0.0);
    daemon.until(LIMIT, "redis_deployment_writable", &[], 1.0);
    daemon.until_quiet(LIMIT);
}

#[test]
fn fenced_stale_master_has_no_finding_about_writes() {
    let old = Redis::start(&["--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"]);
    let new = old.replica();
    let daemon = Daemon::watch(&[&old, &new]);
    let (old_node, new_node) = (old.address(), new.address());
    daemon.until(LIMIT, "redis_deployment_primary_info", &[("node", &old_node)], 1.0);
    new.promote();
    daemon.until(LIMIT, "redis_deployment_primary_info", &[("node", &new_node)], 1.0);
    daemon.until(
        LIMIT,
        "redis_writes_refused",
        &[("node", &old_node), ("reason", "noreplicas")],
        1.0,
    );
    assert!(old.cli(&["SET", "key", "x"]).contains("NOREPLICAS"), "the fence");
    for _ in 0..10 {
        let found = daemon.findings();
        assert!(
            !has(&found, "RedisNotEnoughReplicas") && !has(&found, "RedisWritesBlocked"),
            "{found:?}"
        );
        pause(SECOND / 2);
    }
    assert_eq!(daemon.value("redis_deployment_writable"), Some(1.0), "the primary takes writes");
    let (_, text, found) = diagnose(&[&old, &new]);
    assert!(!has(&found, "RedisNotEnoughReplicas") && !has(&found, "RedisWritesBlocked"), "{text}");
    old.follow(&new);
    daemon.until_quiet(LIMIT);
}

#[test]
fn exit_on_a_full_disk_is_reported_with_appendfsync() {
    let disk = Disk::of(2);
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
        "it was the primary"
    );
    assert_eq!(finding["evidence"]["appendfsync"], "always", "{finding}");
    let blocked = daemon.value("redis_deployment_writable");
    assert_eq!(blocked, None, "a server that is not there refuses nothing");
    disk.free();
    server.restart();
    daemon.until(LIMIT, "redis_up", &[], 1.0);
    mended(&daemon, &server);
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
        .map(|aof| configured(&format!("{nodes}expect = {{ aof = '{aof}' }}\n")));
    for daemon in [&all, &replicas] {
        daemon.until(LIMIT, "redis_link_state", &[("node", "r"), ("state", "up")], 1.0);
        daemon.until(LIMIT, "redis_aof_enabled", &[("node", "p")], 1.0);
        daemon.until_quiet(LIMIT);
    }
    primary.cli(&["CONFIG", "SET", "appendonly", "no"]);
    all.until_found(LIMIT, "RedisAofDisabled");
    assert_eq!(all.findings(), [("RedisAofDisabled".to_owned(), Some("p".to_owned()))]);
    replicas.until(LIMIT, "redis_aof_enabled", &[("node", "p")], 0.0);
    pause(SECOND * 2);
    assert_eq!(replicas.findings(), Found::new(), "a master may do without");
    assert_eq!(diagnose(&[&primary, &replica]).2, Found::new(), "nothing was declared");
    replica.cli(&["CONFIG", "SET", "appendonly", "no"]);
    replicas.until_found(LIMIT, "RedisAofDisabled");
    assert_eq!(replicas.findings(), [("RedisAofDisabled".to_owned(), Some("r".to_owned()))]);
    for server in [&primary, &replica] {
        server.cli(&["CONFIG", "SET", "appendonly", "yes"]);
    }
    all.until_quiet(LIMIT);
    replicas.until_quiet(LIMIT);
}

#[test]
fn failed_aof_rewrite_is_reported_and_writes_continue() {
    let server = Redis::start(&["--appendonly", "yes"]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(LIMIT, "redis_aof_last_bgrewrite_status", &[], 1.0);
    // What takes away the rights to a directory does, to a server that is not root.
    let [folder, away] = ["appendonlydir", "away"].map(|name| server.directory().join(name));
    std::fs::rename(&folder, &away).expect("moved");
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
    assert!(has(&diagnose(&[&server]).2, "RedisAofRewriteFailing"));

    std::fs::remove_file(&folder).expect("removed");
    std::fs::rename(&away, &folder).expect("moved");
    pause(SECOND * 2);
    assert!(
        has(&daemon.findings(), "RedisAofRewriteFailing"),
        "it says so until the next good rewrite"
    );
    server.cli(&["BGREWRITEAOF"]);
    mended(&daemon, &server);
    assert_eq!(daemon.logged("aof_rewrite_failed").len(), 1);
}

#[test]
fn too_many_error_codes_disable_errorstats() {
    let server = Redis::of("redis-8.2.3", &[]);
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
    assert!(has(&diagnose(&[&server]).2, "RedisErrorStatsDisabled"));
    server.cli(&["CONFIG", "RESETSTAT"]);
    daemon.until(LIMIT, "redis_errorstats_disabled", &[], 0.0);
    mended(&daemon, &server);
}

#[test]
fn free_disk_space_is_measured_while_the_server_is_down() {
    let disk = Disk::of(16);
    let mut server = Redis::start(&["--dir", &disk.folder()]);
    let daemon = configured(&format!(
        "nodes = [{{ url = '{}', data_dir = '{}' }}]\n",
        server.url(),
        disk.folder()
    ));
    let free = |most: f64| {
        let left = || daemon.value("redis_data_dir_free_bytes").filter(|free| *free <= most);
        eventually(LIMIT, "the room is seen", left).0
    };
    assert!(free(f64::from(16 << 20)) > f64::from(15 << 20));
    assert!(daemon.value("redis_data_dir_free_inodes") > Some(100.0));
    disk.fill();
    assert!(free(0.0) <= 0.0);
    server.kill();
    daemon.until(LIMIT, "redis_up", &[], 0.0);
    disk.free();
    let left = || daemon.value("redis_data_dir_free_bytes").filter(|free| *free > 1e6);
    eventually(LIMIT, "the room is seen although the server is gone", left);
}
