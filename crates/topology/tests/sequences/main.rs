//! What real servers go through, round by round, and what must not be made of it.

mod scene;

use std::time::SystemTime;

use snapshot::Reason;
use topology::{
    DeploymentView, EventKind, Expectations, FindingKind, PollOutcome, PrimaryEvidence, Severity,
};

use scene::{SECOND, Says, Scene, failed_over, found, master, primary, refused, replica, says};

#[test]
fn a_save_that_ends_during_a_split_brain_is_no_loss() {
    let old = Says { changes: 1000, ..master("x", 'a') };
    let (mut scene, promoted) = failed_over(&old);
    scene.round(vec![says(&old), promoted.clone()]);
    // The save began at 500, so it takes those away.
    let saved = Says { changes: 500, more: "rdb_last_save_time:9\n", ..old.clone() };
    let view = scene.round(vec![says(&saved), promoted.clone()]);
    assert_eq!(view.shards[0].lost_writes.total, 0);
    let view = scene.round(vec![says(&Says { changes: 507, ..saved }), promoted]);
    assert_eq!(view.shards[0].lost_writes.total, 7);
    assert_eq!(found(&view, FindingKind::RedisWritesLost), Some(Severity::Critical));
}

#[test]
fn a_stale_master_that_is_primary_again_is_not_told_as_its_own_successor() {
    let old = master("x", 'a');
    let (mut scene, promoted) = failed_over(&old);
    scene.round(vec![says(&old), promoted.clone()]);
    let lost = |view: &DeploymentView| {
        let finding = view
            .findings
            .iter()
            .find(|finding| finding.kind == FindingKind::RedisWritesLost)
            .expect("it");
        finding.evidence.values().iter().map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let view = scene.round(vec![says(&Says { changes: 7, ..old }), promoted]);
    assert_eq!(lost(&view), ["unreplicated_writes", "stale", "primary", "by"]);
    scene.rounds(2, &[says(&replica("x", 'b', 2)), says(&master("y", 'b'))]);
    let again = Says { continues: Some('b'), ..master("x", 'c') };
    let view = scene.rounds(2, &[says(&again), says(&replica("y", 'c', 1))]);
    assert_eq!(
        (primary(&view).map(|(name, _)| name), lost(&view)),
        (Some("n1"), vec!["unreplicated_writes", "stale"])
    );
}

#[test]
fn reading_an_append_only_file_is_no_writing() {
    let old = master("x", 'a');
    let (mut scene, promoted) = failed_over(&old);
    scene.round(vec![says(&old), promoted.clone()]);
    scene.round(vec![refused(), promoted.clone()]);
    let back = Says {
        run_id: "x2",
        uptime: 0,
        changes: 250_000,
        more: "aof_enabled:1\n",
        ..master("x2", 'c')
    };
    let view = scene.round(vec![says(&back), promoted.clone()]);
    assert_eq!(view.shards[0].lost_writes.total, 0);
    let view = scene.round(vec![says(&Says { changes: 250_003, ..back }), promoted]);
    assert_eq!(view.shards[0].lost_writes.total, 3);
}

#[test]
fn our_own_wrong_password_is_no_outage() {
    let mut scene = Scene::new(3);
    let healthy =
        [says(&master("x", 'a')), says(&replica("y", 'a', 1)), says(&replica("z", 'a', 1))];
    scene.rounds(3, &healthy);
    scene.rounds(5, &[refused(), refused(), refused()]);
    assert_eq!(scene.happened("primary_lost"), 1);
    // They are back, with another password.
    let view = scene.rounds(
        10,
        &[
            PollOutcome::Failed(Reason::Auth),
            PollOutcome::Failed(Reason::Auth),
            PollOutcome::Failed(Reason::Auth),
        ],
    );
    let kinds: Vec<_> =
        view.findings.iter().map(|finding| (finding.kind, finding.severity)).collect();
    assert_eq!(kinds, [(FindingKind::RolecallCannotRead, Severity::Warning); 3]);
    assert_eq!(scene.happened("primary_regained"), 1);
    // Only the primary has another password.
    let view = scene
        .rounds(10, &[PollOutcome::Failed(Reason::Auth), healthy[1].clone(), healthy[2].clone()]);
    let kinds: Vec<_> = view.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::RolecallCannotRead]);
}

#[test]
fn a_primary_that_was_replaced_may_come_back_empty() {
    let keys = "# Keyspace\ndb0:keys=300,expires=0,avg_ttl=0\n";
    let mut scene = Scene::new(2);
    scene.rounds(
        2,
        &[
            says(&Says { more: keys, ..master("x", 'a') }),
            says(&Says { more: keys, ..replica("y", 'a', 1) }),
        ],
    );
    let promoted = Says { continues: Some('a'), more: keys, ..master("y", 'b') };
    let view = scene.round(vec![says(&Says { uptime: 0, ..master("x2", 'c') }), says(&promoted)]);
    assert_eq!(
        (primary(&view), view.shards[0].emptied.total),
        (Some(("n2", PrimaryEvidence::Lineage)), 0)
    );
}

#[test]
fn keys_that_expired_meanwhile_are_not_lost() {
    let mut scene = Scene::new(1);
    scene.round(vec![says(&Says {
        more: "# Keyspace\ndb0:keys=3,expires=3,avg_ttl=9\n",
        ..master("x", 'a')
    })]);
    let view = scene.round(vec![says(&Says { uptime: 0, ..master("x2", 'b') })]);
    assert_eq!(view.shards[0].emptied.total, 0);
}

#[test]
fn a_busy_primary_that_came_back_empty_is_seen() {
    let mut scene = Scene::new(1);
    scene.round(vec![says(&Says {
        more: "# Keyspace\ndb0:keys=1000000,expires=0,avg_ttl=0\n",
        ..master("x", 'a')
    })]);
    let more =
        "aof_enabled:0\nrdb_last_load_keys_loaded:0\n# Keyspace\ndb0:keys=12,expires=0,avg_ttl=0\n";
    let view = scene.round(vec![says(&Says { uptime: 0, changes: 12, more, ..master("x2", 'b') })]);
    assert_eq!((view.shards[0].emptied.total, view.shards[0].emptied.keys), (1, 1_000_000));
    assert_eq!(found(&view, FindingKind::RedisPrimaryRestartedEmpty), Some(Severity::Critical));
}

#[test]
fn a_hot_primary_of_an_old_version_that_read_its_dump_is_not_empty() {
    let keys = "aof_enabled:0\n# Keyspace\ndb0:keys=50,expires=0,avg_ttl=0\n";
    let mut scene = Scene::new(1);
    scene.round(vec![says(&Says { more: keys, ..master("x", 'a') })]);
    // Servers before 7.0 do not tell how many keys they read.
    let view =
        scene.round(vec![says(&Says { uptime: 0, changes: 900, more: keys, ..master("x2", 'b') })]);
    assert_eq!(view.shards[0].emptied.total, 0);
    // One that came back without is seen all the same.
    let few = "aof_enabled:0\n# Keyspace\ndb0:keys=20,expires=0,avg_ttl=0\n";
    let view =
        scene.round(vec![says(&Says { uptime: 0, changes: 90, more: few, ..master("x3", 'c') })]);
    assert_eq!((view.shards[0].emptied.total, view.shards[0].emptied.keys), (1, 50));
}

#[test]
fn a_queue_that_was_read_and_used_up_is_not_lost() {
    let mut scene = Scene::new(1);
    scene.round(vec![says(&Says {
        more: "# Keyspace\ndb0:keys=3,expires=0,avg_ttl=0\n",
        ..master("x", 'a')
    })]);
    let view = scene.round(vec![says(&Says {
        uptime: 0,
        changes: 3,
        more: "rdb_last_load_keys_loaded:3\n",
        ..master("x2", 'b')
    })]);
    assert_eq!(view.shards[0].emptied.total, 0);
}

#[test]
fn one_process_behind_two_addresses_is_one_master() {
    let mut scene = Scene::new(3);
    let served = Says { changes: 100, ..master("x", 'a') };
    scene.rounds(5, &[says(&served), says(&replica("y", 'a', 1)), says(&replica("z", 'a', 1))]);
    // The name of n2 leads to n1 for a while, under writes.
    for changes in 101..120 {
        let busy = says(&Says { changes, ..served.clone() });
        let view = scene.round(vec![busy.clone(), busy, says(&replica("z", 'a', 2))]);
        assert_eq!(primary(&view).map(|(name, _)| name), Some("n1"));
        assert_eq!(
            (&view.shards[0].stale[..], view.shards[0].lost_writes.total, view.nodes[2].orphan),
            (&[][..], 0, None)
        );
        assert!(
            !view.findings.iter().any(|finding| finding.severity == Severity::Critical),
            "{:?}",
            view.findings
        );
    }
    assert_eq!(scene.happened("split_brain_began") + scene.happened("primary_changed"), 0);
    // Where both are and the second one was the primary, that stays so.
    let mut scene = Scene::new(2);
    scene.rounds(2, &[says(&replica("y", 'a', 2)), says(&served)]);
    let view = scene.rounds(3, &[says(&served), says(&served)]);
    assert_eq!(primary(&view).map(|(name, _)| name), Some("n2"));
}

#[test]
fn a_role_that_is_not_understood_may_be_that_of_the_primary() {
    let mut scene = Scene::new(2);
    let strange = says(&Says { more: "role:active-replica\n", ..master("x", 'a') });
    let view = scene.rounds(20, &[strange, says(&replica("y", 'a', 1))]);
    assert_eq!(
        (found(&view, FindingKind::RedisNoPrimary), scene.happened("primary_lost")),
        (None, 0)
    );
}

#[test]
fn replicas_of_a_primary_that_loads_its_data_wait_for_it() {
    let mut scene = Scene::new(2);
    let lost = "role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\nmaster_link_down_since_seconds:300\n";
    scene.rounds(2, &[says(&master("x", 'a')), says(&replica("y", 'a', 1))]);
    let waiting = says(&Says { more: lost, ..replica("y", 'a', 1) });
    let loading = "loading:1\nloading_eta_seconds:300\nmin_slaves_good_slaves:0\n";
    let view = scene.rounds(
        90,
        &[says(&Says { uptime: 0, more: loading, ..master("x2", 'b') }), waiting.clone()],
    );
    assert_eq!(found(&view, FindingKind::RedisReplicaLinkDown), Some(Severity::Warning));
    assert_eq!(found(&view, FindingKind::RedisNotEnoughReplicas), None);
    let view = scene.rounds(2, &[says(&Says { uptime: 90, ..master("x2", 'b') }), waiting]);
    assert_eq!(found(&view, FindingKind::RedisReplicaLinkDown), Some(Severity::Critical));
}

#[test]
fn a_replica_that_loads_its_data_is_not_turned_away() {
    let mut scene = Scene::new(2);
    let link = "role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\n";
    let mut refused = 0;
    let mut rounds = |more: &'static str| {
        let told = (0..20).map(|_| {
            refused += 1;
            // Some client has an old password.
            let errors = format!("redis_version:7.0.15\n# Errorstats\nerrorstat_WRONGPASS:count={refused}\n# Server\n").leak();
            scene.round(vec![says(&Says { more: errors, ..master("x", 'a') }), says(&Says { more, ..replica("y", 'a', 1) })])
        });
        told.last().and_then(|view| found(&view, FindingKind::RedisReplicationAuthFailing))
    };
    assert_eq!(rounds(format!("loading:1\n{link}").leak()), None);
    assert_eq!(rounds(link), Some(Severity::Critical));
}

#[test]
fn a_chain_is_not_broken_by_a_synchronisation() {
    let mut scene = Scene::new(3);
    let leaf = says(&replica("z", 'a', 2));
    scene.rounds(2, &[says(&master("x", 'a')), says(&replica("y", 'a', 1)), leaf.clone()]);
    let above = |link: &'static str| says(&Says { more: link, ..replica("y", 'a', 1) });
    let syncing = above(
        "role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\nmaster_sync_in_progress:1\n",
    );
    let view = scene.rounds(20, &[says(&master("x", 'a')), syncing, leaf.clone()]);
    assert_eq!(view.nodes[2].orphan, None);
    let down = above("role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\n");
    let view = scene.rounds(20, &[says(&master("x", 'a')), down, leaf]);
    assert_eq!(view.nodes[2].orphan, Some(topology::OrphanReason::BrokenChain));
}

#[test]
fn an_expectation_knows_no_failover() {
    let mut scene =
        Scene::of(2, |deployment| deployment.add("n1", "h:1", Some(snapshot::Role::Master)));
    scene.rounds(2, &[says(&master("x", 'a')), says(&replica("y", 'a', 1))]);
    let promoted = says(&Says { continues: Some('a'), ..master("y", 'b') });
    scene.rounds(4, &[refused(), promoted.clone()]);
    // It comes back with a dump of the common history, which it continues as well.
    let back = says(&Says { uptime: 1, continues: Some('a'), ..master("x2", 'c') });
    let view = scene.rounds(3, &[back, promoted]);
    assert_eq!(primary(&view), Some(("n2", PrimaryEvidence::Previous)));
    assert_eq!(view.shards[0].stale, [0]);
}

#[test]
fn the_order_of_histories_outlives_a_restart_of_the_exporter() {
    let (mut scene, promoted) = failed_over(&master("x", 'a'));
    scene.rounds(2, &[says(&replica("x", 'b', 2)), promoted]);
    let kept = scene.fold.remembered();
    assert_eq!(kept.primary.as_deref(), Some("n2"));
    let mut scene = Scene::new(2);
    scene.fold.remember(kept, SECOND);
    // Meanwhile n1 took over again.
    let view = scene.rounds(
        5,
        &[
            says(&Says { continues: Some('b'), ..master("x", 'c') }),
            says(&Says { continues: Some('a'), ..master("y", 'b') }),
        ],
    );
    assert_eq!(primary(&view), Some(("n1", PrimaryEvidence::Lineage)));
    assert_eq!(scene.happened("primary_changed") + scene.happened("split_brain_began"), 2);
}

#[test]
fn a_promoted_node_lags_only_behind_writes() {
    let lags = |changes: u64| {
        let mut scene = Scene::new(2);
        for (offset, changes) in [(100, 7), (200, 7), (300, changes)] {
            scene.round(vec![
                says(&Says { offset, changes, ..master("x", 'a') }),
                says(&Says { offset, ..replica("y", 'a', 1) }),
            ]);
        }
        let promoted = Says {
            continues: Some('a'),
            more: "second_repl_offset:251",
            offset: 260,
            ..master("y", 'b')
        };
        scene.round(vec![refused(), says(&promoted)]);
        scene.events.iter().find_map(|event| {
            if let EventKind::LaggingPromotion { bytes } = event { Some(*bytes) } else { None }
        })
    };
    assert_eq!(lags(8), Some(50));
    assert_eq!(lags(7), None, "greetings of Sentinels are part of the stream");
    assert_eq!(lags(0), Some(50), "a save may have taken them out of the count");
}

#[test]
fn two_replies_are_not_of_one_moment() {
    let mut scene = Scene::new(2);
    scene.rounds(2, &[says(&master("x", 'a')), says(&replica("y", 'a', 1))]);
    // An operator swaps the roles: one was read after that, the other before.
    let view = scene.round(vec![says(&replica("x", 'a', 2)), says(&replica("y", 'a', 1))]);
    assert_eq!(view.findings, []);
    let view = scene.rounds(
        2,
        &[says(&replica("x", 'b', 2)), says(&Says { continues: Some('a'), ..master("y", 'b') })],
    );
    assert_eq!((view.findings.len(), scene.happened("primary_lost")), (0, 0));
    // One that stays is one.
    let view = scene.rounds(2, &[says(&replica("x", 'b', 2)), says(&replica("y", 'b', 1))]);
    assert_eq!(found(&view, FindingKind::RedisReplicationLoop), Some(Severity::Critical));
    assert_eq!(view.shards[0].no_primary.total, SECOND * 2, "the first round of it counts too");
    let view = scene.rounds(2, &[says(&master("x", 'b')), says(&replica("y", 'b', 1))]);
    assert_eq!(view.findings, [], "nobody misses the replica that the primary was meanwhile");
}

#[test]
fn a_stranger_is_not_primary_for_want_of_another() {
    let mut scene = Scene::new(3);
    let joining = says(&master("z", 'e'));
    scene.rounds(5, &[says(&master("x", 'a')), says(&replica("y", 'a', 1)), joining.clone()]);
    let view = scene.rounds(6, &[refused(), says(&replica("y", 'a', 1)), joining.clone()]);
    assert_eq!((primary(&view), view.shards[0].unrelated.as_slice()), (None, [2].as_slice()));
    assert_eq!(found(&view, FindingKind::RedisNoPrimary), Some(Severity::Critical));
    assert_eq!(found(&view, FindingKind::RedisDown), Some(Severity::Critical));
    let view =
        scene.rounds(2, &[says(&master("x", 'a')), says(&replica("y", 'a', 1)), joining.clone()]);
    assert_eq!(
        (primary(&view).map(|(name, _)| name), scene.happened("primary_changed")),
        (Some("n1"), 0)
    );
    // But where the replicas go over to it, it is.
    let view = scene.rounds(4, &[refused(), says(&replica("y", 'e', 3)), joining]);
    assert_eq!(primary(&view), Some(("n3", PrimaryEvidence::Sole)));
}

#[test]
fn one_replica_that_cannot_be_read_hides_no_dead_primary() {
    let mut scene = Scene::new(3);
    scene.rounds(
        2,
        &[says(&master("x", 'a')), says(&replica("y", 'a', 1)), says(&replica("z", 'a', 1))],
    );
    let view = scene
        .rounds(8, &[refused(), says(&replica("y", 'a', 1)), PollOutcome::Failed(Reason::Noperm)]);
    assert_eq!(found(&view, FindingKind::RedisNoPrimary), Some(Severity::Critical));
    assert_eq!(
        found(&view, FindingKind::RedisReplicasMissing),
        None,
        "the other one may well be there"
    );
}

#[test]
fn a_split_brain_begins_with_answers() {
    let (mut scene, promoted) = failed_over(&master("x", 'a'));
    // The old primary hangs: it may have been demoted.
    scene.rounds(3, &[PollOutcome::Missed(Reason::Timeout), promoted.clone()]);
    assert_eq!(scene.happened("split_brain_began"), 0);
    let view = scene.rounds(2, &[says(&master("x", 'a')), promoted]);
    assert_eq!(
        (scene.happened("split_brain_began"), view.shards[0].split_brain.masters.len()),
        (1, 2)
    );
}

#[test]
fn a_failover_of_two_misses_no_replica() {
    let (mut scene, promoted) = failed_over(&master("x", 'a'));
    let view = scene.rounds(5, &[says(&master("x", 'a')), promoted]);
    let kinds: Vec<_> =
        view.findings.iter().map(|finding| (finding.kind, finding.severity)).collect();
    assert_eq!(kinds, [(FindingKind::RedisSplitBrain, Severity::Info)]);
}

#[test]
fn a_split_brain_that_was_there_first_may_be_old() {
    let mut scene = Scene::new(2);
    let view = scene.round(vec![
        says(&master("x", 'a')),
        says(&Says { continues: Some('a'), ..master("y", 'b') }),
    ]);
    assert_eq!(found(&view, FindingKind::RedisSplitBrain), Some(Severity::Warning));
}

#[test]
fn a_replica_that_reads_its_data_has_lost_no_link() {
    let mut scene = Scene::new(2);
    scene.rounds(2, &[says(&master("x", 'a')), says(&replica("y", 'a', 1))]);
    let mut restarted = |more: &'static str| {
        let view = scene.rounds(
            3,
            &[says(&master("x", 'a')), says(&Says { more, uptime: 1, ..replica("z", 'a', 1) })],
        );
        (found(&view, FindingKind::RedisLoading), found(&view, FindingKind::RedisReplicaLinkDown))
    };
    assert_eq!(
        restarted("loading:1\nmaster_link_status:down\nmaster_link_down_since_seconds:-1\n"),
        (Some(Severity::Info), None)
    );
    assert_eq!(
        restarted("master_link_status:down\nmaster_link_down_since_seconds:-1\n"),
        (None, Some(Severity::Critical)),
        "nor does it ask for one once it has"
    );
}

#[test]
fn a_stale_master_that_refuses_writes_harms_nobody() {
    let severity = |more| {
        let (mut scene, promoted) = failed_over(&master("x", 'a'));
        let view = scene.rounds(40, &[says(&Says { more, ..master("x", 'a') }), promoted]);
        (found(&view, FindingKind::RedisSplitBrain), view.writable_stale_masters(&view.shards[0]))
    };
    assert_eq!(severity(""), (Some(Severity::Critical), vec![0]));
    assert_eq!(
        severity("aof_enabled:1\naof_last_write_status:err"),
        (Some(Severity::Info), vec![])
    );
}

#[test]
fn a_script_that_blocks_the_primary_blocks_writes() {
    let mut scene = Scene::new(1);
    scene.round(vec![says(&master("x", 'a'))]);
    scene.rounds(4, &[PollOutcome::Missed(Reason::Timeout)]);
    let view = scene.rounds(20, &[PollOutcome::Missed(Reason::Busy)]);
    assert_eq!((view.nodes[0].up(), view.shards[0].writable), (Some(false), Some(false)));
    assert_eq!(found(&view, FindingKind::RedisWritesBlocked), Some(Severity::Critical));
    assert_eq!(
        (found(&view, FindingKind::RedisNoPrimary), found(&view, FindingKind::RedisDown)),
        (None, None),
        "it is there"
    );
    let view = scene.rounds(1, &[says(&master("x", 'a'))]);
    assert_eq!((view.findings.len(), view.shards[0].writable), (0, Some(true)));
}

#[test]
fn several_masters_may_be_meant() {
    let expect = Expectations {
        masters: Some(2),
        until: Some(SystemTime::UNIX_EPOCH + SECOND * 6),
        ..Expectations::default()
    };
    let mut scene = Scene::of(2, |deployment| deployment.expect = expect);
    let healthy = [says(&master("x", 'a')), says(&master("y", 'b'))];
    let view = scene.rounds(3, &healthy);
    assert_eq!(
        (view.findings.len(), view.shards[0].writable, view.shards[0].unrelated.len()),
        (0, Some(true), 0)
    );
    let view = scene.rounds(2, &[healthy[0].clone(), refused()]);
    assert_eq!(found(&view, FindingKind::RedisDown), Some(Severity::Critical));
    let view = scene.rounds(3, &healthy);
    assert_eq!(
        found(&view, FindingKind::RolecallUnrelatedMasters),
        Some(Severity::Warning),
        "the declaration has expired"
    );
}

#[test]
fn a_site_may_have_its_primary_elsewhere() {
    let expect = Expectations { external: true, ..Expectations::default() };
    let mut scene = Scene::of(2, |deployment| deployment.expect = expect);
    let view = scene.rounds(5, &[says(&replica("x", 'a', 99)), says(&replica("y", 'a', 99))]);
    assert_eq!((view.findings.len(), scene.events.len()), (0, 0));
}

#[test]
fn a_partial_synchronisation_with_another_master_is_no_full_one() {
    let mut scene = Scene::new(3);
    let x = says(&Says { more: "sync_full:2\nsync_partial_ok:1\n", ..master("x", 'a') });
    let y = |partial: &'static str| {
        says(&Says { continues: Some('a'), more: partial, ..master("y", 'b') })
    };
    scene.rounds(2, &[x.clone(), says(&replica("y", 'a', 1)), says(&replica("z", 'a', 1))]);
    scene.round(vec![
        x.clone(),
        y("sync_full:5\nsync_partial_ok:0\n"),
        says(&replica("z", 'a', 1)),
    ]);
    let moved = Says { continues: Some('a'), ..replica("z", 'b', 2) };
    scene.rounds(2, &[x, y("sync_full:5\nsync_partial_ok:1\n"), says(&moved)]);
    assert_eq!(scene.happened("full_resync"), 0);
}
