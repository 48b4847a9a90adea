//! Nodes that only the exporter cannot reach, and nodes that never replied.

use std::fmt::Write;
use std::net::TcpListener;

use tests::{
    Cluster, ClusterSetup, Daemon, FaultyPath, Host, PathFault, Redis, Server, Side, SplitNetwork,
    deployment, eventually, free_port,
};

use crate::harness::{AGREEMENT_TIMEOUT, Scenario, ScenarioResult, ScenarioRun};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 46,
        name: "exporter_cut_off_from_a_primary",
        quick: true,
        run: cut_off_from_primary,
    },
    Scenario {
        row: 46,
        name: "exporter_cut_off_from_the_only_replica",
        quick: false,
        run: cut_off_from_replica,
    },
    Scenario {
        row: 46,
        name: "exporter_cut_off_from_a_cluster_master",
        quick: false,
        run: cut_off_from_cluster_master,
    },
    Scenario {
        row: 47,
        name: "thirty_deployments_on_a_silent_port",
        quick: false,
        run: silent_deployments,
    },
    Scenario {
        row: 47,
        name: "three_hundred_deployments_that_refuse",
        quick: false,
        run: refusing_deployments,
    },
];

fn cut_off_from_primary() -> ScenarioResult {
    cut_off(2, 0, PathFault::Loss)
}

fn cut_off_from_replica() -> ScenarioResult {
    cut_off(1, 1, PathFault::Refusal)
}

/// Starts a primary with this number of replicas on hosts of their own, and cuts the exporter off
/// from one of the nodes. Peers and clients still reach it.
fn cut_off(replicas: usize, node: usize, fault: PathFault) -> ScenarioResult {
    let mut network = SplitNetwork::new();
    let exporter = network.add_host(Side::Left);
    let start =
        |host: &Host, options: &str| Server::start("redis-7.0.15", false, host, options, None);
    let mut servers = vec![start(&network.add_host(Side::Left), "")];
    for _ in 0..replicas {
        let master = format!("replicaof {} {}\n", servers[0].host, servers[0].port);
        servers.push(start(&network.add_host(Side::Left), &master));
    }
    servers[1..].iter().for_each(Server::until_synchronised);
    let nodes: Vec<_> =
        servers.iter().map(|server| format!("{{ url = '{}' }}", server.url())).collect();
    let text = format!("[[deployment]]\nname = 'orders'\nnodes = [{}]\n", nodes.join(", "));
    check_cut(&exporter, Daemon::on_host(&exporter, &text), &servers[node], fault)
}

fn cut_off_from_cluster_master() -> ScenarioResult {
    let mut network = SplitNetwork::new();
    let hosts = [(); 6].map(|()| network.add_host(Side::Left));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &hosts);
    let exporter = network.add_host(Side::Left);
    let daemon = Daemon::on_host(&exporter, &cluster.deployment("orders", &[0, 1], ""));
    check_cut(&exporter, daemon, &cluster.nodes[2], PathFault::Loss)
}

fn check_cut(exporter: &Host, daemon: Daemon, node: &Server, fault: PathFault) -> ScenarioResult {
    daemon.until(AGREEMENT_TIMEOUT, "redis_up", &[("node", &node.address())], 1.0);
    daemon.until_no_findings(AGREEMENT_TIMEOUT);
    let scenario = ScenarioRun::with_daemon(daemon);
    let mut path = None;
    let cut = |_: &ScenarioRun| path = Some(FaultyPath::new(exporter, &node.place, fault));
    let active = scenario.inject(cut, &[("RedisUnreachable", "warning")]);
    active.repair(|_| drop(path.take()), &[])
}

fn silent_deployments() -> ScenarioResult {
    let silent = TcpListener::bind("0.0.0.0:0").expect("cannot listen");
    let port = silent.local_addr().expect("no local address").port();
    std::thread::spawn(move || {
        // The connections stay open, and nobody reads them.
        let _open: Vec<_> = silent.incoming().collect();
    });
    never_reached(30, port)
}

fn refusing_deployments() -> ScenarioResult {
    never_reached(300, free_port())
}

/// Adds deployments of two nodes each with a wrong port to the configuration.
fn never_reached(count: usize, port: u16) -> ScenarioResult {
    let server = Redis::start(&[]);
    let correct = deployment("orders", &[&server]);
    let mut text = correct.clone();
    for number in 0..count {
        let node = |node: usize| {
            let (high, low) = (1 + number / 200, number % 200);
            format!("{{ url = 'redis://127.{high}.{low}.{node}:{port}' }}")
        };
        let nodes = [node(1), node(2)].join(", ");
        writeln!(text, "[[deployment]]\nname = 'new-{number}'\nnodes = [{nodes}]")
            .expect("writing to a string cannot fail");
    }
    let scenario = ScenarioRun::start(&correct);
    let reload = |scenario: &ScenarioRun| {
        scenario.daemon.reload(&text);
        eventually(AGREEMENT_TIMEOUT, "all new nodes were tried", || {
            let unreached = scenario.daemon.samples().sum("rolecall_never_reached_nodes", &[]);
            (unreached > 1.99 * count as f64).then_some(())
        });
    };
    let fault = scenario.inject(reload, &[("RolecallNeverReached", "warning")]);
    fault.repair(|scenario| scenario.daemon.reload(&correct), &[])
}
