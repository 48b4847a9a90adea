//! Sequences of replies as real servers give them.

mod evidence;
mod external;
mod fixture;
mod identity;
#[path = "../recorded/mod.rs"]
mod recorded;
mod restored_claims;
mod split_brain;

use recorded::RecordedTracker;
use std::time::SystemTime;

use snapshot::{NodeSnapshot, Reason};
use topology::{
    DeploymentView, EventKind, Evidence, Expectations, FindingKind, NodeIndex, NodeReply,
    OrphanReason, PollOutcome, PrimaryEvidence, Severity,
};

use fixture::{
    InfoReply, SECOND, TestDeployment, cut_replica, failed_over, master, primary, refused, replica,
    reply, severity_of,
};

#[test]
fn nodes_are_awaited_for_ten_minutes_after_a_loss() {
    let primary = reply(&master("x", 'a'));
    let mut test = TestDeployment::new(2);
    let awaited =
        |view: &DeploymentView| [0, 1].map(|index| view.awaited().contains(&NodeIndex::new(index)));
    // A primary that nobody has seen is not awaited.
    assert_eq!(awaited(&test.rounds(5, &[refused(), refused()])), [false; 2]);
    assert_eq!(awaited(&test.rounds(2, &[primary.clone(), refused()])), [false; 2]);
    assert_eq!(awaited(&test.rounds(1, &[refused(), refused()])), [true; 2]);
    assert_eq!(awaited(&test.rounds(600, &[refused(), refused()])), [true; 2]);
    assert_eq!(awaited(&test.rounds(1, &[refused(), refused()])), [false; 2]);
    assert_eq!(awaited(&test.rounds(1, &[primary, refused()])), [false; 2]);
    // Each loss is awaited, until another node is primary.
    assert_eq!(awaited(&test.rounds(5, &[refused(), refused()])), [true; 2]);
    let other = reply(&InfoReply { continues: Some('a'), ..master("y", 'b') });
    assert_eq!(awaited(&test.rounds(2, &[refused(), other])), [false; 2]);
}

#[test]
fn a_wrong_password_of_rolecall_is_no_outage() {
    let mut test = TestDeployment::new(3);
    let healthy =
        [reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), reply(&replica("z", 'a', 1))];
    test.rounds(3, &healthy);
    test.rounds(5, &[refused(), refused(), refused()]);
    assert_eq!(test.event_count("primary_lost"), 1);
    // They return with another password.
    let view = test.rounds(
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
    assert_eq!(test.event_count("primary_regained"), 1);
    // Only the primary has another password.
    let view = test
        .rounds(10, &[PollOutcome::Failed(Reason::Auth), healthy[1].clone(), healthy[2].clone()]);
    let kinds: Vec<_> = view.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::RolecallCannotRead]);
}

#[test]
fn a_former_primary_may_return_empty() {
    let keys = "# Keyspace\ndb0:keys=300,expires=0,avg_ttl=0\n";
    let mut test = TestDeployment::new(2);
    test.rounds(
        2,
        &[
            reply(&InfoReply { more: keys, ..master("x", 'a') }),
            reply(&InfoReply { more: keys, ..replica("y", 'a', 1) }),
        ],
    );
    let promoted = InfoReply { continues: Some('a'), more: keys, ..master("y", 'b') };
    let view =
        test.round(vec![reply(&InfoReply { uptime: 0, ..master("x2", 'c') }), reply(&promoted)]);
    assert_eq!(
        (primary(&view), view.shards[0].emptied.total),
        (Some(("n2", PrimaryEvidence::Lineage)), 0)
    );
}

#[test]
fn expired_keys_are_not_lost() {
    let mut test = TestDeployment::new(1);
    test.round(vec![reply(&InfoReply {
        more: "# Keyspace\ndb0:keys=3,expires=3,avg_ttl=9\n",
        ..master("x", 'a')
    })]);
    let view = test.round(vec![reply(&InfoReply { uptime: 0, ..master("x2", 'b') })]);
    assert_eq!(view.shards[0].emptied.total, 0);
}

#[test]
fn an_emptied_primary_with_new_writes_is_detected() {
    let mut test = TestDeployment::new(1);
    test.round(vec![reply(&InfoReply {
        more: "# Keyspace\ndb0:keys=1000000,expires=0,avg_ttl=0\n",
        ..master("x", 'a')
    })]);
    let more =
        "aof_enabled:0\nrdb_last_load_keys_loaded:0\n# Keyspace\ndb0:keys=12,expires=0,avg_ttl=0\n";
    let view =
        test.round(vec![reply(&InfoReply { uptime: 0, changes: 12, more, ..master("x2", 'b') })]);
    assert_eq!((view.shards[0].emptied.total, view.shards[0].emptied.keys), (1, 1_000_000));
    assert_eq!(
        severity_of(&view, FindingKind::RedisPrimaryRestartedEmpty),
        Some(Severity::Critical)
    );
}

#[test]
fn an_old_version_that_loaded_its_dump_is_not_empty() {
    let keys = "aof_enabled:0\n# Keyspace\ndb0:keys=50,expires=0,avg_ttl=0\n";
    let mut test = TestDeployment::new(1);
    test.round(vec![reply(&InfoReply { more: keys, ..master("x", 'a') })]);
    // Servers before 7.0 do not report the number of loaded keys.
    let view = test.round(vec![reply(&InfoReply {
        uptime: 0,
        changes: 900,
        more: keys,
        ..master("x2", 'b')
    })]);
    assert_eq!(view.shards[0].emptied.total, 0);
    // A restart without the data is detected nevertheless.
    let few = "aof_enabled:0\n# Keyspace\ndb0:keys=20,expires=0,avg_ttl=0\n";
    let view = test.round(vec![reply(&InfoReply {
        uptime: 0,
        changes: 90,
        more: few,
        ..master("x3", 'c')
    })]);
    assert_eq!((view.shards[0].emptied.total, view.shards[0].emptied.keys), (1, 50));
}

#[test]
fn server_without_counters_restarts_empty_with_another_history() {
    // Dragonfly, `src/server/server_family.cc`: neither `run_id` nor counters of changes.
    let info = |uptime: u32, history: char, keys: u32| {
        let info = format!(
            "dragonfly_version:df-1.14.0\nuptime_in_seconds:{uptime}\nloading:0\nrole:master\n\
             master_replid:{}\n# Keyspace\ndb0:keys={keys},expires=0,avg_ttl=0\n",
            history.to_string().repeat(40)
        );
        let snapshot = NodeSnapshot::from_info(&info).expect("an INFO reply");
        vec![PollOutcome::Answered(NodeReply::new(snapshot, SECOND / 1000, SystemTime::UNIX_EPOCH))]
    };
    let emptied = |history, keys| {
        let mut test = TestDeployment::new(1);
        test.rounds(2, &info(900, 'a', 100));
        test.round(info(0, history, keys)).shards[0].emptied.total
    };
    assert_eq!(emptied('b', 3), 1, "a few keys were written since");
    assert_eq!(emptied('b', 0), 1);
    assert_eq!(emptied('b', 100), 0, "the data was loaded");
    assert_eq!(emptied('a', 3), 0, "the history continues");
}

#[test]
fn replica_without_replication_ids_is_no_orphan_behind_nat() {
    // Kvrocks, `src/server/server.cc`: neither `run_id` nor `master_replid`.
    let node = |role: &str| {
        let info = format!("kvrocks_version:2.8.0\nuptime_in_seconds:900\nloading:0\n{role}\n");
        let snapshot = NodeSnapshot::from_info(&info).expect("an INFO reply");
        PollOutcome::Answered(NodeReply::new(snapshot, SECOND / 1000, SystemTime::UNIX_EPOCH))
    };
    let orphan = |link: &str| {
        let replica = format!("role:slave\nmaster_host:203.0.113.7\nmaster_port:6666\n{link}");
        let mut test = TestDeployment::new(2);
        let view = test.rounds(3, &[node("role:master"), node(&replica)]);
        view.nodes[NodeIndex::new(1)].orphan
    };
    assert_eq!(orphan("master_link_status:up"), None);
    let down = "master_link_status:down\nmaster_link_down_since_seconds:30";
    assert_eq!(orphan(down), Some(OrphanReason::UnknownAddress));
}

#[test]
fn a_consumed_queue_is_not_lost() {
    let mut test = TestDeployment::new(1);
    test.round(vec![reply(&InfoReply {
        more: "# Keyspace\ndb0:keys=3,expires=0,avg_ttl=0\n",
        ..master("x", 'a')
    })]);
    let view = test.round(vec![reply(&InfoReply {
        uptime: 0,
        changes: 3,
        more: "rdb_last_load_keys_loaded:3\n",
        ..master("x2", 'b')
    })]);
    assert_eq!(view.shards[0].emptied.total, 0);
}

#[test]
fn a_process_with_two_addresses_is_one_master() {
    let mut test = TestDeployment::new(3);
    let served = InfoReply { changes: 100, ..master("x", 'a') };
    test.rounds(5, &[reply(&served), reply(&replica("y", 'a', 1)), reply(&replica("z", 'a', 1))]);
    // The name of n2 leads to n1 for a while, and n1 accepts writes.
    for changes in 101..120 {
        let busy = reply(&InfoReply { changes, ..served.clone() });
        let view = test.round(vec![busy.clone(), busy, reply(&replica("z", 'a', 2))]);
        assert_eq!(primary(&view).map(|(name, _)| name), Some("n1"));
        assert_eq!(
            (
                &view.shards[0].stale_masters[..],
                view.shards[0].lost_writes.total,
                view.nodes[NodeIndex::new(2)].orphan
            ),
            (&[][..], 0, None)
        );
        assert!(
            !view.findings.iter().any(|finding| finding.severity == Severity::Critical),
            "{:?}",
            view.findings
        );
    }
    assert_eq!(test.event_count("split_brain_began") + test.event_count("primary_changed"), 0);
    // If the second node was the primary, it stays the primary.
    let mut test = TestDeployment::new(2);
    test.rounds(2, &[reply(&replica("y", 'a', 2)), reply(&served)]);
    let view = test.rounds(3, &[reply(&served), reply(&served)]);
    assert_eq!(primary(&view).map(|(name, _)| name), Some("n2"));
}

#[test]
fn a_node_with_an_unknown_role_may_be_the_primary() {
    let mut test = TestDeployment::new(2);
    let strange = reply(&InfoReply { more: "role:active-replica\n", ..master("x", 'a') });
    let view = test.rounds(20, &[strange, reply(&replica("y", 'a', 1))]);
    assert_eq!(
        (severity_of(&view, FindingKind::RedisNoPrimary), test.event_count("primary_lost")),
        (None, 0)
    );
}

#[test]
fn replicas_wait_for_a_primary_that_loads_its_data() {
    let mut test = TestDeployment::new(2);
    let lost = "role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\n\
                master_link_down_since_seconds:300\n";
    test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1))]);
    let waiting = reply(&InfoReply { more: lost, ..replica("y", 'a', 1) });
    let loading = "loading:1\nloading_eta_seconds:300\nmin_slaves_good_slaves:0\n";
    let view = test.rounds(
        90,
        &[reply(&InfoReply { uptime: 0, more: loading, ..master("x2", 'b') }), waiting.clone()],
    );
    assert_eq!(severity_of(&view, FindingKind::RedisReplicaLinkDown), Some(Severity::Warning));
    assert_eq!(severity_of(&view, FindingKind::RedisNotEnoughReplicas), None);
    let view = test.rounds(2, &[reply(&InfoReply { uptime: 90, ..master("x2", 'b') }), waiting]);
    assert_eq!(severity_of(&view, FindingKind::RedisReplicaLinkDown), Some(Severity::Critical));
}

#[test]
fn a_loading_replica_has_no_authentication_failure() {
    let mut test = TestDeployment::new(2);
    let link = "role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\n";
    let mut refused = 0;
    let mut rounds = |more: &'static str| {
        let views = (0..20).map(|_| {
            refused += 1;
            // A client uses an old password.
            let errors = format!(
                "redis_version:7.0.15\n# Errorstats\n\
                                  errorstat_WRONGPASS:count={refused}\n# Server\n"
            )
            .leak();
            test.round(vec![
                reply(&InfoReply { more: errors, ..master("x", 'a') }),
                reply(&InfoReply { more, ..replica("y", 'a', 1) }),
            ])
        });
        views.last().and_then(|view| severity_of(&view, FindingKind::RedisReplicationAuthFailing))
    };
    assert_eq!(rounds(format!("loading:1\n{link}").leak()), None);
    assert_eq!(rounds(link), Some(Severity::Critical));
}

#[test]
fn a_synchronization_does_not_break_a_chain() {
    let mut test = TestDeployment::new(3);
    let leaf = reply(&replica("z", 'a', 2));
    test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), leaf.clone()]);
    let above = |link: &'static str| reply(&InfoReply { more: link, ..replica("y", 'a', 1) });
    let syncing = above(
        "role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\n\
         master_sync_in_progress:1\n",
    );
    let view = test.rounds(20, &[reply(&master("x", 'a')), syncing, leaf.clone()]);
    assert_eq!(view.nodes[NodeIndex::new(2)].orphan, None);
    let down = above("role:slave\nmaster_host:h\nmaster_port:1\nmaster_link_status:down\n");
    let view = test.rounds(20, &[reply(&master("x", 'a')), down, leaf]);
    assert_eq!(view.nodes[NodeIndex::new(2)].orphan, Some(OrphanReason::BrokenChain));
}

#[test]
fn an_expected_role_does_not_outweigh_a_failover() {
    let mut test = TestDeployment::of(2, |deployment| {
        deployment.add("n1", "h:1", Some(snapshot::Role::Master));
    });
    test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1))]);
    let promoted = reply(&InfoReply { continues: Some('a'), ..master("y", 'b') });
    test.rounds(4, &[refused(), promoted.clone()]);
    // n1 returns with a dump of the common history, which it continues as well.
    let back = reply(&InfoReply { uptime: 1, continues: Some('a'), ..master("x2", 'c') });
    let view = test.rounds(3, &[back, promoted]);
    assert_eq!(primary(&view), Some(("n2", PrimaryEvidence::Lineage)));
    assert_eq!(view.witnesses(&view.shards[0]), ["n1 (declared)", "n2 (previous, lineage)"]);
    assert_eq!(view.shards[0].stale_masters, [NodeIndex::new(0)]);
}

#[test]
fn the_order_of_histories_survives_a_restart() {
    let (mut test, promoted) = failed_over(&master("x", 'a'));
    test.rounds(2, &[reply(&replica("x", 'b', 2)), promoted]);
    let saved = test.tracker.saved_state();
    assert_eq!(saved.primary.as_deref(), Some("n2"));
    let mut test = TestDeployment::new(2);
    test.tracker =
        RecordedTracker::new(test.tracker.view().deployment.clone(), Some((saved, SECOND)));
    // In the meantime n1 took over again.
    let view = test.rounds(
        5,
        &[
            reply(&InfoReply { continues: Some('b'), ..master("x", 'c') }),
            reply(&InfoReply { continues: Some('a'), ..master("y", 'b') }),
        ],
    );
    // Nobody saw if n2 was absent at that time, so this does not decide.
    assert_eq!(primary(&view), None);
    assert_eq!(view.witnesses(&view.shards[0]), ["n1 (lineage)", "n2 (previous)"]);
    assert_eq!(["primary_changed", "split_brain_began"].map(|kind| test.event_count(kind)), [0, 1]);
}

#[test]
fn a_promotion_lags_only_behind_writes() {
    let lags = |changes: u64| {
        let mut test = TestDeployment::new(2);
        for (offset, changes) in [(100, 7), (200, 7), (300, changes)] {
            test.round(vec![
                reply(&InfoReply { offset, changes, ..master("x", 'a') }),
                reply(&InfoReply { offset, ..replica("y", 'a', 1) }),
            ]);
        }
        let promoted = InfoReply {
            continues: Some('a'),
            more: "second_repl_offset:251",
            offset: 260,
            ..master("y", 'b')
        };
        test.round(vec![refused(), reply(&promoted)]);
        test.events.iter().find_map(|event| {
            if let EventKind::LaggingPromotion { bytes } = event { Some(*bytes) } else { None }
        })
    };
    assert_eq!(lags(8), Some(50));
    assert_eq!(lags(7), None, "messages of Sentinels are part of the stream");
    assert_eq!(lags(0), Some(50), "a save may have reset the count");
}

#[test]
fn a_switch_of_roles_is_no_loop_for_one_round() {
    let mut test = TestDeployment::new(2);
    test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1))]);
    // An operator switches the roles: one reply is from before, the other from after.
    let view = test.round(vec![reply(&replica("x", 'a', 2)), reply(&replica("y", 'a', 1))]);
    assert_eq!(view.findings, []);
    let view = test.rounds(
        2,
        &[
            reply(&replica("x", 'b', 2)),
            reply(&InfoReply { continues: Some('a'), ..master("y", 'b') }),
        ],
    );
    assert_eq!((view.findings.len(), test.event_count("primary_lost")), (0, 0));
    // A loop that lasts is a finding.
    let view = test.rounds(2, &[reply(&replica("x", 'b', 2)), reply(&replica("y", 'b', 1))]);
    assert_eq!(severity_of(&view, FindingKind::RedisReplicationLoop), Some(Severity::Critical));
    assert_eq!(
        view.shards[0].no_primary.total,
        SECOND * 2,
        "the first round of the loop counts too"
    );
    let view = test.rounds(2, &[reply(&master("x", 'b')), reply(&replica("y", 'b', 1))]);
    assert_eq!(view.findings, [], "the former primary is not a missing replica");
}

/// Returns the former primary of a deployment without a master.
fn former_primary(view: &DeploymentView) -> Option<&str> {
    view.shards[0].former_primary.map(|node| view.name(node))
}

#[test]
fn the_former_primary_of_a_loop_is_the_undisputed_one() {
    let looped = [reply(&replica("x", 'a', 2)), reply(&replica("y", 'a', 1))];
    let mut test = TestDeployment::new(2);
    let view = test.rounds(3, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1))]);
    assert_eq!(former_primary(&view), None, "there is a primary");
    let view = test.rounds(3, &looped);
    assert_eq!(former_primary(&view), Some("n1"));
    let Some(Evidence::RedisReplicationLoop(evidence)) =
        view.findings.first().map(|finding| &finding.evidence)
    else {
        panic!("{:?}", view.findings)
    };
    assert_eq!(evidence.last_primary.as_deref(), Some("n1"));
    // Rolecall started when the loop existed already.
    assert_eq!(former_primary(&TestDeployment::new(2).rounds(3, &looped)), None);
}

#[test]
fn a_primary_that_another_node_succeeded_is_not_former() {
    let healthy = [reply(&master("x", 'a')), reply(&replica("y", 'a', 1))];
    // The history changed while nobody looked: n2 was promoted in between.
    let mut test = TestDeployment::new(2);
    test.rounds(3, &healthy);
    let succeeded = [reply(&replica("x", 'b', 2)), reply(&replica("y", 'b', 1))];
    assert_eq!(former_primary(&test.rounds(3, &succeeded)), None);
    // Another process is at the address of the primary.
    let mut test = TestDeployment::new(2);
    test.rounds(3, &healthy);
    let replaced = [reply(&replica("z", 'a', 2)), reply(&replica("y", 'a', 1))];
    assert_eq!(former_primary(&test.rounds(3, &replaced)), None);
    // Two masters were rivals, and nothing decided between them.
    let mut test = TestDeployment::new(2);
    test.rounds(3, &healthy);
    test.rounds(3, &[healthy[0].clone(), reply(&master("y", 'a'))]);
    let looped = [reply(&replica("x", 'a', 2)), reply(&replica("y", 'a', 1))];
    assert_eq!(former_primary(&test.rounds(3, &looped)), None);
}

#[test]
fn a_silent_node_may_be_the_successor_of_a_primary() {
    let mut test = TestDeployment::new(3);
    let healthy =
        [reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), reply(&replica("z", 'a', 1))];
    test.rounds(3, &healthy);
    let looped =
        |third: PollOutcome| [reply(&replica("x", 'a', 2)), reply(&replica("y", 'a', 1)), third];
    let unread = looped(PollOutcome::Failed(Reason::Auth));
    assert_eq!(former_primary(&test.rounds(6, &unread)), None, "it may be master");
    assert_eq!(former_primary(&test.rounds(6, &looped(refused()))), Some("n1"), "it is down");
}

#[test]
fn a_promoted_replica_does_not_restore_its_link() {
    let mut test = TestDeployment::new(3);
    let primary = reply(&master("x", 'a'));
    test.rounds(3, &[primary, reply(&replica("y", 'a', 1)), reply(&replica("z", 'a', 1))]);
    let cut = [refused(), reply(&cut_replica("y", 'a', 1)), reply(&cut_replica("z", 'a', 1))];
    test.rounds(3, &cut);
    assert_eq!((test.event_count("link_dropped"), test.event_count("link_restored")), (2, 0));
    let promoted = reply(&InfoReply { continues: Some('a'), ..master("y", 'b') });
    test.rounds(3, &[refused(), promoted, reply(&replica("z", 'b', 2))]);
    assert_eq!(test.event_count("link_restored"), 1, "only the link of the other replica");
}

#[test]
fn an_unrelated_master_does_not_become_the_primary() {
    let mut test = TestDeployment::new(3);
    let joining = reply(&master("z", 'e'));
    test.rounds(5, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), joining.clone()]);
    let view = test.rounds(6, &[refused(), reply(&cut_replica("y", 'a', 1)), joining.clone()]);
    assert_eq!(
        (primary(&view), view.shards[0].unrelated_masters.as_slice()),
        (None, [NodeIndex::new(2)].as_slice())
    );
    assert_eq!(severity_of(&view, FindingKind::RedisNoPrimary), Some(Severity::Critical));
    assert_eq!(severity_of(&view, FindingKind::RedisDown), Some(Severity::Critical));
    let view =
        test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), joining.clone()]);
    assert_eq!(
        (primary(&view).map(|(name, _)| name), test.event_count("primary_changed")),
        (Some("n1"), 0)
    );
    // It is the primary when the replicas have its data.
    let view = test.rounds(4, &[refused(), reply(&replica("y", 'e', 3)), joining]);
    assert_eq!(primary(&view), Some(("n3", PrimaryEvidence::Sole)));
}

/// Returns the state in which the last primary, the node n1, has two replicas, and n4 is a master
/// of another history.
fn with_an_unrelated_master() -> TestDeployment {
    let mut test = TestDeployment::new(4);
    let [y, z] = ["y", "z"].map(|run_id| reply(&replica(run_id, 'a', 1)));
    test.rounds(5, &[reply(&master("x", 'a')), y, z, reply(&master("w", 'e'))]);
    test
}

#[test]
fn a_master_that_the_last_primary_follows_is_the_primary() {
    let unrelated = reply(&master("w", 'e'));
    // The link of a replica is down until its full resync ends, which may never happen.
    let [demoted, y, z] =
        [("x", 4), ("y", 1), ("z", 9)].map(|(run_id, port)| reply(&cut_replica(run_id, 'a', port)));
    let mut test = with_an_unrelated_master();
    let view = test.rounds(3, &[demoted, y.clone(), z.clone(), unrelated.clone()]);
    assert_eq!(primary(&view), Some(("n4", PrimaryEvidence::Sole)));
    assert_eq!(
        [FindingKind::RedisNoPrimary, FindingKind::RolecallUnrelatedMasters]
            .map(|kind| severity_of(&view, kind)),
        [None, None]
    );
    let chained = reply(&cut_replica("x", 'a', 2));
    let above = reply(&cut_replica("y", 'a', 4));
    let view =
        with_an_unrelated_master().rounds(3, &[chained, above, z.clone(), unrelated.clone()]);
    assert_eq!(primary(&view), Some(("n4", PrimaryEvidence::Sole)), "over another replica");
    let elsewhere = reply(&cut_replica("x", 'a', 9));
    let view = with_an_unrelated_master().rounds(3, &[elsewhere, y, z, unrelated]);
    assert_eq!(primary(&view), None, "the last primary follows another server");
}

#[test]
fn a_master_that_all_replicas_follow_is_the_primary() {
    let unrelated = reply(&master("w", 'e'));
    let [follows, chained, remains] =
        [("y", 4), ("z", 2), ("z", 1)].map(|(run_id, port)| reply(&cut_replica(run_id, 'a', port)));
    for (third, expected) in [
        (reply(&cut_replica("z", 'a', 4)), Some("n4")),
        (chained, Some("n4")),
        (refused(), Some("n4")),
        (remains, None),
    ] {
        let mut test = with_an_unrelated_master();
        let view = test.rounds(8, &[refused(), follows.clone(), third, unrelated.clone()]);
        assert_eq!(primary(&view).map(|(name, _)| name), expected);
        assert_eq!(
            severity_of(&view, FindingKind::RolecallUnrelatedMasters).is_some(),
            expected.is_none()
        );
    }
}

#[test]
fn an_unreadable_replica_hides_no_dead_primary() {
    let mut test = TestDeployment::new(3);
    test.rounds(
        2,
        &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1)), reply(&replica("z", 'a', 1))],
    );
    let view = test.rounds(
        8,
        &[refused(), reply(&cut_replica("y", 'a', 1)), PollOutcome::Failed(Reason::Noperm)],
    );
    assert_eq!(severity_of(&view, FindingKind::RedisNoPrimary), Some(Severity::Critical));
    assert_eq!(
        severity_of(&view, FindingKind::RedisReplicasMissing),
        None,
        "the unreadable replica may be up"
    );
}

#[test]
fn after_a_failover_no_replica_is_missing() {
    let (mut test, promoted) = failed_over(&master("x", 'a'));
    let view = test.rounds(5, &[reply(&master("x", 'a')), promoted]);
    let kinds: Vec<_> =
        view.findings.iter().map(|finding| (finding.kind, finding.severity)).collect();
    assert_eq!(kinds, [(FindingKind::RedisSplitBrain, Severity::Info)]);
}

#[test]
fn a_loading_replica_has_lost_no_link() {
    let mut test = TestDeployment::new(2);
    test.rounds(2, &[reply(&master("x", 'a')), reply(&replica("y", 'a', 1))]);
    let mut restarted = |more: &'static str| {
        let view = test.rounds(
            4,
            &[
                reply(&master("x", 'a')),
                reply(&InfoReply { more, uptime: 1, ..replica("z", 'a', 1) }),
            ],
        );
        (
            severity_of(&view, FindingKind::RedisLoading),
            severity_of(&view, FindingKind::RedisReplicaLinkDown),
        )
    };
    assert_eq!(
        restarted("loading:1\nmaster_link_status:down\nmaster_link_down_since_seconds:-1\n"),
        (Some(Severity::Info), None)
    );
    assert_eq!(
        restarted("master_link_status:down\nmaster_link_down_since_seconds:-1\n"),
        (None, Some(Severity::Critical)),
        "after loading, the link is down"
    );
}

#[test]
fn a_script_that_blocks_the_primary_blocks_writes() {
    let mut test = TestDeployment::new(1);
    test.round(vec![reply(&master("x", 'a'))]);
    test.rounds(4, &[PollOutcome::Missed(Reason::Timeout)]);
    let view = test.rounds(20, &[PollOutcome::Missed(Reason::Busy)]);
    assert_eq!(
        (view.nodes[NodeIndex::new(0)].up(), view.shards[0].writable),
        (Some(false), Some(false))
    );
    assert_eq!(severity_of(&view, FindingKind::RedisWritesBlocked), Some(Severity::Critical));
    assert_eq!(
        (
            severity_of(&view, FindingKind::RedisNoPrimary),
            severity_of(&view, FindingKind::RedisDown)
        ),
        (None, None),
        "the node is running"
    );
    let view = test.rounds(1, &[reply(&master("x", 'a'))]);
    assert_eq!((view.findings.len(), view.shards[0].writable), (0, Some(true)));
}

#[test]
fn several_masters_may_be_expected() {
    let expect = Expectations {
        masters: Some(2),
        until: Some(SystemTime::UNIX_EPOCH + SECOND * 6),
        ..Expectations::default()
    };
    let mut test = TestDeployment::of(2, |deployment| deployment.expect = expect);
    let healthy = [reply(&master("x", 'a')), reply(&master("y", 'b'))];
    let view = test.rounds(3, &healthy);
    assert_eq!(
        (view.findings.len(), view.shards[0].writable, view.shards[0].unrelated_masters.len()),
        (0, Some(true), 0)
    );
    let view = test.rounds(2, &[healthy[0].clone(), refused()]);
    assert_eq!(severity_of(&view, FindingKind::RedisDown), Some(Severity::Critical));
    let view = test.rounds(3, &healthy);
    assert_eq!(
        severity_of(&view, FindingKind::RolecallUnrelatedMasters),
        Some(Severity::Warning),
        "the expectation has expired"
    );
}

#[test]
fn a_deployment_may_have_an_external_primary() {
    let expect = Expectations { external: true, ..Expectations::default() };
    let mut test = TestDeployment::of(2, |deployment| deployment.expect = expect);
    let view = test.rounds(5, &[reply(&replica("x", 'a', 99)), reply(&replica("y", 'a', 99))]);
    assert_eq!((view.findings.len(), test.events.len()), (0, 0));
}

#[test]
fn a_partial_resync_with_a_new_master_is_no_full_resync() {
    let mut test = TestDeployment::new(3);
    let x = reply(&InfoReply { more: "sync_full:2\nsync_partial_ok:1\n", ..master("x", 'a') });
    let y = |partial: &'static str| {
        reply(&InfoReply { continues: Some('a'), more: partial, ..master("y", 'b') })
    };
    test.rounds(2, &[x.clone(), reply(&replica("y", 'a', 1)), reply(&replica("z", 'a', 1))]);
    test.round(vec![
        x.clone(),
        y("sync_full:5\nsync_partial_ok:0\n"),
        reply(&replica("z", 'a', 1)),
    ]);
    let moved = InfoReply { continues: Some('a'), ..replica("z", 'b', 2) };
    test.rounds(2, &[x, y("sync_full:5\nsync_partial_ok:1\n"), reply(&moved)]);
    assert_eq!(test.event_count("full_resync"), 0);
}
