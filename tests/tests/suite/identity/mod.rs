//! Identity of the data set on real servers: data that foreign data replaces, and what only looks
//! like that.

mod clusters;
mod planned;
mod restarts;
mod sentinels;
mod sites;

use serde_json::Value;
use tests::{Daemon, Redis};

use crate::monitor::SOON;

const REPLACED: &str = "RedisDatasetReplaced";
const REPLACED_TOTAL: &str = "redis_deployment_dataset_replaced_total";

/// Writes this many keys with a prefix.
fn write_keys(server: &Redis, prefix: &str, keys: u32) {
    let script = format!("for i = 1, {keys} do redis.call('SET', '{prefix}' .. i, i) end");
    server.cli(&["EVAL", &script, "0"]);
}

/// Makes a server a replica of another one, with the command that Sentinels send, and waits until
/// it is synchronised.
fn follow_as_sentinels_do(server: &Redis, master: &Redis) {
    server.cli(&["SLAVEOF", "127.0.0.1", &master.port.to_string()]);
    server.until_synchronised();
}

/// Returns the events about replaced data.
fn replacements(daemon: &Daemon) -> Vec<Value> {
    let events = daemon.events().into_iter();
    events.filter(|event| event["kind"] == "dataset_replaced").collect()
}

/// Checks that no round so far, nor any of the next ones, reports replaced data.
#[track_caller]
fn check_nothing_replaced(daemon: &Daemon) {
    daemon.until_rounds(5);
    let samples = daemon.samples();
    assert!(samples.count(REPLACED_TOTAL, &[]) > 0);
    assert_eq!(samples.sum(REPLACED_TOTAL, &[]).to_string(), "0");
    assert_eq!(replacements(daemon), Vec::<Value>::new());
    assert_eq!(daemon.finding(REPLACED), None);
}

/// Waits until the data of a node was replaced by that of a server, with this severity.
#[track_caller]
fn until_replaced(daemon: &Daemon, node: &Redis, from: &Redis, severity: &str) -> Value {
    daemon.until_severity(SOON, REPLACED, severity);
    let events = replacements(daemon);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (&events[0]["node"], &events[0]["from"]),
        (&node.address().into(), &from.address().into())
    );
    assert_eq!(daemon.value(REPLACED_TOTAL), Some(1.0));
    events[0].clone()
}
