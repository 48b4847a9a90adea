//! Sentinels that consider a primary down that replies to Rolecall.

use std::time::Duration;

use snapshot::{DownState, MasterReport, Role, SentinelEntry};
use topology::FindingKind::RedisSentinelCannotReach as CannotReach;
use topology::Severity::{Info, Warning};
use topology::{DeploymentView, FindingKind, UnreachedReason};

use crate::fixture::*;

/// Returns a report that A is down. The last reply to a ping has this age.
fn considers_down(last_ping_reply: Duration) -> MasterReport {
    changed(master_report(A, 1), |report| {
        report.master = SentinelEntry {
            down_state: DownState::ObjectivelyDown,
            down_for: Some(SECOND),
            last_ping_reply: Some(last_ping_reply),
            ..report.master.clone()
        };
    })
}

/// Returns the reply of A with these numbers of error replies by code.
fn primary_with(errors: &[(&str, u64)]) -> String {
    let line = |(code, count): &(&str, u64)| format!("errorstat_{code}:count={count}\n");
    let lines: String = errors.iter().map(line).collect();
    format!("{}# Errorstats\n{lines}", master_of("x", 'a'))
}

/// Runs rounds in which each one adds this number of errors of each code.
fn rounds_with(test: &mut TestDeployment, rounds: u64, per_round: &[(&str, u64)]) {
    for round in 1..=rounds {
        let errors: Vec<_> =
            per_round.iter().map(|(code, count)| (*code, 100 + round * count)).collect();
        test.servers.insert(A, primary_with(&errors));
        test.rounds(1);
    }
}

fn unreached(view: &DeploymentView) -> Vec<(&str, UnreachedReason)> {
    let sentinels = view.sentinels.as_ref().expect("Sentinels");
    let named =
        |sentinel: &topology::UnreachedPrimary| (view.name(sentinel.sentinel), sentinel.reason);
    sentinels.cannot_reach.sentinels.iter().map(named).collect()
}

#[test]
fn refused_pings_at_the_pace_of_sentinels_are_failed_auth() {
    let mut test = TestDeployment::healthy(PLAIN);
    rounds_with(&mut test, 2, &[("NOAUTH", 0), ("WRONGPASS", 0)]);
    test.set_reports(&considers_down(SECOND));
    rounds_with(&mut test, 6, &[("NOAUTH", 15), ("WRONGPASS", 3)]);
    let view = test.tracker.view();
    assert_eq!(kinds(&view), [], "five seconds");
    assert_eq!(unreached(&view), ["s1", "s2", "s3"].map(|name| (name, UnreachedReason::Auth)));
    rounds_with(&mut test, 9, &[("NOAUTH", 15), ("WRONGPASS", 3)]);
    let view = test.tracker.view();
    assert_eq!(kinds(&view), [(CannotReach, Warning), (FindingKind::RedisFailoverNotReady, Info)]);
    assert_eq!(
        evidence(&view, CannotReach, ["primary", "why", "sentinels", "known", "error_codes"]),
        [A, "auth", "s1, s2, s3", "3", "NOAUTH, WRONGPASS"]
    );
    test.set_reports(&master_report(A, 1));
    assert_eq!((kinds(&test.rounds(1)), unreached(&test.tracker.view())), (vec![], vec![]));
    assert!(test.events.is_empty(), "{:?}", test.events);
}

#[test]
fn few_refused_logins_are_those_of_a_client() {
    let mut test = TestDeployment::healthy(PLAIN);
    rounds_with(&mut test, 2, &[("WRONGPASS", 0)]);
    test.set_reports(&considers_down(SECOND));
    rounds_with(&mut test, 9, &[("WRONGPASS", 1)]);
    let view = test.tracker.view();
    assert_eq!(evidence(&view, CannotReach, ["why"]), ["error_reply"], "1 per second, 3 Sentinels");
    assert!(view.sentinels.as_ref().expect("Sentinels").cannot_reach.error_codes.is_empty());
}

#[test]
fn a_server_without_error_table_refuses_for_an_unknown_reason() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.set_reports(&considers_down(SECOND));
    let view = test.rounds(7);
    assert_eq!(evidence(&view, CannotReach, ["why"]), ["error_reply"]);
}

#[test]
fn misconf_of_the_primary_explains_its_replies() {
    let mut test = TestDeployment::healthy(PLAIN);
    let failing = "aof_enabled:1\naof_last_write_status:err\n";
    test.servers.insert(A, format!("{}{failing}", master_of("x", 'a')));
    test.set_reports(&considers_down(SECOND));
    let view = test.rounds(7);
    assert_eq!(evidence(&view, CannotReach, ["why"]), ["misconf"]);
}

#[test]
fn a_sentinel_without_any_reply_has_a_network_problem() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.sentinels[2] = Some(considers_down(SECOND * 10));
    let view = test.rounds(7);
    assert_eq!(evidence(&view, CannotReach, ["why", "sentinels", "known"]), ["network", "s3", "3"]);
    // Another one cannot log in.
    rounds_with(&mut test, 2, &[("NOAUTH", 0)]);
    test.sentinels[1] = Some(considers_down(Duration::ZERO));
    rounds_with(&mut test, 9, &[("NOAUTH", 5)]);
    let view = test.tracker.view();
    assert_eq!(
        evidence(&view, CannotReach, ["why", "sentinels"]),
        ["auth, network", "s2 (auth), s3 (network)"]
    );
}

#[test]
fn a_primary_that_just_restarted_is_not_falsely_down() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.remove(A);
    test.set_reports(&considers_down(SECOND * 10));
    let view = test.rounds(20);
    assert_eq!(unreached(&view), [], "it does not reply to Rolecall either");
    test.servers.insert(A, master_of("x", 'a'));
    // Until the next ping the Sentinels consider it down.
    let view = test.rounds(2);
    assert_eq!(severity_of(&view, CannotReach), None);
    assert_eq!(unreached(&view).len(), 3);
    test.set_reports(&master_report(A, 1));
    assert_eq!(unreached(&test.rounds(1)), []);
}

#[test]
fn a_demoted_master_and_a_sentinel_in_tilt_mode_do_not_count() {
    let mut test = TestDeployment::healthy(PLAIN);
    let mismatch = changed(considers_down(SECOND), |report| {
        report.master.role_reported = Some(Role::Replica);
    });
    test.set_reports(&mismatch);
    assert_eq!(unreached(&test.rounds(7)), [], "the node reports that it is a replica");
    test.servers.insert(A, replica("x", 'a', B));
    test.set_reports(&considers_down(SECOND));
    assert_eq!(unreached(&test.rounds(7)), [], "the node is a replica");
    let mut test = TestDeployment::healthy(PLAIN);
    test.tilt = true;
    test.sentinels[2] = Some(considers_down(SECOND));
    assert_eq!(unreached(&test.rounds(7)), [], "its record does not change in TILT mode");
    test.tilt = false;
    assert_eq!(unreached(&test.rounds(1)), [("s3", UnreachedReason::ErrorReply)]);
}

#[test]
fn missed_polls_neither_end_nor_extend_it() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.set_reports(&considers_down(SECOND));
    test.rounds(2);
    // The primary misses two polls in a row, again and again.
    for _ in 0..4 {
        test.silent = vec![A];
        assert_eq!(unreached(&test.rounds(2)).len(), 3);
        test.silent.clear();
        test.rounds(1);
    }
    let view = test.rounds(1);
    assert_eq!(severity_of(&view, CannotReach), Some(Warning));
    let mut test = TestDeployment::healthy(PLAIN);
    test.set_reports(&considers_down(SECOND));
    test.rounds(1);
    test.silent = vec![A];
    let view = test.rounds(20);
    assert_eq!((severity_of(&view, CannotReach), unreached(&view)), (None, vec![]));
}
