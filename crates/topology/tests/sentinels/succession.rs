//! Dead nodes whose place another process takes: pods that return at other addresses.

use crate::recorded::RecordedTracker;
use snapshot::SentinelEntry;
use topology::FindingKind::{RedisDown, RedisReplicasMissing, RedisSentinelGhosts};
use topology::Severity::Warning;

use crate::fixture::*;

/// Returns the entry of a node of which the Sentinel heard last before these seconds.
fn heard(address: &str, run_id: &str, seconds: u32) -> SentinelEntry {
    let last_ok_ping = Some(SECOND * seconds);
    SentinelEntry { run_id: run_id.into(), last_ok_ping, ..up(address) }
}

/// Returns a synchronised replica of A that started a second ago.
fn new_replica(run_id: &str) -> String {
    replica(run_id, 'a', A).replace(":1000", ":1")
}

/// Creates a deployment whose replica C died five seconds ago. Sentinels have not noticed yet.
fn with_dead_replica() -> TestDeployment {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.remove(C);
    test.set_reports(&report(A, 1, &[up(B), heard(C, "z", 5)]));
    let view = test.rounds(5);
    assert_eq!(severity_of(&view, RedisDown), Some(Warning));
    test
}

#[test]
fn a_new_process_takes_the_place_of_a_dead_node() {
    let mut test = with_dead_replica();
    test.servers.insert(D, new_replica("w"));
    test.set_reports(&report(A, 1, &[up(B), heard(C, "z", 8), up(D)]));
    let view = test.rounds(2);
    assert_eq!((data(&view), kinds(&view)), (vec![A, B, D], vec![]));
    assert_eq!(
        (test.events_of("node_gone"), test.events_of("node_discovered")),
        (vec![C], vec![D])
    );
    // Sentinels mark the old address as down, later it is a ghost.
    test.set_reports(&report(A, 1, &[up(B), down(C, 30), up(D)]));
    assert_eq!(kinds(&test.rounds(20)), []);
    test.set_reports(&report(A, 1, &[up(B), down(C, 601), up(D)]));
    let view = test.rounds(20);
    assert_eq!((data(&view), kinds(&view)), (vec![A, B, D], vec![(RedisSentinelGhosts, Warning)]));
    assert_eq!(view.shards[0].expected_replicas, 2);
}

#[test]
fn a_dead_node_without_a_successor_stays() {
    let by_restart = |test: &mut TestDeployment| {
        test.servers.insert(B, new_replica("y2"));
        test.set_reports(&report(A, 1, &[up(B), heard(C, "z", 8)]));
    };
    let by_older_process = |test: &mut TestDeployment| {
        test.servers.insert(D, replica("w", 'a', A));
        test.set_reports(&report(A, 1, &[up(B), heard(C, "z", 8), up(D)]));
    };
    let without_data = |test: &mut TestDeployment| {
        test.servers.insert(D, new_replica("w").replace("status:up", "status:down"));
        test.set_reports(&report(A, 1, &[up(B), heard(C, "z", 8), up(D)]));
    };
    let alive_to_sentinels = |test: &mut TestDeployment| {
        test.servers.insert(D, new_replica("w"));
        test.set_reports(&report(A, 1, &[up(B), heard(C, "z", 1), up(D)]));
    };
    for change in [by_restart, by_older_process, without_data, alive_to_sentinels] {
        let mut test = with_dead_replica();
        change(&mut test);
        let view = test.rounds(20);
        assert!(data(&view).contains(&C), "{:?}", data(&view));
        assert_eq!(severity_of(&view, RedisDown), Some(Warning));
    }
}

#[test]
fn one_process_takes_the_place_of_one_dead_node() {
    let mut test = with_dead_replica();
    test.servers.remove(B);
    test.set_reports(&report(A, 1, &[heard(B, "y", 5), heard(C, "z", 10)]));
    test.rounds(5);
    test.servers.insert(D, new_replica("w"));
    test.set_reports(&report(A, 1, &[heard(B, "y", 8), down(C, 5), up(D)]));
    let view = test.rounds(20);
    assert_eq!(data(&view), [A, C, D], "B died last, so D is the pod of B");
    assert!(severity_of(&view, RedisDown).is_some());
    assert!(severity_of(&view, RedisReplicasMissing).is_some());
}

#[test]
fn a_replaced_node_is_a_member_again_when_it_returns() {
    let mut test = with_dead_replica();
    test.servers.insert(D, new_replica("w"));
    test.set_reports(&report(A, 1, &[up(B), down(C, 8), up(D)]));
    test.rounds(5);
    // Sentinels forget the state of a node in a failover: the entry says nothing about it.
    test.set_reports(&report(A, 1, &[up(B), heard(C, "", 0), up(D)]));
    assert_eq!(data(&test.rounds(5)), [A, B, D]);
    test.servers.insert(C, new_replica("z"));
    test.set_reports(&report(A, 1, &[up(B), heard(C, "z", 0), up(D)]));
    let view = test.rounds(3);
    assert_eq!((data(&view), kinds(&view)), (vec![A, B, C, D], vec![]));
}

#[test]
fn an_old_primary_has_a_successor_after_the_failover() {
    check_old_primary(&[], &[B, C, D]);
    // It may still take writes.
    check_old_primary(&[A], &[A, B, C, D]);
}

#[track_caller]
fn check_old_primary(silent: &[&'static str], members: &[&str]) {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.remove(A);
    test.silent = silent.to_vec();
    test.set_reports(&report(A, 1, &[up(B), up(C)]));
    test.rounds(20);
    test.servers.insert(D, new_replica("w"));
    test.set_reports(&report(A, 1, &[up(B), up(C), up(D)]));
    assert_eq!(data(&test.rounds(15)), [A, B, C, D], "no master does the work of the primary");
    test.servers.extend([
        (B, promoted("y", 'a', 'b')),
        (C, replica("z", 'b', B)),
        (D, replica("w", 'b', B).replace(":1000", ":16")),
    ]);
    test.set_reports(&report(B, 2, &[heard(A, "", 0), up(C), up(D)]));
    let view = test.rounds(5);
    assert_eq!(data(&view), members);
    let is_down = members.contains(&A).then_some(Warning);
    assert_eq!(severity_of(&view, RedisDown), is_down);
}

#[test]
fn a_reset_of_the_sentinels_removes_a_dead_node() {
    let mut test = with_dead_replica();
    test.set_reports(&report(A, 1, &[up(B)]));
    assert_eq!(data(&test.rounds(5)), [A, B, C]);
    let view = test.rounds(2);
    assert_eq!((data(&view), kinds(&view)), (vec![A, B], vec![]));
    assert_eq!(view.shards[0].expected_replicas, 1);
}

#[test]
fn an_old_address_is_saved() {
    let mut test = with_dead_replica();
    test.servers.insert(D, new_replica("w"));
    test.set_reports(&report(A, 1, &[up(B), down(C, 8), up(D)]));
    test.rounds(5);
    let saved = test.tracker.saved_state();
    assert_eq!(saved.old_addresses, [C]);
    for (saved, is_member) in [(Some(saved), false), (None, true)] {
        let mut restarted = TestDeployment::new(PLAIN, |_| {});
        if let Some(saved) = saved {
            restarted.tracker = RecordedTracker::new(
                restarted.tracker.view().deployment.clone(),
                Some((saved, SECOND)),
            );
        }
        restarted.servers = test.servers.clone();
        restarted.set_reports(&report(A, 1, &[up(B), down(C, 60), up(D)]));
        assert_eq!(data(&restarted.rounds(5)).contains(&C), is_member);
    }
}

#[test]
fn a_removed_node_that_never_replied_leaves_soon() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.set_reports(&report(A, 1, &[up(B), up(C), heard(D, "w", 0)]));
    assert_eq!(data(&test.rounds(3)), [A, B, C, D]);
    test.set_reports(&report(A, 1, &[up(B), up(C)]));
    let view = test.rounds(7);
    assert_eq!((data(&view), kinds(&view)), (vec![A, B, C], vec![]));
}
