//! Ten minutes of routine operations on a healthy fleet under load. No alert may fire. Durations
//! are not divided.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tests::{
    AlertPipeline, Cluster, ClusterPods, ClusterSetup, DnsPods, Host, NameServer, Operation,
    PodAddresses, SECOND, SentinelDeployment, SentinelPods, SentinelSetup, Server, Stopwatch,
    Writer, pause,
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

/// Deployments of pods, on which the operations of the test suite run.
struct Pods {
    by_address: SentinelPods,
    by_host_name: SentinelPods,
    cluster: ClusterPods,
    dns: DnsPods,
}

impl Pods {
    fn start(names: &Arc<NameServer>) -> Self {
        Pods {
            by_address: SentinelPods::start(names, "carts", PodAddresses::Ip, VERSION),
            by_host_name: SentinelPods::start(names, "users", PodAddresses::HostNames, VERSION),
            cluster: ClusterPods::start(names, "search", false),
            dns: DnsPods::start(names, "prices"),
        }
    }

    fn configuration(&self) -> String {
        [
            self.by_address.configuration(""),
            self.by_host_name.configuration(""),
            self.cluster.configuration_by_name(),
            self.dns.configuration("expect = { replicas = 2 }"),
        ]
        .concat()
    }

    /// Runs all operations and returns the running pods. The operations of one deployment run one
    /// after another.
    fn operate(mut self) -> Self {
        let Pods { by_address, by_host_name, cluster, dns } = &mut self;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                run(by_address, &SentinelPods::OPERATIONS);
                by_address.upgrade("redis-8.2.3");
            });
            scope.spawn(|| {
                run(by_host_name, &SentinelPods::OPERATIONS);
                by_host_name.upgrade("valkey-9.1.2");
            });
            scope.spawn(|| run(cluster, &ClusterPods::OPERATIONS));
            scope.spawn(|| run(dns, &DnsPods::OPERATIONS));
        });
        self
    }
}

fn run<D>(pods: &mut D, operations: &[Operation<D>]) {
    let begun = Stopwatch::start();
    for (name, operate) in operations {
        operate(pods);
        println!("{name} complete after {:.0?}", begun.elapsed());
    }
}

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
    let name_server = Arc::new(NameServer::start());
    let pods = Pods::start(&name_server);
    let configuration = [
        pods.configuration(),
        group.deployment("sessions", ""),
        cluster.deployment("cache", &[0, 1], ""),
        format!(
            "[[deployment]]\nname = 'orders'\n{nodes}expect = {{ replicas = 1, aof = 'all' }}\n"
        ),
        format!("[[deployment]]\nname = 'scratch'\nnodes = [{{ url = '{}' }}]\n", scratch.url()),
    ]
    .concat();
    // The packages enable the state file. It keeps the former addresses of pods over a restart.
    let state = tempfile::tempdir().expect("cannot create a directory");
    let second_configuration =
        format!("state_file = '{}'\n{configuration}", state.path().join("state.json").display());
    let (first_daemon, mut second_daemon) =
        (name_server.daemon(&configuration), Some(name_server.daemon(&second_configuration)));
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
    let operations = std::thread::spawn(|| pods.operate());
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
    let second_daemon = name_server.daemon_at(&second_configuration, port);

    at(DURATION.as_secs());
    // Wait for the notifications of alerts that started late.
    pause(Duration::from_secs(60));
    let _pods = operations.join().expect("the operations complete");
    let written: Vec<_> = load.iter_mut().map(Writer::stop).collect();
    assert!(written.iter().all(|count| *count > 1000), "too little load: {written:?}");
    let rule_errors = pipeline.rule_errors();
    assert_eq!(rule_errors, Vec::<String>::new());
    assert_eq!(
        pipeline.fired(),
        BTreeSet::new(),
        "no alert fires, not even an inhibited one: {}",
        pipeline.fired_series()
    );
    assert_eq!(
        pipeline.notified_since(Duration::ZERO),
        BTreeSet::new(),
        "findings: {:?} and {:?}",
        first_daemon.findings(),
        second_daemon.findings()
    );
    ScenarioResult::no_alert()
}
