//! Writes that hang, and Sentinels that consider a healthy primary down.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{
    Connection, FaultyPath, MASTER, PathFault, Redis, SentinelDeployment, SentinelSetup, Server,
    Side, Signal, SplitNetwork, deployment, eventually, pause,
};

use crate::harness::{AGREEMENT_TIMEOUT, SERVER_TIMEOUT, Scenario, ScenarioResult, ScenarioRun};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 51,
        name: "failover_command_to_a_frozen_replica",
        quick: false,
        run: failover_waits,
    },
    Scenario { row: 51, name: "clients_paused_on_valkey", quick: false, run: paused_on_valkey },
    Scenario { row: 51, name: "clients_paused_on_redis", quick: false, run: paused_on_redis },
    Scenario {
        row: 52,
        name: "password_changed_everywhere_except_in_sentinels",
        quick: false,
        run: outdated_password,
    },
    Scenario {
        row: 52,
        name: "sentinel_cut_off_from_the_primary",
        quick: false,
        run: sentinel_cut_off,
    },
];

/// Time in which `RedisClientAuthFailing` would fire: its five minutes and those of its range,
/// divided by ten, and the waiting time of Alertmanager.
const CLIENT_BLAMED_AFTER: Duration = Duration::from_secs(60);

fn failover_waits() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let (replica, other) = (primary.replica(), primary.replica());
    let scenario = ScenarioRun::start(&deployment("a", &[&primary, &replica, &other]));
    let fail_over = |_: &ScenarioRun| {
        replica.signal(Signal::Stop);
        assert_eq!(primary.cli(&["SET", "key", "1"]).trim(), "OK");
        let port = replica.port.to_string();
        assert_eq!(primary.cli(&["FAILOVER", "TO", "127.0.0.1", &port]).trim(), "OK");
    };
    let fault =
        scenario.inject(fail_over, &[("RedisWritesBlocked", "critical"), ("RedisDown", "warning")]);
    let repair = |_: &ScenarioRun| {
        assert_eq!(primary.cli(&["FAILOVER", "ABORT"]).trim(), "OK");
        replica.signal(Signal::Cont);
    };
    fault.repair(repair, &[])
}

fn paused_on_valkey() -> ScenarioResult {
    let primary = Redis::with_version("valkey-9.1.2", &[]);
    let scenario = ScenarioRun::start(&deployment("a", &[&primary]));
    let paused = |_: &ScenarioRun| {
        assert_eq!(primary.cli(&["CLIENT", "PAUSE", "600000", "WRITE"]).trim(), "OK");
    };
    let fault = scenario.inject(paused, &[("RedisWritesBlocked", "critical")]);
    fault.repair(|_| assert_eq!(primary.cli(&["CLIENT", "UNPAUSE"]).trim(), "OK"), &[])
}

/// Redis does not show the pause: an info, and no page.
fn paused_on_redis() -> ScenarioResult {
    let primary = Redis::start(&[]);
    let scenario = ScenarioRun::start(&deployment("a", &[&primary]));
    let paused = |scenario: &ScenarioRun| {
        assert_eq!(primary.cli(&["CLIENT", "PAUSE", "600000", "WRITE"]).trim(), "OK");
        scenario.daemon.until_found(SERVER_TIMEOUT, "RedisTopologyCommand");
    };
    scenario.expect_info_alert(paused, "RedisTopologyCommand")
}

fn outdated_password() -> ScenarioResult {
    let setup = SentinelSetup { password: Some("old"), ..SentinelSetup::default() };
    let group = SentinelDeployment::start(&setup);
    // Rolecall and the replicas have the new password already.
    for node in &group.nodes {
        assert_eq!(node.execute(&["ACL", "SETUSER", "default", ">new"]), ["OK"]);
        assert_eq!(node.execute(&["CONFIG", "SET", "masterauth", "new"]), ["OK"]);
    }
    let scenario = ScenarioRun::start(&group.deployment("sessions", "password = 'new'"));
    let change = |_: &ScenarioRun| {
        for node in &group.nodes {
            remove_password(node, "old", "new");
        }
    };
    let expected = [("RedisSentinelCannotReach", "warning")];
    let fault = scenario.inject(change, &expected);
    let repair = |scenario: &ScenarioRun| {
        pause(CLIENT_BLAMED_AFTER);
        let notified = scenario.pipeline.notified_since(Duration::ZERO);
        let only = expected.map(|(alert, severity)| (alert.to_owned(), severity.to_owned()));
        assert_eq!(notified, BTreeSet::from(only), "no client is blamed");
        for sentinel in &group.sentinels {
            let set = ["SENTINEL", "SET", MASTER, "auth-pass", "new"];
            assert_eq!(sentinel.execute(&set), ["OK"]);
        }
        group_is_healthy(&group.sentinels);
    };
    fault.repair(repair, &[])
}

/// Removes a password of a node, and closes the connections of those who used it.
fn remove_password(node: &Server, old: &str, new: &str) {
    let mut connection = Connection::connect(&node.address(), Some(new)).expect("a connection");
    let remove = format!("<{old}");
    let removed = connection.execute(&["ACL", "SETUSER", "default", &remove]).expect("a reply");
    assert_eq!(removed, ["OK"]);
    for kind in ["normal", "pubsub"] {
        connection.execute(&["CLIENT", "KILL", "TYPE", kind]).expect("a reply");
    }
}

/// Waits until all Sentinels consider the primary alive.
fn group_is_healthy(sentinels: &[Server]) {
    eventually(AGREEMENT_TIMEOUT, "the Sentinels reach the primary", || {
        let is_up = |sentinel: &Server| sentinel.master(MASTER)["flags"] == "master";
        sentinels.iter().all(is_up).then_some(())
    });
}

fn sentinel_cut_off() -> ScenarioResult {
    let mut network = SplitNetwork::new();
    let places = [(); 4].map(|()| network.add_host(Side::Left));
    let [first, second, third, alone] = &places;
    let group = SentinelDeployment::start_at(
        &SentinelSetup::default(),
        &[first.clone(), second.clone(), third.clone()],
        &[second.clone(), third.clone(), alone.clone()],
    );
    let scenario = ScenarioRun::start(&group.deployment("sessions", ""));
    let mut path = None;
    let cut = |_: &ScenarioRun| path = Some(FaultyPath::new(alone, first, PathFault::Loss));
    let fault = scenario.inject(cut, &[("RedisSentinelCannotReach", "warning")]);
    let repair = |_: &ScenarioRun| {
        drop(path);
        group_is_healthy(&group.sentinels);
    };
    fault.repair(repair, &[])
}
