//! The primary by evidence: one test for each rule.

use std::time::SystemTime;

use topology::{
    DeploymentView, EndpointCheckResult, EndpointKind, EndpointServer, FindingKind, Monotonic,
    PollOutcome, PrimaryEvidence, Round, Severity,
};

use crate::fixture::{
    InfoReply, SECOND, TestDeployment, failed_over, master, primary, refused, replica, reply,
    severity_of,
};

/// Returns the reply of `n3` after its promotion: it continues the history `a` as `b`.
fn promoted() -> PollOutcome {
    reply(&InfoReply { continues: Some('a'), ..master("z", 'b') })
}

/// Returns a primary `n1` with the replicas `n2` and `n3`, after some rounds.
fn trio() -> TestDeployment {
    let mut test = TestDeployment::new(3);
    let healthy =
        [reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), reply(&replica("z", 'a', 1))];
    let view = test.rounds(3, &healthy);
    assert_eq!(view.witnesses(&view.shards[0]), ["n1 (followers, previous, sole)"]);
    assert!(!view.shards[0].primary_disputed);
    test
}

fn is_disputed(view: &DeploymentView) -> bool {
    view.shards[0].primary_disputed
}

#[test]
fn a_replica_promoted_by_mistake_is_not_the_primary() {
    let mut test = trio();
    let split = |changes| {
        let primary = InfoReply { changes, ..master("x", 'a') };
        vec![reply(&primary), reply(&replica("y", 'a', 1)), promoted()]
    };
    for changes in 0..40 {
        let view = test.round(split(changes));
        assert_eq!(primary(&view), Some(("n1", PrimaryEvidence::Followers)));
        assert!(is_disputed(&view));
        assert_eq!(view.shards[0].lost_writes.total, 0);
    }
    let view = test.round(split(40));
    assert_eq!(
        view.witnesses(&view.shards[0]),
        ["n1 (followers, writers, previous)", "n3 (lineage)"]
    );
    assert_eq!(severity_of(&view, FindingKind::RedisSplitBrain), Some(Severity::Critical));
    let demoted = reply(&replica("z", 'a', 1));
    let busy = reply(&InfoReply { changes: 41, ..master("x", 'a') });
    let view = test.rounds(2, &[busy, reply(&replica("y", 'a', 1)), demoted]);
    assert_eq!((primary(&view), is_disputed(&view)), (Some(("n1", PrimaryEvidence::Sole)), false));
    assert_eq!(view.shards[0].lost_writes.total, 0, "n3 accepted no write");
    let kinds = ["primary_changed", "primary_disputed", "primary_undisputed"];
    assert_eq!(kinds.map(|kind| test.event_count(kind)), [0, 1, 1]);
}

#[test]
fn writes_of_a_mistaken_promotion_are_lost_at_its_demotion() {
    let mut test = trio();
    // The replica counts the writes of its primary too.
    let replicated = InfoReply { changes: 100, ..replica("z", 'a', 1) };
    test.round(vec![reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), reply(&replicated)]);
    let mut split = |changes| {
        let mistake = InfoReply { continues: Some('a'), changes, ..master("z", 'b') };
        let view = test.round(vec![
            reply(&master("x", 'a')),
            reply(&replica("y", 'a', 1)),
            reply(&mistake),
        ]);
        view.shards[0].lost_writes.total
    };
    assert_eq!([split(100), split(103)], [0, 0]);
    let view = test.round(vec![
        reply(&master("x", 'a')),
        reply(&replica("y", 'a', 1)),
        reply(&replica("z", 'a', 1)),
    ]);
    assert_eq!(view.shards[0].lost_writes.total, 3);
}

#[test]
fn replicas_that_are_pointed_to_the_new_master_decide() {
    let mut test = trio();
    test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), promoted()]);
    let view =
        test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'b', 3)), promoted()]);
    assert_eq!(primary(&view), Some(("n3", PrimaryEvidence::Followers)));
    assert!(is_disputed(&view), "the previous primary is still a master");
    let view =
        test.rounds(4, &[reply(&replica("x", 'b', 3)), reply(&replica("y", 'b', 3)), promoted()]);
    assert_eq!((primary(&view), is_disputed(&view)), (Some(("n3", PrimaryEvidence::Sole)), false));
    assert_eq!((view.shards[0].lost_writes.total, test.event_count("primary_changed")), (0, 1));
}

#[test]
fn replicas_behind_the_promoted_node_do_not_count_for_it() {
    // n1, n3 and n2 are a chain.
    let mut test = TestDeployment::new(3);
    let behind = reply(&replica("y", 'a', 3));
    test.rounds(3, &[reply(&master("x", 'a')), behind.clone(), reply(&replica("z", 'a', 1))]);
    let view = test.rounds(2, &[reply(&master("x", 'a')), behind.clone(), promoted()]);
    assert_eq!(primary(&view), None);
    let busy = reply(&InfoReply { changes: 1, ..master("x", 'a') });
    let view = test.rounds(2, &[busy, behind, promoted()]);
    assert_eq!(primary(&view), Some(("n1", PrimaryEvidence::Writers)));
}

#[test]
fn replicas_that_reconnect_to_a_killed_master_do_not_count() {
    let mut test = trio();
    let waiting = reply(&InfoReply {
        more: "role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\n",
        ..replica("y", 'a', 1)
    });
    test.rounds(2, &[refused(), waiting.clone(), reply(&replica("z", 'a', 1))]);
    test.rounds(2, &[refused(), waiting, promoted()]);
    let empty = reply(&InfoReply { uptime: 1, ..master("x2", 'c') });
    let view = test.rounds(3, &[empty, reply(&replica("y", 'c', 1)), promoted()]);
    assert_eq!(primary(&view), Some(("n3", PrimaryEvidence::Lineage)));
    assert!(!is_disputed(&view), "{:?}", view.witnesses(&view.shards[0]));
}

#[test]
fn a_mistaken_promotion_stays_one_when_the_primary_restarts() {
    let mut test = trio();
    test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), promoted()]);
    test.rounds(2, &[refused(), reply(&replica("y", 'a', 1)), promoted()]);
    let restarted = reply(&InfoReply { uptime: 1, continues: Some('a'), ..master("x2", 'c') });
    let view = test.rounds(3, &[restarted, reply(&replica("y", 'c', 1)), promoted()]);
    assert_eq!(primary(&view), Some(("n1", PrimaryEvidence::Followers)));
}

#[test]
fn a_pair_without_further_evidence_is_undecided() {
    let (mut test, promoted) = failed_over(&master("x", 'a'));
    let view = test.rounds(40, &[reply(&master("x", 'a')), promoted]);
    assert_eq!((primary(&view), is_disputed(&view)), (None, true));
    assert_eq!(view.witnesses(&view.shards[0]), ["n1 (previous)", "n2 (lineage)"]);
    assert_eq!(severity_of(&view, FindingKind::RedisNoPrimary), None);
    assert_eq!(severity_of(&view, FindingKind::RedisSplitBrain), Some(Severity::Critical));
    assert_eq!(test.event_count("primary_lost"), 0);
}

#[test]
fn clients_on_one_side_decide_and_on_both_sides_do_not() {
    let (mut test, _) = failed_over(&master("x", 'a'));
    let mut round = |old, new| {
        let promoted = InfoReply { continues: Some('a'), changes: new, ..master("y", 'b') };
        test.round(vec![reply(&InfoReply { changes: old, ..master("x", 'a') }), reply(&promoted)])
    };
    round(1, 1);
    assert_eq!(primary(&round(2, 1)), Some(("n1", PrimaryEvidence::Writers)));
    assert_eq!(primary(&round(2, 2)), None);
    // Writes are evidence for 30 s.
    for _ in 0..28 {
        assert_eq!(primary(&round(2, 2)), None);
    }
    round(2, 2);
    assert_eq!(primary(&round(2, 3)), Some(("n2", PrimaryEvidence::Writers)));
}

#[test]
fn a_declaration_decides_against_a_mistaken_promotion() {
    let mut test = TestDeployment::of(2, |deployment| {
        deployment.add("n1", "h:1", Some(snapshot::Role::Master));
    });
    test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1))]);
    let promoted = reply(&InfoReply { continues: Some('a'), ..master("y", 'b') });
    let view = test.rounds(2, &[reply(&master("x", 'a')), promoted]);
    assert_eq!(
        (primary(&view), is_disputed(&view)),
        (Some(("n1", PrimaryEvidence::Declared)), true)
    );
}

#[test]
fn only_a_constant_endpoint_decides() {
    let (mut test, promoted) = failed_over(&master("x", 'a'));
    let mut check = |run_id: &str| {
        test.now += SECOND;
        let server = EndpointServer { run_id: Some(run_id.into()), role: None, replid: None };
        let (started, ended) = (Monotonic::START, test.now);
        let check = EndpointCheckResult {
            endpoint: EndpointKind::Primary,
            started,
            ended,
            interval: SECOND * 10,
            outcome: Ok(server),
        };
        let outcomes = vec![reply(&master("x", 'a')), promoted.clone()];
        let round = Round::new(SystemTime::UNIX_EPOCH, test.now, outcomes);
        let view = test.tracker.observe(&Round { checks: vec![check], ..round }).view;
        primary(&view).map(|(name, evidence)| (name.to_owned(), evidence))
    };
    assert_eq!([check("x"), check("x"), check("y"), check("x"), check("y")], [const { None }; 5]);
    assert_eq!(
        [check("y"), check("y")],
        [None, Some(("n2".to_owned(), PrimaryEvidence::Endpoint))]
    );
}

#[test]
fn another_replication_id_does_not_end_the_previous_primary() {
    let (mut test, promoted) = failed_over(&InfoReply { offset: 9, ..master("x", 'a') });
    test.rounds(2, &[reply(&InfoReply { offset: 9, ..master("x", 'a') }), promoted.clone()]);
    // The setting repl-backlog-ttl replaces the replication ID of a master without replicas.
    let aged = InfoReply { offset: 10, ..master("x", 'd') };
    let view = test.rounds(2, &[reply(&aged), promoted.clone()]);
    assert_eq!(view.witnesses(&view.shards[0])[0], "n1 (previous)");
    // An offset that falls is another history.
    let view = test.round(vec![reply(&InfoReply { offset: 3, ..aged }), promoted]);
    assert!(!view.witnesses(&view.shards[0]).contains(&"n1 (previous)".to_owned()));
}
