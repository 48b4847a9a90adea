//! Checks of the primary and reader endpoint. The endpoints are TCP proxies in front of real
//! servers.

use std::time::Duration;

use serde_json::Value;
use tests::{
    CommandProxy, ConfigFile, Daemon, Proxy, Redis, SECOND, SentinelDeployment, SentinelSetup,
    Stopwatch, deployment, diagnose_urls, eventually, pause,
};

use crate::monitor::{FindingRecorder, LIMIT, Monitor};
use crate::tls::Certificates;

/// Timeout for two endpoint checks and a few rounds.
const TWO_CHECKS: Duration = Duration::from_secs(30);

const ENDPOINT_WRONG: &str = "RedisPrimaryEndpointWrong";
const ENDPOINT_CORRECT: &str = "redis_endpoint_correct";
const ENDPOINT_UP: &str = "redis_endpoint_up";

const PRIMARY_LABEL: [(&str, &str); 1] = [("endpoint", "primary")];
const READER_LABEL: [(&str, &str); 1] = [("endpoint", "reader")];

/// Returns the configuration of a deployment of these servers with these endpoints.
fn with_endpoints(servers: &[&Redis], endpoints: &[(&str, String)]) -> String {
    let endpoints: Vec<_> =
        endpoints.iter().map(|(kind, url)| format!("{kind} = '{url}'")).collect();
    format!("{}endpoints = {{ {} }}\n", deployment("orders", servers), endpoints.join(", "))
}

/// Runs `rolecall diagnose` with this configuration. Returns the exit code, the output and the
/// kinds of the findings.
fn diagnose(text: &str) -> (Option<i32>, String, Vec<String>) {
    let (code, text, findings) = diagnose_urls(&["--config.file", &ConfigFile::new(text).path()]);
    (code, text, findings.into_iter().map(|(kind, _)| kind).collect())
}

/// Returns an endpoint from the API.
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
    let configuration =
        with_endpoints(&[&a, &b], &[("primary", writer.peer.url()), ("reader", reader.peer.url())]);
    let daemon = Daemon::configured(&configuration);
    for (labels, node, role) in [(PRIMARY_LABEL, &a, "master"), (READER_LABEL, &b, "replica")] {
        daemon.until(SECOND * 5, ENDPOINT_CORRECT, &labels, 1.0);
        assert_eq!(daemon.samples().get(ENDPOINT_UP, &labels), Some(1.0));
        assert_eq!(
            daemon.samples().get("redis_endpoint_role", &[labels[0], ("role", role)]),
            Some(1.0)
        );
        let checked = endpoint(&daemon, labels[0].1);
        assert_eq!(
            (&checked["leads_to"], &checked["role"], &checked["correct"]),
            (&node.address().into(), &role.into(), &true.into())
        );
    }
    let (code, output, _) = diagnose(&configuration);
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains(&format!(
            "primary endpoint 127.0.0.1:{}: leads to {} (master), correct",
            writer.peer.port,
            a.address()
        )),
        "{output}"
    );
    assert!(
        output.contains(&format!(
            "reader endpoint 127.0.0.1:{}: leads to {} (replica), correct",
            reader.peer.port,
            b.address()
        )),
        "{output}"
    );

    // The old primary becomes a replica of the new one and refuses writes with READONLY.
    let stopwatch = Stopwatch::start();
    b.promote();
    a.replicate_from(&b);
    daemon.until(TWO_CHECKS, ENDPOINT_CORRECT, &PRIMARY_LABEL, 0.0);
    let wrong = stopwatch.elapsed();
    daemon.until_found(TWO_CHECKS, ENDPOINT_WRONG);
    let finding = stopwatch.elapsed();
    assert_eq!(
        daemon.severity(ENDPOINT_WRONG).as_deref(),
        Some("info"),
        "the endpoint has time to follow the failover"
    );
    daemon.until_severity(TWO_CHECKS, ENDPOINT_WRONG, "critical");
    let critical = stopwatch.elapsed();
    println!("after the failover: wrong {wrong:?}, finding {finding:?}, critical {critical:?}");
    assert!(critical >= SECOND * 29, "an endpoint has 30 seconds to follow a failover");
    let finding = daemon.finding(ENDPOINT_WRONG).expect("a finding");
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
    assert_eq!(
        daemon.samples().get(ENDPOINT_CORRECT, &READER_LABEL),
        Some(1.0),
        "a master serves reads too"
    );
    // `diagnose` starts now and has not seen the failover.
    let (code, output, kinds) = diagnose(&configuration);
    println!("{output}");
    assert_eq!((code, kinds), (Some(1), vec![ENDPOINT_WRONG.to_owned()]), "{output}");
    assert!(output.contains(&format!("leads to {} (replica), WRONG", a.address())), "{output}");
    assert!(
        output.contains(&format!("First command  redis-cli -h 127.0.0.1 -p {} ", writer.peer.port)),
        "{output}"
    );

    writer.redirect_to(b.port);
    let switched = Stopwatch::start();
    daemon.until_no_findings(TWO_CHECKS);
    println!("no finding {:?} after the endpoint was switched", switched.elapsed());
    daemon.until(SECOND * 5, ENDPOINT_CORRECT, &PRIMARY_LABEL, 1.0);
    assert_eq!(diagnose(&configuration).0, Some(0));
}

#[test]
fn endpoint_that_follows_a_failover_promptly_is_no_finding() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let port = |address: &str| group.node_at(address).port;
    let proxy = Proxy::start(port(&group.primary().address()));
    let monitor = Monitor::start_settled(
        &group,
        &format!("endpoints = {{ primary = '{}' }}\n", proxy.peer.url()),
    );
    monitor.daemon.until(TWO_CHECKS, ENDPOINT_CORRECT, &PRIMARY_LABEL, 1.0);
    let recorder = FindingRecorder::start(&monitor.daemon);
    for turn in 0..2 {
        // Each failover starts at another point between two checks.
        pause(SECOND * 4 * turn);
        let before = group.failover();
        let after = group.until_failed_over(LIMIT, &before);
        pause(SECOND * 2);
        proxy.redirect_to(port(&after));
        monitor.until_primary(&after);
        group.until_replicating(LIMIT);
        monitor.daemon.until(TWO_CHECKS, ENDPOINT_CORRECT, &PRIMARY_LABEL, 1.0);
        monitor.until_no_findings();
    }
    let found =
        recorder.durations().into_keys().filter(|(_, kind, _)| kind == ENDPOINT_WRONG).count();
    assert_eq!(found, 0, "{:?}", recorder.durations());
}

#[test]
fn endpoint_left_behind_by_a_sentinel_failover_is_wrong() {
    let password = "hunter2-of-the-nodes";
    let group = SentinelDeployment::start(&SentinelSetup {
        password: Some(password),
        ..SentinelSetup::default()
    });
    let proxy = Proxy::start(group.primary().port);
    let more =
        format!("password = '{password}'\nendpoints = {{ primary = '{}' }}\n", proxy.peer.url());
    let monitor = Monitor::start_settled(&group, &more);
    monitor.daemon.until(TWO_CHECKS, ENDPOINT_CORRECT, &PRIMARY_LABEL, 1.0);
    let before = group.failover();
    let after = group.until_failed_over(LIMIT, &before);
    monitor.daemon.until_severity(LIMIT, ENDPOINT_WRONG, "critical");
    let finding = monitor.daemon.finding(ENDPOINT_WRONG).expect("a finding");
    assert_eq!(
        (&finding["evidence"]["leads_to"], &finding["evidence"]["primary"]),
        (&before.into(), &after.clone().into()),
        "{finding}"
    );
    proxy.redirect_to(group.node_at(&after).port);
    eventually(TWO_CHECKS, "the endpoint is correct", || {
        monitor.daemon.finding(ENDPOINT_WRONG).is_none().then_some(())
    });
}

#[test]
fn primary_restart_is_no_wrong_endpoint() {
    let mut a = Redis::start(&["--appendonly", "yes"]);
    let b = a.replica();
    let proxy = Proxy::start(a.port);
    let daemon = Daemon::configured(&with_endpoints(&[&a, &b], &[("primary", proxy.peer.url())]));
    daemon.until(SECOND * 5, ENDPOINT_CORRECT, &PRIMARY_LABEL, 1.0);
    let stopwatch = Stopwatch::start();
    let mut wrong = 0;
    for _ in 0..2 {
        a.kill();
        a.restart();
        let restarted = Stopwatch::start();
        while restarted.elapsed() < SECOND * 14 {
            wrong += u32::from(daemon.samples().get(ENDPOINT_CORRECT, &PRIMARY_LABEL) == Some(0.0));
            assert_eq!(daemon.finding(ENDPOINT_WRONG), None);
            pause(SECOND / 5);
        }
        daemon.until(TWO_CHECKS, ENDPOINT_CORRECT, &PRIMARY_LABEL, 1.0);
    }
    println!("never wrong during {:?} with two restarts", stopwatch.elapsed());
    assert_eq!(wrong, 0);
}

#[test]
fn foreign_endpoint_is_wrong_and_dead_endpoint_is_unknown() {
    let (a, foreign) = (Redis::start(&[]), Redis::start(&[]));
    let b = a.replica();
    let (writer, reader) = (Proxy::start(foreign.port), Proxy::start(foreign.port));
    let daemon = Daemon::configured(&with_endpoints(
        &[&a, &b],
        &[("primary", writer.peer.url()), ("reader", reader.peer.url())],
    ));
    for labels in [PRIMARY_LABEL, READER_LABEL] {
        daemon.until(SECOND * 5, ENDPOINT_CORRECT, &labels, 0.0);
    }
    // No failover happened that the endpoint could still follow.
    daemon.until_severity(TWO_CHECKS, ENDPOINT_WRONG, "critical");
    eventually(SECOND * 5, "a finding about both endpoints", || {
        (daemon.findings().iter().filter(|(kind, _)| kind == ENDPOINT_WRONG).count() == 2)
            .then_some(())
    });
    let document = daemon.document("/api/v1/findings");
    let findings = document["findings"].as_array().expect("a list");
    let actual: Vec<_> = findings
        .iter()
        .map(|finding| {
            let evidence = &finding["evidence"];
            [&finding["severity"], &evidence["endpoint"], &evidence["leads_to"]]
        })
        .collect();
    let expected = [["critical", "primary", "stranger"], ["warning", "reader", "stranger"]]
        .map(|values| values.map(Value::from));
    assert_eq!(
        actual,
        expected.iter().map(|values| [&values[0], &values[1], &values[2]]).collect::<Vec<_>>()
    );

    // A proxy without a target closes its connections.
    writer.redirect_to(1);
    reader.redirect_to(b.port);
    daemon.until_no_findings(TWO_CHECKS);
    let samples = daemon.samples();
    assert_eq!(
        (samples.get(ENDPOINT_UP, &PRIMARY_LABEL), samples.get(ENDPOINT_CORRECT, &PRIMARY_LABEL)),
        (Some(0.0), None)
    );
    assert_eq!(samples.count("redis_endpoint_role", &PRIMARY_LABEL), 0);
    assert_eq!(
        (samples.get(ENDPOINT_UP, &READER_LABEL), samples.get(ENDPOINT_CORRECT, &READER_LABEL)),
        (Some(1.0), Some(1.0))
    );
    pause(SECOND * 21);
    let log = daemon.log();
    let lines = log.iter().filter(|line| line.contains("cannot check endpoint"));
    let reason =
        |line: &&String| line.split("reason=").nth(1)?.split(' ').next().map(str::to_owned);
    let mut reasons: Vec<_> = lines.filter_map(|line| reason(&line)).collect();
    // The proxy closes some connections, and resets others.
    assert!(reasons.iter().all(|reason| ["closed", "reset"].contains(&&**reason)), "{reasons:?}");
    let count = reasons.len();
    reasons.sort_unstable();
    reasons.dedup();
    assert!(count > 0 && count == reasons.len(), "one line for each reason: {reasons:?}");
    assert_eq!(daemon.finding(ENDPOINT_WRONG), None);
    writer.redirect_to(a.port);
    daemon.until(TWO_CHECKS, ENDPOINT_CORRECT, &PRIMARY_LABEL, 1.0);
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
    let silent = tests::StubServer::start(|stream| {
        pause(SECOND * 60);
        drop(stream);
    });
    let configuration = with_endpoints(&[&a], &[("primary", silent.url())]);
    let daemon = Daemon::configured(&configuration);
    let stopwatch = Stopwatch::start();
    daemon.until(SECOND * 15, ENDPOINT_UP, &PRIMARY_LABEL, 0.0);
    println!("the check timed out after {:?}", stopwatch.elapsed());
    let mut slowest = 0.0_f64;
    while stopwatch.elapsed() < SECOND * 16 {
        slowest = slowest.max(daemon.value("rolecall_round_duration_seconds").expect("rounds"));
        pause(SECOND / 5);
    }
    println!("slowest round {slowest} s");
    assert!(slowest < 0.5, "{slowest} s");
    assert_eq!(
        (
            daemon.value("rolecall_rounds_missed_total"),
            daemon.samples().count(ENDPOINT_CORRECT, &[])
        ),
        (Some(0.0), 0)
    );
    assert_eq!(endpoint(&daemon, "primary")["down_reason"], "timeout");
    let stopwatch = Stopwatch::start();
    let (code, output, kinds) = diagnose(&configuration);
    println!("diagnose took {:?}, average of two runs", stopwatch.elapsed() / 2);
    assert_eq!((code, kinds), (Some(0), vec![]), "{output}");
    assert!(
        output.contains(&format!(
            "primary endpoint 127.0.0.1:{}: check failed (timeout)",
            silent.port
        )),
        "{output}"
    );
}

#[test]
fn endpoint_check_uses_one_connection_and_leaks_no_secret() {
    let password = "hunter2-of-all";
    let a = Redis::start(&["--requirepass", password]);
    let tap = CommandProxy::start(&a.address());
    let text = format!(
        "{}password = '{password}'\nendpoints = {{ primary = '{}', \
         reader = 'redis://:{password}-not@127.0.0.1:{}' }}\n",
        deployment("orders", &[&a]),
        tap.url(),
        a.port
    );
    let daemon = Daemon::configured(&text);
    daemon.until(SECOND * 5, ENDPOINT_CORRECT, &PRIMARY_LABEL, 1.0);
    let stopwatch = Stopwatch::start();
    let before = tap.traffic();
    pause(SECOND * 60);
    let (after, seconds) = (tap.traffic(), stopwatch.elapsed().as_secs_f64());
    let opened = after.connections - before.connections;
    let info = after.commands["INFO"] - before.commands["INFO"];
    println!("{opened} connections in {seconds:.0} s: {:?}", after.commands);
    assert!((5..=7).contains(&opened), "{opened} connections in {seconds} s");
    // The check sends one INFO. The client library sends another one for each connection.
    assert!(info <= u64::from(opened) * 2, "{info} INFO over {opened} connections");
    assert_eq!(
        after.commands.keys().map(String::as_str).collect::<Vec<_>>(),
        ["AUTH", "CLIENT ID", "INFO"],
        "no other commands"
    );
    eventually(SECOND * 3, "no connection stays open", || (tap.traffic().open == 0).then_some(()));

    assert_eq!(endpoint(&daemon, "reader")["down_reason"], "auth");
    let pages = ["/metrics", "/api/v1/topology", "/api/v1/findings", "/"]
        .map(|path| daemon.get(path, "").text)
        .concat();
    let log = daemon.log().concat();
    assert!(log.contains("cannot check endpoint"), "{log}");
    assert!(!pages.contains("hunter2") && !log.contains("hunter2"));
    // The server counts each wrong password as an error, so failed logins are retried less often.
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
        "[[deployment]]\nname = 'orders'\nnodes = [{{ url = '{url}' }}]\n\
         endpoints = {{ primary = 'redis://{}' }}\n",
        a.address()
    ));
    daemon.until(SECOND * 5, ENDPOINT_CORRECT, &PRIMARY_LABEL, 1.0);
    let noperm = || {
        a.info("errorstat_NOPERM")
            .map(|count| count.trim_start_matches("count=").parse::<f64>().expect("a count"))
    };
    let (before, stopwatch) = (noperm(), Stopwatch::start());
    pause(SECOND * 32);
    println!("NOPERM from {before:?} to {:?} in {:?}", noperm(), stopwatch.elapsed());
    assert!(
        noperm() >= before.map(|before| before + 3.0),
        "each connection begins with a CLIENT ID that is refused"
    );
    assert_eq!(daemon.samples().get("redis_errors_total", &[("err", "NOPERM")]), Some(0.0));
    assert_eq!(daemon.value("redis_error_replies_total"), Some(0.0));
}

#[test]
fn rediss_endpoint_is_checked_over_tls() {
    let certificates = Certificates::create();
    let (a, port) = certificates.serve("server", "no");
    let configuration = with_endpoints(
        &[&a],
        &[("primary", format!("rediss://localhost:{port}")), ("reader", a.url())],
    );
    let daemon = Daemon::configured(&format!(
        "{configuration}tls = {{ ca_file = '{}' }}\n",
        certificates.path("ca.pem").display()
    ));
    for labels in [PRIMARY_LABEL, READER_LABEL] {
        daemon.until(SECOND * 8, ENDPOINT_CORRECT, &labels, 1.0);
    }
    let without_ca = Daemon::configured(&configuration);
    without_ca.until(SECOND * 8, ENDPOINT_UP, &PRIMARY_LABEL, 0.0);
    assert_eq!(endpoint(&without_ca, "primary")["down_reason"], "tls");
    without_ca.until(SECOND * 8, ENDPOINT_CORRECT, &READER_LABEL, 1.0);
}
