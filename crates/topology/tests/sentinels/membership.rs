//! Who belongs to a deployment whose nodes Sentinels name.

use std::sync::Arc;

use snapshot::{DownState, SentinelEntry};
use topology::FindingKind::{RedisDown, RedisSentinelDown, RedisSentinelGhosts as Ghosts};
use topology::Severity::Warning;
use topology::{FindingKind, Lag, PrimaryEvidence};
use topology::{NodeState, ProcessView, ReadRequest};

use crate::scene::*;

#[test]
fn a_node_that_nobody_lists_is_forgotten_once() {
    let mut scene = Scene::healthy(PLAIN);
    scene.sentinels = [const { None }; 3];
    assert_eq!(data(&scene.rounds(30)), [A, B, C], "who is silent forgets nobody");
    for replicas in [&[up(B)][..], &[up(B), up(C)], &[up(B)]] {
        scene.all(&report(A, 1, replicas));
        assert_eq!(data(&scene.rounds(10)), [A, B, C], "it was listed again meanwhile");
    }
    assert_eq!((data(&scene.rounds(1)), data(&scene.rounds(20))), (vec![A, B], vec![A, B]));
    assert_eq!((scene.happened("node_gone"), scene.happened("node_discovered")), (vec![C], vec![]));
    // A master stays for as long as it answers.
    let mut scene = Scene::healthy(PLAIN);
    scene.servers.insert(C, promoted("z", 'a', 'c'));
    scene.all(&report(A, 1, &[up(B)]));
    let view = scene.rounds(30);
    assert_eq!((data(&view), view.shards[0].split_brain.masters.len()), (vec![A, B, C], 2));
    scene.servers.remove(C);
    assert_eq!((data(&scene.rounds(1)), scene.happened("node_gone")), (vec![A, B], vec![C]));
}

#[test]
fn a_freed_place_passes_nothing_on() {
    let mut scene = Scene::healthy(PLAIN);
    scene.servers.insert(A, master_of("x", 'a') + "master_repl_offset:500\n");
    scene.servers.insert(
        C,
        replica("z2", 'a', A).replace(":1000", ":1")
            + "master_repl_offset:100\ntotal_error_replies:9\n",
    );
    let view = scene.rounds(1);
    let (index, c) = node(&view, C);
    assert_eq!(
        (c.process.restarts, c.lag.bytes, c.counters.error_replies()),
        (1, Some(400), Some(9))
    );
    scene.all(&report(A, 1, &[up(B)]));
    scene.rounds(11);
    scene.all(&report(A, 1, &[up(B), up(D)]));
    let view = scene.rounds(1);
    let (taken, d) = node(&view, D);
    assert_eq!(
        (taken, d.presence, d.process, d.lag),
        (index, NodeState::Pending, ProcessView::default(), Lag::default())
    );
    scene.servers.insert(D, replica("w", 'd', A) + "total_error_replies:70\n");
    let view = scene.rounds(1);
    let (_, d) = node(&view, D);
    assert_eq!(
        (d.process, d.counters.error_replies(), d.lag),
        (ProcessView::default(), Some(0), Lag::default())
    );
    let kept = scene.fold.remembered().nodes;
    assert_eq!((&kept[D].replication_ids, kept.get(C)), (&vec!["d".repeat(40)], None));
}

#[test]
fn a_freed_place_is_not_the_primary() {
    let mut scene = Scene::healthy(PLAIN);
    scene.servers.remove(A);
    scene.all(&report(B, 2, &[up(C)]));
    assert_eq!(scene.rounds(10).shards[0].last_primary, Some(3));
    let view = scene.rounds(2);
    assert_eq!((view.shards[0].last_primary, found(&view, RedisDown)), (None, None));
    scene.all(&report(B, 2, &[up(C), up(D)]));
    scene.servers.insert(D, replica("w", 'a', B));
    let view = scene.rounds(2);
    assert_eq!((node(&view, D).0, view.shards[0].last_primary, primary(&view)), (3, None, None));
    scene.servers.insert(B, promoted("y", 'a', 'b'));
    assert_eq!(
        (primary(&scene.rounds(5)), scene.happened("primary_changed")),
        (Some((B, PrimaryEvidence::Sentinel)), vec![])
    );
}

#[test]
fn a_ghost_is_no_member_until_it_returns() {
    let mut scene = Scene::healthy(PLAIN);
    scene.servers.remove(C);
    scene.all(&report(A, 1, &[up(B), down(C, 600)]));
    let view = scene.rounds(3);
    assert_eq!((data(&view), found(&view, Ghosts)), (vec![A, B, C], None));
    scene.all(&report(A, 1, &[up(B), down(C, 601)]));
    let view = scene.rounds(20);
    assert_eq!(
        (data(&view), scene.happened("node_gone"), found(&view, RedisDown)),
        (vec![A, B], vec![C], None)
    );
    assert_eq!(
        (found(&view, Ghosts), evidence(&view, Ghosts, ["replicas", "sentinels"])),
        (Some(Warning), [C, ""].map(Into::into))
    );
    scene.servers.insert(C, replica("z2", 'a', A));
    scene.all(&report(A, 1, &[up(B), up(C)]));
    let view = scene.rounds(2);
    assert_eq!(
        (data(&view), kinds(&view), scene.happened("node_discovered")),
        (vec![A, B, C], vec![], vec![C])
    );
    // One at first sight never was a member.
    let mut scene = Scene::new(PLAIN, |_| {});
    scene.all(&report(A, 1, &[up(B), down(C, 700)]));
    let view = scene.rounds(5);
    assert_eq!(
        (data(&view), scene.events.len(), kinds(&view)),
        (vec![A, B], 0, vec![(Ghosts, Warning)])
    );
}

#[test]
fn one_doubt_keeps_a_ghost() {
    let cut_off = but(report(A, 1, &[down(B, 700), down(C, 700)]), |report| {
        report.master.down_state = DownState::SubjectivelyDown;
    });
    for doubt in [names(A, 1), report(A, 1, &[down(C, 20)]), cut_off] {
        let mut scene = Scene::healthy(PLAIN);
        scene.all(&report(A, 1, &[up(B), down(C, 700)]));
        assert_eq!(
            (data(&scene.rounds(20)), scene.events.len()),
            (vec![A, B, C], 0),
            "it answers us"
        );
        scene.servers.remove(C);
        scene.sentinels[2] = Some(doubt);
        let view = scene.rounds(20);
        assert_eq!((data(&view), found(&view, Ghosts)), (vec![A, B, C], None));
    }
}

#[test]
fn a_configured_sentinel_is_down_and_no_ghost() {
    let mut scene = Scene::new(PLAIN, |deployment| deployment.show_sentinel(2, false));
    let others = Arc::new([
        down("10.0.1.2:26379", 700),
        down("10.0.1.3:26379", 700),
        down("10.0.1.9:26379", 700),
        up("10.0.1.8:26379"),
    ]);
    scene.all(&but(names(A, 1), |report| report.sentinels = Some(others)));
    scene.rounds(2);
    scene.sentinels[2] = None;
    let view = scene.rounds(5);
    assert_eq!((view.nodes[2].up(), scene.events.len()), (Some(false), 0), "it is shown elsewhere");
    assert_eq!(kinds(&view), [(Ghosts, Warning)]);
    assert_eq!(evidence(&view, Ghosts, ["replicas", "sentinels"]), ["", "10.0.1.9:26379"]);
    scene.sentinels[1] = None;
    let view = scene.rounds(5);
    assert_eq!(
        (kinds(&view), scene.happened("node_unreachable")),
        (vec![(RedisSentinelDown, Warning), (Ghosts, Warning)], vec!["s2"])
    );
}

#[test]
fn host_names_are_asked_for() {
    let mut scene = Scene::new("{short}", |_| {});
    scene.names = [("10.0.0.4".to_owned(), Some("redis-2.other".to_owned()))].into();
    scene.all(&report(A, 1, &[up("redis-2.svc:6379"), up(C), up(D)]));
    assert_eq!(data(&scene.rounds(1)), ["redis-2", D], "two of one name are told apart");
    assert_eq!(
        scene.wanted,
        ["10.0.0.1", "10.0.0.3"].map(|address| ReadRequest::HostName(address.to_owned()))
    );
    scene.names.extend([
        ("10.0.0.1".to_owned(), Some("redis-0.svc".to_owned())),
        ("10.0.0.3".to_owned(), None),
    ]);
    assert_eq!(
        (data(&scene.rounds(1)), scene.wanted.len()),
        (vec!["redis-2", D, "redis-0", "10.0.0.3"], 0)
    );
}

#[test]
fn a_node_that_moved_keeps_its_name() {
    let mut scene = Scene::healthy("{short}");
    scene.servers.remove(C);
    let before = scene.rounds(4);
    scene.servers.insert(D, replica("z2", 'a', A).replace(":1000", ":1"));
    scene.all(&report(A, 1, &[up(B), up(D)]));
    let view = scene.rounds(20);
    assert_eq!((data(&view), kinds(&view)), (vec!["redis-0", "redis-1", "redis-2"], vec![]));
    let (index, moved) = node(&view, "redis-2");
    assert_eq!(
        (index, &moved.node.labels, moved.process.restarts),
        (5, &before.nodes[5].node.labels, 1)
    );
    assert_eq!(
        (&*moved.node.address, view.deployment.index(D), view.deployment.index(C)),
        (D, Some(5), None)
    );
    assert_eq!(
        scene.events,
        ["node_unreachable", "node_back", "restarted"].map(|kind| (kind, "redis-2".to_owned()))
    );
}

#[test]
fn one_process_at_two_addresses_is_one_node() {
    let run = |run_id: &str, address| SentinelEntry { run_id: run_id.into(), ..up(address) };
    let mut scene = Scene::new(PLAIN, |_| {});
    scene.all(&report(A, 1, &[run("y", B), run("y", "redis-1:6379"), run("z", C)]));
    let view = scene.rounds(2);
    assert_eq!(
        (data(&view), view.deployment.index(B)),
        (vec!["redis-1:6379", A, C], view.deployment.index("redis-1:6379"))
    );
    // One that is known is found at another address later.
    scene.all(&report(A, 1, &[run("y", B), run("y", "redis-1:6379"), run("z", C), run("z", D)]));
    let view = scene.rounds(2);
    assert_eq!(
        (data(&view), view.deployment.index(D)),
        (vec!["redis-1:6379", A, C], Some(node(&view, C).0))
    );
    assert_eq!(scene.happened("node_discovered"), [""; 0]);
    // The one where it is reached may be of our own making.
    let map = [(C.to_owned(), "127.0.0.1:7003".to_owned())].into();
    let mut scene = Scene::new(PLAIN, |deployment| {
        deployment.discovery.as_mut().expect("discovery").address_map = map;
    });
    scene
        .servers
        .extend([("127.0.0.1:7003", replica("z", 'a', A)), (C, master_of("another", 'e'))]);
    scene.all(&names(A, 1));
    let view = scene.rounds(3);
    assert_eq!(
        (data(&view), &*node(&view, C).1.node.address, kinds(&view)),
        (vec![A, B, C], "127.0.0.1:7003", vec![])
    );
}

#[test]
fn what_was_kept_reaches_nodes_that_are_found_later() {
    let kept = Scene::healthy(PLAIN).fold.remembered();
    let mut scene = Scene::new(PLAIN, |_| {});
    scene.fold.remember(kept, SECOND * 5);
    scene.rounds(3);
    // Meanwhile B took over, and A came back as its replica.
    scene
        .servers
        .extend([(A, replica("x2", 'b', B).replace(":1000", ":1")), (B, promoted("y", 'a', 'b'))]);
    scene.all(&names(B, 2));
    scene.rounds(5);
    assert_eq!(scene.happened("restarted"), [A]);
    assert!(scene.happened("primary_changed")[0].starts_with(&format!("{A} to {B}, ")));
    assert_eq!(scene.fold.remembered().nodes[A].replication_ids, ["a".repeat(40), "b".repeat(40)]);
}

#[test]
fn a_primary_behind_a_map_is_where_sentinels_say() {
    let map = [(A.to_owned(), "127.0.0.1:7001".to_owned())].into();
    let mut scene = Scene::new(PLAIN, |deployment| {
        deployment.discovery.as_mut().expect("discovery").address_map = map;
    });
    let info = scene.servers.remove(A).expect("a server");
    scene.servers.insert("127.0.0.1:7001", info);
    scene.all(&names(A, 1));
    let view = scene.rounds(70);
    assert_eq!((primary(&view), kinds(&view)), (Some((A, PrimaryEvidence::Sentinel)), vec![]));
}

#[test]
fn a_node_that_moved_stays_there_while_its_old_address_is_listed() {
    for (old, new, down_for) in [(C, D, 30), (D, C, 30), (C, D, 700)] {
        let mut scene = Scene::new("{short}", |_| {});
        let info = scene.servers.remove(C).expect("a server");
        scene.servers.insert(old, info);
        scene.all(&report(A, 1, &[up(B), up(old)]));
        scene.rounds(3);
        scene.servers.remove(old);
        scene.rounds(4);
        scene.servers.insert(new, replica("z2", 'a', A).replace(":1000", ":1"));
        scene.all(&report(A, 1, &[up(B), down(old, down_for), up(new)]));
        let view = scene.rounds(20);
        assert_eq!(
            (data(&view), &*node(&view, "redis-2").1.node.address),
            (vec!["redis-0", "redis-1", "redis-2"], new)
        );
        assert_eq!((found(&view, RedisDown), scene.happened("node_back")), (None, vec!["redis-2"]));
    }
}

#[test]
fn a_node_does_not_take_the_place_of_a_sentinel_of_its_name() {
    let mut scene = Scene::new("s{port}", |_| {});
    scene.all(&report("10.0.0.9:1", 1, &[]));
    scene.sentinels[0] = None;
    let view = scene.rounds(2);
    assert_eq!((data(&view), view.deployment.sentinels().count()), (vec!["10.0.0.9:1"], 3));
}

#[test]
fn a_sentinel_that_cannot_see_the_master_makes_nobody_forget_its_replicas() {
    let mut scene = Scene::healthy(PLAIN);
    scene.servers.remove(A);
    scene.all(&but(report(A, 1, &[]), |report| {
        report.master.down_state = DownState::ObjectivelyDown;
    }));
    assert_eq!(data(&scene.rounds(60)), [A, B, C]);
}

#[test]
fn a_master_that_nobody_lists_is_none_of_the_data_set_without_a_history_of_it() {
    let mut scene = Scene::healthy(PLAIN);
    scene.servers.insert(D, master_of("w", 'd'));
    scene.all(&report(D, 5, &[]));
    let view = scene.rounds(60);
    assert_eq!((data(&view), found(&view, FindingKind::RedisSplitBrain)), (vec![A, D], None));
    assert!(
        found(&view, FindingKind::RolecallUnrelatedMasters).is_some()
            && found(&view, FindingKind::RedisReplicasMissing).is_none()
    );
}

#[test]
fn what_was_kept_is_kept_until_its_nodes_are_found() {
    let kept = Scene::healthy(PLAIN).fold.remembered();
    let mut scene = Scene::new(PLAIN, |_| {});
    scene.fold.remember(kept.clone(), SECOND);
    scene.rounds(3);
    let again = scene.fold.remembered();
    assert_eq!(
        (&again.primary, &again.nodes[A], &again.nodes[B]),
        (&kept.primary, &kept.nodes[A], &kept.nodes[B])
    );
    // Epochs too: a failover meanwhile was one of the Sentinels.
    scene.all(&names(B, 2));
    scene.servers.extend([
        (A, replica("x", 'b', B)),
        (B, promoted("y", 'a', 'b')),
        (C, replica("z", 'b', B)),
    ]);
    scene.rounds(6);
    assert_eq!(scene.happened("primary_changed"), [format!("{A} to {B}, sentinel")]);
}
