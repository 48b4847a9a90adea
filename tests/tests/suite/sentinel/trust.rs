//! Trust in the addresses that Sentinels report, and the use of credentials.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tests::{
    CommandProxy, MASTER, SentinelDeployment, SentinelSetup, Server, Side, SplitNetwork,
    eventually, sentinel_deployment,
};

use crate::monitor::{Monitor, PRIMARY_INFO, SOON};

#[test]
fn sentinels_and_nodes_have_separate_credentials() {
    const NODES: &str = "secret-of-nodes";
    const SENTINELS: &str = "secret-of-sentinels";
    for version in ["redis-7.0.15", "valkey-9.1.2"] {
        let group = SentinelDeployment::start(&SentinelSetup {
            version,
            password: Some(NODES),
            sentinel_password: Some(SENTINELS),
            ..SentinelSetup::default()
        });
        // Replicas send a PING to their master before they authenticate, which is refused.
        let auth_errors = |node: &Server| {
            let errors = node.section("errorstats");
            ["NOAUTH", "WRONGPASS"].map(|code| errors.get(&format!("errorstat_{code}")).cloned())
        };
        let before: Vec<_> = group.nodes.iter().map(auth_errors).collect();
        let monitor = Monitor::start_settled(
            &group,
            &format!("password = '{NODES}'\nsentinel_password = '{SENTINELS}'"),
        );
        assert_eq!(
            group.nodes.iter().map(auth_errors).collect::<Vec<_>>(),
            before,
            "no attempt with wrong credentials"
        );
        let pages = ["/", "/metrics", "/api/v1/topology", "/api/v1/events"]
            .map(|path| monitor.daemon.get(path, "").text);
        let output = [pages.concat(), monitor.daemon.log().concat()].concat();
        assert!(!output.contains(NODES) && !output.contains(SENTINELS));

        // The password of the nodes is not used for Sentinels.
        let without_sentinel_password =
            Monitor::start(&group.deployment("sessions", &format!("password = '{NODES}'")));
        for sentinel in &group.sentinels {
            without_sentinel_password.daemon.until(
                SOON,
                "redis_down_reason",
                &[("node", &sentinel.address()), ("reason", "auth")],
                1.0,
            );
        }
        without_sentinel_password.until_finding(SOON, "RolecallCannotRead", "warning");
        assert_eq!(without_sentinel_password.daemon.samples().count(PRIMARY_INFO, &[]), 0);
        assert!(
            without_sentinel_password.daemon.finding("RedisSentinelDown").is_none(),
            "the Sentinels are up"
        );
    }
}

/// Listens on an address. Returns the counter of its connections.
fn count_connections(address: &str) -> Arc<AtomicU64> {
    let (listener, count) =
        (TcpListener::bind(address).expect("a port"), Arc::new(AtomicU64::new(0)));
    let thread_count = Arc::clone(&count);
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            thread_count.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

#[test]
fn untrusted_sentinel_node_is_shown_but_never_connected_to() {
    let group = SentinelDeployment::start(&SentinelSetup {
        sentinels: 1,
        quorum: 1,
        ..SentinelSetup::default()
    });
    let (real, port) = (group.replicas()[0].address(), group.replicas()[0].port);
    let forged = format!("127.0.0.2:{port}");
    let connections = count_connections(&forged);
    // The address as in the replies of SENTINEL REPLICAS in both protocol versions.
    let entry = |host: &str| format!("{host}\r\n$4\r\nport\r\n$5\r\n{port}\r\n");
    let rewrites = vec![(real.clone(), forged.clone()), (entry("127.0.0.1"), entry("127.0.0.2"))];
    let tap = CommandProxy::rewriting("127.0.0.1", &group.sentinels[0].address(), rewrites);
    let configuration = |trust: &str| {
        sentinel_deployment(
            "sessions",
            Some(MASTER),
            &[tap.url()],
            &format!("password = 'secret'\n{trust}"),
        )
    };
    let topology = |monitor: &Monitor| monitor.daemon.get("/api/v1/topology", "").text;

    let monitor = Monitor::start(&configuration("trust = ['127.0.0.1/32', '10.0.0.0/8']"));
    monitor.until_primary(&group.primary().address());
    eventually(SOON, "the forged address is shown", || {
        topology(&monitor).contains(&forged).then_some(())
    });
    monitor.daemon.until_rounds(12);
    assert!(topology(&monitor).contains(&forged), "{}", topology(&monitor));
    assert_eq!(connections.load(Ordering::Relaxed), 0, "no connection, so no credentials are sent");
    assert_ne!(monitor.daemon.samples().get("redis_up", &[("node", &forged)]), Some(1.0));
    assert!(!topology(&monitor).contains(&real), "no Sentinel reports the real address");
    assert!(
        tap.traffic().commands.get("SENTINEL REPLICAS").is_some_and(|count| *count >= 1),
        "{:?}",
        tap.traffic()
    );

    // Once the network is trusted, the daemon connects to the forged address.
    monitor.daemon.reload(&configuration("trust = ['127.0.0.0/8']"));
    eventually(SOON, "a connection", || (connections.load(Ordering::Relaxed) > 0).then_some(()));
}

#[test]
fn loopback_is_trusted_only_if_all_sentinels_are_on_it() {
    let sides = SplitNetwork::new();
    let group = SentinelDeployment::start(&SentinelSetup {
        sentinels: 2,
        quorum: 1,
        ..SentinelSetup::default()
    });
    let (inside, outside) = (
        group.sentinels[0].url(),
        CommandProxy::rewriting(
            &sides.test_address(Side::Left),
            &group.sentinels[1].address(),
            Vec::new(),
        ),
    );
    let urls = [inside, outside.url()];
    let monitor = Monitor::start(&sentinel_deployment("sessions", Some(MASTER), &urls, ""));
    monitor.daemon.until(SOON, "redis_up", &[("node", &outside.address)], 1.0);
    monitor.daemon.until(
        SOON,
        "redis_sentinel_masters",
        &[("node", &group.sentinels[0].address())],
        1.0,
    );
    let topology = || monitor.daemon.get("/api/v1/topology", "").text;
    eventually(SOON, "the nodes are shown", || {
        group.nodes.iter().all(|node| topology().contains(&node.address())).then_some(())
    });
    monitor.daemon.until_rounds(5);
    for node in &group.nodes {
        assert_eq!(node.clients(), Vec::<String>::new(), "{}", topology());
        assert_ne!(monitor.node_value("redis_up", node), Some(1.0));
    }
    assert_eq!(
        monitor.daemon.samples().count(PRIMARY_INFO, &[("evidence", "sole")]),
        0,
        "no node is polled"
    );
    // The configuration can trust the loopback network.
    monitor.daemon.reload(&sentinel_deployment(
        "sessions",
        Some(MASTER),
        &urls,
        "trust = ['127.0.0.0/8']",
    ));
    monitor.daemon.until(SOON, "redis_up", &[("node", &group.primary().address())], 1.0);
}
