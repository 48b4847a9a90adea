//! Misrouted and stale clients, with real redis-py clients: clients that write to a replica, their
//! commands and the reason.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    Daemon, Redis, RedisPyClient, SECOND, SentinelDeployment, SentinelSetup, Stopwatch, diagnose,
    eventually, primary_with_replica,
};

use crate::monitor::Monitor;

/// Timeout for the start of Python and a few rounds, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Timeout for the next CLIENT LIST.
const NEXT_LIST: Duration = Duration::from_secs(60);

/// Timeout for findings and series that need a minute.
const OVER_A_MINUTE: Duration = Duration::from_secs(90);

const MISROUTED_CLIENTS: &str = "redis_misrouted_clients";
const STALE_CLIENTS: &str = "redis_stale_clients";
const WRITES_HIT_REPLICA: &str = "RedisWritesHitReplica";

/// Returns how many times CLIENT LIST ran on a server.
fn client_list_calls(server: &Redis) -> u64 {
    // Servers before 7.0 count all CLIENT subcommands together.
    let statistics = server.info("cmdstat_client|list").or_else(|| server.info("cmdstat_client"));
    let calls = |text: String| text.strip_prefix("calls=")?.split(',').next()?.parse().ok();
    statistics.and_then(calls).unwrap_or_default()
}

/// Returns the misrouted clients of a node from the API.
fn misrouted(daemon: &Daemon, node: &str) -> Option<Value> {
    let document = daemon.document("/api/v1/topology");
    let nodes = document["deployments"][0]["nodes"].as_array().expect("a list").clone();
    nodes
        .into_iter()
        .find(|candidate| candidate["name"] == node)
        .and_then(|node| node.get("misrouted").cloned())
}

/// Waits until the misrouted clients of a node are identified, and returns them from the API.
#[track_caller]
fn until_identified(daemon: &Daemon, node: &str) -> Value {
    let identified =
        || misrouted(daemon, node).filter(|misrouted| misrouted.get("clients").is_some());
    eventually(SOON, "the misrouted clients are identified", identified).0
}

#[test]
fn only_clients_that_write_to_a_replica_are_misrouted() {
    let (primary, replica, daemon) = primary_with_replica(Redis::with_version("valkey-9.1.2", &[]));
    let node = replica.address();
    let labels = [("node", node.as_str())];
    assert_eq!(
        (
            daemon.samples().count(MISROUTED_CLIENTS, &[]),
            daemon.samples().count(STALE_CLIENTS, &[])
        ),
        (0, 0),
        "unknown values are absent"
    );
    let stopwatch = Stopwatch::start();
    let _reader = RedisPyClient::start(replica.port, "reports", "get", 2);
    let _correct_writer = RedisPyClient::start(primary.port, "shop", "set", 2);
    let writer = RedisPyClient::start(replica.port, "checkout", "set", 3);
    daemon.until(NEXT_LIST, MISROUTED_CLIENTS, &[labels[0], ("lib", "redis-py")], 3.0);
    println!("identified after {:?}", stopwatch.elapsed());
    let clients = until_identified(&daemon, &node);
    assert_eq!(
        (&clients["why"], &clients["commands"], &clients["clients"]),
        (&json!("wrong_endpoint"), &json!(["set"]), &json!({"redis-py": 3}))
    );
    assert_eq!(
        (
            daemon.samples().count(MISROUTED_CLIENTS, &[]),
            daemon.samples().count(STALE_CLIENTS, &[])
        ),
        (1, 0),
        "no demotion was observed"
    );
    assert!(daemon.findings().is_empty(), "the writes may be temporary");

    // `diagnose` runs for seconds, so it reports the clients without a finding.
    let (code, text, findings) = diagnose(&[&primary, &replica]);
    println!("{text}");
    assert_eq!((code, findings.len()), (Some(0), 0), "{text}");
    assert!(
        text.contains("clients write to this replica: ")
            && text.contains("(set) from 3 clients (redis-py "),
        "{text}"
    );

    daemon.until_found_on(OVER_A_MINUTE, WRITES_HIT_REPLICA, &replica);
    let finding = daemon.finding(WRITES_HIT_REPLICA).expect("a finding");
    println!("finding after {:?}: {finding:#}", stopwatch.elapsed());
    assert!(stopwatch.elapsed() > SECOND * 60);
    let evidence = &finding["evidence"];
    assert_eq!(
        (&finding["severity"], &evidence["why"], &evidence["commands"]),
        (&json!("warning"), &json!("wrong_endpoint"), &json!(["set"]))
    );
    assert_eq!(
        (&evidence["misrouted_clients"], &evidence["libraries"]),
        (&json!(3), &json!(["redis-py 8.1.0"]))
    );
    let clients: Vec<_> =
        evidence["clients"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(
        clients.len() == 3
            && clients.iter().all(|client| client.starts_with("checkout 127.0.0.1:")),
        "{clients:?}"
    );
    let rate = evidence["per_second"].as_f64().expect("a rate");
    assert!((8.0..=16.0).contains(&rate), "three clients write up to five times a second: {rate}");
    assert!(
        !daemon.get("/metrics", "").text.contains("checkout"),
        "client names are not used as labels"
    );
    assert!(
        !daemon.log().iter().any(|line| line.contains("checkout")),
        "client names are not logged"
    );

    // `diagnose` lists once per output format, the daemon at most once in 30 s.
    let (listed, limit) = (client_list_calls(&replica), 3 + stopwatch.elapsed().as_secs() / 30);
    println!("{listed} calls of CLIENT LIST in {:?}", stopwatch.elapsed());
    assert!(
        (3..=limit).contains(&listed) && client_list_calls(&primary) == 0,
        "{listed} calls of CLIENT LIST, at most {limit}"
    );
    assert!(
        writer.errors().iter().all(|complaint| complaint.contains("read only replica")),
        "{:?}",
        writer.errors()
    );

    drop(writer);
    let absent = || (daemon.samples().count(MISROUTED_CLIENTS, &[]) == 0).then_some(());
    let ((), took) = eventually(OVER_A_MINUTE, "the clients are no longer shown", absent);
    println!("gone after {took:?}");
    assert!(took > SECOND * 55, "misrouted clients are kept for a minute: {took:?}");
    daemon.until_no_findings(SECOND * 3);
}

#[test]
fn pool_on_a_demoted_primary_is_stale() {
    let (primary, replica, daemon) = primary_with_replica(Redis::with_version("redis-8.2.3", &[]));
    let node = primary.address();
    let labels = [("node", node.as_str())];
    let _pool = RedisPyClient::start(primary.port, "checkout", "hset", 4);
    let _reader = RedisPyClient::start(primary.port, "reports", "get", 1);
    for command in ["cmdstat_hset", "cmdstat_get"] {
        eventually(SOON, "all clients are connected and send commands", || primary.info(command));
    }
    daemon.until_rounds(4);
    assert_eq!(misrouted(&daemon, &node), None, "writes to the primary are correct");

    replica.promote();
    primary.replicate_from(&replica);
    let demoted = Stopwatch::start();
    daemon.until(NEXT_LIST, MISROUTED_CLIENTS, &[labels[0], ("lib", "redis-py")], 4.0);
    daemon.until(SOON, STALE_CLIENTS, &labels, 5.0);
    println!("identified after {:?}", demoted.elapsed());
    let clients = until_identified(&daemon, &node);
    assert_eq!(
        (&clients["why"], &clients["commands"], &clients["stale_clients"]),
        (&json!("demotion"), &json!(["hset"]), &json!(5))
    );
    let late_clients = RedisPyClient::start(primary.port, "latecomer", "hset", 2);
    daemon.until(NEXT_LIST, MISROUTED_CLIENTS, &[labels[0], ("lib", "redis-py")], 6.0);
    assert_eq!(
        daemon.samples().get(STALE_CLIENTS, &labels),
        Some(5.0),
        "clients that connect later are not stale"
    );
    drop(late_clients);

    daemon.until_found_on(OVER_A_MINUTE, "RedisStaleClients", &primary);
    println!(
        "finding after {:?}: {:#}",
        demoted.elapsed(),
        daemon.finding("RedisStaleClients").expect("a finding")
    );
    assert!(demoted.elapsed() > SECOND * 58, "clients have a minute to follow a failover");
    let finding = daemon.finding("RedisStaleClients").expect("a finding");
    assert_eq!(
        (&finding["severity"], &finding["evidence"]["libraries"]),
        (&json!("warning"), &json!(["redis-py 8.1.0"]))
    );
    assert_eq!(finding["evidence"]["stale_clients"], 5);
    assert!(
        finding["evidence"]["demoted_seconds_ago"]
            .as_f64()
            .is_some_and(|ago| (55.0..90.0).contains(&ago)),
        "{finding:#}"
    );
    daemon.until_found_on(SOON, WRITES_HIT_REPLICA, &primary);
    assert_eq!(
        daemon.finding(WRITES_HIT_REPLICA).expect("a finding")["evidence"]["why"],
        "demotion"
    );

    primary.promote();
    replica.replicate_from(&primary);
    eventually(SOON, "writes to this node are correct again", || {
        misrouted(&daemon, &node).is_none().then_some(())
    });
}

#[test]
fn pool_reconnecting_after_sentinel_failover_is_not_stale() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let monitor = Monitor::start_settled(&group, "");
    let before = group.primary().address();
    let port = before.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let pool = RedisPyClient::start(port, "checkout", "set", 3);
    let has_writes =
        || group.primary().section("commandstats").contains_key("cmdstat_set").then_some(());
    eventually(SOON, "all clients are connected and send commands", has_writes);
    assert_eq!(group.failover(), before);
    monitor.daemon.until(
        NEXT_LIST,
        MISROUTED_CLIENTS,
        &[("node", &before), ("lib", "unknown")],
        3.0,
    );
    let clients = until_identified(&monitor.daemon, &before);
    println!("{clients:#}; {:?}", pool.errors().first());
    assert!(
        pool.errors().iter().any(|complaint| complaint.contains("closed by server")),
        "{:?}",
        pool.errors().first()
    );
    assert_eq!(
        (&clients["why"], &clients["commands"], &clients["clients"]),
        (&json!("demotion"), &json!(["set"]), &json!({"unknown": 3}))
    );
    // A Sentinel closes all client connections when it demotes a node. The clients reconnected.
    assert_eq!(clients["stale_clients"], 0);
    assert_eq!(
        monitor.daemon.samples().get(STALE_CLIENTS, &[("node", &before)]),
        Some(0.0),
        "a CLIENT LIST was read and has no stale clients"
    );
    for kind in [WRITES_HIT_REPLICA, "RedisStaleClients"] {
        assert!(
            monitor.daemon.finding(kind).is_none(),
            "{kind} is not reported right after a failover"
        );
    }
}

#[test]
fn misrouted_transactions_and_scripts_are_detected() {
    for version in ["redis-7.0.15", "redis-8.2.3"] {
        let (_primary, replica, daemon) = primary_with_replica(Redis::with_version(version, &[]));
        let node = replica.address();
        let _transactions = RedisPyClient::start(replica.port, "transactions", "multi", 2);
        let _scripts = RedisPyClient::start(replica.port, "scripts", "eval", 1);
        let _reader = RedisPyClient::start(replica.port, "reports", "get", 1);
        let library = if version == "redis-7.0.15" { "unknown" } else { "redis-py" };
        let has_all_commands = |clients: &Value| {
            clients["commands"].as_array().is_some_and(|commands| commands.len() == 4)
        };
        let misrouted_clients = || {
            misrouted(&daemon, &node)
                .filter(|clients| clients.get("clients").is_some() && has_all_commands(clients))
        };
        let (clients, _) = eventually(NEXT_LIST, "all commands are reported", misrouted_clients);
        println!("{version}: {clients}");
        let mut commands: Vec<_> = clients["commands"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        commands.sort_unstable();
        assert_eq!(commands, ["eval", "exec", "incr", "set"], "{version}");
        daemon.until(NEXT_LIST, MISROUTED_CLIENTS, &[("node", &node), ("lib", library)], 3.0);
    }
}

#[test]
fn misrouted_writes_are_detected_on_6_2_except_in_scripts() {
    let (_primary, replica, daemon) =
        primary_with_replica(Redis::with_version("redis-6.2.14", &[]));
    let node = replica.address();
    let scripts = RedisPyClient::start(replica.port, "scripts", "eval", 1);
    eventually(SOON, "the script is refused", || {
        scripts.errors().iter().any(|line| line.contains("READONLY")).then_some(())
    });
    daemon.until_rounds(3);
    assert_eq!(
        daemon.samples().get("redis_errors_total", &[("node", &node), ("err", "READONLY")]),
        Some(0.0),
        "6.2 counts refused writes of scripts as ERR"
    );
    assert_eq!(misrouted(&daemon, &node), None);
    drop(scripts);

    let _transactions = RedisPyClient::start(replica.port, "transactions", "multi", 1);
    let _writers = RedisPyClient::start(replica.port, "checkout", "set", 2);
    daemon.until(NEXT_LIST, MISROUTED_CLIENTS, &[("node", &node), ("lib", "unknown")], 3.0);
    let clients = until_identified(&daemon, &node);
    println!("{clients}");
    assert_eq!(clients["why"], "wrong_endpoint");
    for command in ["set", "incr", "exec"] {
        assert!(
            clients["commands"].as_array().expect("a list").contains(&json!(command)),
            "{clients}"
        );
    }
}

#[test]
fn misrouted_writes_are_detected_without_errorstats() {
    let (_primary, replica, daemon) = primary_with_replica(Redis::with_version("redis-8.2.3", &[]));
    let node = replica.address();
    for number in 0..150 {
        replica.cli(&[
            "EVAL",
            "return redis.error_reply('CODE' .. ARGV[1] .. ' text')",
            "0",
            &number.to_string(),
        ]);
    }
    daemon.until(SOON, "redis_errorstats_disabled", &[("node", &node)], 1.0);
    daemon.until_rounds(3);
    assert_eq!(misrouted(&daemon, &node), None, "disabled errorstats are no refused write");
    let _writer = RedisPyClient::start(replica.port, "checkout", "set", 2);
    daemon.until(NEXT_LIST, MISROUTED_CLIENTS, &[("node", &node), ("lib", "redis-py")], 2.0);
    let clients = until_identified(&daemon, &node);
    println!("{clients}");
    assert_eq!(
        (&clients["why"], &clients["commands"]),
        (&json!("wrong_endpoint"), &json!(["set"]))
    );
}

#[test]
fn client_list_is_skipped_on_a_server_with_many_clients() {
    let (primary, replica, daemon) = primary_with_replica(Redis::start(&[]));
    let idle_clients: Vec<_> = (0..1001)
        .map(|_| TcpStream::connect(("127.0.0.1", replica.port)).expect("connected"))
        .collect();
    let node = replica.address();
    eventually(SOON, "all connections are counted", || {
        (daemon.samples().get("redis_connected_clients", &[("node", &node)])? > 1000.0)
            .then_some(())
    });
    let _writer = RedisPyClient::start(replica.port, "checkout", "set", 2);
    let (clients, _) =
        eventually(SOON, "refused writes are reported", || misrouted(&daemon, &node));
    assert_eq!(
        (&clients["why"], &clients["commands"]),
        (&json!("wrong_endpoint"), &json!(["set"]))
    );
    daemon.until_rounds(3);
    assert_eq!(
        (client_list_calls(&replica), client_list_calls(&primary)),
        (0, 0),
        "no CLIENT LIST with {} clients",
        idle_clients.len()
    );
    assert_eq!(daemon.samples().count(MISROUTED_CLIENTS, &[]), 0, "unknown values are absent");
    drop(idle_clients);
    daemon.until(NEXT_LIST, MISROUTED_CLIENTS, &[("node", &node), ("lib", "unknown")], 2.0);
    assert_eq!(client_list_calls(&replica), 1);
}

#[test]
fn clients_of_a_healthy_deployment_are_never_listed() {
    let (primary, replica, daemon) = primary_with_replica(Redis::with_version("redis-8.2.3", &[]));
    let clients = [
        RedisPyClient::start(primary.port, "checkout", "set", 2),
        RedisPyClient::start(primary.port, "scripts", "eval", 1),
        RedisPyClient::start(replica.port, "reports", "get", 2),
        RedisPyClient::start(replica.port, "scripts", "eval_get", 1),
    ];
    // Other errors do not count as refused writes.
    for server in [&primary, &replica] {
        server.cli(&["NOSUCH"]);
        server.cli(&["SET", "key"]);
    }
    daemon.until_rounds(12);
    assert_eq!((client_list_calls(&primary), client_list_calls(&replica)), (0, 0));
    assert!(clients.iter().all(|client| client.errors().is_empty()), "no command is refused");
    assert_eq!(
        (
            daemon.samples().count(MISROUTED_CLIENTS, &[]),
            daemon.samples().count(STALE_CLIENTS, &[])
        ),
        (0, 0)
    );
    daemon.until_no_findings(SECOND);
}

#[test]
fn refused_client_list_is_not_retried() {
    let primary = Redis::start(&[]);
    let user = [
        "--user",
        "rolecall",
        "on",
        ">secret",
        "-@all",
        "+info",
        "+client|id",
        "+config|get",
        "+slowlog|len",
        "+slowlog|get",
    ];
    let replica = primary.replica_with(&user);
    let daemon =
        Daemon::serve(&[&primary.url(), &format!("redis://rolecall:secret@{}", replica.address())]);
    daemon.until_link(SOON, &replica, "up");
    let node = replica.address();
    let _writer = RedisPyClient::start(replica.port, "checkout", "set", 1);
    let refusals =
        || daemon.log().iter().filter(|line| line.contains("command=\"CLIENT LIST\"")).count();
    eventually(SOON, "CLIENT LIST is refused", || (refusals() == 1).then_some(()));
    // Longer than the interval between two CLIENT LIST.
    daemon.until_rounds(35);
    assert_eq!(
        (refusals(), replica.info("errorstat_NOPERM")),
        (1, Some("count=1".to_owned())),
        "CLIENT LIST was tried once"
    );
    let samples = daemon.samples();
    assert_eq!(
        samples.get("redis_errors_total", &[("node", &node), ("err", "NOPERM")]),
        Some(0.0),
        "the error of Rolecall is not counted"
    );
    assert_eq!(samples.count(MISROUTED_CLIENTS, &[]), 0, "unknown values are absent");
    let clients = misrouted(&daemon, &node).expect("misrouted clients from INFO");
    assert_eq!(
        (&clients["why"], &clients["commands"]),
        (&json!("wrong_endpoint"), &json!(["set"]))
    );
}
