//! A replica that was promoted by mistake: the primary stays the primary.

use tests::{Daemon, Redis, SECOND, SentinelDeployment, SentinelSetup, Writer, deployment};

use super::advice::{check_diagnosis, check_pages};
use super::{
    DISPUTED, EVIDENCE, addresses, check_events, check_stays, declare, has_evidence,
    on_all_versions, until_disputed_primary, until_evidence, until_lost, until_recovered, urls,
};
use crate::monitor::{LIMIT, Monitor, SOON, UNREPLICATED_WRITES};

/// Writes per second of the clients.
const RATE: u32 = 50;

/// The masters to which clients write during a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    OnPrimary,
    OnBoth,
    OnMistake,
}

#[test]
fn clients_of_the_primary_agree_with_its_replica() {
    on_all_versions(|version| check_mistake(version, false, Clients::OnPrimary));
}

#[test]
fn clients_on_both_sides_leave_it_to_the_replica() {
    on_all_versions(|version| check_mistake(version, false, Clients::OnBoth));
}

#[test]
fn clients_of_the_mistake_do_not_outweigh_the_replica() {
    on_all_versions(|version| check_mistake(version, false, Clients::OnMistake));
}

#[test]
fn declared_primary_is_disputed_with_clients_on_both_sides() {
    on_all_versions(|version| check_mistake(version, true, Clients::OnBoth));
}

#[test]
fn declared_primary_is_disputed_with_its_own_clients() {
    on_all_versions(|version| check_mistake(version, true, Clients::OnPrimary));
}

/// Promotes the replica C by mistake while B follows A.
fn check_mistake(version: &'static str, declared: bool, clients: Clients) {
    let a = Redis::with_version(version, &[]);
    let (b, c) = (a.replica(), a.replica());
    let nodes = [&a, &b, &c];
    let text = deployment("orders", &nodes);
    let daemon = Daemon::configured(&if declared { declare(&text, &a) } else { text });
    daemon.until_primary(SOON, &a, "sole");
    let mut writer =
        (clients != Clients::OnMistake).then(|| Writer::start(&a.address(), "kept", RATE));
    if writer.is_some() {
        until_evidence(&daemon, &a.address(), "writers");
    }

    c.promote();
    until_disputed_primary(&daemon, &a, "followers");
    let mut lost =
        (clients != Clients::OnPrimary).then(|| Writer::start(&c.address(), "lost", RATE));
    if clients == Clients::OnMistake {
        until_evidence(&daemon, &c.address(), "writers");
    }
    until_evidence(&daemon, &a.address(), "previous");
    until_evidence(&daemon, &c.address(), "lineage");
    check_stays(&daemon, 4, &a.address());
    assert_eq!(has_evidence(&daemon, &a.address(), "writers"), clients == Clients::OnPrimary);
    assert_eq!(
        daemon.samples().count(EVIDENCE, &[("evidence", "declared")]),
        usize::from(declared)
    );
    assert_eq!(daemon.value(DISPUTED), Some(1.0));
    let finding = daemon.finding("RedisSplitBrain").expect("a finding");
    let witnesses = finding["evidence"]["witnesses"].as_array().expect("both sides");
    assert_eq!(witnesses.len(), 2, "{finding}");
    check_pages(&daemon, "orders", &addresses(&nodes));
    check_diagnosis(&urls(&nodes), &addresses(&[&a, &c]));

    let lost = lost.as_mut().map_or(0, Writer::stop);
    daemon.until_rounds(1);
    c.replicate_from(&a);
    daemon.until_event(SOON, "primary_undisputed");
    until_recovered(&daemon, &a, &[&b, &c]);
    assert!(writer.as_mut().is_none_or(|writer| writer.stop() > 100));
    until_lost(&daemon, lost);
    check_events(&daemon, [0, 1, 1]);
}

#[test]
fn sentinels_decide_against_a_mistaken_promotion() {
    on_all_versions(|version| check_mistake_with_sentinels(version, Clients::OnPrimary));
}

#[test]
fn sentinels_decide_with_clients_on_both_sides() {
    on_all_versions(|version| check_mistake_with_sentinels(version, Clients::OnBoth));
}

#[test]
fn sentinels_decide_against_the_clients_of_the_mistake() {
    on_all_versions(|version| check_mistake_with_sentinels(version, Clients::OnMistake));
}

fn check_mistake_with_sentinels(version: &'static str, clients: Clients) {
    let group = SentinelDeployment::start(&SentinelSetup { version, ..SentinelSetup::default() });
    let monitor = Monitor::start_settled(&group, "");
    let daemon = &monitor.daemon;
    let primary = group.primary();
    let mut writer =
        (clients != Clients::OnMistake).then(|| Writer::start(&primary.address(), "kept", RATE));
    if writer.is_some() {
        until_evidence(daemon, &primary.address(), "writers");
    }
    assert_eq!(daemon.value(DISPUTED), Some(0.0));

    let mistake = group.replicas()[0];
    mistake.execute(&["REPLICAOF", "NO", "ONE"]);
    daemon.until(SOON, DISPUTED, &[], 1.0);
    // The Sentinels make the node a replica again after about 8 s.
    let mut lost =
        (clients != Clients::OnPrimary).then(|| Writer::start(&mistake.address(), "lost", RATE));
    for evidence in ["sentinel", "followers", "previous"] {
        until_evidence(daemon, &primary.address(), evidence);
    }
    until_evidence(daemon, &mistake.address(), "lineage");
    daemon.until(
        SOON,
        "redis_deployment_primary_info",
        &[("node", &primary.address()), ("evidence", "sentinel")],
        1.0,
    );
    let finding = daemon.finding("RedisSplitBrain").expect("a finding");
    let witnesses = finding["evidence"]["witnesses"].as_array().expect("both sides");
    assert_eq!(witnesses.len(), 2, "{finding}");
    let nodes = [primary.address(), mistake.address()];
    check_pages(daemon, "sessions", &nodes);
    assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0));

    daemon.until_event(LIMIT, "primary_undisputed");
    let lost = lost.as_mut().map_or(0, Writer::stop);
    group.until_replicating(LIMIT);
    daemon.until_rounds(3);
    assert!(writer.as_mut().is_none_or(|writer| writer.stop() > 100));
    monitor.until_primary(&primary.address());
    let counted = daemon.value(UNREPLICATED_WRITES).expect("the series") as u64;
    assert!(counted <= lost, "{counted} of {lost}");
    // The last round with both masters is up to one interval before the demotion.
    assert!(counted + u64::from(RATE) * 3 / 2 >= lost, "{counted} of {lost}");
    assert_eq!(daemon.severity("RedisWritesLost").is_some(), lost > 0);
    check_events(daemon, [0, 1, 1]);
    assert_eq!(daemon.count("split_brain_ended"), 1);
    if lost == 0 {
        daemon.until_no_findings(SECOND * 20);
    }
}
