//! Membership of nodes that Sentinels list.

use crate::recorded::RecordedTracker;
use std::sync::Arc;

use snapshot::{DownState, SentinelEntry};
use topology::FindingKind::{
    RedisDown, RedisFailoverNotReady, RedisSentinelDown, RedisSentinelGhosts as Ghosts,
};
use topology::Severity::{Info, Warning};
use topology::{FindingKind, Lag, LimitKind, PrimaryEvidence, SavedNode};
use topology::{NodeState, ProcessView, ReadRequest};

use crate::fixture::*;

#[test]
fn an_unlisted_node_leaves_after_forget_after() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.sentinels = [const { None }; 3];
    assert_eq!(data(&test.rounds(30)), [A, B, C], "without reports no node leaves");
    for replicas in [&[up(B)][..], &[up(B), up(C)], &[up(B)]] {
        test.set_reports(&report(A, 1, replicas));
        assert_eq!(data(&test.rounds(10)), [A, B, C], "it was listed again in between");
    }
    assert_eq!((data(&test.rounds(1)), data(&test.rounds(20))), (vec![A, B], vec![A, B]));
    assert_eq!((test.events_of("node_gone"), test.events_of("node_discovered")), (vec![C], vec![]));
    // A master stays while it replies.
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.insert(C, promoted("z", 'a', 'c'));
    test.set_reports(&report(A, 1, &[up(B)]));
    let view = test.rounds(30);
    assert_eq!((data(&view), view.shards[0].split_brain.masters.len()), (vec![A, B, C], 2));
    test.servers.remove(C);
    assert_eq!((data(&test.rounds(1)), test.events_of("node_gone")), (vec![A, B], vec![C]));
}

#[test]
fn a_reused_index_has_no_state_of_its_former_node() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.insert(A, master_of("x", 'a') + "master_repl_offset:500\n");
    test.servers.insert(
        C,
        replica("z2", 'a', A).replace(":1000", ":1")
            + "master_repl_offset:100\ntotal_error_replies:9\n",
    );
    let view = test.rounds(1);
    let (index, c) = node(&view, C);
    assert_eq!(
        (c.process.restarts, c.lag.bytes, c.counters.error_replies()),
        (1, Some(400), Some(9))
    );
    test.set_reports(&report(A, 1, &[up(B)]));
    test.rounds(11);
    test.set_reports(&report(A, 1, &[up(B), up(D)]));
    let view = test.rounds(1);
    let (taken, d) = node(&view, D);
    assert_eq!(
        (taken, d.presence, d.process, d.lag),
        (index, NodeState::Pending, ProcessView::default(), Lag::default())
    );
    test.servers.insert(D, replica("w", 'd', A) + "total_error_replies:70\n");
    let view = test.rounds(1);
    let (_, d) = node(&view, D);
    assert_eq!(
        (d.process, d.counters.error_replies(), d.lag),
        (ProcessView::default(), Some(0), Lag::default())
    );
    let saved = test.tracker.saved_state().nodes;
    assert_eq!((&saved[D].replication_ids, saved.get(C)), (&vec!["d".repeat(40)], None));
}

#[test]
fn a_reused_index_is_not_the_primary() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.remove(A);
    test.servers.insert(B, cut(&replica("y", 'a', A)));
    test.servers.insert(C, cut(&replica("z", 'a', A)));
    test.set_reports(&report(B, 2, &[up(C)]));
    assert_eq!(test.rounds(10).shards[0].last_primary, Some(at(3)));
    let view = test.rounds(2);
    assert_eq!((view.shards[0].last_primary, severity_of(&view, RedisDown)), (None, None));
    test.set_reports(&report(B, 2, &[up(C), up(D)]));
    test.servers.insert(D, replica("w", 'a', B));
    let view = test.rounds(2);
    assert_eq!(
        (node(&view, D).0, view.shards[0].last_primary, primary(&view)),
        (at(3), None, None)
    );
    test.servers.insert(B, promoted("y", 'a', 'b'));
    assert_eq!(
        (primary(&test.rounds(5)), test.events_of("primary_changed")),
        (Some((B, PrimaryEvidence::Sentinel)), vec![])
    );
}

#[test]
fn a_ghost_is_no_member_until_it_returns() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.remove(C);
    test.set_reports(&report(A, 1, &[up(B), down(C, 600)]));
    let view = test.rounds(3);
    assert_eq!((data(&view), severity_of(&view, Ghosts)), (vec![A, B, C], None));
    test.set_reports(&report(A, 1, &[up(B), down(C, 601)]));
    let view = test.rounds(20);
    assert_eq!(
        (data(&view), test.events_of("node_gone"), severity_of(&view, RedisDown)),
        (vec![A, B], vec![C], None)
    );
    assert_eq!(
        (severity_of(&view, Ghosts), evidence(&view, Ghosts, ["replicas", "sentinels"])),
        (Some(Warning), [C, ""].map(Into::into))
    );
    test.servers.insert(C, replica("z2", 'a', A));
    test.set_reports(&report(A, 1, &[up(B), up(C)]));
    let view = test.rounds(2);
    assert_eq!(
        (data(&view), kinds(&view), test.events_of("node_discovered")),
        (vec![A, B, C], vec![], vec![C])
    );
    // A ghost in the first list never becomes a member.
    let mut test = TestDeployment::new(PLAIN, |_| {});
    test.set_reports(&report(A, 1, &[up(B), down(C, 700)]));
    let view = test.rounds(5);
    assert_eq!(
        (data(&view), test.events.len(), kinds(&view)),
        (vec![A, B], 0, vec![(Ghosts, Warning)])
    );
}

#[test]
fn a_node_that_one_sentinel_considers_up_stays() {
    let cut_off = changed(report(A, 1, &[down(B, 700), down(C, 700)]), |report| {
        report.master.down_state = DownState::SubjectivelyDown;
    });
    for doubt in [master_report(A, 1), report(A, 1, &[down(C, 20)]), cut_off] {
        let mut test = TestDeployment::healthy(PLAIN);
        test.set_reports(&report(A, 1, &[up(B), down(C, 700)]));
        assert_eq!(
            (data(&test.rounds(20)), test.events.len()),
            (vec![A, B, C], 0),
            "it replies to Rolecall"
        );
        test.servers.remove(C);
        test.sentinels[2] = Some(doubt);
        let view = test.rounds(20);
        assert_eq!((data(&view), severity_of(&view, Ghosts)), (vec![A, B, C], None));
    }
}

#[test]
fn a_configured_sentinel_is_no_ghost() {
    let mut test = TestDeployment::new(PLAIN, |deployment| deployment.show_sentinel(at(2), false));
    let others = Arc::new([
        down("10.0.1.2:26379", 700),
        down("10.0.1.3:26379", 700),
        down("10.0.1.9:26379", 700),
        up("10.0.1.8:26379"),
    ]);
    test.set_reports(&changed(master_report(A, 1), |report| report.sentinels = Some(others)));
    test.rounds(2);
    test.sentinels[2] = None;
    let view = test.rounds(5);
    assert_eq!(
        (view.nodes[at(2)].up(), test.events.len()),
        (Some(false), 0),
        "it is shown in another deployment"
    );
    assert_eq!(kinds(&view), [(Ghosts, Warning)]);
    assert_eq!(evidence(&view, Ghosts, ["replicas", "sentinels"]), ["", "10.0.1.9:26379"]);
    test.sentinels[1] = None;
    let view = test.rounds(5);
    assert_eq!(
        (kinds(&view), test.events_of("node_unreachable")),
        (
            vec![
                (RedisSentinelDown, Warning),
                (Ghosts, Warning),
                (RedisFailoverNotReady, Info), // one of three is left
            ],
            vec!["s2"]
        )
    );
}

/// Returns the number of requests for host names.
fn host_names(requests: &[ReadRequest]) -> usize {
    requests.iter().filter(|request| matches!(request, ReadRequest::HostName(_))).count()
}

#[test]
fn missing_host_names_are_requested() {
    let mut test = TestDeployment::new("{short}", |_| {});
    test.names = [("10.0.0.4".to_owned(), Some("redis-2.other".to_owned()))].into();
    test.set_reports(&report(A, 1, &[up("redis-2.svc:6379"), up(C), up(D)]));
    assert_eq!(
        data(&test.rounds(1)),
        ["redis-2", D],
        "the second node of a name has its address as label"
    );
    // The readiness for a failover requests the lists of the Sentinels.
    test.requests.retain(|request| *request != ReadRequest::SentinelLists);
    assert_eq!(
        test.requests,
        ["10.0.0.1", "10.0.0.3"].map(|address| ReadRequest::HostName(address.to_owned()))
    );
    test.names.extend([
        ("10.0.0.1".to_owned(), Some("redis-0.svc".to_owned())),
        ("10.0.0.3".to_owned(), None),
    ]);
    assert_eq!(
        (data(&test.rounds(1)), host_names(&test.requests)),
        (vec!["redis-2", D, "redis-0", "10.0.0.3"], 0)
    );
}

#[test]
fn a_moved_node_keeps_its_name() {
    let mut test = TestDeployment::healthy("{short}");
    test.servers.remove(C);
    let before = test.rounds(4);
    test.servers.insert(D, replica("z2", 'a', A).replace(":1000", ":1"));
    test.set_reports(&report(A, 1, &[up(B), up(D)]));
    let view = test.rounds(20);
    assert_eq!((data(&view), kinds(&view)), (vec!["redis-0", "redis-1", "redis-2"], vec![]));
    let (index, moved) = node(&view, "redis-2");
    assert_eq!(
        (index, &moved.node.labels, moved.process.restarts),
        (at(5), &before.nodes[at(5)].node.labels, 1)
    );
    assert_eq!(
        (&*moved.node.address, view.deployment.index(D), view.deployment.index(C)),
        (D, Some(at(5)), None)
    );
    assert_eq!(
        test.events,
        ["node_unreachable", "node_back", "restarted"].map(|kind| (kind, "redis-2".to_owned()))
    );
}

#[test]
fn two_addresses_of_one_run_id_are_one_node() {
    let run = |run_id: &str, address| SentinelEntry { run_id: run_id.into(), ..up(address) };
    let mut test = TestDeployment::new(PLAIN, |_| {});
    test.set_reports(&report(A, 1, &[run("y", B), run("y", "redis-1:6379"), run("z", C)]));
    let view = test.rounds(2);
    assert_eq!(
        (data(&view), view.deployment.index(B)),
        (vec!["redis-1:6379", A, C], view.deployment.index("redis-1:6379"))
    );
    // A member is listed at another address later.
    test.set_reports(&report(
        A,
        1,
        &[run("y", B), run("y", "redis-1:6379"), run("z", C), run("z", D)],
    ));
    let view = test.rounds(2);
    assert_eq!(
        (data(&view), view.deployment.index(D)),
        (vec!["redis-1:6379", A, C], Some(node(&view, C).0))
    );
    assert_eq!(test.events_of("node_discovered"), [""; 0]);
    // The address to connect to may come from the address map.
    let map = [(C.to_owned(), "127.0.0.1:7003".to_owned())].into();
    let mut test = TestDeployment::new(PLAIN, |deployment| {
        deployment.discovery.as_mut().expect("discovery").address_map = map;
    });
    test.servers.extend([("127.0.0.1:7003", replica("z", 'a', A)), (C, master_of("another", 'e'))]);
    test.set_reports(&master_report(A, 1));
    let view = test.rounds(3);
    assert_eq!(
        (data(&view), &*node(&view, C).1.node.address, kinds(&view)),
        (vec![A, B, C], "127.0.0.1:7003", vec![])
    );
}

#[test]
fn saved_state_is_restored_on_discovery() {
    let saved = TestDeployment::healthy(PLAIN).tracker.saved_state();
    let mut test = TestDeployment::new(PLAIN, |_| {});
    test.tracker =
        RecordedTracker::new(test.tracker.view().deployment.clone(), Some((saved, SECOND * 5)));
    test.rounds(3);
    // In the meantime B took over, and A returned as its replica.
    test.servers
        .extend([(A, replica("x2", 'b', B).replace(":1000", ":1")), (B, promoted("y", 'a', 'b'))]);
    test.set_reports(&master_report(B, 2));
    test.rounds(5);
    assert_eq!(test.events_of("restarted"), [A]);
    assert!(test.events_of("primary_changed")[0].starts_with(&format!("{A} to {B}, ")));
    assert_eq!(
        test.tracker.saved_state().nodes[A].replication_ids,
        ["a".repeat(40), "b".repeat(40)]
    );
}

#[test]
fn the_address_map_applies_to_the_primary() {
    let map = [(A.to_owned(), "127.0.0.1:7001".to_owned())].into();
    let mut test = TestDeployment::new(PLAIN, |deployment| {
        deployment.discovery.as_mut().expect("discovery").address_map = map;
    });
    let info = test.servers.remove(A).expect("a server");
    test.servers.insert("127.0.0.1:7001", info);
    test.set_reports(&master_report(A, 1));
    let view = test.rounds(70);
    assert_eq!((primary(&view), kinds(&view)), (Some((A, PrimaryEvidence::Sentinel)), vec![]));
}

#[test]
fn the_old_address_of_a_moved_node_is_no_new_node() {
    for (old, new, down_for) in [(C, D, 30), (D, C, 30), (C, D, 700)] {
        let mut test = TestDeployment::new("{short}", |_| {});
        let info = test.servers.remove(C).expect("a server");
        test.servers.insert(old, info);
        test.set_reports(&report(A, 1, &[up(B), up(old)]));
        test.rounds(3);
        test.servers.remove(old);
        test.rounds(4);
        test.servers.insert(new, replica("z2", 'a', A).replace(":1000", ":1"));
        test.set_reports(&report(A, 1, &[up(B), down(old, down_for), up(new)]));
        let view = test.rounds(20);
        assert_eq!(
            (data(&view), &*node(&view, "redis-2").1.node.address),
            (vec!["redis-0", "redis-1", "redis-2"], new)
        );
        assert_eq!(
            (severity_of(&view, RedisDown), test.events_of("node_back")),
            (None, vec!["redis-2"])
        );
    }
}

#[test]
fn a_node_does_not_replace_a_sentinel_of_its_name() {
    let mut test = TestDeployment::new("s{port}", |_| {});
    test.set_reports(&report("10.0.0.9:1", 1, &[]));
    test.sentinels[0] = None;
    let view = test.rounds(2);
    assert_eq!((data(&view), view.deployment.sentinels().count()), (vec!["10.0.0.9:1"], 3));
}

#[test]
fn a_sentinel_without_the_master_removes_no_replica() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.remove(A);
    test.set_reports(&changed(report(A, 1, &[]), |report| {
        report.master.down_state = DownState::ObjectivelyDown;
    }));
    assert_eq!(data(&test.rounds(60)), [A, B, C]);
}

#[test]
fn an_unlisted_master_of_another_history_is_unrelated() {
    let mut test = TestDeployment::healthy(PLAIN);
    test.servers.insert(D, master_of("w", 'd'));
    test.set_reports(&report(D, 5, &[]));
    let view = test.rounds(60);
    assert_eq!((data(&view), severity_of(&view, FindingKind::RedisSplitBrain)), (vec![A, D], None));
    assert!(
        severity_of(&view, FindingKind::RolecallUnrelatedMasters).is_some()
            && severity_of(&view, FindingKind::RedisReplicasMissing).is_none()
    );
}

#[test]
fn saved_state_is_kept_until_discovery() {
    let saved = TestDeployment::healthy(PLAIN).tracker.saved_state();
    let mut test = TestDeployment::new(PLAIN, |_| {});
    test.tracker =
        RecordedTracker::new(test.tracker.view().deployment.clone(), Some((saved.clone(), SECOND)));
    test.rounds(3);
    let again = test.tracker.saved_state();
    let silent = |name: &str| SavedNode { silence: 4, ..saved.nodes[name].clone() };
    assert_eq!(
        (&again.primary, &again.nodes[A], &again.nodes[B]),
        (&saved.primary, &silent(A), &silent(B))
    );
    // The saved epoch shows that Sentinels did the failover in between.
    test.set_reports(&master_report(B, 2));
    test.servers.extend([
        (A, replica("x", 'b', B)),
        (B, promoted("y", 'a', 'b')),
        (C, replica("z", 'b', B)),
    ]);
    test.rounds(6);
    assert_eq!(test.events_of("primary_changed"), [format!("{A} to {B}, sentinel")]);
}

#[test]
fn nodes_beyond_the_limit_of_the_group_are_left_out() {
    let mut test = TestDeployment::new(PLAIN, |_| {});
    test.set_reports(&master_report(A, 1));
    for (left, members, excess) in [
        (0, vec![A], 2),
        (0, vec![A], 2),
        (1, vec![A, B], 1),
        (0, vec![A, B], 1),
        (5, vec![A, B, C], 0),
    ] {
        test.nodes_left = Some(left);
        let view = test.rounds(1);
        assert_eq!(
            (data(&view), view.excess.get(LimitKind::GroupNodes)),
            (members, excess),
            "{left}"
        );
        assert_eq!(view.excess.get(LimitKind::Nodes), 0);
    }
    // Members stay, also those of a group that has too many.
    test.nodes_left = Some(0);
    let view = test.rounds(30);
    assert_eq!((data(&view), view.excess.is_empty()), (vec![A, B, C], true));
}
