//! Readiness for a failover, as Sentinels judge the replicas.

use std::time::Duration;

use snapshot::{MasterReport, PromotionProperties, SentinelEntry};
use topology::FindingKind::RedisFailoverNotReady as NotReady;
use topology::Severity::{Info, Warning};
use topology::{DeploymentView, FailoverBlocker, FailoverView, PromotionObstacle, ReadRequest};

use crate::fixture::*;

/// Returns the entry of a replica that a Sentinel has observed for a while.
fn observed(address: &str, run_id: &str) -> SentinelEntry {
    SentinelEntry {
        run_id: run_id.into(),
        last_ok_ping: Some(Duration::from_millis(900)),
        promotion: Some(PromotionProperties {
            priority: 100,
            info_age: SECOND * 5,
            ..PromotionProperties::default()
        }),
        ..up(address)
    }
}

/// Returns the report about A and its replicas B and C.
fn observed_report(change: impl Fn(&mut SentinelEntry)) -> MasterReport {
    let replicas = [(B, "y"), (C, "z")].map(|(address, run_id)| {
        let mut entry = observed(address, run_id);
        change(&mut entry);
        entry
    });
    changed(report(A, 1, &replicas), |report| {
        if let Some(settings) = &mut report.master.settings {
            (settings.replicas, settings.down_after) = (2, SECOND * 3);
        }
    })
}

fn ready() -> TestDeployment {
    let mut test = TestDeployment::new(PLAIN, |_| {});
    test.set_reports(&observed_report(|_| {}));
    let view = test.rounds(3);
    assert_eq!(failover(&view).map(FailoverView::is_ready), Some(true));
    test
}

fn failover(view: &DeploymentView) -> Option<&FailoverView> {
    view.shards[0].failover.as_ref()
}

fn candidates(view: &DeploymentView) -> Vec<&str> {
    let candidates = failover(view).into_iter().flat_map(|failover| &failover.candidates);
    candidates.map(|candidate| view.name(candidate.node)).collect()
}

fn obstacles(view: &DeploymentView) -> Vec<(&str, PromotionObstacle)> {
    let refused = failover(view).into_iter().flat_map(|failover| &failover.refused);
    refused.map(|refused| (view.name(refused.node), refused.why)).collect()
}

#[test]
fn most_sentinels_decide_if_a_replica_is_accepted() {
    let mut test = ready();
    assert_eq!(candidates(&test.tracker.view()), [B, C]);
    let down = || Some(observed_report(|entry| entry.down_state = down(B, 9).down_state));
    test.sentinels[0] = down();
    assert_eq!(candidates(&test.rounds(2)), [B, C], "one of three");
    test.sentinels[1] = down();
    let view = test.rounds(2);
    assert_eq!(candidates(&view), [""; 0]);
    assert_eq!(obstacles(&view), [(B, PromotionObstacle::Down), (C, PromotionObstacle::Down)]);
    assert_eq!(kinds(&view), [(NotReady, Info)], "it may be a failover");
    assert_eq!(kinds(&test.rounds(60)), [(NotReady, Warning)]);
}

#[test]
fn a_priority_of_zero_is_a_warning_at_once() {
    let mut test = ready();
    for server in [B, C] {
        let reply = test.servers[server].clone() + "slave_priority:0\n";
        test.servers.insert(server, reply);
    }
    let view = test.rounds(1);
    assert_eq!(
        failover(&view).map(|found| &*found.blockers),
        Some(&[FailoverBlocker::NoCandidate][..])
    );
    assert_eq!(kinds(&view), [(NotReady, Warning)]);
    assert_eq!(evidence(&view, NotReady, ["why"]), ["no_candidate"]);
}

#[test]
fn a_sentinel_that_has_just_begun_to_observe_decides_nothing() {
    let mut test = ready();
    test.set_reports(&observed_report(|entry| entry.run_id = "".into()));
    let view = test.rounds(1);
    assert_eq!((failover(&view), kinds(&view)), (None, vec![]));
    assert!(test.requests.contains(&ReadRequest::SentinelLists));
    test.rounds(40);
    assert!(!test.requests.contains(&ReadRequest::SentinelLists), "only for a while");
    test.set_reports(&observed_report(|entry| entry.disconnected = true));
    assert_eq!(failover(&test.rounds(1)), None);
}

#[test]
fn the_limit_of_the_link_grows_while_the_master_is_down() {
    let cut_for = |seconds: u32| {
        let link = format!("down\nmaster_link_down_since_seconds:{seconds}");
        [B, C].map(|node| {
            let run_id = if node == B { "y" } else { "z" };
            (node, replica(run_id, 'a', A).replace("status:up", &format!("status:{link}")))
        })
    };
    let mut test = ready();
    test.servers.extend(cut_for(31));
    let link_down = PromotionObstacle::LinkDown;
    assert_eq!(obstacles(&test.rounds(2)), [(B, link_down), (C, link_down)]);
    test.set_reports(&changed(observed_report(|_| {}), |report| {
        report.master.down_state = down(A, 9).down_state;
        report.master.down_for = Some(SECOND * 9);
    }));
    assert_eq!(obstacles(&test.rounds(2)), []);
    assert_eq!(candidates(&test.tracker.view()), [B], "the lowest run_id decides");
}

#[test]
fn a_replica_that_is_not_listed_may_be_promoted() {
    let mut test = ready();
    let hidden = changed(observed_report(|_| {}), |report| report.replicas = Some([].into()));
    test.set_reports(&hidden);
    let view = test.rounds(1);
    assert_eq!((failover(&view), kinds(&view)), (None, vec![]));
}

#[test]
fn sentinels_without_a_quorum_block_even_if_they_are_down() {
    let mut test = ready();
    test.sentinels = [None, None, None];
    let view = test.rounds(5);
    assert_eq!(
        failover(&view).map(|found| &*found.blockers),
        Some(&[FailoverBlocker::NoQuorum][..])
    );
}

#[test]
fn sentinels_that_see_a_primary_down_that_replies_are_blind() {
    let mut test = ready();
    test.set_reports(&changed(observed_report(|_| {}), |report| {
        report.master.down_state = down(A, 1).down_state;
    }));
    assert_eq!(failover(&test.rounds(5)).map(FailoverView::is_ready), Some(true));
    let view = test.rounds(3);
    let blind = FailoverBlocker::SentinelsBlind;
    assert_eq!(failover(&view).map(|found| &*found.blockers), Some(&[blind][..]));
}

#[test]
fn no_failover_is_meant_where_the_configuration_says_so() {
    for with in [
        |deployment: &mut topology::Deployment| deployment.expect.replicas = Some(0),
        |deployment: &mut topology::Deployment| deployment.expect.masters = Some(2),
        |deployment: &mut topology::Deployment| deployment.expect.external = true,
    ] {
        let mut test = TestDeployment::new(PLAIN, with);
        test.set_reports(&observed_report(|_| {}));
        assert_eq!(failover(&test.rounds(3)), None);
    }
}
