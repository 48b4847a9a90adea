//! Redis Cluster on real servers: membership, shards, slots, failovers and partitions, each with
//! its events.

mod cost;
mod failover;
mod membership;
mod partition;
mod replicas;
mod slots;

use serde_json::{Value, json};
use tests::{Cluster, Samples, Server};

use crate::monitor::{LIMIT, Monitor, PRIMARY_INFO, SPLIT_BRAIN, UNREPLICATED_WRITES};

const CLUSTER_OK: &str = "redis_cluster_ok";
const DOUBTFUL_NODES: &str = "redis_cluster_nodes_doubtful";
const UNCOVERED_SLOTS: &str = "redis_cluster_slots_uncovered";
const CONFLICTING_SLOTS: &str = "redis_cluster_slots_conflicting";
const MIGRATING_SLOTS: &str = "redis_cluster_slots_migrating";
const NO_PRIMARY: &str = "redis_deployment_no_primary";
const WITHOUT_REPLICA: &str = "RedisClusterShardWithoutReplica";

/// The shards of three masters: label, first slot and number of slots.
const SHARDS: [(&str, u16, f64); 3] =
    [("0", 0, 5461.0), ("5461", 5461, 5462.0), ("10923", 10_923, 5461.0)];

/// Events of a shard whose master was down for longer than `down_after` and was replaced.
const FAILOVER_EVENTS: [&str; 3] = ["primary_lost", "primary_changed", "primary_regained"];

/// Starts a daemon on a cluster as the deployment `cache`. Waits until all nodes are up and there
/// are no findings.
fn start_settled(cluster: &Cluster, seeds: &[usize], more: &str) -> Monitor {
    let monitor = Monitor::start(&cluster.deployment("cache", seeds, more));
    until_discovered(&monitor, cluster, "cache");
    monitor.until_no_findings();
    assert_eq!(monitor.daemon.events(), Vec::<Value>::new(), "discovering a node is no change");
    monitor
}

/// Waits until all nodes are up, all replicas are linked, and every shard has its primary.
#[track_caller]
fn until_discovered(monitor: &Monitor, cluster: &Cluster, deployment: &str) {
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
    monitor.daemon.until(LIMIT, CLUSTER_OK, &[("deployment", deployment)], 1.0);
    monitor.daemon.until(LIMIT, DOUBTFUL_NODES, &[("deployment", deployment)], 0.0);
    monitor.daemon.until(LIMIT, UNCOVERED_SLOTS, &[("deployment", deployment)], 0.0);
}

/// Waits until this node is the primary of the shard.
#[track_caller]
fn until_primary(monitor: &Monitor, deployment: &str, shard: &str, node: &Server) {
    monitor.daemon.until(
        LIMIT,
        PRIMARY_INFO,
        &[("deployment", deployment), ("shard", shard), ("node", &node.address())],
        1.0,
    );
}

/// Returns the value of the one series of this name about a shard.
fn shard_value(monitor: &Monitor, name: &str, shard: &str) -> Option<f64> {
    monitor.daemon.samples().get(name, &[("shard", shard)])
}

/// Checks that there are exactly three shards, each with one series of each kind.
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

/// Returns all findings of this kind.
fn findings(monitor: &Monitor, kind: &str) -> Vec<Value> {
    let document = monitor.daemon.document("/api/v1/findings");
    let all = document["findings"].as_array().expect("a list").iter();
    let findings: Vec<_> = all.filter(|finding| finding["kind"] == kind).cloned().collect();
    assert!(
        findings
            .iter()
            .all(|finding| finding["summary"].as_str().is_some_and(|summary| !summary.is_empty())),
        "{findings:?}"
    );
    findings
}

/// Returns the kinds of the events of a shard without split brains. A failover has two masters for
/// about 40 ms, which some rounds observe. Checks that each split brain ended without lost writes.
#[track_caller]
fn shard_events(monitor: &Monitor, shard: &str) -> Vec<String> {
    let events = monitor.daemon.events();
    let about_shard = events.iter().filter(|event| event["shard"] == shard);
    let mut kinds: Vec<_> =
        about_shard.map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect();
    let count = |wanted: &str| kinds.iter().filter(|kind| *kind == wanted).count();
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

/// Checks that there are no events about other shards or about the deployment as a whole.
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

/// Checks that the primary changed exactly once.
#[track_caller]
fn check_primary_change(monitor: &Monitor, shard: &str, from: &Server, to: &Server) {
    let changes = monitor.events("primary_changed");
    assert_eq!(changes.len(), 1, "{changes:?}");
    let change =
        ["shard", "from", "to", "cause"].map(|key| changes[0][key].as_str().unwrap_or_default());
    assert_eq!(
        change,
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

/// Returns the expected node and roles of a `role_changed` event.
fn role_change(node: &Server, from: &str, to: &str) -> Value {
    json!([node.address(), from, to])
}

/// Returns the nodes and roles of all `role_changed` events.
fn role_changes(monitor: &Monitor) -> Vec<Value> {
    monitor
        .events("role_changed")
        .iter()
        .map(|event| json!([event["node"], event["from"], event["to"]]))
        .collect()
}
