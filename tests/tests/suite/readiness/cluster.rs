//! Reasons against a failover of a cluster shard.

use tests::{Cluster, ClusterSetup, SECOND, Server, eventually};

use super::{
    NOT_READY, candidates, check_stays_ready, cut, mend, obstacles, restart_empty, until_blockers,
    until_not_ready,
};
use crate::monitor::{LIMIT, Monitor, SOON};

const SHARDS: [Option<&str>; 3] = [Some("0"), Some("5461"), Some("10923")];

fn start(setup: &ClusterSetup) -> (Cluster, Monitor) {
    let cluster = Cluster::start(setup);
    let monitor = Monitor::start(&cluster.deployment("cache", &[0], ""));
    for node in &cluster.nodes {
        monitor.daemon.until(LIMIT, "redis_up", &[("node", &node.address())], 1.0);
    }
    (cluster, monitor)
}

fn check_healthy(version: &'static str) {
    let (_cluster, monitor) = start(&ClusterSetup { version, ..ClusterSetup::default() });
    for shard in SHARDS {
        until_blockers(&monitor.daemon, shard, LIMIT, &[]);
    }
    check_stays_ready(&monitor.daemon, &SHARDS);
    assert!(monitor.daemon.finding(NOT_READY).is_none());
}

#[test]
fn a_healthy_cluster_is_always_ready_on_redis_5() {
    check_healthy("redis-5.0.6");
}

#[test]
fn a_healthy_cluster_is_always_ready_on_valkey() {
    check_healthy("valkey-9.1.2");
}

#[test]
fn a_shard_whose_replica_may_not_fail_over_has_no_candidate() {
    let (cluster, monitor) = start(&ClusterSetup::default());
    let set = |value: &str| {
        let set = ["CONFIG", "SET", "cluster-replica-no-failover", value];
        assert_eq!(cluster.nodes[4].execute(&set), ["OK"]);
    };
    set("yes");
    let found = until_blockers(&monitor.daemon, Some("5461"), LIMIT, &["no_candidate"]);
    assert_eq!(obstacles(&found), ["no_failover"]);
    until_blockers(&monitor.daemon, Some("0"), SOON, &[]);
    let finding = until_not_ready(&monitor.daemon);
    assert_eq!((&finding["shard"], &finding["severity"]), (&"5461".into(), &"warning".into()));
    set("no");
    until_blockers(&monitor.daemon, Some("5461"), LIMIT, &[]);
}

#[test]
fn two_masters_never_have_a_majority() {
    let (cluster, monitor) = start(&ClusterSetup { masters: 2, ..ClusterSetup::default() });
    let found = until_blockers(&monitor.daemon, Some("0"), LIMIT, &["no_candidate"]);
    assert_eq!(obstacles(&found), ["too_few_masters"]);
    let mut cluster = cluster;
    cluster.nodes[0].kill();
    eventually(LIMIT, "the other master suspects the failure", || {
        let map = cluster.nodes_seen_by(1);
        map.iter().any(|node| node.has("fail?")).then_some(())
    });
    monitor.daemon.until_rounds(10);
    assert_eq!(cluster.nodes[2].role().as_deref(), Some("slave"), "no replica is promoted");
}

#[test]
fn dead_masters_of_other_shards_leave_no_majority() {
    let (mut cluster, monitor) = start(&ClusterSetup::default());
    for shard in SHARDS {
        until_blockers(&monitor.daemon, shard, LIMIT, &[]);
    }
    // The replica first, or the cluster promotes it.
    cluster.nodes[3].kill();
    cluster.nodes[0].kill();
    let found = until_blockers(&monitor.daemon, Some("5461"), LIMIT, &["no_candidate"]);
    assert_eq!(obstacles(&found), ["masters_down"]);
    assert_eq!(until_not_ready(&monitor.daemon)["caused_by"], "RedisDown");
    cluster.nodes[0].restart();
    cluster.nodes[3].restart();
    for shard in SHARDS {
        until_blockers(&monitor.daemon, shard, LIMIT, &[]);
    }
}

#[test]
fn a_replica_without_a_link_lags_and_then_is_no_candidate() {
    let options = "cluster-slave-validity-factor 3\n".to_owned();
    let (cluster, monitor) =
        start(&ClusterSetup { version: "redis-6.2.14", options, ..ClusterSetup::default() });
    until_blockers(&monitor.daemon, Some("0"), LIMIT, &[]);
    cut(&cluster.nodes[0], &cluster.nodes[3]);
    cluster.write("key", 60);
    let found = until_blockers(&monitor.daemon, Some("0"), LIMIT, &["candidate_lagging"]);
    assert_eq!(candidates(&found), [cluster.nodes[3].address()]);
    assert!(found["candidates"][0]["changes"].as_u64() > Some(5), "{found}");
    // 10 s and three times the timeout of 3 s.
    let found = until_blockers(&monitor.daemon, Some("0"), SECOND * 40, &["no_candidate"]);
    assert_eq!(obstacles(&found), ["link_down"]);
    mend(&cluster.nodes[3]);
    until_blockers(&monitor.daemon, Some("0"), LIMIT, &[]);
}

/// A cluster promotes an empty replica only without a validity factor.
#[test]
fn an_empty_replica_is_a_candidate_without_a_validity_factor() {
    for (factor, blocker) in [("0", "candidate_empty"), ("10", "no_candidate")] {
        let options = format!("appendonly no\ncluster-slave-validity-factor {factor}\n");
        let (mut cluster, monitor) =
            start(&ClusterSetup { version: "redis-8.2.3", options, ..ClusterSetup::default() });
        until_blockers(&monitor.daemon, Some("0"), LIMIT, &[]);
        cluster.write("key", 60);
        let (masters, replicas) = cluster.nodes.split_at_mut(3);
        restart_empty(&masters[0], &mut replicas[0]);
        until_blockers(&monitor.daemon, Some("0"), LIMIT, &[blocker]);
        cluster.nodes[0].kill();
        let promoted = |node: &Server| node.role().as_deref() == Some("master");
        if blocker == "candidate_empty" {
            eventually(LIMIT, "the empty replica is promoted", || {
                promoted(&cluster.nodes[3]).then_some(())
            });
            assert_eq!(cluster.nodes[3].execute(&["DBSIZE"]), ["0"]);
        } else {
            eventually(LIMIT, "the others consider the master failed", || {
                cluster.nodes_seen_by(1).iter().any(|node| node.has("fail")).then_some(())
            });
            monitor.daemon.until_rounds(10);
            assert!(!promoted(&cluster.nodes[3]), "an empty replica is not promoted");
        }
    }
}

/// The replica with the higher offset is promoted.
#[test]
fn a_cluster_promotes_the_replica_that_was_named() {
    let (mut cluster, monitor) =
        start(&ClusterSetup { version: "valkey-9.1.2", replicas: 2, ..ClusterSetup::default() });
    let found = until_blockers(&monitor.daemon, Some("0"), LIMIT, &[]);
    assert_eq!(candidates(&found).len(), 2, "{found}");
    cut(&cluster.nodes[0], &cluster.nodes[3]);
    cluster.write("key", 60);
    let expected = cluster.nodes[4].address();
    let (named, _) = eventually(LIMIT, "one replica is named", || {
        let found = super::failover(&monitor.daemon, Some("0"));
        (candidates(&found) == [expected.as_str()]).then_some(found)
    });
    // Its offset is between two samples of the master, or at one of them.
    assert_eq!(named["candidates"][0]["changes_min"], 0, "{named}");
    cluster.nodes[0].kill();
    let owner = cluster.until_failed_over(LIMIT, 0, 0);
    assert_eq!(cluster.nodes[owner].address(), expected);
}
