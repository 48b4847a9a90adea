//! Claims of masters over a restart of the exporter, and over a change of their replication IDs.

use crate::recorded::RecordedTracker;
use snapshot::Reason;
use topology::{DeploymentView, NodeIndex, PollOutcome, PrimaryEvidence};

use super::fixture::{
    InfoReply, SECOND, TestDeployment, failed_over, master, primary, refused, replica, reply,
};

/// The reply of n1 after a restart with the data of the common history.
fn returned() -> PollOutcome {
    reply(&InfoReply { uptime: 1, continues: Some('a'), ..master("x2", 'c') })
}

/// Starts another exporter with the saved state of this one, or without.
fn restarted(test: &TestDeployment, nodes: u16, with_state: bool) -> TestDeployment {
    let state = test.tracker.saved_state();
    let mut test = TestDeployment::new(nodes);
    if with_state {
        test.tracker =
            RecordedTracker::new(test.tracker.view().deployment.clone(), Some((state, SECOND)));
    }
    test
}

fn is_disputed(view: &DeploymentView) -> bool {
    view.shards[0].primary_disputed
}

#[test]
fn a_successor_stays_the_primary_over_a_restart() {
    for (with_state, expected) in [(true, Some(("n2", PrimaryEvidence::Lineage))), (false, None)] {
        let (mut test, promoted) = failed_over(&master("x", 'a'));
        test.rounds(4, &[refused(), promoted.clone()]);
        let mut test = restarted(&test, 2, with_state);
        let view = test.rounds(4, &[refused(), promoted.clone()]);
        assert_eq!(primary(&view), Some(("n2", PrimaryEvidence::Sole)));
        // Without a state file it is not known if n1 was absent before the promotion.
        let view = test.rounds(4, &[returned(), promoted]);
        assert_eq!((primary(&view), is_disputed(&view)), (expected, !with_state));
    }
}

#[test]
fn a_mistake_is_no_successor_after_two_restarts() {
    let (mut test, promoted) = failed_over(&master("x", 'a'));
    test.rounds(3, &[reply(&master("x", 'a')), promoted.clone()]);
    let mut test = restarted(&test, 2, true);
    test.rounds(4, &[refused(), promoted.clone()]);
    let mut test = restarted(&test, 2, true);
    let view = test.rounds(4, &[returned(), promoted]);
    assert_eq!((primary(&view), is_disputed(&view)), (None, true));
}

#[test]
fn replicas_keep_their_choice_over_a_restart() {
    let mut test = TestDeployment::new(3);
    let (a, b) = (reply(&master("x", 'a')), reply(&replica("y", 'a', 1)));
    test.rounds(2, &[a.clone(), b.clone(), reply(&replica("z", 'a', 1))]);
    let c = reply(&InfoReply { continues: Some('a'), ..master("z", 'c') });
    let by_followers = |node| Some((node, PrimaryEvidence::Followers));
    let view = test.rounds(3, &[a.clone(), b.clone(), c.clone()]);
    assert_eq!(primary(&view), by_followers("n1"));
    let mut test = restarted(&test, 3, true);
    let view = test.rounds(3, &[a.clone(), b, c.clone()]);
    assert_eq!((primary(&view), is_disputed(&view)), (by_followers("n1"), true));
    let mut test = restarted(&test, 3, true);
    // In the meantime, n2 was pointed to n3.
    let view = test.rounds(3, &[a, reply(&replica("y", 'c', 3)), c]);
    assert_eq!(primary(&view), by_followers("n3"));
}

#[test]
fn a_reconnected_replica_is_no_evidence_after_a_restart() {
    let mut test = TestDeployment::new(3);
    let promoted = reply(&InfoReply { continues: Some('a'), ..master("y", 'b') });
    let behind = |history| reply(&replica("z", history, 1));
    let lost = reply(&InfoReply {
        more: "role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\n",
        ..replica("z", 'a', 1)
    });
    test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), behind('a')]);
    test.rounds(4, &[refused(), promoted.clone(), lost]);
    let mut test = restarted(&test, 3, true);
    // n1 returns empty, and n3 reconnects to it by itself.
    let empty = reply(&InfoReply { uptime: 1, ..master("x2", 'd') });
    let view = test.rounds(4, &[empty.clone(), promoted.clone(), behind('d')]);
    assert_eq!(primary(&view), Some(("n2", PrimaryEvidence::Lineage)));
    // Without a state file, n1 could be a server that never belonged to the others.
    let mut test = restarted(&test, 3, false);
    let view = test.rounds(4, &[empty, promoted, behind('d')]);
    assert_eq!(primary(&view), None);
}

#[test]
fn a_promotion_during_a_restart_is_no_succession() {
    let (test, promoted) = failed_over(&master("x", 'a'));
    let mut test = restarted(&test, 2, true);
    let view = test.rounds(4, &[returned(), promoted]);
    assert_eq!((primary(&view), is_disputed(&view)), (None, true));
}

#[test]
fn a_successor_that_was_demoted_meanwhile_is_none() {
    let (mut test, promoted) = failed_over(&master("x", 'a'));
    test.rounds(4, &[refused(), promoted]);
    let mut test = restarted(&test, 2, true);
    // n2 followed n1 in the meantime, and was promoted once more.
    let again = reply(&InfoReply { continues: Some('c'), ..master("y", 'd') });
    let view = test.rounds(4, &[returned(), again]);
    assert_eq!((primary(&view), is_disputed(&view)), (None, true));
}

#[test]
fn an_expired_backlog_changes_no_verdict() {
    let (mut test, promoted) = failed_over(&master("x", 'a'));
    test.rounds(4, &[refused(), promoted]);
    let expired = reply(&master("y", 'e'));
    test.rounds(2, &[refused(), expired.clone()]);
    for with_state in [false, true] {
        if with_state {
            test = restarted(&test, 2, true);
        }
        let view = test.rounds(4, &[returned(), expired.clone()]);
        assert_eq!(primary(&view), Some(("n2", PrimaryEvidence::Lineage)));
    }
}

#[test]
fn a_restart_long_before_the_save_is_no_other_server() {
    let mut test = TestDeployment::new(1);
    test.rounds(2, &[reply(&master("x", 'a'))]);
    test.rounds(100, &[PollOutcome::Missed(Reason::Timeout)]);
    assert_eq!(test.tracker.saved_state().nodes["n1"].silence, 100);
    let mut test = restarted(&test, 1, true);
    // The process started 60 s ago, without the data and the history of the one before.
    let view = test.round(vec![reply(&InfoReply { uptime: 60, ..master("x2", 'b') })]);
    let node = &view.nodes[NodeIndex::new(0)];
    assert_eq!((node.up(), node.process.restarts), (Some(true), 1));
}
