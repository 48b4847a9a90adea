//! Roles and replication links of nodes, and their changes.

use tests::{Daemon, Redis, SECOND};

#[test]
fn unexpected_demotion_is_reported_with_its_command() {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    let text = format!(
        "[[deployment]]\nname = 'orders'\nlabels = {{ team = 'checkout' }}\nnodes = [\n  \
         {{ url = '{}', name = 'orders-0', role = 'master' }},\n  \
         {{ url = '{}', name = 'orders-1' }},\n]\n",
        primary.url(),
        replica.url()
    );
    let daemon = Daemon::configured(&text);
    let (first, second) = (
        [("node", "orders-0"), ("team", "checkout")],
        [("node", "orders-1"), ("deployment", "orders")],
    );
    daemon.until(SECOND * 5, "redis_unexpected_role", &first, 0.0);
    daemon.until(SECOND * 5, "redis_link_state", &[second[0], ("state", "up")], 1.0);
    assert_eq!(daemon.value("redis_deployment_masters"), Some(1.0));

    replica.promote();
    primary.replicate_from(&replica);
    let took = daemon.until(SECOND * 3, "redis_unexpected_role", &first, 1.0);
    assert!(took <= SECOND * 2, "reported after {took:?}");
    daemon.until(SECOND * 3, "redis_role", &[second[0], ("role", "master")], 1.0);
    // A role change triggers INFO commandstats at once, not up to ten seconds later.
    daemon.until(
        SECOND * 3,
        "redis_topology_commands_total",
        &[first[0], ("command", "replicaof")],
        1.0,
    );
    assert_eq!(daemon.samples().get("redis_role_changes_total", &first), Some(1.0));
    assert_eq!(daemon.logged_events("role_changed").len(), 2, "{:?}", daemon.log());
}

#[test]
fn write_to_a_replica_is_counted() {
    let primary = Redis::start(&[]);
    let replica = primary.replica();
    replica.cli(&["SET", "before", "1"]);
    let daemon = Daemon::watch(&[&primary, &replica]);
    let node = replica.address();
    daemon.until(SECOND * 3, "redis_errors_total", &[("node", &node), ("err", "READONLY")], 0.0);
    replica.cli(&["SET", "after", "1"]);
    daemon.until(SECOND * 3, "redis_errors_total", &[("node", &node), ("err", "READONLY")], 1.0);
    daemon.until(
        SECOND * 3,
        "redis_commands_rejected_calls_total",
        &[("node", &node), ("cmd", "set")],
        2.0,
    );
    assert_eq!(daemon.samples().get("redis_slave_read_only", &[("node", &node)]), Some(1.0));
}

#[test]
fn dead_master_is_a_lost_link() {
    let mut primary = Redis::start(&[]);
    let replica = primary.replica();
    let daemon = Daemon::watch(&[&replica]);
    daemon.until(SECOND * 3, "redis_link_state", &[("state", "up")], 1.0);
    primary.kill();
    daemon.until(SECOND * 3, "redis_link_state", &[("state", "lost")], 1.0);
    let samples = daemon.samples();
    assert_eq!(
        (samples.get("redis_master_link_up", &[]), samples.get("redis_link_drops_total", &[])),
        (Some(0.0), Some(1.0))
    );
    assert_eq!(
        samples.get("redis_master_last_io_seconds_ago", &[]),
        None,
        "-1 in INFO means unknown"
    );
    assert!(samples.get("redis_master_link_down_since_seconds", &[]).is_some());
    primary.restart();
    daemon.until(SECOND * 5, "redis_link_state", &[("state", "up")], 1.0);
    assert_eq!(
        (daemon.logged_events("link_dropped").len(), daemon.logged_events("link_restored").len()),
        (1, 1)
    );
}

#[test]
fn loading_server_is_up_and_refuses_commands() {
    let mut server = Redis::start(&[
        "--appendonly",
        "yes",
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
        "--enable-debug-command",
        "yes",
    ]);
    server.cli(&["DEBUG", "POPULATE", "10000", "key", "100"]);
    server.cli(&["BGREWRITEAOF"]);
    tests::eventually(SECOND * 10, "the AOF is rewritten", || {
        (server.info("aof_rewrite_in_progress")? == "0" && server.info("aof_base_size")? != "0")
            .then_some(())
    });
    let daemon = Daemon::watch(&[&server]);
    daemon.until(SECOND * 5, "redis_loading", &[], 0.0);
    server.kill();
    daemon.until(SECOND * 3, "redis_up", &[], 0.0);
    server.restart();
    daemon.until(SECOND * 12, "redis_loading", &[], 1.0);
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_up", &[]), Some(1.0), "a loading server replies to INFO");
    assert_eq!(samples.get("redis_writes_refused", &[("reason", "loading")]), Some(1.0));
    assert_eq!(samples.get("redis_reads_refused", &[("reason", "loading")]), Some(1.0));
    assert!(samples.get("redis_loading_total_bytes", &[]) > Some(0.0));
    daemon.until(SECOND * 30, "redis_loading", &[], 0.0);
    assert_eq!(
        daemon.samples().get("redis_errors_total", &[("err", "LOADING")]),
        Some(0.0),
        "Rolecall sends no command that a loading server refuses"
    );
}

#[test]
fn unix_sockets_and_ipv6_are_supported() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("redis.sock").display().to_string();
    let server = Redis::start(&["--unixsocket", &socket, "--bind", "127.0.0.1", "::1"]);
    let ipv6 = format!("[::1]:{}", server.port);
    let daemon = Daemon::serve(&[&format!("unix://{socket}"), &format!("redis://{ipv6}")]);
    daemon.until(SECOND * 5, "redis_up", &[("node", &socket)], 1.0);
    daemon.until(SECOND * 5, "redis_up", &[("node", &ipv6)], 1.0);
    assert_eq!(daemon.get(&format!("/scrape?target=redis://{ipv6}"), "").status, 200);
}

#[test]
fn expect_assume_and_aliases_are_applied() {
    let primary = Redis::start(&["--rename-command", "CONFIG", "", "--appendonly", "yes"]);
    let replica = primary.replica();
    let text = format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = '{}', name = 'p' }}, \
         {{ url = 'redis://localhost:{}', name = 'r', aliases = ['{}'] }}]\n\
         expect = {{ replicas = 2, aof = 'replicas' }}\n\
         assume = {{ replica-serve-stale-data = 'no', save = '900 1' }}\n",
        primary.url(),
        replica.port,
        replica.address()
    );
    let daemon = Daemon::configured(&text);
    daemon.until(SECOND * 5, "redis_config_save_points", &[("node", "p")], 1.0);
    daemon.until(SECOND * 5, "redis_config_replica_serve_stale_data", &[("node", "r")], 1.0);
    let samples = daemon.samples();
    assert_eq!(
        samples.get("redis_config_replica_serve_stale_data", &[("node", "p")]),
        Some(0.0),
        "the assumed value"
    );
    assert_eq!(
        samples.count("redis_connected_slave_offset_bytes", &[("node", "p"), ("replica", "r")]),
        1,
        "the replica is identified by its alias"
    );
    assert_eq!(samples.get("redis_expected_replicas", &[("deployment", "a")]), Some(2.0));
    assert_eq!(
        (
            samples.get("redis_expected_aof", &[("node", "p")]),
            samples.get("redis_expected_aof", &[("node", "r")])
        ),
        (None, Some(1.0))
    );
}
