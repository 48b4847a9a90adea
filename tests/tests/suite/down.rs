//! Servers that are gone, and servers that reject the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::{
    Daemon, Diagnosis, Redis, SECOND, SentinelDeployment, SentinelSetup, Signal, StubServer,
    deployment, pause,
};

#[test]
fn killed_server_is_down_at_once_and_up_within_the_backoff() {
    let (mut killed, other) = (Redis::start(&[]), Redis::start(&[]));
    let daemon = Daemon::watch(&[&killed, &other]);
    let node = killed.address();
    let labels = [("node", node.as_str())];
    daemon.until(SECOND * 3, "redis_up", &labels, 1.0);

    killed.kill();
    let down = daemon.until(SECOND * 3, "redis_up", &labels, 0.0);
    assert!(down <= SECOND * 2, "down after {down:?}");
    assert_eq!(
        daemon.samples().get("redis_down_reason", &[labels[0], ("reason", "refused")]),
        Some(1.0)
    );
    pause(SECOND * 5);
    assert_eq!(daemon.samples().get("redis_up", &[("node", &other.address())]), Some(1.0));

    killed.restart();
    let back = daemon.until(SECOND * 12, "redis_up", &labels, 1.0);
    assert_eq!(daemon.samples().get("redis_restarts_total", &labels), Some(1.0));
    assert_eq!(daemon.samples().get("redis_node_replacements_total", &labels), Some(0.0));
    for event in ["node_unreachable", "node_back", "restarted"] {
        assert_eq!(
            daemon.logged_events(event).len(),
            1,
            "one log line per change: {:?}",
            daemon.log()
        );
    }
    assert!(daemon.log().len() < 12, "no log line per round: {:?}", daemon.log());
    println!("down after {down:?}, back {back:?} after the restart");
}

/// Server that closes each connection and counts them.
struct DeadServer {
    stub: StubServer,
    connections: Arc<AtomicUsize>,
}

impl DeadServer {
    fn start() -> Self {
        let connections = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&connections);
        let stub = StubServer::start(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        DeadServer { stub, connections }
    }

    /// Returns the number of attempts so far. After each attempt, Rolecall opens a second
    /// connection to find the cause of the failure, and no third one.
    fn attempts(&self) -> usize {
        self.connections.load(Ordering::Relaxed) / 2
    }

    /// Returns a `[[deployment]]` section with a server and this one.
    fn beside(&self, name: &str, server: &Redis) -> String {
        let (listed, dead) = (deployment(name, &[server]), self.stub.url());
        listed.replace(" }]", &format!(" }}, {{ url = '{dead}' }}]"))
    }
}

#[test]
fn return_of_a_lost_primary_is_reported_within_two_seconds() {
    let (mut lost, healthy) = (Redis::start(&[]), Redis::start(&[]));
    let (beside_lost, beside_healthy) = (DeadServer::start(), DeadServer::start());
    let daemon = Daemon::configured(&format!(
        "{}{}",
        beside_lost.beside("orders", &lost),
        beside_healthy.beside("sessions", &healthy)
    ));
    let (orders, address) = (("deployment", "orders"), lost.address());
    daemon.until(SECOND * 5, "redis_up", &[("node", &address)], 1.0);

    lost.kill();
    daemon.until(SECOND * 8, "redis_deployment_no_primary", &[orders], 1.0);
    // By then, the delays between attempts to a node that is not awaited are 10 s to 20 s.
    pause(SECOND * 20);
    let before = [&beside_lost, &beside_healthy].map(DeadServer::attempts);
    pause(SECOND * 10);
    let after = [&beside_lost, &beside_healthy].map(DeadServer::attempts);
    let attempts = [after[0] - before[0], after[1] - before[1]];
    println!("attempts in 10 s: awaited and not awaited {attempts:?}");
    assert!((5..=11).contains(&attempts[0]), "one attempt per second: {attempts:?}");
    assert!(attempts[1] <= 2, "the back-off of other deployments stays: {attempts:?}");

    lost.restart();
    let up = daemon.until(SECOND * 5, "redis_up", &[("node", &address)], 1.0);
    let regained = up + daemon.until(SECOND * 5, "redis_deployment_no_primary", &[orders], 0.0);
    println!("up after {up:?}, primary after {regained:?}");
    // The limit is 2 s. One second is a margin for a busy machine.
    assert!(regained <= SECOND * 3, "up after {up:?}, primary after {regained:?}");

    // The other node of the deployment is no longer awaited.
    pause(SECOND * 30);
    let before = beside_lost.attempts();
    pause(SECOND * 10);
    let attempts = beside_lost.attempts() - before;
    assert!(attempts <= 2, "the back-off grows again: {attempts} attempts in 10 s");
}

#[test]
fn closed_connection_is_not_an_outage() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(SECOND * 3, "redis_up", &[], 1.0);
    let connections = server.rolecall_connections();
    // About every second connection ends before a round uses it. Growing delays between the
    // attempts would make the server miss several rounds in a row.
    for _ in 0..15 {
        server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        pause(SECOND * 13 / 20);
    }
    pause(SECOND);
    assert_ne!(server.rolecall_connections(), connections, "the connection was replaced");
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_up", &[]), Some(1.0));
    assert_eq!(daemon.logged_events("node_unreachable"), Vec::<String>::new());
    assert!(daemon.log().iter().all(|line| !line.contains("level=warn")), "{:?}", daemon.log());
}

/// Several Sentinels that demote the same node each close all of its connections, including one
/// that is just being opened.
#[test]
fn connection_closed_while_opening_is_not_an_outage() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(SECOND * 3, "redis_up", &[], 1.0);
    for _ in 0..8 {
        server
            .cli(&["-r", "60", "-i", "0.001", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        // One or two rounds pass in between. The next round must not be missed too.
        pause(SECOND * 17 / 10);
    }
    pause(SECOND);
    assert_eq!(daemon.samples().get("redis_up", &[]), Some(1.0));
    assert_eq!(
        daemon.logged_events("node_unreachable"),
        Vec::<String>::new(),
        "{:?}",
        daemon.log()
    );
}

#[test]
fn node_that_never_replied_is_down_and_others_are_up() {
    let server = Redis::start(&[]);
    let daemon = Daemon::serve(&[&server.url(), "redis://127.0.0.1:1", "redis://nosuch.invalid"]);
    daemon.until(SECOND * 3, "redis_up", &[("node", &server.address())], 1.0);
    daemon.until(
        SECOND * 3,
        "redis_down_reason",
        &[("node", "127.0.0.1:1"), ("reason", "refused")],
        1.0,
    );
    daemon.until(
        SECOND * 8,
        "redis_down_reason",
        &[("node", "nosuch.invalid:6379"), ("reason", "dns")],
        1.0,
    );
}

#[test]
fn wrong_credentials_have_their_own_down_reason() {
    let server = Redis::start(&["--requirepass", "correct-horse"]);
    let url = |password: &str| format!("redis://{password}127.0.0.1:{}", server.port);
    for url in [url(""), url(":battery-staple@"), url("nobody:correct-horse@")] {
        let daemon = Daemon::start(&["--log.level", "trace", &url]);
        daemon.until(SECOND * 5, "redis_down_reason", &[("reason", "auth")], 1.0);
        let output = format!(
            "{:?}{}{}",
            daemon.log(),
            daemon.get("/metrics", "").text,
            daemon.get("/", "").text
        );
        assert!(
            !output.contains("battery-staple") && !output.contains("correct-horse"),
            "{output}"
        );
    }
    let daemon = Daemon::serve(&[&url(":correct-horse@")]);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
}

/// Checks what a page, the log and `diagnose` state about the password of a server.
fn check_password_problem(url: &str, address: &str, error: &str, is_missing: bool) {
    let daemon = Daemon::start(&[url]);
    daemon.until(SECOND * 5, "redis_down_reason", &[("reason", "auth")], 1.0);
    let page = daemon.get(&format!("/deployment/default/node/{address}"), "text/html").text;
    for text in [page, daemon.log().join("\n")] {
        assert!(text.contains(error), "{url}: {error}: {text}");
    }
    let diagnosis = Diagnosis::of(&[url]);
    assert_eq!(diagnosis.severity("RolecallCannotRead"), Some("warning"), "{}", diagnosis.text);
    let text = diagnosis.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(text.contains("password: missing"), is_missing, "{text}");
    assert_eq!(text.contains("after a rotation"), !is_missing, "{text}");
}

#[test]
fn a_missing_password_is_not_a_rejected_one() {
    let (missing, rejected, superfluous) = (
        "the server requires a password, and none is configured: NOAUTH",
        "the server rejected the configured user or password: ",
        "a password is configured, and the server requires none: ERR",
    );
    let setup = SentinelSetup {
        sentinels: 1,
        quorum: 1,
        replicas: 0,
        password: Some("node-secret"),
        sentinel_password: Some("sentinel-secret"),
        ..SentinelSetup::default()
    };
    let group = SentinelDeployment::start(&setup);
    for (scheme, server, path) in
        [("redis", &group.nodes[0], ""), ("sentinel", &group.sentinels[0], "/mymaster")]
    {
        let address = server.address();
        let url = |password: &str| format!("{scheme}://{password}{address}{path}");
        check_password_problem(&url(""), &address, missing, true);
        check_password_problem(&url(":old-secret@"), &address, rejected, false);
    }
    // Redis 5.0 uses other words than later versions.
    for version in ["redis-5.0.6", "redis-7.0.15"] {
        let server = Redis::with_version(version, &[]);
        let url = format!("redis://:secret@{}", server.address());
        check_password_problem(&url, &server.address(), superfluous, false);
    }
    let server = Redis::with_version("redis-5.0.6", &["--requirepass", "secret"]);
    let url = format!("redis://:old-secret@{}", server.address());
    check_password_problem(&url, &server.address(), rejected, false);
}

#[test]
fn server_at_its_client_limit_is_down_with_that_reason() {
    let server = Redis::start(&["--maxclients", "1"]);
    let mut subscriber = tests::Process::start(std::process::Command::new("redis-cli").args([
        "-p",
        &server.port.to_string(),
        "SUBSCRIBE",
        "x",
    ]));
    tests::eventually(SECOND * 5, "the only client slot is taken", || {
        subscriber.log().iter().any(|line| line.contains("subscribe")).then_some(())
    });
    let daemon = Daemon::start(&[&server.url()]);
    daemon.until(SECOND * 5, "redis_down_reason", &[("reason", "maxclients")], 1.0);
    subscriber.signal(Signal::Kill);
    subscriber.end(SECOND * 5);
    daemon.until(SECOND * 12, "redis_up", &[], 1.0);
}

#[test]
fn hang_while_connecting_is_a_timeout() {
    let server = Redis::start(&[]);
    server.signal(Signal::Stop);
    let daemon = Daemon::start(&[&server.url()]);
    pause(SECOND * 2);
    assert_eq!(
        daemon.samples().count("redis_up", &[]),
        0,
        "the state is unknown before the first reply or timeout"
    );
    daemon.until(SECOND * 6, "redis_down_reason", &[("reason", "timeout")], 1.0);
}
