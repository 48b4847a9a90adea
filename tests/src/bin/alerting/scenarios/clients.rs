//! Faults that clients notice, and nodes that are down or that Rolecall cannot read.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tests::{Connection, Redis, RedisPyClient, SECOND, Signal, deployment, eventually, pause};

use crate::harness::{SERVER_TIMEOUT, Scenario, ScenarioResult, ScenarioRun};

pub(crate) const ALL: &[Scenario] = &[
    Scenario { row: 6, name: "writes_to_a_replica", quick: false, run: writes_to_a_replica },
    Scenario {
        row: 7,
        name: "connection_pool_still_writes_to_the_old_primary",
        quick: false,
        run: pool_on_the_old_primary,
    },
    Scenario {
        row: 9,
        name: "long_scripts_that_cause_busy_errors",
        quick: false,
        run: long_scripts,
    },
    Scenario {
        row: 12,
        name: "replicaof_command_on_a_replica",
        quick: false,
        run: topology_command,
    },
    Scenario { row: 13, name: "replica_restarted", quick: false, run: replica_restarted },
    Scenario { row: 13, name: "primary_in_a_crash_loop", quick: false, run: crash_loop },
    Scenario { row: 21, name: "client_with_a_wrong_password", quick: false, run: wrong_password },
    Scenario {
        row: 22,
        name: "primary_without_replicas_killed",
        quick: true,
        run: primary_without_replicas_killed,
    },
    Scenario { row: 22, name: "one_of_two_replicas_killed", quick: false, run: replica_killed },
    Scenario { row: 22, name: "frozen_primary", quick: false, run: frozen_primary },
    Scenario {
        row: 22,
        name: "password_changed_without_updating_rolecall",
        quick: false,
        run: password_changed,
    },
    Scenario {
        row: 36,
        name: "errorstats_disabled_by_too_many_error_codes",
        quick: false,
        run: errorstats_disabled,
    },
    Scenario { row: 43, name: "too_many_clients", quick: false, run: too_many_clients },
];

/// Thread that repeats an action of a client until the value is dropped.
struct BackgroundLoop {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BackgroundLoop {
    fn every(interval: Duration, mut action: impl FnMut() + Send + 'static) -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let is_stopped = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            while !is_stopped.load(Ordering::Relaxed) {
                action();
                pause(interval);
            }
        });
        BackgroundLoop { stopped, thread: Some(thread) }
    }
}

impl Drop for BackgroundLoop {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(
                thread.join().is_ok() || std::thread::panicking(),
                "the client thread panicked"
            );
        }
    }
}

fn writes_to_a_replica() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let mut clients = Vec::new();
    let write = |_: &ScenarioRun| {
        let start = |what| RedisPyClient::start(replica.port, "checkout", what, 1);
        clients = ["set", "multi", "eval"].map(start).into();
    };
    let fault = scenario.inject(write, &[("RedisWritesHitReplica", "warning")]);
    let repair = |scenario: &ScenarioRun| {
        scenario.until_inhibited(&["RedisErrorReplies"]);
        clients.clear();
    };
    fault.repair(repair, &[])
}

fn pool_on_the_old_primary() -> ScenarioResult {
    let primary = Redis::with_version("redis-8.2.3", &[]);
    let replica = primary.replica();
    let mut pool = Some(RedisPyClient::start(primary.port, "checkout", "set", 4));
    eventually(SERVER_TIMEOUT, "the pool sends writes", || primary.info("cmdstat_set"));
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    // A planned failover loses no writes and closes no connections.
    let fail_over = |_: &ScenarioRun| {
        assert_eq!(primary.cli(&["FAILOVER"]).trim(), "OK");
        eventually(SERVER_TIMEOUT, "the failover completes", || {
            (primary.info("role")? == "slave").then_some(())
        });
    };
    // The affected replica is reported early, the clients that write to it later.
    let fault = scenario.inject(
        fail_over,
        &[("RedisStaleClients", "warning"), ("RedisWritesHitReplica", "warning")],
    );
    fault.repair(|_| drop(pool.take()), &[])
}

fn long_scripts() -> ScenarioResult {
    // The alert is about the share of rejected commands. Redis counts the commands of a script as
    // processed, so the script calls TIME rarely.
    const SCRIPT: &str = "local function now() local time = redis.call('TIME') \
         return time[1] + time[2] / 1000000 end \
         local begun = now() while now() < begun + 0.5 do for _ = 1, 1000000 do end end return 1";
    let server = Redis::start(&["--busy-reply-threshold", "50"]);
    let address = server.address();
    let mut reader = Connection::connect(&address, None).expect("cannot connect");
    let _reader = BackgroundLoop::every(SECOND / 20, move || {
        drop(reader.execute(&["GET", "key"]).expect("no reply"));
    });
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let mut scripts = None;
    let run = |_: &ScenarioRun| {
        let mut wire = Connection::connect(&address, None).expect("cannot connect");
        scripts = Some(BackgroundLoop::every(SECOND * 2, move || {
            drop(wire.execute(&["EVAL", SCRIPT, "0"]).expect("no reply"));
        }));
    };
    let fault = scenario.inject(run, &[("RedisErrorReplies", "warning")]);
    fault.repair(|_| drop(scripts.take()), &[])
}

fn topology_command() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let (replica, other) = (primary.replica(), primary.replica());
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica, &other]));
    scenario.expect_info_alert(|_| replica.replicate_from(&other), "RedisTopologyCommand")
}

fn replica_restarted() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let mut replica = primary.replica();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let restart = |_: &ScenarioRun| {
        replica.kill();
        replica.restart();
    };
    scenario.expect_info_alert(restart, "RedisRestarted")
}

fn crash_loop() -> ScenarioResult {
    let mut primary = Redis::start(&["--appendonly", "yes"]);
    primary.cli(&["SET", "key", "value"]);
    let replica = primary.replica();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let node = primary.address();
    let crash = |scenario: &ScenarioRun| {
        for restarts in 1..=3 {
            primary.kill();
            primary.restart();
            scenario.daemon.until(
                SERVER_TIMEOUT,
                "redis_restarts_total",
                &[("node", &node)],
                f64::from(restarts),
            );
            // Wait until the replica is connected again.
            pause(SECOND * 3);
        }
    };
    let fault = scenario.inject(crash, &[("RedisCrashLoop", "critical")]);
    // The repair is that the primary stops crashing.
    fault.repair(|_| {}, &[])
}

/// Starts a primary and a replica, both with the password `secret`.
fn pair_with_password() -> (Redis, Redis) {
    let secret = ["--requirepass", "secret", "--masterauth", "secret"];
    let primary = Redis::start(&secret);
    let replica = primary.replica_with(&secret);
    let linked = || {
        replica
            .cli(&["-a", "secret", "INFO", "replication"])
            .contains("master_link_status:up")
            .then_some(())
    };
    eventually(SERVER_TIMEOUT, "the replica is synchronised", linked);
    (primary, replica)
}

fn wrong_password() -> ScenarioResult {
    let (primary, replica) = pair_with_password();
    let scenario =
        ScenarioRun::start(&(deployment("a", &[&primary, &replica]) + "password = 'secret'\n"));
    let mut client = None;
    let address = primary.address();
    let log_in = |_: &ScenarioRun| {
        client = Some(BackgroundLoop::every(SECOND / 2, move || {
            drop(Connection::connect(&address, Some("mistyped")));
        }));
    };
    let fault = scenario.inject(log_in, &[("RedisClientAuthFailing", "warning")]);
    let repair = |scenario: &ScenarioRun| {
        scenario.until_inhibited(&["RedisErrorReplies"]);
        drop(client.take());
    };
    fault.repair(repair, &[])
}

fn primary_without_replicas_killed() -> ScenarioResult {
    let mut server = Redis::start(&[]);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let fault = scenario.inject(|_| server.kill(), &[("RedisDown", "critical")]);
    fault.repair(|_| server.restart(), &[])
}

fn replica_killed() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let (mut killed, other) = (primary.replica(), primary.replica());
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &killed, &other]));
    let fault = scenario.inject(|_| killed.kill(), &[("RedisDown", "warning")]);
    let repair = |scenario: &ScenarioRun| {
        scenario.until_inhibited(&["RedisReplicasMissing"]);
        killed.restart();
    };
    fault.repair(repair, &[])
}

fn frozen_primary() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica]));
    let fault = scenario.inject(|_| primary.signal(Signal::Stop), &[("RedisDown", "critical")]);
    fault.repair(|_| primary.signal(Signal::Cont), &[])
}

fn password_changed() -> ScenarioResult {
    let (primary, replica) = pair_with_password();
    let scenario =
        ScenarioRun::start(&(deployment("a", &[&primary, &replica]) + "password = 'secret'\n"));
    let rotate = |from: &str, to: &str| {
        assert_eq!(primary.cli(&["-a", from, "CONFIG", "SET", "requirepass", to]).trim(), "OK");
        // Existing connections stay authenticated. Close those of Rolecall, but not that of the
        // replica.
        primary.cli(&["-a", to, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    };
    let fault =
        scenario.inject(|_| rotate("secret", "other"), &[("RolecallCannotRead", "warning")]);
    fault.repair(|_| rotate("other", "secret"), &[])
}

fn errorstats_disabled() -> ScenarioResult {
    let server = Redis::with_version("redis-8.2.3", &[]);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let return_many_error_codes = |_: &ScenarioRun| {
        for code in 0..140 {
            server.cli(&[
                "EVAL",
                "return redis.error_reply(ARGV[1])",
                "0",
                &format!("MADEUP{code} by a script"),
            ]);
        }
    };
    let fault = scenario.inject(return_many_error_codes, &[("RedisErrorStatsDisabled", "warning")]);
    fault.repair(|_| drop(server.cli(&["CONFIG", "RESETSTAT"])), &[])
}

fn too_many_clients() -> ScenarioResult {
    let server = Redis::start(&["--maxclients", "30"]);
    let scenario = ScenarioRun::start(&deployment("a", &[&server]));
    let (port, mut connections) = (server.port, Vec::new());
    let mut rejected_client = None;
    let connect = |_: &ScenarioRun| {
        connections = (0..30)
            .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("cannot connect"))
            .collect();
        rejected_client = Some(BackgroundLoop::every(SECOND / 2, move || {
            drop(TcpStream::connect(("127.0.0.1", port)));
        }));
    };
    let fault = scenario.inject(connect, &[("RedisMaxClients", "warning")]);
    let disconnect = |_: &ScenarioRun| {
        drop(rejected_client.take());
        connections.clear();
    };
    fault.repair(disconnect, &[])
}
