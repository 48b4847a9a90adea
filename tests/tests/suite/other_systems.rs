//! Servers that are neither Redis nor Valkey, and proxies. The replies of the fake servers are
//! built from the public sources and documentation of the systems, which the comments name.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tests::{
    Daemon, FakeServer, Proxy, Redis, RoundRobinProxy, SECOND, Stopwatch, StubServer, eventually,
    pause, redis_reply,
};

/// KeyDB, `src/server.cpp`: INFO of a node with `active-replica yes` whose link is down.
const KEYDB: &str = "# Server\r\nredis_version:6.3.4\r\nrun_id:5a0c2b\r\nuptime_in_seconds:900\r\n\
                     # Memory\r\nused_memory:1000\r\n# Replication\r\nrole:active-replica\r\n\
                     master_global_link_status:down\r\nmaster_host:10.0.0.9\r\n\
                     master_port:6379\r\nmaster_link_status:down\r\n\
                     master_link_down_since_seconds:400\r\nconnected_slaves:0\r\n";

/// Upstash documentation: INFO has neither `role` nor `run_id`.
const UPSTASH: &str =
    "# Server\r\nupstash_version:1.10.5\r\nredis_version:6.2.6\r\n# Memory\r\nused_memory:7\r\n";

/// Kvrocks, `src/server/server.cc`: INFO while the server loads its data.
const KVROCKS: &str = "# Server\r\nkvrocks_version:2.8.0\r\nredis_version:4.0.0\r\n\
                       # Persistence\r\nloading:1\r\n";

/// Returns an error reply.
fn error_reply(text: &str) -> Vec<u8> {
    format!("-{text}\r\n").into_bytes()
}

#[test]
fn active_replica_is_read_and_its_lost_link_is_found() {
    let server = FakeServer::with_info(|| KEYDB.to_owned());
    let daemon = Daemon::serve(&[&server.stub.url()]);
    daemon.until(SECOND * 5, "redis_role_unknown", &[], 1.0);
    daemon.until(SECOND * 5, "redis_link_state", &[("state", "lost")], 1.0);
    daemon.until_exact_findings(SECOND * 5, &["RedisReplicaLinkDown", "RolecallUnknownRole"]);
    let finding = daemon.finding("RolecallUnknownRole").expect("the finding");
    assert_eq!(finding["evidence"]["role"], "active-replica");
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_commands_total", &[("cmd", "get")]), Some(7.0));
    assert_eq!(samples.count("redis_role", &[]), 0);
    assert_eq!(samples.get("redis_deployment_no_primary", &[]), Some(0.0));
    // The statistics are read again and again.
    let read = || server.received("INFO COMMANDSTATS");
    let before = read();
    eventually(SECOND * 25, "two more readings", || (read() >= before + 2).then_some(()));
    assert!(server.received("CONFIG GET") >= 30 && server.received("SLOWLOG LEN") >= 1);
    let page = daemon.get(&format!("/deployment/default/node/127.0.0.1:{}", server.stub.port), "");
    assert!(page.text.contains("unknown role active-replica"), "{}", page.text);
}

#[test]
fn reply_to_info_needs_neither_role_nor_run_id() {
    for info in [UPSTASH, KVROCKS] {
        let server = FakeServer::with_info(move || info.to_owned());
        let daemon = Daemon::serve(&[&server.stub.url()]);
        daemon.until(SECOND * 5, "redis_up", &[], 1.0);
        daemon.until(SECOND * 5, "redis_commands_total", &[("cmd", "get")], 7.0);
        assert_eq!(daemon.value("redis_deployment_no_primary"), Some(0.0), "{info}");
    }
}

/// Returns how often a refused command is sent in some seconds.
fn sent_although_refused(error: &'static str) -> usize {
    let info = "redis_version:7.0.0\r\nrun_id:a\r\nuptime_in_seconds:9000\r\nrole:master\r\n";
    let server = FakeServer::start(move |command| {
        let is_refused = command.starts_with("CONFIG") || command == "INFO COMMANDSTATS";
        Some(if is_refused { error_reply(error) } else { redis_reply(command, info) })
    });
    let text = format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = '{}' }}]\n\
         cadence = {{ commands = '1s', config = '1s' }}\n",
        server.stub.url()
    );
    let daemon = Daemon::configured(&text);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    eventually(SECOND * 10, "two attempts", || (server.received("CONFIG") >= 2).then_some(()));
    daemon.until_rounds(8);
    assert_eq!(daemon.samples().count("redis_commands_total", &[]), 0);
    assert_eq!(daemon.samples().count("redis_topology_commands_total", &[]), 0);
    assert_eq!(server.received("INFO COMMANDSTATS"), 2, "{error}");
    server.received("CONFIG")
}

#[test]
fn command_with_two_errors_in_a_row_is_not_sent_again() {
    // Tair documentation; Kvrocks, `src/server/redis_connection.cc`; Dragonfly,
    // `src/server/main_service.cc`.
    for error in [
        "ERR command 'CONFIG' not support for normal user",
        "ERR admin permission required to perform the command",
        "ERR Cannot execute restricted command (admin only)",
    ] {
        assert_eq!(sent_although_refused(error), 2, "{error}");
    }
}

#[test]
fn proxy_over_three_servers_is_ambiguous() {
    let servers = [Redis::start(&[]), Redis::start(&[]), Redis::start(&[])];
    servers[1].replicate_from(&servers[0]);
    servers[1].until_synchronised();
    servers[2].replicate_from(&servers[0]);
    servers[2].until_synchronised();
    // Servers that started between two polls would be restarts.
    pause(SECOND * 4);
    let proxy = RoundRobinProxy::start(&servers.each_ref().map(|server| server.port));
    let daemon = Daemon::serve(&[&proxy.peer.url()]);
    let took = daemon.until(SECOND * 20, "rolecall_node_identities", &[], 3.0);
    println!("ambiguous after {took:?}");
    daemon.until_exact_findings(SECOND * 5, &["RolecallNodeAmbiguous"]);
    daemon.until_rounds(40);
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_up", &[]), Some(1.0));
    assert_eq!(samples.get("rolecall_node_identities", &[]), Some(3.0));
    assert_eq!(samples.count("redis_instance_info", &[]), 1, "the version is that of all servers");
    assert_eq!(samples.count("redis_commands_processed_total", &[]), 0, "three counters");
    assert_eq!(samples.get("redis_restarts_total", &[]), Some(0.0));
    // A server that replies twice before the others are known takes the place of the first.
    let replacements = samples.get("redis_node_replacements_total", &[]);
    assert!(replacements <= Some(1.0), "{replacements:?}");
    for event in ["primary_lost", "restarted"] {
        assert_eq!(daemon.count(event), 0, "{event}");
    }
    let config = samples.get("rolecall_commands_total", &[("command", "CONFIG")]).unwrap_or(0.0);
    println!("{config} CONFIG GET");
    assert!(config <= 62.0, "{config} CONFIG GET: not more than two readings");
    let page = daemon.get(&format!("/deployment/default/node/127.0.0.1:{}", proxy.peer.port), "");
    assert!(page.text.contains("3 servers took turns recently"), "{}", page.text);
}

#[test]
fn address_that_moves_once_has_no_gap_and_no_finding() {
    let (known, other) = (Redis::start(&[]), Redis::start(&[]));
    pause(SECOND * 4);
    let proxy = Proxy::start(known.port);
    let daemon = Daemon::serve(&[&proxy.peer.url()]);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    let stopwatch = Stopwatch::start();
    proxy.redirect_to(other.port);
    eventually(SECOND * 4, "the other server is read", || {
        let samples = daemon.samples();
        assert_ne!(samples.get("redis_up", &[]), Some(0.0));
        assert!(samples.count("redis_memory_used_bytes", &[]) == 1, "no gap in the series");
        (samples.get("redis_node_replacements_total", &[]) == Some(1.0)).then_some(())
    });
    println!("the other server is read after {:?}", stopwatch.elapsed());
    daemon.until_rounds(3);
    assert_eq!(daemon.count("primary_lost"), 0);
    daemon.until_no_findings(SECOND * 5);
}

/// Checks that a proxy without INFO is reported as one.
fn check_proxy_without_info(server: &FakeServer) {
    let daemon = Daemon::start(&[&server.stub.url()]);
    daemon.until(SECOND * 20, "redis_down_reason", &[("reason", "unsupported")], 1.0);
    daemon.until_exact_findings(SECOND * 10, &["RolecallCannotRead"]);
    assert_eq!(daemon.count("primary_lost"), 0);
    let page = daemon.get(&format!("/deployment/default/node/127.0.0.1:{}", server.stub.port), "");
    assert!(page.text.contains("no INFO: a proxy?"), "{}", page.text);
}

#[test]
fn proxy_that_does_not_know_info_is_reported() {
    // Envoy, `command_splitter_impl.cc`, before and since 1.21.
    for error in
        ["unsupported command '{}'", "ERR unknown command '{}', with args beginning with: "]
    {
        let server = FakeServer::start(move |command| {
            let name = command.split(' ').next().unwrap_or_default().to_lowercase();
            Some(error_reply(&error.replace("{}", &name)))
        });
        check_proxy_without_info(&server);
    }
}

#[test]
fn proxy_that_closes_connections_on_info_is_reported() {
    // Twemproxy, `src/proto/nc_redis.c`: a command that it does not support is a parse error.
    let server = FakeServer::start(|_| None);
    check_proxy_without_info(&server);
}

#[test]
fn proxy_that_closes_connections_receives_no_tls() {
    let connections: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let kept = Arc::clone(&connections);
    let proxy = StubServer::start(move |mut stream| {
        let (mut received, mut buffer) = (Vec::new(), [0; 1024]);
        // The first complete command ends the connection.
        while !received.windows(4).any(|word| word == b"INFO") {
            match stream.read(&mut buffer) {
                Ok(length @ 1..) => received.extend_from_slice(&buffer[..length]),
                _ => break,
            }
        }
        kept.lock().expect("a thread panicked").push(received);
    });
    let daemon = Daemon::start(&[&proxy.url()]);
    daemon.until(SECOND * 20, "redis_down_reason", &[("reason", "unsupported")], 1.0);
    pause(SECOND * 5);
    let connections = connections.lock().expect("a thread panicked");
    let (attempts, probes): (Vec<_>, Vec<_>) =
        connections.iter().partition(|received| received.ends_with(b"INFO\r\n$6\r\nserver\r\n"));
    assert!(attempts.len() >= 3, "{connections:?}");
    // One probe for each attempt. It contains the beginning of a command, and no TLS.
    assert!(probes.len() <= attempts.len(), "{connections:?}");
    assert!(
        probes.iter().all(|received| received.as_slice() == b"*1\r\n$4\r\n"),
        "{connections:?}"
    );
}

#[test]
fn user_name_with_a_server_before_6_0_is_reason_auth() {
    // Redis 5.0, `src/server.c`: AUTH takes one argument.
    let server = FakeServer::start(|command| {
        let error = "ERR wrong number of arguments for 'auth' command";
        let is_auth = command.starts_with("AUTH");
        Some(error_reply(if is_auth { error } else { "NOAUTH Authentication required." }))
    });
    let url = server.stub.url().replace("redis://", "redis://rolecall:secret@");
    let daemon = Daemon::start(&[&url]);
    daemon.until(SECOND * 10, "redis_down_reason", &[("reason", "auth")], 1.0);
}

#[test]
fn restart_without_run_id_is_recognised() {
    // Dragonfly, `src/server/server_family.cc`: INFO has no `run_id`.
    static UPTIME: AtomicU64 = AtomicU64::new(5000);
    let server = FakeServer::with_info(|| {
        let uptime = UPTIME.fetch_add(1, Ordering::Relaxed);
        format!(
            "dragonfly_version:df-1.14.0\r\nredis_version:6.2.11\r\nprocess_id:1\r\n\
             uptime_in_seconds:{uptime}\r\nrole:master\r\n"
        )
    });
    let daemon = Daemon::serve(&[&server.stub.url()]);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    daemon.until_rounds(3);
    assert_eq!(daemon.value("redis_restarts_total"), Some(0.0));
    UPTIME.store(0, Ordering::Relaxed);
    daemon.until(SECOND * 5, "redis_restarts_total", &[], 1.0);
    daemon.until_event(SECOND * 5, "restarted");
}
