//! Who is primary, and what is lost when that changes, on real servers.

use std::time::Duration;

use serde_json::Value;
use tests::{Daemon, Redis, Signal, Stopwatch, deployment, diagnose, eventually, pause};

const SECOND: Duration = Duration::from_secs(1);

/// Long enough for anything that a few rounds show, also on a busy machine.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_primary_demoted_to_its_own_replica_is_a_loop_behind_green_links() {
    demoted_to_its_own_replica("redis-7.0.15", 1.0);
}

#[test]
fn a_primary_demoted_to_its_own_replica_is_a_loop_on_an_older_server() {
    demoted_to_its_own_replica("redis-6.2.14", 0.0);
}

/// `links` is what the links of the two nodes in the circle say.
fn demoted_to_its_own_replica(version: &'static str, links: f64) {
    let a = Redis::of(version, &[]);
    let (b, c) = (a.replica(), a.replica());
    let urls = [a.url(), b.url(), c.url()];
    let urls = urls.each_ref().map(String::as_str);
    let daemon = Daemon::serve(&urls);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b, &c]);
    assert_eq!((value(&daemon, LOOP), value(&daemon, NO_PRIMARY), value(&daemon, NO_PRIMARY_SECONDS)), (Some(0.0), Some(0.0), Some(0.0)));

    let begun = Stopwatch::start();
    follow(&a, &b);
    daemon.until(SOON, LOOP, &[], 1.0);
    daemon.until(SOON, NO_PRIMARY, &[], 1.0);
    for node in [&a, &b] {
        daemon.until(SOON, "redis_master_link_up", &[("node", &node.address())], links);
    }
    assert_eq!(daemon.until_event(SOON, "primary_lost")["why"], "loop");
    daemon.until_found(SOON, "RedisReplicationLoop");
    daemon.until_found(SOON, "RedisNoPrimary");
    assert_eq!(daemon.samples().count("redis_deployment_primary_info", &[]), 0, "none is primary");
    let (code, text, found) = diagnose(&urls);
    println!("{text}");
    assert_eq!(code, Some(1), "{text}");
    for kind in ["RedisReplicationLoop", "RedisNoPrimary"] {
        assert!(found.contains(&(kind.to_owned(), None)), "{found:?}");
        assert_eq!(severity(&daemon, kind).as_deref(), Some("critical"));
    }

    promote(&a);
    daemon.until_event(SOON, "primary_regained");
    assert_eq!((value(&daemon, LOOP), value(&daemon, NO_PRIMARY)), (Some(0.0), Some(0.0)));
    until_primary(&daemon, &a, "sole");
    let (lasted, told) = (begun.elapsed().as_secs_f64(), value(&daemon, NO_PRIMARY_SECONDS).expect("seconds"));
    assert!(told >= 1.0 && told <= lasted + 1.0, "{told} s of at most {lasted} s");
    until_linked(&daemon, &[&b, &c]);
    assert!(severity(&daemon, "RedisReplicationLoop").is_none() && severity(&daemon, "RedisNoPrimary").is_none());
    let (code, text, _) = diagnose(&urls);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!((count(&daemon, "primary_lost"), count(&daemon, "primary_changed")), (1, 0));
}

#[test]
fn a_mended_loop_leaves_no_finding_behind() {
    let a = Redis::start(&[]);
    let (b, c) = (a.replica(), a.replica());
    let daemon = Daemon::watch(&[&a, &b, &c]);
    until_primary(&daemon, &a, "sole");
    follow(&a, &b);
    daemon.until(SOON, LOOP, &[], 1.0);
    promote(&a);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b, &c]);
    until_quiet(&daemon);
}

#[test]
fn a_promotion_by_hand_is_a_split_brain_and_each_write_on_the_old_primary_is_counted() {
    const WRITES: u32 = 25;
    let a = Redis::start(&[]);
    let (b, c) = (a.replica(), a.replica());
    let urls = [a.url(), b.url(), c.url()];
    let urls = urls.each_ref().map(String::as_str);
    let daemon = Daemon::serve(&urls);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b, &c]);
    for key in 0..5 {
        a.cli(&["SET", &format!("expiring{key}"), "1", "PX", "4000"]);
    }

    promote(&b);
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    until_primary(&daemon, &b, "lineage");
    assert_eq!(severity(&daemon, "RedisSplitBrain").as_deref(), Some("info"), "a routine failover looks like this for a while");
    let changed = daemon.until_event(SOON, "primary_changed");
    assert_eq!((&changed["from"], &changed["to"], &changed["cause"]), (&a.address().into(), &b.address().into(), &"operator".into()));
    let began = daemon.until_event(SOON, "split_brain_began");
    assert_eq!(began["masters"], serde_json::json!([a.address(), b.address()]));
    assert_eq!(daemon.samples().get("redis_deployment_primary_changes_total", &[("cause", "operator")]), Some(1.0));

    // What moves the replication offset and is no write.
    for message in 0..10 {
        a.cli(&["PUBLISH", "channel", &message.to_string()]);
    }
    eventually(SOON, "five keys expired", || (a.info("expired_keys")? == "5").then_some(()));
    let_pass(&daemon, 2.0);
    assert_eq!(value(&daemon, LOST), Some(0.0));
    for key in 0..WRITES {
        a.cli(&["SET", &format!("lost{key}"), "1"]);
    }
    // The primary may write as it likes.
    b.cli(&["SET", "kept", "1"]);
    daemon.until(SOON, LOST, &[], f64::from(WRITES));
    until_severity(&daemon, "RedisSplitBrain", "critical");
    assert_eq!(severity(&daemon, "RedisWritesLost").as_deref(), Some("critical"));
    assert!(value(&daemon, "redis_deployment_unreplicated_bytes") > Some(0.0));
    let (code, text, found) = diagnose(&urls);
    println!("{text}");
    assert_eq!(code, Some(1), "{text}");
    assert!(found.contains(&("RedisSplitBrain".to_owned(), None)), "{found:?}");

    follow(&a, &b);
    let ended = daemon.until_event(SOON, "split_brain_ended");
    assert_eq!(ended["unreplicated_writes"], WRITES);
    assert!(ended["seconds"].as_f64() >= Some(2.0), "{ended}");
    assert!(ended["unreplicated_bytes"].as_u64() > Some(0), "{ended}");
    assert_eq!((value(&daemon, SPLIT_BRAIN), value(&daemon, LOST)), (Some(0.0), Some(f64::from(WRITES))));
    assert!(value(&daemon, SPLIT_BRAIN_SECONDS) >= Some(2.0));
    until_primary(&daemon, &b, "sole");
    assert_eq!((severity(&daemon, "RedisSplitBrain"), severity(&daemon, "RedisWritesLost").as_deref()), (None, Some("critical")));
    assert_eq!(["primary_changed", "split_brain_began", "split_brain_ended"].map(|kind| count(&daemon, kind)), [1; 3]);
    assert_eq!(b.cli(&["DBSIZE"]).trim(), "1", "and so it was");
}

#[test]
fn a_promotion_by_hand_without_writes_loses_none() {
    let a = Redis::start(&[]);
    let b = a.replica();
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);
    for key in 0..100 {
        a.cli(&["SET", &format!("replicated{key}"), "1"]);
    }
    eventually(SOON, "replicated", || (b.cli(&["DBSIZE"]).trim() == "100").then_some(()));
    let_pass(&daemon, 1.0);

    promote(&b);
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    let_pass(&daemon, 3.0);
    follow(&a, &b);
    let ended = daemon.until_event(SOON, "split_brain_ended");
    assert_eq!(ended["unreplicated_writes"], 0);
    let_pass(&daemon, 2.0);
    assert_eq!((value(&daemon, SPLIT_BRAIN), value(&daemon, LOST)), (Some(0.0), Some(0.0)));
    assert_eq!(["lagging_promotion", "primary_lost"].map(|kind| count(&daemon, kind)), [0; 2], "{:?}", daemon.events());
    until_quiet(&daemon);
}

#[test]
fn the_failover_command_is_named_and_splits_nothing() {
    for version in ["redis-7.0.15", "valkey-9.1.2"] {
        let a = Redis::of(version, &[]);
        let b = a.replica();
        let daemon = Daemon::watch(&[&a, &b]);
        until_primary(&daemon, &a, "sole");
        until_linked(&daemon, &[&b]);
        for key in 0..100 {
            a.cli(&["SET", &format!("key{key}"), "1"]);
        }
        assert_eq!(a.cli(&["FAILOVER"]).trim(), "OK");
        let changed = daemon.until_event(SOON, "primary_changed");
        assert_eq!(
            (&changed["from"], &changed["to"], &changed["cause"]),
            (&a.address().into(), &b.address().into(), &"failover_command".into())
        );
        until_primary(&daemon, &b, "sole");
        let_pass(&daemon, 2.0);
        assert_eq!(daemon.samples().get("redis_deployment_primary_changes_total", &[("cause", "failover_command")]), Some(1.0));
        assert_eq!((value(&daemon, LOST), value(&daemon, SPLIT_BRAIN_SECONDS)), (Some(0.0), Some(0.0)));
        for kind in ["split_brain_began", "lagging_promotion"] {
            assert_eq!(count(&daemon, kind), 0, "{version}: {:?}", daemon.events());
        }
        assert_eq!(b.cli(&["DBSIZE"]).trim(), "100");
        until_quiet(&daemon);
    }
}

#[test]
fn a_failover_command_is_named_also_when_its_two_halves_are_seen_in_two_rounds() {
    let a = Redis::start(&[]);
    let b = a.replica();
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);
    let_pass(&daemon, 1.0);
    // The primary steps back by force, and its successor cannot take over before it wakes up.
    b.signal(Signal::Stop);
    a.cli(&["SET", "key", "1"]);
    a.cli(&["FAILOVER", "TO", "127.0.0.1", &b.port.to_string(), "FORCE", "TIMEOUT", "100"]);
    daemon.until(SOON, "redis_role", &[("node", &a.address()), ("role", "replica")], 1.0);
    b.signal(Signal::Cont);
    let changed = daemon.until_event(SOON, "primary_changed");
    assert_eq!((&changed["to"], &changed["cause"]), (&b.address().into(), &"failover_command".into()), "{:?}", daemon.events());
    until_primary(&daemon, &b, "sole");
    assert_eq!(count(&daemon, "split_brain_began"), 0);
}

#[test]
fn the_promotion_of_a_lagging_replica_tells_what_it_lacked() {
    let mut a = Redis::start(&[]);
    let b = a.replica();
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);

    // More than what the kernel holds for a replica that does not read; the rest dies with the primary.
    b.signal(Signal::Stop);
    a.cli(&["EVAL", "for i = 1, 32 do redis.call('SET', 'key' .. i, string.rep('x', 1048576)) end", "0"]);
    let written = number(&a, "master_repl_offset");
    eventually(SOON, "a round saw what was written", || {
        (daemon.samples().get("redis_master_repl_offset", &[("node", &a.address())])? >= written as f64).then_some(())
    });
    a.kill();
    b.signal(Signal::Cont);
    promote(&b);

    let lagging = daemon.until_event(SOON * 2, "lagging_promotion");
    let taken_over = number(&b, "second_repl_offset") - 1;
    let (told, lacked) = (lagging["bytes"].as_u64().expect("bytes"), written - taken_over);
    println!("lacked {lacked} bytes, told {told}");
    assert!(lacked > 1 << 20, "the replica really lacked {lacked} bytes");
    // The primary may have sent a ping between the two readings.
    assert!(told.abs_diff(lacked) < 100, "told {told}, lacked {lacked}");
    assert_eq!(lagging["node"], b.address());
    let changed = daemon.until_event(SOON, "primary_changed");
    assert_eq!((&changed["to"], &changed["cause"]), (&b.address().into(), &"operator".into()));
    assert_eq!((count(&daemon, "lagging_promotion"), count(&daemon, "split_brain_began")), (1, 0));
}

#[test]
fn a_promotion_after_a_crash_of_a_replica_that_had_everything_is_no_lagging_one() {
    let mut a = Redis::start(&[]);
    let b = a.replica();
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);
    a.cli(&["EVAL", "for i = 1, 1000 do redis.call('SET', 'key' .. i, string.rep('x', 1024)) end", "0"]);
    eventually(SOON, "replicated", || (b.cli(&["DBSIZE"]).trim() == "1000").then_some(()));
    let_pass(&daemon, 1.0);
    a.kill();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    promote(&b);
    assert_eq!(daemon.until_event(SOON, "primary_changed")["cause"], "operator");
    let_pass(&daemon, 2.0);
    assert_eq!(["lagging_promotion", "split_brain_began"].map(|kind| count(&daemon, kind)), [0; 2], "{:?}", daemon.events());
    assert_eq!(value(&daemon, LOST), Some(0.0));
}

#[test]
fn a_primary_that_comes_back_with_its_data_is_a_restart() {
    let mut a = Redis::start(&["--appendonly", "yes"]);
    let b = a.replica();
    fill(&a, &b);
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);

    a.kill();
    a.restart();
    let restarted = daemon.until_event(SOON * 2, "restarted");
    assert_eq!(restarted["node"], a.address());
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 1.0);
    until_linked(&daemon, &[&b]);
    let_pass(&daemon, 3.0);
    assert_eq!((a.cli(&["DBSIZE"]).trim(), b.cli(&["DBSIZE"]).trim()), ("100", "100"));
    assert_eq!(value(&daemon, "redis_deployment_emptied_total"), Some(0.0));
    assert_eq!(["primary_changed", "split_brain_began"].map(|kind| count(&daemon, kind)), [0; 2], "{:?}", daemon.events());
    until_primary(&daemon, &a, "sole");
    until_quiet(&daemon);
}

#[test]
fn a_primary_that_comes_back_without_its_data_takes_the_replica_with_it() {
    let mut a = Redis::start(&[]);
    let b = a.replica();
    fill(&a, &b);
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);
    daemon.until(SOON, "redis_deployment_emptied_total", &[], 0.0);
    let_pass(&daemon, 1.0);

    a.kill();
    a.restart();
    daemon.until(SOON * 2, "redis_deployment_emptied_total", &[], 1.0);
    until_severity(&daemon, "RedisPrimaryRestartedEmpty", "critical");
    let found = finding(&daemon, "RedisPrimaryRestartedEmpty").expect("a finding");
    assert_eq!((&found["evidence"]["keys_before"], &found["evidence"]["primary"]), (&100.into(), &a.address().into()));
    assert_eq!(daemon.until_event(SOON, "restarted")["node"], a.address());
    until_linked(&daemon, &[&b]);
    eventually(SOON, "the replica is empty", || (b.cli(&["DBSIZE"]).trim() == "0").then_some(()));
    let_pass(&daemon, 3.0);
    assert_eq!(value(&daemon, "redis_deployment_emptied_total"), Some(1.0));
    assert_eq!(["primary_changed", "split_brain_began"].map(|kind| count(&daemon, kind)), [0; 2], "{:?}", daemon.events());
}

#[test]
fn a_dead_primary_that_nobody_replaces_is_no_primary_after_down_after() {
    let mut a = Redis::start(&["--appendonly", "yes"]);
    let b = a.replica();
    let urls = [a.url(), b.url()];
    let urls = urls.each_ref().map(String::as_str);
    let daemon = Daemon::serve(&urls);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);

    a.kill();
    let killed = Stopwatch::start();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    assert_eq!(value(&daemon, NO_PRIMARY), Some(0.0), "it may be back in a moment");
    daemon.until(SOON, NO_PRIMARY, &[], 1.0);
    let seen = killed.elapsed();
    println!("no primary {seen:?} after the kill");
    // Its last answer came up to an interval before the kill.
    assert!(seen >= SECOND.mul_f64(1.9) && seen <= SECOND * 6, "after {seen:?}");
    assert_eq!(daemon.until_event(SOON, "primary_lost")["why"], "primary_down");
    for kind in ["RedisNoPrimary", "RedisDown"] {
        until_severity(&daemon, kind, "critical");
    }
    let (code, text, found) = diagnose(&urls);
    println!("{text}");
    assert_eq!(code, Some(1), "{text}");
    assert!(found.contains(&("RedisDown".to_owned(), Some(a.address()))), "{found:?}");

    a.restart();
    daemon.until_event(SOON * 2, "primary_regained");
    assert_eq!(value(&daemon, NO_PRIMARY), Some(0.0));
    assert!(value(&daemon, NO_PRIMARY_SECONDS) >= Some(1.0));
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);
    until_quiet(&daemon);
    assert_eq!(["primary_lost", "primary_regained", "primary_changed"].map(|kind| count(&daemon, kind)), [1, 1, 0]);
}

#[test]
fn two_unrelated_servers_are_a_mistake_and_no_split_brain() {
    let (a, b) = (Redis::start(&[]), Redis::start(&[]));
    a.cli(&["SET", "a", "1"]);
    b.cli(&["SET", "b", "1"]);
    let urls = [a.url(), b.url()];
    let urls = urls.each_ref().map(String::as_str);
    let daemon = Daemon::serve(&urls);
    eventually(SOON, "unrelated masters", || (value(&daemon, UNRELATED)? >= 1.0).then_some(()));
    let_pass(&daemon, 5.0);
    assert_eq!((value(&daemon, SPLIT_BRAIN), value(&daemon, SPLIT_BRAIN_SECONDS)), (Some(0.0), Some(0.0)));
    assert_eq!(severity(&daemon, "RolecallUnrelatedMasters").as_deref(), Some("warning"));
    assert_eq!(pages(&daemon), Vec::<String>::new());
    let (code, text, found) = diagnose(&urls);
    println!("{text}");
    assert_eq!((code, found), (Some(1), vec![("RolecallUnrelatedMasters".to_owned(), None)]), "{text}");
}

#[test]
fn an_empty_server_that_joins_is_no_split_brain() {
    let a = Redis::start(&[]);
    let b = a.replica();
    fill(&a, &b);
    let joining = Redis::start(&[]);
    let daemon = Daemon::watch(&[&a, &b, &joining]);
    until_primary(&daemon, &a, "lineage");
    until_linked(&daemon, &[&b]);
    daemon.until(SOON, "redis_deployment_masters", &[], 2.0);
    let_pass(&daemon, 3.0);
    assert_eq!((value(&daemon, SPLIT_BRAIN), value(&daemon, UNRELATED)), (Some(0.0), Some(1.0)));
    assert_eq!(pages(&daemon), Vec::<String>::new());

    follow(&joining, &a);
    until_linked(&daemon, &[&joining]);
    until_primary(&daemon, &a, "sole");
    until_quiet(&daemon);
    assert_eq!((value(&daemon, SPLIT_BRAIN), value(&daemon, UNRELATED)), (Some(0.0), Some(0.0)));
    assert_eq!(value(&daemon, SPLIT_BRAIN_SECONDS), Some(0.0));
    assert_eq!(["primary_changed", "split_brain_began", "primary_lost"].map(|kind| count(&daemon, kind)), [0; 3], "{:?}", daemon.events());
}

#[test]
fn a_change_of_role_is_on_metrics_within_an_interval() {
    let a = Redis::start(&[]);
    let b = a.replica();
    let daemon = Daemon::watch(&[&a, &b]);
    until_linked(&daemon, &[&b]);
    let node = b.address();
    for turn in 0..6_u32 {
        // Not always right after a round.
        pause(SECOND / 7 * turn);
        let role = if turn % 2 == 0 { "master" } else { "replica" };
        let begun = Stopwatch::start();
        if turn % 2 == 0 {
            promote(&b);
        } else {
            follow(&b, &a);
        }
        daemon.until(SOON, "redis_role", &[("node", &node), ("role", role)], 1.0);
        let took = begun.elapsed();
        println!("{role} after {took:?}");
        assert!(took <= SECOND * 2, "{role} after {took:?}: the interval is 1 s");
    }
}

#[test]
fn a_failover_while_the_exporter_was_down_is_seen_with_a_state_file_only() {
    let mut a = Redis::start(&[]);
    let b = a.replica();
    fill(&a, &b);
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state.json");
    let without = deployment("orders", &[&a, &b]);
    let with = format!("state_file = '{}'\n{without}", state.display());
    let mut daemon = Daemon::configured(&with);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);
    daemon.signal(Signal::Term);
    daemon.end(SOON);
    println!("{}", std::fs::read_to_string(&state).expect("it was written"));

    promote(&b);
    a.kill();
    a.restart();
    a.cli(&["SET", "elsewhere", "1"]);
    for node in [&a, &b] {
        assert_eq!(node.info("role").as_deref(), Some("master"));
    }

    let (knowing, ignorant) = (Daemon::configured(&with), Daemon::configured(&without));
    knowing.until(SOON, SPLIT_BRAIN, &[], 1.0);
    until_primary(&knowing, &b, "lineage");
    let changed = knowing.until_event(SOON, "primary_changed");
    println!("{changed}");
    assert_eq!((&changed["from"], &changed["to"]), (&a.address().into(), &b.address().into()));
    assert_eq!(knowing.until_event(SOON, "split_brain_began")["masters"], serde_json::json!([a.address(), b.address()]));
    assert_eq!(knowing.until_event(SOON, "restarted")["node"], a.address());
    assert_eq!(value(&knowing, UNRELATED), Some(0.0));
    knowing.until_found(SOON, "RedisSplitBrain");

    ignorant.until_found(SOON, "RolecallUnrelatedMasters");
    let_pass(&ignorant, 3.0);
    assert!(value(&ignorant, UNRELATED) >= Some(1.0));
    assert_eq!(value(&ignorant, SPLIT_BRAIN), Some(0.0));
    assert_eq!(["primary_changed", "split_brain_began"].map(|kind| count(&ignorant, kind)), [0; 2], "{:?}", ignorant.events());
}

#[test]
fn a_broken_state_file_is_a_warning_and_is_replaced() {
    let a = Redis::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state.json");
    std::fs::write(&state, "{ broken").expect("a file");
    let mut daemon = Daemon::configured(&format!("state_file = '{}'\n{}", state.display(), deployment("orders", &[&a])));
    until_primary(&daemon, &a, "sole");
    let warnings: Vec<_> = daemon.log().into_iter().filter(|line| line.contains("level=warn")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("the state file"), "{warnings:?}");
    daemon.signal(Signal::Term);
    assert!(daemon.end(SOON).0.success());
    let text = std::fs::read_to_string(&state).expect("a file");
    let kept: Value = serde_json::from_str(&text).expect("a whole document");
    assert_eq!(kept["deployments"]["orders"]["primary"], a.address());
}

#[test]
fn a_frozen_primary_that_wakes_up_beside_its_successor_is_a_split_brain_from_its_first_answer() {
    const WRITES: u32 = 12;
    let a = Redis::start(&[]);
    let b = a.replica();
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);

    a.signal(Signal::Stop);
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    promote(&b);
    let changed = daemon.until_event(SOON, "primary_changed");
    assert_eq!((&changed["from"], &changed["to"], &changed["cause"]), (&a.address().into(), &b.address().into(), &"operator".into()));
    let_pass(&daemon, 2.0);
    assert_eq!((value(&daemon, SPLIT_BRAIN), count(&daemon, "split_brain_began")), (Some(0.0), 0), "nobody can write to a frozen server");

    a.signal(Signal::Cont);
    let seen = daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    println!("split brain {seen:?} after it woke up");
    assert!(seen <= SECOND * 3, "{seen:?}");
    let (began, back) = (daemon.until_event(SOON, "split_brain_began"), daemon.until_event(SOON, "node_back"));
    assert_eq!(began["at"], back["at"], "in one round");
    until_primary(&daemon, &b, "lineage");
    assert_eq!(value(&daemon, LOST), Some(0.0));
    for key in 0..WRITES {
        a.cli(&["SET", &format!("lost{key}"), "1"]);
    }
    daemon.until(SOON, LOST, &[], f64::from(WRITES));
    follow(&a, &b);
    assert_eq!(daemon.until_event(SOON, "split_brain_ended")["unreplicated_writes"], WRITES);
    assert_eq!(["primary_changed", "split_brain_began", "split_brain_ended"].map(|kind| count(&daemon, kind)), [1; 3]);
}

#[test]
fn a_promotion_beside_a_primary_that_is_frozen_for_longer_accrues_no_split_brain() {
    let a = Redis::start(&[]);
    let b = a.replica();
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);
    a.signal(Signal::Stop);
    promote(&b);
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    assert_eq!(daemon.until_event(SOON, "primary_changed")["to"], b.address());
    until_primary(&daemon, &b, "sole");
    let_pass(&daemon, 1.0);
    println!("split brains while it was frozen: {}", count(&daemon, "split_brain_began"));
    assert_eq!((value(&daemon, SPLIT_BRAIN), value(&daemon, LOST)), (Some(0.0), Some(0.0)));
    assert_eq!(value(&daemon, SPLIT_BRAIN_SECONDS), Some(0.0), "no round saw two masters");
    assert_eq!(count(&daemon, "split_brain_began"), count(&daemon, "split_brain_ended"), "{:?}", daemon.events());
    assert_eq!(["primary_changed", "primary_lost"].map(|kind| count(&daemon, kind)), [1, 0]);
}

#[test]
fn an_old_primary_that_comes_back_beside_its_successor_loses_each_write_since_its_start() {
    const WRITES: u32 = 15;
    let mut a = Redis::start(&["--appendonly", "no"]);
    let b = a.replica();
    fill(&a, &b);
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);

    a.kill();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    promote(&b);
    daemon.until_event(SOON, "primary_changed");
    // A server tells its age in whole seconds.
    let_pass(&daemon, 1.0);
    a.restart();
    // Some of them before any round can see it.
    for key in 0..WRITES {
        a.cli(&["SET", &format!("lost{key}"), "1"]);
        b.cli(&["SET", &format!("kept{key}"), "1"]);
    }
    daemon.until(SOON * 2, SPLIT_BRAIN, &[], 1.0);
    until_primary(&daemon, &b, "lineage");
    daemon.until(SOON, LOST, &[], f64::from(WRITES));
    let_pass(&daemon, 2.0);
    assert_eq!((value(&daemon, LOST), value(&daemon, UNRELATED)), (Some(f64::from(WRITES)), Some(0.0)));
    assert_eq!(value(&daemon, "redis_deployment_emptied_total"), Some(0.0), "it was not the primary any more");
    until_severity(&daemon, "RedisWritesLost", "critical");

    follow(&a, &b);
    assert_eq!(daemon.until_event(SOON, "split_brain_ended")["unreplicated_writes"], WRITES);
    until_linked(&daemon, &[&a]);
    until_primary(&daemon, &b, "sole");
    assert_eq!(["primary_changed", "split_brain_began", "split_brain_ended"].map(|kind| count(&daemon, kind)), [1; 3]);
    assert_eq!(a.cli(&["DBSIZE"]).trim(), (100 + WRITES).to_string(), "and so it was");
}

#[test]
fn a_promotion_that_is_taken_back_is_two_changes_of_the_primary() {
    let a = Redis::start(&[]);
    let b = a.replica();
    let daemon = Daemon::watch(&[&a, &b]);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);
    promote(&b);
    until_primary(&daemon, &b, "lineage");
    follow(&b, &a);
    until_primary(&daemon, &a, "sole");
    until_linked(&daemon, &[&b]);
    eventually(SOON, "both changes", || (count(&daemon, "primary_changed") == 2).then_some(()));
    let events = daemon.events();
    let changes: Vec<_> = events.iter().filter(|event| event["kind"] == "primary_changed").collect();
    println!("{changes:?}");
    assert_eq!([&changes[0]["to"], &changes[1]["to"]], [&Value::from(b.address()), &Value::from(a.address())]);
    assert_eq!(["split_brain_began", "split_brain_ended"].map(|kind| count(&daemon, kind)), [1; 2]);
    assert_eq!((value(&daemon, SPLIT_BRAIN), value(&daemon, LOST)), (Some(0.0), Some(0.0)));
    until_quiet(&daemon);
}

// === What the tests share ===

const LOOP: &str = "redis_deployment_replication_loop";
const NO_PRIMARY: &str = "redis_deployment_no_primary";
const NO_PRIMARY_SECONDS: &str = "redis_deployment_no_primary_seconds_total";
const SPLIT_BRAIN: &str = "redis_deployment_split_brain";
const SPLIT_BRAIN_SECONDS: &str = "redis_deployment_split_brain_seconds_total";
const LOST: &str = "redis_deployment_unreplicated_writes_total";
const UNRELATED: &str = "redis_deployment_unrelated_masters";

fn follow(node: &Redis, master: &Redis) {
    assert_eq!(node.cli(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]).trim(), "OK");
}

fn promote(node: &Redis) {
    assert_eq!(node.cli(&["REPLICAOF", "NO", "ONE"]).trim(), "OK");
}

/// A hundred keys, on both.
fn fill(primary: &Redis, replica: &Redis) {
    primary.cli(&["EVAL", "for i = 1, 100 do redis.call('SET', 'key' .. i, i) end", "0"]);
    eventually(SOON, "replicated", || (replica.cli(&["DBSIZE"]).trim() == "100").then_some(()));
}

fn number(node: &Redis, field: &str) -> u64 {
    node.info(field).and_then(|number| number.parse().ok()).expect("a number")
}

/// The one value of the deployment.
fn value(daemon: &Daemon, name: &str) -> Option<f64> {
    daemon.samples().get(name, &[])
}

#[track_caller]
fn until_primary(daemon: &Daemon, node: &Redis, evidence: &str) {
    daemon.until(SOON, "redis_deployment_primary_info", &[("node", &node.address()), ("evidence", evidence)], 1.0);
}

#[track_caller]
fn until_linked(daemon: &Daemon, replicas: &[&Redis]) {
    for replica in replicas {
        daemon.until(SOON * 2, "redis_link_state", &[("node", &replica.address()), ("state", "up")], 1.0);
    }
}

/// Waits until that many more rounds are over, after the running one.
#[track_caller]
fn let_pass(daemon: &Daemon, rounds: f64) {
    let now = value(daemon, "rolecall_rounds_total").expect("rounds");
    let limit = SOON + SECOND.mul_f64(rounds);
    eventually(limit, "rounds go on", || (value(daemon, "rolecall_rounds_total")? > now + rounds).then_some(()));
}

fn count(daemon: &Daemon, kind: &str) -> usize {
    daemon.events().iter().filter(|event| event["kind"] == kind).count()
}

fn finding(daemon: &Daemon, kind: &str) -> Option<Value> {
    let document = daemon.document("/api/v1/findings");
    document["findings"].as_array().expect("a list").iter().find(|finding| finding["kind"] == kind).cloned()
}

fn severity(daemon: &Daemon, kind: &str) -> Option<String> {
    finding(daemon, kind)?["severity"].as_str().map(str::to_owned)
}

#[track_caller]
fn until_severity(daemon: &Daemon, kind: &str, wanted: &str) {
    eventually(SOON, &format!("{kind} is {wanted}"), || (severity(daemon, kind)? == wanted).then_some(()));
}

/// The findings that would wake somebody.
fn pages(daemon: &Daemon) -> Vec<String> {
    let document = daemon.document("/api/v1/findings");
    let found = document["findings"].as_array().expect("a list").iter().filter(|finding| finding["severity"] == "critical");
    found.map(|finding| finding["kind"].to_string()).collect()
}

/// Waits until there is no finding any more.
#[track_caller]
fn until_quiet(daemon: &Daemon) {
    // What stays for longer is shown, not only that something did.
    let mut left = daemon.findings();
    for _ in 0..50 {
        if left.is_empty() {
            return;
        }
        pause(SECOND / 10);
        left = daemon.findings();
    }
    panic!("still found: {left:?}");
}
