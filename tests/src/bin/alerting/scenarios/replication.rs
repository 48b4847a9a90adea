//! Faults of replication: links, lag and wrong replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::{Connection, Daemon, Disk, Proxy, Redis, Signal, Writer, deployment, pause};

use crate::harness::{SERVER_TIMEOUT, Scenario, ScenarioResult, ScenarioRun};

pub(crate) const ALL: &[Scenario] = &[
    Scenario { row: 8, name: "replica_made_writable", quick: false, run: replica_made_writable },
    Scenario {
        row: 10,
        name: "replica_paused_while_its_primary_takes_writes",
        quick: false,
        run: replica_paused_under_writes,
    },
    Scenario {
        row: 11,
        name: "full_disk_on_a_replica_during_a_full_resync",
        quick: false,
        run: full_disk_on_a_replica,
    },
    Scenario {
        row: 11,
        name: "replica_output_buffer_too_small_for_a_full_resync",
        quick: false,
        run: output_buffer_too_small,
    },
    Scenario {
        row: 15,
        name: "primary_without_the_replica_required_for_writes",
        quick: false,
        run: primary_without_its_replica,
    },
    Scenario {
        row: 15,
        name: "stale_master_fenced_by_min_replicas_to_write",
        quick: false,
        run: stale_master_fenced,
    },
    Scenario {
        row: 18,
        name: "one_of_two_replication_links_cut",
        quick: false,
        run: one_of_two_links_cut,
    },
    Scenario { row: 18, name: "only_replication_link_cut", quick: false, run: only_link_cut },
    Scenario {
        row: 18,
        name: "replication_link_cut_for_more_than_ten_minutes",
        quick: false,
        run: link_cut_for_ten_minutes,
    },
    Scenario {
        row: 18,
        name: "replication_link_interrupted_three_times",
        quick: false,
        run: link_flapping,
    },
    Scenario {
        row: 19,
        name: "replication_stalled_on_an_open_connection",
        quick: false,
        run: link_stalled,
    },
    Scenario {
        row: 20,
        name: "one_of_two_replicas_cut_off_with_stale_reads_disabled",
        quick: false,
        run: one_of_two_refuses_reads,
    },
    Scenario {
        row: 20,
        name: "all_replicas_cut_off_with_stale_reads_disabled",
        quick: false,
        run: all_refuse_reads,
    },
    Scenario {
        row: 21,
        name: "wrong_masterauth_on_a_replica",
        quick: false,
        run: wrong_masterauth,
    },
    Scenario {
        row: 23,
        name: "backlog_smaller_than_the_writes_during_a_link_loss",
        quick: false,
        run: small_backlog,
    },
    Scenario {
        row: 39,
        name: "fewer_replicas_than_expected",
        quick: false,
        run: fewer_replicas_than_expected,
    },
    Scenario {
        row: 39,
        name: "no_replica_although_one_is_expected",
        quick: false,
        run: no_replica_left,
    },
    Scenario {
        row: 40,
        name: "replica_of_a_closed_port",
        quick: false,
        run: replica_of_a_closed_port,
    },
    Scenario {
        row: 40,
        name: "replica_of_a_master_outside_the_deployment",
        quick: false,
        run: replica_of_an_outside_master,
    },
    Scenario {
        row: 42,
        name: "key_written_directly_to_a_replica",
        quick: false,
        run: key_written_to_a_replica,
    },
];

/// Port on which nothing ever listens.
const CLOSED: u16 = 1;

/// Primary with replicas that each replicate through a separate proxy.
struct ProxiedReplicas {
    primary: Redis,
    replicas: Vec<Redis>,
    proxies: Vec<Proxy>,
}

impl ProxiedReplicas {
    /// Starts this many replicas with these options, and waits until they are synchronised.
    fn start(primary: Redis, replicas: usize, options: &[&str]) -> Self {
        let proxies: Vec<_> = (0..replicas).map(|_| Proxy::start(primary.port)).collect();
        let follow = |proxy: &Proxy| {
            let port = proxy.peer.port.to_string();
            Redis::start(&[&["--replicaof", "127.0.0.1", &port], options].concat())
        };
        let replicas: Vec<_> = proxies.iter().map(follow).collect();
        replicas.iter().for_each(Redis::until_synchronised);
        ProxiedReplicas { primary, replicas, proxies }
    }

    /// Returns a configuration with all nodes that maps the addresses of the proxies to the
    /// primary.
    fn configuration(&self) -> String {
        let address = self.primary.address();
        let mapped: Vec<_> = self
            .proxies
            .iter()
            .map(|proxy| format!("'127.0.0.1:{}' = '{address}'", proxy.peer.port))
            .collect();
        let servers: Vec<_> = [&self.primary].into_iter().chain(&self.replicas).collect();
        format!("{}address_map = {{ {} }}\n", deployment("a", &servers), mapped.join(", "))
    }

    fn start_scenario(&self) -> ScenarioRun {
        ScenarioRun::start(&self.configuration())
    }

    /// Closes the replication link of a replica and keeps it down.
    fn cut_link(&self, replica: usize) {
        self.proxies[replica].redirect_to(CLOSED);
    }

    /// Allows the replica to reconnect.
    fn restore_link(&self, replica: usize) {
        self.proxies[replica].redirect_to(self.primary.port);
    }
}

/// Forces a full resync of a replica, as the runbooks describe. The transaction ensures that the
/// replica never accepts writes as a master.
fn rebuild(replica: &Redis, primary: &Redis) {
    let mut wire = Connection::connect(&replica.address(), None).expect("cannot connect");
    let port = primary.port.to_string();
    for command in
        [&["MULTI"][..], &["REPLICAOF", "NO", "ONE"], &["REPLICAOF", "127.0.0.1", &port], &["EXEC"]]
    {
        let reply = wire.execute(command).expect("no reply");
        assert!(!reply.iter().any(|line| line.starts_with('-')), "{command:?}: {reply:?}");
    }
}

fn replica_made_writable() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let writable = |is: &str| drop(replica.cli(&["CONFIG", "SET", "replica-read-only", is]));
    let fault = scenario.inject(|_| writable("no"), &[("RedisReplicaWritable", "warning")]);
    fault.repair(|_| writable("yes"), &[])
}

fn replica_paused_under_writes() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let _writer = Writer::start(&primary.address(), "key", 20);
    // The paused replica receives the writes of its master but does not apply them. Its link stays
    // up, and it replies to INFO.
    let pause = |_: &ScenarioRun| drop(replica.cli(&["CLIENT", "PAUSE", "600000", "WRITE"]));
    let fault = scenario.inject(pause, &[("RedisReplicationLag", "warning")]);
    fault.repair(|_| drop(replica.cli(&["CLIENT", "UNPAUSE"])), &[])
}

fn full_disk_on_a_replica() -> ScenarioResult {
    let disk = Disk::with_megabytes(30);
    let primary = Redis::start(&["--rdbcompression", "no"]);
    primary.cli(&[
        "EVAL",
        "for key = 1, 8 do redis.call('SET', 'filler' .. key, string.rep('x', 1000000)) end",
        "0",
    ]);
    let replica = primary.replica_with(&["--dir", &disk.folder()]);
    replica.until_synchronised();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let fill = |_: &ScenarioRun| {
        disk.fill();
        rebuild(&replica, &primary);
    };
    let fault = scenario.inject(fill, &[("RedisFullSyncLoop", "critical")]);
    fault.repair(|_| disk.free(), &[])
}

fn output_buffer_too_small() -> ScenarioResult {
    // The full resync takes two seconds, and the writes during that time exceed the output buffer.
    let limits =
        ["--client-output-buffer-limit", "replica 64kb 64kb 0", "--repl-backlog-size", "16kb"];
    let primary = Redis::start(&limits);
    for key in 0..20 {
        primary.cli(&["SET", &format!("key{key}"), "x"]);
    }
    let replica = primary.replica();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let writing = Arc::new(AtomicBool::new(false));
    let (address, is_writing) = (primary.address(), Arc::clone(&writing));
    let overflow = |_: &ScenarioRun| {
        primary.cli(&["CONFIG", "SET", "rdb-key-save-delay", "100000"]);
        writing.store(true, Ordering::Relaxed);
        std::thread::spawn(move || {
            let mut wire = Connection::connect(&address, None).expect("cannot connect");
            let value = "x".repeat(50_000);
            while is_writing.load(Ordering::Relaxed)
                && wire.execute(&["SET", "written", &value]).is_ok()
            {
                pause(Duration::from_millis(50));
            }
        });
        rebuild(&replica, &primary);
    };
    let fault = scenario.inject(overflow, &[("RedisFullSyncLoop", "critical")]);
    fault.repair(|_| writing.store(false, Ordering::Relaxed), &[])
}

fn primary_without_its_replica() -> ScenarioResult {
    let setup = ProxiedReplicas::start(Redis::start(&["--min-replicas-to-write", "1"]), 1, &[]);
    let fault = setup
        .start_scenario()
        .inject(|_| setup.cut_link(0), &[("RedisNotEnoughReplicas", "critical")]);
    assert!(setup.primary.cli(&["SET", "key", "x"]).contains("NOREPLICAS"));
    fault.repair(|_| setup.restore_link(0), &[])
}

/// Promotes a replica and leaves the old master unchanged. `min-replicas-to-write` makes the old
/// master reject writes. This is intended and must not cause an alert; only the missing replica
/// does.
fn stale_master_fenced() -> ScenarioResult {
    let old = Redis::start(&["--min-replicas-to-write", "1"]);
    let (new, other) = (old.replica(), old.replica());
    let scenario = ScenarioRun::start(&deployment("a", &[&old, &new, &other]));
    let promote = |_: &ScenarioRun| {
        new.promote();
        other.replicate_from(&new);
    };
    let fault = scenario.inject(promote, &[("RedisReplicasMissing", "warning")]);
    assert!(
        old.cli(&["SET", "key", "x"]).contains("NOREPLICAS"),
        "the stale master rejects writes"
    );
    let firing = fault.scenario.pipeline.firing();
    assert!(
        !firing
            .iter()
            .any(|(alert, _)| alert == "RedisNotEnoughReplicas" || alert == "RedisWritesBlocked"),
        "{firing:?}"
    );
    fault.repair(|_| old.replicate_from(&new), &[])
}

fn one_of_two_links_cut() -> ScenarioResult {
    let setup = ProxiedReplicas::start(Redis::start(&[]), 2, &[]);
    let fault = setup
        .start_scenario()
        .inject(|_| setup.cut_link(1), &[("RedisReplicaLinkDown", "warning")]);
    fault.repair(|_| setup.restore_link(1), &[])
}

fn only_link_cut() -> ScenarioResult {
    let setup = ProxiedReplicas::start(Redis::start(&[]), 1, &[]);
    let fault = setup
        .start_scenario()
        .inject(|_| setup.cut_link(0), &[("RedisReplicaLinkDown", "critical")]);
    fault.repair(|_| setup.restore_link(0), &[])
}

/// Checks that the alert starts as a warning, since another replica is connected, and becomes
/// critical after ten minutes.
fn link_cut_for_ten_minutes() -> ScenarioResult {
    let setup = ProxiedReplicas::start(Redis::start(&[]), 2, &[]);
    let expected = [("RedisReplicaLinkDown", "critical"), ("RedisReplicaLinkDown", "warning")];
    let fault = setup.start_scenario().inject(|_| setup.cut_link(1), &expected);
    fault.repair(|_| setup.restore_link(1), &[])
}

fn link_flapping() -> ScenarioResult {
    let setup = ProxiedReplicas::start(Redis::start(&[]), 2, &[]);
    let node = setup.replicas[1].address();
    let flap = |scenario: &ScenarioRun| {
        for _ in 0..3 {
            setup.cut_link(1);
            scenario.daemon.until_link(SERVER_TIMEOUT, &setup.replicas[1], "lost");
            setup.restore_link(1);
            scenario.daemon.until_link(SERVER_TIMEOUT, &setup.replicas[1], "up");
        }
        assert!(
            scenario.daemon.samples().get("redis_link_drops_total", &[("node", &node)])
                >= Some(3.0)
        );
    };
    let fault = setup.start_scenario().inject(flap, &[("RedisReplicaLinkFlapping", "warning")]);
    // The repair is that the link stays up.
    fault.repair(|_| {}, &[])
}

/// Stalls a link without closing its connection. The master is not frozen, since Rolecall would
/// report it as down.
fn link_stalled() -> ScenarioResult {
    // Longer than the scenario, since the servers close the link after this time.
    let timeout = ["--repl-timeout", "300"];
    let setup = ProxiedReplicas::start(Redis::start(&timeout), 2, &timeout);
    let fault = setup
        .start_scenario()
        .inject(|_| setup.proxies[1].set_stalled(true), &[("RedisReplicaLinkStalled", "warning")]);
    fault.repair(|_| setup.proxies[1].set_stalled(false), &[])
}

fn one_of_two_refuses_reads() -> ScenarioResult {
    let setup = ProxiedReplicas::start(Redis::start(&[]), 2, &["--replica-serve-stale-data", "no"]);
    let fault = setup
        .start_scenario()
        .inject(|_| setup.cut_link(1), &[("RedisReplicaRejectsReads", "warning")]);
    assert!(setup.replicas[1].cli(&["GET", "key"]).contains("MASTERDOWN"));
    fault.repair(|_| setup.restore_link(1), &[])
}

fn all_refuse_reads() -> ScenarioResult {
    let setup = ProxiedReplicas::start(Redis::start(&[]), 2, &["--replica-serve-stale-data", "no"]);
    let cut = |_: &ScenarioRun| (0..2).for_each(|replica| setup.cut_link(replica));
    let fault = setup.start_scenario().inject(cut, &[("RedisReplicaRejectsReads", "critical")]);
    fault.repair(|_| (0..2).for_each(|replica| setup.restore_link(replica)), &[])
}

fn wrong_masterauth() -> ScenarioResult {
    let primary = Redis::start(&["--requirepass", "secret"]);
    let replica = primary.replica_with(&["--masterauth", "secret"]);
    replica.until_synchronised();
    let nodes = format!(
        "{{ url = 'redis://:secret@{}' }}, {{ url = '{}' }}",
        primary.address(),
        replica.url()
    );
    let scenario = ScenarioRun::start(&format!("[[deployment]]\nname = 'a'\nnodes = [{nodes}]\n"));
    let wrong = |_: &ScenarioRun| {
        replica.cli(&["CONFIG", "SET", "masterauth", "outdated"]);
        // The replica authenticates only when it connects.
        primary.cli(&["-a", "secret", "CLIENT", "KILL", "TYPE", "replica"]);
    };
    let fault = scenario.inject(wrong, &[("RedisReplicationAuthFailing", "critical")]);
    fault.repair(|_| drop(replica.cli(&["CONFIG", "SET", "masterauth", "secret"])), &[])
}

fn small_backlog() -> ScenarioResult {
    let setup = ProxiedReplicas::start(Redis::start(&["--repl-backlog-size", "16kb"]), 1, &[]);
    let exceed_backlog = |scenario: &ScenarioRun| {
        setup.cut_link(0);
        scenario.daemon.until_link(SERVER_TIMEOUT, &setup.replicas[0], "lost");
        setup.primary.cli(&["SET", "key", &"x".repeat(50_000)]);
        setup.restore_link(0);
        setup.replicas[0].until_synchronised();
    };
    let fault =
        setup.start_scenario().inject(exceed_backlog, &[("RedisBacklogTooSmall", "warning")]);
    fault.repair(|_| drop(setup.primary.cli(&["CONFIG", "SET", "repl-backlog-size", "64mb"])), &[])
}

/// Runs a scenario whose fault is a reload of another configuration, and whose repair is a reload
/// of the first one.
fn reconfigured(before: &str, after: &str, expected: (&str, &str)) -> ScenarioResult {
    let directory = tempfile::tempdir().expect("cannot create a directory");
    let file = directory.path().join("rolecall.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("cannot write a file");
    write(before);
    let scenario =
        ScenarioRun::with_daemon(Daemon::serve(&["--config.file", &file.display().to_string()]));
    let reload = |scenario: &ScenarioRun, text: &str| {
        write(text);
        scenario.daemon.signal(Signal::Hangup);
    };
    let fault = scenario.inject(|scenario| reload(scenario, after), &[expected]);
    fault.repair(|scenario| reload(scenario, before), &[])
}

/// Expects one more replica than the deployment has.
fn fewer_replicas_than_expected() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let expecting = |replicas: u8| {
        format!("{}expect = {{ replicas = {replicas} }}\n", deployment("a", &[&primary, &replica]))
    };
    reconfigured(&expecting(1), &expecting(2), ("RedisReplicasMissing", "warning"))
}

/// Removes the only replica from the configuration, which still expects one.
fn no_replica_left() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let with_nodes =
        |servers: &[&Redis]| format!("{}expect = {{ replicas = 1 }}\n", deployment("a", servers));
    reconfigured(
        &with_nodes(&[&primary, &replica]),
        &with_nodes(&[&primary]),
        ("RedisReplicasMissing", "critical"),
    )
}

/// Makes a replica replicate from a port on which nothing listens.
fn replica_of_a_closed_port() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let (healthy, orphaned) = (primary.replica(), primary.replica());
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &healthy, &orphaned]));
    let port = CLOSED.to_string();
    let point = |_: &ScenarioRun| drop(orphaned.cli(&["REPLICAOF", "127.0.0.1", &port]));
    let fault = scenario.inject(point, &[("RedisReplicaOrphaned", "warning")]);
    fault.repair(|_| orphaned.replicate_from(&primary), &[])
}

/// Makes a replica replicate from a server that does not belong to the deployment. Its link is up.
fn replica_of_an_outside_master() -> ScenarioResult {
    let (primary, outside) = (Redis::start(&[]), Redis::start(&[]));
    let replica = primary.replica();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let fault = scenario
        .inject(|_| replica.replicate_from(&outside), &[("RedisReplicaOrphaned", "warning")]);
    fault.repair(|_| replica.replicate_from(&primary), &[])
}

/// Writes a key to a replica that is writable for a moment.
fn key_written_to_a_replica() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let write_key = |_: &ScenarioRun| {
        for command in
            [["CONFIG", "SET", "replica-read-only", "no"].as_slice(), &["SET", "stray", "x"]]
        {
            assert_eq!(replica.cli(command).trim(), "OK");
        }
        replica.cli(&["CONFIG", "SET", "replica-read-only", "yes"]);
    };
    let fault = scenario.inject(write_key, &[("RedisReplicaDiverged", "warning")]);
    fault.repair(|_| rebuild(&replica, &primary), &[])
}
