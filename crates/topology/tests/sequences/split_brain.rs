//! Split brains and the writes that are lost in them.

use std::sync::Arc;

use snapshot::{CommandStats, Reason};
use topology::{DeploymentView, Evidence, FindingKind, NodeIndex, PollOutcome, Severity};

use crate::fixture::{
    InfoReply, TestDeployment, cut_replica, failed_over, master, primary, refused, replica, reply,
    severity_of,
};

#[test]
fn a_save_during_a_split_brain_is_no_loss() {
    let old = InfoReply { changes: 1000, ..master("x", 'a') };
    let (mut test, promoted) = failed_over(&old);
    test.round(vec![reply(&old), promoted.clone()]);
    // The save began at 500 changes and subtracts them.
    let saved = InfoReply { changes: 500, more: "rdb_last_save_time:9\n", ..old.clone() };
    let view = test.round(vec![reply(&saved), promoted.clone()]);
    assert_eq!(view.shards[0].lost_writes.total, 0);
    let view = test.round(vec![reply(&InfoReply { changes: 507, ..saved }), promoted.clone()]);
    assert_eq!(view.shards[0].lost_writes.total, 0, "clients write to it: it has not lost");
    let view = test.round(vec![reply(&replica("x", 'b', 2)), promoted]);
    assert_eq!(view.shards[0].lost_writes.total, 7);
    assert_eq!(severity_of(&view, FindingKind::RedisWritesLost), Some(Severity::Warning));
}

#[test]
fn a_split_brain_with_writes_on_both_sides_pages_after_15_s() {
    let (mut test, _) = failed_over(&master("x", 'a'));
    let mut split = |changes| {
        let old = InfoReply { changes, ..master("x", 'a') };
        let new = InfoReply { changes, continues: Some('a'), ..master("y", 'b') };
        let view = test.round(vec![reply(&old), reply(&new)]);
        severity_of(&view, FindingKind::RedisSplitBrain)
    };
    assert_eq!(split(0), Some(Severity::Info), "a failover has two masters for a moment");
    for changes in 1..=15 {
        assert_eq!(split(changes), Some(Severity::Warning), "it may be a failover: {changes}");
    }
    assert_eq!(split(16), Some(Severity::Critical), "no failover takes that long");
}

/// Adds command statistics with this number of REPLICAOF commands.
fn with_replicaof(outcome: PollOutcome, count: u64) -> PollOutcome {
    let PollOutcome::Answered(mut reply) = outcome else { panic!("a reply") };
    let commands = format!("cmdstat_replicaof:calls={count},usec=1,usec_per_call=1");
    let statistics = Arc::new(CommandStats::parse(&commands));
    Arc::make_mut(&mut reply.snapshot).commands = Some(statistics);
    reply.commands_read = true;
    PollOutcome::Answered(reply)
}

#[test]
fn a_split_brain_by_an_operator_pages_at_the_first_lost_write() {
    let mut test = TestDeployment::new(3);
    let replicas = [with_replicaof(reply(&replica("y", 'a', 1)), 1), reply(&replica("z", 'a', 1))];
    test.rounds(3, &[vec![reply(&master("x", 'a'))], replicas.to_vec()].concat());
    // An operator promotes n2 and points n3 to it. Clients stay with n1.
    let promoted = InfoReply { continues: Some('a'), ..master("y", 'b') };
    let severities: Vec<_> = (0..8)
        .map(|changes| {
            let old = InfoReply { changes, ..master("x", 'a') };
            let view = test.round(vec![
                reply(&old),
                with_replicaof(reply(&promoted), 2),
                reply(&if changes < 2 { replica("z", 'a', 1) } else { replica("z", 'b', 2) }),
            ]);
            severity_of(&view, FindingKind::RedisSplitBrain)
        })
        .collect();
    assert_eq!(severities[0], Some(Severity::Info));
    assert_eq!(severities[7], Some(Severity::Critical), "{severities:?}");
}

#[test]
fn a_loss_that_is_over_is_listed_last() {
    let (mut test, promoted) = failed_over(&master("x", 'a'));
    test.round(vec![reply(&master("x", 'a')), promoted.clone()]);
    test.round(vec![reply(&InfoReply { changes: 7, ..master("x", 'a') }), promoted.clone()]);
    let down = "role:slave\nmaster_host:h\nmaster_port:2\nmaster_link_status:down\n\
                master_link_down_since_seconds:300\n";
    let demoted = InfoReply { more: down, ..replica("x", 'b', 2) };
    let view = test.rounds(5, &[reply(&demoted), promoted]);
    let kinds: Vec<_> = view.findings.iter().map(|finding| finding.kind).collect();
    assert!(kinds.len() > 1, "{kinds:?}");
    assert_eq!(kinds.last(), Some(&FindingKind::RedisWritesLost), "{kinds:?}");
}

#[test]
fn a_stale_master_that_is_primary_again_has_no_successor() {
    let old = master("x", 'a');
    let (mut test, promoted) = failed_over(&old);
    test.round(vec![reply(&old), promoted.clone()]);
    let finding = |view: &DeploymentView| {
        let mut findings = view.findings.iter();
        findings.find(|finding| finding.kind == FindingKind::RedisWritesLost).expect("it").clone()
    };
    let lost = |view: &DeploymentView| {
        let values = finding(view).evidence.values();
        values.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let evidence = |view: &DeploymentView| match finding(view).evidence {
        Evidence::RedisWritesLost(evidence) => (evidence.stale, evidence.primary_again),
        other => panic!("{other:?}"),
    };
    test.round(vec![reply(&InfoReply { changes: 7, ..old }), promoted]);
    let view = test.rounds(2, &[reply(&replica("x", 'b', 2)), reply(&master("y", 'b'))]);
    assert_eq!(
        lost(&view),
        ["unreplicated_writes", "unreplicated_writes_min", "stale", "primary", "by"]
    );
    let again = InfoReply { continues: Some('b'), ..master("x", 'c') };
    let view = test.rounds(2, &[reply(&again), reply(&replica("y", 'c', 1))]);
    assert_eq!(
        (primary(&view).map(|(name, _)| name), lost(&view)),
        (
            Some("n1"),
            vec!["unreplicated_writes", "unreplicated_writes_min", "stale", "primary_again"]
        )
    );
    assert_eq!(evidence(&view), (vec![], vec!["n1".to_owned()]));
    // It does not become stale again when another node takes over.
    let view = test.rounds(
        2,
        &[
            reply(&replica("x", 'd', 2)),
            reply(&InfoReply { continues: Some('c'), ..master("y", 'd') }),
        ],
    );
    assert_eq!(evidence(&view), (vec![], vec!["n1".to_owned()]));
}

#[test]
fn commands_loaded_from_an_aof_are_no_lost_writes() {
    let old = master("x", 'a');
    let (mut test, promoted) = failed_over(&old);
    test.round(vec![reply(&old), promoted.clone()]);
    test.round(vec![refused(), promoted.clone()]);
    let back = InfoReply {
        run_id: "x2",
        uptime: 0,
        changes: 250_000,
        more: "aof_enabled:1\n",
        ..master("x2", 'c')
    };
    let view = test.round(vec![reply(&back), promoted.clone()]);
    assert_eq!(view.shards[0].lost_writes.total, 0);
    test.round(vec![reply(&InfoReply { changes: 250_003, ..back }), promoted.clone()]);
    let view = test.round(vec![reply(&replica("x2", 'b', 2)), promoted]);
    assert_eq!(view.shards[0].lost_writes.total, 3);
}

#[test]
fn a_split_brain_begins_when_all_masters_reply() {
    let (mut test, promoted) = failed_over(&master("x", 'a'));
    // The old primary does not reply: it may have been demoted.
    test.rounds(3, &[PollOutcome::Missed(Reason::Timeout), promoted.clone()]);
    assert_eq!(test.event_count("split_brain_began"), 0);
    let view = test.rounds(2, &[reply(&master("x", 'a')), promoted]);
    assert_eq!(
        (test.event_count("split_brain_began"), view.shards[0].split_brain.masters.len()),
        (1, 2)
    );
}

#[test]
fn a_split_brain_in_the_first_round_is_a_warning() {
    let mut test = TestDeployment::new(2);
    let view = test.round(vec![
        reply(&master("x", 'a')),
        reply(&InfoReply { continues: Some('a'), ..master("y", 'b') }),
    ]);
    assert_eq!(severity_of(&view, FindingKind::RedisSplitBrain), Some(Severity::Warning));
}

#[test]
fn a_stale_master_that_refuses_writes_is_info() {
    let severity = |more| {
        let (mut test, promoted) = failed_over(&master("x", 'a'));
        let view = test.rounds(40, &[reply(&InfoReply { more, ..master("x", 'a') }), promoted]);
        (
            severity_of(&view, FindingKind::RedisSplitBrain),
            view.writable_stale_masters(&view.shards[0]),
        )
    };
    // Nothing decides which of the two is stale.
    assert_eq!(severity(""), (Some(Severity::Critical), vec![NodeIndex::new(1)]));
    assert_eq!(
        severity("aof_enabled:1\naof_last_write_status:err"),
        (Some(Severity::Info), vec![])
    );
}

#[test]
fn an_unreachable_third_master_hides_no_split_brain() {
    let mut test = TestDeployment::new(4);
    let linked = InfoReply { more: "master_last_io_seconds_ago:0", ..replica("w", 'a', 1) };
    let [n2, n3, n4] = [reply(&replica("y", 'a', 1)), reply(&replica("z", 'a', 1)), reply(&linked)];
    test.rounds(2, &[reply(&master("x", 'a')), n2.clone(), n3.clone(), n4.clone()]);
    let missed = PollOutcome::Missed(Reason::Timeout);
    let view = test.rounds(5, &[missed.clone(), n2, n3, n4.clone()]);
    assert!(view.nodes[NodeIndex::new(0)].is_unreachable());
    let promoted = |run_id, history| InfoReply { continues: Some('a'), ..master(run_id, history) };
    let (n2, n3) = (reply(&promoted("y", 'b')), reply(&promoted("z", 'c')));
    let view = test.rounds(2, &[missed, n2, n3, n4]);
    assert_eq!(view.shards[0].split_brain.masters, [0, 1, 2].map(NodeIndex::new));
}

/// Returns the diverging changes of a node: bounds and the most probable number.
fn diverging(view: &DeploymentView, node: usize) -> Option<(u64, u64, u64)> {
    let diverging = &view.shards[0].lost_writes.diverging;
    let of_node = diverging.iter().find(|diverging| diverging.node == NodeIndex::new(node))?;
    let changes = of_node.changes;
    Some((changes.low, changes.about, changes.high))
}

#[test]
fn changes_replicated_in_a_gap_do_not_diverge() {
    let old = InfoReply { offset: 1000, changes: 100, ..master("x", 'a') };
    let mut test = TestDeployment::new(2);
    test.rounds(2, &[reply(&old), reply(&InfoReply { follows: Some(1), ..old.clone() })]);
    let promoted =
        InfoReply { continues: Some('a'), more: "second_repl_offset:1001", ..old.clone() };
    let promoted = InfoReply { run_id: "y", history: 'b', ..promoted };
    test.rounds(2, &[reply(&old), reply(&promoted)]);
    // While n2 does not reply, it is demoted, replicates 600 changes, and is promoted again.
    let old = InfoReply { offset: 61_000, changes: 700, ..old };
    test.rounds(2, &[reply(&old), PollOutcome::Missed(Reason::Timeout)]);
    let again = InfoReply { history: 'c', more: "second_repl_offset:61001", ..promoted };
    let again = InfoReply { offset: 61_000, changes: 700, ..again };
    let view = test.rounds(2, &[reply(&old), reply(&again)]);
    assert_eq!(diverging(&view, 1), Some((0, 0, 0)));
    let view = test.round(vec![reply(&old), reply(&InfoReply { changes: 705, ..again })]);
    assert_eq!(diverging(&view, 1), Some((5, 5, 5)));
}

/// Returns a split brain in which n1 has 200 changes more than n2, which was its replica, and the
/// replies of both.
fn diverged() -> (TestDeployment, InfoReply, InfoReply) {
    let old = InfoReply { offset: 1000, changes: 100, ..master("x", 'a') };
    let mut test = TestDeployment::new(2);
    test.rounds(2, &[reply(&old), reply(&InfoReply { follows: Some(1), ..old.clone() })]);
    let end = "second_repl_offset:1001";
    let promoted = InfoReply { run_id: "y", history: 'b', continues: Some('a'), ..old.clone() };
    let promoted = InfoReply { more: end, ..promoted };
    let old = InfoReply { offset: 21_000, changes: 300, ..old };
    let view = test.rounds(2, &[reply(&old), reply(&promoted)]);
    assert_eq!(diverging(&view, 0), Some((200, 200, 200)));
    (test, old, promoted)
}

#[test]
fn a_rival_that_followed_a_master_has_its_changes() {
    let (mut test, old, promoted) = diverged();
    // Between two polls n2 follows n1, and is promoted again.
    let again = InfoReply { history: 'c', more: "second_repl_offset:21001", ..promoted };
    let again = InfoReply { offset: 21_000, changes: 300, ..again };
    let view = test.round(vec![reply(&old), reply(&again)]);
    assert_eq!(diverging(&view, 0), Some((0, 0, 0)));
    let old = InfoReply { offset: 21_700, changes: 307, ..old };
    let view = test.round(vec![reply(&old), reply(&again)]);
    assert_eq!(diverging(&view, 0), Some((7, 7, 7)));
}

#[test]
fn a_rival_of_an_unknown_history_may_have_all_changes() {
    let (mut test, old, promoted) = diverged();
    // Between two polls n2 follows n1, is promoted again with the history c, and restarts.
    let end = "second_repl_offset:21001";
    let again =
        InfoReply { run_id: "y2", uptime: 0, history: 'd', continues: Some('c'), ..promoted };
    let again = InfoReply { more: end, offset: 21_000, changes: 0, ..again };
    let view = test.round(vec![reply(&old), reply(&again)]);
    assert_eq!(diverging(&view, 0), Some((0, 0, 0)));
    let old = InfoReply { offset: 21_700, changes: 307, ..old };
    let view = test.round(vec![reply(&old), reply(&again)]);
    assert_eq!(diverging(&view, 0), Some((7, 7, 7)));
}

#[test]
fn changes_before_the_first_reply_may_be_replicated() {
    let diverging_after = |continues| {
        let old = InfoReply { offset: 1000, changes: 100, ..master("x", 'a') };
        let mut test = TestDeployment::new(2);
        test.rounds(2, &[reply(&old), reply(&InfoReply { follows: Some(1), ..old.clone() })]);
        test.rounds(9, &[reply(&old), refused()]);
        // The first reply of another process of n2, which has 40 changes already.
        let other = InfoReply { uptime: 5, more: "aof_enabled:0", ..master("y2", 'c') };
        let other = InfoReply { offset: 900, changes: 40, continues, ..other };
        let first = test.round(vec![reply(&old), reply(&other)]);
        let other = InfoReply { offset: 1400, changes: 45, ..other };
        let second = test.round(vec![reply(&old), reply(&other)]);
        [first, second].map(|view| diverging(&view, 1))
    };
    // It takes writes since its start.
    assert_eq!(diverging_after(None), [Some((40, 40, 40)), Some((45, 45, 45))]);
    // It continues an unknown history, as a node that was a replica of a third one.
    assert_eq!(diverging_after(Some('d')), [Some((0, 0, 0)), Some((5, 5, 5))]);
}

#[test]
fn changes_replicated_before_a_restart_do_not_diverge() {
    let old = InfoReply { offset: 1000, changes: 100, ..master("x", 'a') };
    let cut = |run_id| InfoReply { offset: 1000, changes: 100, ..cut_replica(run_id, 'a', 1) };
    let mut test = TestDeployment::new(3);
    test.rounds(2, &[reply(&old), reply(&cut("y")), reply(&cut("z"))]);
    // n1 dies, and n2 is promoted.
    let successor = InfoReply { continues: Some('a'), more: "second_repl_offset:1001", ..old };
    let successor = InfoReply { run_id: "y", history: 'b', offset: 3000, ..successor };
    let successor = reply(&InfoReply { changes: 130, ..successor });
    test.rounds(2, &[refused(), successor.clone(), reply(&cut("z"))]);
    // n3 replicates 13 changes of n2 between two polls, and is promoted.
    let promoted = InfoReply { continues: Some('b'), more: "second_repl_offset:2301", ..old };
    let promoted = InfoReply { run_id: "z", history: 'c', offset: 2300, ..promoted };
    let promoted = InfoReply { changes: 113, ..promoted };
    let view = test.round(vec![refused(), successor.clone(), reply(&promoted)]);
    assert_eq!(diverging(&view, 2), Some((0, 0, 0)));
    let written = InfoReply { offset: 2800, changes: 118, ..promoted };
    test.round(vec![refused(), successor.clone(), reply(&written)]);
    // It dies after five changes of its own, and returns without data.
    test.rounds(3, &[refused(), successor.clone(), refused()]);
    let empty = InfoReply { uptime: 0, ..master("z2", 'd') };
    let view = test.rounds(2, &[refused(), successor, reply(&empty)]);
    assert_eq!(diverging(&view, 2), Some((5, 5, 5)));
}

#[test]
fn a_demotion_to_a_node_that_is_no_master_loses_nothing() {
    let mut test = TestDeployment::new(2);
    let old = InfoReply { offset: 1000, changes: 100, ..master("x", 'a') };
    let lost_link = "role:slave\nmaster_host:h\nmaster_link_status:down";
    let behind = InfoReply { run_id: "y", follows: Some(1), more: lost_link, ..old.clone() };
    test.rounds(2, &[reply(&old), reply(&behind)]);
    // n1 restarts with a new history, takes writes, and is told to follow its own replica.
    let restarted = InfoReply { run_id: "x2", uptime: 1, history: 'b', ..old };
    let restarted = InfoReply { more: "aof_enabled:1", ..restarted };
    test.rounds(2, &[reply(&restarted), reply(&behind)]);
    let written = InfoReply { uptime: 9, offset: 6000, changes: 150, ..restarted };
    test.rounds(2, &[reply(&written), reply(&behind)]);
    let demoted = InfoReply { follows: Some(2), more: lost_link, ..written.clone() };
    let view = test.rounds(3, &[reply(&demoted), reply(&behind)]);
    assert_eq!(view.shards[0].lost_writes.total, 0);
    // Once n2 is promoted, n1 will lose them.
    let promoted = InfoReply { follows: None, continues: Some('a'), history: 'c', ..behind };
    let promoted = InfoReply { more: "second_repl_offset:1001", ..promoted };
    let view = test.rounds(2, &[reply(&demoted), reply(&promoted)]);
    assert_eq!(view.shards[0].lost_writes.total, 50);
}

#[test]
fn a_restarted_node_that_follows_no_master_loses_nothing() {
    let old = InfoReply { offset: 1000, changes: 100, ..master("x", 'a') };
    let mut test = TestDeployment::new(2);
    let behind = cut_replica("y", 'a', 1);
    let behind = InfoReply { offset: 1000, changes: 100, ..behind };
    test.rounds(2, &[reply(&old), reply(&behind)]);
    // n1 restarts as a master, takes 50 changes, and is told to follow its own replica.
    let restarted = InfoReply { run_id: "x2", uptime: 1, history: 'b', ..old };
    let restarted = InfoReply { more: "aof_enabled:1", ..restarted };
    test.rounds(2, &[reply(&restarted), reply(&behind)]);
    let written = InfoReply { uptime: 9, offset: 6000, changes: 150, ..restarted };
    test.rounds(2, &[reply(&written), reply(&behind)]);
    // It restarts again before its link is up.
    let never_up = "aof_enabled:1\nmaster_link_status:down\nmaster_link_down_since_seconds:-1";
    let demoted = InfoReply { run_id: "x3", uptime: 0, more: never_up, ..replica("x3", 'c', 2) };
    let view = test.rounds(3, &[reply(&demoted), reply(&behind)]);
    assert_eq!(view.shards[0].lost_writes.total, 0);
    // Once n2 is promoted, n1 will lose them.
    let promoted = InfoReply { follows: None, continues: Some('a'), history: 'd', ..behind };
    let promoted = InfoReply { more: "second_repl_offset:1001", ..promoted };
    let view = test.rounds(2, &[reply(&demoted), reply(&promoted)]);
    assert_eq!(view.shards[0].lost_writes.total, 50);
}
