//! Faults that block writes or make acknowledged writes unsafe.

use tests::{Disk, FaultInjector, Redis, Writer, deployment, eventually};

use crate::harness::{SERVER_TIMEOUT, Scenario, ScenarioResult, ScenarioRun};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 24,
        name: "append_only_file_on_a_full_disk",
        quick: true,
        run: aof_on_a_full_disk,
    },
    Scenario {
        row: 25,
        name: "fsync_error_that_persists_on_a_recovered_disk",
        quick: false,
        run: failed_fsync,
    },
    Scenario { row: 26, name: "slow_fsync", quick: false, run: slow_fsync },
    Scenario {
        row: 27,
        name: "failing_append_only_file_rewrite",
        quick: false,
        run: failing_rewrite,
    },
    Scenario {
        row: 28,
        name: "append_only_file_never_rewritten",
        quick: false,
        run: aof_never_rewritten,
    },
    Scenario {
        row: 29,
        name: "failing_rdb_snapshot_with_save_points",
        quick: false,
        run: failing_snapshot_with_save_points,
    },
    Scenario {
        row: 29,
        name: "failing_rdb_snapshot_without_save_points",
        quick: false,
        run: failing_snapshot_without_save_points,
    },
    Scenario { row: 30, name: "out_of_memory", quick: false, run: out_of_memory },
    Scenario { row: 31, name: "slow_fork", quick: false, run: slow_fork },
    Scenario {
        row: 32,
        name: "free_disk_space_smaller_than_the_data",
        quick: false,
        run: little_free_space,
    },
    Scenario {
        row: 33,
        name: "full_disk_with_appendfsync_always",
        quick: false,
        run: full_disk_with_fsync_always,
    },
    Scenario {
        row: 35,
        name: "replica_loading_its_data_after_a_restart",
        quick: false,
        run: loading,
    },
    Scenario {
        row: 34,
        name: "append_only_file_disabled_although_expected",
        quick: false,
        run: aof_disabled,
    },
    Scenario {
        row: 44,
        name: "memory_usage_near_maxmemory",
        quick: false,
        run: memory_near_maxmemory,
    },
];

fn aof_on_a_full_disk() -> ScenarioResult {
    let disk = Disk::with_megabytes(2);
    let server = Redis::start(&["--appendonly", "yes", "--dir", &disk.folder()]);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let fill = |_: &ScenarioRun| {
        disk.fill();
        eventually(SERVER_TIMEOUT, "writes are rejected", || {
            server.cli(&["SET", "key", &"x".repeat(5000)]).contains("MISCONF").then_some(())
        });
    };
    let fault = scenario.inject(fill, &[("RedisAofWriteFailing", "critical")]);
    fault.repair(|_| disk.free(), &[])
}

/// With `appendfsync always`, the server exits instead of rejecting writes.
fn full_disk_with_fsync_always() -> ScenarioResult {
    let disk = Disk::with_megabytes(2);
    let mut server =
        Redis::start(&["--appendonly", "yes", "--appendfsync", "always", "--dir", &disk.folder()]);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let fill = |_: &ScenarioRun| {
        disk.fill();
        server.cli(&["SET", "key", &"x".repeat(5000)]);
        assert_eq!(server.end(SERVER_TIMEOUT).code(), Some(1));
    };
    let fault = scenario.inject(fill, &[("RedisDown", "critical")]);
    let finding = fault.scenario.daemon.finding("RedisDown").expect("no finding RedisDown");
    assert_eq!(
        finding["evidence"]["appendfsync"], "always",
        "the evidence shows why the server exited"
    );
    let repair = |_: &ScenarioRun| {
        disk.free();
        server.restart();
    };
    fault.repair(repair, &[])
}

fn loading() -> ScenarioResult {
    let slow = [
        "--key-load-delay",
        "1500",
        "--loading-process-events-interval-bytes",
        "1024",
        "--appendonly",
        "yes",
    ];
    let primary = Redis::start(&["--enable-debug-command", "yes"]);
    primary.cli(&["DEBUG", "POPULATE", "10000", "key", "100"]);
    let mut replica = primary.replica_with(&slow);
    rewrite(&replica);
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let restart = |_: &ScenarioRun| {
        replica.kill();
        replica.restart();
    };
    scenario.expect_info_alert(restart, "RedisLoading")
}

fn failed_fsync() -> ScenarioResult {
    let shim = FaultInjector::build();
    let server = Redis::with_environment(
        &shim.environment(),
        "redis-7.0.15",
        &["--appendonly", "yes", "--appendfsync", "everysec"],
    );
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let fail = |_: &ScenarioRun| {
        shim.fail_fsync();
        eventually(SERVER_TIMEOUT, "writes are rejected", || {
            server.cli(&["SET", "key", "value"]).contains("MISCONF").then_some(())
        });
        // The disk works again, but the error stays.
        shim.clear_faults();
    };
    let fault = scenario.inject(fail, &[("RedisAofFsyncStuck", "critical")]);
    let toggle_aof = |_: &ScenarioRun| {
        for state in ["no", "yes"] {
            server.cli(&["CONFIG", "SET", "appendonly", state]);
        }
    };
    fault.repair(toggle_aof, &[])
}

fn slow_fsync() -> ScenarioResult {
    let shim = FaultInjector::build();
    let server = Redis::with_environment(
        &shim.environment(),
        "redis-7.0.15",
        &["--appendonly", "yes", "--appendfsync", "everysec"],
    );
    let _writer = Writer::start(&server.address(), "key", 20);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let fault = scenario.inject(|_| shim.slow_fsync(), &[("RedisAofDelayedFsync", "warning")]);
    fault.repair(|_| shim.clear_faults(), &[])
}

fn slow_fork() -> ScenarioResult {
    let shim = FaultInjector::build();
    let server = Redis::with_environment(&shim.environment(), "redis-7.0.15", &[]);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let save = || assert_eq!(server.cli(&["BGSAVE"]).trim(), "Background saving started");
    let save_slowly = |_: &ScenarioRun| {
        shim.slow_fork();
        save();
    };
    let fault = scenario.inject(save_slowly, &[("RedisForkSlow", "warning")]);
    let repair = |_: &ScenarioRun| {
        shim.clear_faults();
        save();
    };
    fault.repair(repair, &[])
}

fn failing_rewrite() -> ScenarioResult {
    let server = Redis::start(&["--appendonly", "yes"]);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let [directory, moved] = ["appendonlydir", "away"].map(|name| server.directory().join(name));
    // A file in place of the directory breaks the rewrite. Missing permissions would not, since the
    // server runs as root.
    let replace_directory = |_: &ScenarioRun| {
        std::fs::rename(&directory, &moved).expect("cannot move the directory");
        std::fs::write(&directory, "in the way").expect("cannot write a file");
        server.cli(&["BGREWRITEAOF"]);
    };
    let fault = scenario.inject(replace_directory, &[("RedisAofRewriteFailing", "warning")]);
    let repair = |_: &ScenarioRun| {
        std::fs::remove_file(&directory).expect("cannot remove the file");
        std::fs::rename(&moved, &directory).expect("cannot move the directory");
        server.cli(&["BGREWRITEAOF"]);
    };
    fault.repair(repair, &[])
}

fn aof_never_rewritten() -> ScenarioResult {
    let options = [
        "--appendonly",
        "yes",
        "--auto-aof-rewrite-percentage",
        "0",
        "--auto-aof-rewrite-min-size",
        "1mb",
    ];
    let server = Redis::start(&options);
    server.cli(&["SET", "key", &"x".repeat(100_000)]);
    rewrite(&server);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let write = |_: &ScenarioRun| {
        let value = "x".repeat(100_000);
        for _ in 0..30 {
            assert_eq!(server.cli(&["SET", "key", &value]).trim(), "OK");
        }
    };
    let fault = scenario.inject(write, &[("RedisAofBloated", "warning")]);
    fault.repair(|_| rewrite(&server), &[])
}

/// Rewrites the append-only file, and waits until the rewrite is complete.
#[track_caller]
fn rewrite(server: &Redis) {
    let before = server.number("aof_rewrites");
    server.cli(&["BGREWRITEAOF"]);
    let is_rewritten =
        || server.number("aof_rewrites") > before && server.number("aof_rewrite_in_progress") == 0;
    eventually(SERVER_TIMEOUT, "the append-only file is rewritten", || {
        is_rewritten().then_some(())
    });
}

fn failing_snapshot_with_save_points() -> ScenarioResult {
    // The critical alert reports that writes are blocked. The warning reports the cause.
    failing_snapshot(
        &["--save", "3600 1000000"],
        &[("RedisWritesBlocked", "critical"), ("RedisBgsaveFailing", "warning")],
    )
}

fn failing_snapshot_without_save_points() -> ScenarioResult {
    failing_snapshot(&[], &[("RedisBgsaveFailing", "warning")])
}

fn failing_snapshot(options: &[&str], expected: &[(&str, &str)]) -> ScenarioResult {
    let disk = Disk::with_megabytes(2);
    let folder = disk.folder();
    let server = Redis::start(&[&["--dir", folder.as_str()], options].concat());
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let _writer = Writer::start(&server.address(), "key", 5);
    let fail = |_: &ScenarioRun| {
        disk.fill();
        server.cli(&["BGSAVE"]);
    };
    let fault = scenario.inject(fail, expected);
    // Free space alone is not enough: writes stay blocked until a snapshot succeeds.
    let repair = |_: &ScenarioRun| {
        disk.free();
        server.cli(&["BGSAVE"]);
    };
    fault.repair(repair, &[])
}

fn out_of_memory() -> ScenarioResult {
    let server = Redis::start(&["--maxmemory", "20mb"]);
    let _writer = Writer::start(&server.address(), "key", 20);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let fill = |_: &ScenarioRun| {
        let mut length = 0;
        eventually(SERVER_TIMEOUT, "writes are rejected", || {
            length += 1_000_000;
            server
                .cli(&["SETRANGE", "long", &length.to_string(), "x"])
                .starts_with("OOM")
                .then_some(())
        });
    };
    let fault = scenario.inject(fill, &[("RedisOutOfMemory", "critical")]);
    fault.repair(|_| drop(server.cli(&["DEL", "long"])), &[])
}

fn little_free_space() -> ScenarioResult {
    let disk = Disk::with_megabytes(64);
    let server = Redis::start(&["--dir", &disk.folder()]);
    server.cli(&["SETRANGE", "long", "10000000", "x"]);
    let node = format!("nodes = [{{ url = '{}', data_dir = '{}' }}]", server.url(), disk.folder());
    let scenario = ScenarioRun::start(&format!("[[deployment]]\nname = 'a'\n{node}\n"));
    // About 9 MB stay free, for 10 MB of data.
    let fill = |_: &ScenarioRun| {
        std::fs::write(disk.path().join("ballast"), vec![0; 55 << 20])
            .expect("cannot write a file");
    };
    let fault = scenario.inject(fill, &[("RedisDiskSpaceLow", "warning")]);
    fault.repair(|_| disk.free(), &[])
}

fn aof_disabled() -> ScenarioResult {
    let server = Redis::start(&["--appendonly", "yes"]);
    let scenario =
        ScenarioRun::start(&(deployment("a", &[&server]) + "expect = { aof = 'all' }\n"));
    let set_appendonly =
        |state: &str| assert_eq!(server.cli(&["CONFIG", "SET", "appendonly", state]).trim(), "OK");
    let fault = scenario.inject(|_| set_appendonly("no"), &[("RedisAofDisabled", "warning")]);
    fault.repair(|_| set_appendonly("yes"), &[])
}

fn memory_near_maxmemory() -> ScenarioResult {
    let server = Redis::start(&["--maxmemory", "20mb"]);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let fill = |_: &ScenarioRun| {
        let script = "for _ = 1, 5 do redis.call('RPUSH', 'list', string.rep('x', 100000)) end";
        eventually(SERVER_TIMEOUT, "used memory is near maxmemory", || {
            server.cli(&["EVAL", script, "0"]);
            (server.number("used_memory") > 19_200_000).then_some(())
        });
    };
    let fault = scenario.inject(fill, &[("RedisMemoryNearLimit", "warning")]);
    fault.repair(|_| drop(server.cli(&["DEL", "list"])), &[])
}
