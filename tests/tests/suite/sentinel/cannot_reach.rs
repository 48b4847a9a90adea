//! Sentinels that consider a primary down that replies to Rolecall.

use serde_json::{Value, json};
use tests::{
    ConfigFile, Connection, Diagnosis, FaultyPath, Host, MASTER, PathFault, SECOND,
    SentinelDeployment, SentinelSetup, Server, Side, SplitNetwork, eventually, monitor_options,
    pause, sentinel_deployment,
};

use crate::monitor::{LIMIT, Monitor, check_names};

const FALSELY_DOWN: &str = "redis_sentinel_master_falsely_down";
const REASON: &str = "redis_sentinel_master_falsely_down_reason";
const CANNOT_REACH: &str = "RedisSentinelCannotReach";

fn addresses(servers: &[Server]) -> Vec<String> {
    servers.iter().map(Server::address).collect()
}

/// Waits until exactly these Sentinels consider the primary down, for this reason.
#[track_caller]
fn until_unreached(monitor: &Monitor, sentinels: &[Server], unreached: &[Server], reason: &str) {
    let expected = addresses(unreached);
    eventually(LIMIT, "the Sentinels consider the primary down", || {
        let samples = monitor.daemon.samples();
        let states = sentinels.iter().all(|sentinel| {
            let node = sentinel.address();
            let is_expected = expected.contains(&node);
            let falsely = samples.get(FALSELY_DOWN, &[("node", &node)]);
            let reason = samples.get(REASON, &[("node", &node), ("reason", reason)]);
            falsely == Some(f64::from(is_expected)) && (reason == Some(1.0)) == is_expected
        });
        states.then_some(())
    });
}

/// Waits for the finding, and checks its Sentinels and its reason.
#[track_caller]
fn until_finding(monitor: &Monitor, sentinels: &[Server], reason: &str) -> Value {
    let finding = eventually(LIMIT, CANNOT_REACH, || {
        let finding = monitor.daemon.finding(CANNOT_REACH)?;
        let listed = finding["evidence"]["sentinels"].as_array()?.len();
        (listed == sentinels.len() && finding["evidence"]["why"] == json!([reason]))
            .then_some(finding)
    })
    .0;
    assert_eq!(finding["severity"], "warning");
    check_names(&finding["evidence"]["sentinels"], &addresses(sentinels));
    finding
}

/// Runs a command on a node with another password than that of its start.
fn execute(node: &Server, password: &str, command: &[&str]) -> Vec<String> {
    let mut connection =
        Connection::connect(&node.address(), Some(password)).expect("a connection");
    connection.execute(command).expect("a reply")
}

#[test]
fn sentinels_with_an_outdated_password_cannot_reach() {
    for version in ["redis-6.2.14", "redis-7.0.15", "redis-8.2.3", "valkey-9.1.2"] {
        let setup = SentinelSetup { version, password: Some("old"), ..SentinelSetup::default() };
        let group = SentinelDeployment::start(&setup);
        // Rolecall and the replicas have the new password already.
        for node in &group.nodes {
            assert_eq!(node.execute(&["ACL", "SETUSER", "default", ">new"]), ["OK"]);
            assert_eq!(node.execute(&["CONFIG", "SET", "masterauth", "new"]), ["OK"]);
        }
        let monitor = Monitor::start_settled(&group, "password = 'new'");
        let primary = group.primary().address();
        for node in &group.nodes {
            assert_eq!(execute(node, "new", &["ACL", "SETUSER", "default", "<old"]), ["OK"]);
        }
        // The Sentinels stay logged in until they connect again.
        pause(SECOND * 7);
        assert_eq!(monitor.daemon.finding(CANNOT_REACH), None, "{version}");
        for node in &group.nodes {
            for kind in ["normal", "pubsub"] {
                execute(node, "new", &["CLIENT", "KILL", "TYPE", kind]);
            }
        }
        until_unreached(&monitor, &group.sentinels, &group.sentinels, "auth");
        let finding = until_finding(&monitor, &group.sentinels, "auth");
        let evidence = &finding["evidence"];
        assert_eq!(evidence["primary"], primary, "{version}");
        assert_eq!(evidence["known"], 3, "{version}");
        assert_eq!(evidence["error_codes"], json!(["NOAUTH", "WRONGPASS"]), "{version}");
        // The cause is known, so nobody else is blamed.
        monitor.daemon.until_exact_findings(LIMIT, &[CANNOT_REACH]);
        let (code, text, findings) = diagnose_with_password(&group, "new");
        // While no failover would work, that is an effect.
        let causes: Vec<_> = findings
            .iter()
            .map(String::as_str)
            .filter(|kind| *kind != "RedisFailoverNotReady")
            .collect();
        assert_eq!((code, causes), (Some(1), vec![CANNOT_REACH]), "{version}: {text}");
        for sentinel in &group.sentinels {
            let quorum = monitor.node_value("redis_sentinel_quorum_ok", sentinel);
            assert_eq!(quorum, Some(1.0), "{version}: CKQUORUM does not notice it");
        }

        for sentinel in &group.sentinels {
            let set = ["SENTINEL", "SET", MASTER, "auth-pass", "new"];
            assert_eq!(sentinel.execute(&set), ["OK"]);
        }
        reconnect_old_sentinels(version, &group.nodes, "new");
        monitor.until_no_findings();
        until_unreached(&monitor, &group.sentinels, &[], "auth");
        monitor.until_primary(&primary);
    }
}

/// Closes the connections of Sentinels that keep them after a change of `auth-pass`: before 7.0.
fn reconnect_old_sentinels(version: &str, nodes: &[Server], password: &str) {
    if !["redis-5.0.6", "redis-6.2.14"].contains(&version) {
        return;
    }
    for node in nodes {
        execute(node, password, &["CLIENT", "KILL", "TYPE", "normal"]);
    }
}

/// Runs `rolecall diagnose` with a password for the nodes. Returns the exit code, the text, and
/// the kinds of the findings.
fn diagnose_with_password(
    group: &SentinelDeployment,
    password: &str,
) -> (Option<i32>, String, Vec<String>) {
    let file = ConfigFile::new(&group.deployment("sessions", &format!("password = '{password}'")));
    let diagnosis = Diagnosis::of(&["--config.file", &file.path()]);
    let findings = diagnosis.document["findings"].as_array().expect("the list is missing");
    let kind = |finding: &Value| finding["kind"].as_str().expect("a kind").to_owned();
    let kinds = findings.iter().map(kind).collect();
    (diagnosis.code, diagnosis.text, kinds)
}

#[test]
fn sentinels_without_auth_pass_cannot_reach() {
    for (version, reason) in
        [("redis-5.0.6", "error_reply"), ("redis-7.0.15", "auth"), ("valkey-9.1.2", "auth")]
    {
        let options = "requirepass secret\nmasterauth secret\n";
        let place = Host::loopback();
        let primary = Server::start(version, false, &place, options, Some("secret"));
        let setup = SentinelSetup { version, ..SentinelSetup::default() };
        let watch = monitor_options(MASTER, &primary, &setup);
        let sentinels: Vec<_> =
            (0..3).map(|_| Server::start(version, true, &place, &watch, None)).collect();
        let urls: Vec<_> = sentinels.iter().map(Server::url).collect();
        let monitor = Monitor::start(&sentinel_deployment(
            "sessions",
            Some(MASTER),
            &urls,
            "password = 'secret'",
        ));
        monitor.until_primary(&primary.address());
        until_unreached(&monitor, &sentinels, &sentinels, reason);
        let finding = until_finding(&monitor, &sentinels, reason);
        let codes = &finding["evidence"]["error_codes"];
        if reason == "auth" {
            // Without a password a Sentinel tries no login.
            assert_eq!(codes, &json!(["NOAUTH"]), "{version}");
        } else {
            assert!(codes.is_null(), "{version}: {codes}");
        }
        for sentinel in &sentinels {
            let set = ["SENTINEL", "SET", MASTER, "auth-pass", "secret"];
            assert_eq!(sentinel.execute(&set), ["OK"]);
        }
        reconnect_old_sentinels(version, std::slice::from_ref(&primary), "secret");
        until_unreached(&monitor, &sentinels, &[], reason);
        monitor.until_no_findings();
    }
}

#[test]
fn a_sentinel_in_another_network_cannot_reach() {
    let mut network = SplitNetwork::new();
    let places = [(); 4].map(|()| network.add_host(Side::Left));
    let [first, second, third, alone] = &places;
    let setup = SentinelSetup { sentinels: 2, ..SentinelSetup::default() };
    let nodes = [first.clone(), second.clone(), third.clone()];
    let mut group = SentinelDeployment::start_at(&setup, &nodes, &nodes[1..]);
    let primary = group.primary().address();
    let cut = || FaultyPath::new(alone, first, PathFault::Loss);

    // From the start: the Sentinel never had a reply from the primary.
    let path = cut();
    let options = monitor_options(MASTER, group.primary(), &setup);
    let third = Server::start(setup.version, true, alone, &options, None);
    group.sentinels.push(third);
    let monitor = Monitor::start(&group.deployment("sessions", ""));
    monitor.until_primary(&primary);
    let unreached = &group.sentinels[2..];
    until_unreached(&monitor, &group.sentinels, unreached, "network");
    let finding = until_finding(&monitor, unreached, "network");
    assert_eq!(finding["evidence"]["primary"], primary);
    assert!(finding["evidence"]["error_codes"].is_null(), "{finding}");
    drop(path);
    until_unreached(&monitor, &group.sentinels, &[], "network");
    group.until_discovered();
    monitor.until_no_findings();

    // A Sentinel that knows all nodes loses its path to the primary only.
    let path = cut();
    until_unreached(&monitor, &group.sentinels, &group.sentinels[2..], "network");
    until_finding(&monitor, &group.sentinels[2..], "network");
    monitor.daemon.until_exact_findings(LIMIT, &[CANNOT_REACH]);
    let file = ConfigFile::new(&group.deployment("sessions", ""));
    let Diagnosis { code, text, .. } = Diagnosis::of(&["--config.file", &file.path()]);
    assert_eq!(code, Some(1), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("no reply of the primary arrives (network)"), "{text}");
    drop(path);
    monitor.until_no_findings();
    monitor.until_primary(&primary);
    assert_eq!(monitor.daemon.count("primary_changed"), 0);
}

#[test]
fn a_restarted_primary_is_never_falsely_down_for_long() {
    let setup = SentinelSetup { down_after: SECOND, ..SentinelSetup::default() };
    let mut group = SentinelDeployment::start(&setup);
    // No replica may be promoted. Sentinels read the priorities every 10 s.
    for replica in group.replicas() {
        assert_eq!(replica.execute(&["CONFIG", "SET", "slave-priority", "0"]), ["OK"]);
    }
    eventually(LIMIT, "the Sentinels know the priorities", || {
        let is_known = |sentinel: &Server| {
            let replicas = sentinel.table(&["SENTINEL", "REPLICAS", MASTER]);
            replicas.iter().all(|replica| replica["slave-priority"] == "0")
        };
        group.sentinels.iter().all(is_known).then_some(())
    });
    let monitor = Monitor::start(&group.deployment("sessions", ""));
    let primary = group.primary().address();
    monitor.until_primary(&primary);
    monitor.until_all_up(&group);
    let index = group.index_of(&primary);
    group.nodes[index].kill();
    pause(SECOND * 6);
    group.nodes[index].restart();
    for _ in 0..40 {
        assert_eq!(monitor.daemon.finding(CANNOT_REACH), None);
        pause(SECOND / 4);
    }
    until_unreached(&monitor, &group.sentinels, &[], "network");
}
