//! Faults of roles and endpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::{
    FakeServer, Proxy, Redis, RoundRobinProxy, SECOND, Writer, deployment, eventually, pause,
};

use crate::harness::{SERVER_TIMEOUT, Scenario, ScenarioResult, ScenarioRun};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 1,
        name: "configured_master_demoted_manually",
        quick: true,
        run: unexpected_role,
    },
    Scenario {
        row: 2,
        name: "replica_promoted_while_its_master_runs",
        quick: true,
        run: split_brain,
    },
    Scenario { row: 4, name: "primary_killed_without_sentinels", quick: true, run: primary_killed },
    Scenario {
        row: 4,
        name: "primary_made_a_replica_of_a_closed_port",
        quick: true,
        run: no_primary,
    },
    Scenario {
        row: 4,
        name: "primary_made_a_replica_of_its_own_replica",
        quick: true,
        run: replication_loop,
    },
    Scenario {
        row: 4,
        name: "every_pod_as_its_own_master",
        quick: false,
        run: every_pod_is_master,
    },
    Scenario {
        row: 5,
        name: "failover_command_on_a_primary_with_one_replica",
        quick: false,
        run: primary_changed,
    },
    Scenario {
        row: 2,
        name: "failover_command_under_writes",
        quick: false,
        run: failover_command_under_writes,
    },
    Scenario { row: 5, name: "three_failovers_in_a_row", quick: false, run: role_flapping },
    Scenario {
        row: 38,
        name: "primary_endpoint_still_on_the_old_primary",
        quick: false,
        run: primary_endpoint_wrong,
    },
    Scenario {
        row: 38,
        name: "reader_endpoint_on_an_unrelated_server",
        quick: false,
        run: reader_endpoint_wrong,
    },
    Scenario {
        row: 41,
        name: "primary_restarted_without_its_data",
        quick: false,
        run: primary_restarted_empty,
    },
    Scenario {
        row: 49,
        name: "primary_made_a_replica_of_a_foreign_master",
        quick: false,
        run: dataset_replaced,
    },
    Scenario {
        row: 49,
        name: "primary_migrated_by_an_operator",
        quick: false,
        run: dataset_migrated,
    },
    Scenario { row: 50, name: "server_of_two_deployments", quick: false, run: node_shared },
    Scenario { row: 55, name: "proxy_over_three_servers", quick: false, run: node_ambiguous },
    Scenario { row: 58, name: "node_with_an_unknown_role", quick: false, run: unknown_role },
    Scenario { row: 1, name: "recovery_site_promoted", quick: false, run: recovery_site_promoted },
];

/// Starts a primary and two replicas.
fn primary_with_two_replicas(options: &[&str]) -> (Redis, Redis, Redis) {
    let primary = Redis::start(options);
    let (first, second) = (primary.replica(), primary.replica());
    (primary, first, second)
}

/// Makes a node the primary again, and waits until the replicas are synchronised with it.
fn restore_primary(primary: &Redis, replicas: [&Redis; 2]) {
    primary.promote();
    for replica in replicas {
        replica.until_synchronised();
    }
}

// === Roles ===

fn unexpected_role() -> ScenarioResult {
    let a = Redis::start(&[]);
    let b = a.replica();
    let nodes = format!("{{ url = '{}', role = 'master' }}, {{ url = '{}' }}", a.url(), b.url());
    let scenario =
        ScenarioRun::start(&format!("[[deployment]]\nname = 'orders'\nnodes = [{nodes}]\n"));
    let swap_roles = |from: &Redis, to: &Redis| {
        to.promote();
        from.replicate_from(to);
        from.until_synchronised();
    };
    let fault = scenario.inject(|_| swap_roles(&a, &b), &[("RedisUnexpectedRole", "critical")]);
    fault.repair(|_| swap_roles(&b, &a), &[])
}

fn split_brain() -> ScenarioResult {
    let (a, b, c) = primary_with_two_replicas(&[]);
    let scenario = ScenarioRun::start(&deployment("orders", &[&a, &b, &c]));
    let fault = scenario.inject(|_| b.promote(), &[("RedisSplitBrain", "critical")]);
    let repair = |_: &ScenarioRun| {
        for replica in [&a, &c] {
            replica.replicate_from(&b);
            replica.until_synchronised();
        }
    };
    fault.repair(repair, &[])
}

fn primary_killed() -> ScenarioResult {
    let (mut a, b, c) = primary_with_two_replicas(&["--appendonly", "yes"]);
    let scenario = ScenarioRun::start(&deployment("orders", &[&a, &b, &c]));
    let fault = scenario.inject(|_| a.kill(), &[("RedisDown", "critical")]);
    fault.scenario.until_inhibited(&["RedisNoPrimary", "RedisReplicaLinkDown"]);
    let repair = |_: &ScenarioRun| {
        a.restart();
        b.until_synchronised();
        c.until_synchronised();
    };
    fault.repair(repair, &[])
}

fn no_primary() -> ScenarioResult {
    let (a, b, c) = primary_with_two_replicas(&[]);
    let closed_port = tests::free_port().to_string();
    let scenario = ScenarioRun::start(&deployment("orders", &[&a, &b, &c]));
    let demote =
        |_: &ScenarioRun| assert_eq!(a.cli(&["REPLICAOF", "127.0.0.1", &closed_port]).trim(), "OK");
    let fault = scenario.inject(demote, &[("RedisNoPrimary", "critical")]);
    fault.repair(|_| restore_primary(&a, [&b, &c]), &[])
}

fn replication_loop() -> ScenarioResult {
    let (a, b, c) = primary_with_two_replicas(&[]);
    let scenario = ScenarioRun::start(&deployment("orders", &[&a, &b, &c]));
    let fault = scenario.inject(|_| a.replicate_from(&b), &[("RedisReplicationLoop", "critical")]);
    fault.scenario.until_inhibited(&["RedisNoPrimary"]);
    fault.repair(|_| restore_primary(&a, [&b, &c]), &[])
}

/// Simulates a rollout whose start script finds no primary.
fn every_pod_is_master() -> ScenarioResult {
    let pods = [Redis::start(&[]), Redis::start(&[]), Redis::start(&[])];
    let text = deployment("orders", &[&pods[0]]);
    let scenario = ScenarioRun::start(&text);
    let start_pods = |scenario: &ScenarioRun| {
        scenario.daemon.reload(&deployment("orders", &pods.each_ref()));
        eventually(SERVER_TIMEOUT, "all pods are polled", || {
            (scenario.daemon.samples().count("redis_up", &[]) == 3).then_some(())
        });
    };
    let fault = scenario.inject(start_pods, &[("RolecallUnrelatedMasters", "critical")]);
    fault.repair(|scenario| scenario.daemon.reload(&text), &[])
}

fn primary_changed() -> ScenarioResult {
    let a = Redis::start(&[]);
    let b = a.replica();
    let scenario = ScenarioRun::start(&deployment("orders", &[&a, &b]));
    let change = |_: &ScenarioRun| {
        assert_eq!(a.cli(&["FAILOVER"]).trim(), "OK");
        a.until_synchronised();
    };
    scenario.expect_info_alert(change, "RedisPrimaryChanged")
}

fn failover_command_under_writes() -> ScenarioResult {
    let (a, b, c) = primary_with_two_replicas(&[]);
    let scenario = ScenarioRun::start(&deployment("orders", &[&a, &b, &c]));
    let mut writer = Writer::start(&a.address(), "kept", 50);
    let fail_over = |_: &ScenarioRun| {
        eventually(SERVER_TIMEOUT, "a client writes", || {
            (writer.acknowledged() > 50).then_some(())
        });
        assert_eq!(a.cli(&["FAILOVER", "TO", "127.0.0.1", &b.port.to_string()]).trim(), "OK");
        a.until_synchronised();
    };
    let result = scenario.expect_no_alert(fail_over, SECOND * 30);
    assert!(writer.stop() > 50, "a client wrote");
    result
}

fn role_flapping() -> ScenarioResult {
    let a = Redis::start(&[]);
    let b = a.replica();
    let scenario = ScenarioRun::start(&deployment("orders", &[&a, &b]));
    let change = |_: &ScenarioRun| {
        for (from, to) in [(&a, &b), (&b, &a), (&a, &b)] {
            assert_eq!(from.cli(&["FAILOVER"]).trim(), "OK");
            from.until_synchronised();
            assert_eq!(to.info("role").as_deref(), Some("master"));
            // Wait until Rolecall has seen the failover.
            pause(SECOND * 3);
        }
    };
    let fault = scenario.inject(change, &[("RedisRoleFlapping", "warning")]);
    // The alert ends when its range of one hour has passed.
    fault.repair(|_| (), &[])
}

// === Endpoints ===

/// Returns a `[[deployment]]` section with these servers and endpoints.
fn with_endpoints(servers: &[&Redis], writer: &Proxy, reader: &Proxy) -> String {
    let (writer, reader) = (writer.peer.url(), reader.peer.url());
    format!(
        "{}endpoints = {{ primary = '{writer}', reader = '{reader}' }}\n",
        deployment("orders", servers)
    )
}

fn primary_endpoint_wrong() -> ScenarioResult {
    let a = Redis::start(&[]);
    let b = a.replica();
    let (writer, reader) = (Proxy::start(a.port), Proxy::start(b.port));
    let scenario = ScenarioRun::start(&with_endpoints(&[&a, &b], &writer, &reader));
    let fail_over = |_: &ScenarioRun| {
        b.promote();
        a.replicate_from(&b);
        reader.redirect_to(a.port);
    };
    let fault = scenario.inject(fail_over, &[("RedisPrimaryEndpointWrong", "critical")]);
    fault.repair(|_| writer.redirect_to(b.port), &[])
}

fn reader_endpoint_wrong() -> ScenarioResult {
    let (a, unrelated) = (Redis::start(&[]), Redis::start(&[]));
    let b = a.replica();
    let (writer, reader) = (Proxy::start(a.port), Proxy::start(b.port));
    let scenario = ScenarioRun::start(&with_endpoints(&[&a, &b], &writer, &reader));
    let fault = scenario.inject(
        |_| reader.redirect_to(unrelated.port),
        &[("RedisPrimaryEndpointWrong", "warning")],
    );
    fault.repair(|_| reader.redirect_to(b.port), &[])
}

// === Data ===

fn primary_restarted_empty() -> ScenarioResult {
    let mut a = Redis::start(&[]);
    let b = a.replica();
    a.fill(&b);
    let scenario = ScenarioRun::start(&deployment("orders", &[&a, &b]));
    let restart = |_: &ScenarioRun| {
        a.kill();
        a.restart();
        eventually(SERVER_TIMEOUT, "the replica is empty", || {
            (b.cli(&["DBSIZE"]).trim() == "0").then_some(())
        });
    };
    let fault = scenario.inject(restart, &[("RedisPrimaryRestartedEmpty", "critical")]);
    fault.repair(|_| a.fill(&b), &[])
}

/// Starts a primary and a foreign master that both hold keys, and lets a command make the first one
/// a replica of the other. Then the primary gets its data back.
fn replaced_by(command: &str, severity: &'static str) -> ScenarioResult {
    let options = ["--repl-diskless-sync-delay", "0"];
    let (a, foreign) = (Redis::start(&options), Redis::start(&options));
    let b = a.replica();
    a.fill(&b);
    foreign.cli(&["SET", "foreign", "1"]);
    let scenario = ScenarioRun::start(&deployment("orders", &[&a, &b]));
    let replace = |scenario: &ScenarioRun| {
        a.cli(&[command, "127.0.0.1", &foreign.port.to_string()]);
        scenario.daemon.until_event(SERVER_TIMEOUT, "dataset_replaced");
        // The deployment needs a primary, so that nothing else is reported.
        a.promote();
        b.until_synchronised();
    };
    let fault = scenario.inject(replace, &[("RedisDatasetReplaced", severity)]);
    let restore = |_: &ScenarioRun| {
        a.cli(&["FLUSHALL"]);
        a.fill(&b);
    };
    fault.repair(restore, &[])
}

fn dataset_replaced() -> ScenarioResult {
    replaced_by("SLAVEOF", "critical")
}

fn dataset_migrated() -> ScenarioResult {
    replaced_by("REPLICAOF", "warning")
}

fn node_shared() -> ScenarioResult {
    let (a, other) = (Redis::start(&[]), Redis::start(&[]));
    let text = deployment("orders", &[&a]) + &deployment("carts", &[&other]);
    let scenario = ScenarioRun::start(&text);
    let copy = deployment("orders", &[&a]) + &deployment("copy", &[&a]);
    let share = |scenario: &ScenarioRun| scenario.daemon.reload(&copy);
    let fault = scenario
        .inject(share, &[("RolecallNodeShared", "warning"), ("RolecallNodeShared", "warning")]);
    fault.repair(|scenario| scenario.daemon.reload(&text), &[])
}

fn node_ambiguous() -> ScenarioResult {
    let servers = [Redis::start(&[]), Redis::start(&[]), Redis::start(&[])];
    let proxy = RoundRobinProxy::start(&servers.each_ref().map(|server| server.port));
    let nodes =
        |url: &str| format!("[[deployment]]\nname = 'orders'\nnodes = [{{ url = '{url}' }}]\n");
    let scenario = ScenarioRun::start(&nodes(&servers[0].url()));
    let configure = |scenario: &ScenarioRun| scenario.daemon.reload(&nodes(&proxy.peer.url()));
    let fault = scenario.inject(configure, &[("RolecallNodeAmbiguous", "warning")]);
    fault.repair(|scenario| scenario.daemon.reload(&nodes(&servers[0].url())), &[])
}

fn unknown_role() -> ScenarioResult {
    let is_active = Arc::new(AtomicBool::new(false));
    let role = Arc::clone(&is_active);
    let server = FakeServer::with_info(move || {
        let role = if role.load(Ordering::Relaxed) { "active-replica" } else { "master" };
        format!("redis_version:6.3.4\r\nrun_id:a\r\nuptime_in_seconds:9000\r\nrole:{role}\r\n")
    });
    let url = server.stub.url();
    let scenario =
        ScenarioRun::start(&format!("[[deployment]]\nname = 'a'\nnodes = [{{ url = '{url}' }}]\n"));
    let set = |active| is_active.store(active, Ordering::Relaxed);
    let fault = scenario.inject(|_| set(true), &[("RolecallUnknownRole", "warning")]);
    fault.repair(|_| set(false), &[])
}

fn recovery_site_promoted() -> ScenarioResult {
    let external = Redis::start(&[]);
    let site = external.replica();
    external.fill(&site);
    let text = deployment("site", &[&site]) + "expect = { primary = 'external' }\n";
    let scenario = ScenarioRun::start(&text);
    let fault = scenario.inject(|_| site.promote(), &[("RedisUnexpectedRole", "critical")]);
    let repair = |_: &ScenarioRun| {
        site.replicate_from(&external);
        site.until_synchronised();
    };
    fault.repair(repair, &[])
}
