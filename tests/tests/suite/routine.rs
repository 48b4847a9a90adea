//! Routine operations are quiet: no finding lasts long enough for its alert to fire, and no finding
//! is critical.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use serde_yaml_ng::Value as Yaml;
use tests::{
    ClusterPods, Daemon, DnsPods, NameServer, PodAddresses, SECOND, SentinelPods, Stopwatch,
    Writer, eventually, pause, repository,
};

use crate::monitor::{LIMIT, SOON};

/// Severity, kind and node of a finding.
type FindingKey = (String, String, String);

/// Recorder of the longest time for which each finding existed without interruption.
struct FindingRecorder {
    longest: Arc<Mutex<BTreeMap<FindingKey, Duration>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FindingRecorder {
    fn start(daemon: &Daemon) -> Self {
        let (longest, stopped) =
            (Arc::<Mutex<BTreeMap<FindingKey, Duration>>>::default(), Arc::<AtomicBool>::default());
        let (recorded, is_stopped) = (Arc::clone(&longest), Arc::clone(&stopped));
        let url = format!("http://127.0.0.1:{}/api/v1/findings", daemon.port);
        let thread = std::thread::spawn(move || {
            let mut begun: BTreeMap<FindingKey, Stopwatch> = BTreeMap::new();
            while !is_stopped.load(Ordering::Relaxed) {
                let text = ureq::get(&url).call().expect("a response").body_mut().read_to_string();
                let found = keys(&serde_json::from_str(&text.expect("text")).expect("JSON"));
                begun.retain(|key, _| found.contains(key));
                for key in found {
                    let lasted =
                        begun.entry(key.clone()).or_insert_with(Stopwatch::start).elapsed();
                    let mut recorded = recorded.lock().expect("a thread panicked");
                    let longest = recorded.entry(key).or_default();
                    *longest = lasted.max(*longest);
                }
                pause(SECOND / 20);
            }
        });
        FindingRecorder { longest, stopped, thread: Some(thread) }
    }

    /// Stops the recorder and returns what it recorded.
    fn stop(mut self) -> BTreeMap<FindingKey, Duration> {
        self.stopped.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("the recorder runs");
        thread.join().expect("the recorder panicked");
        self.longest.lock().expect("a thread panicked").clone()
    }
}

impl Drop for FindingRecorder {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn keys(document: &Value) -> Vec<FindingKey> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    document["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|finding| (text(finding, "severity"), text(finding, "kind"), text(finding, "node")))
        .collect()
}

/// Returns the shortest `for` of the alerts of a kind and severity. Without an alert of that
/// severity, those of the kind count: some findings are warnings at first and critical later.
/// `None` if there is none.
fn alert_after(kind: &str, severity: &str) -> Option<Duration> {
    let path = repository::root().join("alerts/redis.rules.yaml");
    let text = std::fs::read_to_string(path).expect("the rules");
    let document: Yaml = serde_yaml_ng::from_str(&text).expect("YAML");
    let groups = document["groups"].as_sequence().expect("a list").iter();
    let rules = groups.flat_map(|group| group["rules"].as_sequence().expect("a list"));
    let delay = |rule: &Yaml| {
        let text = rule["for"].as_str().unwrap_or("0s");
        humantime::parse_duration(text).expect("a duration")
    };
    let of_kind: Vec<_> = rules.filter(|rule| rule["alert"] == kind).collect();
    let of_severity = of_kind.iter().filter(|rule| rule["labels"]["severity"] == severity);
    of_severity.map(|rule| delay(rule)).min().or(of_kind.iter().map(|rule| delay(rule)).min())
}

/// Runs an operation and records the findings until they are gone. Checks that none is critical and
/// that none is a warning for as long as its alert waits.
#[track_caller]
fn check_quiet(name: &str, daemon: &Daemon, operation: impl FnOnce()) {
    check_quiet_except(name, daemon, &[], operation);
}

/// Does the same, with kinds of findings that may remain as warnings.
#[track_caller]
fn check_quiet_except(name: &str, daemon: &Daemon, warnings: &[&str], operation: impl FnOnce()) {
    daemon.until_no_findings(LIMIT);
    let recorder = FindingRecorder::start(daemon);
    let begun = Stopwatch::start();
    operation();
    let (operated, settling) = (begun.elapsed(), Stopwatch::start());
    let others = || {
        let found = daemon.findings();
        found.into_iter().filter(|(kind, _)| !warnings.contains(&kind.as_str())).collect::<Vec<_>>()
    };
    while !others().is_empty() && settling.elapsed() < LIMIT {
        pause(SECOND / 10);
    }
    let (settled, left) = (settling.elapsed(), others());
    // Events that follow the operation, such as a later report of a Sentinel, are part of it.
    pause(SOON);
    let recorded = recorder.stop();
    println!("{name}: {operated:.0?}, then {settled:.1?} until there are no findings");
    for ((severity, kind, node), lasted) in &recorded {
        println!("    {severity} {kind} {node}: {lasted:.1?}");
    }
    assert!(left.is_empty(), "{name}: {left:?}");
    for ((severity, kind, node), lasted) in &recorded {
        let alert_after = alert_after(kind, severity);
        let is_quiet = match severity.as_str() {
            "info" => true,
            "critical" => false,
            _ if warnings.contains(&kind.as_str()) => true,
            // A finding without an alert notifies nobody.
            _ => alert_after.is_none_or(|after| *lasted < after),
        };
        assert!(is_quiet, "{name}: {severity} {kind} {node} for {lasted:?}, {alert_after:?}");
    }
}

fn start_sentinel_pods(addresses: PodAddresses) -> (Arc<NameServer>, SentinelPods, Daemon) {
    let name_server = Arc::new(NameServer::start());
    let pods = SentinelPods::start(&name_server, "sessions", addresses, "redis-7.0.15");
    let daemon = name_server.daemon(&pods.configuration(""));
    daemon.until(LIMIT, "redis_deployment_replicas", &[], 2.0);
    (name_server, pods, daemon)
}

fn start_cluster_pods(announces: bool, seeds: &[usize]) -> (ClusterPods, Daemon) {
    let name_server = Arc::new(NameServer::start());
    let pods = ClusterPods::start(&name_server, "cache", announces);
    let daemon = name_server.daemon(&pods.configuration(seeds));
    until_all_up(&daemon);
    (pods, daemon)
}

fn until_all_up(daemon: &Daemon) {
    eventually(LIMIT, "all nodes are up", || {
        let samples = daemon.samples();
        (samples.count("redis_up", &[]) == 6 && samples.count("redis_link_state", &[]) == 18)
            .then_some(())
    });
}

fn start_dns_pods() -> (DnsPods, Daemon) {
    let name_server = Arc::new(NameServer::start());
    let pods = DnsPods::start(&name_server, "orders");
    let daemon = name_server.daemon(&pods.configuration("expect = { replicas = 2 }"));
    daemon.until(LIMIT, "redis_deployment_replicas", &[], 2.0);
    (pods, daemon)
}

/// Returns the addresses of the data nodes that the daemon knows.
fn members(daemon: &Daemon) -> Vec<String> {
    let samples = daemon.samples();
    let mut nodes = samples.labels("redis_up", "node");
    nodes.sort();
    nodes
}

#[test]
fn rolling_restart_with_other_ip_addresses_is_quiet() {
    let (_names, mut pods, daemon) = start_sentinel_pods(PodAddresses::Ip);
    check_quiet("rolling restart by IP address", &daemon, || pods.rolling_restart());
    let mut expected = pods.listed_addresses();
    expected.extend(pods.sentinels.iter().map(tests::Server::address));
    expected.sort();
    assert_eq!(members(&daemon), expected);
}

#[test]
fn rolling_restart_with_host_names_is_quiet() {
    let (_names, mut pods, daemon) = start_sentinel_pods(PodAddresses::HostNames);
    check_quiet("rolling restart by host name", &daemon, || pods.rolling_restart());
    assert_eq!(daemon.samples().count("redis_up", &[]), 6);
    assert_eq!(daemon.count("node_gone"), 0, "{:?}", daemon.events());
}

#[test]
fn rolling_restart_of_a_cluster_is_quiet() {
    let (mut pods, daemon) = start_cluster_pods(false, &[0]);
    check_quiet("rolling restart of a cluster", &daemon, || pods.rolling_restart());
    assert_eq!(daemon.samples().count("redis_up", &[]), 6);
}

#[test]
fn rolling_restart_of_a_cluster_by_name_is_quiet() {
    let name_server = Arc::new(NameServer::start());
    let mut pods = ClusterPods::start(&name_server, "cache", false);
    let daemon = name_server.daemon(&pods.configuration_by_name());
    until_all_up(&daemon);
    check_quiet("rolling restart of a cluster by name", &daemon, || pods.rolling_restart());
    assert_eq!(daemon.samples().count("redis_up", &[]), 6);
}

#[test]
fn rolling_restart_of_an_announcing_cluster_is_quiet() {
    let (mut pods, daemon) = start_cluster_pods(true, &[0, 3]);
    check_quiet("rolling restart of an announcing cluster", &daemon, || pods.rolling_restart());
    assert_eq!(daemon.samples().count("redis_up", &[]), 6);
}

#[test]
fn rolling_restart_behind_a_dns_name_is_quiet() {
    let (mut pods, daemon) = start_dns_pods();
    check_quiet("rolling restart behind a DNS name", &daemon, || pods.rolling_restart());
    let mut expected = pods.addresses();
    expected.sort();
    assert_eq!(members(&daemon), expected);
}

#[test]
fn scaling_with_sentinels_is_quiet() {
    let (_names, mut pods, daemon) = start_sentinel_pods(PodAddresses::Ip);
    check_quiet("scaling with Sentinels", &daemon, || pods.scale_out_and_in());
}

#[test]
fn scaling_a_cluster_is_quiet() {
    let (mut pods, daemon) = start_cluster_pods(false, &[0]);
    check_quiet("scaling a cluster", &daemon, || pods.scale_out_and_in());
}

#[test]
fn scaling_behind_a_dns_name_is_quiet() {
    let (mut pods, daemon) = start_dns_pods();
    check_quiet("scaling behind a DNS name", &daemon, || pods.scale_out_and_in());
}

#[test]
fn upgrade_to_redis_8_is_quiet() {
    check_upgrade("redis-8.2.3");
}

#[test]
fn upgrade_to_valkey_is_quiet() {
    check_upgrade("valkey-9.1.2");
}

fn check_upgrade(version: &'static str) {
    let (_names, mut pods, daemon) = start_sentinel_pods(PodAddresses::Ip);
    check_quiet(version, &daemon, || pods.upgrade(version));
}

/// Checks that a client wrote before, during and after an operation.
fn check_written(mut writer: Writer) {
    let before = writer.acknowledged();
    eventually(LIMIT, "the client writes", || (writer.acknowledged() > before + 50).then_some(()));
    writer.stop();
}

/// The old primary takes writes until Sentinel demotes it after about 10 s, and they are lost. That
/// is a warning.
#[test]
fn sentinel_failover_with_writes_only_warns() {
    let (_names, mut pods, daemon) = start_sentinel_pods(PodAddresses::Ip);
    let writer = pods.write("key", 100);
    let warnings = ["RedisWritesLost", "RedisSplitBrain"];
    check_quiet_except("SENTINEL FAILOVER with writes", &daemon, &warnings, || pods.fail_over());
    check_written(writer);
    assert_eq!(daemon.severity("RedisWritesLost").as_deref(), Some("warning"));
}

#[test]
fn sentinel_failover_without_writes_is_quiet() {
    let (_names, mut pods, daemon) = start_sentinel_pods(PodAddresses::Ip);
    check_quiet("SENTINEL FAILOVER without writes", &daemon, || pods.fail_over());
}

#[test]
fn failover_command_with_writes_is_quiet() {
    let (mut pods, daemon) = start_dns_pods();
    let writer = pods.write("key", 100);
    check_quiet("FAILOVER TO with writes", &daemon, || pods.fail_over());
    check_written(writer);
}

#[test]
fn cluster_failover_with_writes_is_quiet() {
    let (mut pods, daemon) = start_cluster_pods(false, &[0]);
    let writer = pods.write("{b}", 100);
    check_quiet("CLUSTER FAILOVER with writes", &daemon, || pods.fail_over());
    check_written(writer);
}

/// Checks that a node that died and did not return is reported for longer than its alert waits, and
/// that another node that moves meanwhile changes nothing.
#[track_caller]
fn check_reported(daemon: &Daemon, dead: &str, meanwhile: impl FnOnce()) {
    let is_found = || {
        daemon.findings().contains(&("RedisDown".to_owned(), Some(dead.to_owned()))).then_some(())
    };
    eventually(SOON, "the dead node is down", is_found);
    let reported = Stopwatch::start();
    meanwhile();
    let waits = alert_after("RedisDown", "warning").expect("a rule") + SOON;
    while reported.elapsed() < waits {
        assert!(is_found().is_some(), "not reported after {:?}", reported.elapsed());
        pause(SECOND / 5);
    }
    println!("{dead} is still reported after {:.0?}", reported.elapsed());
}

#[test]
fn dead_replica_of_sentinels_is_reported_in_a_restart() {
    let (_names, mut pods, daemon) = start_sentinel_pods(PodAddresses::Ip);
    let dead = pods.kill_replica();
    check_reported(&daemon, &dead, || pods.move_first_replica());
}

#[test]
fn dead_replica_behind_a_dns_name_is_reported() {
    let (mut pods, daemon) = start_dns_pods();
    let dead = pods.kill_replica();
    check_reported(&daemon, &dead, || pods.move_first_replica());
}

#[test]
fn dead_replica_of_a_cluster_is_reported_in_a_restart() {
    let (mut pods, daemon) = start_cluster_pods(false, &[0]);
    let dead = pods.kill_replica();
    check_reported(&daemon, &dead, || pods.move_last_replica());
}

/// Without SENTINEL RESET, Sentinels list a removed replica for ever. Nothing tells it from a dead
/// one before it is a ghost.
#[test]
fn removed_replica_without_reset_is_a_ghost_without_a_page() {
    let name_server = Arc::new(NameServer::start());
    let mut pods = SentinelPods::start(&name_server, "sessions", PodAddresses::Ip, "redis-7.0.15");
    let daemon = name_server.daemon(&pods.configuration("ghost_after = '10s'"));
    daemon.until(LIMIT, "redis_deployment_replicas", &[], 2.0);
    daemon.until_no_findings(LIMIT);
    pods.scale_out();
    daemon.until(LIMIT, "redis_deployment_replicas", &[], 3.0);
    let recorder = FindingRecorder::start(&daemon);
    let removed = pods.remove_replica();
    daemon.until_found(LIMIT, "RedisSentinelGhosts");
    eventually(SOON, "only a ghost is left", || {
        let found = daemon.findings();
        found.iter().all(|(kind, _)| kind != "RedisDown").then_some(())
    });
    let ghosts = daemon.finding("RedisSentinelGhosts").expect("a finding");
    assert_eq!(ghosts["evidence"]["replicas"][0], removed);
    let recorded = recorder.stop();
    println!("removed without RESET: {recorded:.1?}");
    assert!(recorded.keys().all(|(severity, ..)| severity != "critical"), "{recorded:?}");
}

/// A pod returns with another address, and its former address is a ghost after `ghost_after`.
#[test]
fn old_address_of_a_pod_becomes_a_ghost() {
    let name_server = Arc::new(NameServer::start());
    let mut pods = SentinelPods::start(&name_server, "sessions", PodAddresses::Ip, "redis-7.0.15");
    let daemon = name_server.daemon(&pods.configuration("ghost_after = '20s'"));
    daemon.until(LIMIT, "redis_deployment_replicas", &[], 2.0);
    daemon.until_no_findings(LIMIT);
    let before = pods.listed_addresses();
    pods.move_first_replica();
    daemon.until_no_findings(LIMIT);
    let waited = daemon.until_found(LIMIT, "RedisSentinelGhosts");
    let ghosts = daemon.finding("RedisSentinelGhosts").expect("a finding");
    println!("{} became a ghost after {waited:.0?}", ghosts["evidence"]["replicas"]);
    let old = before.iter().find(|address| !pods.listed_addresses().contains(address));
    assert_eq!(ghosts["evidence"]["replicas"][0], **old.expect("one pod has moved"));
    assert!(daemon.finding("RedisDown").is_none());
}
