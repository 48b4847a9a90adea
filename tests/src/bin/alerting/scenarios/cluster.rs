//! Faults in Redis Cluster.

use tests::{Cluster, ClusterSetup, SECOND, Server, Side, SplitNetwork, Writer, eventually};
use topology::limits::SLOT_OPEN_FOR;

use crate::harness::{AGREEMENT_TIMEOUT, Scenario, ScenarioResult, ScenarioRun};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 16,
        name: "cluster_master_killed_and_failed_over",
        quick: false,
        run: master_failed_over,
    },
    Scenario {
        row: 2,
        name: "cluster_failover_under_writes",
        quick: false,
        run: failover_under_writes,
    },
    Scenario { row: 16, name: "all_nodes_of_a_shard_killed", quick: false, run: shard_killed },
    Scenario { row: 16, name: "all_nodes_of_a_cluster_killed", quick: false, run: cluster_killed },
    Scenario { row: 16, name: "slot_removed_from_all_nodes", quick: false, run: slots_uncovered },
    Scenario {
        row: 16,
        name: "cluster_partitioned_into_two_working_sides",
        quick: false,
        run: cluster_partitioned,
    },
    Scenario {
        row: 16,
        name: "slots_assigned_to_a_second_master",
        quick: false,
        run: slot_conflict,
    },
    Scenario {
        row: 16,
        name: "slot_left_open_by_an_interrupted_resharding",
        quick: false,
        run: slot_open,
    },
    Scenario {
        row: 16,
        name: "cluster_master_isolated_by_a_partition",
        quick: false,
        run: master_isolated,
    },
    Scenario {
        row: 16,
        name: "only_replica_of_a_shard_killed",
        quick: false,
        run: shard_replica_killed,
    },
    Scenario {
        row: 16,
        name: "only_replica_of_a_shard_moved_to_another_shard",
        quick: false,
        run: shard_replica_moved,
    },
];

/// Starts a cluster with a tenth of the default `cluster-node-timeout` of 15 s.
fn cluster() -> Cluster {
    Cluster::start(&ClusterSetup {
        options: "cluster-node-timeout 1500\ncluster-migration-barrier 9\n".to_owned(),
        ..ClusterSetup::default()
    })
}

fn master_failed_over() -> ScenarioResult {
    let mut cluster = cluster();
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[1], ""));
    let kill = |_: &ScenarioRun| {
        cluster.nodes[0].kill();
        cluster.until_failed_over(AGREEMENT_TIMEOUT, 0, 0);
    };
    // Only a warning: the replica has taken over.
    let fault = scenario.inject(kill, &[("RedisDown", "warning")]);
    let repair = |_: &ScenarioRun| {
        cluster.nodes[0].restart();
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}

fn shard_killed() -> ScenarioResult {
    let mut cluster = cluster();
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[0], ""));
    // Kill the replica first. Otherwise the cluster promotes it.
    let kill = |_: &ScenarioRun| {
        for node in [4, 1] {
            cluster.nodes[node].kill();
        }
    };
    // The critical alert is about the master, the warning about the replica.
    let fault = scenario.inject(kill, &[("RedisDown", "critical"), ("RedisDown", "warning")]);
    fault.scenario.until_inhibited(&[
        "RedisClusterSlotsUncovered",
        "RedisClusterDown",
        "RedisNoPrimary",
    ]);
    let repair = |_: &ScenarioRun| {
        for node in [1, 4] {
            cluster.nodes[node].restart();
        }
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}

fn cluster_killed() -> ScenarioResult {
    let mut cluster = cluster();
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[0], ""));
    let kill = |_: &ScenarioRun| cluster.nodes.iter_mut().for_each(Server::kill);
    // The critical alerts are about the masters, the warnings about the replicas.
    let fault = scenario.inject(kill, &[("RedisDown", "critical"), ("RedisDown", "warning")]);
    let repair = |_: &ScenarioRun| {
        cluster.nodes.iter_mut().for_each(Server::restart);
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}

fn slots_uncovered() -> ScenarioResult {
    let cluster = cluster();
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[0], ""));
    let delete_slot = |_: &ScenarioRun| {
        for node in &cluster.nodes {
            assert_eq!(node.execute(&["CLUSTER", "DELSLOTS", "100"]), ["OK"]);
        }
    };
    let fault = scenario.inject(delete_slot, &[("RedisClusterSlotsUncovered", "critical")]);
    fault.scenario.until_inhibited(&["RedisClusterDown", "RedisWritesBlocked"]);
    let repair = |_: &ScenarioRun| {
        assert_eq!(cluster.nodes[0].execute(&["CLUSTER", "ADDSLOTS", "100"]), ["OK"]);
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}

/// The master pauses its clients until its replica has taken over, so that no write is lost.
fn failover_under_writes() -> ScenarioResult {
    let cluster = Cluster::start(&ClusterSetup::default());
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[0], ""));
    // The hash tag selects a slot of the last master.
    let mut writer = Writer::start(&cluster.nodes[2].address(), "{a}", 50);
    let fail_over = |_: &ScenarioRun| {
        eventually(AGREEMENT_TIMEOUT, "a client writes", || {
            (writer.acknowledged() > 50).then_some(())
        });
        cluster.failover(cluster.replicas_of(2)[0]);
        cluster.nodes[2].until_synchronised();
    };
    let result = scenario.expect_no_alert(fail_over, SECOND * 30);
    assert!(writer.stop() > 50, "a client wrote");
    result
}

/// Simulates an operator who sees only the right side of a partition and forces takeovers there.
/// The left side fails over by itself. Afterwards each side is a working cluster with all slots.
fn cluster_partitioned() -> ScenarioResult {
    let mut sides = SplitNetwork::new();
    // The left side has two of three masters, which are a majority, and a replica of the third
    // master.
    let places = [Side::Left, Side::Left, Side::Right, Side::Right, Side::Right, Side::Left]
        .map(|side| sides.add_host(side));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[0, 2], ""));
    let cut = |_: &ScenarioRun| {
        sides.partition();
        for replica in &cluster.nodes[3..5] {
            assert_eq!(replica.execute(&["CLUSTER", "FAILOVER", "TAKEOVER"]), ["OK"]);
        }
        eventually(AGREEMENT_TIMEOUT, "the left side has a master for every slot", || {
            (cluster.owner_according_to(0, 16_383)? == 5).then_some(())
        });
    };
    // Rolecall waits 30 s for the split brain, while the durations of the rules are divided.
    let expected = [("RedisSplitBrain", "critical"), ("RedisClusterSlotConflict", "critical")];
    let fault = scenario.inject(cut, &expected);
    fault.scenario.until_inhibited(&["RedisClusterSlotConflict"]);
    let repair = |_: &ScenarioRun| {
        sides.heal();
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}

fn slot_conflict() -> ScenarioResult {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[0, 1, 2], ""));
    let assign_again = |_: &ScenarioRun| {
        // Make the other nodes forget the last master. Otherwise its higher config epoch wins over
        // that of the first master.
        for node in &cluster.nodes[..2] {
            assert_eq!(node.execute(&["CLUSTER", "FORGET", cluster.id(2)]), ["OK"]);
        }
        assert_eq!(
            cluster.nodes[0].execute(&["CLUSTER", "ADDSLOTSRANGE", "10923", "16383"]),
            ["OK"]
        );
    };
    let fault = scenario.inject(assign_again, &[("RedisClusterSlotConflict", "critical")]);
    let repair = |_: &ScenarioRun| {
        let Server { host, port, .. } = &cluster.nodes[2];
        for node in &cluster.nodes[..2] {
            assert_eq!(node.execute(&["CLUSTER", "MEET", host, &port.to_string()]), ["OK"]);
        }
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}

/// Leaves a slot open for ten minutes: the age of a slot is a value, which is not divided.
fn slot_open() -> ScenarioResult {
    let cluster = cluster();
    cluster.write("key", 300);
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[0], ""));
    let interrupt = |scenario: &ScenarioRun| {
        cluster.start_slot_migration(0, 0, 1);
        let (limit, metric) = (SLOT_OPEN_FOR + SECOND * 60, "redis_cluster_open_slot_seconds");
        eventually(limit, "the slot is open for too long", || {
            let open_for = scenario.daemon.value(metric)?;
            (open_for > SLOT_OPEN_FOR.as_secs_f64()).then_some(())
        });
    };
    let fault = scenario.inject(interrupt, &[("RedisClusterSlotOpen", "warning")]);
    let repair = |_: &ScenarioRun| {
        cluster.finish_slot_migration(0, 0, 1);
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}

fn master_isolated() -> ScenarioResult {
    let mut sides = SplitNetwork::new();
    let mut places = vec![sides.add_host(Side::Left)];
    places.extend((0..5).map(|_| sides.add_host(Side::Right)));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[1], ""));
    let cut = |_: &ScenarioRun| {
        sides.partition();
        eventually(AGREEMENT_TIMEOUT, "the other nodes promote a replica", || {
            (cluster.owner_according_to(1, 0)? == 3).then_some(())
        });
    };
    // Only a warning: the isolated master rejects writes, so none are lost, and the other side
    // works.
    let fault = scenario.inject(cut, &[("RedisClusterDown", "warning")]);
    let repair = |_: &ScenarioRun| {
        sides.heal();
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}

fn shard_replica_killed() -> ScenarioResult {
    let mut cluster = cluster();
    let scenario = ScenarioRun::start(&cluster.deployment("cache", &[0], ""));
    let fault = scenario.inject(|_| cluster.nodes[4].kill(), &[("RedisDown", "warning")]);
    // This alert is inhibited by the alert about the node that is down.
    fault.scenario.until_inhibited(&["RedisClusterShardWithoutReplica"]);
    let repair = |_: &ScenarioRun| {
        cluster.nodes[4].restart();
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}

fn shard_replica_moved() -> ScenarioResult {
    let cluster = cluster();
    // A replica that leaves a shard is only reported as missing if `expect` requires replicas.
    let scenario =
        ScenarioRun::start(&cluster.deployment("cache", &[0], "expect = { replicas = 1 }"));
    let fault = scenario
        .inject(|_| cluster.replicate(4, 0), &[("RedisClusterShardWithoutReplica", "warning")]);
    let repair = |_: &ScenarioRun| {
        cluster.replicate(4, 1);
        cluster.until_healthy();
    };
    fault.repair(repair, &[])
}
