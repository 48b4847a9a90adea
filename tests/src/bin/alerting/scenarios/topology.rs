//! Who is primary, who decides it, and who tells.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{
    Cluster, ClusterSetup, Group, MASTER, Proxy, Redis, Server, Setup, Side, Sides, Signal, Writer, deployment, eventually, pause,
    watched_deployment,
};

use crate::story::{Scenario, Story, Told};

pub(crate) const ALL: &[Scenario] = &[
    Scenario { row: 1, name: "a_declared_master_demoted_by_hand", quick: true, run: unexpected_role },
    Scenario { row: 2, name: "a_replica_promoted_beside_its_master", quick: true, run: split_brain },
    Scenario { row: 2, name: "a_planned_failover_without_writes", quick: false, run: planned_failover },
    Scenario { row: 3, name: "a_partition_with_writes_on_both_sides", quick: false, run: writes_lost },
    Scenario { row: 4, name: "a_primary_killed_without_sentinel", quick: true, run: primary_killed },
    Scenario { row: 4, name: "a_primary_told_to_follow_nobody_who_answers", quick: true, run: no_primary },
    Scenario { row: 4, name: "a_primary_told_to_follow_its_own_replica", quick: true, run: replication_loop },
    Scenario { row: 5, name: "a_failover_command_on_a_pair", quick: false, run: primary_changed },
    Scenario { row: 5, name: "three_failovers_in_a_row", quick: false, run: role_flapping },
    Scenario { row: 14, name: "two_of_three_sentinels_killed", quick: false, run: quorum_lost },
    Scenario { row: 14, name: "one_of_three_sentinels_killed", quick: false, run: sentinel_down },
    Scenario { row: 14, name: "a_sentinel_that_missed_a_failover", quick: false, run: sentinel_dissents },
    Scenario { row: 14, name: "sentinels_that_name_a_primary_demoted_by_hand", quick: false, run: sentinels_err },
    Scenario { row: 14, name: "a_sentinel_that_forgot_its_master", quick: false, run: sentinel_misconfigured },
    Scenario { row: 14, name: "a_sentinel_paused_for_three_seconds", quick: false, run: sentinel_tilt },
    Scenario { row: 14, name: "a_sentinel_gone_for_good", quick: false, run: sentinel_ghosts },
    Scenario { row: 16, name: "a_master_of_a_cluster_killed_and_replaced", quick: false, run: cluster_master_replaced },
    Scenario { row: 16, name: "a_whole_shard_killed", quick: false, run: shard_killed },
    Scenario { row: 16, name: "slots_taken_from_all_nodes", quick: false, run: slots_uncovered },
    Scenario { row: 16, name: "a_cluster_cut_in_two_that_both_work", quick: false, run: cluster_split },
    Scenario { row: 16, name: "slots_given_away_while_their_master_serves_them", quick: false, run: slot_conflict },
    Scenario { row: 16, name: "a_master_of_a_cluster_cut_off", quick: false, run: cluster_master_cut_off },
    Scenario { row: 16, name: "the_only_replica_of_a_shard_killed", quick: false, run: shard_replica_killed },
    Scenario { row: 16, name: "the_only_replica_of_a_shard_moved", quick: false, run: shard_replica_moved },
    Scenario { row: 38, name: "a_write_endpoint_left_on_the_old_primary", quick: false, run: primary_endpoint_wrong },
    Scenario { row: 38, name: "a_read_endpoint_on_another_server", quick: false, run: reader_endpoint_wrong },
    Scenario { row: 41, name: "a_primary_restarted_without_its_data", quick: false, run: primary_restarted_empty },
];

const SECOND: Duration = Duration::from_secs(1);

/// Long enough for anything that a server does at once.
const SOON: Duration = Duration::from_secs(20);

/// Long enough for Sentinels, or the nodes of a cluster, to agree.
const LATER: Duration = Duration::from_secs(60);

/// How long nothing may arrive after something that should tell nobody: several times what rules and Alertmanager wait together.
const SILENCE: Duration = Duration::from_secs(30);

/// Waits until a replica has its link.
#[track_caller]
fn until_linked(replica: &Redis) {
    eventually(SOON, "the replica has its link", || (replica.info("master_link_status")? == "up").then_some(()));
}

/// A primary and two replicas.
fn trio(options: &[&str]) -> (Redis, Redis, Redis) {
    let primary = Redis::start(options);
    let (first, second) = (primary.replica(), primary.replica());
    (primary, first, second)
}

/// Waits until these fire, though one above them is told in their place.
#[track_caller]
fn until_hidden(story: &Story, alerts: &[&str]) {
    eventually(SOON, &format!("{alerts:?} are hidden; firing: {:?}", story.pager.firing()), || {
        let hidden = story.pager.inhibited();
        alerts.iter().all(|alert| hidden.contains(*alert)).then_some(())
    });
}

// === Who is primary ===

fn unexpected_role() -> Told {
    let (a, b) = (Redis::start(&[]), Redis::start(&[]));
    b.follow(&a);
    until_linked(&b);
    let nodes = format!("{{ url = '{}', role = 'master' }}, {{ url = '{}' }}", a.url(), b.url());
    let story = Story::begin(&format!("[[deployment]]\nname = 'orders'\nnodes = [{nodes}]\n"));
    let change_places = |from: &Redis, to: &Redis| {
        to.promote();
        from.follow(to);
        until_linked(from);
    };
    let faulty = story.fault(|_| change_places(&a, &b), &[("RedisUnexpectedRole", "critical")]);
    faulty.mend(|_| change_places(&b, &a), &[])
}

fn split_brain() -> Told {
    let (a, b, c) = trio(&[]);
    let story = Story::begin(&deployment("orders", &[&a, &b, &c]));
    let faulty = story.fault(|_| b.promote(), &[("RedisSplitBrain", "critical")]);
    let mend = |_: &Story| {
        for replica in [&a, &c] {
            replica.follow(&b);
            until_linked(replica);
        }
    };
    faulty.mend(mend, &[])
}

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
    assert!(samples.get("redis_deployment_split_brain_seconds_total", &[]) > Some(0.0), "there were two masters for a while");
    assert_eq!(samples.get("redis_deployment_primary_changes_total", &[("cause", "sentinel")]), Some(1.0));
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
        let promoted = || group.nodes[1..].iter().find(|node| node.role().as_deref() == Some("master"));
        let (promoted, _) = eventually(LATER, "the other side has a primary of its own", promoted);
        kept = Some(Writer::start(&promoted.address(), "kept", PER_SECOND));
    };
    let faulty = story.fault(cut, &[("RedisWritesLost", "critical")]);
    until_hidden(&faulty.story, &["RedisSplitBrain", "RedisSentinelDisagreement"]);
    let mend = |_: &Story| {
        assert!(lost.stop() > 50 && kept.as_mut().is_some_and(|kept| kept.stop() > 50), "both sides take writes");
        sides.heal();
    };
    faulty.mend(mend, &[])
}

fn primary_killed() -> Told {
    let (mut a, b, c) = trio(&["--appendonly", "yes"]);
    let story = Story::begin(&deployment("orders", &[&a, &b, &c]));
    let faulty = story.fault(|_| a.kill(), &[("RedisDown", "critical")]);
    until_hidden(&faulty.story, &["RedisNoPrimary", "RedisReplicaLinkDown"]);
    let mend = |_: &Story| {
        a.restart();
        until_linked(&b);
        until_linked(&c);
    };
    faulty.mend(mend, &[])
}

fn no_primary() -> Told {
    let (a, b, c) = trio(&[]);
    let nobody = tests::free_port().to_string();
    let story = Story::begin(&deployment("orders", &[&a, &b, &c]));
    let demote = |_: &Story| assert_eq!(a.cli(&["REPLICAOF", "127.0.0.1", &nobody]).trim(), "OK");
    let faulty = story.fault(demote, &[("RedisNoPrimary", "critical")]);
    let mend = |_: &Story| {
        a.promote();
        until_linked(&b);
        until_linked(&c);
    };
    faulty.mend(mend, &[])
}

fn replication_loop() -> Told {
    let (a, b, c) = trio(&[]);
    let story = Story::begin(&deployment("orders", &[&a, &b, &c]));
    let faulty = story.fault(|_| a.follow(&b), &[("RedisReplicationLoop", "critical")]);
    until_hidden(&faulty.story, &["RedisNoPrimary"]);
    let mend = |_: &Story| {
        a.promote();
        until_linked(&b);
        until_linked(&c);
    };
    faulty.mend(mend, &[])
}

fn primary_changed() -> Told {
    let (a, b) = (Redis::start(&[]), Redis::start(&[]));
    b.follow(&a);
    until_linked(&b);
    let story = Story::begin(&deployment("orders", &[&a, &b]));
    let change = |_: &Story| {
        assert_eq!(a.cli(&["FAILOVER"]).trim(), "OK");
        until_linked(&a);
    };
    story.note(change, "RedisPrimaryChanged")
}

fn role_flapping() -> Told {
    let (a, b) = (Redis::start(&[]), Redis::start(&[]));
    b.follow(&a);
    until_linked(&b);
    let story = Story::begin(&deployment("orders", &[&a, &b]));
    let change = |_: &Story| {
        for (from, to) in [(&a, &b), (&b, &a), (&a, &b)] {
            assert_eq!(from.cli(&["FAILOVER"]).trim(), "OK");
            until_linked(from);
            assert_eq!(to.info("role").as_deref(), Some("master"));
            // Each is seen.
            pause(SECOND * 3);
        }
    };
    let faulty = story.fault(change, &[("RedisRoleFlapping", "warning")]);
    // It is over when the hour is.
    faulty.mend(|_| (), &[])
}

// === Sentinel ===

fn quorum_lost() -> Told {
    let mut group = Group::start(&Setup::default());
    let story = Story::begin(&group.deployment("sessions", ""));
    let kill = |_: &Story| group.sentinels[1..].iter_mut().for_each(Server::kill);
    // The page says what that means, the ticket which of them are to be started.
    let faulty = story.fault(kill, &[("RedisSentinelQuorumLost", "critical"), ("RedisSentinelDown", "warning")]);
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
    let (one, other, alone) = (sides.place(Side::Right), sides.place(Side::Right), sides.place(Side::Left));
    let group = Group::start_at(&Setup::default(), &[one.clone(), other.clone()], &[one, other, alone]);
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
            assert_eq!(sentinel.ask(&["SENTINEL", "SET", MASTER, "rename-command", "SLAVEOF", command]), ["OK"]);
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
    let faulty = story.fault(|_| move_to(&group.nodes[1]), &[("RedisSentinelDisagreement", "critical")]);
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
    let faulty =
        story.fault(|_| assert_eq!(forgetful.ask(&["SENTINEL", "REMOVE", MASTER]), ["OK"]), &[("RedisSentinelMisconfigured", "warning")]);
    let mend = |_: &Story| {
        let primary = group.primary();
        assert_eq!(forgetful.ask(&["SENTINEL", "MONITOR", MASTER, &primary.host, &primary.port.to_string(), "2"]), ["OK"]);
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
    let story = Story::begin(&watched_deployment("sessions", Some(MASTER), &urls, "ghost_after = '3s'"));
    let faulty = story.fault(|_| group.sentinels[2].kill(), &[("RedisSentinelGhosts", "warning")]);
    let mend = |_: &Story| {
        // One after the other, each once the one before knows the rest again.
        for sentinel in &group.sentinels[..2] {
            assert_eq!(sentinel.ask(&["SENTINEL", "RESET", MASTER]), ["1"]);
            let knows = || sentinel.try_ask(&["SENTINEL", "CKQUORUM", MASTER]).filter(|reply| reply[0].starts_with("OK"));
            eventually(SOON, "it knows another one", knows);
        }
    };
    faulty.mend(mend, &[])
}

// === Cluster ===

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
    until_hidden(&faulty.story, &["RedisClusterSlotsUncovered", "RedisClusterDown", "RedisNoPrimary"]);
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
    until_hidden(&faulty.story, &["RedisClusterDown", "RedisWritesBlocked"]);
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
    let places = [Side::Left, Side::Left, Side::Right, Side::Right, Side::Right, Side::Left].map(|side| sides.place(side));
    let cluster = Cluster::start_at(&ClusterSetup::default(), &places);
    let story = Story::begin(&cluster.deployment("cache", &[0, 2], ""));
    let cut = |_: &Story| {
        sides.cut();
        for replica in &cluster.nodes[3..5] {
            assert_eq!(replica.ask(&["CLUSTER", "FAILOVER", "TAKEOVER"]), ["OK"]);
        }
        eventually(LATER, "the left side has a master for each slot", || (cluster.owner_by(0, 16_383)? == 5).then_some(()));
    };
    let faulty = story.fault(cut, &[("RedisSplitBrain", "critical")]);
    eventually(SOON * 3, "the same slots", || faulty.story.pager.inhibited().contains("RedisClusterSlotConflict").then_some(()));
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
        eventually(LATER, "the others have a master instead", || (cluster.owner_by(1, 0)? == 3).then_some(()));
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
    eventually(SOON * 3, "the shard has none", || faulty.story.pager.inhibited().contains("RedisClusterShardWithoutReplica").then_some(()));
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
    let faulty = story.fault(|_| cluster.replicate(4, 0), &[("RedisClusterShardWithoutReplica", "warning")]);
    let mend = |_: &Story| {
        cluster.replicate(4, 1);
        cluster.until_works();
    };
    faulty.mend(mend, &[])
}

// === Endpoints ===

/// A deployment of these servers with these endpoints.
fn with_endpoints(servers: &[&Redis], writer: &Proxy, reader: &Proxy) -> String {
    let (writer, reader) = (writer.peer.url(), reader.peer.url());
    format!("{}endpoints = {{ primary = '{writer}', reader = '{reader}' }}\n", deployment("orders", servers))
}

fn primary_endpoint_wrong() -> Told {
    let a = Redis::start(&[]);
    let b = a.replica();
    let (writer, reader) = (Proxy::start(a.port), Proxy::start(b.port));
    let story = Story::begin(&with_endpoints(&[&a, &b], &writer, &reader));
    let fail_over = |_: &Story| {
        b.promote();
        a.follow(&b);
        reader.lead_to(a.port);
    };
    let faulty = story.fault(fail_over, &[("RedisPrimaryEndpointWrong", "critical")]);
    faulty.mend(|_| writer.lead_to(b.port), &[])
}

fn reader_endpoint_wrong() -> Told {
    let (a, stranger) = (Redis::start(&[]), Redis::start(&[]));
    let b = a.replica();
    let (writer, reader) = (Proxy::start(a.port), Proxy::start(b.port));
    let story = Story::begin(&with_endpoints(&[&a, &b], &writer, &reader));
    let faulty = story.fault(|_| reader.lead_to(stranger.port), &[("RedisPrimaryEndpointWrong", "warning")]);
    faulty.mend(|_| reader.lead_to(b.port), &[])
}

// === Data ===

fn primary_restarted_empty() -> Told {
    let mut a = Redis::start(&[]);
    let b = a.replica();
    a.fill(&b);
    let story = Story::begin(&deployment("orders", &[&a, &b]));
    let restart = |_: &Story| {
        a.kill();
        a.restart();
        eventually(SOON, "the replica is empty too", || (b.cli(&["DBSIZE"]).trim() == "0").then_some(()));
    };
    let faulty = story.fault(restart, &[("RedisPrimaryRestartedEmpty", "critical")]);
    faulty.mend(|_| a.fill(&b), &[])
}
