//! Who is primary, and where clients are led.

use tests::{Proxy, Redis, SECOND, deployment, eventually, pause};

use crate::story::{SOON, Scenario, Story, Told};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 1,
        name: "a_declared_master_demoted_by_hand",
        quick: true,
        run: unexpected_role,
    },
    Scenario {
        row: 2,
        name: "a_replica_promoted_beside_its_master",
        quick: true,
        run: split_brain,
    },
    Scenario {
        row: 4,
        name: "a_primary_killed_without_sentinel",
        quick: true,
        run: primary_killed,
    },
    Scenario {
        row: 4,
        name: "a_primary_told_to_follow_nobody_who_answers",
        quick: true,
        run: no_primary,
    },
    Scenario {
        row: 4,
        name: "a_primary_told_to_follow_its_own_replica",
        quick: true,
        run: replication_loop,
    },
    Scenario { row: 5, name: "a_failover_command_on_a_pair", quick: false, run: primary_changed },
    Scenario { row: 5, name: "three_failovers_in_a_row", quick: false, run: role_flapping },
    Scenario {
        row: 38,
        name: "a_write_endpoint_left_on_the_old_primary",
        quick: false,
        run: primary_endpoint_wrong,
    },
    Scenario {
        row: 38,
        name: "a_read_endpoint_on_another_server",
        quick: false,
        run: reader_endpoint_wrong,
    },
    Scenario {
        row: 41,
        name: "a_primary_restarted_without_its_data",
        quick: false,
        run: primary_restarted_empty,
    },
];

/// A primary and two replicas.
fn trio(options: &[&str]) -> (Redis, Redis, Redis) {
    let primary = Redis::start(options);
    let (first, second) = (primary.replica(), primary.replica());
    (primary, first, second)
}

/// Makes it primary again, and waits until the others have their links to it.
fn take_back(primary: &Redis, replicas: [&Redis; 2]) {
    primary.promote();
    for replica in replicas {
        replica.until_linked();
    }
}

// === Who is primary ===

fn unexpected_role() -> Told {
    let a = Redis::start(&[]);
    let b = a.replica();
    let nodes = format!("{{ url = '{}', role = 'master' }}, {{ url = '{}' }}", a.url(), b.url());
    let story = Story::begin(&format!("[[deployment]]\nname = 'orders'\nnodes = [{nodes}]\n"));
    let change_places = |from: &Redis, to: &Redis| {
        to.promote();
        from.follow(to);
        from.until_linked();
    };
    let faulty = story.fault(|_| change_places(&a, &b), &[("RedisUnexpectedRole", "critical")]);
    faulty.mend(|_| change_places(&b, &a), &[])
}

fn split_brain() -> Told {
    let (a, b, c) = trio(&[]);
    let story = Story::begin(&deployment("orders", &[&a, &b, &c]));
    let faulty = story.fault(|_| b.promote(), &[("RedisSplitBrain", "critical")]);
    let mend = |_: &Story| {
        for replica in [&a, &c] {
            replica.follow(&b);
            replica.until_linked();
        }
    };
    faulty.mend(mend, &[])
}

fn primary_killed() -> Told {
    let (mut a, b, c) = trio(&["--appendonly", "yes"]);
    let story = Story::begin(&deployment("orders", &[&a, &b, &c]));
    let faulty = story.fault(|_| a.kill(), &[("RedisDown", "critical")]);
    faulty.story.until_hidden(&["RedisNoPrimary", "RedisReplicaLinkDown"]);
    let mend = |_: &Story| {
        a.restart();
        b.until_linked();
        c.until_linked();
    };
    faulty.mend(mend, &[])
}

fn no_primary() -> Told {
    let (a, b, c) = trio(&[]);
    let nobody = tests::free_port().to_string();
    let story = Story::begin(&deployment("orders", &[&a, &b, &c]));
    let demote = |_: &Story| assert_eq!(a.cli(&["REPLICAOF", "127.0.0.1", &nobody]).trim(), "OK");
    let faulty = story.fault(demote, &[("RedisNoPrimary", "critical")]);
    faulty.mend(|_| take_back(&a, [&b, &c]), &[])
}

fn replication_loop() -> Told {
    let (a, b, c) = trio(&[]);
    let story = Story::begin(&deployment("orders", &[&a, &b, &c]));
    let faulty = story.fault(|_| a.follow(&b), &[("RedisReplicationLoop", "critical")]);
    faulty.story.until_hidden(&["RedisNoPrimary"]);
    faulty.mend(|_| take_back(&a, [&b, &c]), &[])
}

fn primary_changed() -> Told {
    let a = Redis::start(&[]);
    let b = a.replica();
    let story = Story::begin(&deployment("orders", &[&a, &b]));
    let change = |_: &Story| {
        assert_eq!(a.cli(&["FAILOVER"]).trim(), "OK");
        a.until_linked();
    };
    story.note(change, "RedisPrimaryChanged")
}

fn role_flapping() -> Told {
    let a = Redis::start(&[]);
    let b = a.replica();
    let story = Story::begin(&deployment("orders", &[&a, &b]));
    let change = |_: &Story| {
        for (from, to) in [(&a, &b), (&b, &a), (&a, &b)] {
            assert_eq!(from.cli(&["FAILOVER"]).trim(), "OK");
            from.until_linked();
            assert_eq!(to.info("role").as_deref(), Some("master"));
            // Each is seen.
            pause(SECOND * 3);
        }
    };
    let faulty = story.fault(change, &[("RedisRoleFlapping", "warning")]);
    // It is over when the hour is.
    faulty.mend(|_| (), &[])
}

// === Endpoints ===

/// A deployment of these servers with these endpoints.
fn with_endpoints(servers: &[&Redis], writer: &Proxy, reader: &Proxy) -> String {
    let (writer, reader) = (writer.peer.url(), reader.peer.url());
    format!(
        "{}endpoints = {{ primary = '{writer}', reader = '{reader}' }}\n",
        deployment("orders", servers)
    )
}

fn primary_endpoint_wrong() -> Told {
    let a = Redis::start(&[]);
    let b = a.replica();
    let (writer, reader) = (Proxy::start(a.port), Proxy::start(b.port));
    let story = Story::begin(&with_endpoints(&[&a, &b], &writer, &reader));
    let fail_over = |_: &Story| {
        b.promote();
        a.follow(&b);
        reader.lead_to(a.port);
    };
    let faulty = story.fault(fail_over, &[("RedisPrimaryEndpointWrong", "critical")]);
    faulty.mend(|_| writer.lead_to(b.port), &[])
}

fn reader_endpoint_wrong() -> Told {
    let (a, stranger) = (Redis::start(&[]), Redis::start(&[]));
    let b = a.replica();
    let (writer, reader) = (Proxy::start(a.port), Proxy::start(b.port));
    let story = Story::begin(&with_endpoints(&[&a, &b], &writer, &reader));
    let faulty =
        story.fault(|_| reader.lead_to(stranger.port), &[("RedisPrimaryEndpointWrong", "warning")]);
    faulty.mend(|_| reader.lead_to(b.port), &[])
}

// === Data ===

fn primary_restarted_empty() -> Told {
    let mut a = Redis::start(&[]);
    let b = a.replica();
    a.fill(&b);
    let story = Story::begin(&deployment("orders", &[&a, &b]));
    let restart = |_: &Story| {
        a.kill();
        a.restart();
        eventually(SOON, "the replica is empty too", || {
            (b.cli(&["DBSIZE"]).trim() == "0").then_some(())
        });
    };
    let faulty = story.fault(restart, &[("RedisPrimaryRestartedEmpty", "critical")]);
    faulty.mend(|_| a.fill(&b), &[])
}
