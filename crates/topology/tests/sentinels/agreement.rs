//! Agreement of Sentinels and nodes, and the primary that follows from it.

use std::time::Duration;

use snapshot::{DownState, Quorum, Role, SentinelEntry};
use topology::FindingKind::RedisSentinelDisagreement as Disagreement;
use topology::FindingKind::{
    RedisSentinelMisconfigured as Misconfigured, RedisSentinelQuorumLost as QuorumLost,
};
use topology::Severity::{Critical, Info, Warning};
use topology::{Deployment, PrimaryEvidence};

use crate::fixture::*;

#[test]
fn nodes_of_any_sentinel_are_members() {
    let mut test = TestDeployment::new(PLAIN, |_| {});
    test.sentinels =
        [Some(report(A, 1, &[up(B)])), Some(report(A, 1, &[up(C)])), Some(report(A, 1, &[]))];
    let view = test.rounds(3);
    assert_eq!(
        (data(&view), primary(&view)),
        (vec![A, B, C], Some((A, PrimaryEvidence::Sentinel)))
    );
    assert_eq!((kinds(&view), test.events.len()), (vec![], 0), "the first list is no event");
    test.servers.insert(D, replica("w", 'a', A));
    test.sentinels[2] = Some(report(A, 1, &[up(D)]));
    assert_eq!(data(&test.rounds(3)), [A, B, C, D]);
    assert_eq!(test.events, [("node_discovered", D.to_owned())]);
}

#[test]
fn a_majority_is_more_than_half_of_all_configured() {
    let (a, b) = (|epoch| Some(master_report(A, epoch)), |epoch| Some(master_report(B, epoch)));
    let down = || {
        Some(changed(master_report(A, 1), |report| {
            report.master.down_state = DownState::ObjectivelyDown;
        }))
    };
    for (sentinels, majority, evidence) in [
        ([a(1), a(1), None], Some((Some(at(3)), 1, 2, false)), PrimaryEvidence::Sentinel),
        ([a(1), None, None], None, PrimaryEvidence::Sole), // two do not reply
        ([b(1), a(2), a(2)], Some((Some(at(3)), 2, 2, false)), PrimaryEvidence::Sentinel),
        ([a(1), a(1), b(2)], None, PrimaryEvidence::Sole), // two have an old epoch
        ([a(1), down(), down()], Some((Some(at(3)), 1, 3, true)), PrimaryEvidence::Sole),
    ] {
        let mut test = TestDeployment::healthy(PLAIN);
        test.sentinels = sentinels;
        let view = test.rounds(1);
        let most = view.sentinels.as_ref().and_then(|sentinels| sentinels.majority.as_ref());
        assert_eq!(most.map(|most| (most.node, most.epoch, most.count, most.down)), majority);
        assert_eq!(primary(&view), Some((A, evidence)));
        assert_eq!(view.shards[0].primary_unconfirmed, most.is_none());
    }
}

#[test]
fn a_disagreement_is_info_for_a_minute() {
    let a = || Some(master_report(A, 1));
    let late = || {
        Some(changed(master_report(A, 1), |report| {
            report.master.role_reported = Some(Role::Replica);
        }))
    };
    for (a_replies, b_replies, sentinels, severity, shown) in [
        (
            // A was demoted by a command that the Sentinels did not notice.
            replica("x", 'b', B),
            promoted("y", 'a', 'b'),
            [a(), a(), a()],
            Critical,
            ["majority", B, A, "s1, s2, s3", "1", "60"],
        ),
        (
            master_of("x", 'a'),
            replica("y", 'a', A),
            [a(), a(), Some(master_report(B, 0))],
            Warning,
            ["dissenter", A, B, "s3", "0", "60"],
        ),
        (
            master_of("x", 'a'),
            replica("y", 'a', A),
            [late(), late(), a()],
            Critical,
            ["role_reported", A, A, "s1, s2", "1", "60"],
        ),
    ] {
        let mut test = TestDeployment::healthy(PLAIN);
        test.servers.insert(A, a_replies);
        test.servers.insert(B, b_replies);
        test.sentinels = sentinels;
        assert_eq!(severity_of(&test.rounds(60), Disagreement), Some(Info));
        let view = test.rounds(1);
        assert_eq!(severity_of(&view, Disagreement), Some(severity));
        assert_eq!(
            evidence(
                &view,
                Disagreement,
                ["why", "primary", "named", "sentinels", "epoch", "seconds"]
            ),
            shown
        );
    }
}

#[test]
fn the_quorum_is_lost_if_most_sentinels_report_it() {
    let ok = || Some(master_report(A, 1));
    let no = || {
        Some(changed(master_report(A, 1), |report| {
            report.quorum = Some(Quorum { ok: false, usable: Some(1) });
        }))
    };
    for (sentinels, lost) in
        [([no(), ok(), None], false), ([no(), no(), ok()], true), ([no(), None, None], true)]
    {
        let mut test = TestDeployment::healthy(PLAIN);
        test.sentinels = sentinels;
        assert_eq!(severity_of(&test.rounds(60), QuorumLost), lost.then_some(Warning));
        let view = test.rounds(1);
        assert_eq!(severity_of(&view, QuorumLost), lost.then_some(Critical));
        assert!(
            !lost || evidence(&view, QuorumLost, ["usable", "quorum", "known"]) == ["1", "2", "3"]
        );
    }
}

#[test]
fn mistakes_in_sentinel_lists_are_findings() {
    let follows_itself = SentinelEntry { follows: Some((up(C).ip, 6379)), ..up(C) };
    let stranger = changed(master_report(A, 1), |report| report.master.name = "other".into());
    for (report, why, nodes) in [
        (report(A, 1, &[up(B), up(C), up(A)]), "self_replication", A),
        (report(A, 1, &[up(B), follows_itself]), "self_replication", C),
        (report(A, 1, &[up(B), up(C), up("redis-3:6379")]), "mixed_names", "redis-3:6379"),
        (stranger, "unknown_master", ""),
    ] {
        let mut test = TestDeployment::healthy(PLAIN);
        test.sentinels[2] = Some(report);
        let view = test.rounds(1);
        assert_eq!(evidence(&view, Misconfigured, ["why", "nodes"]), [why, nodes]);
        if why == "unknown_master" {
            let names = ["sentinels", "master_name", "monitored", "monitored_total"];
            assert_eq!(evidence(&view, Misconfigured, names), ["s3", "mymaster", "other", "1"]);
        }
    }
}

#[test]
fn masters_listed_together_are_related() {
    let listed = |deployment: &mut Deployment| {
        deployment.discovery = None;
        for node in [A, B, C] {
            deployment.add(node, node, None);
        }
    };
    let (one, two) = (TestDeployment::new(PLAIN, |_| {}), TestDeployment::new(PLAIN, listed));
    let (one, two) = (Box::new(one), Box::new(two));
    for (mut test, evidence, split, stale, unrelated) in [
        (one, PrimaryEvidence::Sentinel, vec![at(3), at(4)], vec![at(4)], vec![]),
        (two, PrimaryEvidence::Followers, vec![], vec![], vec![at(4)]),
    ] {
        test.servers.insert(B, master_of("y", 'e'));
        test.set_reports(&master_report(A, 1));
        let shard = test.rounds(3).shards[0].clone();
        assert_eq!(
            (&shard.split_brain.masters, &shard.stale_masters, &shard.unrelated_masters),
            (&split, &stale, &unrelated)
        );
        assert_eq!(
            shard.primary.map(|primary| (primary.node, primary.evidence)),
            Some((at(3), evidence))
        );
    }
}

#[test]
fn a_majority_decides_if_an_unrelated_master_is_the_primary() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.insert(D, master_of("w", 'e'));
    test.set_reports(&report(A, 1, &[B, C, D].map(up)));
    test.rounds(3);
    test.servers.insert(A, cut(&replica("x", 'a', D)));
    assert_eq!(primary(&test.rounds(3)), None, "the Sentinels name the node that follows it");
    test.sentinels = [None, None, None];
    let view = test.rounds(20);
    assert_eq!(primary(&view), Some((D, PrimaryEvidence::Sole)), "there is no majority");
}

#[test]
fn sentinel_reports_decide_the_cause_of_a_failover() {
    let failing_over = changed(master_report(A, 1), |report| report.master.failing_over = true);
    for (report, cause) in [
        (master_report(B, 2), "sentinel"),
        (failing_over, "sentinel"),
        (master_report(B, 1), "unknown"),
        (master_report(A, 1), "unknown"),
    ] {
        let mut test = TestDeployment::healthy(PLAIN);
        test.servers.remove(A);
        test.servers.insert(B, promoted("y", 'a', 'b'));
        test.servers.insert(C, cut(&replica("z", 'a', A)));
        test.set_reports(&report);
        test.rounds(5);
        assert_eq!(test.events_of("primary_changed"), [format!("{A} to {B}, {cause}")]);
    }
}

#[test]
fn each_kind_of_disagreement_has_its_own_start() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.sentinels[2] = Some(master_report(B, 0));
    assert_eq!(severity_of(&test.rounds(70), Disagreement), Some(Warning));
    test.set_reports(&master_report(B, 2));
    assert_eq!(severity_of(&test.rounds(5), Disagreement), Some(Info));
}

#[test]
fn peers_that_reply_report_a_silent_node_as_down() {
    let down = |down_for: u64| {
        changed(master_report(A, 1), |report| {
            report.master.down_state = DownState::SubjectivelyDown;
            report.master.down_for = Some(Duration::from_secs(down_for));
        })
    };
    let mut test = TestDeployment::healthy(PLAIN);
    test.rounds(30);
    test.sentinels[0] = Some(down(1));
    assert_eq!(test.rounds(1).reported_down, [], "the node replies to Rolecall");
    test.servers.remove(A);
    assert_eq!(test.rounds(1).reported_down, [at(3)], "a Sentinel reports it");
    test.sentinels[0] = Some(down(100));
    assert_eq!(test.rounds(1).reported_down, [], "the report is about an earlier failure");
    test.sentinels[0] = None;
    assert_eq!(test.rounds(1).reported_down, [], "nobody reports it");
    let link_down = replica("y", 'a', A)
        .replace("link_status:up", "link_status:down\nmaster_link_down_since_seconds:1");
    test.servers.insert(B, link_down);
    assert_eq!(test.rounds(1).reported_down, [at(3)], "a replica lost its link");
}
