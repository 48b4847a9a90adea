//! Links, lag, and replicas that are not what they should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::{Daemon, Disk, Proxy, Redis, Signal, Wire, Writer, deployment, pause};

use crate::story::{SOON, Scenario, Story, Told};

pub(crate) const ALL: &[Scenario] = &[
    Scenario { row: 8, name: "replica_made_writable", quick: false, run: replica_made_writable },
    Scenario {
        row: 10,
        name: "replica_paused_under_writes",
        quick: false,
        run: replica_paused_under_writes,
    },
    Scenario {
        row: 11,
        name: "full_disk_of_a_replica_that_synchronises",
        quick: false,
        run: full_disk_of_a_replica,
    },
    Scenario {
        row: 11,
        name: "output_buffer_too_small_for_a_synchronisation",
        quick: false,
        run: output_buffer_too_small,
    },
    Scenario {
        row: 15,
        name: "primary_cut_off_from_the_replica_that_it_needs",
        quick: false,
        run: primary_without_its_replica,
    },
    Scenario {
        row: 15,
        name: "old_master_that_is_fenced",
        quick: false,
        run: old_master_that_is_fenced,
    },
    Scenario { row: 18, name: "one_of_two_links_cut", quick: false, run: one_of_two_links_cut },
    Scenario { row: 18, name: "only_link_cut", quick: false, run: only_link_cut },
    Scenario { row: 18, name: "link_cut_for_long", quick: false, run: link_cut_for_long },
    Scenario {
        row: 18,
        name: "link_cut_again_and_again",
        quick: false,
        run: link_cut_again_and_again,
    },
    Scenario {
        row: 19,
        name: "silent_network_between_master_and_replica",
        quick: false,
        run: silent_network,
    },
    Scenario {
        row: 20,
        name: "one_of_two_replicas_without_stale_data_cut_off",
        quick: false,
        run: one_of_two_refuses_reads,
    },
    Scenario {
        row: 20,
        name: "all_replicas_without_stale_data_cut_off",
        quick: false,
        run: all_refuse_reads,
    },
    Scenario { row: 21, name: "wrong_masterauth", quick: false, run: wrong_masterauth },
    Scenario {
        row: 23,
        name: "small_backlog_under_writes_while_the_link_is_cut",
        quick: false,
        run: small_backlog,
    },
    Scenario {
        row: 39,
        name: "fewer_replicas_than_declared",
        quick: false,
        run: fewer_replicas_than_declared,
    },
    Scenario {
        row: 39,
        name: "no_replica_left_of_those_declared",
        quick: false,
        run: no_replica_left,
    },
    Scenario {
        row: 40,
        name: "replica_pointed_at_nowhere",
        quick: false,
        run: replica_pointed_at_nowhere,
    },
    Scenario {
        row: 40,
        name: "replica_of_a_foreign_master",
        quick: false,
        run: replica_of_a_foreign_master,
    },
    Scenario { row: 42, name: "stray_key_on_a_replica", quick: false, run: stray_key_on_a_replica },
];

/// A port that nobody listens on, nor ever will while this runs.
const CLOSED: u16 = 1;

/// A primary, and replicas each of which reaches it through a proxy of its own.
struct Star {
    primary: Redis,
    replicas: Vec<Redis>,
    proxies: Vec<Proxy>,
}

impl Star {
    /// Starts that many replicas with these options, and waits until they are synchronised.
    fn start(primary: Redis, replicas: usize, options: &[&str]) -> Self {
        let proxies: Vec<_> = (0..replicas).map(|_| Proxy::start(primary.port)).collect();
        let follow = |proxy: &Proxy| {
            let port = proxy.peer.port.to_string();
            Redis::start(&[&["--replicaof", "127.0.0.1", &port], options].concat())
        };
        let replicas: Vec<_> = proxies.iter().map(follow).collect();
        replicas.iter().for_each(Redis::until_linked);
        Star { primary, replicas, proxies }
    }

    /// The configuration that watches them, and knows the proxies for the primary.
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

    fn begin(&self) -> Story {
        Story::begin(&self.configuration())
    }

    /// Cuts this link, and keeps it down.
    fn cut(&self, replica: usize) {
        self.proxies[replica].lead_to(CLOSED);
    }

    /// Lets this link stand again.
    fn mend(&self, replica: usize) {
        self.proxies[replica].lead_to(self.primary.port);
    }
}

/// Makes a replica get all data anew, as the runbooks say: so that it is never a master that takes writes.
fn rebuild(replica: &Redis, primary: &Redis) {
    let mut wire = Wire::connect(&replica.address(), None).expect("a connection");
    let port = primary.port.to_string();
    for command in
        [&["MULTI"][..], &["REPLICAOF", "NO", "ONE"], &["REPLICAOF", "127.0.0.1", &port], &["EXEC"]]
    {
        let reply = wire.ask(command).expect("a reply");
        assert!(!reply.iter().any(|line| line.starts_with('-')), "{command:?}: {reply:?}");
    }
}

fn replica_made_writable() -> Told {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let writable = |is: &str| drop(replica.cli(&["CONFIG", "SET", "replica-read-only", is]));
    let faulty = story.fault(|_| writable("no"), &[("RedisReplicaWritable", "warning")]);
    faulty.mend(|_| writable("yes"), &[])
}

fn replica_paused_under_writes() -> Told {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let _writer = Writer::start(&primary.address(), "key", 20);
    // It takes what its master sends, and applies none of it. Its link stands, and INFO is answered.
    let pause = |_: &Story| drop(replica.cli(&["CLIENT", "PAUSE", "600000", "WRITE"]));
    let faulty = story.fault(pause, &[("RedisReplicationLag", "warning")]);
    faulty.mend(|_| drop(replica.cli(&["CLIENT", "UNPAUSE"])), &[])
}

fn full_disk_of_a_replica() -> Told {
    let disk = Disk::of(30);
    let primary = Redis::start(&["--rdbcompression", "no"]);
    primary.cli(&[
        "EVAL",
        "for key = 1, 8 do redis.call('SET', 'filler' .. key, string.rep('x', 1000000)) end",
        "0",
    ]);
    let replica = primary.replica_with(&["--dir", &disk.folder()]);
    replica.until_linked();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let fill = |_: &Story| {
        disk.fill();
        rebuild(&replica, &primary);
    };
    let faulty = story.fault(fill, &[("RedisFullSyncLoop", "critical")]);
    faulty.mend(|_| disk.free(), &[])
}

fn output_buffer_too_small() -> Told {
    // It takes two seconds to synchronise, and what is written meanwhile is more than it may be behind.
    let limits =
        ["--client-output-buffer-limit", "replica 64kb 64kb 0", "--repl-backlog-size", "16kb"];
    let primary = Redis::start(&limits);
    for key in 0..20 {
        primary.cli(&["SET", &format!("key{key}"), "x"]);
    }
    let replica = primary.replica();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let writes = Arc::new(AtomicBool::new(false));
    let (address, written) = (primary.address(), Arc::clone(&writes));
    let fault = |_: &Story| {
        primary.cli(&["CONFIG", "SET", "rdb-key-save-delay", "100000"]);
        writes.store(true, Ordering::Relaxed);
        std::thread::spawn(move || {
            let mut wire = Wire::connect(&address, None).expect("a connection");
            let value = "x".repeat(50_000);
            while written.load(Ordering::Relaxed) && wire.ask(&["SET", "written", &value]).is_ok() {
                pause(Duration::from_millis(50));
            }
        });
        rebuild(&replica, &primary);
    };
    let faulty = story.fault(fault, &[("RedisFullSyncLoop", "critical")]);
    faulty.mend(|_| writes.store(false, Ordering::Relaxed), &[])
}

fn primary_without_its_replica() -> Told {
    let star = Star::start(Redis::start(&["--min-replicas-to-write", "1"]), 1, &[]);
    let faulty = star.begin().fault(|_| star.cut(0), &[("RedisNotEnoughReplicas", "critical")]);
    assert!(star.primary.cli(&["SET", "key", "x"]).contains("NOREPLICAS"));
    faulty.mend(|_| star.mend(0), &[])
}

/// Somebody promotes a replica and leaves the old master as it is. That it refuses writes is the fence at work: nobody is told of that, but
/// that there is one replica less.
fn old_master_that_is_fenced() -> Told {
    let old = Redis::start(&["--min-replicas-to-write", "1"]);
    let (new, other) = (old.replica(), old.replica());
    let story = Story::begin(&deployment("a", &[&old, &new, &other]));
    let promote = |_: &Story| {
        new.promote();
        other.follow(&new);
    };
    let faulty = story.fault(promote, &[("RedisReplicasMissing", "warning")]);
    assert!(old.cli(&["SET", "key", "x"]).contains("NOREPLICAS"), "the fence");
    let firing = faulty.story.pager.firing();
    assert!(
        !firing
            .iter()
            .any(|(alert, _)| alert == "RedisNotEnoughReplicas" || alert == "RedisWritesBlocked"),
        "{firing:?}"
    );
    faulty.mend(|_| old.follow(&new), &[])
}

fn one_of_two_links_cut() -> Told {
    let star = Star::start(Redis::start(&[]), 2, &[]);
    let faulty = star.begin().fault(|_| star.cut(1), &[("RedisReplicaLinkDown", "warning")]);
    faulty.mend(|_| star.mend(1), &[])
}

fn only_link_cut() -> Told {
    let star = Star::start(Redis::start(&[]), 1, &[]);
    let faulty = star.begin().fault(|_| star.cut(0), &[("RedisReplicaLinkDown", "critical")]);
    faulty.mend(|_| star.mend(0), &[])
}

/// A warning at first, as another replica is well; a page when ten minutes brought nothing.
fn link_cut_for_long() -> Told {
    let star = Star::start(Redis::start(&[]), 2, &[]);
    let told = [("RedisReplicaLinkDown", "critical"), ("RedisReplicaLinkDown", "warning")];
    let faulty = star.begin().fault(|_| star.cut(1), &told);
    faulty.mend(|_| star.mend(1), &[])
}

fn link_cut_again_and_again() -> Told {
    let star = Star::start(Redis::start(&[]), 2, &[]);
    let node = star.replicas[1].address();
    let flap = |story: &Story| {
        for _ in 0..3 {
            star.cut(1);
            story.daemon.until_link(SOON, &star.replicas[1], "lost");
            star.mend(1);
            story.daemon.until_link(SOON, &star.replicas[1], "up");
        }
        assert!(
            story.daemon.samples().get("redis_link_drops_total", &[("node", &node)]) >= Some(3.0)
        );
    };
    let faulty = star.begin().fault(flap, &[("RedisReplicaLinkFlapping", "warning")]);
    // Nobody cuts it any more.
    faulty.mend(|_| {}, &[])
}

/// Nothing comes through, and nobody closes a connection. A master that is frozen as a whole is down for us too.
fn silent_network() -> Told {
    // Longer than the scenario lasts: after this time servers give up the link.
    let patience = ["--repl-timeout", "300"];
    let star = Star::start(Redis::start(&patience), 2, &patience);
    let faulty = star
        .begin()
        .fault(|_| star.proxies[1].hold(true), &[("RedisReplicaLinkStalled", "warning")]);
    faulty.mend(|_| star.proxies[1].hold(false), &[])
}

fn one_of_two_refuses_reads() -> Told {
    let star = Star::start(Redis::start(&[]), 2, &["--replica-serve-stale-data", "no"]);
    let faulty = star.begin().fault(|_| star.cut(1), &[("RedisReplicaRejectsReads", "warning")]);
    assert!(star.replicas[1].cli(&["GET", "key"]).contains("MASTERDOWN"));
    faulty.mend(|_| star.mend(1), &[])
}

fn all_refuse_reads() -> Told {
    let star = Star::start(Redis::start(&[]), 2, &["--replica-serve-stale-data", "no"]);
    let cut = |_: &Story| (0..2).for_each(|replica| star.cut(replica));
    let faulty = star.begin().fault(cut, &[("RedisReplicaRejectsReads", "critical")]);
    faulty.mend(|_| (0..2).for_each(|replica| star.mend(replica)), &[])
}

fn wrong_masterauth() -> Told {
    let primary = Redis::start(&["--requirepass", "secret"]);
    let replica = primary.replica_with(&["--masterauth", "secret"]);
    replica.until_linked();
    let nodes = format!(
        "{{ url = 'redis://:secret@{}' }}, {{ url = '{}' }}",
        primary.address(),
        replica.url()
    );
    let story = Story::begin(&format!("[[deployment]]\nname = 'a'\nnodes = [{nodes}]\n"));
    let wrong = |_: &Story| {
        replica.cli(&["CONFIG", "SET", "masterauth", "outdated"]);
        // A password is only asked for at the next connection.
        primary.cli(&["-a", "secret", "CLIENT", "KILL", "TYPE", "replica"]);
    };
    let faulty = story.fault(wrong, &[("RedisReplicationAuthFailing", "critical")]);
    faulty.mend(|_| drop(replica.cli(&["CONFIG", "SET", "masterauth", "secret"])), &[])
}

fn small_backlog() -> Told {
    let star = Star::start(Redis::start(&["--repl-backlog-size", "16kb"]), 1, &[]);
    let outgrow = |story: &Story| {
        star.cut(0);
        story.daemon.until_link(SOON, &star.replicas[0], "lost");
        star.primary.cli(&["SET", "key", &"x".repeat(50_000)]);
        star.mend(0);
        star.replicas[0].until_linked();
    };
    let faulty = star.begin().fault(outgrow, &[("RedisBacklogTooSmall", "warning")]);
    faulty.mend(|_| drop(star.primary.cli(&["CONFIG", "SET", "repl-backlog-size", "64mb"])), &[])
}

/// What is watched changes from one configuration to another and back.
fn reconfigured(before: &str, after: &str, told: (&str, &str)) -> Told {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rolecall.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    write(before);
    let story = Story::of(Daemon::serve(&["--config.file", &file.display().to_string()]));
    let reload = |story: &Story, text: &str| {
        write(text);
        story.daemon.signal(Signal::Hangup);
    };
    let faulty = story.fault(|story| reload(story, after), &[told]);
    faulty.mend(|story| reload(story, before), &[])
}

/// One more replica is declared than there is.
fn fewer_replicas_than_declared() -> Told {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let declared = |replicas: u8| {
        format!("{}expect = {{ replicas = {replicas} }}\n", deployment("a", &[&primary, &replica]))
    };
    reconfigured(&declared(1), &declared(2), ("RedisReplicasMissing", "warning"))
}

/// The one replica is no node of the deployment any more, which is still declared to have one.
fn no_replica_left() -> Told {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let declared =
        |servers: &[&Redis]| format!("{}expect = {{ replicas = 1 }}\n", deployment("a", servers));
    reconfigured(
        &declared(&[&primary, &replica]),
        &declared(&[&primary]),
        ("RedisReplicasMissing", "critical"),
    )
}

/// Nobody listens at the address that it follows now.
fn replica_pointed_at_nowhere() -> Told {
    let primary = Redis::start(&[]);
    let (well, astray) = (primary.replica(), primary.replica());
    let story = Story::begin(&deployment("a", &[&primary, &well, &astray]));
    let nowhere = CLOSED.to_string();
    let point = |_: &Story| drop(astray.cli(&["REPLICAOF", "127.0.0.1", &nowhere]));
    let faulty = story.fault(point, &[("RedisReplicaOrphaned", "warning")]);
    faulty.mend(|_| astray.follow(&primary), &[])
}

/// Its link stands, and its data is that of another deployment.
fn replica_of_a_foreign_master() -> Told {
    let (primary, foreign) = (Redis::start(&[]), Redis::start(&[]));
    let replica = primary.replica();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let faulty = story.fault(|_| replica.follow(&foreign), &[("RedisReplicaOrphaned", "warning")]);
    faulty.mend(|_| replica.follow(&primary), &[])
}

/// It was writable for a moment only, and that left a key.
fn stray_key_on_a_replica() -> Told {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let story = Story::begin(&deployment("a", &[&primary, &replica]));
    let stray = |_: &Story| {
        for command in
            [["CONFIG", "SET", "replica-read-only", "no"].as_slice(), &["SET", "stray", "x"]]
        {
            assert_eq!(replica.cli(command).trim(), "OK");
        }
        replica.cli(&["CONFIG", "SET", "replica-read-only", "yes"]);
    };
    let faulty = story.fault(stray, &[("RedisReplicaDiverged", "warning")]);
    faulty.mend(|_| rebuild(&replica, &primary), &[])
}
