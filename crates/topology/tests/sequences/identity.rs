//! Replacements of a data set by a foreign one, in static deployments.

use std::sync::Arc;

use snapshot::{CommandStats, NodeSnapshot};
use topology::{
    DeploymentView, EventKind, FindingKind, PollOutcome, SavedState, Severity, SharedNode,
};

use crate::fixture::{
    InfoReply, SECOND, TestDeployment, cut_replica, master, refused, replica, reply, severity_of,
};

const KEYS: &str = "db0:keys=300,expires=0,avg_ttl=0";
const MORE_KEYS: &str = "db0:keys=400,expires=0,avg_ttl=0";

/// Adds command statistics to a reply.
fn with_commands(outcome: PollOutcome, commands: &str) -> PollOutcome {
    let PollOutcome::Answered(mut reply) = outcome else { return outcome };
    let commands = Some(Arc::new(CommandStats::parse(commands)));
    reply.snapshot = Arc::new(NodeSnapshot { commands, ..NodeSnapshot::clone(&reply.snapshot) });
    reply.commands_read = true;
    PollOutcome::Answered(reply)
}

fn calls(command: &str, count: u64) -> String {
    format!("cmdstat_{command}:calls={count},usec=1,usec_per_call=1.00")
}

fn primary_with_keys() -> PollOutcome {
    with_commands(reply(&InfoReply { more: KEYS, ..master("x", 'a') }), &calls("get", 1))
}

/// Returns the reply of the former primary after its full resync from the port 99, at which the
/// deployment has no node.
fn replaced(command: &str) -> PollOutcome {
    let info = InfoReply { more: MORE_KEYS, ..replica("x", 'f', 99) };
    with_commands(reply(&info), &calls(command, 1))
}

fn total(view: &DeploymentView) -> u64 {
    view.shards[0].dataset_replaced.total
}

fn is_silent(view: &DeploymentView, test: &TestDeployment) -> bool {
    total(view) == 0
        && severity_of(view, FindingKind::RedisDatasetReplaced).is_none()
        && test.event_count("dataset_replaced") == 0
}

#[test]
fn a_primary_with_foreign_data_is_critical_for_ten_minutes() {
    let mut test = TestDeployment::new(1);
    test.rounds(5, &[primary_with_keys()]);
    // The link is down during the full resync.
    let syncing = with_commands(
        reply(&InfoReply { more: "master_link_status:down", ..replica("x", 'a', 99) }),
        &calls("slaveof", 1),
    );
    let view = test.rounds(30, &[syncing]);
    assert!(is_silent(&view, &test));
    let view = test.round(vec![replaced("slaveof")]);
    assert_eq!(total(&view), 1);
    let kind =
        EventKind::DatasetReplaced { from: "h:99".to_owned(), keys_before: 300, keys_after: 400 };
    assert_eq!(test.events.iter().filter(|event| **event == kind).count(), 1);
    let view = test.rounds(599, &[replaced("slaveof")]);
    let severity = severity_of(&view, FindingKind::RedisDatasetReplaced);
    assert_eq!(severity, Some(Severity::Critical));
    let view = test.rounds(3, &[replaced("slaveof")]);
    assert_eq!(severity_of(&view, FindingKind::RedisDatasetReplaced), None);
    assert_eq!((total(&view), test.event_count("dataset_replaced")), (1, 1));
}

#[test]
fn replicaof_on_the_primary_is_a_planned_migration() {
    let mut test = TestDeployment::new(1);
    test.rounds(5, &[primary_with_keys()]);
    let view = test.round(vec![replaced("replicaof")]);
    let severity = severity_of(&view, FindingKind::RedisDatasetReplaced);
    assert_eq!((total(&view), severity), (1, Some(Severity::Warning)));
}

#[test]
fn without_command_statistics_a_migration_is_not_known() {
    let mut test = TestDeployment::new(1);
    let keys = |info: InfoReply| reply(&InfoReply { more: KEYS, ..info });
    test.rounds(5, &[keys(master("x", 'a'))]);
    let view = test.rounds(3, &[keys(replica("x", 'f', 99))]);
    assert!(is_silent(&view, &test), "the statistics may still be read");
    let view = test.rounds(1, &[keys(replica("x", 'f', 99))]);
    let severity = severity_of(&view, FindingKind::RedisDatasetReplaced);
    assert_eq!((total(&view), severity), (1, Some(Severity::Critical)));
}

#[test]
fn histories_behind_a_proxy_are_not_familiar() {
    let mut test = TestDeployment::new(2);
    test.rounds(5, &[primary_with_keys(), refused()]);
    // The address of the second node leads to several servers. One of them is a master with the
    // history `f`, once it is known that they take turns.
    let behind = ["p", "q"].map(|run_id| reply(&replica(run_id, 'c', 50)));
    for turn in 0..6 {
        test.round(vec![primary_with_keys(), behind[turn % 2].clone()]);
    }
    let foreign = reply(&InfoReply { more: KEYS, ..master("r", 'f') });
    let servers = |view: &DeploymentView| view.nodes.values().nth(1).expect("a node").servers;
    for outcome in [&foreign, &behind[0], &foreign] {
        let view = test.round(vec![primary_with_keys(), outcome.clone()]);
        assert!(servers(&view).is_some());
    }
    let view = test.round(vec![replaced("slaveof"), behind[0].clone()]);
    assert_eq!(total(&view), 1);
}

#[test]
fn a_copy_of_the_same_dump_is_foreign_data() {
    // Both servers loaded one RDB file, which stores the replication ID `r`.
    let mut test = TestDeployment::new(1);
    let copy = InfoReply { continues: Some('9'), more: KEYS, ..master("x", 'a') };
    test.rounds(5, &[with_commands(reply(&copy), &calls("get", 1))]);
    let view = test.round(vec![replaced("slaveof")]);
    assert_eq!(total(&view), 1);
}

#[test]
fn an_empty_primary_that_receives_data_is_not_replaced() {
    let mut test = TestDeployment::new(1);
    test.rounds(5, &[with_commands(reply(&master("x", 'a')), &calls("get", 1))]);
    let view = test.rounds(5, &[replaced("slaveof")]);
    assert!(is_silent(&view, &test));
}

#[test]
fn a_restart_with_other_data_is_not_a_replacement() {
    let mut test = TestDeployment::new(2);
    let keys = |info: InfoReply| reply(&InfoReply { more: KEYS, ..info });
    test.rounds(5, &[keys(master("x", 'a')), keys(replica("y", 'a', 1))]);
    test.rounds(5, &[refused(), refused()]);
    // All servers return with a restored file, and with an unknown history.
    let young = |info: InfoReply| keys(InfoReply { uptime: 1, ..info });
    test.rounds(5, &[young(master("x2", 'e')), young(cut_replica("y2", 'f', 1))]);
    let view = test.rounds(5, &[young(master("x2", 'e')), young(replica("y2", 'e', 1))]);
    assert!(is_silent(&view, &test));
    // Sentinels promote the other server, which never replicated the new history.
    test.rounds(3, &[young(master("x2", 'e')), young(master("y3", '8'))]);
    let view = test.rounds(5, &[young(replica("x2", '8', 2)), young(master("y3", '8'))]);
    assert!(is_silent(&view, &test));
}

#[test]
fn a_failover_is_not_a_replacement() {
    let mut test = TestDeployment::new(2);
    let keys = |info: InfoReply| reply(&InfoReply { more: KEYS, ..info });
    test.rounds(5, &[keys(master("x", 'a')), keys(replica("y", 'a', 1))]);
    let promoted = keys(InfoReply { continues: Some('a'), ..master("y", 'b') });
    test.rounds(3, &[keys(master("x", 'a')), promoted.clone()]);
    // The old primary wrote beyond the promotion, so it makes a full resync.
    let view = test.rounds(5, &[keys(replica("x", 'b', 2)), promoted]);
    assert!(is_silent(&view, &test));
    assert_eq!(test.event_count("full_resync"), 1);
}

#[test]
fn a_server_that_copied_the_data_is_not_foreign() {
    let mut test = TestDeployment::new(1);
    // A new server replicates from the primary, before it takes over.
    let more = [KEYS, "\nconnected_slaves:1\nslave0:ip=h,port=99,state=online,offset=1,lag=0"];
    let copied = reply(&InfoReply { more: more.concat().leak(), ..master("x", 'a') });
    test.rounds(5, &[with_commands(copied, &calls("get", 1))]);
    test.rounds(5, &[primary_with_keys()]);
    let view = test.rounds(5, &[replaced("slaveof")]);
    assert!(is_silent(&view, &test));
}

#[test]
fn a_gap_may_hide_a_copy_of_the_data() {
    let at_syncs = |syncs: &str| {
        let more = [KEYS, "\nsync_full:", syncs].concat().leak();
        with_commands(reply(&InfoReply { more, ..master("x", 'a') }), &calls("get", 1))
    };
    for (after, expected) in [("0", 1), ("1", 0)] {
        let mut test = TestDeployment::new(1);
        test.rounds(5, &[at_syncs("0")]);
        test.rounds(20, &[PollOutcome::Missed(snapshot::Reason::Timeout)]);
        test.rounds(5, &[at_syncs(after)]);
        assert_eq!(total(&test.round(vec![replaced("slaveof")])), expected, "{after}");
    }
    // The primary was not observed for so long that several promotions may have followed.
    let mut test = TestDeployment::new(1);
    test.rounds(5, &[at_syncs("0")]);
    test.rounds(20, &[PollOutcome::Missed(snapshot::Reason::Timeout)]);
    let view = test.rounds(5, &[replaced("slaveof")]);
    assert!(is_silent(&view, &test));
}

#[test]
fn identity_survives_a_restart_of_the_exporter() {
    let mut test = TestDeployment::new(1);
    test.rounds(5, &[primary_with_keys()]);
    let mut restarted = test.restarted();
    // Before the command, and in the middle of the full resync.
    let view = restarted.rounds(2, &[primary_with_keys()]);
    assert!(is_silent(&view, &restarted));
    restarted.round(vec![with_commands(reply(&cut_replica("x", 'a', 99)), &calls("replicaof", 1))]);
    let mut restarted = restarted.restarted();
    let view = restarted.round(vec![replaced("replicaof")]);
    let severity = severity_of(&view, FindingKind::RedisDatasetReplaced);
    assert_eq!((total(&view), severity), (1, Some(Severity::Warning)));
    // Afterwards: the finding stays.
    let mut restarted = restarted.restarted();
    let view = restarted.rounds(2, &[replaced("replicaof")]);
    let severity = severity_of(&view, FindingKind::RedisDatasetReplaced);
    assert_eq!((total(&view), severity), (0, Some(Severity::Warning)));
    let view = restarted.rounds(600, &[replaced("replicaof")]);
    assert_eq!(severity_of(&view, FindingKind::RedisDatasetReplaced), None);
}

#[test]
fn a_state_file_of_an_earlier_version_is_no_evidence() {
    let mut test = TestDeployment::new(1);
    test.rounds(5, &[primary_with_keys()]);
    let saved = test.tracker.saved_state();
    let written = serde_json::to_string(&saved).expect("JSON");
    let mut old: SavedState = serde_json::from_str(&written).expect("the same state");
    assert_eq!(old, saved);
    for node in old.nodes.values_mut() {
        node.reign = None;
    }
    let mut restarted = test.restored(old, SECOND);
    let view = restarted.rounds(5, &[replaced("slaveof")]);
    assert!(is_silent(&view, &restarted));
}

#[test]
fn a_process_of_another_deployment_is_shared() {
    let mut test = TestDeployment::new(2);
    let shared = |node: usize, follows_there: bool| SharedNode {
        node: topology::NodeIndex::new(node),
        deployment: "carts".to_owned(),
        follows_there,
    };
    let copy = |commands: &str| {
        let moving = reply(&InfoReply { more: KEYS, ..replica("y", 'f', 99) });
        vec![primary_with_keys(), with_commands(moving, commands)]
    };
    let severity = |view: &DeploymentView| severity_of(view, FindingKind::RolecallNodeShared);
    let view = test.rounds(3, &copy(&calls("replicaof", 1)));
    assert_eq!(severity(&view), None);
    let view = test.shared_round(copy(&calls("replicaof", 1)), vec![shared(1, true)]);
    assert_eq!(severity(&view), Some(Severity::Info), "it copies the data of the other one");
    let view = test.shared_round(copy(&calls("slaveof", 1)), vec![shared(1, true)]);
    assert_eq!(severity(&view), Some(Severity::Warning), "a Sentinel took it");
    let view = test.shared_round(copy(&calls("get", 1)), vec![shared(1, true)]);
    assert_eq!(severity(&view), Some(Severity::Warning), "its configuration file says so");
    let view = test.shared_round(copy(&calls("replicaof", 1)), vec![shared(1, false)]);
    assert_eq!(severity(&view), Some(Severity::Warning), "it follows neither");
    let view = test.shared_round(copy(&calls("replicaof", 1)), vec![shared(0, false)]);
    assert_eq!(severity(&view), Some(Severity::Warning), "it is a master");
    let nodes: Vec<_> =
        view.findings.iter().filter_map(|finding| finding.node.as_deref()).collect();
    assert!(nodes.contains(&"n1"), "{nodes:?}");
}

#[test]
fn a_member_promoted_in_the_same_round_is_known() {
    // Its address is not known to Rolecall, and the servers were restarted before.
    let mut test = TestDeployment::new(2);
    let keys = |info: InfoReply| reply(&InfoReply { more: KEYS, ..info });
    test.rounds(5, &[keys(master("x", 'a')), keys(replica("y", 'a', 1))]);
    let view = test.rounds(5, &[keys(replica("x", 'e', 99)), keys(master("y", 'e'))]);
    assert!(is_silent(&view, &test));
}

#[test]
fn a_member_that_replies_later_is_known() {
    let keys = |info: InfoReply| reply(&InfoReply { more: KEYS, ..info });
    let promoted = || {
        let mut test = TestDeployment::new(2);
        test.rounds(5, &[keys(master("x", 'a')), keys(replica("y", 'a', 1))]);
        test.rounds(5, &[keys(master("x", 'a')), refused()]);
        // Another server has the history `e`, at an address that Rolecall does not know.
        let view = test.rounds(15, &[keys(replica("x", 'e', 99)), refused()]);
        assert!(is_silent(&view, &test));
        test
    };
    let mut test = promoted();
    let view = test.rounds(30, &[keys(replica("x", 'e', 99)), keys(master("y", 'e'))]);
    assert!(is_silent(&view, &test));

    // It is no member if the only one has not replied for so long, or has another history.
    let mut test = promoted();
    assert_eq!(total(&test.rounds(15, &[keys(replica("x", 'e', 99)), refused()])), 1);
    let mut test = promoted();
    let view = test.rounds(2, &[keys(replica("x", 'e', 99)), keys(master("y", 'f'))]);
    assert_eq!(total(&view), 1);
}
