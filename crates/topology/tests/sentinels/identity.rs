//! Sentinels that adopt the master of another group, and what only looks like that.

use topology::{DeploymentView, FindingKind, PrimaryEvidence, Severity};

use crate::fixture::{
    A, B, C, D, PLAIN, TestDeployment, evidence, master_of, master_report, primary, promoted,
    replica, report, severity_of, up,
};

const KEYS: &str = "db0:keys=300,expires=0,avg_ttl=0\n";

fn with_keys(info: String) -> String {
    info + KEYS
}

/// Starts the primary A with its replicas B and C, and with keys.
fn started() -> TestDeployment {
    let mut test = TestDeployment::healthy(PLAIN);
    for info in test.servers.values_mut() {
        *info += KEYS;
    }
    test.rounds(3);
    test
}

/// Lets the Sentinels name D, and lets the others follow it.
fn follow_d(test: &mut TestDeployment, history: char, names: [&'static str; 3]) {
    let replicas: Vec<_> = [A, B, C].into_iter().map(up).collect();
    test.set_reports(&report(D, 9, &replicas));
    test.rounds(2);
    for (address, run_id) in [A, B, C].into_iter().zip(names) {
        test.servers.insert(address, with_keys(replica(run_id, history, D)));
    }
    test.rounds(9);
}

fn is_silent(test: &TestDeployment, view: &DeploymentView) -> bool {
    test.events_of("dataset_replaced").is_empty()
        && severity_of(view, FindingKind::RedisDatasetReplaced).is_none()
        && view.shards[0].dataset_replaced.total == 0
}

#[test]
fn the_master_of_another_group_replaces_the_data() {
    let mut test = started();
    test.servers.insert(D, with_keys(master_of("w", 'f')));
    follow_d(&mut test, 'f', ["x", "y", "z"]);
    let view = test.rounds(1);
    assert_eq!(primary(&view), Some((D, PrimaryEvidence::Sentinel)));
    assert_eq!(test.events_of("dataset_replaced"), [A]);
    let severity = severity_of(&view, FindingKind::RedisDatasetReplaced);
    assert_eq!(severity, Some(Severity::Critical));
    let values = evidence(&view, FindingKind::RedisDatasetReplaced, ["why", "replaced", "from"]);
    assert_eq!(values, ["foreign_primary", A, D]);
    // D is the primary of this deployment now: its failovers are no replacements.
    test.servers.insert(B, with_keys(promoted("y", 'f', '8')));
    test.servers.insert(D, with_keys(replica("w", '8', B)));
    test.set_reports(&report(B, 10, &[A, C, D].map(up)));
    let view = test.rounds(9);
    assert_eq!(view.shards[0].dataset_replaced.total, 1);
}

#[test]
fn a_new_replica_that_takes_over_replaces_nothing() {
    let mut test = started();
    test.servers.insert(D, with_keys(replica("w", 'a', A)));
    test.set_reports(&report(A, 1, &[B, C, D].map(up)));
    test.rounds(3);
    test.servers.insert(D, with_keys(promoted("w", 'a', 'b')));
    follow_d(&mut test, 'b', ["x", "y", "z"]);
    let view = test.rounds(1);
    assert!(is_silent(&test, &view), "{:?}", test.events);
}

#[test]
fn a_member_promoted_after_a_restart_of_all_is_silent() {
    let mut test = started();
    test.servers.clear();
    test.rounds(9);
    // Servers with an append-only file only have new IDs after a restart.
    let young = |info: String| with_keys(info.replace("seconds:1000", "seconds:1"));
    test.servers.insert(A, young(master_of("x2", 'e')));
    test.servers.insert(B, young(master_of("y2", 'f')));
    test.servers.insert(C, young(replica("z2", 'e', A)));
    test.rounds(3);
    test.set_reports(&master_report(B, 2));
    test.servers.insert(A, young(replica("x2", 'f', B)));
    test.servers.insert(C, young(replica("z2", 'f', B)));
    let view = test.rounds(9);
    assert!(is_silent(&test, &view), "{:?}", test.events);
}

#[test]
fn a_member_at_another_address_after_a_restart_is_silent() {
    let mut test = started();
    test.servers.clear();
    test.rounds(9);
    let young = |info: String| with_keys(info.replace("seconds:1000", "seconds:1"));
    test.servers.insert(A, young(master_of("x2", 'e')));
    test.rounds(3);
    // B returns at another address with restored data, and the Sentinels choose it.
    test.servers.insert(D, young(master_of("y2", 'f')));
    test.set_reports(&report(D, 2, &[A, B, C].map(up)));
    test.rounds(2);
    test.servers.insert(A, young(replica("x2", 'f', D)));
    let view = test.rounds(9);
    assert!(is_silent(&test, &view), "{:?}", test.events);
}

#[test]
fn an_empty_primary_of_another_group_replaces_nothing() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.rounds(3);
    test.servers.insert(D, with_keys(master_of("w", 'f')));
    follow_d(&mut test, 'f', ["x", "y", "z"]);
    let view = test.rounds(1);
    assert!(is_silent(&test, &view), "{:?}", test.events);
}

#[test]
fn a_copy_of_an_old_dump_at_a_new_address_is_foreign() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.insert(A, with_keys(promoted("x", '9', 'a')));
    test.rounds(3);
    // Both continue the history of a dump that they loaded.
    test.servers.insert(D, with_keys(promoted("w", '9', 'f')));
    follow_d(&mut test, 'f', ["x", "y", "z"]);
    assert_eq!(test.events_of("dataset_replaced"), [A]);
}
