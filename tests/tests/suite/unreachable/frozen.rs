//! Frozen primaries: their witnesses fall silent or report them down, so they are down, never
//! unreachable.

use std::time::Duration;

use tests::{
    Cluster, ClusterSetup, Daemon, Host, NameServer, SECOND, SentinelDeployment, SentinelSetup,
    Server, Signal, Stopwatch, free_port, pause,
};

use super::{LIMIT, SOON, deployment_of, finding, start, state, until_calm};

/// Freezes a server, and checks that it is down within `limit` and at no time unreachable.
fn check_frozen(daemon: &Daemon, server: &Server, limit: Duration) {
    let address = server.address();
    server.signal(Signal::Stop);
    let clock = Stopwatch::start();
    let mut down_after = None;
    while clock.elapsed() < limit.max(SECOND * 20) {
        match state(daemon, &address) {
            "down" => _ = down_after.get_or_insert_with(|| clock.elapsed()),
            "unreachable" => panic!("unreachable after {:?}", clock.elapsed()),
            now => assert_eq!(down_after, None, "{now} after {:?}", clock.elapsed()),
        }
        pause(SECOND / 5);
    }
    println!("{address}: down after {down_after:?}");
    assert!(down_after.is_some_and(|after| after <= limit), "{down_after:?}, limit {limit:?}");
    assert!(finding(daemon, "RedisDown", &address).is_some());
    server.signal(Signal::Cont);
}

/// Starts a primary, its replica, and a daemon that polls both.
fn primary_with_replica() -> (Server, Server, Daemon) {
    let primary = start(&Host::loopback(), "");
    let master = format!("replicaof {} {}\n", primary.host, primary.port);
    let replica = start(&Host::loopback(), &master);
    replica.until_synchronised();
    let daemon = Daemon::configured(&deployment_of(&[&primary, &replica]));
    until_calm(&daemon, 2);
    (primary, replica, daemon)
}

/// Nobody observes a lone primary, so `down_after` counts alone.
#[test]
fn frozen_lone_primary_is_down_after_down_after() {
    let server = start(&Host::loopback(), "");
    let daemon = Daemon::configured(&deployment_of(&[&server]));
    until_calm(&daemon, 1);
    check_frozen(&daemon, &server, SECOND * 6);
    until_calm(&daemon, 1);
}

/// The idle link of a replica proves life for `repl-ping-replica-period`.
#[test]
fn frozen_primary_with_a_replica_is_down() {
    let (primary, _replica, daemon) = primary_with_replica();
    check_frozen(&daemon, &primary, SECOND * 16);
    until_calm(&daemon, 2);
}

/// The primary reads the acknowledgement of its replica every second.
#[test]
fn frozen_replica_is_down() {
    let (_primary, replica, daemon) = primary_with_replica();
    check_frozen(&daemon, &replica, SECOND * 7);
    until_calm(&daemon, 2);
}

#[test]
fn frozen_primary_that_sentinels_observe_is_down() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let daemon = Daemon::configured(&group.deployment("orders", ""));
    until_calm(&daemon, 6);
    let before = group.primary().address();
    check_frozen(&daemon, group.node_at(&before), SECOND * 7);
    group.until_failed_over(LIMIT, &before);
    group.until_replicating(LIMIT);
    until_calm(&daemon, 6);
}

#[test]
fn frozen_cluster_master_is_down() {
    let cluster = Cluster::start(&ClusterSetup::default());
    let daemon = Daemon::configured(&cluster.deployment("orders", &[0, 1], ""));
    until_calm(&daemon, 6);
    check_frozen(&daemon, &cluster.nodes[2], SECOND * 10);
    cluster.until_healthy();
    until_calm(&daemon, 6);
}

#[test]
fn frozen_primary_of_a_dns_name_is_down() {
    let (name_server, port) = (NameServer::start(), free_port());
    let hosts = [name_server.host(1), name_server.host(2)];
    let server = |host: &Host, options: &str| {
        Server::start_on("redis-7.0.15", false, host, port, options, None)
    };
    let primary = server(&hosts[0], "");
    let replica = server(&hosts[1], &format!("replicaof {} {port}\n", primary.host));
    replica.until_synchronised();
    name_server.name(&[(&hosts[0], &["orders.test"]), (&hosts[1], &["orders.test"])]);
    let daemon = name_server.daemon(&format!(
        "[[deployment]]\nname = 'orders'\ndns = ['redis://orders.test:{port}']\n\
         trust = ['{}']\n",
        name_server.network()
    ));
    until_calm(&daemon, 2);
    check_frozen(&daemon, &primary, SECOND * 16);
    daemon.until_no_findings(SOON * 2);
}
