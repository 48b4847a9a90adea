//! Causes of the values of `redis_down_reason`, with bounds for time and memory. `dns`, `refused`,
//! `timeout`, `auth` and `maxclients` are tested in `down.rs`, `tls` in `tls.rs`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tests::{
    ConfigFile, Daemon, Process, Proxy, Redis, SECOND, Samples, Stopwatch, StubServer, eventually,
    pause, serve_until_info,
};

/// Starts a daemon on a node, and waits until the node is down for this reason.
fn check(url: &str, reason: &str, limit: Duration) -> Daemon {
    let daemon = Daemon::start(&[url]);
    daemon.until(limit, "redis_down_reason", &[("reason", reason)], 1.0);
    assert!(daemon.samples().get("redis_poll_failures_total", &[("reason", reason)]) >= Some(1.0));
    assert!(daemon.value("process_resident_memory_bytes") < Some(100e6), "memory is bounded");
    daemon
}

#[test]
fn connection_reset_is_reason_reset() {
    // Closing a socket with unread data resets the connection.
    let peer = StubServer::start(|stream| {
        pause(SECOND / 10);
        drop(stream);
    });
    check(&peer.url(), "reset", SECOND * 5);
}

#[test]
fn orderly_close_is_reason_closed() {
    let peer = StubServer::start(|stream| {
        // The peer may have closed the connection already.
        let _ = stream.shutdown(Shutdown::Write);
        pause(SECOND);
    });
    check(&peer.url(), "closed", SECOND * 5);
}

#[test]
fn invalid_reply_is_reason_protocol() {
    let peer = StubServer::start(|stream| {
        serve_until_info(stream, |stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    check(&peer.url(), "protocol", SECOND * 5);
    // A valid reply that is no reply to INFO.
    let peer = StubServer::start(|stream| {
        serve_until_info(stream, |stream| stream.write_all(b"$5\r\nhello\r\n"));
    });
    check(&peer.url(), "protocol", SECOND * 5);
}

/// Sends a bulk reply that never ends.
fn send_endless_reply(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"$99999999999\r\n")?;
    loop {
        stream.write_all(&[b'x'; 8192])?;
    }
}

#[test]
fn endless_reply_is_reason_toolarge() {
    let peer = StubServer::start(move |stream| serve_until_info(stream, send_endless_reply));
    let daemon = check(&peer.url(), "toolarge", SECOND * 8);
    // Memory stays bounded over many attempts.
    for _ in 0..50 {
        pause(SECOND / 10);
        assert!(daemon.value("process_resident_memory_bytes") < Some(100e6), "memory is bounded");
    }
    // The reply can also be endless while connecting.
    let peer = StubServer::start(move |mut stream| drop(send_endless_reply(&mut stream)));
    check(&peer.url(), "toolarge", SECOND * 8);
}

#[test]
fn endless_sentinel_message_ends_the_subscription() {
    let subscribed = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&subscribed);
    let peer = StubServer::start(move |mut stream| {
        let mut request = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut request) {
            let text = String::from_utf8_lossy(&request[..length]).to_uppercase();
            let result = match () {
                () if text.contains("PSUBSCRIBE") => {
                    count.fetch_add(1, Ordering::Relaxed);
                    let confirmation = |pattern, number| {
                        format!("*3\r\n$10\r\npsubscribe\r\n$2\r\n{pattern}\r\n:{number}\r\n")
                    };
                    let endless_message = "*4\r\n$8\r\npmessage\r\n$2\r\n+*\r\n$6\r\n+sdown\r\n";
                    let message =
                        [&confirmation("+*", 1), &confirmation("-*", 2), endless_message].concat();
                    // The subscription is established before the endless part.
                    stream.write_all(message.as_bytes()).and_then(|()| {
                        pause(SECOND * 2);
                        send_endless_reply(&mut stream)
                    })
                }
                () if text.contains("CLIENT") => stream.write_all(b":1\r\n"),
                () if text.contains("SERVER") => {
                    stream.write_all(b"$21\r\nredis_version:7.0.0\r\n\r\n")
                }
                () => stream.write_all(b"-ERR unknown command\r\n"),
            };
            if result.is_err() {
                return;
            }
        }
    });
    let daemon = Daemon::start(&[&format!("sentinel://127.0.0.1:{}/mymaster", peer.port)]);
    let stopwatch = Stopwatch::start();
    while stopwatch.elapsed() < SECOND * 15 {
        pause(SECOND / 10);
        assert!(daemon.value("process_resident_memory_bytes") < Some(100e6), "memory is bounded");
    }
    assert!(subscribed.load(Ordering::Relaxed) >= 2, "the subscription is ended and tried again");
}

#[test]
fn forbidden_info_is_reason_noperm() {
    let server = Redis::start(&["--user", "rolecall", "on", ">secret", "-@all", "+ping"]);
    let daemon =
        check(&format!("redis://rolecall:secret@{}", server.address()), "noperm", SECOND * 5);
    let refused = || {
        server
            .info("errorstat_NOPERM")
            .map(|count| count.trim_start_matches("count=").parse::<u64>().expect("a count"))
    };
    let before = refused();
    pause(SECOND * 5);
    let after = refused();
    // Five rounds pass, but the delay between attempts grows. Each attempt is refused once.
    assert!(after <= before.map(|before| before + 4), "{before:?} {after:?}");
    drop(daemon);
}

#[test]
fn unknown_command_is_reason_unsupported() {
    let server = Redis::start(&["--rename-command", "INFO", ""]);
    check(&server.url(), "unsupported", SECOND * 5);
    // A server without AUTH quotes the arguments in its error.
    let server = Redis::start(&["--rename-command", "AUTH", ""]);
    let daemon =
        check(&format!("redis://rolecall:s3cret@{}", server.address()), "unsupported", SECOND * 5);
    let page =
        daemon.get(&format!("/deployment/default/node/{}", server.address()), "text/html").text;
    let log = daemon.log().join("\n");
    for text in [page, log] {
        assert!(text.contains("unknown command") && !text.contains("s3cret"), "{text}");
    }
}

#[test]
fn endless_script_is_reason_busy() {
    let server = Redis::start(&["--busy-reply-threshold", "100"]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    let script = Process::start(Command::new("redis-cli").args([
        "-p",
        &server.port.to_string(),
        "EVAL",
        "while true do end",
        "0",
    ]));
    daemon.until(SECOND * 5, "redis_writes_refused", &[("reason", "busy")], 1.0);
    assert_eq!(daemon.value("redis_up"), Some(1.0), "a script that runs for a second is no outage");
    daemon.until(SECOND * 6, "redis_down_reason", &[("reason", "busy")], 1.0);
    // The finding is that writes are blocked, not that there is no primary.
    assert_eq!(daemon.value("redis_deployment_writable"), Some(0.0));
    assert!(
        daemon.findings().iter().any(|(kind, _)| kind == "RedisWritesBlocked"),
        "{:?}",
        daemon.findings()
    );
    // While the server refuses commands, only one INFO per round is sent.
    let counters = |daemon: &Daemon| {
        let samples = daemon.samples();
        let commands: f64 = ["INFO", "CONFIG", "SLOWLOG", "CLIENT"]
            .iter()
            .filter_map(|name| samples.get("rolecall_commands_total", &[("command", name)]))
            .sum();
        (commands, samples.get("redis_polls_total", &[]).expect("polls"))
    };
    let before = counters(&daemon);
    pause(SECOND * 12);
    let after = counters(&daemon);
    assert!(after.0 - before.0 <= after.1 - before.1 + 1.0, "{before:?} {after:?}");
    server.cli(&["SCRIPT", "KILL"]);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    let errors = daemon.samples().get("redis_errors_total", &[("err", "BUSY")]);
    assert!(
        errors.is_none_or(|errors| errors < 1.0),
        "only Rolecall received BUSY, which is not counted: {errors:?}"
    );
    drop(script);
}

#[test]
fn foreign_server_is_reason_identity() {
    let (known, other) = (Redis::start(&[]), Redis::start(&[]));
    // The replica has the replication history of the known node, so it is not a foreign server.
    let related = known.replica();
    pause(SECOND * 4);
    let proxy = Proxy::start(known.port);
    // The only node of a deployment may move to any server.
    let peer = Redis::start(&[]);
    let node = format!("127.0.0.1:{}", proxy.peer.port);
    let daemon = Daemon::serve(&[&proxy.peer.url(), &peer.url()]);
    let up = [("node", node.as_str())];
    daemon.until(SECOND * 5, "redis_up", &up, 1.0);
    proxy.redirect_to(other.port);
    let reason = [up[0], ("reason", "identity")];
    daemon.until(SECOND * 8, "redis_down_reason", &reason, 1.0);
    proxy.redirect_to(related.port);
    daemon.until(SECOND * 5, "redis_role", &[up[0], ("role", "replica")], 1.0);
    assert_eq!(daemon.samples().get("redis_node_replacements_total", &up), Some(1.0));
}

#[test]
fn missing_route_is_reason_unreachable() {
    let namespace = Namespace::add();
    let mut command = namespace.command(&Daemon::binary().display().to_string());
    command.args(["serve", "--web.listen-address", "127.0.0.1:9121", "redis://10.99.0.1:6379"]);
    let _daemon = Process::start(&mut command);
    eventually(SECOND * 10, "the reason is unreachable", || {
        let output = namespace
            .command("curl")
            .args(["-s", "http://127.0.0.1:9121/metrics"])
            .output()
            .expect("curl");
        String::from_utf8_lossy(&output.stdout)
            .contains("reason=\"unreachable\"} 1\n")
            .then_some(())
    });
}

#[test]
fn exhausted_file_descriptors_are_reason_local() {
    let server = Redis::start(&[]);
    let nodes: Vec<_> =
        (0..60).map(|node| format!("{{ url = '{}', name = 'n{node}' }}", server.url())).collect();
    let file =
        ConfigFile::new(&format!("[[deployment]]\nname = 'a'\nnodes = [{}]\n", nodes.join(",")));
    let binary = Daemon::binary().display().to_string();
    let script = "ulimit -n 100; exec \"$0\" \"$@\"";
    let daemon = Daemon::run(
        Command::new("sh").args(["-c", script, &binary]),
        &["--config.file", &file.path()],
    );
    eventually(SECOND * 10, "some nodes are up and the others have the reason local", || {
        let samples = daemon.samples();
        let (up, local) = (
            samples.get("redis_deployment_nodes", &[("state", "answering")])?,
            samples.count("redis_down_reason", &[("reason", "local")]),
        );
        (up >= 10.0 && local >= 10).then_some(())
    });
    // A node that Rolecall cannot read for this reason does not look dead.
    let samples = daemon.samples();
    let known = samples.count("redis_up", &[]);
    assert!(known <= 50 && samples.sum("redis_up", &[]) > known as f64 - 0.5, "{known} nodes");
    assert!(samples.sum("redis_node_state", &[("state", "down")]) < 0.5);
    assert!(
        daemon
            .log()
            .iter()
            .any(|line| line.contains("descriptors are open") && line.contains("raise the limit")),
        "{:?}",
        daemon.log()
    );
}

#[test]
fn no_free_file_descriptor_is_reason_local() {
    let server = Redis::start(&[]);
    let address = server.address();
    let (_, port) = address.rsplit_once(':').expect("a port");
    // Without a descriptor, the lookup of a name fails too.
    let file = ConfigFile::new(&format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = 'redis://localhost:{port}' }}]\n"
    ));
    let binary = Daemon::binary().display().to_string();
    let script = "ulimit -n 150; exec \"$0\" \"$@\"";
    let daemon = Daemon::run(
        Command::new("sh").args(["-c", script, &binary]),
        &["--config.file", &file.path()],
    );
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    // A connection that stays open while no other one can be accepted.
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(SECOND * 5)).build().into();
    let scrape = || {
        let mut response =
            agent.get(format!("http://127.0.0.1:{}/metrics", daemon.port)).call().expect("200");
        Samples::parse(response.body_mut().read_to_string().expect("a text"))
    };
    scrape();
    let connect = |_| TcpStream::connect(("127.0.0.1", daemon.port)).expect("a connection");
    let idle: Vec<_> = (0..200).map(connect).collect();
    let folder = format!("/proc/{}/fd", daemon.id());
    eventually(SECOND * 5, "no descriptor is free", || {
        (std::fs::read_dir(&folder).expect("descriptors").count() >= 150).then_some(())
    });
    server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually(SECOND * 10, "the reason is local", || {
        let samples = scrape();
        assert_ne!(samples.get("redis_up", &[]), Some(0.0));
        assert_eq!(samples.get("redis_node_state", &[("state", "down")]), Some(0.0));
        samples.get("redis_down_reason", &[("reason", "local")])
    });
    for _ in 0..30 {
        let samples = scrape();
        assert_eq!(samples.get("redis_up", &[]), None);
        assert_eq!(samples.get("redis_node_state", &[("state", "unknown")]), Some(1.0));
        assert_eq!(samples.count("redis_down_reason", &[]), 1);
        pause(SECOND / 10);
    }
    let findings = daemon_findings(&agent, &daemon);
    assert_eq!(findings, ["RolecallCannotRead"]);
    drop(idle);
    let ((), took) = eventually(SECOND * 25, "the node is read again", || {
        (scrape().get("redis_up", &[]) == Some(1.0)).then_some(())
    });
    println!("read again {took:?} after descriptors became free");
}

/// Returns the kinds of the findings.
fn daemon_findings(agent: &ureq::Agent, daemon: &Daemon) -> Vec<String> {
    let url = format!("http://127.0.0.1:{}/api/v1/findings", daemon.port);
    let text = agent.get(url).call().expect("200").body_mut().read_to_string().expect("a text");
    let document: serde_json::Value = serde_json::from_str(&text).expect("a document");
    let findings = document["findings"].as_array().expect("findings").iter();
    findings.map(|finding| finding["kind"].as_str().expect("a kind").to_owned()).collect()
}

/// A network namespace with only a loopback interface. It is removed on drop.
struct Namespace(String);

impl Namespace {
    /// Adds the namespace.
    fn add() -> Self {
        let namespace = Namespace(format!("rolecall-{}", std::process::id()));
        let status = Command::new("ip").args(["netns", "add", &namespace.0]).status().expect("ip");
        assert!(status.success(), "a network namespace needs root");
        let status =
            namespace.command("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
        assert!(status.success());
        namespace
    }

    /// Returns a command that runs in the namespace.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let status = Command::new("ip").args(["netns", "delete", &self.0]).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}
