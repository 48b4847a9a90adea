//! Replies of Sentinels: their metrics, `diagnose`, and misconfigurations that they reveal.

use serde_json::json;
use tests::{
    CommandProxy, Daemon, Diagnosis, Host, MASTER, SentinelDeployment, SentinelSetup, Server,
    diagnose_urls, eventually, sentinel_deployment,
};

use crate::monitor::{LIMIT, Monitor, SENTINEL_DISAGREEMENT, SOON, check_names};

#[test]
fn sentinels_provide_all_nodes_and_sentinel_metrics() {
    for version in ["redis-7.0.15", "redis-8.2.3", "valkey-9.1.2"] {
        let group =
            SentinelDeployment::start(&SentinelSetup { version, ..SentinelSetup::default() });
        let monitor = Monitor::start_settled(&group, "labels = { team = 'a' }");
        let samples = monitor.daemon.samples();
        assert_eq!(
            samples.get(
                "redis_deployment_info",
                &[("deployment", "sessions"), ("kind", "sentinel"), ("team", "a")]
            ),
            Some(1.0)
        );
        assert_eq!(samples.count("redis_up", &[]), 6, "{version}: three nodes and three Sentinels");
        let primary = group.primary().address();
        for node in &group.nodes {
            let (address, labels) =
                (node.address(), |role| [("node", node.address()), ("role", String::from(role))]);
            let role = |role| {
                let labels: [(&str, String); 2] = labels(role);
                samples.get(
                    "redis_role",
                    &labels.each_ref().map(|(name, value)| (*name, value.as_str())),
                )
            };
            let expected =
                if address == primary { [Some(1.0), Some(0.0)] } else { [Some(0.0), Some(1.0)] };
            assert_eq!([role("master"), role("replica")], expected, "{address}");
        }
        for sentinel in &group.sentinels {
            check_sentinel(&monitor, sentinel, &primary);
        }
        for (series, labels) in [
            (SENTINEL_DISAGREEMENT, &[][..]),
            ("redis_sentinel_majority_against_primary", &[]),
            ("redis_sentinel_ghosts", &[("kind", "replica")]),
            ("redis_sentinel_ghosts", &[("kind", "sentinel")]),
            ("redis_sentinel_self_replication", &[]),
            ("redis_sentinel_mixed_names", &[]),
        ] {
            assert_eq!(samples.get(series, labels), Some(0.0), "{series} {labels:?}");
            assert_eq!(
                samples.get(series, &[&[("deployment", "sessions")], labels].concat()),
                Some(0.0)
            );
        }
        assert_eq!(
            samples.get("redis_deployment_nodes", &[("state", "known")]),
            samples.get("redis_deployment_nodes", &[("state", "answering")])
        );
    }
}

/// Checks that every series about a Sentinel has the value that the Sentinel reports.
#[track_caller]
fn check_sentinel(monitor: &Monitor, sentinel: &Server, primary: &str) {
    let (samples, node, master) =
        (monitor.daemon.samples(), sentinel.address(), sentinel.master(MASTER));
    let of_node = |name: &str, labels: &[(&str, &str)]| {
        samples.get(name, &[&[("node", node.as_str())], labels].concat())
    };
    assert_eq!(
        of_node("redis_sentinel_master_info", &[("master_name", MASTER), ("address", primary)]),
        Some(1.0)
    );
    assert_eq!(format!("{}:{}", master["ip"], master["port"]), primary);
    for (state, value) in [("ok", 1.0), ("sdown", 0.0), ("odown", 0.0)] {
        assert_eq!(
            of_node("redis_sentinel_master_state", &[("state", state)]),
            Some(value),
            "{state}"
        );
    }
    let reported = |field: &str| master[field].parse::<f64>().expect("a number");
    let others = reported("num-other-sentinels");
    assert_eq!((reported("num-slaves"), others), (2.0, 2.0));
    for (series, value) in [
        ("redis_sentinel_master_config_epoch", reported("config-epoch")),
        ("redis_sentinel_master_slaves", 2.0),
        ("redis_sentinel_master_ok_slaves", 2.0),
        ("redis_sentinel_master_sentinels", others + 1.0),
        ("redis_sentinel_master_ok_sentinels", others + 1.0),
        ("redis_sentinel_master_quorum", reported("quorum")),
        ("redis_sentinel_master_failover_in_progress", 0.0),
        ("redis_sentinel_quorum_ok", 1.0),
        ("redis_sentinel_master_role_mismatch", 0.0),
        ("redis_sentinel_masters", 1.0),
        ("redis_sentinel_tilt", 0.0),
    ] {
        assert_eq!(of_node(series, &[]), Some(value), "{series} of {node}");
    }
    assert_eq!(of_node("redis_role", &[("role", "sentinel")]), Some(1.0));
}

#[test]
fn diagnose_needs_only_one_sentinel_url() {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let url = group.url(0);
    let (code, text, findings) = diagnose_urls(&[&url]);
    println!("{text}");
    assert_eq!((code, findings), (Some(0), Vec::new()), "{text}");
    assert!(
        group.nodes.iter().chain(&group.sentinels[..1]).all(|node| text.contains(&node.address())),
        "{text}"
    );
    let urls = [group.url(0), group.url(1), group.url(2)];
    assert_eq!(diagnose_urls(&urls.each_ref().map(String::as_str)).0, Some(0));
    let all_masters = format!("sentinel://{}", group.sentinels[0].address());
    let (code, text, findings) = diagnose_urls(&[&all_masters]);
    assert_eq!((code, findings, text.contains(MASTER)), (Some(0), Vec::new(), true), "{text}");

    let dead = group.replicas()[1].address();
    let node = group.index_of(&dead);
    group.nodes[node].kill();
    let (code, text, findings) = diagnose_urls(&[&url]);
    assert_eq!(code, Some(1), "{text}");
    assert!(findings.contains(&("RedisDown".to_owned(), Some(dead))), "{findings:?}");
    for sentinel in &mut group.sentinels {
        sentinel.kill();
    }
    assert_ne!(diagnose_urls(&[&url]).0, Some(0), "no Sentinel is left");
}

#[test]
fn node_listed_as_its_own_replica_is_a_misconfiguration() {
    // Sentinels of these versions never list a node as its own replica, so the tap rewrites the
    // replies.
    let group = SentinelDeployment::start(&SentinelSetup {
        replicas: 1,
        sentinels: 1,
        quorum: 1,
        ..SentinelSetup::default()
    });
    let (primary, replica) = (group.nodes[0].port, group.nodes[1].port);
    let entry = |port: u16| {
        format!(
            "name\r\n$15\r\n127.0.0.1:{port}\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n\
             $4\r\nport\r\n$5\r\n{port}\r\n"
        )
    };
    let tap = CommandProxy::rewriting(
        "127.0.0.1",
        &group.sentinels[0].address(),
        vec![(entry(replica), entry(primary))],
    );
    let monitor = Monitor::start(&sentinel_deployment("sessions", Some(MASTER), &[tap.url()], ""));
    monitor.until_primary(&group.nodes[0].address());
    monitor.daemon.until(SOON, "redis_sentinel_self_replication", &[], 1.0);
    let finding = monitor.until_finding(SOON, "RedisSentinelMisconfigured", "critical");
    assert_eq!(finding["evidence"]["why"], json!(["self_replication"]), "{finding}");
    check_names(&finding["evidence"]["nodes"], &[group.nodes[0].address()]);
    assert_eq!(monitor.daemon.value("redis_sentinel_mixed_names"), Some(0.0));
}

#[test]
fn mixed_host_names_and_addresses_are_a_misconfiguration() {
    let primary = Server::standalone("redis-7.0.15");
    let follow = format!("replicaof 127.0.0.1 {}\n", primary.port);
    let replica = Server::start("redis-7.0.15", false, &Host::loopback(), &follow, None);
    replica.until_synchronised();
    let names = "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n";
    let text = format!("{names}sentinel monitor {MASTER} localhost {} 1\n", primary.port);
    let sentinel = Server::start("redis-7.0.15", true, &Host::loopback(), &text, None);
    let listed_replica = || {
        sentinel
            .table(&["SENTINEL", "REPLICAS", MASTER])
            .pop()
            .filter(|replica| replica["flags"] == "slave")
    };
    let (listed, _) = eventually(LIMIT, "the replica is listed", listed_replica);
    assert_eq!(
        (sentinel.master(MASTER)["ip"].as_str(), listed["ip"].as_str()),
        ("localhost", "127.0.0.1")
    );

    let monitor =
        Monitor::start(&sentinel_deployment("sessions", Some(MASTER), &[sentinel.url()], ""));
    monitor.until_primary(&format!("localhost:{}", primary.port));
    monitor.daemon.until(SOON, "redis_up", &[("node", &replica.address())], 1.0);
    monitor.daemon.until(
        SOON,
        "redis_link_state",
        &[("node", &replica.address()), ("state", "up")],
        1.0,
    );
    monitor.daemon.until(SOON, "redis_sentinel_mixed_names", &[], 1.0);
    assert_eq!(monitor.daemon.value("redis_sentinel_self_replication"), Some(0.0));
    let finding = monitor.until_finding(SOON, "RedisSentinelMisconfigured", "warning");
    assert_eq!(finding["evidence"]["why"], json!(["mixed_names"]), "{finding}");
    assert_eq!(
        monitor.daemon.value(SENTINEL_DISAGREEMENT),
        Some(0.0),
        "both names belong to the same node"
    );
    assert_eq!(monitor.daemon.samples().count("redis_up", &[]), 3, "each node is shown once");
}

#[test]
fn the_masters_that_are_monitored_instead_are_named() {
    let setup = SentinelSetup { sentinels: 1, quorum: 1, replicas: 0, ..SentinelSetup::default() };
    let group = SentinelDeployment::start(&setup);
    let url = group.url(0).replace(MASTER, "nope");
    let daemon = Daemon::start(&[&url]);
    daemon.until_severity(LIMIT, "RedisSentinelMisconfigured", "warning");
    let finding = daemon.finding("RedisSentinelMisconfigured").expect("the finding");
    let evidence = &finding["evidence"];
    assert_eq!(evidence["why"], json!(["unknown_master"]), "{finding}");
    assert_eq!(
        (&evidence["master_name"], &evidence["monitored"]),
        (&json!("nope"), &json!([MASTER]))
    );
    let page = daemon.get("/deployment/default", "text/html").text;
    assert!(page.contains("mymaster, not nope"), "{page}");
    let log = daemon.log();
    let is_report = |line: &&String| line.contains("Sentinels do not monitor the master");
    let reports: Vec<_> = log.iter().filter(is_report).collect();
    assert!(
        matches!(reports[..], [line] if line.contains("mymaster") && line.contains("nope")),
        "{log:?}"
    );
    let diagnosis = Diagnosis::of(&[&url]);
    assert!(diagnosis.text.contains("monitors: mymaster, not nope"), "{}", diagnosis.text);

    assert_eq!(group.sentinels[0].execute(&["SENTINEL", "REMOVE", MASTER]), ["OK"]);
    eventually(SOON, "no master is monitored", || {
        daemon
            .get("/deployment/default", "text/html")
            .text
            .contains("no master, not nope")
            .then_some(())
    });
}
