//! Split brains on real servers, and the writes that they lose.

use std::time::Duration;

use tests::{
    Daemon, Redis, SECOND, Signal, diagnose, eventually, primary_with_replica,
    primary_with_two_replicas,
};

use crate::disputes::advice::check_not_demoted;

/// Timeout for changes that show within a few rounds, also on a busy machine.
const SOON: Duration = Duration::from_secs(10);

const SPLIT_BRAIN: &str = "redis_deployment_split_brain";
const SPLIT_BRAIN_SECONDS: &str = "redis_deployment_split_brain_seconds_total";
const UNREPLICATED_WRITES: &str = "redis_deployment_unreplicated_writes_total";
const UNRELATED_MASTERS: &str = "redis_deployment_unrelated_masters";

#[test]
fn manual_promotion_counts_each_write_on_the_stale_master() {
    const WRITES: u32 = 25;
    let (a, b, c, daemon) = primary_with_two_replicas(Redis::start(&[]));
    for key in 0..5 {
        a.cli(&["SET", &format!("expiring{key}"), "1", "PX", "4000"]);
    }
    // A write that the replica does not have yet would really be lost.
    b.until_caught_up(&a);

    b.promote();
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    // C still follows A.
    daemon.until_primary(SOON, &a, "followers");
    assert_eq!(
        daemon.severity("RedisSplitBrain").as_deref(),
        Some("info"),
        "a routine failover also has two masters for a moment"
    );
    c.replicate_from(&b);
    daemon.until_primary(SOON, &b, "followers");
    let changed = daemon.until_event(SOON, "primary_changed");
    assert_eq!(
        (&changed["from"], &changed["to"], &changed["cause"]),
        (&a.address().into(), &b.address().into(), &"operator".into())
    );
    let began = daemon.until_event(SOON, "split_brain_began");
    assert_eq!(began["masters"], serde_json::json!([a.address(), b.address()]));
    assert_eq!(
        daemon.samples().get("redis_deployment_primary_changes_total", &[("cause", "operator")]),
        Some(1.0)
    );

    // Messages and expired keys advance the replication offset without a write.
    for message in 0..10 {
        a.cli(&["PUBLISH", "channel", &message.to_string()]);
    }
    eventually(SOON, "five keys expired", || (a.info("expired_keys")? == "5").then_some(()));
    daemon.until_rounds(2);
    assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0));
    for key in 0..WRITES {
        a.cli(&["SET", &format!("lost{key}"), "1"]);
    }
    // Writes on the primary are not lost.
    b.cli(&["SET", "kept", "1"]);
    daemon.until_rounds(2);
    assert_eq!(
        (daemon.value(UNREPLICATED_WRITES), daemon.severity("RedisWritesLost")),
        (Some(0.0), None),
        "the verdict against A is disputed"
    );
    // Both accept writes for more than 30 s.
    daemon.until_severity(SECOND * 45, "RedisSplitBrain", "critical");
    assert!(daemon.value("redis_deployment_unreplicated_bytes") > Some(0.0));
    let (code, text, findings) = diagnose(&[&a, &b, &c]);
    println!("{text}");
    assert_eq!(code, Some(1), "{text}");
    assert!(findings.contains(&("RedisSplitBrain".to_owned(), None)), "{findings:?}");

    a.replicate_from(&b);
    let ended = daemon.until_event(SOON, "split_brain_ended");
    assert_eq!(ended["unreplicated_writes"], WRITES);
    daemon.until(SOON, UNREPLICATED_WRITES, &[], f64::from(WRITES));
    assert!(ended["seconds"].as_f64() >= Some(2.0), "{ended}");
    assert!(ended["unreplicated_bytes"].as_u64() > Some(0), "{ended}");
    assert_eq!(
        (daemon.value(SPLIT_BRAIN), daemon.value(UNREPLICATED_WRITES)),
        (Some(0.0), Some(f64::from(WRITES)))
    );
    assert!(daemon.value(SPLIT_BRAIN_SECONDS) >= Some(2.0));
    daemon.until_primary(SOON, &b, "sole");
    assert_eq!(
        (daemon.severity("RedisSplitBrain"), daemon.severity("RedisWritesLost").as_deref()),
        (None, Some("warning"))
    );
    assert_eq!(
        ["primary_changed", "split_brain_began", "split_brain_ended"]
            .map(|kind| daemon.count(kind)),
        [1; 3]
    );
    assert_eq!(b.cli(&["DBSIZE"]).trim(), "1", "the primary has only its own key");
}

/// Checks that no command of a text that fences or demotes is sent to this node.
#[track_caller]
fn check_not_fenced(text: &str, node: &Redis) {
    check_not_demoted(text, &node.address());
}

#[test]
fn former_stale_master_that_is_primary_again_is_never_fenced() {
    let (a, b, daemon) = primary_with_replica(Redis::start(&[]));
    let runbook = |alert: &str, node: &str| {
        daemon.get(&format!("/runbooks/{alert}?deployment=default{node}"), "").text
    };
    let fence = |node: &Redis| {
        format!("-h 127.0.0.1 -p {} config set min-replicas-to-write 100", node.port)
    };

    let check_pages = |masters: &[&Redis]| {
        for alert in ["RedisWritesLost", "RedisSplitBrain", "RedisReplicaLinkDown", "RedisDown"] {
            for master in masters {
                let node = format!("&node={}", master.address());
                for node in ["", &node] {
                    check_not_fenced(&runbook(alert, node), master);
                }
            }
        }
    };

    // Nothing decides between the masters of a pair, and then only a client does.
    b.promote();
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    daemon.until_rounds(1);
    check_pages(&[&a, &b]);
    a.cli(&["SET", "lost", "1"]);
    daemon.until_primary(SOON, &a, "writers");
    check_pages(&[&a, &b]);

    a.replicate_from(&b);
    daemon.until_primary(SOON, &b, "sole");
    daemon.until(SOON, UNREPLICATED_WRITES, &[], 1.0);
    let page = runbook("RedisWritesLost", "");
    assert!(page.contains(&fence(&a)), "the stale master may be fenced: {page}");
    check_not_fenced(&page, &b);
    daemon.until_link(SOON * 2, &a, "up");

    // The second fault: the former stale master is promoted, and clients write to it.
    a.promote();
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    check_not_fenced(&diagnose(&[&a, &b]).1, &a);
    a.cli(&["SET", "kept", "1"]);
    daemon.until_primary(SOON, &a, "writers");
    check_pages(&[&a]);
    b.replicate_from(&a);
    daemon.until_primary(SOON, &a, "sole");
    check_pages(&[&a]);

    let finding = daemon.finding("RedisWritesLost").expect("the loss is shown for ten minutes");
    assert_eq!(finding["evidence"]["primary_again"], serde_json::json!([a.address()]));
    assert_eq!(finding["evidence"]["stale"], serde_json::json!([]));
    let page = runbook("RedisWritesLost", "");
    assert!(page.contains("This incident is over"), "{page}");
    assert!(page.contains("-h $HOST -p $PORT config set min-replicas-to-write 100"), "{page}");
    check_not_fenced(&diagnose(&[&a, &b]).1, &a);
    assert_eq!(daemon.count("split_brain_began"), 2, "the events keep both incidents");
}

#[test]
fn manual_promotion_without_writes_loses_none() {
    let (a, b, daemon) = primary_with_replica(Redis::start(&[]));
    for key in 0..100 {
        a.cli(&["SET", &format!("replicated{key}"), "1"]);
    }
    eventually(SOON, "replicated", || (b.cli(&["DBSIZE"]).trim() == "100").then_some(()));
    daemon.until_rounds(1);

    b.promote();
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    daemon.until_rounds(3);
    a.replicate_from(&b);
    let ended = daemon.until_event(SOON, "split_brain_ended");
    assert_eq!(ended["unreplicated_writes"], 0);
    daemon.until_rounds(2);
    assert_eq!(
        (daemon.value(SPLIT_BRAIN), daemon.value(UNREPLICATED_WRITES)),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(
        ["lagging_promotion", "primary_lost"].map(|kind| daemon.count(kind)),
        [0; 2],
        "{:?}",
        daemon.events()
    );
    daemon.until_no_findings(SECOND * 5);
}

#[test]
fn resumed_old_primary_is_a_split_brain_in_its_first_round() {
    const WRITES: u32 = 12;
    let (a, b, daemon) = primary_with_replica(Redis::start(&[]));

    a.signal(Signal::Stop);
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    b.promote();
    let changed = daemon.until_event(SOON, "primary_changed");
    assert_eq!(
        (&changed["from"], &changed["to"], &changed["cause"]),
        (&a.address().into(), &b.address().into(), &"operator".into())
    );
    daemon.until_rounds(2);
    assert_eq!(
        (daemon.value(SPLIT_BRAIN), daemon.count("split_brain_began")),
        (Some(0.0), 0),
        "a frozen server accepts no writes"
    );

    a.signal(Signal::Cont);
    let took = daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    println!("split brain {took:?} after the server resumed");
    assert!(took <= SECOND * 3, "{took:?}");
    let (began, back) =
        (daemon.until_event(SOON, "split_brain_began"), daemon.until_event(SOON, "node_back"));
    assert_eq!(began["at"], back["at"], "both in the same round");
    daemon.until_primary(SOON, &b, "lineage");
    assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0));
    for key in 0..WRITES {
        a.cli(&["SET", &format!("lost{key}"), "1"]);
    }
    // The clients of A decide for it, until it is demoted.
    daemon.until_primary(SOON, &a, "writers");
    daemon.until_rounds(2);
    assert_eq!(daemon.value(UNREPLICATED_WRITES), Some(0.0));
    a.replicate_from(&b);
    assert_eq!(daemon.until_event(SOON, "split_brain_ended")["unreplicated_writes"], WRITES);
    daemon.until(SOON, UNREPLICATED_WRITES, &[], f64::from(WRITES));
    eventually(SOON, "all primary changes", || {
        (daemon.count("primary_changed") == 3).then_some(())
    });
    assert_eq!(
        ["split_brain_began", "split_brain_ended", "primary_disputed", "primary_undisputed"]
            .map(|kind| daemon.count(kind)),
        [1; 4]
    );
}

#[test]
fn frozen_old_primary_adds_no_split_brain_time() {
    let (a, b, daemon) = primary_with_replica(Redis::start(&[]));
    a.signal(Signal::Stop);
    b.promote();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    assert_eq!(daemon.until_event(SOON, "primary_changed")["to"], b.address());
    daemon.until_primary(SOON, &b, "sole");
    daemon.until_rounds(1);
    println!(
        "split brains while the old primary was frozen: {}",
        daemon.count("split_brain_began")
    );
    assert_eq!(
        (daemon.value(SPLIT_BRAIN), daemon.value(UNREPLICATED_WRITES)),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(daemon.value(SPLIT_BRAIN_SECONDS), Some(0.0), "no round saw two masters");
    assert_eq!(
        daemon.count("split_brain_began"),
        daemon.count("split_brain_ended"),
        "{:?}",
        daemon.events()
    );
    assert_eq!(["primary_changed", "primary_lost"].map(|kind| daemon.count(kind)), [1, 0]);
}

#[test]
fn restarted_old_primary_loses_each_write_since_its_start() {
    const WRITES: u32 = 15;
    let mut a = Redis::start(&["--appendonly", "no"]);
    let b = a.replica();
    a.fill(&b);
    let daemon = Daemon::with_replicas(&a, &[&b]);

    a.kill();
    daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
    b.promote();
    daemon.until_event(SOON, "primary_changed");
    // INFO has the uptime in whole seconds.
    daemon.until_rounds(1);
    a.restart();
    // Some of these writes precede the first round after the restart.
    for key in 0..WRITES {
        a.cli(&["SET", &format!("lost{key}"), "1"]);
        b.cli(&["SET", &format!("kept{key}"), "1"]);
    }
    daemon.until(SOON * 2, SPLIT_BRAIN, &[], 1.0);
    daemon.until(SOON, "redis_deployment_primary_info", &[("node", &b.address())], 1.0);
    daemon.until(SOON, UNREPLICATED_WRITES, &[], f64::from(WRITES));
    daemon.until_rounds(2);
    assert_eq!(
        (daemon.value(UNREPLICATED_WRITES), daemon.value(UNRELATED_MASTERS)),
        (Some(f64::from(WRITES)), Some(0.0))
    );
    assert_eq!(
        daemon.value("redis_deployment_emptied_total"),
        Some(0.0),
        "the restarted node was no longer the primary"
    );
    // An operator promoted B, so this is no failover that ends by itself.
    daemon.until_severity(SOON, "RedisSplitBrain", "critical");
    assert_eq!(daemon.severity("RedisWritesLost"), None, "one incident, one finding");

    a.replicate_from(&b);
    assert_eq!(daemon.until_event(SOON, "split_brain_ended")["unreplicated_writes"], WRITES);
    daemon.until_link(SOON * 2, &a, "up");
    daemon.until_primary(SOON, &b, "sole");
    assert_eq!(
        ["primary_changed", "split_brain_began", "split_brain_ended"]
            .map(|kind| daemon.count(kind)),
        [1; 3]
    );
    assert_eq!(a.cli(&["DBSIZE"]).trim(), (100 + WRITES).to_string(), "the lost keys are gone");
}

#[test]
fn unrelated_masters_are_a_warning_and_no_split_brain() {
    let (a, b) = (Redis::start(&[]), Redis::start(&[]));
    a.cli(&["SET", "a", "1"]);
    b.cli(&["SET", "b", "1"]);
    let daemon = Daemon::watch(&[&a, &b]);
    eventually(SOON, "unrelated masters", || {
        (daemon.value(UNRELATED_MASTERS)? >= 1.0).then_some(())
    });
    daemon.until_rounds(5);
    assert_eq!(
        (daemon.value(SPLIT_BRAIN), daemon.value(SPLIT_BRAIN_SECONDS)),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(daemon.severity("RolecallUnrelatedMasters").as_deref(), Some("warning"));
    assert_eq!(critical_findings(&daemon), Vec::<String>::new());
    let (code, text, findings) = diagnose(&[&a, &b]);
    println!("{text}");
    assert_eq!(
        (code, findings),
        (Some(1), vec![("RolecallUnrelatedMasters".to_owned(), None)]),
        "{text}"
    );
}

#[test]
fn joining_empty_server_is_no_split_brain() {
    let a = Redis::start(&[]);
    let b = a.replica();
    a.fill(&b);
    let joining = Redis::start(&[]);
    let daemon = Daemon::watch(&[&a, &b, &joining]);
    daemon.until_primary(SOON, &a, "followers");
    daemon.until_link(SOON * 2, &b, "up");
    daemon.until(SOON, "redis_deployment_masters", &[], 2.0);
    daemon.until_rounds(3);
    assert_eq!(
        (daemon.value(SPLIT_BRAIN), daemon.value(UNRELATED_MASTERS)),
        (Some(0.0), Some(1.0))
    );
    assert_eq!(critical_findings(&daemon), Vec::<String>::new());

    joining.replicate_from(&a);
    daemon.until_link(SOON * 2, &joining, "up");
    daemon.until_primary(SOON, &a, "sole");
    daemon.until_no_findings(SECOND * 5);
    assert_eq!(
        (daemon.value(SPLIT_BRAIN), daemon.value(UNRELATED_MASTERS)),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(daemon.value(SPLIT_BRAIN_SECONDS), Some(0.0));
    assert_eq!(
        ["primary_changed", "split_brain_began", "primary_lost"].map(|kind| daemon.count(kind)),
        [0; 3],
        "{:?}",
        daemon.events()
    );
}

/// Returns the kinds of all critical findings.
fn critical_findings(daemon: &Daemon) -> Vec<String> {
    let document = daemon.document("/api/v1/findings");
    let critical = document["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|finding| finding["severity"] == "critical");
    critical.map(|finding| finding["kind"].to_string()).collect()
}
