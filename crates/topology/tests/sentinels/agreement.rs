//! Whether the Sentinels and the nodes agree, and what follows for the primary.

use snapshot::{DownState, Quorum, Role, SentinelEntry};
use topology::FindingKind::RedisSentinelDisagreement as Disagreement;
use topology::FindingKind::{
    RedisSentinelMisconfigured as Misconfigured, RedisSentinelQuorumLost as QuorumLost,
};
use topology::Severity::{Critical, Info, Warning};
use topology::{Deployment, PrimaryEvidence};

use crate::scene::*;

#[test]
fn all_that_any_sentinel_lists_belongs_to_it() {
    let mut scene = Scene::new(PLAIN, |_| {});
    scene.sentinels =
        [Some(report(A, 1, &[up(B)])), Some(report(A, 1, &[up(C)])), Some(report(A, 1, &[]))];
    let view = scene.rounds(3);
    assert_eq!(
        (data(&view), primary(&view)),
        (vec![A, B, C], Some((A, PrimaryEvidence::Sentinel)))
    );
    assert_eq!((kinds(&view), scene.events.len()), (vec![], 0), "the first list is no event");
    scene.servers.insert(D, replica("w", 'a', A));
    scene.sentinels[2] = Some(report(A, 1, &[up(D)]));
    assert_eq!(data(&scene.rounds(3)), [A, B, C, D]);
    assert_eq!(scene.events, [("node_discovered", D.to_owned())]);
}

#[test]
fn a_majority_is_more_than_half_of_all_that_are_configured() {
    let (a, b) = (|epoch| Some(names(A, epoch)), |epoch| Some(names(B, epoch)));
    let down =
        || Some(but(names(A, 1), |report| report.master.down_state = DownState::ObjectivelyDown));
    for (sentinels, majority, evidence) in [
        ([a(1), a(1), None], Some((Some(3), 1, 2, false)), PrimaryEvidence::Sentinel),
        ([a(1), None, None], None, PrimaryEvidence::Sole), // those that are down count as configured
        ([b(1), a(2), a(2)], Some((Some(3), 2, 2, false)), PrimaryEvidence::Sentinel),
        ([a(1), a(1), b(2)], None, PrimaryEvidence::Sole), // two that are out of date outvote nobody
        ([a(1), down(), down()], Some((Some(3), 1, 3, true)), PrimaryEvidence::Sole),
    ] {
        let mut scene = Scene::healthy(PLAIN);
        scene.sentinels = sentinels;
        let view = scene.rounds(1);
        let most = view.sentinels.as_ref().and_then(|sentinels| sentinels.majority.as_ref());
        assert_eq!(most.map(|most| (most.node, most.epoch, most.count, most.down)), majority);
        assert_eq!(primary(&view), Some((A, evidence)));
    }
}

#[test]
fn a_disagreement_is_routine_for_a_minute() {
    let a = || Some(names(A, 1));
    let late =
        || Some(but(names(A, 1), |report| report.master.role_reported = Some(Role::Replica)));
    for (b, sentinels, severity, shown) in [
        (
            promoted("y", 'a', 'b'),
            [a(), a(), a()],
            Critical,
            ["majority", B, A, "s1, s2, s3", "1", "60"],
        ),
        (
            replica("y", 'a', A),
            [a(), a(), Some(names(B, 0))],
            Warning,
            ["dissenter", A, B, "s3", "0", "60"],
        ),
        (
            replica("y", 'a', A),
            [late(), late(), a()],
            Critical,
            ["role_reported", A, A, "s1, s2", "1", "60"],
        ),
    ] {
        let mut scene = Scene::healthy(PLAIN);
        scene.servers.insert(B, b);
        scene.sentinels = sentinels;
        assert_eq!(found(&scene.rounds(60), Disagreement), Some(Info));
        let view = scene.rounds(1);
        assert_eq!(found(&view, Disagreement), Some(severity));
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
fn a_quorum_is_lost_by_most_of_those_that_answer() {
    let ok = || Some(names(A, 1));
    let no = || {
        Some(but(names(A, 1), |report| report.quorum = Some(Quorum { ok: false, usable: Some(1) })))
    };
    for (sentinels, lost) in
        [([no(), ok(), None], false), ([no(), no(), ok()], true), ([no(), None, None], true)]
    {
        let mut scene = Scene::healthy(PLAIN);
        scene.sentinels = sentinels;
        assert_eq!(found(&scene.rounds(60), QuorumLost), lost.then_some(Warning));
        let view = scene.rounds(1);
        assert_eq!(found(&view, QuorumLost), lost.then_some(Critical));
        assert!(
            !lost || evidence(&view, QuorumLost, ["usable", "quorum", "known"]) == ["1", "2", "3"]
        );
    }
}

#[test]
fn what_sentinels_list_may_be_a_mistake() {
    let follows_itself = SentinelEntry { follows: Some((up(C).ip, 6379)), ..up(C) };
    let stranger = but(names(A, 1), |report| report.master.name = "other".into());
    for (said, why, nodes) in [
        (report(A, 1, &[up(B), up(C), up(A)]), "self_replication", A),
        (report(A, 1, &[up(B), follows_itself]), "self_replication", C),
        (report(A, 1, &[up(B), up(C), up("redis-3:6379")]), "mixed_names", "redis-3:6379"),
        (stranger, "unknown_master", ""),
    ] {
        let mut scene = Scene::healthy(PLAIN);
        scene.sentinels[2] = Some(said);
        let view = scene.rounds(1);
        assert_eq!(evidence(&view, Misconfigured, ["why", "nodes"]), [why, nodes]);
        assert!(why != "unknown_master" || evidence(&view, Misconfigured, ["sentinels"]) == ["s3"]);
    }
}

#[test]
fn masters_that_sentinels_list_together_are_of_one_data_set() {
    let listed = |deployment: &mut Deployment| {
        deployment.discovery = None;
        for node in [A, B, C] {
            deployment.add(node, node, None);
        }
    };
    let (one, two) = (Scene::new(PLAIN, |_| {}), Scene::new(PLAIN, listed));
    for (mut scene, split, stale, unrelated) in
        [(one, vec![3, 4], vec![4], vec![]), (two, vec![], vec![], vec![4])]
    {
        scene.servers.insert(B, master_of("y", 'e'));
        scene.all(&names(A, 1));
        let shard = scene.rounds(3).shards[0].clone();
        assert_eq!(
            (&shard.split_brain.masters, &shard.stale, &shard.unrelated),
            (&split, &stale, &unrelated)
        );
        assert_eq!(
            shard.primary.map(|primary| (primary.node, primary.evidence)),
            Some((3, PrimaryEvidence::Lineage))
        );
    }
}

#[test]
fn a_failover_is_the_work_of_sentinels_if_they_say_so() {
    let failing_over = but(names(A, 1), |report| report.master.failing_over = true);
    for (said, cause) in [
        (names(B, 2), "sentinel"),
        (failing_over, "sentinel"),
        (names(B, 1), "unknown"),
        (names(A, 1), "unknown"),
    ] {
        let mut scene = Scene::healthy(PLAIN);
        scene.servers.remove(A);
        scene.servers.insert(B, promoted("y", 'a', 'b'));
        scene.all(&said);
        scene.rounds(5);
        assert_eq!(scene.happened("primary_changed"), [format!("{A} to {B}, {cause}")]);
    }
}

#[test]
fn each_way_to_disagree_has_its_own_time() {
    let mut scene = Scene::healthy(PLAIN);
    scene.sentinels[2] = Some(names(B, 0));
    assert_eq!(found(&scene.rounds(70), Disagreement), Some(Warning));
    scene.all(&names(B, 2));
    assert_eq!(found(&scene.rounds(5), Disagreement), Some(Info));
}
