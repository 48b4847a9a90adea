//! A disaster recovery site: the primary is outside of the deployment until a node is promoted.

use topology::{
    DeploymentView, Expectations, FindingKind, NoPrimaryReason, PollOutcome, PrimaryEvidence,
    Severity,
};

use crate::fixture::{
    InfoReply, TestDeployment, cut_replica, master, primary, refused, replica, reply, severity_of,
};

const KEYS: &str = "db0:keys=300,expires=0,avg_ttl=0";

fn site(nodes: u16) -> TestDeployment {
    let expect = Expectations { external: true, ..Expectations::default() };
    TestDeployment::of(nodes, |deployment| deployment.expect = expect)
}

/// Returns the reply of a replica of the external primary.
fn follower(run_id: &'static str) -> PollOutcome {
    reply(&InfoReply { more: KEYS, ..replica(run_id, 'a', 99) })
}

/// Returns the reply of the first node after its promotion.
fn promoted() -> InfoReply {
    InfoReply { continues: Some('a'), more: KEYS, ..master("x", 'b') }
}

fn kinds(view: &DeploymentView) -> Vec<(FindingKind, Severity, Option<&str>)> {
    let of = |finding: &'_ topology::Finding| (finding.kind, finding.severity);
    view.findings
        .iter()
        .map(|finding| (of(finding).0, of(finding).1, finding.node.as_deref()))
        .collect()
}

#[test]
fn a_promoted_node_of_a_recovery_site_is_the_primary() {
    let mut test = site(1);
    test.rounds(3, &[follower("x")]);
    let view = test.round(vec![reply(&promoted())]);
    assert_eq!(primary(&view), Some(("n1", PrimaryEvidence::Sole)));
    assert_eq!(
        kinds(&view),
        [(FindingKind::RedisUnexpectedRole, Severity::Critical, Some("n1"))],
        "the promotion is reported"
    );
    assert_eq!(test.event_count("role_changed"), 1);
    // It refuses writes.
    let full = "used_memory:200\nmaxmemory:100\nmaxmemory_policy:noeviction\n";
    let more = [KEYS, "\n", full].concat().leak();
    let view = test.round(vec![reply(&InfoReply { more, ..promoted() })]);
    assert_eq!(severity_of(&view, FindingKind::RedisWritesBlocked), Some(Severity::Critical));
    // It is down.
    let view = test.rounds(5, &[refused()]);
    assert_eq!(view.shards[0].no_primary.why, Some(NoPrimaryReason::AllDown));
    assert_eq!(severity_of(&view, FindingKind::RedisNoPrimary), Some(Severity::Critical));
}

#[test]
fn a_lost_primary_of_a_promoted_site_is_missed() {
    let mut test = site(2);
    test.rounds(3, &[follower("x"), follower("y")]);
    let chained = reply(&InfoReply { continues: Some('a'), ..replica("y", 'b', 1) });
    test.rounds(3, &[reply(&promoted()), chained]);
    let view = test.rounds(5, &[refused(), reply(&cut_replica("y", 'b', 1))]);
    assert_eq!(view.shards[0].no_primary.why, Some(NoPrimaryReason::PrimaryDown));
    // Another replica of the external primary still works: the site is one of recovery again.
    let view = test.rounds(3, &[refused(), follower("y")]);
    assert_eq!((view.shards[0].no_primary.why, primary(&view)), (None, None));
}

#[test]
fn a_site_that_follows_its_external_primary_again_is_silent() {
    let mut test = site(2);
    test.rounds(3, &[follower("x"), follower("y")]);
    test.rounds(3, &[reply(&promoted()), follower("y")]);
    // The full resync takes a while.
    let view = test.rounds(9, &[reply(&cut_replica("x", 'b', 99)), follower("y")]);
    assert_eq!(severity_of(&view, FindingKind::RedisNoPrimary), None);
    let view = test.rounds(3, &[follower("x"), follower("y")]);
    assert_eq!((kinds(&view), view.shards[0].dataset_replaced.total), (vec![], 0));
    assert_eq!(test.event_count("primary_lost"), 0);
}

#[test]
fn a_promotion_is_known_after_a_restart_of_the_exporter() {
    let mut test = site(2);
    test.rounds(3, &[follower("x"), follower("y")]);
    let chained = reply(&InfoReply { continues: Some('a'), ..replica("y", 'b', 1) });
    test.rounds(3, &[reply(&promoted()), chained]);
    let mut restarted = test.restarted();
    let view = restarted.rounds(9, &[refused(), reply(&cut_replica("y", 'b', 1))]);
    assert_eq!(severity_of(&view, FindingKind::RedisNoPrimary), Some(Severity::Critical));
}

#[test]
fn a_new_server_of_a_recovery_site_is_no_promotion() {
    let mut test = site(2);
    let view = test.rounds(3, &[follower("x"), reply(&master("y", '7'))]);
    assert_eq!((primary(&view), view.shards[0].no_primary.why), (None, None));
    let view = test.rounds(5, &[follower("x"), refused()]);
    assert_eq!(severity_of(&view, FindingKind::RedisNoPrimary), None);
}

#[test]
fn a_recovery_site_without_a_promotion_misses_no_primary() {
    let mut test = site(2);
    test.rounds(3, &[follower("x"), follower("y")]);
    let view = test.rounds(9, &[reply(&cut_replica("x", 'a', 99)), refused()]);
    assert_eq!(severity_of(&view, FindingKind::RedisNoPrimary), None);
    let view = test.rounds(9, &[refused(), refused()]);
    assert_eq!(severity_of(&view, FindingKind::RedisNoPrimary), None);
}
