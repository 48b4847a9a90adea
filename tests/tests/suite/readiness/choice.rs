//! Comparison of the replica that Rolecall expects to be promoted with the one that SENTINEL
//! FAILOVER promotes, with random priorities and offsets.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::{MASTER, SentinelDeployment, SentinelSetup, Server, eventually};

use super::{candidates, cut, failover, mend};
use crate::monitor::{LIMIT, Monitor, write_keys};

/// Rounds on each version.
const ROUNDS: u64 = 10;

const PRIORITIES: [&str; 4] = ["1", "10", "10", "100"];

/// Random numbers that are the same in each run.
struct Random(u64);

impl Random {
    /// Returns a number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % end
    }
}

#[test]
fn sentinel_failover_promotes_the_replica_that_was_named() {
    let versions = ["redis-7.0.15", "valkey-9.1.2"];
    let named: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = versions
            .iter()
            .zip(1..)
            .map(|(version, seed)| scope.spawn(move || compare(version, Random(seed))))
            .collect();
        runs.into_iter().flat_map(|run| run.join().expect("a thread panicked")).collect()
    });
    let exact = named.iter().filter(|count| **count == 1).count();
    println!("{} failovers, {exact} with one named replica", named.len());
    assert_eq!(named.len(), 20);
    assert!(exact >= 8, "most states decide: {named:?}");
}

/// Fails over again and again, and compares each choice. Returns the number of named replicas of
/// each round.
fn compare(version: &'static str, mut random: Random) -> Vec<usize> {
    let group = SentinelDeployment::start(&SentinelSetup {
        version,
        replicas: 3,
        sentinels: 1,
        quorum: 1,
        ..SentinelSetup::default()
    });
    let sentinel = &group.sentinels[0];
    assert_eq!(sentinel.execute(&["SENTINEL", "DEBUG", "info-period", "1000"]), ["OK"]);
    let monitor = Monitor::start_settled(&group, "");
    let mut named = Vec::new();
    for round in 0..ROUNDS {
        let before = group.primary().address();
        let replicas = group.replicas();
        draw_state(&group, &replicas, round, &mut random);
        let found = until_known_alike(&monitor, &group, &replicas);
        let expected: Vec<_> = candidates(&found).into_iter().map(str::to_owned).collect();
        group.failover();
        let promoted = || replicas.iter().find(|node| node.role().as_deref() == Some("master"));
        let promoted = eventually(LIMIT, "a replica is promoted", promoted).0.address();
        println!("{version}, round {round}: expected {expected:?}, promoted {promoted}: {found}");
        assert!(expected.contains(&promoted), "{expected:?}, {promoted}: {found}");
        named.push(expected.len());
        restore(&group, &before, &promoted);
        monitor.until_primary(&promoted);
    }
    named
}

/// Sets random priorities, and cuts the links of some replicas at random offsets.
fn draw_state(group: &SentinelDeployment, replicas: &[&Server], round: u64, random: &mut Random) {
    let primary = group.primary();
    let last = random.below(replicas.len() as u64 + 1);
    for (position, replica) in (0..).zip(replicas) {
        let priority = PRIORITIES[usize::try_from(random.below(4)).expect("few")];
        assert_eq!(replica.execute(&["CONFIG", "SET", "replica-priority", priority]), ["OK"]);
        if position < last {
            let writes = u32::try_from(1 + random.below(20)).expect("few");
            write_keys(primary, &format!("round{round}-{position}-"), writes);
            cut(primary, replica);
        }
    }
    write_keys(primary, &format!("round{round}-"), 5);
}

/// Waits until the Sentinel and Rolecall know the state of all replicas. Returns the readiness.
fn until_known_alike(monitor: &Monitor, group: &SentinelDeployment, replicas: &[&Server]) -> Value {
    let is_known = |replica: &Server, entry: &BTreeMap<String, String>| {
        let fields = replica.replication();
        let same = |field: &str, listed: &str| fields.get(field) == entry.get(listed);
        let is_up = fields.get("master_link_status").is_some_and(|status| status == "up");
        let is_listed_up = entry.get("master-link-status").is_some_and(|status| status == "ok");
        let is_offset_known = is_up || same("slave_repl_offset", "slave-repl-offset");
        same("slave_priority", "slave-priority") && is_up == is_listed_up && is_offset_known
    };
    let is_complete = || {
        let listed = group.sentinels[0].table(&["SENTINEL", "REPLICAS", MASTER]);
        let entry = |replica: &Server| {
            listed.iter().find(|entry| entry.get("name") == Some(&replica.address()))
        };
        let known =
            |replica: &&&Server| entry(replica).is_some_and(|entry| is_known(replica, entry));
        (replicas.iter().filter(known).count() == replicas.len()).then_some(())
    };
    eventually(LIMIT, "the Sentinel knows the state of all replicas", is_complete);
    monitor.daemon.until_rounds(3);
    eventually(LIMIT, "Rolecall names a replica", || {
        let found = failover(&monitor.daemon, None);
        let is_named = found["candidates"].as_array().is_some_and(|named| !named.is_empty());
        is_named.then_some(found)
    })
    .0
}

/// Connects all nodes to the new primary.
fn restore(group: &SentinelDeployment, before: &str, promoted: &str) {
    group.nodes.iter().for_each(mend);
    let promoted_node = group.node_at(promoted);
    let (host, port) = (promoted_node.host.as_str(), promoted_node.port.to_string());
    assert_eq!(group.node_at(before).execute(&["REPLICAOF", host, &port]), ["OK"]);
    group.until_failed_over(LIMIT, before);
    group.until_replicating(LIMIT);
    group.until_discovered();
}
