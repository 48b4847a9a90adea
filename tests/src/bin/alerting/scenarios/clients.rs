//! What clients notice, and servers that are not there or cannot be read.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tests::{Redis, RedisPy, SECOND, Signal, Wire, deployment, eventually, pause};

use crate::story::{SOON, Scenario, Story, Told};

pub(crate) const ALL: &[Scenario] = &[
    Scenario { row: 6, name: "writes_to_a_replica", quick: false, run: writes_to_a_replica },
    Scenario { row: 7, name: "pool_left_on_the_old_primary", quick: false, run: pool_left_behind },
    Scenario { row: 9, name: "long_scripts_that_refuse_others", quick: false, run: long_scripts },
    Scenario {
        row: 12,
        name: "a_command_that_changes_the_topology",
        quick: false,
        run: topology_command,
    },
    Scenario { row: 13, name: "a_replica_restarted", quick: false, run: restarted },
    Scenario { row: 13, name: "crash_loop_of_a_primary", quick: false, run: crash_loop },
    Scenario { row: 21, name: "client_with_a_wrong_password", quick: false, run: wrong_password },
    Scenario { row: 22, name: "lone_primary_killed", quick: true, run: lone_primary_killed },
    Scenario { row: 22, name: "one_of_two_replicas_killed", quick: false, run: replica_killed },
    Scenario { row: 22, name: "frozen_primary", quick: false, run: frozen_primary },
    Scenario {
        row: 22,
        name: "our_password_rotated_away",
        quick: false,
        run: our_password_rotated,
    },
    Scenario { row: 36, name: "error_table_thrown_away", quick: false, run: error_table_gone },
    Scenario { row: 43, name: "too_many_clients", quick: false, run: too_many_clients },
];

/// Something that a client does again and again, until it is dropped.
struct Again {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Again {
    fn every(interval: Duration, mut what: impl FnMut() + Send + 'static) -> Self {
        let ends = Arc::<AtomicBool>::default();
        let ended = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                what();
                pause(interval);
            }
        });
        Again { ends, thread: Some(thread) }
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the client failed");
        }
    }
}

fn writes_to_a_replica() -> Told {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let mut clients = Vec::new();
    let write = |_: &Story| {
        let start = |what| RedisPy::start(replica.port, "checkout", what, 1);
        clients = ["set", "multi", "eval"].map(start).into();
    };
    let faulty = story.fault(write, &[("RedisWritesHitReplica", "warning")]);
    let mend = |story: &Story| {
        story.until_hidden(&["RedisErrorReplies"]);
        clients.clear();
    };
    faulty.mend(mend, &[])
}

fn pool_left_behind() -> Told {
    let primary = Redis::of("redis-8.2.3", &[]);
    let replica = primary.replica();
    let mut pool = Some(RedisPy::start(primary.port, "checkout", "set", 4));
    eventually(SOON, "all are connected, and at work", || primary.info("cmdstat_set"));
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    // A planned one, so that no write is lost, and nobody is cut off.
    let fail_over = |_: &Story| {
        assert_eq!(primary.cli(&["FAILOVER"]).trim(), "OK");
        eventually(SOON, "failed over", || (primary.info("role")? == "slave").then_some(()));
    };
    // Soon where the writes go, later who sends them.
    let faulty = story.fault(
        fail_over,
        &[("RedisStaleClients", "warning"), ("RedisWritesHitReplica", "warning")],
    );
    faulty.mend(|_| drop(pool.take()), &[])
}

fn long_scripts() -> Told {
    // What a script calls counts as processed, so it seldom looks at the clock.
    const SCRIPT: &str = "local function now() local time = redis.call('TIME') return time[1] + time[2] / 1000000 end \
         local begun = now() while now() < begun + 0.5 do for _ = 1, 1000000 do end end return 1";
    let server = Redis::start(&["--busy-reply-threshold", "50"]);
    let address = server.address();
    let mut reader = Wire::connect(&address, None).expect("a connection");
    let _reader =
        Again::every(SECOND / 20, move || drop(reader.ask(&["GET", "key"]).expect("a reply")));
    let story = Story::begin(&deployment("a", &[&server]));
    let mut scripts = None;
    let run = |_: &Story| {
        let mut wire = Wire::connect(&address, None).expect("a connection");
        scripts = Some(Again::every(SECOND * 2, move || {
            drop(wire.ask(&["EVAL", SCRIPT, "0"]).expect("a reply"));
        }));
    };
    let faulty = story.fault(run, &[("RedisErrorReplies", "warning")]);
    faulty.mend(|_| drop(scripts.take()), &[])
}

fn topology_command() -> Told {
    let primary = Redis::start(&[]);
    let (replica, other) = (primary.replica(), primary.replica());
    let story = Story::begin(&deployment("a", &[&primary, &replica, &other]));
    story.note(|_| replica.follow(&other), "RedisTopologyCommand")
}

fn restarted() -> Told {
    let primary = Redis::start(&[]);
    let mut replica = primary.replica();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let restart = |_: &Story| {
        replica.kill();
        replica.restart();
    };
    story.note(restart, "RedisRestarted")
}

fn crash_loop() -> Told {
    let mut primary = Redis::start(&["--appendonly", "yes"]);
    primary.cli(&["SET", "key", "value"]);
    let replica = primary.replica();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let node = primary.address();
    let crash = |story: &Story| {
        for restarts in 1..=3 {
            primary.kill();
            primary.restart();
            story.daemon.until(
                SOON,
                "redis_restarts_total",
                &[("node", &node)],
                f64::from(restarts),
            );
            // The replica comes back too.
            pause(SECOND * 3);
        }
    };
    let faulty = story.fault(crash, &[("RedisCrashLoop", "critical")]);
    // It crashes no more.
    faulty.mend(|_| {}, &[])
}

/// A primary and its replica, both with the password `secret`.
fn secret_pair() -> (Redis, Redis) {
    let secret = ["--requirepass", "secret", "--masterauth", "secret"];
    let primary = Redis::start(&secret);
    let replica = primary.replica_with(&secret);
    let linked = || {
        replica
            .cli(&["-a", "secret", "INFO", "replication"])
            .contains("master_link_status:up")
            .then_some(())
    };
    eventually(SOON, "the replica has its link", linked);
    (primary, replica)
}

fn wrong_password() -> Told {
    let (primary, replica) = secret_pair();
    let story = Story::begin(&(deployment("a", &[&primary, &replica]) + "password = 'secret'\n"));
    let mut client = None;
    let address = primary.address();
    let log_in = |_: &Story| {
        client =
            Some(Again::every(SECOND / 2, move || drop(Wire::connect(&address, Some("mistyped")))));
    };
    let faulty = story.fault(log_in, &[("RedisClientAuthFailing", "warning")]);
    let mend = |story: &Story| {
        story.until_hidden(&["RedisErrorReplies"]);
        drop(client.take());
    };
    faulty.mend(mend, &[])
}

fn lone_primary_killed() -> Told {
    let mut server = Redis::start(&[]);
    let story = Story::begin(&deployment("a", &[&server]));
    let faulty = story.fault(|_| server.kill(), &[("RedisDown", "critical")]);
    faulty.mend(|_| server.restart(), &[])
}

fn replica_killed() -> Told {
    let primary = Redis::start(&[]);
    let (mut killed, other) = (primary.replica(), primary.replica());
    let story = Story::begin(&deployment("a", &[&primary, &killed, &other]));
    let faulty = story.fault(|_| killed.kill(), &[("RedisDown", "warning")]);
    let mend = |story: &Story| {
        story.until_hidden(&["RedisReplicasMissing"]);
        killed.restart();
    };
    faulty.mend(mend, &[])
}

fn frozen_primary() -> Told {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let faulty = story.fault(|_| primary.signal(Signal::Stop), &[("RedisDown", "critical")]);
    faulty.mend(|_| primary.signal(Signal::Cont), &[])
}

fn our_password_rotated() -> Told {
    let (primary, replica) = secret_pair();
    let story = Story::begin(&(deployment("a", &[&primary, &replica]) + "password = 'secret'\n"));
    let rotate = |from: &str, to: &str| {
        assert_eq!(primary.cli(&["-a", from, "CONFIG", "SET", "requirepass", to]).trim(), "OK");
        // Connections that stand are not asked again. That of the replica stands.
        primary.cli(&["-a", to, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    };
    let faulty = story.fault(|_| rotate("secret", "other"), &[("RolecallCannotRead", "warning")]);
    faulty.mend(|_| rotate("other", "secret"), &[])
}

fn error_table_gone() -> Told {
    let server = Redis::of("redis-8.2.3", &[]);
    let story = Story::begin(&deployment("a", &[&server]));
    let make_up = |_: &Story| {
        for code in 0..140 {
            server.cli(&[
                "EVAL",
                "return redis.error_reply(ARGV[1])",
                "0",
                &format!("MADEUP{code} by a script"),
            ]);
        }
    };
    let faulty = story.fault(make_up, &[("RedisErrorStatsDisabled", "warning")]);
    faulty.mend(|_| drop(server.cli(&["CONFIG", "RESETSTAT"])), &[])
}

fn too_many_clients() -> Told {
    let server = Redis::start(&["--maxclients", "30"]);
    let story = Story::begin(&deployment("a", &[&server]));
    let (port, mut crowd) = (server.port, Vec::new());
    let mut late = None;
    let flock = |_: &Story| {
        crowd =
            (0..30).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("connected")).collect();
        late =
            Some(Again::every(SECOND / 2, move || drop(TcpStream::connect(("127.0.0.1", port)))));
    };
    let faulty = story.fault(flock, &[("RedisMaxClients", "warning")]);
    let leave = |_: &Story| {
        drop(late.take());
        crowd.clear();
    };
    faulty.mend(leave, &[])
}
