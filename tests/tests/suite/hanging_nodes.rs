//! Nodes that hang: unknown at first, then down, and up again on the same connection. Other nodes
//! are not affected.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use tests::{Daemon, Host, Redis, SECOND, Server, Signal, deployment, eventually, pause};

#[test]
fn hanging_server_delays_no_round_and_keeps_its_connection() {
    let primary = Redis::start(&[]);
    let (hung, other) = (primary.replica(), primary.replica());
    let daemon = Daemon::watch(&[&primary, &hung, &other]);
    let node = hung.address();
    let labels = [("node", node.as_str())];
    daemon.until(SECOND * 3, "redis_up", &labels, 1.0);
    let connections = hung.rolecall_connections();
    assert_eq!(connections.len(), 1);

    hung.signal(Signal::Stop);
    let counted = daemon.until(
        SECOND * 3,
        "redis_poll_failures_total",
        &[labels[0], ("reason", "timeout")],
        1.0,
    );
    let samples = daemon.samples();
    assert_eq!(
        samples.get("redis_up", &labels),
        Some(1.0),
        "a single missed poll does not mark a node down"
    );
    assert_eq!(
        samples.get("redis_role", &[labels[0], ("role", "replica")]),
        Some(1.0),
        "the last known role is kept"
    );
    // If the server stops after a round began, the next round polls it and misses at its deadline.
    assert!(counted <= SECOND * 2, "counted after {counted:?}");

    // While it hangs, a round ends as soon as the other nodes have replied.
    let before = daemon.samples();
    pause(SECOND * 3);
    let (after, metrics) = (daemon.samples(), daemon.get("/metrics", ""));
    let rounds =
        |samples: &tests::Samples| samples.get("rolecall_rounds_total", &[]).expect("rounds");
    assert!((2.0..=4.0).contains(&(rounds(&after) - rounds(&before))), "one round a second");
    assert_eq!(after.get("rolecall_rounds_missed_total", &[]), Some(0.0));
    let duration = after.get("rolecall_round_duration_seconds", &[]).expect("a round");
    assert!(duration < 0.4, "a round took {duration} s; waiting for the hung node takes 0.8 s");
    assert!(metrics.took < SECOND / 2, "/metrics took {:?}", metrics.took);
    let polls = |samples: &tests::Samples| {
        samples.get("redis_polls_total", &[("node", &other.address())]).expect("polls")
    };
    let failures = after.count("redis_poll_failures_total", &[("node", &other.address())]);
    assert!(
        polls(&after) - polls(&before) >= 2.0 && failures == 0,
        "the other node keeps its cadence"
    );

    let down = daemon.until(SECOND * 3, "redis_up", &labels, 0.0);
    // The primary observes the replica. Until its last statement is too old, the state is unknown,
    // for at most one round more.
    daemon.until(SECOND * 2, "redis_node_state", &[labels[0], ("state", "down")], 1.0);
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_down_reason", &[labels[0], ("reason", "timeout")]), Some(1.0));
    assert_eq!(samples.count("redis_role", &labels), 0, "a node that is down has no role");
    assert_eq!(daemon.logged_events("node_unreachable").len(), 1, "{:?}", daemon.log());

    hung.signal(Signal::Cont);
    let back = daemon.until(SECOND * 4, "redis_up", &labels, 1.0);
    assert!(back <= SECOND * 2, "back after {back:?}");
    assert_eq!(hung.rolecall_connections(), connections, "the connection is the same");
    assert_eq!(daemon.logged_events("node_back").len(), 1);
    println!(
        "counted after {counted:?}, round {duration} s, /metrics {:?}, down {down:?} later, \
         back after {back:?}",
        metrics.took
    );
}

#[test]
fn pause_shorter_than_down_after_is_not_an_outage() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(SECOND * 3, "redis_up", &[], 1.0);
    server.signal(Signal::Stop);
    daemon.until(SECOND * 3, "redis_poll_failures_total", &[("reason", "timeout")], 1.0);
    server.signal(Signal::Cont);
    let last_reply = daemon.value("redis_last_poll_timestamp_seconds").expect("a reply");
    eventually(SECOND * 3, "the server replies", || {
        daemon.value("redis_last_poll_timestamp_seconds").filter(|now| *now > last_reply)
    });
    assert_eq!(daemon.value("redis_up"), Some(1.0));
    assert_eq!(daemon.logged_events("node_unreachable"), Vec::<String>::new());
}

#[test]
fn exporter_pause_is_not_an_outage_of_the_servers() {
    let servers = [Redis::start(&[]), Redis::start(&[])];
    let daemon = Daemon::watch(&[&servers[0], &servers[1]]);
    pause(SECOND * 2);
    daemon.signal(Signal::Stop);
    pause(SECOND * 6);
    daemon.signal(Signal::Cont);
    pause(SECOND * 3);
    let samples = daemon.samples();
    for server in &servers {
        assert_eq!(samples.get("redis_up", &[("node", &server.address())]), Some(1.0));
    }
    assert_eq!(daemon.logged_events("node_unreachable"), Vec::<String>::new());
    assert!(samples.get("rolecall_rounds_missed_total", &[]) >= Some(5.0));
    assert!(samples.get("rolecall_blind_rounds_total", &[]) >= Some(1.0));
}

#[test]
fn connection_silent_for_30_seconds_is_replaced() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(SECOND * 3, "redis_up", &[], 1.0);
    let connections = server.rolecall_connections();
    server.signal(Signal::Stop);
    daemon.until(SECOND * 6, "redis_up", &[], 0.0);
    pause(SECOND * 28);
    server.signal(Signal::Cont);
    daemon.until(SECOND * 12, "redis_up", &[], 1.0);
    let (replaced, _) = eventually(SECOND * 3, "only one connection is left", || {
        Some(server.rolecall_connections())
            .filter(|rolecall_connections| rolecall_connections.len() == 1)
    });
    assert_ne!(replaced, connections);
}

#[test]
fn rounds_of_deployments_are_spread_over_the_interval() {
    let servers = [Redis::start(&[]), Redis::start(&[])];
    let daemon =
        Daemon::configured(&(deployment("a", &[&servers[0]]) + &deployment("b", &[&servers[1]])));
    pause(SECOND * 3);
    let samples = daemon.samples();
    let last_poll = |name: &str| {
        samples.get("redis_last_poll_timestamp_seconds", &[("deployment", name)]).expect("polled")
    };
    let apart = (last_poll("a") - last_poll("b")).rem_euclid(1.0);
    assert!((0.35..0.65).contains(&apart), "{apart} s apart, of an interval of 1 s");
}

#[test]
fn exporter_is_blind_when_most_nodes_fail_together() {
    let hosts = [Host::loopback(), Host::second_loopback()];
    let servers: Vec<_> = hosts
        .iter()
        .cycle()
        .take(4)
        .map(|host| Server::start("redis-7.0.15", false, host, "", None))
        .collect();
    let nodes: Vec<_> =
        servers.iter().map(|server| format!("{{ url = '{}' }}", server.url())).collect();
    let nodes = nodes.join(", ");
    // Three deployments of four nodes each, on four servers.
    let daemon = Daemon::configured(
        &["a", "b", "c"]
            .map(|name| format!("[[deployment]]\nname = '{name}'\nnodes = [{nodes}]\n"))
            .concat(),
    );
    let answering = |name| {
        let labels = [("deployment", name), ("state", "answering")];
        daemon.samples().get("redis_deployment_nodes", &labels)
    };
    daemon.until(
        SECOND * 5,
        "redis_deployment_nodes",
        &[("deployment", "c"), ("state", "answering")],
        4.0,
    );
    pause(SECOND * 2);
    for server in &servers[..3] {
        server.signal(Signal::Stop);
    }
    pause(SECOND * 7);
    let samples = daemon.samples();
    assert_eq!(samples.get("rolecall_blind", &[]), Some(1.0));
    for name in ["a", "b", "c"] {
        assert_eq!(answering(name), Some(1.0), "Rolecall cannot read the other nodes");
        assert_eq!(
            samples.count("redis_down_reason", &[("deployment", name)]),
            0,
            "blind rounds mark no node down"
        );
        assert_eq!(
            samples.get("redis_deployment_masters", &[("deployment", name)]),
            Some(4.0),
            "the last known state is kept"
        );
        assert!(samples.get("rolecall_blind_rounds_total", &[("deployment", name)]) >= Some(3.0));
    }
    assert_eq!(daemon.logged_events("node_unreachable"), Vec::<String>::new());
    // Once most servers are back, the one that still hangs is down.
    for server in &servers[1..3] {
        server.signal(Signal::Cont);
    }
    let hung = servers[0].address();
    daemon.until(
        SECOND * 8,
        "redis_down_reason",
        &[("deployment", "a"), ("node", &hung), ("reason", "timeout")],
        1.0,
    );
    assert_eq!(daemon.value("rolecall_blind"), Some(0.0));
    assert_eq!(answering("a"), Some(3.0));
}

#[test]
fn wall_clock_step_changes_nothing() {
    let server = Redis::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    let offset = directory.path().join("offset");
    std::fs::write(&offset, "+0s").expect("a file");
    let library =
        format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    let mut command = std::process::Command::new(Daemon::binary());
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &offset);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let daemon = Daemon::run(&mut command, &[&server.url()]);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    let last_poll = || daemon.value("redis_last_poll_timestamp_seconds").expect("a reply");
    let start = last_poll();
    for (step, seconds) in [("+3600s", 3600.0), ("-3600s", -3600.0), ("+0s", 0.0)] {
        std::fs::write(&offset, step).expect("a file");
        eventually(SECOND * 5, "the clock stepped", || {
            ((last_poll() - start - seconds).abs() < 60.0).then_some(())
        });
        let before = daemon.value("rolecall_rounds_total").expect("rounds");
        pause(SECOND * 3);
        let samples = daemon.samples();
        let rounds = samples.get("rolecall_rounds_total", &[]).expect("rounds") - before;
        assert!((2.0..=4.0).contains(&rounds), "{rounds} rounds in three seconds");
        assert_eq!(
            (samples.get("redis_up", &[]), samples.get("rolecall_rounds_missed_total", &[])),
            (Some(1.0), Some(0.0))
        );
    }
    assert_eq!(daemon.value("rolecall_blind_rounds_total"), Some(0.0));
    assert!(daemon.log().iter().all(|line| !line.contains("event=")), "{:?}", daemon.log());
}

#[test]
fn hundreds_of_hanging_nodes_do_not_delay_a_reconnect() {
    let server = Redis::start(&[]);
    // The listener never accepts, and its queue is full: from now on connections to this port hang
    // at every loopback address.
    let silent = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let queue: Vec<_> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&address, SECOND / 5).ok()).collect();
    let node = |number: u8| {
        [1, 2].map(|net| format!("{{ url = 'redis://127.0.{net}.{number}:{port}' }}")).join(", ")
    };
    let nodes: Vec<_> = (1..=200).map(node).collect();
    let text = format!(
        "{}[[deployment]]\nname = 'silent'\nnodes = [{}]\n",
        deployment("healthy", &[&server]),
        nodes.join(", ")
    );
    let daemon = Daemon::configured(&text);
    let healthy = [("deployment", "healthy")];
    daemon.until(SECOND * 5, "redis_up", &healthy, 1.0);
    pause(SECOND * 8);
    for _ in 0..2 {
        assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "normal"]).trim(), "1");
        let took = eventually(SECOND * 2, "the node is connected again", || {
            (server.rolecall_connections().len() == 1).then_some(())
        })
        .1;
        println!("connected again after {took:?}, {} connections fill the queue", queue.len());
        for _ in 0..12 {
            pause(SECOND / 2);
            assert_eq!(daemon.samples().get("redis_up", &healthy), Some(1.0));
        }
    }
    // Polls of the hanging nodes have timed out in the meantime.
    let failed = daemon
        .samples()
        .count("redis_poll_failures_total", &[("deployment", "silent"), ("reason", "timeout")]);
    assert!(failed > 150, "{failed} of 400 nodes failed so far");
    assert!(
        !daemon.logged_events("node_unreachable").iter().any(|line| line.contains("healthy")),
        "{:?}",
        daemon.log()
    );
}
