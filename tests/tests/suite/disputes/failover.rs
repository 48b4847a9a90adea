//! A manual failover step by step: promote, point the other replica to the new primary, demote the
//! old one.

use tests::{Redis, SECOND, Writer, primary_with_two_replicas};

use super::advice::check_pages;
use super::{
    addresses, check_changed, check_events, on_all_versions, until_disputed_primary, until_lost,
    until_recovered,
};
use crate::monitor::{SOON, UNREPLICATED_WRITES};

/// Clients during a manual failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// None write.
    Idle,
    /// They stop, and continue on the new primary.
    Moved,
    /// They write to the old primary until it is demoted.
    Left,
}

#[test]
fn a_manual_failover_ends_on_the_new_primary() {
    on_all_versions(|version| check_manual_failover(version, Clients::Idle));
}

#[test]
fn a_manual_failover_with_its_clients_loses_nothing() {
    on_all_versions(|version| check_manual_failover(version, Clients::Moved));
}

#[test]
fn a_manual_failover_without_its_clients_loses_writes() {
    on_all_versions(|version| check_manual_failover(version, Clients::Left));
}

fn check_manual_failover(version: &'static str, clients: Clients) {
    let (a, b, c, daemon) = primary_with_two_replicas(Redis::with_version(version, &[]));
    let nodes = addresses(&[&a, &b, &c]);
    a.cli(&["SET", "before", "1"]);
    let mut old = (clients != Clients::Idle).then(|| Writer::start(&a.address(), "old", 50));
    if let Some(old) = &mut old {
        super::until_evidence(&daemon, &a.address(), "writers");
        if clients == Clients::Moved {
            old.stop();
        }
    }
    // A write that the replica does not have yet would really be lost.
    c.until_caught_up(&a);
    c.promote();
    until_disputed_primary(&daemon, &a, "followers");
    check_pages(&daemon, "default", &nodes);
    let mut new = (clients == Clients::Moved).then(|| Writer::start(&c.address(), "new", 50));
    daemon.until_rounds(2);
    daemon.until_primary(SOON, &a, "followers");

    b.replicate_from(&c);
    daemon.until_primary(SOON, &c, "followers");
    check_pages(&daemon, "default", &[c.address()]);
    assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0));

    let written = old.as_mut().map_or(0, Writer::stop);
    let keys = |node: &Redis| node.cli(&["DBSIZE"]).trim().parse::<u64>().expect("a number");
    let lost = if clients == Clients::Left { keys(&a) - keys(&c) } else { 0 };
    daemon.until_rounds(1);
    a.replicate_from(&c);
    daemon.until_event(SOON, "primary_undisputed");
    check_changed(&daemon.until_event(SOON, "primary_changed"), &a, &c, "operator");
    until_recovered(&daemon, &c, &[&a, &b]);
    check_events(&daemon, [1, 1, 1]);
    assert_eq!(daemon.count("primary_lost"), 0);
    if let Some(new) = &mut new {
        assert!(new.stop() > 0);
    }
    if clients == Clients::Left {
        daemon.until_rounds(2);
        let counted = daemon.value(UNREPLICATED_WRITES).expect("the series");
        println!("{version}: {counted} of {lost} lost writes counted, {written} written");
        // The first round with both masters is up to one interval after the promotion.
        assert!((counted - lost as f64).abs() <= 75.0, "{counted} of {lost}");
        assert!(daemon.severity("RedisWritesLost").is_some());
    } else {
        until_lost(&daemon, 0);
        daemon.until_no_findings(SECOND * 20);
    }
}
