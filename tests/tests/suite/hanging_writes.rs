//! Writes that hang on real servers: FAILOVER to a replica that does not follow, and CLIENT PAUSE.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use tests::{Daemon, Redis, SECOND, Signal, deployment, diagnose, eventually, pause};

/// Timeout for changes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

const WRITABLE: &str = "redis_deployment_writable";
const REFUSED: &str = "redis_writes_refused";
const PAUSE_LEFT: &str = "redis_paused_timeout_seconds";
const BLOCKED: &str = "RedisWritesBlocked";
const COMMAND: &str = "RedisTopologyCommand";

/// Starts a daemon that reads the command statistics every second.
fn start_daemon(servers: &[&Redis]) -> Daemon {
    let name = "name = 'a'\n";
    let cadence = format!("{name}cadence = {{ commands = '1s' }}\n");
    let daemon = Daemon::configured(&deployment("a", servers).replacen(name, &cadence, 1));
    daemon.until(LIMIT, WRITABLE, &[], 1.0);
    daemon
}

/// A write that was sent and has no reply yet.
struct PendingWrite(BufReader<TcpStream>);

impl PendingWrite {
    /// Sends a write, and checks that there is no reply within a second.
    fn send(server: &Redis) -> Self {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        stream.set_read_timeout(Some(SECOND)).expect("a timeout");
        stream.write_all(b"INCR hanging\r\n").expect("a request");
        let mut write = PendingWrite(BufReader::new(stream));
        let error = write.reply().expect_err("the write has no reply");
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        write
    }

    fn reply(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Waits for the reply: the server executes the write once the pause is over.
    fn until_executed(mut self) {
        eventually(LIMIT, "the write is executed", || {
            self.reply().ok().filter(|reply| reply.starts_with(':'))
        });
    }
}

fn paused(daemon: &Daemon, node: &Redis) -> Option<f64> {
    daemon.samples().get(REFUSED, &[("node", &node.address()), ("reason", "paused")])
}

/// Makes a primary wait for its frozen replica.
fn fail_over_to_frozen(primary: &Redis, replica: &Redis) {
    eventually(LIMIT, "the replica is online", || {
        primary.info("slave0").filter(|line| line.contains("state=online"))
    });
    replica.signal(Signal::Stop);
    assert_eq!(primary.cli(&["SET", "key", "1"]).trim(), "OK");
    let port = replica.port.to_string();
    assert_eq!(primary.cli(&["FAILOVER", "TO", "127.0.0.1", &port]).trim(), "OK");
}

#[test]
fn failover_to_a_frozen_replica_blocks_all_writes() {
    for version in ["redis-6.2.14", "redis-7.0.15", "redis-8.2.3", "valkey-9.1.2"] {
        let primary = Redis::with_version(version, &[]);
        let replica = primary.replica();
        replica.until_synchronised();
        let daemon = start_daemon(&[&primary, &replica]);
        let node = primary.address();
        fail_over_to_frozen(&primary, &replica);
        assert_eq!(primary.info("master_failover_state").as_deref(), Some("waiting-for-sync"));
        daemon.until(LIMIT, REFUSED, &[("node", &node), ("reason", "paused")], 1.0);
        let write = PendingWrite::send(&primary);
        daemon.until_found(LIMIT, BLOCKED);
        let samples = daemon.samples();
        assert_eq!(samples.get(WRITABLE, &[]), Some(0.0), "{version}");
        // A pause without a time limit: Valkey reports 2^63 - 1 minus the Unix time in ms.
        assert_eq!(samples.get(PAUSE_LEFT, &[("node", &node)]), None, "{version}");
        let finding = daemon.finding(BLOCKED).expect("a finding");
        assert_eq!(finding["severity"], "critical", "{version}");
        assert_eq!(finding["evidence"]["reasons"], json!(["paused"]), "{version}");
        assert_eq!(finding["evidence"]["paused_by"], "failover", "{version}");
        let (code, text, findings) = diagnose(&[&primary, &replica]);
        assert!(findings.contains(&(BLOCKED.to_owned(), None)), "{version}: {text}");
        assert_eq!(code, Some(1), "{version}: {text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains("failover that waits for a replica (failover)"),
            "{version}: {text}"
        );

        assert_eq!(primary.cli(&["FAILOVER", "ABORT"]).trim(), "OK");
        write.until_executed();
        daemon.until(LIMIT, WRITABLE, &[], 1.0);
        assert_eq!(daemon.finding(BLOCKED), None, "{version}");
        replica.signal(Signal::Cont);
        daemon.until_healthy(LIMIT * 2, &[&primary, &replica]);
        assert_eq!(daemon.count("primary_changed"), 0, "{version}");
    }
}

#[test]
fn a_failover_that_succeeds_never_blocks_writes() {
    for version in ["redis-7.0.15", "valkey-9.1.2"] {
        let primary = Redis::with_version(version, &[]);
        let replica = primary.replica();
        replica.until_synchronised();
        let daemon = start_daemon(&[&primary, &replica]);
        eventually(LIMIT, "the failover starts", || {
            (primary.cli(&["FAILOVER"]).trim() == "OK").then_some(())
        });
        daemon.until_event(LIMIT, "primary_changed");
        for _ in 0..10 {
            let samples = daemon.samples();
            let refused = samples.sum(REFUSED, &[("reason", "paused")]);
            assert!(refused < 1.0, "{version}: {refused}");
            assert_eq!(daemon.finding(BLOCKED), None, "{version}");
            pause(SECOND);
        }
        assert_eq!(daemon.count("clients_paused"), 0, "{version}");
    }
}

#[test]
fn valkey_reports_clients_that_are_paused() {
    let primary = Redis::with_version("valkey-9.1.2", &[]);
    let daemon = start_daemon(&[&primary]);
    let node = primary.address();
    assert_eq!(daemon.samples().get(PAUSE_LEFT, &[("node", &node)]), Some(0.0));
    assert_eq!(primary.cli(&["CLIENT", "PAUSE", "600000", "WRITE"]).trim(), "OK");
    let write = PendingWrite::send(&primary);
    daemon.until(LIMIT, REFUSED, &[("node", &node), ("reason", "paused")], 1.0);
    daemon.until_exact_findings(LIMIT, &[BLOCKED]);
    let finding = daemon.finding(BLOCKED).expect("a finding");
    assert_eq!(finding["severity"], "critical");
    assert_eq!(finding["evidence"]["paused_by"], "client_pause");
    let left = daemon.samples().get(PAUSE_LEFT, &[("node", &node)]);
    assert!(left.is_some_and(|left| (500.0..600.0).contains(&left)), "{left:?}");
    assert_eq!(daemon.value(WRITABLE), Some(0.0));
    assert_eq!(daemon.until_event(LIMIT, "clients_paused")["node"], node);
    assert_eq!(primary.cli(&["CLIENT", "UNPAUSE"]).trim(), "OK");
    write.until_executed();
    daemon.until(LIMIT, WRITABLE, &[], 1.0);
    daemon.until_healthy(LIMIT, &[&primary]);
    assert_eq!((paused(&daemon, &primary), daemon.count("clients_paused")), (Some(0.0), 1));
}

#[test]
fn client_pause_on_redis_is_an_event_with_a_finding() {
    for version in ["redis-7.0.15", "redis-8.2.3"] {
        let primary = Redis::with_version(version, &[]);
        let daemon = start_daemon(&[&primary]);
        daemon.until(LIMIT, REFUSED, &[("reason", "paused")], 0.0);
        assert_eq!(primary.cli(&["CLIENT", "PAUSE", "600000", "WRITE"]).trim(), "OK");
        let write = PendingWrite::send(&primary);
        assert_eq!(daemon.until_event(LIMIT, "clients_paused")["node"], primary.address());
        daemon.until_exact_findings(LIMIT, &[COMMAND]);
        let finding = daemon.finding(COMMAND).expect("a finding");
        assert_eq!(finding["severity"], "info", "{version}");
        assert_eq!(finding["node"], primary.address(), "{version}");
        assert_eq!(finding["evidence"]["command"], "client_pause", "{version}");
        eventually(LIMIT, "the finding has the blocked client", || {
            (daemon.finding(COMMAND)?["evidence"]["blocked_clients"] == 1).then_some(())
        });
        // It is not known if the pause lasts. In any case this is not "writable".
        for _ in 0..8 {
            assert_eq!(daemon.value(WRITABLE), None, "{version}");
            assert_eq!(paused(&daemon, &primary), None, "{version}");
            pause(SECOND);
        }
        let samples = daemon.samples();
        let counted = samples.get("redis_topology_commands_total", &[("command", "client_pause")]);
        assert_eq!(counted, Some(1.0), "{version}");
        assert_eq!(daemon.count("reconfigured"), 0, "{version}");

        assert_eq!(primary.cli(&["CLIENT", "UNPAUSE"]).trim(), "OK");
        write.until_executed();
        daemon.until(LIMIT, WRITABLE, &[], 1.0);
        daemon.until_healthy(LIMIT, &[&primary]);

        // A pause that ends by itself is over with the next change.
        assert_eq!(primary.cli(&["CLIENT", "PAUSE", "2000", "WRITE"]).trim(), "OK");
        daemon.until_exact_findings(LIMIT, &[COMMAND]);
        pause(SECOND * 5);
        assert_eq!(daemon.value(WRITABLE), None, "{version}: no change shows the end yet");
        assert_eq!(primary.cli(&["SET", "key", "2"]).trim(), "OK");
        daemon.until(LIMIT, WRITABLE, &[], 1.0);
        daemon.until_healthy(LIMIT, &[&primary]);
        assert_eq!(daemon.count("clients_paused"), 2, "{version}");
    }
}

#[test]
fn client_pause_is_invisible_before_redis_7_0() {
    for version in ["redis-5.0.6", "redis-6.2.14"] {
        let primary = Redis::with_version(version, &[]);
        let daemon = start_daemon(&[&primary]);
        daemon.until(LIMIT, "redis_up", &[], 1.0);
        // Before 6.2 a pause stops all commands, so a short one.
        assert_eq!(primary.cli(&["CLIENT", "PAUSE", "1500"]).trim(), "OK");
        pause(SECOND * 2);
        daemon.until_rounds(5);
        daemon.until(LIMIT, WRITABLE, &[], 1.0);
        assert_eq!(paused(&daemon, &primary), None, "{version}: absent, not 0");
        assert_eq!(daemon.count("clients_paused"), 0, "{version}");
        daemon.until_healthy(LIMIT, &[&primary]);
    }
}
