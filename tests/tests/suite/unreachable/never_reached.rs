//! Nodes that never replied, and nodes that are known to have run.

use std::collections::BTreeSet;
use std::fmt::Write;

use tests::{Daemon, Redis, SECOND, Signal, deployment, eventually, free_port, pause};

use super::{SOON, kinds};

/// Verdicts about dead nodes, which need a node that ran.
const DEATHS: [&str; 4] =
    ["RedisDown", "RedisNoPrimary", "RedisReplicasMissing", "RedisReplicaOrphaned"];

/// Returns the configuration of deployments with two nodes each at these ports.
fn deployments(count: usize, port: impl Fn(usize) -> u16) -> String {
    let mut text = String::new();
    for number in 0..count {
        // Different addresses of the loopback interface, as different nodes.
        let address = |node: usize| format!("127.1.{number}.{node}:{}", port(number));
        writeln!(
            text,
            "[[deployment]]\nname = 'd{number}'\n\
             nodes = [{{ url = 'redis://{}' }}, {{ url = 'redis://{}' }}]",
            address(1),
            address(2)
        )
        .expect("writing to a string cannot fail");
    }
    text
}

/// Checks that all nodes of these deployments were never reached, and that nothing is reported as
/// dead.
fn check_never_reached(text: &str, deployments: usize, reason: &str) {
    let daemon = Daemon::configured(text);
    let after = daemon.until_found(SOON, "RolecallNeverReached");
    let ((), all) = eventually(SOON * 2, "all deployments were never reached", || {
        let found = daemon.findings();
        let count = found.iter().filter(|(kind, _)| kind == "RolecallNeverReached").count();
        (count == deployments).then_some(())
    });
    println!("{deployments} deployments, {reason}: first after {after:?}, all after {all:?}");
    for _ in 0..10 {
        let found = kinds(&daemon);
        assert_eq!(found, BTreeSet::from(["RolecallNeverReached".to_owned()]));
        pause(SECOND);
    }
    let samples = daemon.samples();
    let nodes = deployments * 2;
    assert_eq!(samples.count("redis_node_state", &[("state", "unknown")]), nodes);
    let unknown = samples.sum("redis_node_state", &[("state", "unknown")]);
    assert!((unknown - nodes as f64).abs() < 0.5, "{unknown}");
    assert!(samples.sum("redis_deployment_no_primary", &[]) < 0.5);
    assert!(samples.sum("redis_up", &[]) < 0.5);
    let found = daemon.finding("RolecallNeverReached").expect("a finding");
    assert_eq!(found["severity"], "warning", "{found}");
    assert_eq!(found["evidence"]["nodes"].as_array().map(Vec::len), Some(2), "{found}");
    assert!(found["evidence"]["reasons"].to_string().contains(reason), "{found}");
}

#[test]
fn thirty_silent_deployments_were_never_reached() {
    let silent = std::net::TcpListener::bind("0.0.0.0:0").expect("cannot listen");
    let port = silent.local_addr().expect("no local address").port();
    std::thread::spawn(move || {
        // The connections stay open, and nobody reads them.
        let _open: Vec<_> = silent.incoming().collect();
    });
    check_never_reached(&deployments(30, |_| port), 30, "timeout");
}

#[test]
fn three_hundred_refusing_deployments_were_never_reached() {
    let port = free_port();
    let text = (0..3).map(|part| {
        // 100 deployments for each second octet.
        deployments(100, |_| port)
            .replace("127.1.", &format!("127.{}.", 1 + part))
            .replace("name = 'd", &format!("name = '{part}d"))
    });
    check_never_reached(&text.collect::<String>(), 300, "refused");
}

/// A node that was never reached says nothing about the others of its deployment.
#[test]
fn unreached_node_beside_others_is_no_outage() {
    let (primary, unreached) = (Redis::start(&[]), free_port());
    let replica = primary.replica();
    let text = deployment("orders", &[&primary, &replica])
        .replace(" }]", &format!(" }}, {{ url = 'redis://127.0.0.1:{unreached}' }}]"));
    let daemon = Daemon::configured(&text);
    daemon.until_found(SOON, "RolecallNeverReached");
    for _ in 0..8 {
        assert_eq!(kinds(&daemon), BTreeSet::from(["RolecallNeverReached".to_owned()]));
        pause(SECOND);
    }
    daemon.until_primary(SOON, &primary, "sole");
}

#[test]
fn node_that_replied_before_a_restart_of_rolecall_is_down() {
    let folder = tempfile::tempdir().expect("cannot create a directory");
    let mut servers = [Redis::start(&[]), Redis::start(&[])];
    let text = format!(
        "state_file = '{}'\n{}{}",
        folder.path().join("state.json").display(),
        deployment("orders", &[&servers[0]]),
        deployment("sessions", &[&servers[1]])
    );
    let mut daemon = Daemon::configured(&text);
    for server in &servers {
        daemon.until(SOON, "redis_up", &[("node", &server.address())], 1.0);
    }
    daemon.signal(Signal::Term);
    assert!(daemon.end(SOON).0.success());

    servers[0].kill();
    servers[1].signal(Signal::Stop);
    let daemon = Daemon::configured(&text);
    for server in &servers {
        daemon.until_found_on(SOON, "RedisDown", server);
    }
    let no_primary = [("deployment", "orders")];
    daemon.until(SOON, "redis_deployment_no_primary", &no_primary, 1.0);
    let found = kinds(&daemon);
    assert!(!found.contains("RolecallNeverReached"), "{found:?}");
    servers[1].signal(Signal::Cont);
}

#[test]
fn dead_primary_with_a_lost_link_of_a_replica_is_down() {
    let mut primary = Redis::start(&[]);
    let replica = primary.replica();
    primary.kill();
    eventually(SOON, "the replica lost its link", || {
        (replica.info("master_link_status")? == "down").then_some(())
    });
    let daemon = Daemon::configured(&deployment("orders", &[&primary, &replica]));
    daemon.until_found_on(SOON, "RedisDown", &primary);
    daemon.until(SOON, "redis_deployment_no_primary", &[], 1.0);
    let found = kinds(&daemon);
    assert!(found.iter().any(|kind| DEATHS[1] == kind), "{found:?}");
    assert!(!found.contains("RolecallNeverReached"), "{found:?}");
}
