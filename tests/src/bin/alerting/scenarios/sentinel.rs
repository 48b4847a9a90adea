//! Deployments that Sentinels watch, and the Sentinels themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{
    Group, MASTER, SECOND, Server, Setup, Side, Sides, Signal, Writer, eventually, pause,
    watched_deployment,
};

use crate::story::{LATER, SOON, Scenario, Story, Told};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 2,
        name: "a_planned_failover_without_writes",
        quick: false,
        run: planned_failover,
    },
    Scenario {
        row: 3,
        name: "a_partition_with_writes_on_both_sides",
        quick: false,
        run: writes_lost,
    },
    Scenario { row: 14, name: "two_of_three_sentinels_killed", quick: false, run: quorum_lost },
    Scenario { row: 14, name: "one_of_three_sentinels_killed", quick: false, run: sentinel_down },
    Scenario {
        row: 14,
        name: "a_sentinel_that_missed_a_failover",
        quick: false,
        run: sentinel_dissents,
    },
    Scenario {
        row: 14,
        name: "sentinels_that_name_a_primary_demoted_by_hand",
        quick: false,
        run: sentinels_err,
    },
    Scenario {
        row: 14,
        name: "a_sentinel_that_forgot_its_master",
        quick: false,
        run: sentinel_misconfigured,
    },
    Scenario {
        row: 14,
        name: "a_sentinel_paused_for_three_seconds",
        quick: false,
        run: sentinel_tilt,
    },
    Scenario { row: 14, name: "a_sentinel_gone_for_good", quick: false, run: sentinel_ghosts },
];

/// How long nothing may arrive after something that should tell nobody: several times what rules and Alertmanager wait together.
const SILENCE: Duration = Duration::from_secs(30);

/// Has Sentinels do at a tenth of the time what they do by the clock, as the rules do: to demote a former primary, for one.
fn hasten(group: &Group) {
    for sentinel in &group.sentinels {
        let periods = ["info-period", "1000", "publish-period", "200", "ask-period", "100"];
        assert_eq!(sentinel.ask(&[&["SENTINEL", "DEBUG"], &periods[..]].concat()), ["OK"]);
    }
}

fn planned_failover() -> Told {
    let group = Group::start(&Setup::default());
    hasten(&group);
    let story = Story::begin(&group.deployment("sessions", ""));
    let since = story.pager.now();
    let before = group.failover();
    group.until_failed_over(LATER, &before);
    group.until_following(LATER);
    pause(SILENCE);
    let samples = story.daemon.samples();
    assert!(
        samples.get("redis_deployment_split_brain_seconds_total", &[]) > Some(0.0),
        "there were two masters for a while"
    );
    assert_eq!(
        samples.get("redis_deployment_primary_changes_total", &[("cause", "sentinel")]),
        Some(1.0)
    );
    assert_eq!(story.pager.paged(since), BTreeSet::new(), "found: {:?}", story.daemon.findings());
    Told::nothing()
}

fn writes_lost() -> Told {
    const PER_SECOND: u32 = 10;
    let mut sides = Sides::new();
    let places = [sides.place(Side::Left), sides.place(Side::Right), sides.place(Side::Right)];
    let group = Group::start_at(&Setup::default(), &places, &places);
    let story = Story::begin(&group.deployment("sessions", ""));
    let mut lost = Writer::start(&group.nodes[0].address(), "lost", PER_SECOND);
    let mut kept = None;
    let cut = |_: &Story| {
        sides.cut();
        let promoted =
            || group.nodes[1..].iter().find(|node| node.role().as_deref() == Some("master"));
        let (promoted, _) = eventually(LATER, "the other side has a primary of its own", promoted);
        kept = Some(Writer::start(&promoted.address(), "kept", PER_SECOND));
    };
    let faulty = story.fault(cut, &[("RedisWritesLost", "critical")]);
    faulty.story.until_hidden(&["RedisSplitBrain", "RedisSentinelDisagreement"]);
    let mend = |_: &Story| {
        assert!(
            lost.stop() > 50 && kept.as_mut().is_some_and(|kept| kept.stop() > 50),
            "both sides take writes"
        );
        sides.heal();
    };
    faulty.mend(mend, &[])
}

fn quorum_lost() -> Told {
    let mut group = Group::start(&Setup::default());
    let story = Story::begin(&group.deployment("sessions", ""));
    let kill = |_: &Story| group.sentinels[1..].iter_mut().for_each(Server::kill);
    // The page says what that means, the ticket which of them are to be started.
    let faulty = story
        .fault(kill, &[("RedisSentinelQuorumLost", "critical"), ("RedisSentinelDown", "warning")]);
    let mend = |_: &Story| {
        group.sentinels[1..].iter_mut().for_each(Server::restart);
        group.until_known();
    };
    faulty.mend(mend, &[])
}

fn sentinel_down() -> Told {
    let mut group = Group::start(&Setup::default());
    let story = Story::begin(&group.deployment("sessions", ""));
    let faulty = story.fault(|_| group.sentinels[2].kill(), &[("RedisSentinelDown", "warning")]);
    let mend = |_: &Story| {
        group.sentinels[2].restart();
        group.until_known();
    };
    faulty.mend(mend, &[])
}

fn sentinel_dissents() -> Told {
    let mut sides = Sides::new();
    let (one, other, alone) =
        (sides.place(Side::Right), sides.place(Side::Right), sides.place(Side::Left));
    let group =
        Group::start_at(&Setup::default(), &[one.clone(), other.clone()], &[one, other, alone]);
    hasten(&group);
    let story = Story::begin(&group.deployment("sessions", ""));
    let cut = |_: &Story| {
        sides.cut();
        let before = group.failover();
        eventually(LATER, "failed over", || group.named_by(1).filter(|named| *named != before));
        assert_eq!(group.named_by(2), Some(before));
    };
    let faulty = story.fault(cut, &[("RedisSentinelDisagreement", "warning")]);
    let mend = |_: &Story| {
        sides.heal();
        let named = group.named_by(0).expect("it answers");
        group.until_named(LATER * 2, &named);
    };
    faulty.mend(mend, &[])
}

/// Sentinels whose own commands fail, as those of a user that lacks the right, cannot follow what an operator did.
fn sentinels_err() -> Told {
    let group = Group::start(&Setup::default());
    hasten(&group);
    let have_them_send = |command: &str| {
        for sentinel in &group.sentinels {
            assert_eq!(
                sentinel.ask(&["SENTINEL", "SET", MASTER, "rename-command", "SLAVEOF", command]),
                ["OK"]
            );
        }
    };
    let move_to = |primary: &Server| {
        assert_eq!(primary.ask(&["REPLICAOF", "NO", "ONE"]), ["OK"]);
        for node in group.nodes.iter().filter(|node| node.port != primary.port) {
            assert_eq!(node.ask(&["REPLICAOF", &primary.host, &primary.port.to_string()]), ["OK"]);
        }
    };
    have_them_send("NOT_ALLOWED");
    let story = Story::begin(&group.deployment("sessions", ""));
    let faulty =
        story.fault(|_| move_to(&group.nodes[1]), &[("RedisSentinelDisagreement", "critical")]);
    let mend = |_: &Story| {
        move_to(&group.nodes[0]);
        have_them_send("SLAVEOF");
    };
    faulty.mend(mend, &[])
}

fn sentinel_misconfigured() -> Told {
    let group = Group::start(&Setup::default());
    let story = Story::begin(&group.deployment("sessions", ""));
    let forgetful = &group.sentinels[2];
    let faulty = story.fault(
        |_| assert_eq!(forgetful.ask(&["SENTINEL", "REMOVE", MASTER]), ["OK"]),
        &[("RedisSentinelMisconfigured", "warning")],
    );
    let mend = |_: &Story| {
        let primary = group.primary();
        assert_eq!(
            forgetful.ask(&[
                "SENTINEL",
                "MONITOR",
                MASTER,
                &primary.host,
                &primary.port.to_string(),
                "2"
            ]),
            ["OK"]
        );
        group.until_known();
    };
    faulty.mend(mend, &[])
}

fn sentinel_tilt() -> Told {
    let group = Group::start(&Setup::default());
    let story = Story::begin(&group.deployment("sessions", ""));
    let freeze = |_: &Story| {
        group.sentinels[2].signal(Signal::Stop);
        pause(SECOND * 3);
        group.sentinels[2].signal(Signal::Cont);
    };
    let faulty = story.fault(freeze, &[("RedisSentinelTilt", "warning")]);
    // It trusts its clock again after 30 s.
    faulty.mend(|_| (), &[])
}

fn sentinel_ghosts() -> Told {
    let mut group = Group::start(&Setup::default());
    hasten(&group);
    // The third one is known from the others only.
    let urls = [group.sentinels[0].url(), group.sentinels[1].url()];
    let story =
        Story::begin(&watched_deployment("sessions", Some(MASTER), &urls, "ghost_after = '3s'"));
    let faulty = story.fault(|_| group.sentinels[2].kill(), &[("RedisSentinelGhosts", "warning")]);
    let mend = |_: &Story| {
        // One after the other, each once the one before knows the rest again.
        for sentinel in &group.sentinels[..2] {
            assert_eq!(sentinel.ask(&["SENTINEL", "RESET", MASTER]), ["1"]);
            let knows = || {
                sentinel
                    .try_ask(&["SENTINEL", "CKQUORUM", MASTER])
                    .filter(|reply| reply[0].starts_with("OK"))
            };
            eventually(SOON, "it knows another one", knows);
        }
    };
    faulty.mend(mend, &[])
}
