//! Nodes of Sentinel deployments: discovery, ghosts, names, and deployments from a template.

use tests::{
    Host, MASTER, SECOND, SentinelDeployment, SentinelSetup, Server, Stopwatch, eventually,
    monitor_options, pause, sentinel_deployment,
};

use crate::monitor::{LIMIT, Monitor, PRIMARY_INFO, SOON, check_names};

#[test]
fn new_replica_is_discovered_and_dead_one_becomes_a_ghost() {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let monitor = Monitor::start_settled(&group, "ghost_after = '5s'\nforget_after = '5s'");
    let address = group.add_node(&Host::loopback()).address();
    // Sentinels send INFO to the primary every 10 s.
    eventually(LIMIT, "a Sentinel lists the new replica", || {
        let listed = group
            .sentinels
            .iter()
            .flat_map(|sentinel| sentinel.table(&["SENTINEL", "REPLICAS", MASTER]));
        listed.into_iter().any(|replica| replica["name"] == address).then_some(())
    });
    let took = monitor.daemon.until(SOON, "redis_up", &[("node", &address)], 1.0);
    println!("discovered {took:?} after a Sentinel listed it");
    assert!(took < SECOND * 4, "{took:?}");
    let discovered = || {
        monitor.events("node_discovered").iter().filter(|event| event["node"] == address).count()
    };
    assert_eq!(discovered(), 1, "{:?}", monitor.daemon.events());
    group.until_discovered();
    monitor.until_no_findings();

    let node = group.index_of(&address);
    group.nodes[node].kill();
    let killed = Stopwatch::start();
    monitor.daemon.until(SOON, "redis_up", &[("node", &address)], 0.0);
    assert_eq!(monitor.until_finding(SOON, "RedisDown", "warning")["node"], address);
    let finding = monitor.until_finding(SOON * 2, "RedisSentinelGhosts", "warning");
    let took = killed.elapsed();
    println!("a ghost {took:?} after the kill");
    // Sentinels check once a second and report sdown after 3 s, which must last for 5 s. Rolecall
    // reads their lists when they publish sdown and again 10 s later, with up to a second of delay,
    // and reports the result in the next round: within 16 s, or a little more on a busy machine.
    assert!(took > SECOND * 5 && took < SECOND * 18, "{took:?}");
    check_names(&finding["evidence"]["replicas"], std::slice::from_ref(&address));
    check_names(&finding["evidence"]["sentinels"], &[]);
    monitor.daemon.until(SOON, "redis_sentinel_ghosts", &[("kind", "replica")], 1.0);
    eventually(SOON, "the replica is gone", || {
        (monitor.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(())
    });
    assert!(monitor.daemon.finding("RedisDown").is_none(), "a node that is gone is not down");
    assert_eq!(monitor.daemon.until_event(SOON, "node_gone")["node"], address);

    group.nodes[node].restart();
    monitor.daemon.until(LIMIT, "redis_up", &[("node", &address)], 1.0);
    monitor.daemon.until(LIMIT, "redis_sentinel_ghosts", &[("kind", "replica")], 0.0);
    group.until_replicating(LIMIT);
    monitor.until_no_findings();
    assert_eq!(
        (discovered(), monitor.events("node_gone").len()),
        (2, 1),
        "{:?}",
        monitor.daemon.events()
    );
    assert_eq!(monitor.deployment_events(), Vec::<String>::new());
}

#[test]
fn sentinel_reset_removes_a_dead_replica() {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let monitor = Monitor::start_settled(&group, "forget_after = '20s'");
    let address = group.replicas()[0].address();
    let node = group.index_of(&address);
    group.nodes[node].kill();
    monitor.daemon.until(SOON, "redis_up", &[("node", &address)], 0.0);
    eventually(SOON * 2, "the primary has dropped the replica", || {
        (group.primary().replication().get("connected_slaves")? == "1").then_some(())
    });
    // After the reset a Sentinel knows no other nodes. It rediscovers them within about 10 s.
    for sentinel in &group.sentinels {
        assert_eq!(sentinel.execute(&["SENTINEL", "RESET", MASTER]), ["1"]);
    }
    eventually(LIMIT, "the replica is gone", || {
        (monitor.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(())
    });
    assert_eq!(monitor.daemon.until_event(SOON, "node_gone")["node"], address);
    eventually(LIMIT, "all other nodes are discovered again", || {
        (monitor.daemon.samples().count("redis_up", &[]) == 5).then_some(())
    });
    assert!(
        monitor.daemon.finding("RedisDown").is_none()
            && monitor.daemon.finding("RedisSentinelGhosts").is_none()
    );
    monitor.daemon.until_rounds(5);
    assert_eq!(
        monitor.events("node_gone").len(),
        1,
        "no other node is gone: {:?}",
        monitor.events("node_gone")
    );
    assert_eq!(monitor.deployment_events(), Vec::<String>::new());
}

#[test]
fn sentinel_deployment_names_nodes_by_the_template() {
    let group = SentinelDeployment::start(&SentinelSetup {
        replicas: 1,
        sentinels: 1,
        quorum: 1,
        ..SentinelSetup::default()
    });
    let url = group.sentinels[0].url();
    let text = format!(
        "[[deployment]]\nname = 'sessions'\nmaster_name = '{MASTER}'\n\
         node_name = 'redis-{{port}}.{{host}}'\n\
         sentinels = [{{ url = '{url}', name = 'guard' }}]\n"
    );
    let monitor = Monitor::start(&text);
    let name_of = |node: &Server| format!("redis-{}.127.0.0.1", node.port);
    monitor.until_primary(&name_of(&group.nodes[0]));
    for node in &group.nodes {
        monitor.daemon.until(SOON, "redis_up", &[("node", &name_of(node))], 1.0);
    }
    monitor.daemon.until(SOON, "redis_up", &[("node", "guard")], 1.0);
    monitor.daemon.until(SOON, "redis_sentinel_masters", &[("node", "guard")], 1.0);
    assert_eq!(monitor.daemon.samples().count("redis_up", &[]), 3);
    // A changed template changes the names.
    monitor.daemon.reload(&text.replace("redis-{port}.{host}", "{port}"));
    monitor.until_primary(&group.nodes[0].port.to_string());
    assert_eq!(monitor.daemon.samples().count("redis_up", &[]), 3);
}

/// Starts a group whose Sentinels also monitor a second primary under this name.
fn start_with_second_master(name: &str) -> (SentinelDeployment, Server) {
    let other = Server::standalone("redis-7.0.15");
    let options = monitor_options(name, &other, &SentinelSetup::default());
    (
        SentinelDeployment::start(&SentinelSetup {
            sentinel_options: options,
            ..SentinelSetup::default()
        }),
        other,
    )
}

#[test]
fn deployments_share_connections_to_their_sentinels() {
    let (group, other) = start_with_second_master("second");
    let urls: Vec<_> = group.sentinels.iter().map(Server::url).collect();
    let text =
        group.deployment("sessions", "") + &sentinel_deployment("queue", Some("second"), &urls, "");
    let monitor = Monitor::start(&text);
    for (name, primary) in [("sessions", group.primary().address()), ("queue", other.address())] {
        monitor.daemon.until(LIMIT, PRIMARY_INFO, &[("deployment", name), ("node", &primary)], 1.0);
        for sentinel in &group.sentinels {
            let labels =
                [("deployment", name), ("node", &*sentinel.address()), ("address", &*primary)];
            monitor.daemon.until(SOON, "redis_sentinel_master_info", &labels, 1.0);
        }
    }
    pause(SECOND * 5);
    let samples = monitor.daemon.samples();
    for sentinel in &group.sentinels {
        let node = sentinel.address();
        for series in ["redis_up", "redis_sentinel_masters", "redis_sentinel_tilt"] {
            assert_eq!(
                samples.count(series, &[("node", &node)]),
                1,
                "{series}: one series for all deployments of the Sentinel"
            );
            assert_eq!(
                samples.count(series, &[("node", &node), ("deployment", "sessions")]),
                1,
                "{series}: the series of the first deployment"
            );
        }
        assert_eq!(samples.get("redis_sentinel_masters", &[("node", &node)]), Some(2.0));
        assert_eq!(samples.count("redis_sentinel_quorum_ok", &[("node", &node)]), 2);
        let clients = sentinel.clients();
        let subscribed = |line: &&String| !line.contains(" sub=0 ") || !line.contains(" psub=0 ");
        assert_eq!(
            (clients.len(), clients.iter().filter(subscribed).count()),
            (2, 1),
            "one connection for polls and one for the subscription: {clients:?}"
        );
    }
    // Removing one of the two deployments keeps the connections.
    let ids = |sentinel: &Server| -> Vec<String> {
        sentinel
            .clients()
            .iter()
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect()
    };
    let before = ids(&group.sentinels[0]);
    monitor.daemon.reload(&group.deployment("sessions", ""));
    eventually(SOON, "one deployment is gone", || {
        (monitor.daemon.samples().count("redis_deployment_info", &[]) == 1).then_some(())
    });
    monitor.daemon.until_rounds(2);
    assert_eq!(ids(&group.sentinels[0]), before);
    assert_eq!(monitor.node_value("redis_up", &group.sentinels[0]), Some(1.0));
}

#[test]
fn every_monitored_master_is_a_deployment() {
    let (group, second) = start_with_second_master("second");
    let third = Server::standalone("redis-7.0.15");
    let urls: Vec<_> = group.sentinels.iter().map(Server::url).collect();
    let monitor =
        Monitor::start(&sentinel_deployment("{master}", None, &urls, "forget_after = '2s'"));
    monitor.daemon.until(
        LIMIT,
        PRIMARY_INFO,
        &[("deployment", MASTER), ("node", &group.primary().address())],
        1.0,
    );
    monitor.daemon.until(
        LIMIT,
        PRIMARY_INFO,
        &[("deployment", "second"), ("node", &second.address())],
        1.0,
    );
    let deployments =
        || monitor.daemon.samples().count("redis_deployment_info", &[("kind", "sentinel")]);
    assert_eq!(deployments(), 2);
    assert_eq!(
        monitor
            .daemon
            .samples()
            .count("redis_up", &[("deployment", "second"), ("node", &second.address())]),
        1
    );

    for sentinel in &group.sentinels {
        assert_eq!(
            sentinel.execute(&[
                "SENTINEL",
                "MONITOR",
                "third",
                &third.host,
                &third.port.to_string(),
                "2"
            ]),
            ["OK"]
        );
    }
    let took = monitor.daemon.until(
        SOON,
        PRIMARY_INFO,
        &[("deployment", "third"), ("node", &third.address())],
        1.0,
    );
    println!("a new master became a deployment after {took:?}");
    assert!(took < SECOND * 5, "{took:?}");
    assert_eq!(deployments(), 3);
    monitor.daemon.until(
        SOON,
        "redis_sentinel_masters",
        &[("node", &group.sentinels[0].address())],
        3.0,
    );

    for sentinel in &group.sentinels {
        assert_eq!(sentinel.execute(&["SENTINEL", "REMOVE", "third"]), ["OK"]);
    }
    eventually(LIMIT, "the deployment is gone", || {
        (monitor.daemon.samples().count("redis_deployment_info", &[("deployment", "third")]) == 0)
            .then_some(())
    });
    let text = monitor.daemon.get("/metrics", "text/plain").text;
    assert!(
        !text.contains("deployment=\"third\"") && !text.contains(&third.address()),
        "no series of the deployment is left"
    );
    assert_eq!(deployments(), 2);
    eventually(SOON, "the connection to its primary is closed", || {
        third.clients().is_empty().then_some(())
    });
}

#[test]
fn deployment_ends_only_after_its_master_is_gone_for_good() {
    let (group, second) = start_with_second_master("second");
    // The deployment has only one Sentinel. With several, the others would still know the master.
    let sentinel = &group.sentinels[0];
    let monitor = Monitor::start(&sentinel_deployment(
        "{master}",
        None,
        &[sentinel.url()],
        "forget_after = '15s'",
    ));
    for (name, primary) in [(MASTER, group.primary()), ("second", &second)] {
        monitor.daemon.until(
            LIMIT,
            PRIMARY_INFO,
            &[("deployment", name), ("node", &primary.address())],
            1.0,
        );
    }
    // Nothing changes for longer than `forget_after`.
    pause(SECOND * 17);
    let rounds =
        || monitor.daemon.samples().get("rolecall_rounds_total", &[("deployment", "second")]);
    let before = rounds();
    let until_masters = |masters| {
        monitor.daemon.until(
            SECOND * 5,
            "redis_sentinel_masters",
            &[("node", &sentinel.address())],
            masters,
        )
    };
    let send = |command: &[&str]| assert_eq!(sentinel.execute(command), ["OK"]);
    send(&["SENTINEL", "REMOVE", "second"]);
    until_masters(1.0);
    send(&["SENTINEL", "MONITOR", "second", &second.host, &second.port.to_string(), "2"]);
    until_masters(2.0);
    assert!(
        before >= Some(10.0) && rounds() > before,
        "polling continued: {before:?} rounds, then {:?}",
        rounds()
    );

    // Both masters are removed permanently, one right after the other.
    let removed = Stopwatch::start();
    for name in [MASTER, "second"] {
        send(&["SENTINEL", "REMOVE", name]);
    }
    for name in [MASTER, "second"] {
        let gone = || {
            (monitor.daemon.samples().count("redis_deployment_info", &[("deployment", name)]) == 0)
                .then_some(())
        };
        eventually(LIMIT, "the deployment is gone", gone);
        assert!(removed.elapsed() > SECOND * 14, "{name} is gone after {:?}", removed.elapsed());
    }
    println!("both deployments are gone after {:?}", removed.elapsed());
}

#[test]
fn dead_sentinel_that_others_list_is_a_ghost() {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let urls = [group.sentinels[0].url(), group.sentinels[1].url()];
    let monitor =
        Monitor::start(&sentinel_deployment("sessions", Some(MASTER), &urls, "ghost_after = '3s'"));
    monitor.until_primary(&group.primary().address());
    monitor.until_no_findings();
    let dead_sentinel = group.sentinels[2].address();
    group.sentinels[2].kill();
    monitor.daemon.until(SOON * 2, "redis_sentinel_ghosts", &[("kind", "sentinel")], 1.0);
    let finding = monitor.until_finding(SOON, "RedisSentinelGhosts", "warning");
    check_names(&finding["evidence"]["sentinels"], &[dead_sentinel]);
    check_names(&finding["evidence"]["replicas"], &[]);
    assert!(
        monitor.daemon.finding("RedisSentinelDown").is_none(),
        "the Sentinel is not configured"
    );
    for sentinel in &group.sentinels[..2] {
        assert_eq!(monitor.node_value("redis_sentinel_quorum_ok", sentinel), Some(1.0));
        assert_eq!(monitor.node_value("redis_sentinel_master_ok_sentinels", sentinel), Some(2.0));
    }
    // The dead Sentinel counts for the majority until a reset removes it.
    for sentinel in &group.sentinels[..2] {
        assert_eq!(sentinel.execute(&["SENTINEL", "RESET", MASTER]), ["1"]);
    }
    monitor.daemon.until(SOON * 2, "redis_sentinel_ghosts", &[("kind", "sentinel")], 0.0);
    monitor.until_no_findings();
    assert_eq!(monitor.deployment_events(), Vec::<String>::new());
}
