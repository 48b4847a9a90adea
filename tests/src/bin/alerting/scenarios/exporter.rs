//! Faults of the exporter itself and of its configuration.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use tests::{
    Daemon, Host, Proxy, Redis, Server, Side, Signal, SplitNetwork, StubServer, deployment,
    eventually,
};

use crate::harness::{SERVER_TIMEOUT, Scenario, ScenarioResult, ScenarioRun};

pub(crate) const ALL: &[Scenario] = &[
    Scenario { row: 37, name: "exporter_killed", quick: true, run: killed },
    Scenario { row: 37, name: "exporter_frozen", quick: false, run: frozen },
    Scenario { row: 37, name: "exporter_behind_a_caching_proxy", quick: false, run: stale },
    Scenario { row: 37, name: "invalid_configuration_on_reload", quick: false, run: reload_failed },
    Scenario { row: 56, name: "exporter_cut_off_from_all_nodes", quick: false, run: blind },
    Scenario { row: 56, name: "all_servers_on_two_hosts_frozen", quick: false, run: all_frozen },
    Scenario {
        row: 17,
        name: "servers_without_the_config_command",
        quick: false,
        run: without_config,
    },
    Scenario {
        row: 45,
        name: "unrelated_server_among_the_configured_nodes",
        quick: false,
        run: unrelated_masters,
    },
];

fn killed() -> ScenarioResult {
    let server = Redis::start(&[]);
    let text = deployment("orders", &[&server]);
    let mut daemon = Daemon::configured(&text);
    // Prometheus scrapes a proxy, so that a second daemon can take over the address.
    let address = Proxy::start(daemon.port);
    daemon.port = address.peer.port;
    let scenario = ScenarioRun::with_daemon(daemon);
    let fault = scenario
        .inject(|scenario| scenario.daemon.signal(Signal::Kill), &[("RolecallDown", "critical")]);
    let mut replacement = None;
    let repair = |_: &ScenarioRun| {
        let daemon = replacement.insert(Daemon::configured(&text));
        address.redirect_to(daemon.port);
    };
    fault.repair(repair, &[])
}

fn frozen() -> ScenarioResult {
    let server = Redis::start(&[]);
    let scenario = ScenarioRun::start(&deployment("orders", &[&server]));
    let fault = scenario
        .inject(|scenario| scenario.daemon.signal(Signal::Stop), &[("RolecallDown", "critical")]);
    fault.repair(|scenario| scenario.daemon.signal(Signal::Cont), &[])
}

/// Puts a cache between Prometheus and the exporter that always returns the same exposition. To
/// Prometheus, this is an exporter that completes no rounds.
fn stale() -> ScenarioResult {
    let server = Redis::start(&[]);
    let mut daemon = Daemon::configured(&deployment("orders", &[&server]));
    let exporter = daemon.port;
    let address = Proxy::start(exporter);
    daemon.port = address.peer.port;
    let scenario = ScenarioRun::with_daemon(daemon);
    let mut cache = None;
    let insert_cache = |scenario: &ScenarioRun| {
        let page = scenario.daemon.get("/metrics", "text/plain").text;
        let cache = cache.insert(StubServer::start(move |stream| serve_same_page(stream, &page)));
        address.redirect_to(cache.port);
    };
    let fault = scenario.inject(insert_cache, &[("RolecallStale", "critical")]);
    fault.repair(|_| address.redirect_to(exporter), &[])
}

/// Replies to every HTTP request with this body.
fn serve_same_page(stream: TcpStream, page: &str) {
    let mut output = stream.try_clone().expect("cannot clone the stream");
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        // An empty line ends the request.
        if line.is_empty() {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\
                 Content-Length: {}\r\n\r\n",
                page.len()
            );
            if output.write_all((head + page).as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn reload_failed() -> ScenarioResult {
    let server = Redis::start(&[]);
    let text = deployment("orders", &[&server]);
    let scenario = ScenarioRun::start(&text);
    let fault = scenario.inject(
        |scenario| scenario.daemon.reload("[[deployment]]\nnom = 'orders'\n"),
        &[("RolecallReloadFailed", "warning")],
    );
    fault.repair(|scenario| scenario.daemon.reload(&text), &[])
}

/// Cuts off four deployments of three nodes at once. Rolecall must conclude that it is cut off
/// itself, and not that twelve servers are down.
fn blind() -> ScenarioResult {
    let mut sides = SplitNetwork::new();
    // The loss of a single host would not be blindness.
    let remote = [(); 2].map(|()| sides.add_host(Side::Right));
    let servers: Vec<_> = remote
        .iter()
        .cycle()
        .take(12)
        .map(|host| Server::start("redis-7.0.15", false, host, "", None))
        .collect();
    let configuration =
        servers.chunks(3).zip(["orders", "sessions", "carts", "scratch"]).map(|(servers, name)| {
            let nodes: Vec<_> =
                servers.iter().map(|server| format!("{{ url = '{}' }}", server.url())).collect();
            format!(
                "[[deployment]]\nname = '{name}'\nnodes = [{}]\nexpect = {{ masters = 3 }}\n",
                nodes.join(", ")
            )
        });
    let scenario = ScenarioRun::start(&configuration.collect::<String>());
    let fault = scenario.inject(
        |_| remote.iter().for_each(|host| sides.disconnect(host)),
        &[("RolecallBlind", "critical")],
    );
    fault.repair(|_| remote.iter().for_each(|host| sides.reconnect(host)), &[])
}

/// Freezes all servers of the only deployment. On two hosts this looks like an exporter that is cut
/// off.
fn all_frozen() -> ScenarioResult {
    let hosts = [Host::loopback(), Host::second_loopback()];
    // After the freeze, the next ping shows the replica that its link is well.
    let start = |host: &Host, options: String| {
        let options = format!("repl-ping-replica-period 1\n{options}");
        Server::start("redis-7.0.15", false, host, &options, None)
    };
    let primary = start(&hosts[0], String::new());
    let replica = start(&hosts[1], format!("replicaof {} {}\n", primary.host, primary.port));
    let servers = [replica, primary];
    servers[0].until_synchronised();
    let scenario = ScenarioRun::start(&format!(
        "[[deployment]]\nname = 'orders'\nnodes = [{{ url = '{}' }}, {{ url = '{}' }}]\n",
        servers[0].url(),
        servers[1].url()
    ));
    let signal = |signal: Signal| servers.iter().for_each(|server| server.signal(signal));
    let fault = scenario.inject(|_| signal(Signal::Stop), &[("RolecallBlind", "critical")]);
    fault.repair(|_| signal(Signal::Cont), &[])
}

/// Removes the CONFIG command, as managed services do.
fn without_config() -> ScenarioResult {
    let options = ["--rename-command", "CONFIG", "", "--appendonly", "yes"];
    let primary = Redis::start(&options);
    let replica = primary.replica_with(&options);
    let scenario = ScenarioRun::start(&deployment("orders", &[&primary, &replica]));
    let operations = |scenario: &ScenarioRun| {
        assert_eq!(
            scenario.daemon.samples().count("redis_config_maxmemory_policy", &[]),
            0,
            "the configuration of the servers is unknown"
        );
        primary.cli(&["BGREWRITEAOF"]);
        replica.cli(&["BGSAVE"]);
    };
    scenario.expect_no_alert(operations, Duration::from_secs(30))
}

fn unrelated_masters() -> ScenarioResult {
    let (a, unrelated) = (Redis::start(&[]), Redis::start(&[]));
    let b = a.replica();
    a.fill(&b);
    unrelated.cli(&["SET", "key", "1"]);
    let text = deployment("orders", &[&a, &b]);
    let scenario = ScenarioRun::start(&text);
    let add_unrelated = |scenario: &ScenarioRun| {
        scenario.daemon.reload(&deployment("orders", &[&a, &b, &unrelated]));
        eventually(SERVER_TIMEOUT, "the third node is polled", || {
            (scenario.daemon.samples().count("redis_up", &[]) == 3).then_some(())
        });
    };
    let fault = scenario.inject(add_unrelated, &[("RolecallUnrelatedMasters", "warning")]);
    fault.repair(|scenario| scenario.daemon.reload(&text), &[])
}
