//! Pairs and chains, in which few replicas or none tell the masters apart, and disputes that
//! outlive the replication backlog.

use tests::{Daemon, Redis, SECOND, Writer, deployment, eventually, primary_with_replica};

use super::advice::{check_diagnosis, check_pages};
use super::{
    DISPUTED, addresses, check_events, check_stays, check_undecided, declare, has_evidence,
    on_all_versions, until_disputed_primary, until_evidence, urls,
};
use crate::monitor::{SOON, SPLIT_BRAIN};

#[test]
fn a_pair_without_further_evidence_has_no_known_primary() {
    on_all_versions(|version| check_pair(Redis::with_version(version, &[]), false));
}

#[test]
fn a_pair_that_keeps_its_data_has_no_known_primary() {
    on_all_versions(|version| {
        check_pair(Redis::with_version(version, &["--appendonly", "yes"]), true);
    });
}

fn check_pair(a: Redis, keeps_data: bool) {
    let (mut a, b, daemon) = primary_with_replica(a);
    a.fill(&b);
    b.promote();
    daemon.until(SOON, DISPUTED, &[], 1.0);
    until_evidence(&daemon, &a.address(), "previous");
    until_evidence(&daemon, &b.address(), "lineage");
    // The check of A's data was a write. It is no evidence in the end.
    eventually(SECOND * 45, "the write is no longer recent", || {
        (!has_evidence(&daemon, &a.address(), "writers")).then_some(())
    });
    check_undecided(&daemon);
    let both = addresses(&[&a, &b]);
    check_pages(&daemon, "default", &both);
    check_diagnosis(&urls(&[&a, &b]), &both);
    // A restart of the former primary decides nothing: the other node was promoted before.
    a.kill();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    a.restart();
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    check_undecided(&daemon);
    check_pages(&daemon, "default", &both);
    let keys = if keeps_data { "100" } else { "0" };
    assert_eq!(a.cli(&["DBSIZE"]).trim(), keys);
    // Clients decide.
    let mut writer = Writer::start(&a.address(), "kept", 50);
    until_disputed_primary(&daemon, &a, "writers");
    writer.stop();
}

#[test]
fn a_declaration_decides_about_a_pair() {
    on_all_versions(|version| {
        let a = Redis::with_version(version, &[]);
        let b = a.replica();
        let daemon = Daemon::configured(&declare(&deployment("orders", &[&a, &b]), &a));
        daemon.until_primary(SOON, &a, "sole");
        b.promote();
        until_disputed_primary(&daemon, &a, "declared");
        check_pages(&daemon, "orders", &addresses(&[&a, &b]));
        check_events(&daemon, [0, 1, 0]);
    });
}

/// D follows C, and E follows D: they were behind C before it was promoted.
#[test]
fn followers_behind_a_mistake_are_no_evidence_for_it() {
    on_all_versions(|version| {
        let a = Redis::with_version(version, &[]);
        let c = a.replica();
        let d = c.replica();
        let e = d.replica();
        let nodes = [&a, &c, &d, &e];
        let daemon = Daemon::with_replicas(&a, &[&c, &d, &e]);
        c.promote();
        check_undecided(&daemon);
        until_evidence(&daemon, &a.address(), "previous");
        check_pages(&daemon, "default", &addresses(&nodes));
        let mut writer = Writer::start(&a.address(), "kept", 50);
        until_disputed_primary(&daemon, &a, "writers");
        check_stays(&daemon, 3, &a.address());
        check_diagnosis(&urls(&nodes), &addresses(&nodes));
        assert_eq!(
            ["a", "c"].map(|_| has_evidence(&daemon, &c.address(), "followers")),
            [false; 2]
        );
        // A replica that is pointed to A counts.
        d.replicate_from(&a);
        daemon.until_primary(SOON, &a, "followers");
        c.replicate_from(&a);
        daemon.until_event(SOON, "primary_undisputed");
        check_stays(&daemon, 2, &a.address());
        writer.stop();
        check_events(&daemon, [0, 1, 1]);
    });
}

/// Options with which a master changes its replication ID 10 s after its last replica left.
const SHORT_BACKLOG: [&str; 2] = ["--repl-backlog-ttl", "10"];

/// Waits until both masters have changed their replication IDs without a restart.
#[track_caller]
fn until_ids_change(masters: [&Redis; 2], change: impl FnOnce()) {
    let ids = || masters.map(|master| master.info("master_replid").expect("an ID"));
    change();
    let before = ids();
    eventually(SECOND * 40, "the replication IDs change", || {
        let after = ids();
        (after[0] != before[0] && after[1] != before[1]).then_some(())
    });
    for master in masters {
        assert_eq!(master.info("master_replid2").expect("an ID"), "0".repeat(40));
    }
}

#[test]
fn a_dispute_outlives_the_replication_backlog() {
    on_all_versions(|version| {
        let a = Redis::with_version(version, &SHORT_BACKLOG);
        let b = a.replica_with(&SHORT_BACKLOG);
        b.until_synchronised();
        let daemon = Daemon::with_replicas(&a, &[&b]);
        until_ids_change([&a, &b], || b.promote());
        check_undecided(&daemon);
        until_evidence(&daemon, &a.address(), "previous");
        until_evidence(&daemon, &b.address(), "lineage");
        let mut writer = Writer::start(&a.address(), "kept", 50);
        until_disputed_primary(&daemon, &a, "writers");
        writer.stop();
        check_pages(&daemon, "default", &addresses(&[&a, &b]));
        check_events(&daemon, [0, 1, 0]);
    });
}

#[test]
fn a_successor_outlives_its_replication_backlog() {
    on_all_versions(|version| {
        let mut a = Redis::with_version(version, &SHORT_BACKLOG);
        let b = a.replica_with(&SHORT_BACKLOG);
        b.until_synchronised();
        let daemon = Daemon::with_replicas(&a, &[&b]);
        a.kill();
        daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
        b.promote();
        daemon.until_primary(SOON, &b, "sole");
        a.restart();
        daemon.until_primary(SOON, &b, "lineage");
        let before = b.info("master_replid");
        eventually(SECOND * 40, "the replication ID changes", || {
            (b.info("master_replid") != before).then_some(())
        });
        check_stays(&daemon, 5, &b.address());
        daemon.until_primary(SOON, &b, "lineage");
        assert_eq!(daemon.value(SPLIT_BRAIN), Some(1.0));
        assert_eq!(daemon.count("primary_changed"), 1, "{:?}", daemon.events());
    });
}
