//! An exporter that reads only some of the Sentinels.

use tests::{
    Daemon, MASTER, SentinelDeployment, SentinelSetup, Server, eventually, free_port,
    sentinel_deployment,
};

use super::advice::check_pages;
use super::{DISPUTED, EVIDENCE, NO_PRIMARY, until_evidence};
use crate::monitor::{LIMIT, Monitor, PRIMARY_INFO, SOON, check_names};

/// Starts an exporter that reaches the first Sentinels only. `more` are further URLs of Sentinels.
fn start(group: &SentinelDeployment, sentinels: usize, more: &[String]) -> Monitor {
    let urls = group.sentinels[..sentinels].iter().map(Server::url).chain(more.iter().cloned());
    let urls: Vec<_> = urls.collect();
    let monitor = Monitor::start(&sentinel_deployment("sessions", Some(MASTER), &urls, ""));
    monitor.until_primary(&group.primary().address());
    monitor
}

#[test]
fn one_sentinel_of_three_does_not_confirm_the_primary() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let (one, all) = (start(&group, 1, &[]), start(&group, 3, &[]));
    let primary = group.primary().address();
    let mistake = group.replicas()[0];
    for daemon in [&one.daemon, &all.daemon] {
        for replica in group.replicas() {
            let labels = [("node", &*replica.address()), ("state", "up")];
            daemon.until(LIMIT, "redis_link_state", &labels, 1.0);
        }
    }
    mistake.execute(&["REPLICAOF", "NO", "ONE"]);
    for daemon in [&one.daemon, &all.daemon] {
        daemon.until(SOON, DISPUTED, &[], 1.0);
    }
    all.daemon.until(SOON, PRIMARY_INFO, &[("node", &primary), ("evidence", "sentinel")], 1.0);
    // The replica that nobody pointed elsewhere decides.
    one.daemon.until(SOON, PRIMARY_INFO, &[("node", &primary), ("evidence", "followers")], 1.0);
    assert_eq!(one.daemon.samples().count(EVIDENCE, &[("evidence", "sentinel")]), 0);
    let nodes = [primary.clone(), mistake.address()];
    for daemon in [&one.daemon, &all.daemon] {
        check_pages(daemon, "sessions", &nodes);
    }
    let finding = one.daemon.finding("RedisSplitBrain").expect("a finding");
    let witnesses = [format!("{primary} (followers, previous)"), format!("{} (lineage)", nodes[1])];
    check_names(&finding["evidence"]["witnesses"], &witnesses);
    group.until_replicating(LIMIT);
    for daemon in [&one.daemon, &all.daemon] {
        daemon.until_event(LIMIT, "primary_undisputed");
        assert_eq!(daemon.count("primary_changed"), 0, "{:?}", daemon.events());
    }
}

/// Without a dispute, the unconfirmed primary is shown, but advice names no node to fence.
#[test]
fn advice_about_an_unconfirmed_primary_names_no_node() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let (one, all) = (start(&group, 1, &[]), start(&group, 3, &[]));
    let replica = group.replicas()[0];
    let path = format!("/runbooks/RedisSplitBrain?deployment=sessions&node={}", replica.address());
    let fence = format!("-h {} -p {} config set min-replicas", replica.host, replica.port);
    let names_it = |daemon: &Daemon| daemon.get(&path, "").text.contains(&fence);
    eventually(LIMIT, "the primary is confirmed", || names_it(&all.daemon).then_some(()));
    for daemon in [&one.daemon, &all.daemon] {
        daemon.until(SOON, DISPUTED, &[], 0.0);
        let labels = [("node", &*group.primary().address())];
        assert_eq!(daemon.samples().get(PRIMARY_INFO, &labels), Some(1.0));
    }
    one.daemon.until_rounds(3);
    assert!(!names_it(&one.daemon));
    assert!(names_it(&all.daemon));
    assert_eq!(one.daemon.samples().count(EVIDENCE, &[("evidence", "sentinel")]), 0);
}

/// The exporter knows the URLs of all Sentinels, but reaches only one of them.
#[test]
fn unreachable_sentinels_leave_a_pair_undecided() {
    let setup = SentinelSetup { replicas: 1, ..SentinelSetup::default() };
    let group = SentinelDeployment::start(&setup);
    let elsewhere = [free_port(), free_port()].map(|port| format!("redis://127.0.0.1:{port}"));
    let (one, all) = (start(&group, 1, &elsewhere), start(&group, 3, &[]));
    let primary = group.primary().address();
    let mistake = group.replicas()[0];
    for daemon in [&one.daemon, &all.daemon] {
        let labels = [("node", &*mistake.address()), ("state", "up")];
        daemon.until(LIMIT, "redis_link_state", &labels, 1.0);
    }
    mistake.execute(&["REPLICAOF", "NO", "ONE"]);
    for daemon in [&one.daemon, &all.daemon] {
        daemon.until(SOON, DISPUTED, &[], 1.0);
        until_evidence(daemon, &mistake.address(), "lineage");
        until_evidence(daemon, &primary, "previous");
    }
    let decided = |daemon: &Daemon| {
        let samples = daemon.samples();
        let labels = [("node", &*primary), ("evidence", "sentinel")];
        (samples.count(PRIMARY_INFO, &[]), samples.count(PRIMARY_INFO, &labels))
    };
    assert_eq!((decided(&one.daemon), decided(&all.daemon)), ((0, 0), (1, 1)));
    assert_eq!(one.daemon.value(NO_PRIMARY), Some(0.0));
    for daemon in [&one.daemon, &all.daemon] {
        check_pages(daemon, "sessions", &[primary.clone(), mistake.address()]);
    }
    let finding = one.daemon.finding("RedisSplitBrain").expect("a finding");
    assert_eq!(
        finding["evidence"]["missing"],
        serde_json::json!(["sentinel", "followers", "writers", "declared", "endpoint"])
    );
    group.until_replicating(LIMIT);
    for daemon in [&one.daemon, &all.daemon] {
        daemon.until_event(LIMIT, "primary_undisputed");
        assert_eq!(daemon.count("primary_changed"), 0, "{:?}", daemon.events());
    }
}
