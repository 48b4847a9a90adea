//! Lost writes on real servers: clients write continuously and count the acknowledged writes, and
//! Rolecall's number is compared with those that the primary does not have.

use std::fmt::Write as _;

use serde_json::Value;
use tests::{
    Cluster, ClusterSetup, Host, SECOND, SentinelDeployment, SentinelSetup, Server, Side,
    SplitNetwork, Writer, eventually,
};

use crate::monitor::{FindingRecorder, LIMIT, Monitor, SOON, UNREPLICATED_WRITES};

const DIVERGING_WRITES: &str = "redis_diverging_writes";
const SEVERITY: &str = "redis_deployment_split_brain_severity";
const PER_SECOND: u32 = 50;

/// Waits until a client has this many more acknowledged writes.
#[track_caller]
fn until_written(writer: &Writer, more: u64) {
    let before = writer.acknowledged();
    eventually(LIMIT, "writes are acknowledged", || {
        (writer.acknowledged() >= before + more).then_some(())
    });
}

/// Returns the number of acknowledged writes of a stopped [`Writer`] that a server does not have.
fn missing(server: &Server, prefix: &str, acknowledged: u64) -> u64 {
    let keys: Vec<_> = (1..=acknowledged).map(|number| format!("{prefix}{number}")).collect();
    let present = |keys: &[String]| {
        let mut command = vec!["EXISTS"];
        command.extend(keys.iter().map(String::as_str));
        server.execute(&command)[0].parse::<u64>().expect("a count")
    };
    acknowledged - keys.chunks(500).map(present).sum::<u64>()
}

/// Checks the number that the end of the split brain reports. The server may have executed one more
/// write than it acknowledged.
#[track_caller]
fn check_reported(case: &str, ended: &Value, acknowledged: u64, lost: u64) {
    let number = |key: &str| ended[key].as_u64();
    let (about, low, high) = (
        number("unreplicated_writes").expect("a count"),
        number("unreplicated_writes_min").expect("a lower bound"),
        number("unreplicated_writes_max"),
    );
    println!(
        "{case}: {acknowledged} acknowledged on the stale master, {lost} of them lost, reported \
         {about} ({low} to {high:?}) after {} s",
        ended["seconds"]
    );
    assert!(low <= lost + 1, "{case}: at least {low} of {lost}");
    match high {
        Some(high) => {
            assert!(lost <= high, "{case}: at most {high} of {lost}");
            // The interval is at most as wide as two rounds.
            assert!(about.abs_diff(lost) <= u64::from(PER_SECOND), "{case}: {about} of {lost}");
        }
        None => assert_eq!(about, low, "{case}: the lower bound"),
    }
}

/// Checks that no finding was critical so far.
#[track_caller]
fn check_never_critical(recorder: &FindingRecorder) {
    let critical: Vec<_> = recorder
        .durations()
        .into_iter()
        .filter(|((severity, ..), _)| severity == "critical")
        .collect();
    assert!(critical.is_empty(), "{critical:?}");
}

#[test]
fn partition_counts_writes_since_the_cut() {
    check_partition("redis-7.0.15");
}

#[test]
fn partition_counts_writes_since_the_cut_on_5_0() {
    check_partition("redis-5.0.6");
}

#[test]
fn partition_counts_writes_since_the_cut_on_6_2() {
    check_partition("redis-6.2.14");
}

#[test]
fn partition_counts_writes_since_the_cut_on_8_2() {
    check_partition("redis-8.2.3");
}

#[test]
fn partition_counts_writes_since_the_cut_on_valkey() {
    check_partition("valkey-9.1.2");
}

fn check_partition(version: &'static str) {
    let mut sides = SplitNetwork::new();
    let left = sides.add_host(Side::Left);
    let places = [left, sides.add_host(Side::Right), sides.add_host(Side::Right)];
    let setup = SentinelSetup { version, ..SentinelSetup::default() };
    let group = SentinelDeployment::start_at(&setup, &places, &places);
    let monitor = Monitor::start_settled(&group, "");
    let before = group.nodes[0].address();
    let mut lost = Writer::start(&before, "lost", PER_SECOND);
    until_written(&lost, 100);

    sides.partition();
    let promoted = || group.nodes[1..].iter().find(|node| node.role().as_deref() == Some("master"));
    let (promoted, took) = eventually(LIMIT, "the other side promotes a primary", promoted);
    let since_cut = missing(promoted, "lost", lost.acknowledged());
    println!("{version}: promoted {took:?} after the cut, {since_cut} writes in between");
    assert!(since_cut > 50, "clients write between the cut and the promotion");
    let mut kept = Writer::start(&promoted.address(), "kept", PER_SECOND);
    monitor.until_primary(&promoted.address());
    let diverging = |node: &str| monitor.daemon.samples().get(DIVERGING_WRITES, &[("node", node)]);
    eventually(SOON, "both sides diverge", || {
        (diverging(&before)? >= since_cut as f64 && diverging(&promoted.address())? > 0.0)
            .then_some(())
    });
    until_written(&lost, 200);

    sides.heal();
    let ended = monitor.daemon.until_event(LIMIT, "split_brain_ended");
    group.until_replicating(LIMIT);
    let (acknowledged, _) = (lost.stop(), kept.stop());
    let truth = missing(promoted, "lost", acknowledged);
    check_reported(&format!("partition on {version}"), &ended, acknowledged, truth);
    monitor.until_finding(SOON, "RedisWritesLost", "warning");
    assert_eq!(monitor.daemon.value(UNREPLICATED_WRITES), ended["unreplicated_writes"].as_f64());
    let samples = monitor.daemon.samples();
    assert_eq!((samples.count(DIVERGING_WRITES, &[]), samples.count(SEVERITY, &[])), (0, 0));
}

/// Starts a primary with two replicas and a daemon for them.
fn start_trio(version: &'static str) -> (Vec<Server>, Monitor) {
    let place = Host::loopback();
    let primary = Server::start(version, false, &place, "repl-diskless-sync-delay 0\n", None);
    let follow = format!("replicaof {} {}\n", primary.host, primary.port);
    let mut servers = vec![primary];
    for _ in 0..2 {
        let replica = Server::start(version, false, &place, &follow, None);
        replica.until_synchronised();
        servers.push(replica);
    }
    let mut urls = String::new();
    for server in &servers {
        write!(urls, "{{ url = '{}' }}, ", server.url()).expect("to a string");
    }
    let monitor = Monitor::start(&format!("[[deployment]]\nname = 'orders'\nnodes = [{urls}]\n"));
    monitor.until_primary(&servers[0].address());
    monitor.until_no_findings();
    (servers, monitor)
}

#[test]
fn mistaken_promotion_counts_its_own_writes() {
    check_mistake("redis-7.0.15");
}

#[test]
fn mistaken_promotion_counts_its_own_writes_on_6_2() {
    check_mistake("redis-6.2.14");
}

#[test]
fn mistaken_promotion_counts_its_own_writes_on_valkey() {
    check_mistake("valkey-9.1.2");
}

fn check_mistake(version: &'static str) {
    let (servers, monitor) = start_trio(version);
    let (primary, mistake) = (&servers[0], &servers[2]);
    let mut kept = Writer::start(&primary.address(), "kept", PER_SECOND);
    until_written(&kept, 100);
    assert_eq!(mistake.execute(&["REPLICAOF", "NO", "ONE"]), ["OK"]);
    let mut lost = Writer::start(&mistake.address(), "lost", PER_SECOND);
    until_written(&lost, 200);
    // The other replica and the clients stay with the primary.
    monitor.until_primary(&primary.address());
    assert_eq!(monitor.daemon.value(UNREPLICATED_WRITES), Some(0.0), "the verdict is disputed");
    monitor.until_finding(SECOND * 30, "RedisSplitBrain", "critical");
    let severity = |label| monitor.daemon.samples().get(SEVERITY, &[("severity", label)]);
    eventually(SOON, "the rule has the same severity", || {
        (severity("critical") == Some(1.0)).then_some(())
    });

    assert_eq!(mistake.execute(&["REPLICAOF", &primary.host, &primary.port.to_string()]), ["OK"]);
    let ended = monitor.daemon.until_event(LIMIT, "split_brain_ended");
    mistake.until_synchronised();
    let (acknowledged, _) = (lost.stop(), kept.stop());
    let truth = missing(primary, "lost", acknowledged);
    assert_eq!(truth, acknowledged, "nothing is replicated to the primary");
    check_reported(&format!("mistaken promotion on {version}"), &ended, acknowledged, truth);
    monitor.until_finding(SOON, "RedisWritesLost", "warning");
    assert_eq!(monitor.daemon.finding("RedisSplitBrain"), None, "one incident, one finding");
}

#[test]
fn a_save_leaves_a_lower_bound_of_lost_writes() {
    let (servers, monitor) = start_trio("redis-7.0.15");
    let (primary, mistake) = (&servers[0], &servers[2]);
    assert_eq!(mistake.execute(&["REPLICAOF", "NO", "ONE"]), ["OK"]);
    let mut lost = Writer::start(&mistake.address(), "lost", PER_SECOND);
    until_written(&lost, 100);
    let saved = mistake.section("persistence")["rdb_last_save_time"].clone();
    mistake.execute(&["BGSAVE"]);
    eventually(SOON, "saved", || {
        (mistake.section("persistence")["rdb_last_save_time"] != saved).then_some(())
    });
    until_written(&lost, 100);
    assert_eq!(mistake.execute(&["REPLICAOF", &primary.host, &primary.port.to_string()]), ["OK"]);
    let ended = monitor.daemon.until_event(LIMIT, "split_brain_ended");
    mistake.until_synchronised();
    let acknowledged = lost.stop();
    let truth = missing(primary, "lost", acknowledged);
    check_reported("save in between", &ended, acknowledged, truth);
    assert_eq!(ended["unreplicated_writes_max"], Value::Null, "{ended}");
    assert!(ended["unreplicated_writes"].as_u64() >= Some(100), "{ended}");
    let finding = monitor.until_finding(SOON, "RedisWritesLost", "warning");
    assert_eq!(finding["evidence"]["unreplicated_writes_max"], Value::Null, "{finding}");
    let page = monitor.daemon.get("/deployment/orders", "text/html").text;
    let text = format!("at least {}", ended["unreplicated_writes"]);
    assert!(page.contains(&text), "{text} is not in {page}");
}

#[test]
fn sentinel_failover_under_writes_does_not_page() {
    check_sentinel_failover("redis-7.0.15");
}

#[test]
fn sentinel_failover_under_writes_does_not_page_on_6_2() {
    check_sentinel_failover("redis-6.2.14");
}

#[test]
fn sentinel_failover_under_writes_does_not_page_on_valkey() {
    check_sentinel_failover("valkey-9.1.2");
}

fn check_sentinel_failover(version: &'static str) {
    let group = SentinelDeployment::start(&SentinelSetup { version, ..SentinelSetup::default() });
    let monitor = Monitor::start_settled(&group, "");
    let recorder = FindingRecorder::start(&monitor.daemon);
    let mut writer = Writer::start(&group.primary().address(), "lost", PER_SECOND);
    until_written(&writer, 100);
    let before = group.failover();
    let after = group.until_failed_over(LIMIT, &before);
    let ended = monitor.daemon.until_event(LIMIT, "split_brain_ended");
    group.until_replicating(LIMIT);
    monitor.until_all_up(&group);
    let acknowledged = writer.stop();
    let truth = missing(group.node_at(&after), "lost", acknowledged);
    check_reported(&format!("SENTINEL FAILOVER on {version}"), &ended, acknowledged, truth);
    assert!(truth > 100, "the client stays with the old primary");
    monitor.until_finding(SOON, "RedisWritesLost", "warning");
    monitor.daemon.until_rounds(5);
    check_never_critical(&recorder);
}

#[test]
fn failover_command_under_writes_loses_none() {
    let (servers, monitor) = start_trio("redis-7.0.15");
    let recorder = FindingRecorder::start(&monitor.daemon);
    let mut writer = Writer::start(&servers[0].address(), "kept", PER_SECOND);
    until_written(&writer, 100);
    let (host, port) = (&servers[1].host, servers[1].port.to_string());
    assert_eq!(servers[0].execute(&["FAILOVER", "TO", host, &port]), ["OK"]);
    let changed = monitor.daemon.until_event(SOON, "primary_changed");
    assert_eq!(changed["cause"], "failover_command");
    servers[0].until_synchronised();
    let acknowledged = writer.stop();
    let truth = missing(&servers[1], "kept", acknowledged);
    println!("FAILOVER TO: {acknowledged} acknowledged, {truth} lost");
    monitor.daemon.until_rounds(5);
    assert_eq!((truth, monitor.daemon.value(UNREPLICATED_WRITES)), (0, Some(0.0)));
    check_never_critical(&recorder);
    check_no_loss(&recorder);
}

#[test]
fn cluster_failover_under_writes_loses_none() {
    let cluster = Cluster::start(&ClusterSetup::default());
    let monitor = Monitor::start(&cluster.deployment("cache", &[0], ""));
    for node in &cluster.nodes {
        monitor.daemon.until(LIMIT, "redis_up", &[("node", &node.address())], 1.0);
    }
    monitor.until_no_findings();
    let recorder = FindingRecorder::start(&monitor.daemon);
    // The hash tag selects a slot of the last master.
    let mut writer = Writer::start(&cluster.nodes[2].address(), "{a}", PER_SECOND);
    until_written(&writer, 100);
    let replica = cluster.replicas_of(2)[0];
    cluster.failover(replica);
    let changed = monitor.daemon.until_event(LIMIT, "primary_changed");
    assert_eq!(changed["cause"], "cluster");
    cluster.nodes[2].until_synchronised();
    let acknowledged = writer.stop();
    let truth = missing(&cluster.nodes[replica], "{a}", acknowledged);
    println!("CLUSTER FAILOVER: {acknowledged} acknowledged, {truth} lost");
    monitor.daemon.until_rounds(5);
    let lost = monitor.daemon.samples().sum(UNREPLICATED_WRITES, &[]);
    assert_eq!((truth, lost), (0, 0.0));
    check_never_critical(&recorder);
    check_no_loss(&recorder);
}

/// Checks that no finding about lost writes was shown.
#[track_caller]
fn check_no_loss(recorder: &FindingRecorder) {
    let kinds: Vec<_> = recorder.durations().into_keys().map(|(_, kind, _)| kind).collect();
    assert!(!kinds.contains(&"RedisWritesLost".to_owned()), "{kinds:?}");
}
