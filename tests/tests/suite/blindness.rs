//! An exporter that is cut off, and outages that look similar: killed deployments, a frozen host
//! and a lost rack.

use std::time::Duration;

use tests::{
    Daemon, FaultyPath, Host, PathFault, Redis, SECOND, Server, Side, Signal, SplitNetwork,
    deployment, eventually, pause,
};

/// Time within which an outage must be reported.
const SOON: Duration = Duration::from_secs(6);

/// Options with which a replica notices within a few seconds that its master is gone.
const IMPATIENT: &str = "repl-timeout 3\nrepl-ping-replica-period 1\n";

/// Starts a primary and this many replicas.
fn primary_with_replicas(replicas: usize) -> Vec<Redis> {
    let mut servers = vec![Redis::start(&[])];
    for _ in 0..replicas {
        let replica = servers[0].replica();
        servers.push(replica);
    }
    servers
}

/// Returns a `[[deployment]]` section with these servers.
fn deployment_of(name: &str, servers: &[Server]) -> String {
    let nodes: Vec<_> =
        servers.iter().map(|server| format!("{{ url = '{}' }}", server.url())).collect();
    format!("[[deployment]]\nname = '{name}'\nnodes = [{}]\n", nodes.join(", "))
}

/// Starts a primary on the first host, and a replica on each of the others.
fn servers_on(hosts: &[Host]) -> Vec<Server> {
    let start = |host: &Host, options: &str| {
        Server::start("redis-7.0.15", false, host, &format!("{IMPATIENT}{options}"), None)
    };
    let mut servers = vec![start(&hosts[0], "")];
    for host in &hosts[1..] {
        let master = format!("replicaof {} {}\n", servers[0].host, servers[0].port);
        servers.push(start(host, &master));
    }
    servers[1..].iter().for_each(Server::until_synchronised);
    servers
}

/// Waits until this number of nodes is up, and no other node is known.
#[track_caller]
fn until_up(daemon: &Daemon, nodes: u8) {
    eventually(SECOND * 12, "all nodes are up", || {
        let known = daemon.samples().count("redis_up", &[]);
        (known == usize::from(nodes) && is_up(daemon, nodes)).then_some(())
    });
}

/// Returns true if exactly this number of nodes is up.
fn is_up(daemon: &Daemon, nodes: u8) -> bool {
    (daemon.samples().sum("redis_up", &[]) - f64::from(nodes)).abs() < 0.5
}

/// Returns true if the status page is green.
fn is_green(daemon: &Daemon) -> bool {
    daemon.get("/", "").text.contains("verdict good")
}

/// Checks that the outage of killed servers is reported soon.
#[track_caller]
fn assert_down(daemon: &Daemon, killed: &[&Redis]) {
    for server in killed {
        daemon.until(SOON, "redis_up", &[("node", &server.address())], 0.0);
        daemon.until_found_on(SOON, "RedisDown", server);
    }
    daemon.until_found(SOON, "RedisNoPrimary");
    assert!(!is_green(daemon));
    // It stays this way.
    for _ in 0..5 {
        pause(SECOND);
        assert_eq!(daemon.value("rolecall_blind"), Some(0.0));
        for server in killed {
            assert!(daemon.has_finding_on("RedisDown", server));
        }
    }
}

#[test]
fn killed_largest_deployment_is_down() {
    let mut large = primary_with_replicas(5);
    let small = [primary_with_replicas(1), primary_with_replicas(1)];
    let daemon = Daemon::configured(
        &[("large", &large), ("b", &small[0]), ("c", &small[1])]
            .map(|(name, servers)| deployment(name, &servers.iter().collect::<Vec<_>>()))
            .concat(),
    );
    until_up(&daemon, 10);
    pause(SECOND * 2);
    large.iter_mut().for_each(Redis::kill);
    assert_down(&daemon, &large.iter().collect::<Vec<_>>());
    assert!(is_up(&daemon, 4));
    assert_eq!(daemon.samples().count("redis_deployment_writable", &[("deployment", "large")]), 0);
}

#[test]
fn killed_deployments_are_down() {
    let mut servers = [(); 4].map(|()| primary_with_replicas(1));
    let daemon = Daemon::configured(
        &servers
            .iter()
            .zip(["a", "b", "c", "d"])
            .map(|(servers, name)| deployment(name, &servers.iter().collect::<Vec<_>>()))
            .collect::<String>(),
    );
    until_up(&daemon, 8);
    pause(SECOND * 2);
    servers.iter_mut().flatten().for_each(Redis::kill);
    assert_down(&daemon, &servers.iter().flatten().collect::<Vec<_>>());
    let samples = daemon.samples();
    for name in ["a", "b", "c", "d"] {
        let labels = [("deployment", name)];
        assert_eq!(samples.get("redis_deployment_no_primary", &labels), Some(1.0));
        assert_eq!(samples.count("redis_deployment_writable", &labels), 0);
    }
}

/// All nodes on two hosts fall silent, as when the exporter is cut off.
#[test]
fn exporter_is_blind_when_all_nodes_on_two_hosts_fall_silent() {
    let hosts = [Host::loopback(), Host::second_loopback()];
    let servers = [(); 3].map(|()| servers_on(&hosts));
    let daemon = Daemon::configured(
        &servers
            .iter()
            .zip(["a", "b", "c"])
            .map(|(servers, name)| deployment_of(name, servers))
            .collect::<String>(),
    );
    until_up(&daemon, 6);
    pause(SECOND * 2);
    assert_eq!(daemon.value("rolecall_blind"), Some(0.0));
    assert!(is_green(&daemon));
    let signal = |signal: Signal| {
        servers.iter().flatten().for_each(|server| server.signal(signal));
    };

    signal(Signal::Stop);
    daemon.until(SOON, "rolecall_blind", &[], 1.0);
    eventually(SOON, "Rolecall can read no node", || is_up(&daemon, 0).then_some(()));
    // The last known state is kept for a minute.
    for _ in 0..20 {
        let samples = daemon.samples();
        assert_eq!(samples.get("rolecall_blind", &[]), Some(1.0));
        assert_eq!(samples.count("redis_down_reason", &[]), 0);
        for name in ["a", "b", "c"] {
            let labels = [("deployment", name)];
            assert_eq!(samples.get("redis_deployment_writable", &labels), Some(1.0));
            assert_eq!(samples.get("redis_deployment_no_primary", &labels), Some(0.0));
        }
        assert_eq!(daemon.findings(), []);
        pause(SECOND);
    }
    let page = daemon.get("/", "").text;
    assert!(page.contains("verdict idle") && page.contains("State unknown"), "{page}");
    assert!(page.contains("state unknown: Rolecall is cut off from nodes"), "{page}");
    let page = daemon.get("/deployment/a", "").text;
    assert!(page.contains("last seen") && page.contains("unknown (Rolecall is cut off)"), "{page}");

    // Then the derived series disappear.
    eventually(SECOND * 50, "the derived series disappear", || {
        let samples = daemon.samples();
        let derived = ["redis_deployment_writable", "redis_deployment_no_primary", "redis_role"];
        derived.iter().all(|name| samples.count(name, &[]) == 0).then_some(())
    });
    let samples = daemon.samples();
    assert_eq!(samples.get("rolecall_blind", &[]), Some(1.0));
    assert_eq!(samples.count("redis_up", &[]), 6);
    assert!(is_up(&daemon, 0));
    assert_eq!(daemon.findings(), []);
    assert!(!is_green(&daemon));

    signal(Signal::Cont);
    daemon.until(SECOND * 15, "rolecall_blind", &[], 0.0);
    until_up(&daemon, 6);
    for name in ["a", "b", "c"] {
        let labels = [("deployment", name)];
        daemon.until(SECOND * 3, "redis_deployment_writable", &labels, 1.0);
    }
    let unreachable = daemon.logged_events("node_unreachable");
    assert_eq!(unreachable, Vec::<String>::new(), "no node was down");
}

/// The smallest case: one deployment on two hosts, and one on a single host.
#[test]
fn frozen_host_is_not_blindness() {
    for (hosts, blind) in [
        ([Host::loopback(), Host::second_loopback()], true),
        ([Host::second_loopback(), Host::second_loopback()], false),
    ] {
        let servers = servers_on(&hosts);
        let daemon = Daemon::configured(&deployment_of("a", &servers));
        until_up(&daemon, 2);
        pause(SECOND * 2);
        for server in &servers {
            server.signal(Signal::Stop);
        }
        eventually(SOON * 2, "Rolecall can read no node", || is_up(&daemon, 0).then_some(()));
        let expected = if blind { (Some(1.0), 0) } else { (Some(0.0), 2) };
        let samples = daemon.samples();
        let actual = (samples.get("rolecall_blind", &[]), samples.count("redis_down_reason", &[]));
        assert_eq!(actual, expected);
        assert!(!is_green(&daemon));
        let is_found = daemon.findings().iter().any(|(kind, _)| kind == "RedisDown");
        assert_eq!(is_found, !blind);
        for server in &servers {
            server.signal(Signal::Cont);
        }
    }
}

/// Most nodes of most deployments are gone, and the remaining replicas have lost their primary.
#[test]
fn lost_rack_is_not_blindness() {
    let (rack, other) = (Host::second_loopback(), Host::loopback());
    let hosts = [rack.clone(), Host { host: "127.0.0.3".to_owned(), ..rack }, other];
    let servers = [(); 3].map(|()| servers_on(&hosts));
    let daemon = Daemon::configured(
        &servers
            .iter()
            .zip(["a", "b", "c"])
            .map(|(servers, name)| deployment_of(name, servers))
            .collect::<String>(),
    );
    until_up(&daemon, 9);
    pause(SECOND * 2);
    let lost = || servers.iter().flat_map(|servers| &servers[..2]);
    lost().for_each(|server| server.signal(Signal::Stop));
    // The remaining replicas report the loss of their primaries after `repl-timeout`.
    eventually(SECOND * 15, "all lost nodes are down", || {
        let found = daemon.findings();
        lost()
            .all(|server| found.contains(&("RedisDown".to_owned(), Some(server.address()))))
            .then_some(())
    });
    assert_eq!(daemon.value("rolecall_blind"), Some(0.0));
    assert!(is_up(&daemon, 3));
    assert!(daemon.findings().iter().any(|(kind, _)| kind == "RedisNoPrimary"));
    assert!(!is_green(&daemon));
    lost().for_each(|server| server.signal(Signal::Cont));
    until_up(&daemon, 9);
}

/// The servers run and replicate, but the exporter has lost the way to all of them.
#[test]
fn cut_off_exporter_reports_no_node_as_down() {
    let mut network = SplitNetwork::new();
    let [exporter, one, other] = [(); 3].map(|()| network.add_host(Side::Left));
    let hosts = [one, other];
    let servers = [servers_on(&hosts), servers_on(&hosts)];
    let both = deployment_of("a", &servers[0]) + &deployment_of("b", &servers[1]);
    for (configuration, nodes, fault) in
        [(deployment_of("a", &servers[0]), 2, PathFault::Loss), (both, 4, PathFault::NoRoute)]
    {
        let daemon = Daemon::on_host(&exporter, &configuration);
        until_up(&daemon, nodes);
        pause(SECOND * 3);
        let paths = hosts.each_ref().map(|host| FaultyPath::new(&exporter, host, fault));
        eventually(SOON, "Rolecall can read no node", || is_up(&daemon, 0).then_some(()));
        // The servers are well, so nothing must be found while the fault lasts.
        for _ in 0..15 {
            let samples = daemon.samples();
            assert_eq!(samples.get("rolecall_blind", &[]), Some(1.0), "{fault:?}");
            assert_eq!(samples.count("redis_down_reason", &[]), 0, "{fault:?}");
            assert_eq!(daemon.findings(), [], "{fault:?}");
            assert!(!is_green(&daemon));
            pause(SECOND);
        }
        drop(paths);
        daemon.until(SECOND * 15, "rolecall_blind", &[], 0.0);
        until_up(&daemon, nodes);
        assert_eq!(daemon.logged_events("node_unreachable"), Vec::<String>::new());
    }
}
