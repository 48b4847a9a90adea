//! Static deployments: the replicas of the primary and the primary of a replica are witnesses.

use tests::{Daemon, Host, PathFault, Server, Side, Signal, SplitNetwork};

use super::{Cut, LIMIT, SECOND, deployment_of, start, until_calm, until_state};

/// Starts a primary with this number of replicas, each on its own host.
fn primary_with_replicas(network: &mut SplitNetwork, replicas: usize) -> Vec<Server> {
    let mut servers = vec![start(&network.add_host(Side::Left), "")];
    for _ in 0..replicas {
        let master = format!("replicaof {} {}\n", servers[0].host, servers[0].port);
        servers.push(start(&network.add_host(Side::Left), &master));
    }
    servers[1..].iter().for_each(Server::until_synchronised);
    servers
}

/// Servers on hosts of their own, and a daemon on another host that polls them.
struct Testbed {
    /// Removed at the end of the test.
    _network: SplitNetwork,
    exporter: Host,
    /// The primary first.
    servers: Vec<Server>,
    daemon: Daemon,
}

impl Testbed {
    fn start(replicas: usize) -> Self {
        let mut network = SplitNetwork::new();
        let exporter = network.add_host(Side::Left);
        let servers = primary_with_replicas(&mut network, replicas);
        let all = servers.iter().collect::<Vec<_>>();
        let daemon = Daemon::on_host(&exporter, &deployment_of(&all));
        until_calm(&daemon, all.len());
        Testbed { _network: network, exporter, servers, daemon }
    }
}

#[test]
fn unreachable_primary_is_alive_until_it_is_killed() {
    let Testbed { _network, exporter, mut servers, daemon } = Testbed::start(2);

    let cut = Cut {
        daemon: &daemon,
        exporter: &exporter,
        node: &servers[0],
        fault: PathFault::Loss,
        primary: &servers[0],
        keys: Some("kept"),
        witnesses: vec![servers[1].address(), servers[2].address()],
        known: &[],
    };
    let path = cut.begin();
    let after = cut.dies(|| servers[0].signal(Signal::Kill));
    assert!(after < SECOND * 5, "down after {after:?}");
    daemon.until_found(SECOND * 10, "RedisNoPrimary");
    drop(path);
    servers[0].kill();
    servers[0].restart();
    until_calm(&daemon, 3);
}

#[test]
fn unreachable_primary_is_alive_until_it_freezes() {
    let Testbed { _network, exporter, servers, daemon } = Testbed::start(2);

    let cut = Cut {
        daemon: &daemon,
        exporter: &exporter,
        node: &servers[0],
        fault: PathFault::NoRoute,
        primary: &servers[0],
        keys: None,
        witnesses: vec![servers[1].address(), servers[2].address()],
        known: &[],
    };
    let path = cut.begin();
    // The links stay up. What their last data proves is outdated after `repl-ping-replica-period`.
    let after = cut.dies(|| servers[0].signal(Signal::Stop));
    assert!(after < SECOND * 20, "down after {after:?}");
    servers[0].signal(Signal::Cont);
    until_state(&daemon, LIMIT, &servers[0].address(), "unreachable");
    drop(path);
    until_calm(&daemon, 3);
}

#[test]
fn unreachable_only_replica_is_alive_until_it_is_killed() {
    let Testbed { _network, exporter, mut servers, daemon } = Testbed::start(1);

    let cut = Cut {
        daemon: &daemon,
        exporter: &exporter,
        node: &servers[1],
        fault: PathFault::Refusal,
        primary: &servers[0],
        keys: Some("kept"),
        witnesses: vec![servers[0].address()],
        known: &[],
    };
    let path = cut.begin();
    let after = cut.dies(|| servers[1].signal(Signal::Kill));
    assert!(after < SECOND * 5, "down after {after:?}");
    daemon.until_found(SECOND * 10, "RedisReplicasMissing");
    drop(path);
    servers[1].kill();
    servers[1].restart();
    until_calm(&daemon, 2);
}
