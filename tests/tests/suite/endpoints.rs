//! Endpoints that applications use, as TCP proxies in front of real servers: where they lead, and whether that is right.

use std::time::Duration;

use serde_json::Value;
use tests::{
    ConfigFile, Daemon, Group, Proxy, Redis, SECOND, Setup, Stopwatch, Tap, deployment,
    diagnose_urls, eventually, pause,
};

use crate::monitor::{FindingRecorder, LIMIT, Monitor};
use crate::tls::Certificates;

/// Two checks, and a few rounds.
const TWICE: Duration = Duration::from_secs(30);

const WRONG: &str = "RedisPrimaryEndpointWrong";
const CORRECT: &str = "redis_endpoint_correct";
const UP: &str = "redis_endpoint_up";

const PRIMARY: [(&str, &str); 1] = [("endpoint", "primary")];
const READER: [(&str, &str); 1] = [("endpoint", "reader")];

/// A deployment of these servers with these endpoints.
fn with_endpoints(servers: &[&Redis], endpoints: &[(&str, String)]) -> String {
    let endpoints: Vec<_> =
        endpoints.iter().map(|(kind, url)| format!("{kind} = '{url}'")).collect();
    format!("{}endpoints = {{ {} }}\n", deployment("orders", servers), endpoints.join(", "))
}

/// What `rolecall diagnose` says of this configuration.
fn diagnose(text: &str) -> (Option<i32>, String, Vec<String>) {
    let (code, text, found) = diagnose_urls(&["--config.file", &ConfigFile::new(text).path()]);
    (code, text, found.into_iter().map(|(kind, _)| kind).collect())
}

/// An endpoint as the API tells it.
fn endpoint(daemon: &Daemon, kind: &str) -> Value {
    let document = daemon.document("/api/v1/topology");
    let endpoints = document["deployments"][0]["endpoints"].as_array().expect("a list").clone();
    endpoints.into_iter().find(|endpoint| endpoint["endpoint"] == kind).expect("configured")
}

#[test]
fn endpoint_on_the_old_primary_is_wrong_until_switched() {
    let a = Redis::start(&[]);
    let b = a.replica();
    let (writer, reader) = (Proxy::start(a.port), Proxy::start(b.port));
    let text =
        with_endpoints(&[&a, &b], &[("primary", writer.peer.url()), ("reader", reader.peer.url())]);
    let daemon = Daemon::configured(&text);
    for (labels, node, role) in [(PRIMARY, &a, "master"), (READER, &b, "replica")] {
        daemon.until(SECOND * 5, CORRECT, &labels, 1.0);
        assert_eq!(daemon.samples().get(UP, &labels), Some(1.0));
        assert_eq!(
            daemon.samples().get("redis_endpoint_role", &[labels[0], ("role", role)]),
            Some(1.0)
        );
        let told = endpoint(&daemon, labels[0].1);
        assert_eq!(
            (&told["leads_to"], &told["role"], &told["correct"]),
            (&node.address().into(), &role.into(), &true.into())
        );
    }
    let (code, told, _) = diagnose(&text);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains(&format!(
            "primary endpoint 127.0.0.1:{}: leads to {} (master), right",
            writer.peer.port,
            a.address()
        )),
        "{told}"
    );
    assert!(
        told.contains(&format!(
            "reader endpoint 127.0.0.1:{}: leads to {} (replica), right",
            reader.peer.port,
            b.address()
        )),
        "{told}"
    );

    // The old primary stays, as a replica of the new one: writes to it are refused, and clients see READONLY.
    let begun = Stopwatch::start();
    b.promote();
    a.follow(&b);
    daemon.until(TWICE, CORRECT, &PRIMARY, 0.0);
    let wrong = begun.elapsed();
    daemon.until_found(TWICE, WRONG);
    let found = begun.elapsed();
    assert_eq!(daemon.severity(WRONG).as_deref(), Some("info"), "a failover just happened");
    daemon.until_severity(TWICE, WRONG, "critical");
    let critical = begun.elapsed();
    println!("after the failover: wrong {wrong:?}, a finding {found:?}, critical {critical:?}");
    assert!(critical >= SECOND * 29, "an endpoint has half a minute to follow");
    let finding = daemon.finding(WRONG).expect("a finding");
    let evidence = &finding["evidence"];
    assert_eq!(
        (&evidence["endpoint"], &evidence["leads_to"]),
        (&"primary".into(), &a.address().into()),
        "{finding}"
    );
    assert_eq!(
        (&evidence["role"], &evidence["primary"]),
        (&"replica".into(), &b.address().into()),
        "{finding}"
    );
    assert!(evidence["checks"].as_u64() >= Some(2), "{finding}");
    assert_eq!(daemon.samples().get(CORRECT, &READER), Some(1.0), "a master serves reads too");
    // To whoever begins to look now no failover just happened.
    let (code, told, kinds) = diagnose(&text);
    println!("{told}");
    assert_eq!((code, kinds), (Some(1), vec![WRONG.to_owned()]), "{told}");
    assert!(told.contains(&format!("leads to {} (replica), WRONG", a.address())), "{told}");
    assert!(
        told.contains(&format!("First command  redis-cli -h 127.0.0.1 -p {} ", writer.peer.port)),
        "{told}"
    );

    writer.lead_to(b.port);
    let moved = Stopwatch::start();
    daemon.until_quiet(TWICE);
    println!("gone {:?} after it was mended", moved.elapsed());
    daemon.until(SECOND * 5, CORRECT, &PRIMARY, 1.0);
    assert_eq!(diagnose(&text).0, Some(0));
}

#[test]
fn endpoint_that_follows_a_failover_promptly_is_no_finding() {
    let group = Group::start(&Setup::default());
    let port = |address: &str| group.node_at(address).port;
    let proxy = Proxy::start(port(&group.primary().address()));
    let monitor = Monitor::start_settled(
        &group,
        &format!("endpoints = {{ primary = '{}' }}\n", proxy.peer.url()),
    );
    monitor.daemon.until(TWICE, CORRECT, &PRIMARY, 1.0);
    let recorder = FindingRecorder::start(&monitor.daemon);
    for turn in 0..2 {
        // At another time between two checks.
        pause(SECOND * 4 * turn);
        let before = group.failover();
        let after = group.until_failed_over(LIMIT, &before);
        pause(SECOND * 2);
        proxy.lead_to(port(&after));
        monitor.until_primary(&after);
        group.until_following(LIMIT);
        monitor.daemon.until(TWICE, CORRECT, &PRIMARY, 1.0);
        monitor.until_quiet();
    }
    let found = recorder.durations().into_keys().filter(|(_, kind, _)| kind == WRONG).count();
    assert_eq!(found, 0, "{:?}", recorder.durations());
}

#[test]
fn endpoint_left_behind_by_a_sentinel_failover_is_wrong() {
    let password = "hunter2-of-the-nodes";
    let group = Group::start(&Setup { password: Some(password), ..Setup::default() });
    let proxy = Proxy::start(group.primary().port);
    let more =
        format!("password = '{password}'\nendpoints = {{ primary = '{}' }}\n", proxy.peer.url());
    let monitor = Monitor::start_settled(&group, &more);
    monitor.daemon.until(TWICE, CORRECT, &PRIMARY, 1.0);
    let before = group.failover();
    let after = group.until_failed_over(LIMIT, &before);
    monitor.daemon.until_severity(LIMIT, WRONG, "critical");
    let finding = monitor.daemon.finding(WRONG).expect("a finding");
    assert_eq!(
        (&finding["evidence"]["leads_to"], &finding["evidence"]["primary"]),
        (&before.into(), &after.clone().into()),
        "{finding}"
    );
    proxy.lead_to(group.node_at(&after).port);
    eventually(TWICE, "it is mended", || monitor.daemon.finding(WRONG).is_none().then_some(()));
}

#[test]
fn primary_restart_is_no_wrong_endpoint() {
    let mut a = Redis::start(&["--appendonly", "yes"]);
    let b = a.replica();
    let proxy = Proxy::start(a.port);
    let daemon = Daemon::configured(&with_endpoints(&[&a, &b], &[("primary", proxy.peer.url())]));
    daemon.until(SECOND * 5, CORRECT, &PRIMARY, 1.0);
    let begun = Stopwatch::start();
    let mut wrong = 0;
    for _ in 0..2 {
        a.kill();
        a.restart();
        let restarted = Stopwatch::start();
        while restarted.elapsed() < SECOND * 14 {
            wrong += u32::from(daemon.samples().get(CORRECT, &PRIMARY) == Some(0.0));
            assert_eq!(daemon.finding(WRONG), None);
            pause(SECOND / 5);
        }
        daemon.until(TWICE, CORRECT, &PRIMARY, 1.0);
    }
    println!("never wrong in {:?} with two restarts", begun.elapsed());
    assert_eq!(wrong, 0);
}

#[test]
fn foreign_endpoint_is_wrong_and_dead_endpoint_is_unknown() {
    let (a, stranger) = (Redis::start(&[]), Redis::start(&[]));
    let b = a.replica();
    let (writer, reader) = (Proxy::start(stranger.port), Proxy::start(stranger.port));
    let daemon = Daemon::configured(&with_endpoints(
        &[&a, &b],
        &[("primary", writer.peer.url()), ("reader", reader.peer.url())],
    ));
    for labels in [PRIMARY, READER] {
        daemon.until(SECOND * 5, CORRECT, &labels, 0.0);
    }
    // Nobody moved the primary, so there is nothing that the endpoint might still follow.
    daemon.until_severity(TWICE, WRONG, "critical");
    eventually(SECOND * 5, "both", || {
        (daemon.findings().iter().filter(|(kind, _)| kind == WRONG).count() == 2).then_some(())
    });
    let document = daemon.document("/api/v1/findings");
    let found = document["findings"].as_array().expect("a list");
    let told: Vec<_> = found
        .iter()
        .map(|found| {
            [&found["severity"], &found["evidence"]["endpoint"], &found["evidence"]["leads_to"]]
        })
        .collect();
    let expected = [["critical", "primary", "stranger"], ["warning", "reader", "stranger"]]
        .map(|told| told.map(Value::from));
    assert_eq!(
        told,
        expected.iter().map(|told| [&told[0], &told[1], &told[2]]).collect::<Vec<_>>()
    );

    // Behind a proxy that leads to nobody, connections are closed.
    writer.lead_to(1);
    reader.lead_to(b.port);
    daemon.until_quiet(TWICE);
    let samples = daemon.samples();
    assert_eq!((samples.get(UP, &PRIMARY), samples.get(CORRECT, &PRIMARY)), (Some(0.0), None));
    assert_eq!(samples.count("redis_endpoint_role", &PRIMARY), 0);
    assert_eq!((samples.get(UP, &READER), samples.get(CORRECT, &READER)), (Some(1.0), Some(1.0)));
    let lines =
        || daemon.log().iter().filter(|line| line.contains("cannot check endpoint")).count();
    pause(SECOND * 21);
    assert_eq!((lines(), daemon.finding(WRONG)), (1, None), "one line, however often it fails");
    writer.lead_to(a.port);
    daemon.until(TWICE, CORRECT, &PRIMARY, 1.0);
    assert!(
        daemon
            .log()
            .iter()
            .any(|line| line.contains("checking endpoint") && line.contains("endpoint=primary")),
        "{:?}",
        daemon.log()
    );
}

#[test]
fn hanging_endpoint_delays_no_round() {
    let a = Redis::start(&[]);
    let silent = tests::Peer::start(|stream| {
        pause(SECOND * 60);
        drop(stream);
    });
    let text = with_endpoints(&[&a], &[("primary", silent.url())]);
    let daemon = Daemon::configured(&text);
    let begun = Stopwatch::start();
    daemon.until(SECOND * 15, UP, &PRIMARY, 0.0);
    println!("given up after {:?}", begun.elapsed());
    let mut slowest = 0.0_f64;
    while begun.elapsed() < SECOND * 16 {
        slowest = slowest.max(daemon.value("rolecall_round_duration_seconds").expect("rounds"));
        pause(SECOND / 5);
    }
    println!("slowest round {slowest} s");
    assert!(slowest < 0.5, "{slowest} s");
    assert_eq!(
        (daemon.value("rolecall_rounds_missed_total"), daemon.samples().count(CORRECT, &[])),
        (Some(0.0), 0)
    );
    assert_eq!(endpoint(&daemon, "primary")["down_reason"], "timeout");
    let begun = Stopwatch::start();
    let (code, told, found) = diagnose(&text);
    println!("diagnose took {:?} twice", begun.elapsed() / 2);
    assert_eq!((code, found), (Some(0), vec![]), "{told}");
    assert!(
        told.contains(&format!(
            "primary endpoint 127.0.0.1:{}: cannot be checked (timeout)",
            silent.port
        )),
        "{told}"
    );
}

#[test]
fn endpoint_check_uses_one_connection_and_leaks_no_secret() {
    let password = "hunter2-of-all";
    let a = Redis::start(&["--requirepass", password]);
    let tap = Tap::start(&a.address());
    let text = format!(
        "{}password = '{password}'\nendpoints = {{ primary = '{}', reader = 'redis://:{password}-not@127.0.0.1:{}' }}\n",
        deployment("orders", &[&a]),
        tap.url(),
        a.port
    );
    let daemon = Daemon::configured(&text);
    daemon.until(SECOND * 5, CORRECT, &PRIMARY, 1.0);
    let begun = Stopwatch::start();
    let before = tap.seen();
    pause(SECOND * 60);
    let (after, passed) = (tap.seen(), begun.elapsed().as_secs_f64());
    let opened = after.connections - before.connections;
    let info = after.commands["INFO"] - before.commands["INFO"];
    println!("{opened} connections in {passed:.0} s: {:?}", after.commands);
    assert!((5..=7).contains(&opened), "{opened} connections in {passed} s");
    // One of our own, and one with which the library begins a connection.
    assert!(info <= u64::from(opened) * 2, "{info} INFO over {opened} connections");
    assert_eq!(
        after.commands.keys().map(String::as_str).collect::<Vec<_>>(),
        ["AUTH", "CLIENT ID", "INFO"],
        "nothing else"
    );
    eventually(SECOND * 3, "none is kept", || (tap.seen().open == 0).then_some(()));

    assert_eq!(endpoint(&daemon, "reader")["down_reason"], "auth");
    let pages = ["/metrics", "/api/v1/topology", "/api/v1/findings", "/"]
        .map(|path| daemon.get(path, "").text)
        .concat();
    let log = daemon.log().concat();
    assert!(log.contains("cannot check endpoint"), "{log}");
    assert!(!pages.contains("hunter2") && !log.contains("hunter2"));
    // A wrong password is an error in the server's own count each time, so it is not tried as often.
    let refused = a
        .info("errorstat_WRONGPASS")
        .map(|count| count.trim_start_matches("count=").parse::<u32>().expect("a count"));
    assert!(refused <= Some(2), "{refused:?}");
}

#[test]
fn refused_endpoint_checks_are_not_counted_as_errors() {
    let a = Redis::start(&["--user", "rolecall", "on", ">secret", "-@all", "+info"]);
    let url = format!("redis://rolecall:secret@{}", a.address());
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'orders'\nnodes = [{{ url = '{url}' }}]\nendpoints = {{ primary = 'redis://{}' }}\n",
        a.address()
    ));
    daemon.until(SECOND * 5, CORRECT, &PRIMARY, 1.0);
    let noperm = || {
        a.info("errorstat_NOPERM")
            .map(|count| count.trim_start_matches("count=").parse::<f64>().expect("a count"))
    };
    let (before, begun) = (noperm(), Stopwatch::start());
    pause(SECOND * 32);
    println!("NOPERM from {before:?} to {:?} in {:?}", noperm(), begun.elapsed());
    assert!(
        noperm() >= before.map(|before| before + 3.0),
        "CLIENT ID, with which each connection begins"
    );
    assert_eq!(daemon.samples().get("redis_errors_total", &[("err", "NOPERM")]), Some(0.0));
    assert_eq!(daemon.value("redis_error_replies_total"), Some(0.0));
}

#[test]
fn rediss_endpoint_is_checked_over_tls() {
    let certificates = Certificates::make();
    let (a, port) = certificates.serve("server", "no");
    let text = with_endpoints(
        &[&a],
        &[("primary", format!("rediss://localhost:{port}")), ("reader", a.url())],
    );
    let daemon = Daemon::configured(&format!(
        "{text}tls = {{ ca_file = '{}' }}\n",
        certificates.path("ca.pem").display()
    ));
    for labels in [PRIMARY, READER] {
        daemon.until(SECOND * 8, CORRECT, &labels, 1.0);
    }
    let untrusting = Daemon::configured(&text);
    untrusting.until(SECOND * 8, UP, &PRIMARY, 0.0);
    assert_eq!(endpoint(&untrusting, "primary")["down_reason"], "tls");
    untrusting.until(SECOND * 8, CORRECT, &READER, 1.0);
}
