//! `rolecall diagnose` waits for discovery, tells a failover from a split brain, and reports total
//! failures as critical. The daemon reports the same.

use std::time::Duration;

use tests::{
    Cluster, ClusterSetup, ConfigFile, Daemon, Diagnosis, Redis, SECOND, SentinelDeployment,
    SentinelSetup, Signal, Writer, deployment, eventually,
};

/// Timeout for changes that show within a few rounds, also on a busy machine.
const SOON: Duration = Duration::from_secs(40);

/// Text of `diagnose` about a deployment of which nothing replies.
const NO_REPLY: &str = "CRITICAL No node of this deployment replies.";

/// Waits until the worst finding of this kind is critical, and checks that the page is red.
#[track_caller]
fn until_critical(daemon: &Daemon, kind: &str) {
    eventually(SOON, &format!("{kind} is critical"), || {
        (daemon.severity(kind).as_deref() == Some("critical")).then_some(())
    });
    let page = daemon.get("/", "text/html").text;
    assert!(page.contains("class=\"verdict bad\""), "{page}");
    assert!(page.contains(&format!("finding-{kind}-critical")), "{page}");
}

fn diagnose_file(text: &str) -> Diagnosis {
    let file = ConfigFile::new(text);
    let diagnosis = Diagnosis::of(&["--config.file", &file.path()]);
    println!("exit code {:?} after {:?}", diagnosis.code, diagnosis.took);
    println!("{}{}", diagnosis.errors, diagnosis.text);
    diagnosis
}

#[test]
fn dead_cluster_is_critical() {
    let mut cluster = Cluster::start(&ClusterSetup::default());
    let folder = tempfile::tempdir().expect("cannot create a directory");
    let state_file = folder.path().join("state.json").display().to_string();
    let text = format!("state_file = '{state_file}'\n{}", cluster.deployment("cache", &[0, 1], ""));
    let mut daemon = Daemon::configured(&text);
    daemon.until(SOON, "redis_deployment_nodes", &[("state", "answering")], 6.0);
    for node in &mut cluster.nodes {
        node.kill();
    }
    until_critical(&daemon, "RedisDown");
    // It writes the state at its end.
    daemon.signal(Signal::Term);
    daemon.end(SOON);

    let diagnosis = diagnose_file(&text);
    assert_eq!(diagnosis.code, Some(2), "{}", diagnosis.text);
    assert!(diagnosis.text.contains(NO_REPLY), "{}", diagnosis.text);
    assert_eq!(diagnosis.severity("RedisDown"), Some("critical"), "{}", diagnosis.text);
}

#[test]
fn dead_sentinels_and_nodes_are_critical() {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let text = group.deployment("orders", "");
    let daemon = Daemon::configured(&text);
    daemon.until(SOON, "redis_deployment_nodes", &[("state", "answering")], 6.0);
    for server in group.nodes.iter_mut().chain(&mut group.sentinels) {
        server.kill();
    }
    until_critical(&daemon, "RedisDown");
    let diagnosis = diagnose_file(&text);
    assert_eq!(diagnosis.code, Some(2), "{}", diagnosis.text);
    assert!(diagnosis.text.contains(NO_REPLY), "{}", diagnosis.text);
}

#[test]
fn every_pod_as_its_own_master_is_critical() {
    let pods = [Redis::start(&[]), Redis::start(&[]), Redis::start(&[])];
    let text = deployment("orders", &pods.each_ref());
    let daemon = Daemon::configured(&text);
    until_critical(&daemon, "RolecallUnrelatedMasters");
    let diagnosis = diagnose_file(&text);
    assert_eq!(
        (diagnosis.code, diagnosis.severity("RolecallUnrelatedMasters")),
        (Some(1), Some("critical"))
    );
    // With a replica, one of the masters works as intended.
    pods[1].replicate_from(&pods[0]);
    pods[1].until_synchronised();
    eventually(SOON, "RolecallUnrelatedMasters is a warning", || {
        (daemon.severity("RolecallUnrelatedMasters").as_deref() == Some("warning")).then_some(())
    });
}

#[test]
fn split_brain_is_critical_with_and_without_sentinels() {
    let setup = SentinelSetup { replicas: 1, ..SentinelSetup::default() };
    let group = SentinelDeployment::start(&setup);
    let [primary, replica] = &group.nodes[..] else { panic!("there are two nodes") };
    let text = group.deployment("orders", "");
    let daemon = Daemon::configured(&text);
    daemon.until(SOON, "redis_deployment_nodes", &[("state", "answering")], 5.0);
    let mut writer = Writer::start(&primary.address(), "kept", 20);
    // The Sentinels cannot demote the second master.
    for node in [primary, replica] {
        assert_eq!(node.execute(&["ACL", "SETUSER", "default", "-slaveof"]), ["OK"]);
    }
    assert_eq!(replica.execute(&["REPLICAOF", "NO", "ONE"]), ["OK"]);
    eventually(SECOND * 60, "RedisSplitBrain is critical", || {
        (daemon.severity("RedisSplitBrain").as_deref() == Some("critical")).then_some(())
    });

    let (first, second) = (primary.url(), replica.url());
    let (by_sentinels, by_nodes) = std::thread::scope(|scope| {
        let by_nodes = scope.spawn(|| Diagnosis::of(&[&first, &second]));
        (diagnose_file(&text), by_nodes.join().expect("a thread panicked"))
    });
    println!("static list: {:?} after {:?}", by_nodes.code, by_nodes.took);
    println!("{}{}", by_nodes.errors, by_nodes.text);
    for diagnosis in [by_sentinels, by_nodes] {
        assert_eq!(diagnosis.code, Some(1), "{}", diagnosis.text);
        assert_eq!(diagnosis.severity("RedisSplitBrain"), Some("critical"), "{}", diagnosis.text);
        assert!(diagnosis.errors.contains("RedisSplitBrain"), "{}", diagnosis.errors);
        assert!(diagnosis.took < SECOND * 50, "{:?}", diagnosis.took);
    }
    assert!(writer.stop() > 100);
}

#[test]
fn failover_in_progress_is_no_split_brain() {
    let setup = SentinelSetup { replicas: 1, ..SentinelSetup::default() };
    let group = SentinelDeployment::start(&setup);
    let before = group.primary().address();
    let old = group.node_at(&before);
    old.signal(Signal::Stop);
    group.until_failed_over(SECOND * 60, &before);
    old.signal(Signal::Cont);
    // The old master is a master until the Sentinels demote it, about 10 s later.
    let diagnosis = diagnose_file(&group.deployment("orders", ""));
    assert!(diagnosis.errors.contains("RedisSplitBrain"), "{}", diagnosis.errors);
    assert_eq!(diagnosis.severity("RedisSplitBrain"), None, "{}", diagnosis.text);
    assert!(diagnosis.took < SECOND * 30, "ends early: {:?}", diagnosis.took);
}

#[test]
fn discovery_by_slow_sentinels_is_awaited() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    // The replicas are read after the Sentinels: two rounds are needed to see that all nodes are
    // replicas.
    let primary = group.primary();
    for sentinel in &group.sentinels {
        sentinel.signal(Signal::Stop);
    }
    assert_eq!(primary.execute(&["REPLICAOF", "127.0.0.1", "1"]), ["OK"]);
    let text = group.deployment("orders", "");
    let diagnosis = std::thread::scope(|scope| {
        let diagnosis = scope.spawn(|| diagnose_file(&text));
        tests::pause(SECOND * 4);
        for sentinel in &group.sentinels {
            sentinel.signal(Signal::Cont);
        }
        diagnosis.join().expect("a thread panicked")
    });
    assert_eq!(diagnosis.code, Some(1), "{}", diagnosis.text);
    for node in &group.nodes {
        assert!(diagnosis.text.contains(&node.address()), "{}", diagnosis.text);
    }
    assert_eq!(diagnosis.severity("RedisNoPrimary"), Some("critical"), "{}", diagnosis.text);
}
