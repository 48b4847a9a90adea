//! Redis Cluster on real servers: who belongs to it, what is said of its shards, and what happens to them, each with its events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Cluster, ClusterSetup, Samples, Server, Side, Sides, Signal, Stopwatch, eventually, pause};

use crate::watch::{LIMIT, LOST, Observer, PRIMARY, SECOND, SOON, SPLIT_BRAIN, Watch, check_names};

const OK: &str = "redis_cluster_ok";
const DOUBTFUL: &str = "redis_cluster_nodes_doubtful";
const UNCOVERED: &str = "redis_cluster_slots_uncovered";
const CONFLICTING: &str = "redis_cluster_slots_conflicting";
const MIGRATING: &str = "redis_cluster_slots_migrating";
const NO_PRIMARY: &str = "redis_deployment_no_primary";
const WITHOUT_REPLICA: &str = "RedisClusterShardWithoutReplica";

/// The shards of three masters, and the slots that each has.
const SHARDS: [(&str, u16, f64); 3] = [("0", 0, 5461.0), ("5461", 5461, 5462.0), ("10923", 10_923, 5461.0)];

/// Events of a shard whose master was gone for longer than `down_after`, and was replaced meanwhile.
const REPLACED: [&str; 3] = ["primary_lost", "primary_changed", "primary_regained"];

/// Starts a daemon on a cluster as the deployment `cache`, and waits until it knows all of it and finds nothing.
fn settled(cluster: &Cluster, seeds: &[usize], more: &str) -> Watch {
    let watch = Watch::of(&cluster.deployment("cache", seeds, more));
    until_known(&watch, cluster, "cache");
    watch.until_quiet();
    assert_eq!(watch.daemon.events(), Vec::<Value>::new(), "first sight is no change");
    watch
}

/// Waits until every node answers as what it is, and every shard has the primary that it has.
#[track_caller]
fn until_known(watch: &Watch, cluster: &Cluster, deployment: &str) {
    for node in &cluster.nodes {
        watch.daemon.until(LIMIT, "redis_up", &[("deployment", deployment), ("node", &node.address())], 1.0);
        if node.role().as_deref() == Some("slave") {
            watch.daemon.until(LIMIT, "redis_link_state", &[("node", &node.address()), ("state", "up")], 1.0);
        }
    }
    for (shard, slot, _) in SHARDS {
        until_primary(watch, deployment, shard, &cluster.nodes[cluster.owner(slot)]);
    }
    watch.daemon.until(LIMIT, OK, &[("deployment", deployment)], 1.0);
    watch.daemon.until(LIMIT, DOUBTFUL, &[("deployment", deployment)], 0.0);
    watch.daemon.until(LIMIT, UNCOVERED, &[("deployment", deployment)], 0.0);
}

#[track_caller]
fn until_primary(watch: &Watch, deployment: &str, shard: &str, node: &Server) {
    watch.daemon.until(LIMIT, PRIMARY, &[("deployment", deployment), ("shard", shard), ("node", &node.address())], 1.0);
}

/// The value of a shard.
fn of_shard(watch: &Watch, name: &str, shard: &str) -> Option<f64> {
    watch.daemon.samples().get(name, &[("shard", shard)])
}

/// There are these three shards and no other, each with one series of each kind.
#[track_caller]
fn check_shards(samples: &Samples, deployment: &str) {
    for series in ["redis_deployment_masters", SPLIT_BRAIN, NO_PRIMARY, "redis_deployment_replicas", LOST] {
        assert_eq!(samples.count(series, &[("deployment", deployment)]), SHARDS.len(), "{series}");
        for (shard, ..) in SHARDS {
            assert_eq!(samples.count(series, &[("deployment", deployment), ("shard", shard)]), 1, "{series} of {shard}");
        }
    }
}

/// All findings of this kind.
fn findings(watch: &Watch, kind: &str) -> Vec<Value> {
    let document = watch.daemon.document("/api/v1/findings");
    let found = document["findings"].as_array().expect("a list").iter();
    let found: Vec<_> = found.filter(|finding| finding["kind"] == kind).cloned().collect();
    assert!(found.iter().all(|finding| finding["summary"].as_str().is_some_and(|summary| !summary.is_empty())), "{found:?}");
    found
}

/// The kinds of the events of a shard, without a split brain that is over. Two masters for some 40 ms are one in some rounds.
#[track_caller]
fn events_of_shard(watch: &Watch, shard: &str) -> Vec<String> {
    let events = watch.daemon.events();
    let of_shard = events.iter().filter(|event| event["shard"] == shard);
    let mut kinds: Vec<_> = of_shard.map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect();
    let count = |what: &str| kinds.iter().filter(|kind| *kind == what).count();
    assert_eq!(count("split_brain_began"), count("split_brain_ended"), "{events:?}");
    for ended in events.iter().filter(|event| event["kind"] == "split_brain_ended") {
        assert!(ended["unreplicated_writes"] == 0 && ended["seconds"].as_f64() < Some(5.0), "{ended}");
    }
    kinds.retain(|kind| !kind.starts_with("split_brain_"));
    kinds
}

/// Nothing happened to any other shard, nor to the deployment as a whole.
#[track_caller]
fn check_only_shard(watch: &Watch, shard: &str) {
    let others: Vec<_> = watch.daemon.events().into_iter().filter(|event| event["node"].is_null() && event["shard"] != shard).collect();
    assert_eq!(others, Vec::<Value>::new());
}

/// The one change of a primary there was.
#[track_caller]
fn check_changed(watch: &Watch, shard: &str, from: &Server, to: &Server) {
    let changes = watch.events("primary_changed");
    assert_eq!(changes.len(), 1, "{changes:?}");
    let told = ["shard", "from", "to", "cause"].map(|key| changes[0][key].as_str().unwrap_or_default());
    assert_eq!(told, [shard, &from.address(), &to.address(), "cluster"], "{:?}", watch.daemon.events());
    let samples = watch.daemon.samples();
    for (other, ..) in SHARDS {
        let counted = samples.get("redis_deployment_primary_changes_total", &[("shard", other), ("cause", "cluster")]);
        assert_eq!(counted, Some(f64::from(u8::from(other == shard))), "{other}");
    }
}

/// A role that changed, as its event has it.
fn role_changed(node: &Server, from: &str, to: &str) -> Value {
    json!([node.address(), from, to])
}

fn roles_changed(watch: &Watch) -> Vec<Value> {
    watch.events("role_changed").iter().map(|event| json!([event["node"], event["from"], event["to"]])).collect()
}

/// Nothing was found above info but these kinds, and of these only about the shard or nobody's.
#[track_caller]
fn check_bothered(observer: &Observer, allowed: &[&str]) {
    for ((severity, kind, node), lasted) in observer.above_info() {
        assert!(allowed.contains(&kind.as_str()), "{severity} {kind} of {node:?} for {lasted:?}");
    }
}

/// Looks at one value of the deployment all the time, and remembers for how long it was what.
struct Gauge {
    seen: Arc<Mutex<BTreeMap<String, Duration>>>,
    ends: Arc<AtomicBool>,
}

impl Gauge {
    fn start(watch: &Watch, name: &'static str) -> Self {
        let gauge = Gauge { seen: Arc::default(), ends: Arc::default() };
        let (seen, ends) = (Arc::clone(&gauge.seen), Arc::clone(&gauge.ends));
        let url = format!("http://127.0.0.1:{}/metrics", watch.daemon.port);
        std::thread::spawn(move || {
            let mut begun = Stopwatch::start();
            while !ends.load(Ordering::Relaxed) {
                pause(SECOND / 10);
                let text = ureq::get(&url).call().ok().and_then(|mut response| response.body_mut().read_to_string().ok());
                let Some(text) = text else { continue };
                let value = Samples::parse(&text).get(name, &[]).map_or_else(|| "absent".to_owned(), |value| value.to_string());
                let lasted = std::mem::replace(&mut begun, Stopwatch::start()).elapsed();
                *seen.lock().expect("seen").entry(value).or_default() += lasted;
            }
        });
        gauge
    }

    /// For how long it was that.
    fn lasted(&self, value: &str) -> Duration {
        self.seen.lock().expect("seen").get(value).copied().unwrap_or_default()
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

// === Who belongs to it ===

#[test]
fn one_seed_is_enough_to_know_all_nodes_and_shards() {
    discovered("redis-7.0.15");
}

#[test]
fn one_seed_of_valkey_is_enough_to_know_all_nodes_and_shards() {
    discovered("valkey-9.1.2");
}

fn discovered(version: &'static str) {
    let cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
    // A replica knows them all, too.
    let watch = settled(&cluster, &[4], "labels = { team = 'a' }");
    let samples = watch.daemon.samples();
    let labels = [("deployment", "cache"), ("kind", "cluster"), ("team", "a")];
    assert_eq!((samples.count("redis_deployment_info", &[]), samples.get("redis_deployment_info", &labels)), (1, Some(1.0)));
    assert_eq!(samples.count("redis_up", &[("deployment", "cache"), ("team", "a")]), 6, "{version}");
    for state in ["known", "answering"] {
        assert_eq!(samples.get("redis_deployment_nodes", &[("state", state)]), Some(6.0), "{state}");
    }
    check_shards(&samples, "cache");
    for (place, (shard, ..)) in SHARDS.iter().enumerate() {
        let of = |series: &str, labels: &[(&str, &str)]| samples.get(series, &[&[("shard", *shard), ("team", "a")], labels].concat());
        let master = cluster.nodes[place].address();
        assert_eq!(samples.count(PRIMARY, &[("shard", shard)]), 1, "{shard}");
        assert_eq!(of(PRIMARY, &[("node", &master), ("evidence", "sole")]), Some(1.0), "{shard}");
        for (series, value) in
            [("redis_deployment_masters", 1.0), ("redis_deployment_replicas", 1.0), (SPLIT_BRAIN, 0.0), (NO_PRIMARY, 0.0)]
        {
            assert_eq!(of(series, &[]), Some(value), "{series} of {shard}");
        }
        for cause in ["sentinel", "operator", "failover_command", "cluster", "restart", "unknown"] {
            assert_eq!(of("redis_deployment_primary_changes_total", &[("cause", cause)]), Some(0.0), "{cause}");
        }
    }
    for (node, server) in cluster.nodes.iter().enumerate() {
        let (address, role) = (server.address(), if node < 3 { "master" } else { "replica" });
        let of_node = |name: &str, labels: &[(&str, &str)]| samples.get(name, &[&[("node", address.as_str())], labels].concat());
        for known in ["master", "replica"] {
            assert_eq!(of_node("redis_role", &[("role", known)]), Some(f64::from(u8::from(role == known))), "{address}");
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
        (OK, 1.0),
        (DOUBTFUL, 0.0),
        (UNCOVERED, 0.0),
        (CONFLICTING, 0.0),
        (MIGRATING, 0.0),
        ("redis_cluster_nodes_misjudged", 0.0),
        ("redis_cluster_ghosts", 0.0),
    ] {
        assert_eq!(
            (samples.count(series, &[]), samples.get(series, &[("deployment", "cache"), ("team", "a")])),
            (1, Some(value)),
            "{series}"
        );
    }
}

#[test]
fn nodes_are_named_by_the_template() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let watch = Watch::of(&cluster.deployment("cache", &[0], "node_name = 'redis-{port}.{host}'"));
    let named = |node: &Server| format!("redis-{}.127.0.0.1", node.port);
    for (place, (shard, ..)) in SHARDS.iter().enumerate().skip(1) {
        watch.daemon.until(LIMIT, PRIMARY, &[("shard", shard), ("node", &named(&cluster.nodes[place]))], 1.0);
    }
    watch.until_quiet();
    watch.let_pass(5.0);
    assert_eq!(watch.daemon.samples().count("redis_up", &[]), 3, "none is there twice");
}

#[test]
fn a_node_outside_the_trusted_networks_is_never_connected_to() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let watch = Watch::of(&cluster.deployment("cache", &[0], "trust = ['10.0.0.0/8']"));
    let topology = || watch.daemon.get("/api/v1/topology", "").text;
    eventually(SOON, "the nodes are shown", || cluster.nodes.iter().all(|node| topology().contains(&node.address())).then_some(()));
    watch.let_pass(5.0);
    for node in &cluster.nodes[1..] {
        assert_eq!(node.clients(), Vec::<String>::new(), "{}", topology());
        assert_ne!(watch.of_node("redis_up", node), Some(1.0));
    }
    watch.reload(&cluster.deployment("cache", &[0], "trust = ['127.0.0.0/8']"));
    until_known(&watch, &cluster, "cache");
}

#[test]
fn a_replica_that_is_added_is_discovered_and_one_that_is_forgotten_is_gone() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let watch = settled(&cluster, &[0], "forget_after = '2s'");
    let node = cluster.add_replica(0);
    let address = cluster.nodes[node].address();
    watch.daemon.until(SOON, "redis_up", &[("node", &address)], 1.0);
    watch.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "0")], 2.0);
    let gone = || (watch.events("node_discovered").len(), watch.events("node_gone").len());
    assert_eq!((gone(), &watch.events("node_discovered")[0]["node"]), ((1, 0), &json!(address)));
    watch.until_quiet();
    watch.let_pass(5.0);

    cluster.nodes[node].kill();
    watch.daemon.until(SOON, "redis_up", &[("node", &address)], 0.0);
    cluster.forget(node);
    let took = watch.daemon.until_event(SOON, "node_gone");
    assert_eq!(took["node"], address);
    eventually(SOON, "it is no member", || (watch.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(()));
    watch.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "0")], 1.0);
    watch.until_quiet();
    watch.let_pass(5.0);
    let samples = watch.daemon.samples();
    assert_eq!((gone(), samples.count("redis_up", &[]), samples.get("redis_cluster_ghosts", &[])), ((1, 1), 6, Some(0.0)));
    assert!(!watch.daemon.get("/metrics", "text/plain").text.contains(&address), "nothing is left of it");
    assert_eq!(watch.events_of(&cluster.nodes[node])[0], "node_discovered");
    assert_eq!(watch.plain_events_of(&cluster.nodes[node])[1..], ["node_unreachable", "node_gone"]);
    check_only_shard(&watch, "none");
}

#[test]
fn a_replica_that_leaves_in_order_is_gone_though_it_still_runs() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let node = cluster.add_replica(0);
    let watch = settled(&cluster, &[0], "forget_after = '2s'");
    let address = cluster.nodes[node].address();
    // As `redis-cli --cluster del-node` does since 7.0.
    cluster.forget(node);
    assert_eq!(cluster.nodes[node].ask(&["CLUSTER", "RESET", "SOFT"]), ["OK"]);
    watch.let_pass(3.0);
    // It has the history of the shard, and none of its slots.
    assert_eq!(watch.daemon.samples().get(PRIMARY, &[("shard", "0"), ("node", &cluster.nodes[0].address())]), Some(1.0));
    assert_eq!(events_of_shard(&watch, "0"), Vec::<String>::new(), "{:?}", watch.daemon.events());
    let gone = watch.daemon.until_event(SOON, "node_gone");
    assert_eq!(gone["node"], address);
    eventually(SOON, "it is no member", || (watch.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(()));
    watch.until_quiet();
    watch.let_pass(5.0);
    assert_eq!((watch.events("node_gone").len(), watch.daemon.samples().count("redis_up", &[])), (1, 6), "{:?}", watch.daemon.events());
    assert!(watch.events("split_brain_began").is_empty(), "who left is no master of the shard: {:?}", watch.daemon.events());
    check_shards(&watch.daemon.samples(), "cache");
    assert_eq!(cluster.nodes[node].clients(), Vec::<String>::new(), "and nobody asks it any more");
    check_only_shard(&watch, "none");
}

#[test]
fn a_node_that_failed_long_ago_is_a_ghost_until_it_returns() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let watch = settled(&cluster, &[0], "ghost_after = '5s'");
    let address = cluster.nodes[5].address();
    cluster.nodes[5].kill();
    let killed = Stopwatch::start();
    watch.daemon.until(SOON * 2, "redis_cluster_ghosts", &[], 1.0);
    let took = killed.elapsed();
    // It is failed after some 2 to 5 s, and that must have lasted for 5 s.
    assert!(took > SECOND * 6 && took < SECOND * 20, "{took:?}");
    eventually(SOON, "it is no member", || (watch.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(()));
    assert_eq!(watch.daemon.until_event(SOON, "node_gone")["node"], address);
    assert!(watch.finding("RedisDown").is_none(), "what is no member cannot be down");
    assert_eq!(watch.value(OK), Some(1.0));

    cluster.nodes[5].restart();
    watch.daemon.until(LIMIT, "redis_up", &[("node", &address)], 1.0);
    watch.daemon.until(LIMIT, "redis_cluster_ghosts", &[], 0.0);
    cluster.until_works();
    watch.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "10923")], 1.0);
    watch.until_quiet();
    assert_eq!((watch.events("node_discovered").len(), watch.events("node_gone").len()), (1, 1), "{:?}", watch.daemon.events());
    check_only_shard(&watch, "none");
}

#[test]
fn two_clusters_are_two_deployments() {
    let cache = Cluster::start(&ClusterSetup::default());
    let mut queue = Cluster::start(&ClusterSetup::default());
    let text = cache.deployment("cache", &[0], "") + &queue.deployment("queue", &[1], "down_after = '1s'");
    let watch = Watch::of(&text);
    for (cluster, name) in [(&cache, "cache"), (&queue, "queue")] {
        until_known(&watch, cluster, name);
        let samples = watch.daemon.samples();
        check_shards(&samples, name);
        assert_eq!(samples.count("redis_up", &[("deployment", name)]), 6);
        for node in &cluster.nodes {
            assert_eq!(samples.count("redis_up", &[("node", &node.address())]), 1, "{name}");
        }
    }
    watch.until_quiet();
    assert_eq!(watch.daemon.events(), Vec::<Value>::new());

    queue.nodes[1].kill();
    let after = queue.until_failed_over(LIMIT, 1, 5461);
    assert_eq!(after, 4);
    until_primary(&watch, "queue", "5461", &queue.nodes[4]);
    queue.nodes[1].restart();
    queue.until_works();
    until_known(&watch, &queue, "queue");
    watch.until_quiet();
    until_known(&watch, &cache, "cache");
    let events = watch.daemon.events();
    assert!(events.iter().all(|event| event["deployment"] == "queue"), "nothing happened to the other: {events:?}");
    assert_eq!(events_of_shard(&watch, "5461"), REPLACED, "{events:?}");
    let of = |name: &str| {
        let labels = [("deployment", name), ("shard", "5461"), ("cause", "cluster")];
        watch.daemon.samples().get("redis_deployment_primary_changes_total", &labels)
    };
    assert_eq!((of("queue"), of("cache")), (Some(1.0), Some(0.0)));
}

// === Failovers ===

#[test]
fn a_killed_master_is_replaced_and_returns_as_a_replica() {
    killed("redis-7.0.15");
}

#[test]
fn a_killed_master_of_valkey_is_replaced_and_returns_as_a_replica() {
    killed("valkey-9.1.2");
}

fn killed(version: &'static str) {
    let mut cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
    cluster.write("key", 300);
    // Sooner than the cluster replaces it.
    let watch = settled(&cluster, &[0, 1, 2], "down_after = '1s'");
    let (observer, gauge) = (Observer::start(&watch.daemon), Gauge::start(&watch, OK));

    cluster.nodes[0].kill();
    let killed = Stopwatch::start();
    watch.daemon.until(SOON, "redis_up", &[("node", &cluster.nodes[0].address())], 0.0);
    assert_eq!(watch.daemon.until_event(SOON, "primary_lost")["why"], "primary_down");
    let after = cluster.until_failed_over(LIMIT, 0, 0);
    assert_eq!(after, 3);
    let promoted = killed.elapsed();
    until_primary(&watch, "cache", "0", &cluster.nodes[3]);
    let shown = killed.elapsed();
    println!("{version}: promoted {promoted:?} after the kill, on /metrics after {shown:?}");
    assert!(shown < promoted + SECOND * 3, "the interval is 1 s");
    watch.daemon.until(SOON, OK, &[], 1.0);
    watch.daemon.until(SOON, UNCOVERED, &[], 0.0);
    // The dead one is listed as failed master still, and is no master of the shard.
    watch.let_pass(3.0);
    check_shards(&watch.daemon.samples(), "cache");
    assert_eq!((of_shard(&watch, "redis_deployment_masters", "0"), of_shard(&watch, NO_PRIMARY, "0")), (Some(1.0), Some(0.0)));
    let found = findings(&watch, WITHOUT_REPLICA);
    assert_eq!(
        found.iter().map(|finding| (&finding["severity"], &finding["shard"])).collect::<Vec<_>>(),
        [(&json!("warning"), &json!("0"))]
    );

    cluster.nodes[0].restart();
    cluster.until_works();
    watch.daemon.until(SOON, "redis_role", &[("node", &cluster.nodes[0].address()), ("role", "replica")], 1.0);
    watch.until_quiet();
    watch.let_pass(12.0);
    until_known(&watch, &cluster, "cache");
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[3]);
    assert_eq!(events_of_shard(&watch, "0"), REPLACED, "{:?}", watch.daemon.events());
    check_only_shard(&watch, "0");
    check_changed(&watch, "0", old, new);
    // Between its start and the first word of the others it may still hold itself for a master.
    assert_eq!(roles_changed(&watch), [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]);
    assert_eq!(watch.plain_events_of(old), ["node_unreachable", "node_back", "restarted", "role_changed"]);
    assert_eq!(watch.plain_events_of(new), ["role_changed"]);
    for node in [1, 2, 4, 5] {
        assert_eq!(watch.events_of(&cluster.nodes[node]), Vec::<String>::new(), "nothing happened to {node}");
    }
    assert_eq!((of_shard(&watch, LOST, "0"), cluster.keys()), (Some(0.0), 300));
    check_shards(&watch.daemon.samples(), "cache");

    println!(
        "{version}: ok {:?}, not ok {:?}, absent {:?}; {:?}",
        gauge.lasted("1"),
        gauge.lasted("0"),
        gauge.lasted("absent"),
        observer.seen()
    );
    assert_eq!(gauge.lasted("absent"), Duration::ZERO, "two masters answered all the time");
    assert!(gauge.lasted("0") < SECOND * 6, "{:?}", gauge.lasted("0"));
    let shown = ["RedisDown", "RedisNoPrimary", "RedisClusterDown", "RedisClusterSlotsUncovered", "RedisWritesBlocked", WITHOUT_REPLICA];
    check_bothered(&observer, &[&shown[..], &["RedisReplicaLinkDown", "RedisReplicaOrphaned"]].concat());
}

#[test]
fn a_planned_failover_is_told_exactly_and_bothers_nobody() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let watch = settled(&cluster, &[0], "");
    let (observer, gauge) = (Observer::start(&watch.daemon), Gauge::start(&watch, OK));
    let (old, new) = (&cluster.nodes[1], &cluster.nodes[4]);

    cluster.failover(4);
    assert_eq!(cluster.until_failed_over(LIMIT, 1, 5461), 4);
    until_primary(&watch, "cache", "5461", new);
    cluster.until_works();
    watch.daemon.until_event(SOON * 2, "primary_changed");
    watch.until_quiet();
    // Command counters are read every 10 s.
    watch.let_pass(12.0);
    until_known(&watch, &cluster, "cache");
    assert_eq!(events_of_shard(&watch, "5461"), ["primary_changed"], "{:?}", watch.daemon.events());
    check_only_shard(&watch, "5461");
    check_changed(&watch, "5461", old, new);
    let mut roles = roles_changed(&watch);
    roles.sort_by_key(|role| role[1] == "master");
    assert_eq!(roles, [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]);
    let reconfigured: Vec<_> = watch.events("reconfigured").iter().map(|event| json!([event["node"], event["command"]])).collect();
    assert_eq!(reconfigured, [json!([new.address(), "cluster_failover"])]);
    let synced = new.section("stats")["sync_full"].parse::<usize>().expect("a number");
    assert_eq!(watch.events("full_resync").len(), synced, "full synchronisations that the new primary served");
    for node in [old, new] {
        assert_eq!(watch.plain_events_of(node), ["role_changed"]);
        let events = watch.events_of(node);
        let count = |kind: &str| events.iter().filter(|event| *event == kind).count();
        assert_eq!(count("link_dropped"), count("link_restored"), "{events:?}");
    }
    for node in [0, 2, 3, 5] {
        assert_eq!(watch.events_of(&cluster.nodes[node]), Vec::<String>::new(), "nothing happened to {node}");
    }
    check_shards(&watch.daemon.samples(), "cache");
    assert_eq!((of_shard(&watch, LOST, "5461"), cluster.keys()), (Some(0.0), 300));
    assert_eq!((gauge.lasted("0"), gauge.lasted("absent")), (Duration::ZERO, Duration::ZERO), "it worked all the time");
    println!("{:?}", observer.seen());
    // A replica is without its master while the two change places.
    for ((severity, kind, node), lasted) in observer.above_info() {
        let moves = kind == "RedisReplicaLinkDown" && node == old.address() && lasted < SECOND * 3;
        assert!(moves, "{severity} {kind} of {node:?} for {lasted:?}");
    }

    // And back: what was replica before is nothing else.
    cluster.failover(1);
    assert_eq!(cluster.until_failed_over(LIMIT, 4, 5461), 1);
    until_primary(&watch, "cache", "5461", old);
    cluster.until_works();
    watch.daemon.until(SOON * 2, "redis_deployment_primary_changes_total", &[("shard", "5461"), ("cause", "cluster")], 2.0);
    watch.until_quiet();
    assert_eq!(events_of_shard(&watch, "5461"), ["primary_changed", "primary_changed"]);
    check_shards(&watch.daemon.samples(), "cache");
}

#[test]
fn a_frozen_master_is_replaced_and_becomes_a_replica_when_it_wakes_up() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let watch = settled(&cluster, &[0], "down_after = '1s'");
    let observer = Observer::start(&watch.daemon);
    let (old, new) = (&cluster.nodes[2], &cluster.nodes[5]);
    old.signal(Signal::Stop);
    watch.daemon.until(SOON, "redis_down_reason", &[("node", &old.address()), ("reason", "timeout")], 1.0);
    assert_eq!(cluster.until_failed_over(LIMIT, 2, 10_923), 5);
    until_primary(&watch, "cache", "10923", new);
    watch.daemon.until(SOON, OK, &[], 1.0);
    watch.let_pass(3.0);
    assert_eq!(of_shard(&watch, SPLIT_BRAIN, "10923"), Some(0.0));

    old.signal(Signal::Cont);
    watch.daemon.until(SOON, "redis_role", &[("node", &old.address()), ("role", "replica")], 1.0);
    cluster.until_works();
    watch.until_quiet();
    watch.let_pass(3.0);
    assert_eq!(events_of_shard(&watch, "10923"), REPLACED, "{:?}", watch.daemon.events());
    check_only_shard(&watch, "10923");
    check_changed(&watch, "10923", old, new);
    assert_eq!(roles_changed(&watch), [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]);
    assert_eq!(watch.plain_events_of(old), ["node_unreachable", "node_back", "role_changed"]);
    assert_eq!(watch.plain_events_of(new), ["role_changed"]);
    for node in [0, 1, 3, 4] {
        assert_eq!(watch.events_of(&cluster.nodes[node]), Vec::<String>::new(), "nothing happened to {node}");
    }
    assert_eq!((of_shard(&watch, LOST, "10923"), cluster.keys()), (Some(0.0), 300));
    let shown = ["RedisDown", "RedisNoPrimary", "RedisClusterDown", "RedisClusterSlotsUncovered", "RedisWritesBlocked", WITHOUT_REPLICA];
    check_bothered(&observer, &[&shown[..], &["RedisReplicaLinkDown", "RedisReplicaOrphaned"]].concat());
}

#[test]
fn a_master_that_is_frozen_for_less_than_down_after_is_replaced_without_being_lost() {
    let cluster = Cluster::start(&ClusterSetup::default());
    let watch = settled(&cluster, &[0], "down_after = '30s'");
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[3]);
    old.signal(Signal::Stop);
    assert_eq!(cluster.until_failed_over(LIMIT, 0, 0), 3);
    until_primary(&watch, "cache", "0", new);
    old.signal(Signal::Cont);
    cluster.until_works();
    watch.daemon.until(SOON, "redis_role", &[("node", &old.address()), ("role", "replica")], 1.0);
    watch.daemon.until_event(SOON * 2, "primary_changed");
    watch.until_quiet();
    assert_eq!(events_of_shard(&watch, "0"), ["primary_changed"], "{:?}", watch.daemon.events());
    check_changed(&watch, "0", old, new);
    assert_eq!(roles_changed(&watch), [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]);
    assert_eq!(watch.events("node_unreachable"), Vec::<Value>::new());
}

#[test]
fn a_shard_without_any_node_is_down_and_nobody_else_is_without_a_primary() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let watch = settled(&cluster, &[0], "");
    // The replica first: it must not be promoted.
    for node in [4, 1] {
        cluster.nodes[node].kill();
    }
    let found = watch.until_finding(SOON, "RedisClusterDown", "critical");
    let evidence = &found["evidence"];
    watch.daemon.until(SOON, OK, &[], 0.0);
    assert_eq!((&evidence["why"], found["shard"].is_null(), found["node"].is_null()), (&json!("majority"), true, true), "{found}");
    assert_eq!(evidence["masters"].as_f64(), Some(2.0), "{found}");
    eventually(SOON, "nobody holds it to work", || {
        let found = watch.finding("RedisClusterDown")?;
        (found["evidence"]["ok"].as_f64() == Some(0.0) && found["evidence"]["nodes"].as_array()?.len() == 4).then_some(())
    });
    let alive = [0, 2, 3, 5].map(|node| cluster.nodes[node].address());
    check_names(&watch.finding("RedisClusterDown").expect("a finding")["evidence"]["nodes"], &alive);
    watch.daemon.until(SOON, DOUBTFUL, &[], 4.0);
    watch.daemon.until(SOON, UNCOVERED, &[], SHARDS[1].2);
    assert_eq!(cluster.info(0)["cluster_slots_fail"], "5462");
    let found = watch.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    assert_eq!(found["evidence"]["slots"].as_f64(), Some(SHARDS[1].2), "{found}");
    let lost = watch.daemon.until_event(SOON, "primary_lost");
    assert_eq!((&lost["shard"], &lost["why"]), (&json!("5461"), &json!("all_down")));
    let found = watch.until_finding(SOON, "RedisNoPrimary", "critical");
    assert_eq!((&found["shard"], &found["evidence"]["last_primary"]), (&json!("5461"), &json!(cluster.nodes[1].address())), "{found}");
    watch.let_pass(3.0);
    assert_eq!(findings(&watch, "RedisNoPrimary").len(), 1);
    let samples = watch.daemon.samples();
    check_shards(&samples, "cache");
    for (shard, ..) in SHARDS {
        let down = shard == "5461";
        let value = |series: &str| samples.get(series, &[("shard", shard)]);
        assert_eq!(value(NO_PRIMARY), Some(f64::from(u8::from(down))), "{shard}");
        assert_eq!(value("redis_deployment_masters"), Some(f64::from(u8::from(!down))), "{shard}");
        assert_eq!(samples.count(PRIMARY, &[("shard", shard)]), usize::from(!down), "{shard}");
        // Without full coverage nobody takes a write.
        assert_eq!(value("redis_deployment_writable"), (!down).then_some(0.0), "{shard}");
    }
    let kinds: BTreeSet<_> = watch.daemon.findings().into_iter().map(|(kind, _)| kind).collect();
    println!("{kinds:?}");
    for kind in ["RedisSplitBrain", "RedisClusterSlotConflict", "RedisWritesLost", "RedisPrimaryRestartedEmpty", "RolecallUnrelatedMasters"]
    {
        assert!(!kinds.contains(kind), "{kinds:?}");
    }

    for node in [1, 4] {
        cluster.nodes[node].restart();
    }
    cluster.until_works();
    until_known(&watch, &cluster, "cache");
    watch.until_quiet();
    watch.let_pass(3.0);
    assert_eq!(events_of_shard(&watch, "5461"), ["primary_lost", "primary_regained"], "{:?}", watch.daemon.events());
    check_only_shard(&watch, "5461");
    for node in [1, 4] {
        assert_eq!(watch.plain_events_of(&cluster.nodes[node]), ["node_unreachable", "node_back", "restarted"], "{node}");
    }
    for node in [0, 2, 3, 5] {
        assert_eq!(watch.events_of(&cluster.nodes[node]), Vec::<String>::new(), "nothing happened to {node}");
    }
    assert_eq!(cluster.keys(), 300);
}

#[test]
fn a_replica_that_stays_behind_its_failed_master_leaves_the_shard_without_a_primary() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 300);
    let watch = settled(&cluster, &[1], "");
    // It is there, and must not take over: as one whose data is too old for the cluster.
    let behind = cluster.replicas_of(0)[0];
    cluster.nodes[behind].ask(&["CONFIG", "SET", "cluster-replica-no-failover", "yes"]);
    cluster.nodes[0].kill();
    let found = watch.until_finding(SOON, "RedisNoPrimary", "critical");
    assert_eq!((&found["shard"], &found["evidence"]["last_primary"]), (&json!("0"), &json!(cluster.nodes[0].address())), "{found}");
    watch.until_finding(SOON, "RedisClusterDown", "critical");
    watch.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    let node = cluster.nodes[behind].address();
    watch.daemon.until(SOON, "redis_replica_orphaned", &[("node", &node), ("why", "dead_node")], 1.0);
    watch.daemon.until(SOON, "redis_link_state", &[("node", &node), ("state", "lost")], 1.0);
    assert_eq!(findings(&watch, "RedisNoPrimary").len(), 1, "of no other shard");
    assert_eq!(watch.finding("RedisSplitBrain"), None);
    assert_eq!(watch.daemon.count("primary_changed"), 0);

    cluster.nodes[behind].ask(&["CONFIG", "SET", "cluster-replica-no-failover", "no"]);
    until_primary(&watch, "cache", "0", &cluster.nodes[behind]);
    cluster.nodes[0].restart();
    cluster.until_works();
    until_known(&watch, &cluster, "cache");
    watch.until_quiet();
    check_only_shard(&watch, "0");
    check_changed(&watch, "0", &cluster.nodes[0], &cluster.nodes[behind]);
    assert_eq!(cluster.keys(), 300);
}

#[test]
fn a_replica_that_sleeps_through_a_failover_follows_when_it_wakes_up() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let awake = cluster.replicas_of(0)[0];
    let sleeper = cluster.add_replica(0);
    let watch = settled(&cluster, &[1], "");
    cluster.nodes[sleeper].signal(Signal::Stop);
    watch.daemon.until(SOON, "redis_up", &[("node", &cluster.nodes[sleeper].address())], 0.0);
    cluster.nodes[0].kill();
    until_primary(&watch, "cache", "0", &cluster.nodes[awake]);
    cluster.nodes[sleeper].signal(Signal::Cont);
    watch.daemon.until(LIMIT, "redis_link_state", &[("node", &cluster.nodes[sleeper].address()), ("state", "up")], 1.0);
    cluster.nodes[0].restart();
    cluster.until_works();
    until_known(&watch, &cluster, "cache");
    watch.until_quiet();
    check_only_shard(&watch, "0");
    check_changed(&watch, "0", &cluster.nodes[0], &cluster.nodes[awake]);
    let of_sleeper = watch.plain_events_of(&cluster.nodes[sleeper]);
    assert_eq!(of_sleeper, ["node_unreachable", "node_back"], "it never was a master");
}

#[test]
fn a_cluster_that_needs_no_full_coverage_works_without_a_shard() {
    let mut cluster =
        Cluster::start(&ClusterSetup { replicas: 0, options: "cluster-require-full-coverage no\n".into(), ..ClusterSetup::default() });
    let watch = settled(&cluster, &[0], "");
    cluster.nodes[2].kill();
    watch.daemon.until(SOON, UNCOVERED, &[], SHARDS[2].2);
    let found = watch.until_finding(SOON, "RedisClusterSlotsUncovered", "critical");
    assert_eq!(found["evidence"]["slots"].as_f64(), Some(SHARDS[2].2), "{found}");
    assert_eq!(watch.until_finding(SOON, "RedisNoPrimary", "critical")["shard"], "10923");
    watch.let_pass(3.0);
    assert_eq!((watch.value(OK), watch.value(DOUBTFUL)), (Some(1.0), Some(0.0)));
    assert!(watch.finding("RedisClusterDown").is_none(), "the others say that they work");
    for shard in ["0", "5461"] {
        assert_eq!(of_shard(&watch, "redis_deployment_writable", shard), Some(1.0), "{shard}");
    }
    cluster.nodes[2].restart();
    cluster.until_works();
    until_known(&watch, &cluster, "cache");
    watch.until_quiet();
    assert_eq!(events_of_shard(&watch, "10923"), ["primary_lost", "primary_regained"]);
}

// === Slots ===

#[test]
fn slots_that_are_moved_bother_nobody() {
    let cluster = Cluster::start(&ClusterSetup::default());
    cluster.write("key", 3000);
    let watch = settled(&cluster, &[0], "");
    let observer = Observer::start(&watch.daemon);
    let (of_first, second) = (cluster.keys(), cluster.nodes[1].ask(&["DBSIZE"])[0].parse::<u64>().expect("a number"));
    // The lowest slots of a shard: its label is what it was.
    cluster.move_slots(0..=199, 0, 1);
    assert!(cluster.nodes[1].ask(&["DBSIZE"])[0].parse::<u64>().expect("a number") > second, "keys were moved");
    assert_eq!((cluster.keys(), cluster.owner(0), cluster.owner(200)), (of_first, 1, 0));
    watch.let_pass(5.0);
    assert_eq!(watch.value(MIGRATING), Some(0.0), "nothing moves any more");

    cluster.begin_to_move(200, 0, 1);
    let took = eventually(SOON, "a slot moves", || watch.value(MIGRATING).filter(|slots| *slots > 0.0)).1;
    println!("{:?} slots move, seen after {took:?}", watch.value(MIGRATING));
    watch.let_pass(10.0);
    // Either end says so.
    assert!((1.0..=2.0).contains(&watch.value(MIGRATING).expect("a count")));
    cluster.end_move(200, 0, 1);
    watch.daemon.until(SOON, MIGRATING, &[], 0.0);
    // A few of the shard that has more than one range now, and on to the third.
    cluster.move_slots(5461..=5500, 1, 2);
    cluster.until_works();
    watch.let_pass(5.0);
    watch.until_quiet();

    let samples = watch.daemon.samples();
    check_shards(&samples, "cache");
    for (place, (shard, ..)) in SHARDS.iter().enumerate() {
        let labels = [("shard", *shard), ("node", &cluster.nodes[place].address())];
        assert_eq!(samples.get(PRIMARY, &labels), Some(1.0), "{shard}");
        assert_eq!(samples.get("redis_deployment_replicas", &[("shard", shard)]), Some(1.0), "{shard}");
    }
    assert_eq!(watch.daemon.events(), Vec::<Value>::new(), "nothing happened to any node");
    assert_eq!(observer.seen(), BTreeMap::new());
    assert_eq!((watch.value(OK), watch.value(CONFLICTING), cluster.keys()), (Some(1.0), Some(0.0), of_first));
}

#[test]
fn a_new_shard_and_one_that_is_emptied_come_and_go() {
    let mut cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let watch = settled(&cluster, &[0], "");
    let node = cluster.add_replica(0);
    let address = cluster.nodes[node].address();
    watch.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "0")], 1.0);
    // It becomes a master of its own, as an operator has it that adds a shard.
    cluster.nodes[node].ask(&["CLUSTER", "RESET", "SOFT"]);
    cluster.nodes[node].ask(&["FLUSHALL"]);
    let Server { host, port, .. } = &cluster.nodes[0];
    assert_eq!(cluster.nodes[node].ask(&["CLUSTER", "MEET", host, &port.to_string()]), ["OK"]);
    eventually(LIMIT, "it is a master to all", || {
        let is_master = |other: usize| {
            let map = cluster.map(other);
            map.len() == 4 && map.iter().any(|entry| entry.id == cluster.id(node) && entry.master.is_none())
        };
        (0..4).all(is_master).then_some(())
    });
    // It has the history of the shard that it was in, and none of its slots: it is nobody's primary meanwhile.
    watch.let_pass(3.0);
    let samples = watch.daemon.samples();
    assert_eq!(samples.get(PRIMARY, &[("shard", "0"), ("node", &cluster.nodes[0].address())]), Some(1.0), "{:?}", watch.daemon.events());
    assert_eq!(events_of_shard(&watch, "0"), Vec::<String>::new(), "{:?}", watch.daemon.events());
    cluster.move_slots(100..=299, 0, node);
    watch.daemon.until(SOON, PRIMARY, &[("shard", "100"), ("node", &address)], 1.0);
    let samples = watch.daemon.samples();
    assert_eq!(samples.count("redis_deployment_masters", &[]), 4);
    for (place, (shard, ..)) in SHARDS.iter().enumerate() {
        assert_eq!(samples.get(PRIMARY, &[("shard", shard), ("node", &cluster.nodes[place].address())]), Some(1.0), "{shard}");
        assert_eq!(samples.get("redis_deployment_masters", &[("shard", shard)]), Some(1.0), "{shard}");
    }
    assert_eq!(watch.value(CONFLICTING), Some(0.0));
    assert!(watch.events("split_brain_began").is_empty(), "a new shard is no split brain: {:?}", watch.daemon.events());

    cluster.move_slots(100..=299, node, 0);
    eventually(SOON, "the shard is gone", || {
        (watch.daemon.samples().count("redis_deployment_masters", &[("shard", "100")]) == 0).then_some(())
    });
    watch.let_pass(3.0);
    check_shards(&watch.daemon.samples(), "cache");
    assert!(watch.events("primary_changed").is_empty() && watch.events("split_brain_began").is_empty(), "{:?}", watch.daemon.events());
}

#[test]
fn a_slot_that_two_nodes_claim_is_a_conflict() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let watch = settled(&cluster, &[0], "");
    // Nodes that others do not hear take what they are told; SETSLOT on one of equal word needs a new epoch, and so both stay as they are
    // as long as they do not hear of one another.
    for (node, other) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        assert_eq!(cluster.nodes[node].ask(&["CLUSTER", "FORGET", cluster.id(other)]), ["OK"]);
    }
    for slot in ["5461", "5462"] {
        assert_eq!(cluster.nodes[0].ask(&["CLUSTER", "ADDSLOTS", slot]), ["OK"]);
    }
    watch.daemon.until(SOON * 2, CONFLICTING, &[], 2.0);
    let found = watch.until_finding(SOON, "RedisClusterSlotConflict", "critical");
    assert_eq!(found["evidence"]["slots"].as_f64(), Some(2.0), "{found}");
    check_names(&found["evidence"]["nodes"], &[cluster.nodes[0].address(), cluster.nodes[1].address()]);
}

// === Replicas ===

#[test]
fn a_shard_that_lost_its_only_replica_is_found_and_no_other() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let watch = settled(&cluster, &[0], "");
    cluster.nodes[4].kill();
    let found = watch.until_finding(SOON, WITHOUT_REPLICA, "warning");
    assert_eq!((&found["shard"], found["node"].is_null()), (&json!("5461"), true), "{found}");
    assert_eq!((found["evidence"]["replicas"].as_f64(), found["evidence"]["expected"].as_f64()), (Some(0.0), Some(1.0)), "{found}");
    watch.let_pass(5.0);
    assert_eq!(findings(&watch, WITHOUT_REPLICA).len(), 1, "that of one shard only");
    watch.until_only(&["RedisDown", WITHOUT_REPLICA]);
    let down = watch.until_finding(SOON, "RedisDown", "warning");
    assert_eq!(down["node"], cluster.nodes[4].address(), "{down}");
    assert_eq!(
        (of_shard(&watch, "redis_deployment_replicas", "5461"), of_shard(&watch, "redis_deployment_replicas", "0")),
        (Some(0.0), Some(1.0))
    );
    assert_eq!((watch.value(OK), watch.value(UNCOVERED), watch.value(DOUBTFUL)), (Some(1.0), Some(0.0), Some(0.0)));

    cluster.nodes[4].restart();
    cluster.until_works();
    watch.daemon.until(SOON, "redis_deployment_replicas", &[("shard", "5461")], 1.0);
    watch.until_quiet();
    watch.let_pass(3.0);
    check_only_shard(&watch, "none");
    assert_eq!(watch.plain_events_of(&cluster.nodes[4]), ["node_unreachable", "node_back", "restarted"]);
}

#[test]
fn a_cluster_that_never_had_replicas_is_silent() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let watch = settled(&cluster, &[0], "");
    let observer = Observer::start(&watch.daemon);
    watch.let_pass(20.0);
    assert_eq!(observer.seen(), BTreeMap::new());
    for (shard, ..) in SHARDS {
        assert_eq!(
            (of_shard(&watch, "redis_deployment_replicas", shard), of_shard(&watch, "redis_deployment_writable", shard)),
            (Some(0.0), Some(1.0))
        );
    }
    assert_eq!(watch.daemon.events(), Vec::<Value>::new());
}

// === A network that is cut ===

#[test]
fn a_master_that_is_cut_off_says_so_alone_and_is_replaced() {
    let mut sides = Sides::new();
    let alone = sides.place(Side::Left);
    let mut places = vec![alone];
    places.extend((0..5).map(|_| sides.place(Side::Right)));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let watch = settled(&cluster, &[1], "");
    let observer = Observer::start(&watch.daemon);
    let (old, new) = (&cluster.nodes[0], &cluster.nodes[3]);

    sides.cut();
    eventually(LIMIT, "it holds the cluster not to work", || (cluster.info(0).get("cluster_state")? == "fail").then_some(()));
    eventually(LIMIT, "the others have a master instead", || (cluster.owner_by(1, 0)? == 3).then_some(()));
    until_primary(&watch, "cache", "0", new);
    let found = watch.until_finding(SOON, "RedisClusterDown", "warning");
    assert_eq!(found["evidence"]["why"], "minority", "{found}");
    check_names(&found["evidence"]["nodes"], &[old.address()]);
    watch.daemon.until(SOON, OK, &[], 1.0);
    watch.daemon.until(SOON, DOUBTFUL, &[], 1.0);
    watch.daemon.until(SOON, UNCOVERED, &[], 0.0);
    watch.let_pass(10.0);
    assert_eq!((watch.value(OK), watch.value(DOUBTFUL), watch.value(UNCOVERED)), (Some(1.0), Some(1.0), Some(0.0)));
    assert_eq!(watch.value(CONFLICTING), Some(0.0), "what it claims still is served by its successor");
    // It refuses all writes, so that nothing is lost.
    assert_eq!(old.ask(&["SET", "key", "1"])[0].split(' ').next(), Some("-CLUSTERDOWN"));
    watch.let_pass(2.0);
    assert_eq!((of_shard(&watch, LOST, "0"), of_shard(&watch, "redis_deployment_writable", "0")), (Some(0.0), Some(1.0)));
    check_shards(&watch.daemon.samples(), "cache");
    assert!(findings(&watch, "RedisClusterDown").len() == 1 && watch.finding("RedisWritesLost").is_none());
    assert_eq!(of_shard(&watch, PRIMARY, "0"), Some(1.0), "one is known");

    sides.heal();
    cluster.until_works();
    watch.daemon.until(SOON, "redis_role", &[("node", &old.address()), ("role", "replica")], 1.0);
    watch.until_quiet();
    watch.let_pass(3.0);
    until_known(&watch, &cluster, "cache");
    let events = watch.daemon.events();
    let kinds: Vec<_> = events.iter().filter(|event| event["shard"] == "0").map(|event| event["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["primary_changed", "split_brain_began", "split_brain_ended"], "{events:?}");
    assert_eq!(watch.events("split_brain_ended")[0]["unreplicated_writes"], 0);
    check_only_shard(&watch, "0");
    check_changed(&watch, "0", old, new);
    assert_eq!(roles_changed(&watch), [role_changed(new, "replica", "master"), role_changed(old, "master", "replica")]);
    assert!(watch.events("node_unreachable").is_empty(), "all were always in reach");
    for ((severity, kind, node), lasted) in observer.above_info() {
        assert_ne!((severity.as_str(), kind.as_str()), ("critical", "RedisSplitBrain"), "{lasted:?}");
        assert_ne!(kind, "RedisWritesLost", "{node}");
    }
}

// === What asking costs ===

#[test]
fn a_cluster_at_rest_is_asked_little() {
    const WINDOW: Duration = Duration::from_secs(20);
    for version in ["redis-7.0.15", "valkey-9.1.2"] {
        let cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
        let errors = || -> Vec<_> { cluster.nodes.iter().map(|node| node.section("stats")["total_error_replies"].clone()).collect() };
        let before = errors();
        let watch = settled(&cluster, &[0], "");
        watch.let_pass(5.0);
        let count = || -> Vec<[u64; 2]> {
            let calls = |node: &Server, command: &str| {
                let statistics = node.section("commandstats");
                let figures = statistics.get(&format!("cmdstat_cluster|{command}")).map(String::as_str).unwrap_or_default();
                figures.trim_start_matches("calls=").split(',').next().and_then(|calls| calls.parse().ok()).unwrap_or(0)
            };
            cluster.nodes.iter().map(|node| ["nodes", "info"].map(|command| calls(node, command))).collect()
        };
        let (first, begun) = (count(), Stopwatch::start());
        pause(WINDOW);
        let (last, seconds) = (count(), begun.elapsed().as_secs_f64());
        let rises: Vec<[u64; 2]> = first.iter().zip(&last).map(|(first, last)| [last[0] - first[0], last[1] - first[1]]).collect();
        let maps = rises.iter().map(|rise| rise[0]).sum::<u64>() as f64;
        println!("{version}: CLUSTER NODES {:.2} a second over all, {rises:?} in {seconds:.1} s", maps / seconds);
        // One round more for where the window begins and ends.
        assert!(maps <= 3.0 * (seconds + 1.0), "{maps} in {seconds} s");
        for [maps, infos] in rises {
            assert!(maps > 0, "each is read in its turn");
            assert!((seconds * 0.8..=seconds + 1.5).contains(&(infos as f64)), "{infos} in {seconds} s, not one a second");
        }
        assert_eq!(errors(), before, "nothing that a server refuses");
        for node in &cluster.nodes {
            assert_eq!(node.clients().len(), 1, "one connection to each: {:?}", node.clients());
        }
    }
}
