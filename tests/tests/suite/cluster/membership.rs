//! Nodes of a cluster: discovery, names, trust, ghosts and changed addresses.

use serde_json::{Value, json};
use tests::{Cluster, ClusterSetup, SECOND, Server, Stopwatch, eventually, free_port};

use super::{
    CLUSTER_OK, CONFLICTING_SLOTS, DOUBTFUL_NODES, FAILOVER_EVENTS, MIGRATING_SLOTS, NO_PRIMARY,
    SHARDS, UNCOVERED_SLOTS, check_only_shard, check_shards, shard_events, start_settled,
    until_discovered, until_primary,
};
use crate::monitor::{LIMIT, Monitor, PRIMARY_INFO, SOON, SPLIT_BRAIN};

#[test]
fn one_seed_discovers_all_nodes_and_shards() {
    check_discovery("redis-7.0.15");
}

#[test]
fn one_seed_discovers_all_nodes_and_shards_on_valkey() {
    check_discovery("valkey-9.1.2");
}

fn check_discovery(version: &'static str) {
    let cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
    // A replica as seed knows all nodes too.
    let monitor = start_settled(&cluster, &[4], "labels = { team = 'a' }");
    let samples = monitor.daemon.samples();
    let labels = [("deployment", "cache"), ("kind", "cluster"), ("team", "a")];
    assert_eq!(
        (
            samples.count("redis_deployment_info", &[]),
            samples.get("redis_deployment_info", &labels)
        ),
        (1, Some(1.0))
    );
    assert_eq!(
        samples.count("redis_up", &[("deployment", "cache"), ("team", "a")]),
        6,
        "{version}"
    );
    for state in ["known", "answering"] {
        assert_eq!(
            samples.get("redis_deployment_nodes", &[("state", state)]),
            Some(6.0),
            "{state}"
        );
    }
    check_shards(&samples, "cache");
    for (index, (shard, ..)) in SHARDS.iter().enumerate() {
        let shard_value = |series: &str, labels: &[(&str, &str)]| {
            samples.get(series, &[&[("shard", *shard), ("team", "a")], labels].concat())
        };
        let master = cluster.nodes[index].address();
        assert_eq!(samples.count(PRIMARY_INFO, &[("shard", shard)]), 1, "{shard}");
        assert_eq!(
            shard_value(PRIMARY_INFO, &[("node", &master), ("evidence", "cluster")]),
            Some(1.0),
            "{shard}"
        );
        for (series, value) in [
            ("redis_deployment_masters", 1.0),
            ("redis_deployment_replicas", 1.0),
            (SPLIT_BRAIN, 0.0),
            (NO_PRIMARY, 0.0),
        ] {
            assert_eq!(shard_value(series, &[]), Some(value), "{series} of {shard}");
        }
        for cause in ["sentinel", "operator", "failover_command", "cluster", "restart", "unknown"] {
            assert_eq!(
                shard_value("redis_deployment_primary_changes_total", &[("cause", cause)]),
                Some(0.0),
                "{cause}"
            );
        }
    }
    for (node, server) in cluster.nodes.iter().enumerate() {
        let (address, role) = (server.address(), if node < 3 { "master" } else { "replica" });
        let of_node = |name: &str, labels: &[(&str, &str)]| {
            samples.get(name, &[&[("node", address.as_str())], labels].concat())
        };
        for known in ["master", "replica"] {
            assert_eq!(
                of_node("redis_role", &[("role", known)]),
                Some(f64::from(u8::from(role == known))),
                "{address}"
            );
        }
        for (series, value) in [
            ("redis_cluster_enabled", 1.0),
            ("redis_cluster_state", 1.0),
            ("redis_cluster_slots_assigned", 16_384.0),
            ("redis_cluster_slots_ok", 16_384.0),
            ("redis_cluster_slots_fail", 0.0),
            ("redis_cluster_known_nodes", 6.0),
            ("redis_cluster_size", 3.0),
        ] {
            assert_eq!(of_node(series, &[]), Some(value), "{series} of {address}");
        }
        assert_eq!(samples.count("redis_cluster_current_epoch", &[("node", &address)]), 1);
    }
    for (series, value) in [
        (CLUSTER_OK, 1.0),
        (DOUBTFUL_NODES, 0.0),
        (UNCOVERED_SLOTS, 0.0),
        (CONFLICTING_SLOTS, 0.0),
        (MIGRATING_SLOTS, 0.0),
        ("redis_cluster_nodes_misjudged", 0.0),
        ("redis_cluster_ghosts", 0.0),
    ] {
        assert_eq!(
            (
                samples.count(series, &[]),
                samples.get(series, &[("deployment", "cache"), ("team", "a")])
            ),
            (1, Some(value)),
            "{series}"
        );
    }
}

#[test]
fn cluster_nodes_are_named_by_the_template() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let monitor =
        Monitor::start(&cluster.deployment("cache", &[0], "node_name = 'redis-{port}.{host}'"));
    let name_of = |node: &Server| format!("redis-{}.127.0.0.1", node.port);
    for (index, (shard, ..)) in SHARDS.iter().enumerate().skip(1) {
        monitor.daemon.until(
            LIMIT,
            PRIMARY_INFO,
            &[("shard", shard), ("node", &name_of(&cluster.nodes[index]))],
            1.0,
        );
    }
    monitor.until_no_findings();
    monitor.daemon.until_rounds(5);
    assert_eq!(monitor.daemon.samples().count("redis_up", &[]), 3, "each node is shown once");
}

#[test]
fn untrusted_cluster_node_is_never_connected_to() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let monitor = Monitor::start(&cluster.deployment("cache", &[0], "trust = ['10.0.0.0/8']"));
    let topology = || monitor.daemon.get("/api/v1/topology", "").text;
    eventually(SOON, "the nodes are shown", || {
        cluster.nodes.iter().all(|node| topology().contains(&node.address())).then_some(())
    });
    monitor.daemon.until_rounds(5);
    for node in &cluster.nodes[1..] {
        assert_eq!(node.clients(), Vec::<String>::new(), "{}", topology());
        assert_ne!(monitor.node_value("redis_up", node), Some(1.0));
    }
    monitor.daemon.reload(&cluster.deployment("cache", &[0], "trust = ['127.0.0.0/8']"));
    until_discovered(&monitor, &cluster, "cache");
}

#[test]
fn added_replica_is_discovered_and_forgotten_replica_is_gone() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let monitor = start_settled(&cluster, &[0], "forget_after = '2s'");
    let node = cluster.add_replica(0);
    let address = cluster.nodes[node].address();
    monitor.daemon.until(SOON, "redis_up", &[("node", &address)], 1.0);
    monitor.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "0")], 2.0);
    let counts = || (monitor.events("node_discovered").len(), monitor.events("node_gone").len());
    assert_eq!(
        (counts(), &monitor.events("node_discovered")[0]["node"]),
        ((1, 0), &json!(address))
    );
    monitor.until_no_findings();
    monitor.daemon.until_rounds(5);

    cluster.nodes[node].kill();
    monitor.daemon.until(SOON, "redis_up", &[("node", &address)], 0.0);
    cluster.forget(node);
    let gone = monitor.daemon.until_event(SOON, "node_gone");
    assert_eq!(gone["node"], address);
    eventually(SOON, "the node is gone", || {
        (monitor.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(())
    });
    monitor.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "0")], 1.0);
    monitor.until_no_findings();
    monitor.daemon.until_rounds(5);
    let samples = monitor.daemon.samples();
    assert_eq!(
        (counts(), samples.count("redis_up", &[]), samples.get("redis_cluster_ghosts", &[])),
        ((1, 1), 6, Some(0.0))
    );
    assert!(
        !monitor.daemon.get("/metrics", "text/plain").text.contains(&address),
        "no series of the node is left"
    );
    assert_eq!(monitor.node_events(&cluster.nodes[node])[0], "node_discovered");
    assert_eq!(
        monitor.node_events_without_moves(&cluster.nodes[node])[1..],
        ["node_unreachable", "node_gone"]
    );
    check_only_shard(&monitor, "none");
}

#[test]
fn replica_that_left_the_cluster_is_gone_while_running() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let node = cluster.add_replica(0);
    let monitor = start_settled(&cluster, &[0], "forget_after = '2s'");
    let address = cluster.nodes[node].address();
    // The same steps as `redis-cli --cluster del-node` since 7.0.
    cluster.forget(node);
    assert_eq!(cluster.nodes[node].execute(&["CLUSTER", "RESET", "SOFT"]), ["OK"]);
    monitor.daemon.until_rounds(3);
    // The node shares the replication history of the shard but has no slots.
    assert_eq!(
        monitor
            .daemon
            .samples()
            .get(PRIMARY_INFO, &[("shard", "0"), ("node", &cluster.nodes[0].address())]),
        Some(1.0)
    );
    assert_eq!(shard_events(&monitor, "0"), Vec::<String>::new(), "{:?}", monitor.daemon.events());
    let gone = monitor.daemon.until_event(SOON, "node_gone");
    assert_eq!(gone["node"], address);
    eventually(SOON, "the node is gone", || {
        (monitor.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(())
    });
    monitor.until_no_findings();
    monitor.daemon.until_rounds(5);
    assert_eq!(
        (monitor.events("node_gone").len(), monitor.daemon.samples().count("redis_up", &[])),
        (1, 6),
        "{:?}",
        monitor.daemon.events()
    );
    assert!(
        monitor.events("split_brain_began").is_empty(),
        "a node that left is no master of the shard: {:?}",
        monitor.daemon.events()
    );
    check_shards(&monitor.daemon.samples(), "cache");
    assert_eq!(cluster.nodes[node].clients(), Vec::<String>::new(), "the node is no longer polled");
    check_only_shard(&monitor, "none");
}

#[test]
fn long_failed_cluster_node_is_a_ghost_until_it_returns() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let monitor = start_settled(&cluster, &[0], "ghost_after = '5s'");
    let address = cluster.nodes[5].address();
    cluster.nodes[5].kill();
    let killed = Stopwatch::start();
    monitor.daemon.until(SOON * 2, "redis_cluster_ghosts", &[], 1.0);
    let took = killed.elapsed();
    // The cluster marks the node as failed after 2 to 5 s, which must last for 5 s.
    assert!(took > SECOND * 6 && took < SECOND * 20, "{took:?}");
    eventually(SOON, "the node is gone", || {
        (monitor.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(())
    });
    assert_eq!(monitor.daemon.until_event(SOON, "node_gone")["node"], address);
    assert!(monitor.daemon.finding("RedisDown").is_none(), "a node that is gone is not down");
    assert_eq!(monitor.daemon.value(CLUSTER_OK), Some(1.0));

    cluster.nodes[5].restart();
    monitor.daemon.until(LIMIT, "redis_up", &[("node", &address)], 1.0);
    monitor.daemon.until(LIMIT, "redis_cluster_ghosts", &[], 0.0);
    cluster.until_healthy();
    monitor.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "10923")], 1.0);
    monitor.until_no_findings();
    assert_eq!(
        (monitor.events("node_discovered").len(), monitor.events("node_gone").len()),
        (1, 1),
        "{:?}",
        monitor.daemon.events()
    );
    check_only_shard(&monitor, "none");
}

#[test]
fn cluster_node_with_a_new_address_is_tracked() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let monitor = start_settled(&cluster, &[0], "");
    // First a replica, then a master, which returns before the cluster replaces it.
    for node in [5, 2] {
        let before = cluster.nodes[node].address();
        cluster.nodes[node].kill();
        cluster.nodes[node].restart_on_port(free_port());
        let address = cluster.nodes[node].address();
        monitor.daemon.until(LIMIT, "redis_up", &[("node", &address)], 1.0);
        cluster.until_healthy();
        eventually(SOON, "the old address is gone", || {
            (monitor.daemon.samples().count("redis_up", &[("node", &before)]) == 0).then_some(())
        });
        assert_eq!(monitor.daemon.samples().count("redis_up", &[]), 6);
        monitor.until_no_findings();
    }
    assert_eq!(monitor.daemon.value(CLUSTER_OK), Some(1.0));
    for kind in ["node_gone", "node_discovered"] {
        assert_eq!(monitor.events(kind).len(), 2, "{kind}: {:?}", monitor.daemon.events());
    }
    assert_eq!(monitor.events("primary_changed").len(), 0, "{:?}", monitor.daemon.events());
}

#[test]
fn two_clusters_are_two_deployments() {
    let cache = Cluster::start(&ClusterSetup::default());
    let mut queue = Cluster::start(&ClusterSetup::default());
    let text =
        cache.deployment("cache", &[0], "") + &queue.deployment("queue", &[1], "down_after = '2s'");
    let monitor = Monitor::start(&text);
    for (cluster, name) in [(&cache, "cache"), (&queue, "queue")] {
        until_discovered(&monitor, cluster, name);
        let samples = monitor.daemon.samples();
        check_shards(&samples, name);
        assert_eq!(samples.count("redis_up", &[("deployment", name)]), 6);
        for node in &cluster.nodes {
            assert_eq!(samples.count("redis_up", &[("node", &node.address())]), 1, "{name}");
        }
    }
    monitor.until_no_findings();
    assert_eq!(monitor.daemon.events(), Vec::<Value>::new());

    queue.nodes[1].kill();
    let after = queue.until_failed_over(LIMIT, 1, 5461);
    assert_eq!(after, 4);
    until_primary(&monitor, "queue", "5461", &queue.nodes[4]);
    queue.nodes[1].restart();
    queue.until_healthy();
    until_discovered(&monitor, &queue, "queue");
    monitor.until_no_findings();
    until_discovered(&monitor, &cache, "cache");
    let events = monitor.daemon.events();
    assert!(
        events.iter().all(|event| event["deployment"] == "queue"),
        "no events about the other cluster: {events:?}"
    );
    assert_eq!(shard_events(&monitor, "5461"), FAILOVER_EVENTS, "{events:?}");
    let primary_changes = |name: &str| {
        let labels = [("deployment", name), ("shard", "5461"), ("cause", "cluster")];
        monitor.daemon.samples().get("redis_deployment_primary_changes_total", &labels)
    };
    assert_eq!((primary_changes("queue"), primary_changes("cache")), (Some(1.0), Some(0.0)));
}
