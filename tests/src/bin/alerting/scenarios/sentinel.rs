//! Faults in deployments that Sentinels monitor, and faults of the Sentinels themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{
    MASTER, SECOND, SentinelDeployment, SentinelSetup, Server, Side, Signal, SplitNetwork, Writer,
    eventually, pause, sentinel_deployment,
};

use crate::harness::{AGREEMENT_TIMEOUT, SERVER_TIMEOUT, Scenario, ScenarioResult, ScenarioRun};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 2,
        name: "planned_sentinel_failover_without_writes",
        quick: false,
        run: planned_failover,
    },
    Scenario {
        row: 2,
        name: "planned_sentinel_failover_under_writes",
        quick: false,
        run: planned_failover_under_writes,
    },
    Scenario {
        row: 3,
        name: "network_partition_with_writes_on_both_sides",
        quick: false,
        run: writes_lost,
    },
    Scenario { row: 14, name: "two_of_three_sentinels_killed", quick: false, run: quorum_lost },
    Scenario { row: 14, name: "one_of_three_sentinels_killed", quick: false, run: sentinel_down },
    Scenario {
        row: 14,
        name: "all_sentinels_and_nodes_killed",
        quick: false,
        run: everything_killed,
    },
    Scenario {
        row: 14,
        name: "sentinel_that_missed_a_failover",
        quick: false,
        run: sentinel_missed_failover,
    },
    Scenario {
        row: 14,
        name: "sentinels_report_a_manually_demoted_primary",
        quick: false,
        run: sentinels_report_demoted_primary,
    },
    Scenario {
        row: 14,
        name: "master_removed_from_one_sentinel",
        quick: false,
        run: sentinel_misconfigured,
    },
    Scenario {
        row: 14,
        name: "sentinel_paused_for_three_seconds",
        quick: false,
        run: sentinel_tilt,
    },
    Scenario {
        row: 14,
        name: "dead_sentinel_still_listed_by_the_others",
        quick: false,
        run: sentinel_ghosts,
    },
    Scenario {
        row: 53,
        name: "all_replicas_with_priority_zero",
        quick: false,
        run: failover_not_ready,
    },
    Scenario { row: 59, name: "master_added_beyond_the_limit", quick: false, run: limit_exceeded },
];

/// Time to wait after an operation that must not cause a notification: several times the waiting
/// times of rules and Alertmanager together.
const SILENCE: Duration = Duration::from_secs(30);

/// Reduces the periods of the Sentinels to a tenth, like the durations of the rules. This affects,
/// for example, how soon they demote a former primary.
fn shorten_periods(group: &SentinelDeployment) {
    for sentinel in &group.sentinels {
        let periods = ["info-period", "1000", "publish-period", "200", "ask-period", "100"];
        assert_eq!(sentinel.execute(&[&["SENTINEL", "DEBUG"], &periods[..]].concat()), ["OK"]);
    }
}

fn planned_failover() -> ScenarioResult {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    shorten_periods(&group);
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let since = scenario.pipeline.now();
    let before = group.failover();
    group.until_failed_over(AGREEMENT_TIMEOUT, &before);
    group.until_replicating(AGREEMENT_TIMEOUT);
    pause(SILENCE);
    let samples = scenario.daemon.samples();
    assert!(
        samples.get("redis_deployment_split_brain_seconds_total", &[]) > Some(0.0),
        "there were two masters during the failover"
    );
    assert_eq!(
        samples.get("redis_deployment_primary_changes_total", &[("cause", "sentinel")]),
        Some(1.0)
    );
    assert_eq!(
        scenario.pipeline.notified_since(since),
        BTreeSet::new(),
        "findings: {:?}",
        scenario.daemon.findings()
    );
    ScenarioResult::no_alert()
}

/// The client stays with the old primary until Sentinel demotes it. Its writes are lost, as Redis
/// works that way: a ticket, and no page.
fn planned_failover_under_writes() -> ScenarioResult {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let before = group.primary().address();
    let mut lost = Writer::start(&before, "lost", 20);
    eventually(AGREEMENT_TIMEOUT, "a client writes", || (lost.acknowledged() > 20).then_some(()));
    let (pipeline, since) = (&scenario.pipeline, scenario.pipeline.now());
    group.failover();
    group.until_failed_over(AGREEMENT_TIMEOUT, &before);
    let begun = pipeline.now();
    // Then the client moves to the new primary.
    scenario.daemon.until_event(AGREEMENT_TIMEOUT, "split_brain_ended");
    assert!(lost.stop() > 100, "the client wrote to the old primary");
    let notified =
        pipeline.until_notified(AGREEMENT_TIMEOUT * 2, since, "RedisWritesLost", "warning");
    let ended = pipeline.now();
    let resolved = pipeline.until_resolved(AGREEMENT_TIMEOUT * 4, since);
    let seen = pipeline.notified_since(since);
    let is_expected = |(alert, severity): &(String, String)| {
        severity == "warning" && ["RedisSplitBrain", "RedisWritesLost"].contains(&alert.as_str())
    };
    assert!(seen.iter().all(is_expected), "no page: {seen:?}");
    let name = |(alert, severity): &(String, String)| format!("{alert} {severity}");
    ScenarioResult {
        alert: "RedisWritesLost".to_owned(),
        notified_after: notified.saturating_sub(begun),
        expected: vec!["RedisSplitBrain warning".to_owned(), "RedisWritesLost warning".to_owned()],
        seen: seen.iter().map(name).collect(),
        resolved_after: resolved.saturating_sub(ended),
    }
}

fn writes_lost() -> ScenarioResult {
    const PER_SECOND: u32 = 10;
    let mut sides = SplitNetwork::new();
    let places =
        [sides.add_host(Side::Left), sides.add_host(Side::Right), sides.add_host(Side::Right)];
    let group = SentinelDeployment::start_at(&SentinelSetup::default(), &places, &places);
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let mut lost = Writer::start(&group.nodes[0].address(), "lost", PER_SECOND);
    let mut kept = None;
    let cut = |_: &ScenarioRun| {
        sides.partition();
        let promoted =
            || group.nodes[1..].iter().find(|node| node.role().as_deref() == Some("master"));
        let (promoted, _) =
            eventually(AGREEMENT_TIMEOUT, "the other side promotes a primary", promoted);
        kept = Some(Writer::start(&promoted.address(), "kept", PER_SECOND));
    };
    // It may be a failover for 15 s.
    let fault =
        scenario.inject(cut, &[("RedisSplitBrain", "critical"), ("RedisSplitBrain", "warning")]);
    fault.scenario.until_inhibited(&["RedisSentinelDisagreement"]);
    // The old primary loses its writes when Sentinel demotes it.
    let repair = |scenario: &ScenarioRun| {
        assert!(
            lost.stop() > 50 && kept.as_mut().is_some_and(|kept| kept.stop() > 50),
            "both sides accept writes"
        );
        sides.heal();
        let pipeline = &scenario.pipeline;
        let since = Duration::ZERO;
        // Sentinel demotes the old primary, the split brain is over for 30 s, and the group of the
        // deployment is notified again.
        pipeline.until_notified(AGREEMENT_TIMEOUT * 2, since, "RedisWritesLost", "warning");
    };
    fault.repair(repair, &["RedisWritesLost"])
}

fn quorum_lost() -> ScenarioResult {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let kill = |_: &ScenarioRun| group.sentinels[1..].iter_mut().for_each(Server::kill);
    // The critical alert reports the lost quorum. The warning names the Sentinels that are down.
    let fault = scenario
        .inject(kill, &[("RedisSentinelQuorumLost", "critical"), ("RedisSentinelDown", "warning")]);
    let repair = |_: &ScenarioRun| {
        group.sentinels[1..].iter_mut().for_each(Server::restart);
        group.until_discovered();
    };
    fault.repair(repair, &[])
}

fn everything_killed() -> ScenarioResult {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let scenario = ScenarioRun::start(&group.deployment("orders", ""));
    let kill = |_: &ScenarioRun| {
        group.sentinels.iter_mut().chain(&mut group.nodes).for_each(Server::kill);
    };
    // No replica is left, so each RedisDown is critical.
    let expected = [("RedisDown", "critical"), ("RedisSentinelDown", "warning")];
    let fault = scenario.inject(kill, &expected);
    fault.scenario.until_inhibited(&["RedisNoPrimary"]);
    let repair = |_: &ScenarioRun| {
        group.nodes.iter_mut().chain(&mut group.sentinels).for_each(Server::restart);
        group.until_replicating(AGREEMENT_TIMEOUT);
    };
    fault.repair(repair, &[])
}

fn sentinel_down() -> ScenarioResult {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let fault = scenario.inject(|_| group.sentinels[2].kill(), &[("RedisSentinelDown", "warning")]);
    let repair = |_: &ScenarioRun| {
        group.sentinels[2].restart();
        group.until_discovered();
    };
    fault.repair(repair, &[])
}

fn sentinel_missed_failover() -> ScenarioResult {
    let mut sides = SplitNetwork::new();
    let (one, other, alone) =
        (sides.add_host(Side::Right), sides.add_host(Side::Right), sides.add_host(Side::Left));
    let group = SentinelDeployment::start_at(
        &SentinelSetup::default(),
        &[one.clone(), other.clone()],
        &[one, other, alone],
    );
    shorten_periods(&group);
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let cut = |_: &ScenarioRun| {
        sides.partition();
        let before = group.failover();
        eventually(AGREEMENT_TIMEOUT, "the failover completes", || {
            group.primary_according_to(1).filter(|named| *named != before)
        });
        assert_eq!(group.primary_according_to(2), Some(before));
    };
    let fault = scenario.inject(cut, &[("RedisSentinelDisagreement", "warning")]);
    let repair = |_: &ScenarioRun| {
        sides.heal();
        let named = group.primary_according_to(0).expect("the Sentinel does not reply");
        group.until_all_report(AGREEMENT_TIMEOUT * 2, &named);
    };
    fault.repair(repair, &[])
}

/// Makes the commands of the Sentinels fail, as with a user that lacks the permissions. Then the
/// Sentinels cannot undo a manual change of the primary.
fn sentinels_report_demoted_primary() -> ScenarioResult {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    shorten_periods(&group);
    let rename_slaveof = |command: &str| {
        for sentinel in &group.sentinels {
            assert_eq!(
                sentinel.execute(&[
                    "SENTINEL",
                    "SET",
                    MASTER,
                    "rename-command",
                    "SLAVEOF",
                    command
                ]),
                ["OK"]
            );
        }
    };
    let promote_manually = |primary: &Server| {
        assert_eq!(primary.execute(&["REPLICAOF", "NO", "ONE"]), ["OK"]);
        for node in group.nodes.iter().filter(|node| node.port != primary.port) {
            assert_eq!(
                node.execute(&["REPLICAOF", &primary.host, &primary.port.to_string()]),
                ["OK"]
            );
        }
    };
    rename_slaveof("NOT_ALLOWED");
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let fault = scenario.inject(
        |_| promote_manually(&group.nodes[1]),
        &[("RedisSentinelDisagreement", "critical")],
    );
    let repair = |_: &ScenarioRun| {
        promote_manually(&group.nodes[0]);
        rename_slaveof("SLAVEOF");
    };
    fault.repair(repair, &[])
}

fn sentinel_misconfigured() -> ScenarioResult {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let third = &group.sentinels[2];
    let fault = scenario.inject(
        |_| assert_eq!(third.execute(&["SENTINEL", "REMOVE", MASTER]), ["OK"]),
        &[("RedisSentinelMisconfigured", "warning")],
    );
    let repair = |_: &ScenarioRun| {
        let primary = group.primary();
        assert_eq!(
            third.execute(&[
                "SENTINEL",
                "MONITOR",
                MASTER,
                &primary.host,
                &primary.port.to_string(),
                "2"
            ]),
            ["OK"]
        );
        group.until_discovered();
    };
    fault.repair(repair, &[])
}

fn sentinel_tilt() -> ScenarioResult {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let freeze = |_: &ScenarioRun| {
        group.sentinels[2].signal(Signal::Stop);
        pause(SECOND * 3);
        group.sentinels[2].signal(Signal::Cont);
    };
    let fault = scenario.inject(freeze, &[("RedisSentinelTilt", "warning")]);
    // The Sentinel leaves TILT mode after 30 s.
    fault.repair(|_| (), &[])
}

fn sentinel_ghosts() -> ScenarioResult {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    shorten_periods(&group);
    // Rolecall discovers the third Sentinel only through the other two.
    let urls = [group.sentinels[0].url(), group.sentinels[1].url()];
    let scenario = ScenarioRun::start(&sentinel_deployment(
        "sessions",
        Some(MASTER),
        &urls,
        "ghost_after = '3s'",
    ));
    let fault =
        scenario.inject(|_| group.sentinels[2].kill(), &[("RedisSentinelGhosts", "warning")]);
    let repair = |_: &ScenarioRun| {
        // Reset one Sentinel at a time. Continue when it knows the other Sentinel again.
        for sentinel in &group.sentinels[..2] {
            assert_eq!(sentinel.execute(&["SENTINEL", "RESET", MASTER]), ["1"]);
            let knows = || {
                sentinel
                    .try_execute(&["SENTINEL", "CKQUORUM", MASTER])
                    .filter(|reply| reply[0].starts_with("OK"))
            };
            eventually(SERVER_TIMEOUT, "the Sentinel reaches its quorum", knows);
        }
    };
    fault.repair(repair, &[])
}

/// Sentinels promote no replica, and CKQUORUM says OK.
fn failover_not_ready() -> ScenarioResult {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let set_priority = |priority: &str| {
        for replica in group.replicas() {
            let set = ["CONFIG", "SET", "replica-priority", priority];
            assert_eq!(replica.execute(&set), ["OK"]);
        }
    };
    let fault = scenario
        .inject(|_: &ScenarioRun| set_priority("0"), &[("RedisFailoverNotReady", "warning")]);
    let quorum = group.sentinels[0].execute(&["SENTINEL", "CKQUORUM", MASTER]).concat();
    assert!(quorum.starts_with("OK"), "{quorum}");
    let refused = group.sentinels[0].execute(&["SENTINEL", "FAILOVER", MASTER]).concat();
    assert!(refused.contains("NOGOODSLAVE"), "{refused}");
    fault.repair(|_: &ScenarioRun| set_priority("100"), &[])
}

fn limit_exceeded() -> ScenarioResult {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let added = Server::standalone("redis-7.0.15");
    let urls: Vec<_> = group.sentinels.iter().map(Server::url).collect();
    let limits = "limits = { masters = 1 }";
    let scenario = ScenarioRun::start(&sentinel_deployment("{master}", None, &urls, limits));
    let execute = |command: &[&str]| {
        for sentinel in &group.sentinels {
            assert_eq!(sentinel.execute(command), ["OK"]);
        }
    };
    let monitor = ["SENTINEL", "MONITOR", "added", &added.host, &added.port.to_string(), "2"];
    let fault = scenario.inject(|_| execute(&monitor), &[("RolecallLimitExceeded", "warning")]);
    fault.repair(|_| execute(&["SENTINEL", "REMOVE", "added"]), &[])
}
