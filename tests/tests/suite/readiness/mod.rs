//! Readiness for a failover on real servers: each reason against it, and the replica that Rolecall
//! expects to be promoted compared with the one that servers promote.

mod choice;
mod cluster;
mod sentinel;

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Daemon, SECOND, Server, eventually, until_ok};

use crate::monitor::{LIMIT, SOON};

const NOT_READY: &str = "RedisFailoverNotReady";
const READY: &str = "redis_deployment_failover_ready";
const BLOCKERS: &str = "redis_deployment_failover_blockers";

/// Returns the readiness of the shard with this label, or of the only one.
fn failover(daemon: &Daemon, shard: Option<&str>) -> Value {
    let document = daemon.document("/api/v1/topology");
    let shards = document["deployments"][0]["shards"].as_array().expect("shards").clone();
    let found = shards.into_iter().find(|found| found["shard"].as_str() == shard);
    found.map_or(Value::Null, |found| found["failover"].clone())
}

/// Waits until exactly these reasons apply, in the API and in the metrics. Returns the readiness.
#[track_caller]
fn until_blockers(
    daemon: &Daemon,
    shard: Option<&str>,
    limit: Duration,
    blockers: &[&str],
) -> Value {
    let read = || {
        let found = failover(daemon, shard);
        if found["blockers"] == json!(blockers) {
            Ok(found)
        } else {
            Err(format!("expected {blockers:?}, found {found}"))
        }
    };
    let (found, _) = until_ok(limit, read);
    let shard = shard.map(|shard| ("shard", shard));
    let labels: Vec<_> = shard.into_iter().collect();
    daemon.until(SOON, READY, &labels, f64::from(blockers.is_empty()));
    for blocker in blockers {
        let labels: Vec<_> = labels.iter().copied().chain([("reason", *blocker)]).collect();
        daemon.until(SOON, BLOCKERS, &labels, 1.0);
    }
    found
}

/// Checks that every round for 15 s is ready: Sentinels list their replicas every 10 s.
#[track_caller]
fn check_stays_ready(daemon: &Daemon, shards: &[Option<&str>]) {
    for _ in 0..15 {
        daemon.until_rounds(1);
        for shard in shards {
            let found = failover(daemon, *shard);
            assert_eq!(found["ready"], true, "{shard:?}: {found}");
        }
    }
}

/// Returns the names of the replicas of which one would be promoted.
fn candidates(failover: &Value) -> Vec<&str> {
    let listed = failover["candidates"].as_array().expect("candidates");
    listed.iter().filter_map(|candidate| candidate["node"].as_str()).collect()
}

/// Returns the reasons for which replicas would not be promoted.
fn obstacles(failover: &Value) -> Vec<&str> {
    let listed = failover["refused"].as_array().expect("a list");
    listed.iter().filter_map(|refused| refused["why"].as_str()).collect()
}

/// Waits for the finding and returns it.
#[track_caller]
fn until_not_ready(daemon: &Daemon) -> Value {
    eventually(SOON, "a finding", || daemon.finding(NOT_READY)).0
}

/// Ends the link of a replica, and prevents that it connects again: it sends a password that its
/// primary does not know.
fn cut(primary: &Server, replica: &Server) {
    assert_eq!(replica.execute(&["CONFIG", "SET", "masterauth", "wrong"]), ["OK"]);
    let is_down = || {
        primary.execute(&["CLIENT", "KILL", "TYPE", "replica"]);
        let fields = replica.replication();
        fields.get("master_link_status").is_some_and(|status| status == "down").then_some(())
    };
    eventually(SOON, "the link is down", is_down);
}

/// Permits that a replica connects again.
fn mend(replica: &Server) {
    assert_eq!(replica.execute(&["CONFIG", "SET", "masterauth", ""]), ["OK"]);
}

/// Kills a replica and starts it again without data, while its primary starts no synchronization:
/// the replica is known, and stays empty.
fn restart_empty(primary: &Server, replica: &mut Server) {
    let settings =
        ["repl-diskless-sync", "yes", "repl-diskless-sync-delay", "600", "repl-timeout", "3600"];
    for setting in settings.chunks(2) {
        assert_eq!(primary.execute(&["CONFIG", "SET", setting[0], setting[1]]), ["OK"]);
        assert_eq!(replica.execute(&["CONFIG", "SET", setting[0], setting[1]]), ["OK"]);
    }
    replica.kill();
    replica.restart_without_data();
    eventually(LIMIT, "the replica waits for its data", || {
        let listed = primary.replication().into_iter().any(|(field, value)| {
            field.starts_with("slave") && value.contains("state=wait_bgsave")
        });
        listed.then_some(())
    });
    eventually(SECOND * 5, "the replica is empty", || {
        (replica.execute(&["DBSIZE"]) == ["0"]).then_some(())
    });
}
