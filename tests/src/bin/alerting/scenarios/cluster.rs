//! Clusters.

use tests::{Cluster, ClusterSetup, Server, Side, Sides, eventually};

use crate::story::{LATER, Scenario, Story, Told};

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        row: 16,
        name: "a_master_of_a_cluster_killed_and_replaced",
        quick: false,
        run: cluster_master_replaced,
    },
    Scenario { row: 16, name: "a_whole_shard_killed", quick: false, run: shard_killed },
    Scenario { row: 16, name: "slots_taken_from_all_nodes", quick: false, run: slots_uncovered },
    Scenario {
        row: 16,
        name: "a_cluster_cut_in_two_that_both_work",
        quick: false,
        run: cluster_split,
    },
    Scenario {
        row: 16,
        name: "slots_given_away_while_their_master_serves_them",
        quick: false,
        run: slot_conflict,
    },
    Scenario {
        row: 16,
        name: "a_master_of_a_cluster_cut_off",
        quick: false,
        run: cluster_master_cut_off,
    },
    Scenario {
        row: 16,
        name: "the_only_replica_of_a_shard_killed",
        quick: false,
        run: shard_replica_killed,
    },
    Scenario {
        row: 16,
        name: "the_only_replica_of_a_shard_moved",
        quick: false,
        run: shard_replica_moved,
    },
];

/// A cluster whose nodes miss each other after a tenth of the usual 15 s.
fn cluster() -> Cluster {
    Cluster::start(&ClusterSetup {
        options: "cluster-node-timeout 1500\ncluster-migration-barrier 9\n".to_owned(),
        ..ClusterSetup::default()
    })
}

fn cluster_master_replaced() -> Told {
    let mut cluster = cluster();
    let story = Story::begin(&cluster.deployment("cache", &[1], ""));
    let kill = |_: &Story| {
        cluster.nodes[0].kill();
        cluster.until_failed_over(LATER, 0, 0);
    };
    // Somebody took over: nobody need get up.
    let faulty = story.fault(kill, &[("RedisDown", "warning")]);
    let mend = |_: &Story| {
        cluster.nodes[0].restart();
        cluster.until_works();
    };
    faulty.mend(mend, &[])
}

fn shard_killed() -> Told {
    let mut cluster = cluster();
    let story = Story::begin(&cluster.deployment("cache", &[0], ""));
    // The replica first: it must not be promoted.
    let kill = |_: &Story| {
        for node in [4, 1] {
            cluster.nodes[node].kill();
        }
    };
    // The page is about the master, the ticket about the replica.
    let faulty = story.fault(kill, &[("RedisDown", "critical"), ("RedisDown", "warning")]);
    faulty.story.until_hidden(&[
        "RedisClusterSlotsUncovered",
        "RedisClusterDown",
        "RedisNoPrimary",
    ]);
    let mend = |_: &Story| {
        for node in [1, 4] {
            cluster.nodes[node].restart();
        }
        cluster.until_works();
    };
    faulty.mend(mend, &[])
}

fn slots_uncovered() -> Told {
    let cluster = cluster();
    let story = Story::begin(&cluster.deployment("cache", &[0], ""));
    let take = |_: &Story| {
        for node in &cluster.nodes {
            assert_eq!(node.ask(&["CLUSTER", "DELSLOTS", "100"]), ["OK"]);
        }
    };
    let faulty = story.fault(take, &[("RedisClusterSlotsUncovered", "critical")]);
    faulty.story.until_hidden(&["RedisClusterDown", "RedisWritesBlocked"]);
    let mend = |_: &Story| {
        assert_eq!(cluster.nodes[0].ask(&["CLUSTER", "ADDSLOTS", "100"]), ["OK"]);
        cluster.until_works();
    };
    faulty.mend(mend, &[])
}

/// What an operator may do who sees one side only: each side then has a cluster that works, and all slots.
fn cluster_split() -> Told {
    let mut sides = Sides::new();
    // Two of three masters and a replica of the third are a majority that can do without the rest.
    let places = [Side::Left, Side::Left, Side::Right, Side::Right, Side::Right, Side::Left]
        .map(|side| sides.place(side));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let story = Story::begin(&cluster.deployment("cache", &[0, 2], ""));
    let cut = |_: &Story| {
        sides.cut();
        for replica in &cluster.nodes[3..5] {
            assert_eq!(replica.ask(&["CLUSTER", "FAILOVER", "TAKEOVER"]), ["OK"]);
        }
        eventually(LATER, "the left side has a master for each slot", || {
            (cluster.owner_by(0, 16_383)? == 5).then_some(())
        });
    };
    let faulty = story.fault(cut, &[("RedisSplitBrain", "critical")]);
    faulty.story.until_hidden(&["RedisClusterSlotConflict"]);
    let mend = |_: &Story| {
        sides.heal();
        cluster.until_works();
    };
    faulty.mend(mend, &[])
}

fn slot_conflict() -> Told {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let story = Story::begin(&cluster.deployment("cache", &[0, 1, 2], ""));
    let give = |_: &Story| {
        // The others do not hear any more of the last one, whose word counts for more than that of the first.
        for node in &cluster.nodes[..2] {
            assert_eq!(node.ask(&["CLUSTER", "FORGET", cluster.id(2)]), ["OK"]);
        }
        assert_eq!(cluster.nodes[0].ask(&["CLUSTER", "ADDSLOTSRANGE", "10923", "16383"]), ["OK"]);
    };
    let faulty = story.fault(give, &[("RedisClusterSlotConflict", "critical")]);
    let mend = |_: &Story| {
        let Server { host, port, .. } = &cluster.nodes[2];
        for node in &cluster.nodes[..2] {
            assert_eq!(node.ask(&["CLUSTER", "MEET", host, &port.to_string()]), ["OK"]);
        }
        cluster.until_works();
    };
    faulty.mend(mend, &[])
}

fn cluster_master_cut_off() -> Told {
    let mut sides = Sides::new();
    let mut places = vec![sides.place(Side::Left)];
    places.extend((0..5).map(|_| sides.place(Side::Right)));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let story = Story::begin(&cluster.deployment("cache", &[1], ""));
    let cut = |_: &Story| {
        sides.cut();
        eventually(LATER, "the others have a master instead", || {
            (cluster.owner_by(1, 0)? == 3).then_some(())
        });
    };
    // It refuses everything, so that nothing is lost; the others work.
    let faulty = story.fault(cut, &[("RedisClusterDown", "warning")]);
    let mend = |_: &Story| {
        sides.heal();
        cluster.until_works();
    };
    faulty.mend(mend, &[])
}

fn shard_replica_killed() -> Told {
    let mut cluster = cluster();
    let story = Story::begin(&cluster.deployment("cache", &[0], ""));
    let faulty = story.fault(|_| cluster.nodes[4].kill(), &[("RedisDown", "warning")]);
    // That a node is gone is why.
    faulty.story.until_hidden(&["RedisClusterShardWithoutReplica"]);
    let mend = |_: &Story| {
        cluster.nodes[4].restart();
        cluster.until_works();
    };
    faulty.mend(mend, &[])
}

fn shard_replica_moved() -> Told {
    let cluster = cluster();
    // One that leaves is not missed, but where some are declared.
    let story = Story::begin(&cluster.deployment("cache", &[0], "expect = { replicas = 1 }"));
    let faulty =
        story.fault(|_| cluster.replicate(4, 0), &[("RedisClusterShardWithoutReplica", "warning")]);
    let mend = |_: &Story| {
        cluster.replicate(4, 1);
        cluster.until_works();
    };
    faulty.mend(mend, &[])
}
