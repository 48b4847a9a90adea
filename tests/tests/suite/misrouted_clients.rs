//! Clients that write to a replica, with real redis-py clients: why they do, with which commands, and who they are.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Daemon, Group, Redis, RedisPy, SECOND, Setup, Stopwatch, diagnose, eventually, pair};

use crate::monitor::Monitor;

/// Long enough for Python to start and for a few rounds, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Long enough for one more list of clients.
const LISTED: Duration = Duration::from_secs(60);

/// Long enough for what must last a minute first.
const MINUTE: Duration = Duration::from_secs(90);

const MISROUTED: &str = "redis_misrouted_clients";
const STALE: &str = "redis_stale_clients";
const HIT: &str = "RedisWritesHitReplica";

/// How often the clients of a server were listed.
fn lists(server: &Redis) -> u64 {
    // Servers before 7.0 do not tell subcommands apart, and a new connection asks for its id; so there this says too much.
    let figures = server.info("cmdstat_client|list").or_else(|| server.info("cmdstat_client"));
    let calls = |figures: String| figures.strip_prefix("calls=")?.split(',').next()?.parse().ok();
    figures.and_then(calls).unwrap_or_default()
}

/// Who writes to this node, as the API tells it.
fn misrouted(daemon: &Daemon, node: &str) -> Option<Value> {
    let document = daemon.document("/api/v1/topology");
    let nodes = document["deployments"][0]["nodes"].as_array().expect("a list").clone();
    nodes
        .into_iter()
        .find(|found| found["name"] == node)
        .and_then(|found| found.get("misrouted").cloned())
}

/// Waits until the clients that write to this node were told apart, and gives what the API says.
#[track_caller]
fn until_told(daemon: &Daemon, node: &str) -> Value {
    let told = || misrouted(daemon, node).filter(|misrouted| misrouted.get("clients").is_some());
    eventually(SOON, "the clients that write there are told", told).0
}

#[test]
fn only_clients_that_write_to_a_replica_are_misrouted() {
    let (primary, replica, daemon) = pair(Redis::of("valkey-9.1.2", &[]));
    let node = replica.address();
    let labels = [("node", node.as_str())];
    assert_eq!(
        (daemon.samples().count(MISROUTED, &[]), daemon.samples().count(STALE, &[])),
        (0, 0),
        "unknown is absent"
    );
    let begun = Stopwatch::start();
    let _reader = RedisPy::start(replica.port, "reports", "get", 2);
    let _right = RedisPy::start(primary.port, "shop", "set", 2);
    let writer = RedisPy::start(replica.port, "checkout", "set", 3);
    daemon.until(LISTED, MISROUTED, &[labels[0], ("lib", "redis-py")], 3.0);
    println!("named after {:?}", begun.elapsed());
    let told = until_told(&daemon, &node);
    assert_eq!(
        (&told["why"], &told["commands"], &told["clients"]),
        (&json!("wrong_endpoint"), &json!(["set"]), &json!({"redis-py": 3}))
    );
    assert_eq!(
        (daemon.samples().count(MISROUTED, &[]), daemon.samples().count(STALE, &[])),
        (1, 0),
        "nobody saw it demoted"
    );
    assert!(daemon.findings().is_empty(), "it may pass");

    // A look of seconds cannot tell whether it lasts, but says what it saw.
    let (code, text, found) = diagnose(&[&primary, &replica]);
    println!("{text}");
    assert_eq!((code, found.len()), (Some(0), 0), "{text}");
    assert!(
        text.contains("clients write here: ") && text.contains("(set) of 3 clients (redis-py "),
        "{text}"
    );

    daemon.until_finds(MINUTE, HIT, &replica);
    let found = daemon.finding(HIT).expect("found");
    println!("found after {:?}: {found:#}", begun.elapsed());
    assert!(begun.elapsed() > SECOND * 60);
    let evidence = &found["evidence"];
    assert_eq!(
        (&found["severity"], &evidence["why"], &evidence["commands"]),
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
    assert!(
        (8.0..=16.0).contains(&rate),
        "three clients write five times a second, less what they wait: {rate}"
    );
    assert!(
        !daemon.get("/metrics", "").text.contains("checkout"),
        "names of clients are no labels"
    );
    assert!(!daemon.log().iter().any(|line| line.contains("checkout")), "nor in the log");

    // One of `diagnose` in each format, the rest at most once in 30 s.
    let (listed, most) = (lists(&replica), 3 + begun.elapsed().as_secs() / 30);
    println!("{listed} lists in {:?}", begun.elapsed());
    assert!((3..=most).contains(&listed) && lists(&primary) == 0, "{listed} lists, {most} at most");
    assert!(
        writer.complaints().iter().all(|complaint| complaint.contains("read only replica")),
        "{:?}",
        writer.complaints()
    );

    drop(writer);
    let gone = || (daemon.samples().count(MISROUTED, &[]) == 0).then_some(());
    let ((), took) = eventually(MINUTE, "nobody writes there any more", gone);
    println!("gone after {took:?}");
    assert!(took > SECOND * 55, "it may go on for a minute: {took:?}");
    daemon.until_quiet(SECOND * 3);
}

#[test]
fn pool_on_a_demoted_primary_is_stale() {
    let (primary, replica, daemon) = pair(Redis::of("redis-8.2.3", &[]));
    let node = primary.address();
    let labels = [("node", node.as_str())];
    let _pool = RedisPy::start(primary.port, "checkout", "hset", 4);
    let _reader = RedisPy::start(primary.port, "reports", "get", 1);
    for command in ["cmdstat_hset", "cmdstat_get"] {
        eventually(SOON, "all are connected, and at work", || primary.info(command));
    }
    daemon.let_pass(4);
    assert_eq!(misrouted(&daemon, &node), None, "it is right to write there");

    replica.promote();
    primary.follow(&replica);
    let demoted = Stopwatch::start();
    daemon.until(LISTED, MISROUTED, &[labels[0], ("lib", "redis-py")], 4.0);
    daemon.until(SOON, STALE, &labels, 5.0);
    println!("told after {:?}", demoted.elapsed());
    let told = until_told(&daemon, &node);
    assert_eq!(
        (&told["why"], &told["commands"], &told["stale_clients"]),
        (&json!("demotion"), &json!(["hset"]), &json!(5))
    );
    let late = RedisPy::start(primary.port, "latecomer", "hset", 2);
    daemon.until(LISTED, MISROUTED, &[labels[0], ("lib", "redis-py")], 6.0);
    assert_eq!(daemon.samples().get(STALE, &labels), Some(5.0), "who comes later is not stale");
    drop(late);

    daemon.until_finds(MINUTE, "RedisStaleClients", &primary);
    println!(
        "found after {:?}: {:#}",
        demoted.elapsed(),
        daemon.finding("RedisStaleClients").expect("found")
    );
    assert!(demoted.elapsed() > SECOND * 58, "after a failover clients may need a while");
    let found = daemon.finding("RedisStaleClients").expect("found");
    assert_eq!(
        (&found["severity"], &found["evidence"]["libraries"]),
        (&json!("warning"), &json!(["redis-py 8.1.0"]))
    );
    assert_eq!(found["evidence"]["stale_clients"], 5);
    assert!(
        found["evidence"]["demoted_seconds_ago"]
            .as_f64()
            .is_some_and(|ago| (55.0..90.0).contains(&ago)),
        "{found:#}"
    );
    daemon.until_finds(SOON, HIT, &primary);
    assert_eq!(daemon.finding(HIT).expect("found")["evidence"]["why"], "demotion");

    primary.promote();
    replica.follow(&primary);
    eventually(SOON, "it is right again to write there", || {
        misrouted(&daemon, &node).is_none().then_some(())
    });
}

#[test]
fn pool_reconnecting_after_sentinel_failover_is_not_stale() {
    let group = Group::start(&Setup::default());
    let monitor = Monitor::start_settled(&group, "");
    let before = group.primary().address();
    let port = before.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let pool = RedisPy::start(port, "checkout", "set", 3);
    let works =
        || group.primary().section("commandstats").contains_key("cmdstat_set").then_some(());
    eventually(SOON, "all are connected, and at work", works);
    assert_eq!(group.failover(), before);
    monitor.daemon.until(LISTED, MISROUTED, &[("node", &before), ("lib", "unknown")], 3.0);
    let told = until_told(&monitor.daemon, &before);
    println!("{told:#}; {:?}", pool.complaints().first());
    assert!(
        pool.complaints().iter().any(|complaint| complaint.contains("closed by server")),
        "{:?}",
        pool.complaints().first()
    );
    assert_eq!(
        (&told["why"], &told["commands"], &told["clients"]),
        (&json!("demotion"), &json!(["set"]), &json!({"unknown": 3}))
    );
    // A Sentinel cuts all clients off when it demotes a node, and they came back to it.
    assert_eq!(told["stale_clients"], 0);
    assert_eq!(
        monitor.daemon.samples().get(STALE, &[("node", &before)]),
        Some(0.0),
        "a list was read, and showed none"
    );
    for kind in [HIT, "RedisStaleClients"] {
        assert!(monitor.daemon.finding(kind).is_none(), "{kind} while a failover explains it");
    }
}

#[test]
fn misrouted_transactions_and_scripts_are_detected() {
    for version in ["redis-7.0.15", "redis-8.2.3"] {
        let (_primary, replica, daemon) = pair(Redis::of(version, &[]));
        let node = replica.address();
        let _transactions = RedisPy::start(replica.port, "transactions", "multi", 2);
        let _scripts = RedisPy::start(replica.port, "scripts", "eval", 1);
        let _reader = RedisPy::start(replica.port, "reports", "get", 1);
        let library = if version == "redis-7.0.15" { "unknown" } else { "redis-py" };
        let all =
            |told: &Value| told["commands"].as_array().is_some_and(|commands| commands.len() == 4);
        let told =
            || misrouted(&daemon, &node).filter(|told| told.get("clients").is_some() && all(told));
        let (told, _) = eventually(LISTED, "commands", told);
        println!("{version}: {told}");
        let mut commands: Vec<_> =
            told["commands"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        commands.sort_unstable();
        assert_eq!(commands, ["eval", "exec", "incr", "set"], "{version}");
        daemon.until(LISTED, MISROUTED, &[("node", &node), ("lib", library)], 3.0);
    }
}

#[test]
fn misrouted_writes_are_detected_on_6_2_except_in_scripts() {
    let (_primary, replica, daemon) = pair(Redis::of("redis-6.2.14", &[]));
    let node = replica.address();
    let scripts = RedisPy::start(replica.port, "scripts", "eval", 1);
    eventually(SOON, "the script is refused", || {
        scripts.complaints().iter().any(|line| line.contains("READONLY")).then_some(())
    });
    daemon.let_pass(3);
    assert_eq!(
        daemon.samples().get("redis_errors_total", &[("node", &node), ("err", "READONLY")]),
        Some(0.0),
        "6.2 counts these as ERR"
    );
    assert_eq!(misrouted(&daemon, &node), None);
    drop(scripts);

    let _transactions = RedisPy::start(replica.port, "transactions", "multi", 1);
    let _writers = RedisPy::start(replica.port, "checkout", "set", 2);
    daemon.until(LISTED, MISROUTED, &[("node", &node), ("lib", "unknown")], 3.0);
    let told = until_told(&daemon, &node);
    println!("{told}");
    assert_eq!(told["why"], "wrong_endpoint");
    for command in ["set", "incr", "exec"] {
        assert!(told["commands"].as_array().expect("a list").contains(&json!(command)), "{told}");
    }
}

#[test]
fn misrouted_writes_are_detected_without_errorstats() {
    let (_primary, replica, daemon) = pair(Redis::of("redis-8.2.3", &[]));
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
    daemon.let_pass(3);
    assert_eq!(misrouted(&daemon, &node), None, "a table that is gone is no refusal");
    let _writer = RedisPy::start(replica.port, "checkout", "set", 2);
    daemon.until(LISTED, MISROUTED, &[("node", &node), ("lib", "redis-py")], 2.0);
    let told = until_told(&daemon, &node);
    println!("{told}");
    assert_eq!((&told["why"], &told["commands"]), (&json!("wrong_endpoint"), &json!(["set"])));
}

#[test]
fn client_list_is_skipped_on_a_server_with_many_clients() {
    let (primary, replica, daemon) = pair(Redis::start(&[]));
    let crowd: Vec<_> = (0..1001)
        .map(|_| TcpStream::connect(("127.0.0.1", replica.port)).expect("connected"))
        .collect();
    let node = replica.address();
    eventually(SOON, "the crowd is seen", || {
        (daemon.samples().get("redis_connected_clients", &[("node", &node)])? > 1000.0)
            .then_some(())
    });
    let _writer = RedisPy::start(replica.port, "checkout", "set", 2);
    let (told, _) = eventually(SOON, "writes are refused", || misrouted(&daemon, &node));
    assert_eq!((&told["why"], &told["commands"]), (&json!("wrong_endpoint"), &json!(["set"])));
    daemon.let_pass(3);
    assert_eq!((lists(&replica), lists(&primary)), (0, 0), "no list of {} clients", crowd.len());
    assert_eq!(daemon.samples().count(MISROUTED, &[]), 0, "unknown is absent");
    drop(crowd);
    daemon.until(LISTED, MISROUTED, &[("node", &node), ("lib", "unknown")], 2.0);
    assert_eq!(lists(&replica), 1);
}

#[test]
fn clients_of_a_healthy_deployment_are_never_listed() {
    let (primary, replica, daemon) = pair(Redis::of("redis-8.2.3", &[]));
    let clients = [
        RedisPy::start(primary.port, "checkout", "set", 2),
        RedisPy::start(primary.port, "scripts", "eval", 1),
        RedisPy::start(replica.port, "reports", "get", 2),
        RedisPy::start(replica.port, "scripts", "eval_get", 1),
    ];
    // Errors of other kinds are none of this.
    for server in [&primary, &replica] {
        server.cli(&["NOSUCH"]);
        server.cli(&["SET", "key"]);
    }
    daemon.let_pass(12);
    assert_eq!((lists(&primary), lists(&replica)), (0, 0));
    assert!(clients.iter().all(|client| client.complaints().is_empty()), "they do what is right");
    assert_eq!(
        (daemon.samples().count(MISROUTED, &[]), daemon.samples().count(STALE, &[])),
        (0, 0)
    );
    daemon.until_quiet(SECOND);
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
    let _writer = RedisPy::start(replica.port, "checkout", "set", 1);
    let refusals =
        || daemon.log().iter().filter(|line| line.contains("command=\"CLIENT LIST\"")).count();
    eventually(SOON, "the list is refused", || (refusals() == 1).then_some(()));
    // Longer than the time between two lists.
    daemon.let_pass(35);
    assert_eq!(
        (refusals(), replica.info("errorstat_NOPERM")),
        (1, Some("count=1".to_owned())),
        "one attempt"
    );
    let samples = daemon.samples();
    assert_eq!(
        samples.get("redis_errors_total", &[("node", &node), ("err", "NOPERM")]),
        Some(0.0),
        "our own is left out"
    );
    assert_eq!(samples.count(MISROUTED, &[]), 0, "unknown is absent");
    let told = misrouted(&daemon, &node).expect("what INFO tells");
    assert_eq!((&told["why"], &told["commands"]), (&json!("wrong_endpoint"), &json!(["set"])));
}
