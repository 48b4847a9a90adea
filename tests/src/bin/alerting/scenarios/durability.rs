//! Writes that are refused, or that do not survive.

use tests::{Disk, Redis, Shim, Writer, deployment, eventually};

use crate::story::{SOON, Scenario, Story, Told};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 24,
        name: "append_only_file_on_a_full_disk",
        quick: true,
        run: aof_on_a_full_disk,
    },
    Scenario { row: 25, name: "failed_fsync_that_stays", quick: false, run: failed_fsync },
    Scenario { row: 26, name: "slow_fsync", quick: false, run: slow_fsync },
    Scenario {
        row: 27,
        name: "failing_rewrite_of_the_append_only_file",
        quick: false,
        run: failing_rewrite,
    },
    Scenario {
        row: 28,
        name: "append_only_file_that_is_never_rewritten",
        quick: false,
        run: bloated,
    },
    Scenario {
        row: 29,
        name: "failing_snapshot_with_save_points",
        quick: false,
        run: failing_snapshot_with_save_points,
    },
    Scenario {
        row: 29,
        name: "failing_snapshot_without_save_points",
        quick: false,
        run: failing_snapshot_without_save_points,
    },
    Scenario { row: 30, name: "out_of_memory", quick: false, run: out_of_memory },
    Scenario { row: 31, name: "slow_fork", quick: false, run: slow_fork },
    Scenario { row: 32, name: "little_room_for_data", quick: false, run: little_room },
    Scenario {
        row: 33,
        name: "a_full_disk_under_a_server_that_always_syncs",
        quick: false,
        run: always_on_a_full_disk,
    },
    Scenario { row: 35, name: "a_replica_that_loads_its_data", quick: false, run: loading },
    Scenario {
        row: 34,
        name: "append_only_file_off_that_should_be_on",
        quick: false,
        run: aof_off,
    },
    Scenario { row: 44, name: "memory_near_its_limit", quick: false, run: memory_near_its_limit },
];

fn aof_on_a_full_disk() -> Told {
    let disk = Disk::of(2);
    let server = Redis::start(&["--appendonly", "yes", "--dir", &disk.folder()]);
    let story = Story::begin(&deployment("a", &[&server]));
    let fill = |_: &Story| {
        disk.fill();
        eventually(SOON, "writes are refused", || {
            server.cli(&["SET", "key", &"x".repeat(5000)]).contains("MISCONF").then_some(())
        });
    };
    let faulty = story.fault(fill, &[("RedisAofWriteFailing", "critical")]);
    faulty.mend(|_| disk.free(), &[])
}

/// Such a server does not refuse writes: it ends.
fn always_on_a_full_disk() -> Told {
    let disk = Disk::of(2);
    let mut server =
        Redis::start(&["--appendonly", "yes", "--appendfsync", "always", "--dir", &disk.folder()]);
    let story = Story::begin(&deployment("a", &[&server]));
    let fill = |_: &Story| {
        disk.fill();
        server.cli(&["SET", "key", &"x".repeat(5000)]);
        assert_eq!(server.end(SOON).code(), Some(1));
    };
    let faulty = story.fault(fill, &[("RedisDown", "critical")]);
    assert_eq!(
        faulty.story.daemon.finding("RedisDown").expect("it")["evidence"]["appendfsync"],
        "always",
        "what to look at first"
    );
    let mend = |_: &Story| {
        disk.free();
        server.restart();
    };
    faulty.mend(mend, &[])
}

fn loading() -> Told {
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
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let restart = |_: &Story| {
        replica.kill();
        replica.restart();
    };
    story.note(restart, "RedisLoading")
}

fn failed_fsync() -> Told {
    let shim = Shim::build();
    let server = Redis::within(
        &shim.environment(),
        "redis-7.0.15",
        &["--appendonly", "yes", "--appendfsync", "everysec"],
    );
    let story = Story::begin(&deployment("a", &[&server]));
    let fail = |_: &Story| {
        shim.fail_fsync();
        eventually(SOON, "writes are refused", || {
            server.cli(&["SET", "key", "value"]).contains("MISCONF").then_some(())
        });
        // A good disk alone does not help.
        shim.mend();
    };
    let faulty = story.fault(fail, &[("RedisAofFsyncStuck", "critical")]);
    let switch = |_: &Story| {
        for state in ["no", "yes"] {
            server.cli(&["CONFIG", "SET", "appendonly", state]);
        }
    };
    faulty.mend(switch, &[])
}

fn slow_fsync() -> Told {
    let shim = Shim::build();
    let server = Redis::within(
        &shim.environment(),
        "redis-7.0.15",
        &["--appendonly", "yes", "--appendfsync", "everysec"],
    );
    let _writer = Writer::start(&server.address(), "key", 20);
    let story = Story::begin(&deployment("a", &[&server]));
    let faulty = story.fault(|_| shim.slow_fsync(), &[("RedisAofDelayedFsync", "warning")]);
    faulty.mend(|_| shim.mend(), &[])
}

fn slow_fork() -> Told {
    let shim = Shim::build();
    let server = Redis::within(&shim.environment(), "redis-7.0.15", &[]);
    let story = Story::begin(&deployment("a", &[&server]));
    let save = || assert_eq!(server.cli(&["BGSAVE"]).trim(), "Background saving started");
    let save_slowly = |_: &Story| {
        shim.slow_fork();
        save();
    };
    let faulty = story.fault(save_slowly, &[("RedisForkSlow", "warning")]);
    let mend = |_: &Story| {
        shim.mend();
        save();
    };
    faulty.mend(mend, &[])
}

fn failing_rewrite() -> Told {
    let server = Redis::start(&["--appendonly", "yes"]);
    let story = Story::begin(&deployment("a", &[&server]));
    let [folder, away] = ["appendonlydir", "away"].map(|name| server.directory().join(name));
    // What takes away the rights to a directory does, to a server that is not root.
    let break_it = |_: &Story| {
        std::fs::rename(&folder, &away).expect("moved");
        std::fs::write(&folder, "in the way").expect("a file");
        server.cli(&["BGREWRITEAOF"]);
    };
    let faulty = story.fault(break_it, &[("RedisAofRewriteFailing", "warning")]);
    let mend = |_: &Story| {
        std::fs::remove_file(&folder).expect("removed");
        std::fs::rename(&away, &folder).expect("moved");
        server.cli(&["BGREWRITEAOF"]);
    };
    faulty.mend(mend, &[])
}

fn bloated() -> Told {
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
    let story = Story::begin(&deployment("a", &[&server]));
    let write = |_: &Story| {
        let value = "x".repeat(100_000);
        for _ in 0..30 {
            assert_eq!(server.cli(&["SET", "key", &value]).trim(), "OK");
        }
    };
    let faulty = story.fault(write, &[("RedisAofBloated", "warning")]);
    faulty.mend(|_| rewrite(&server), &[])
}

/// Rewrites the append-only file, and waits until that is done.
#[track_caller]
fn rewrite(server: &Redis) {
    let before = server.number("aof_rewrites");
    server.cli(&["BGREWRITEAOF"]);
    let rewritten =
        || server.number("aof_rewrites") > before && server.number("aof_rewrite_in_progress") == 0;
    eventually(SOON, "rewritten", || rewritten().then_some(()));
}

fn failing_snapshot_with_save_points() -> Told {
    // The page says that nobody can write; why, and what to do after, is a ticket.
    failing_snapshot(
        &["--save", "3600 1000000"],
        &[("RedisWritesBlocked", "critical"), ("RedisBgsaveFailing", "warning")],
    )
}

fn failing_snapshot_without_save_points() -> Told {
    failing_snapshot(&[], &[("RedisBgsaveFailing", "warning")])
}

fn failing_snapshot(options: &[&str], expected: &[(&str, &str)]) -> Told {
    let disk = Disk::of(2);
    let folder = disk.folder();
    let server = Redis::start(&[&["--dir", folder.as_str()], options].concat());
    let story = Story::begin(&deployment("a", &[&server]));
    let _writer = Writer::start(&server.address(), "key", 5);
    let fail = |_: &Story| {
        disk.fill();
        server.cli(&["BGSAVE"]);
    };
    let faulty = story.fault(fail, expected);
    // Space alone does not help; a good snapshot does.
    let mend = |_: &Story| {
        disk.free();
        server.cli(&["BGSAVE"]);
    };
    faulty.mend(mend, &[])
}

fn out_of_memory() -> Told {
    let server = Redis::start(&["--maxmemory", "20mb"]);
    let _writer = Writer::start(&server.address(), "key", 20);
    let story = Story::begin(&deployment("a", &[&server]));
    let fill = |_: &Story| {
        let mut length = 0;
        eventually(SOON, "writes are refused", || {
            length += 1_000_000;
            server
                .cli(&["SETRANGE", "long", &length.to_string(), "x"])
                .starts_with("OOM")
                .then_some(())
        });
    };
    let faulty = story.fault(fill, &[("RedisOutOfMemory", "critical")]);
    faulty.mend(|_| drop(server.cli(&["DEL", "long"])), &[])
}

fn little_room() -> Told {
    let disk = Disk::of(64);
    let server = Redis::start(&["--dir", &disk.folder()]);
    server.cli(&["SETRANGE", "long", "10000000", "x"]);
    let node = format!("nodes = [{{ url = '{}', data_dir = '{}' }}]", server.url(), disk.folder());
    let story = Story::begin(&format!("[[deployment]]\nname = 'a'\n{node}\n"));
    // Some 9 MB are left, for 10 MB of data.
    let fill =
        |_: &Story| std::fs::write(disk.path().join("ballast"), vec![0; 55 << 20]).expect("a file");
    let faulty = story.fault(fill, &[("RedisDiskSpaceLow", "warning")]);
    faulty.mend(|_| disk.free(), &[])
}

fn aof_off() -> Told {
    let server = Redis::start(&["--appendonly", "yes"]);
    let story = Story::begin(&(deployment("a", &[&server]) + "expect = { aof = 'all' }\n"));
    let switch =
        |state: &str| assert_eq!(server.cli(&["CONFIG", "SET", "appendonly", state]).trim(), "OK");
    let faulty = story.fault(|_| switch("no"), &[("RedisAofDisabled", "warning")]);
    faulty.mend(|_| switch("yes"), &[])
}

fn memory_near_its_limit() -> Told {
    let server = Redis::start(&["--maxmemory", "20mb"]);
    let story = Story::begin(&deployment("a", &[&server]));
    let fill = |_: &Story| {
        let script = "for _ = 1, 5 do redis.call('RPUSH', 'list', string.rep('x', 100000)) end";
        eventually(SOON, "most is used", || {
            server.cli(&["EVAL", script, "0"]);
            (server.number("used_memory") > 19_200_000).then_some(())
        });
    };
    let faulty = story.fault(fill, &[("RedisMemoryNearLimit", "warning")]);
    faulty.mend(|_| drop(server.cli(&["DEL", "list"])), &[])
}
