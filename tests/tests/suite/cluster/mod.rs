//! Redis Cluster on real servers: who belongs to it, what is said of its shards, and what happens to them, each with its events.

mod cost;
mod failover;
mod membership;
mod partition;
mod replicas;
mod slots;

use serde_json::{Value, json};
use tests::{Cluster, Samples, Server};

use crate::monitor::{LIMIT, Monitor, PRIMARY_INFO, SPLIT_BRAIN, UNREPLICATED_WRITES};

const OK: &str = "redis_cluster_ok";
const DOUBTFUL: &str = "redis_cluster_nodes_doubtful";
const UNCOVERED: &str = "redis_cluster_slots_uncovered";
const CONFLICTING: &str = "redis_cluster_slots_conflicting";
const MIGRATING: &str = "redis_cluster_slots_migrating";
const NO_PRIMARY: &str = "redis_deployment_no_primary";
const WITHOUT_REPLICA: &str = "RedisClusterShardWithoutReplica";

/// The shards of three masters, and the slots that each has.
const SHARDS: [(&str, u16, f64); 3] =
    [("0", 0, 5461.0), ("5461", 5461, 5462.0), ("10923", 10_923, 5461.0)];

/// Events of a shard whose master was gone for longer than `down_after`, and was replaced meanwhile.
const REPLACED: [&str; 3] = ["primary_lost", "primary_changed", "primary_regained"];

/// Starts a daemon on a cluster as the deployment `cache`, and waits until it knows all of it and finds nothing.
fn settled(cluster: &Cluster, seeds: &[usize], more: &str) -> Monitor {
    let monitor = Monitor::start(&cluster.deployment("cache", seeds, more));
    until_known(&monitor, cluster, "cache");
    monitor.until_quiet();
    assert_eq!(monitor.daemon.events(), Vec::<Value>::new(), "first sight is no change");
    monitor
}

/// Waits until every node answers as what it is, and every shard has the primary that it has.
#[track_caller]
fn until_known(monitor: &Monitor, cluster: &Cluster, deployment: &str) {
    for node in &cluster.nodes {
        monitor.daemon.until(
            LIMIT,
            "redis_up",
            &[("deployment", deployment), ("node", &node.address())],
            1.0,
        );
        if node.role().as_deref() == Some("slave") {
            monitor.daemon.until(
                LIMIT,
                "redis_link_state",
                &[("node", &node.address()), ("state", "up")],
                1.0,
            );
        }
    }
    for (shard, slot, _) in SHARDS {
        until_primary(monitor, deployment, shard, &cluster.nodes[cluster.owner(slot)]);
    }
    monitor.daemon.until(LIMIT, OK, &[("deployment", deployment)], 1.0);
    monitor.daemon.until(LIMIT, DOUBTFUL, &[("deployment", deployment)], 0.0);
    monitor.daemon.until(LIMIT, UNCOVERED, &[("deployment", deployment)], 0.0);
}

#[track_caller]
fn until_primary(monitor: &Monitor, deployment: &str, shard: &str, node: &Server) {
    monitor.daemon.until(
        LIMIT,
        PRIMARY_INFO,
        &[("deployment", deployment), ("shard", shard), ("node", &node.address())],
        1.0,
    );
}

/// The value of a shard.
fn of_shard(monitor: &Monitor, name: &str, shard: &str) -> Option<f64> {
    monitor.daemon.samples().get(name, &[("shard", shard)])
}

/// There are these three shards and no other, each with one series of each kind.
#[track_caller]
fn check_shards(samples: &Samples, deployment: &str) {
    for series in [
        "redis_deployment_masters",
        SPLIT_BRAIN,
        NO_PRIMARY,
        "redis_deployment_replicas",
        UNREPLICATED_WRITES,
    ] {
        assert_eq!(samples.count(series, &[("deployment", deployment)]), SHARDS.len(), "{series}");
        for (shard, ..) in SHARDS {
            assert_eq!(
                samples.count(series, &[("deployment", deployment), ("shard", shard)]),
                1,
                "{series} of {shard}"
            );
        }
    }
}

/// All findings of this kind.
fn findings(monitor: &Monitor, kind: &str) -> Vec<Value> {
    let document = monitor.daemon.document("/api/v1/findings");
    let found = document["findings"].as_array().expect("a list").iter();
    let found: Vec<_> = found.filter(|finding| finding["kind"] == kind).cloned().collect();
    assert!(
        found
            .iter()
            .all(|finding| finding["summary"].as_str().is_some_and(|summary| !summary.is_empty())),
        "{found:?}"
    );
    found
}

/// The kinds of the events of a shard, without a split brain that is over. Two masters for some 40 ms are one in some rounds.
#[track_caller]
fn events_of_shard(monitor: &Monitor, shard: &str) -> Vec<String> {
    let events = monitor.daemon.events();
    let of_shard = events.iter().filter(|event| event["shard"] == shard);
    let mut kinds: Vec<_> =
        of_shard.map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect();
    let count = |what: &str| kinds.iter().filter(|kind| *kind == what).count();
    assert_eq!(count("split_brain_began"), count("split_brain_ended"), "{events:?}");
    for ended in events.iter().filter(|event| event["kind"] == "split_brain_ended") {
        assert!(
            ended["unreplicated_writes"] == 0 && ended["seconds"].as_f64() < Some(5.0),
            "{ended}"
        );
    }
    kinds.retain(|kind| !kind.starts_with("split_brain_"));
    kinds
}

/// Nothing happened to any other shard, nor to the deployment as a whole.
#[track_caller]
fn check_only_shard(monitor: &Monitor, shard: &str) {
    let others: Vec<_> = monitor
        .daemon
        .events()
        .into_iter()
        .filter(|event| event["node"].is_null() && event["shard"] != shard)
        .collect();
    assert_eq!(others, Vec::<Value>::new());
}

/// The one change of a primary there was.
#[track_caller]
fn check_changed(monitor: &Monitor, shard: &str, from: &Server, to: &Server) {
    let changes = monitor.events("primary_changed");
    assert_eq!(changes.len(), 1, "{changes:?}");
    let told =
        ["shard", "from", "to", "cause"].map(|key| changes[0][key].as_str().unwrap_or_default());
    assert_eq!(
        told,
        [shard, &from.address(), &to.address(), "cluster"],
        "{:?}",
        monitor.daemon.events()
    );
    let samples = monitor.daemon.samples();
    for (other, ..) in SHARDS {
        let counted = samples.get(
            "redis_deployment_primary_changes_total",
            &[("shard", other), ("cause", "cluster")],
        );
        assert_eq!(counted, Some(f64::from(u8::from(other == shard))), "{other}");
    }
}

/// A role that changed, as its event has it.
fn role_changed(node: &Server, from: &str, to: &str) -> Value {
    json!([node.address(), from, to])
}

fn roles_changed(monitor: &Monitor) -> Vec<Value> {
    monitor
        .events("role_changed")
        .iter()
        .map(|event| json!([event["node"], event["from"], event["to"]]))
        .collect()
}
