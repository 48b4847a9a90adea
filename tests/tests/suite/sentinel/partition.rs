//! Network partitions with servers and Sentinels on both sides. These tests need root.

use serde_json::json;
use tests::{SECOND, SentinelDeployment, SentinelSetup, Side, SplitNetwork, Writer, eventually};

use crate::monitor::{
    LIMIT, Monitor, SENTINEL_DISAGREEMENT, SOON, SPLIT_BRAIN, UNREPLICATED_WRITES, check_names,
    write_keys,
};

#[test]
fn partitioned_primary_loses_the_writes_of_its_clients() {
    const PER_SECOND: u32 = 10;
    const MORE: u32 = 30;
    let mut sides = SplitNetwork::new();
    let left = sides.add_host(Side::Left);
    let places = [left, sides.add_host(Side::Right), sides.add_host(Side::Right)];
    let group = SentinelDeployment::start_at(&SentinelSetup::default(), &places, &places);
    let monitor = Monitor::start_settled(&group, "");
    let (stale_master, minority_sentinel) = (&group.nodes[0], &group.sentinels[0]);
    let before = stale_master.address();
    let mut lost = Writer::start(&before, "lost", PER_SECOND);
    eventually(SOON, "writes are acknowledged", || (lost.acknowledged() > 20).then_some(()));

    let before_cut = lost.acknowledged();
    sides.partition();
    let promoted = || group.nodes[1..].iter().find(|node| node.role().as_deref() == Some("master"));
    let (promoted, took) = eventually(LIMIT, "the majority side has its own primary", promoted);
    let before_promotion = lost.acknowledged();
    let after = promoted.address();
    let mut kept = Writer::start(&after, "kept", PER_SECOND);
    println!("promoted {took:?} after the cut, {before_promotion} writes before the promotion");
    monitor.until_primary(&after);
    monitor.daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    assert_eq!(monitor.daemon.value("redis_deployment_masters"), Some(2.0));
    let finding = monitor.until_finding(SOON, "RedisSplitBrain", "warning");
    check_names(&finding["evidence"]["masters"], &[before.clone(), after.clone()]);
    check_names(&finding["evidence"]["stale"], std::slice::from_ref(&before));
    assert_eq!(finding["evidence"]["primary"], after);
    monitor.daemon.until(SOON, SENTINEL_DISAGREEMENT, &[], 1.0);
    assert_eq!(monitor.daemon.value("redis_sentinel_majority_against_primary"), Some(0.0));
    let finding = monitor.until_finding(SOON, "RedisSentinelDisagreement", "info");
    assert_eq!(
        (&finding["evidence"]["why"], &finding["evidence"]["primary"]),
        (&json!("dissenter"), &json!(after)),
        "{finding}"
    );
    check_names(&finding["evidence"]["sentinels"], &[minority_sentinel.address()]);
    check_names(&finding["evidence"]["named"], std::slice::from_ref(&before));
    eventually(LIMIT, "a hundred writes are accepted by the stale master", || {
        (lost.acknowledged() > before_promotion + 100).then_some(())
    });
    let written = u32::try_from(lost.stop() - before_cut).expect("few");
    write_keys(stale_master, "more", MORE);
    monitor.daemon.until_rounds(2);
    // The verdict is disputed: clients of the old primary still reach it.
    assert_eq!(monitor.daemon.value(UNREPLICATED_WRITES), Some(0.0));
    // Both accept writes for more than 30 s.
    monitor.until_finding(SECOND * 45, "RedisSplitBrain", "critical");
    assert!(kept.stop() > 100);
    let kept = kept.acknowledged();

    sides.heal();
    let ended = monitor.daemon.until_event(LIMIT, "split_brain_ended");
    let reported = ended["unreplicated_writes"].as_f64().expect("a count");
    println!("{written} and {MORE} writes on the stale master since the cut, {reported} lost");
    // The offset of the cut lies between two rounds.
    let difference = (reported - f64::from(written + MORE)).abs();
    assert!(difference <= f64::from(PER_SECOND) * 1.5, "{reported} of {written} and {MORE}");
    monitor.until_finding(SOON, "RedisWritesLost", "warning");
    assert!(ended["seconds"].as_f64() >= Some(10.0), "{ended}");
    group.until_all_report(LIMIT, &after);
    group.until_replicating(LIMIT);
    // The finding about lost writes stays for longer.
    monitor.daemon.until_exact_findings(LIMIT, &["RedisWritesLost"]);
    monitor.daemon.until_rounds(2);
    assert_eq!(
        (monitor.daemon.value(UNREPLICATED_WRITES), monitor.daemon.value(SENTINEL_DISAGREEMENT)),
        (Some(reported), Some(0.0))
    );
    let mut kinds = monitor.deployment_events_without_disputes();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        ["primary_changed", "split_brain_began", "split_brain_ended"],
        "{:?}",
        monitor.daemon.events()
    );
    let changed = &monitor.events("primary_changed")[0];
    assert_eq!(
        (&changed["from"], &changed["to"], &changed["cause"]),
        (&json!(before), &json!(after), &json!("sentinel"))
    );
    assert_eq!(monitor.node_events_without_moves(stale_master), ["role_changed"]);
    assert_eq!(
        monitor.node_events_without_moves(promoted),
        ["role_changed", "lagging_promotion"],
        "the new primary lacks the writes since the partition"
    );
    for server in
        group.nodes[1..].iter().filter(|node| node.address() != after).chain(&group.sentinels)
    {
        let events = monitor.node_events_without_moves(server);
        assert!(events.is_empty(), "{} was always reachable: {events:?}", server.address());
    }
    assert_eq!(
        stale_master.execute(&[
            "EXISTS",
            &format!("lost{}", before_promotion + 50),
            "more0",
            &format!("kept{kept}")
        ]),
        ["1"],
        "the old primary has only the writes of the new primary"
    );
}

#[test]
fn partitioned_sentinel_disagrees_until_it_reconnects() {
    let mut sides = SplitNetwork::new();
    let (first, second) = (sides.add_host(Side::Right), sides.add_host(Side::Right));
    let isolated = sides.add_host(Side::Left);
    let group = SentinelDeployment::start_at(
        &SentinelSetup::default(),
        &[first.clone(), second.clone()],
        &[first, second, isolated],
    );
    let monitor = Monitor::start_settled(&group, "");
    let isolated_sentinel = &group.sentinels[2];

    sides.partition();
    monitor.daemon.until(
        SOON,
        "redis_sentinel_quorum_ok",
        &[("node", &isolated_sentinel.address())],
        0.0,
    );
    monitor.daemon.until(
        SOON,
        "redis_sentinel_master_state",
        &[("node", &isolated_sentinel.address()), ("state", "sdown")],
        1.0,
    );
    monitor.daemon.until_rounds(3);
    monitor.daemon.until_exact_findings(LIMIT, &["RedisSentinelCannotReach"]);
    let before = group.failover();
    let after = eventually(LIMIT, "failed over", || {
        group.primary_according_to(1).filter(|named| *named != before)
    })
    .0;
    monitor.until_primary(&after);
    monitor.daemon.until_event(LIMIT, "split_brain_ended");
    assert_eq!(group.primary_according_to(2).as_deref(), Some(&*before));
    assert_eq!(
        (
            monitor.daemon.value(SENTINEL_DISAGREEMENT),
            monitor.daemon.value("redis_sentinel_majority_against_primary")
        ),
        (Some(1.0), Some(0.0))
    );
    let finding = monitor.until_finding(SOON, "RedisSentinelDisagreement", "info");
    let evidence = &finding["evidence"];
    assert_eq!(
        (&evidence["why"], &evidence["primary"]),
        (&json!("dissenter"), &json!(after)),
        "{finding}"
    );
    check_names(&evidence["sentinels"], &[isolated_sentinel.address()]);
    check_names(&evidence["named"], std::slice::from_ref(&before));
    assert!(
        monitor.daemon.finding("RedisSentinelQuorumLost").is_none(),
        "most Sentinels have a quorum"
    );
    let finding = monitor.until_finding(SECOND * 80, "RedisSentinelDisagreement", "warning");
    assert!(finding["evidence"]["seconds"].as_f64() >= Some(59.0), "{finding}");
    monitor.daemon.until_exact_findings(LIMIT, &["RedisSentinelDisagreement"]);

    sides.heal();
    group.until_all_report(LIMIT, &after);
    monitor.daemon.until(SOON, SENTINEL_DISAGREEMENT, &[], 0.0);
    monitor.until_all_up(&group);
    monitor.until_no_findings();
    let epochs = group
        .sentinels
        .iter()
        .map(|sentinel| monitor.node_value("redis_sentinel_master_config_epoch", sentinel));
    assert_eq!(epochs.collect::<Vec<_>>(), [Some(1.0); 3]);
    let mut kinds = monitor.deployment_events_without_disputes();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        ["primary_changed", "split_brain_began", "split_brain_ended"],
        "{:?}",
        monitor.daemon.events()
    );
    assert_eq!(monitor.events("split_brain_ended")[0]["unreplicated_writes"], 0);
    for sentinel in &group.sentinels {
        assert_eq!(
            monitor.node_events(sentinel),
            Vec::<String>::new(),
            "all Sentinels were always reachable"
        );
    }
}
