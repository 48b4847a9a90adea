//! A killed master that returns, with or without its data. Replicas that nobody pointed elsewhere
//! reconnect to it by themselves.

use tests::{
    Daemon, Redis, SECOND, SentinelDeployment, SentinelSetup, VERSIONS, Writer, eventually,
    primary_with_two_replicas,
};

use super::advice::check_pages;
use super::{
    DISPUTED, NO_PRIMARY, addresses, check_changed, check_events, check_stays, on_all_versions,
};
use crate::monitor::{LIMIT, Monitor, PRIMARY_INFO, SOON, UNREPLICATED_WRITES, write_keys};

/// Starts a primary that keeps its data over a restart or does not, and two replicas.
fn start(version: &'static str, keeps_data: bool) -> (Redis, Redis, Redis, Daemon) {
    let append_only: &[&str] = if keeps_data { &["--appendonly", "yes"] } else { &[] };
    let nodes = primary_with_two_replicas(Redis::with_version(version, append_only));
    nodes.0.fill(&nodes.1);
    nodes.3.until_rounds(1);
    nodes
}

/// Waits until a replica is connected to this master, according to the replica itself.
#[track_caller]
fn until_follows(replica: &Redis, master: &Redis) {
    eventually(SECOND * 30, "the replica is connected", || {
        let is = |field: &str, value: &str| replica.info(field).as_deref() == Some(value);
        (is("master_link_status", "up") && is("master_port", &master.port.to_string()))
            .then_some(())
    });
}

#[test]
fn a_successor_wins_over_a_master_that_returns_with_its_data() {
    on_all_versions(|version| check_succeeded(version, true));
}

#[test]
fn a_successor_wins_over_a_master_that_returns_empty() {
    on_all_versions(|version| check_succeeded(version, false));
}

/// Promotes B while A is down. C is still told to follow A.
fn check_succeeded(version: &'static str, keeps_data: bool) {
    let (mut a, b, c, daemon) = start(version, keeps_data);
    a.kill();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    b.promote();
    daemon.until_primary(SOON, &b, "sole");
    a.restart();
    until_follows(&c, &a);
    daemon.until(SOON, "redis_deployment_masters", &[], 2.0);
    check_stays(&daemon, 4, &b.address());
    daemon.until_primary(SOON, &b, "lineage");
    check_pages(&daemon, "default", &[b.address()]);
    // Its clients agree.
    let mut writer = Writer::start(&b.address(), "kept", 50);
    daemon.until_primary(SOON, &b, "writers");
    check_stays(&daemon, 2, &b.address());
    writer.stop();
    c.replicate_from(&b);
    daemon.until_primary(SOON, &b, "followers");
    a.replicate_from(&b);
    daemon.until_primary(SOON, &b, "sole");
    assert_eq!(daemon.count("primary_changed"), 1, "{:?}", daemon.events());
    check_changed(&daemon.until_event(SOON, "primary_changed"), &a, &b, "operator");
    assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0));
}

#[test]
fn a_master_that_returns_without_a_rival_stays_the_primary() {
    on_all_versions(|version| {
        for keeps_data in [true, false] {
            let (mut a, b, c, daemon) = start(version, keeps_data);
            a.kill();
            daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
            a.restart();
            for replica in [&b, &c] {
                until_follows(replica, &a);
            }
            daemon.until_primary(SOON, &a, "sole");
            check_stays(&daemon, 3, &a.address());
            check_events(&daemon, [0, 0, 0]);
            let emptied = daemon.value("redis_deployment_emptied_total");
            assert_eq!(emptied, Some(f64::from(u8::from(!keeps_data))), "{version}");
            check_pages(&daemon, "default", &addresses(&[&a]));
        }
    });
}

#[test]
fn a_killed_master_that_returns_does_not_win() {
    for version in VERSIONS {
        check_killed_master(version);
    }
}

fn check_killed_master(version: &'static str) {
    let mut group =
        SentinelDeployment::start(&SentinelSetup { version, ..SentinelSetup::default() });
    write_keys(group.primary(), "key", 100);
    let monitor = Monitor::start_settled(&group, "");
    let before = group.primary().address();
    let killed = group.index_of(&before);
    // It returns with its data.
    group.nodes[killed].execute(&["SAVE"]);
    group.nodes[killed].kill();
    let after = group.until_failed_over(LIMIT, &before);
    monitor.until_primary(&after);
    group.nodes[killed].restart();
    // It claims to be master until the Sentinels demote it.
    eventually(LIMIT, "the old primary is a replica", || {
        let samples = monitor.daemon.samples();
        assert_eq!(samples.get(PRIMARY_INFO, &[("node", &after)]), Some(1.0), "{version}");
        assert_eq!(samples.get(NO_PRIMARY, &[]), Some(0.0), "{version}");
        let labels = [("node", &*before), ("role", "replica")];
        (samples.get("redis_role", &labels) == Some(1.0)).then_some(())
    });
    group.until_replicating(LIMIT);
    monitor.daemon.until(LIMIT, "redis_deployment_masters", &[], 1.0);
    monitor.until_primary(&after);
    monitor.daemon.until(SOON, DISPUTED, &[], 0.0);
    assert_eq!(
        (monitor.events("primary_changed").len(), monitor.daemon.value(UNREPLICATED_WRITES)),
        (1, Some(0.0)),
        "{:?}",
        monitor.daemon.events()
    );
}
