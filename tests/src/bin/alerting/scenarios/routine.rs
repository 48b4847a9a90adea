//! Ten minutes of routine operations on a healthy fleet under load. No alert may fire. Durations
//! are not divided.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{
    AlertPipeline, Cluster, ClusterSetup, Daemon, Host, SECOND, SentinelDeployment, SentinelSetup,
    Server, Stopwatch, Writer, pause,
};

use crate::harness::{Scenario, ScenarioResult};

pub(crate) const ALL: &[Scenario] = &[Scenario {
    row: 0,
    name: "ten_minutes_of_routine_operations",
    quick: false,
    run: routine_operations,
}];

const DURATION: Duration = Duration::from_secs(600);

/// Timeout for a failover by Sentinels.
const LIMIT: Duration = Duration::from_secs(90);

const VERSION: &str = "redis-7.0.15";

fn routine_operations() -> ScenarioResult {
    let place = Host::loopback();
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let primary = Server::start(VERSION, false, &place, "appendonly yes\n", None);
    let follow = format!("appendonly yes\nreplicaof {} {}\n", primary.host, primary.port);
    let mut replica = Server::start(VERSION, false, &place, &follow, None);
    replica.until_synchronised();
    let scratch = Server::standalone(VERSION);
    let nodes = format!(
        "nodes = [{{ url = '{}', role = 'master' }}, {{ url = '{}' }}]\n",
        primary.url(),
        replica.url()
    );
    let configuration = [
        group.deployment("sessions", ""),
        cluster.deployment("cache", &[0, 1], ""),
        format!(
            "[[deployment]]\nname = 'orders'\n{nodes}expect = {{ replicas = 1, aof = 'all' }}\n"
        ),
        format!("[[deployment]]\nname = 'scratch'\nnodes = [{{ url = '{}' }}]\n", scratch.url()),
    ]
    .concat();
    let (first_daemon, mut second_daemon) =
        (Daemon::configured(&configuration), Some(Daemon::configured(&configuration)));
    let port = second_daemon.as_ref().expect("the second daemon is not running").port;
    let pipeline = AlertPipeline::start_with_divisor(&[first_daemon.port, port], 1);
    let begun = Stopwatch::start();
    // Each step starts at a fixed time. Most of the ten minutes are load without operations.
    let at = |seconds: u64| pause(Duration::from_secs(seconds).saturating_sub(begun.elapsed()));

    let mut load = [
        Writer::start(&group.primary().address(), "sessions", 100),
        // The hash tag selects a slot of the last master.
        Writer::start(&cluster.nodes[2].address(), "{a}", 100),
        Writer::start(&primary.address(), "orders", 100),
        Writer::start(&scratch.address(), "scratch", 100),
    ];

    at(60);
    let old = group.primary().address();
    for node in group.nodes.iter_mut().filter(|node| node.address() != old) {
        node.restart_gracefully();
        pause(SECOND * 5);
    }
    replica.restart_gracefully();
    for node in 3..6 {
        cluster.nodes[node].restart_gracefully();
        pause(SECOND * 5);
    }

    at(130);
    primary.execute(&["DEBUG", "POPULATE", "300000"]);
    group.add_node(&place);

    at(190);
    for node in [&primary, &replica, &scratch] {
        node.execute(&["BGSAVE"]);
    }
    pause(SECOND * 10);
    for node in [&primary, &replica] {
        node.execute(&["BGREWRITEAOF"]);
    }

    at(240);
    let script = "local function now() local time = redis.call('TIME') \
         return time[1] + time[2] / 1000000 end \
         local begun = now() repeat until now() - begun >= 1 return 1";
    for node in [&primary, &scratch, &cluster.nodes[2]] {
        node.execute(&["EVAL", script, "0"]);
        pause(SECOND * 5);
    }

    at(300);
    load[0].stop();
    let before = group.failover();
    group.until_failed_over(LIMIT, &before);
    group.until_replicating(LIMIT);
    load[0] = Writer::start(&group.primary().address(), "more", 100);

    at(390);
    second_daemon.take();
    let second_daemon = Daemon::configured_at(&configuration, port);

    at(DURATION.as_secs());
    // Wait for the notifications of alerts that started late.
    pause(Duration::from_secs(60));
    let written: Vec<_> = load.iter_mut().map(Writer::stop).collect();
    assert!(written.iter().all(|count| *count > 1000), "too little load: {written:?}");
    let rule_errors = pipeline.rule_errors();
    assert_eq!(rule_errors, Vec::<String>::new());
    assert_eq!(pipeline.fired(), BTreeSet::new(), "no alert fires, not even an inhibited one");
    assert_eq!(
        pipeline.notified_since(Duration::ZERO),
        BTreeSet::new(),
        "findings: {:?} and {:?}",
        first_daemon.findings(),
        second_daemon.findings()
    );
    ScenarioResult::no_alert()
}
