//! Ten minutes of a loaded, healthy fleet, in which operators do what they do: nobody is told anything. With the durations that are shipped.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{
    Cluster, ClusterSetup, Daemon, Group, Pager, Place, SECOND, Server, Setup, Stopwatch, Writer,
    pause,
};

use crate::story::{Scenario, Told};

pub(crate) const ALL: &[Scenario] =
    &[Scenario { row: 0, name: "ten_quiet_minutes", quick: false, run: ten_quiet_minutes }];

const LASTS: Duration = Duration::from_secs(600);

/// Long enough for Sentinels to do their work.
const LIMIT: Duration = Duration::from_secs(90);

const VERSION: &str = "redis-7.0.15";

fn ten_quiet_minutes() -> Told {
    let place = Place::loopback();
    let mut group = Group::start(&Setup::default());
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let primary = Server::start(VERSION, false, &place, "appendonly yes\n", None);
    let follow = format!("appendonly yes\nreplicaof {} {}\n", primary.host, primary.port);
    let mut replica = Server::start(VERSION, false, &place, &follow, None);
    replica.until_linked();
    let scratch = Server::alone(VERSION);
    let pair = format!(
        "nodes = [{{ url = '{}', role = 'master' }}, {{ url = '{}' }}]\n",
        primary.url(),
        replica.url()
    );
    let configuration = [
        group.deployment("sessions", ""),
        cluster.deployment("cache", &[0, 1], ""),
        format!(
            "[[deployment]]\nname = 'orders'\n{pair}expect = {{ replicas = 1, aof = 'all' }}\n"
        ),
        format!("[[deployment]]\nname = 'scratch'\nnodes = [{{ url = '{}' }}]\n", scratch.url()),
    ]
    .concat();
    let (beside, mut daemon) =
        (Daemon::configured(&configuration), Some(Daemon::configured(&configuration)));
    let port = daemon.as_ref().expect("a daemon").port;
    let pager = Pager::start_scaled(&[beside.port, port], 1);
    let begun = Stopwatch::start();
    // Each step begins at its time, so that the load between them is what most of the ten minutes are.
    let at = |seconds: u64| pause(Duration::from_secs(seconds).saturating_sub(begun.elapsed()));

    let mut load = [
        Writer::start(&group.primary().address(), "sessions", 100),
        // Its slot is one of the last master.
        Writer::start(&cluster.nodes[2].address(), "{a}", 100),
        Writer::start(&primary.address(), "orders", 100),
        Writer::start(&scratch.address(), "scratch", 100),
    ];

    at(60);
    let old = group.primary().address();
    for node in group.nodes.iter_mut().filter(|node| node.address() != old) {
        node.bounce();
        pause(SECOND * 5);
    }
    replica.bounce();
    for node in 3..6 {
        cluster.nodes[node].bounce();
        pause(SECOND * 5);
    }

    at(130);
    primary.ask(&["DEBUG", "POPULATE", "300000"]);
    group.add_node(&place);

    at(190);
    for node in [&primary, &replica, &scratch] {
        node.ask(&["BGSAVE"]);
    }
    pause(SECOND * 10);
    for node in [&primary, &replica] {
        node.ask(&["BGREWRITEAOF"]);
    }

    at(240);
    let script = "local function now() local time = redis.call('TIME') return time[1] + time[2] / 1000000 end \
         local begun = now() repeat until now() - begun >= 1 return 1";
    for node in [&primary, &scratch, &cluster.nodes[2]] {
        node.ask(&["EVAL", script, "0"]);
        pause(SECOND * 5);
    }

    at(300);
    load[0].stop();
    let before = group.failover();
    group.until_failed_over(LIMIT, &before);
    group.until_following(LIMIT);
    load[0] = Writer::start(&group.primary().address(), "more", 100);

    at(390);
    daemon.take();
    let daemon = Daemon::configured_at(&configuration, port);

    at(LASTS.as_secs());
    // What began last has its time to be told.
    pause(Duration::from_secs(60));
    let written: Vec<_> = load.iter_mut().map(Writer::stop).collect();
    assert!(written.iter().all(|count| *count > 1000), "there was load: {written:?}");
    let problems = pager.rule_problems();
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(pager.fired(), BTreeSet::new(), "not even what another alert stands above");
    assert_eq!(
        pager.paged(Duration::ZERO),
        BTreeSet::new(),
        "found: {:?} and {:?}",
        beside.findings(),
        daemon.findings()
    );
    Told::nothing()
}
