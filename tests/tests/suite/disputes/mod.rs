//! Disputes about the primary on real servers: several nodes claim to be master, and the evidence
//! decides which of them is the primary.

pub(crate) mod advice;
mod cluster;
mod failover;
mod lost_racks;
mod mistakes;
mod pairs;
mod restarts;
mod returns;
mod sentinels;

use std::panic::resume_unwind;
use std::thread;

use serde_json::Value;
use tests::{Daemon, Redis, SECOND, VERSIONS, eventually};
use tokio::runtime;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::monitor::{PRIMARY_INFO, SOON, SPLIT_BRAIN, UNREPLICATED_WRITES};

const DISPUTED: &str = "redis_deployment_primary_disputed";
const EVIDENCE: &str = "redis_deployment_primary_evidence";
const NO_PRIMARY: &str = "redis_deployment_no_primary";

/// Checks that may run at the same time, in all tests together. More of them overload two
/// processors, and then servers reply late.
static PLACES: Semaphore = Semaphore::const_new(12);

/// Waits until one more check may run.
fn take_place() -> SemaphorePermit<'static> {
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(PLACES.acquire()).expect("the semaphore is never closed")
}

/// Runs a check on all server versions at the same time.
#[track_caller]
fn on_all_versions(check: impl Fn(&'static str) + Sync) {
    let check = &check;
    thread::scope(|scope| {
        let run = |version| {
            let _place = take_place();
            check(version);
        };
        let checks = VERSIONS.map(|version| (version, scope.spawn(move || run(version))));
        for (version, checked) in checks {
            if let Err(panic) = checked.join() {
                println!("the check failed on {version}");
                resume_unwind(panic);
            }
        }
    });
}

/// Waits until there is this evidence that a node is the primary.
#[track_caller]
fn until_evidence(daemon: &Daemon, node: &str, evidence: &str) {
    daemon.until(SOON, EVIDENCE, &[("node", node), ("evidence", evidence)], 1.0);
}

/// Returns true if there is this evidence that a node is the primary.
fn has_evidence(daemon: &Daemon, node: &str, evidence: &str) -> bool {
    daemon.samples().count(EVIDENCE, &[("node", node), ("evidence", evidence)]) > 0
}

/// Waits until the primary is disputed, and this node is it according to this evidence.
#[track_caller]
fn until_disputed_primary(daemon: &Daemon, node: &Redis, evidence: &str) {
    daemon.until(SOON, DISPUTED, &[], 1.0);
    daemon.until_primary(SOON, node, evidence);
}

/// Checks for some rounds that the dispute is not decided: no node is the primary, which is a split
/// brain but no missing primary, and no write is lost.
#[track_caller]
fn check_undecided(daemon: &Daemon) {
    daemon.until(SOON, DISPUTED, &[], 1.0);
    daemon.until(SOON, SPLIT_BRAIN, &[], 1.0);
    for _ in 0..3 {
        daemon.until_rounds(1);
        let samples = daemon.samples();
        assert_eq!(samples.count(PRIMARY_INFO, &[]), 0, "{:?}", daemon.finding("RedisSplitBrain"));
        let series = [DISPUTED, SPLIT_BRAIN, NO_PRIMARY, UNREPLICATED_WRITES];
        assert_eq!(
            series.map(|name| samples.get(name, &[])),
            [Some(1.0), Some(1.0), Some(0.0), Some(0.0)]
        );
    }
    assert_eq!(daemon.severity("RedisNoPrimary"), None);
    let finding = daemon.finding("RedisSplitBrain").expect("a finding");
    assert_eq!(
        finding["evidence"]["missing"],
        serde_json::json!(["followers", "writers", "declared", "endpoint"])
    );
}

/// Checks that some rounds lead to no loss and to no other primary than this node.
#[track_caller]
fn check_stays(daemon: &Daemon, rounds: u32, primary: &str) {
    for _ in 0..rounds {
        daemon.until_rounds(1);
        let samples = daemon.samples();
        assert_eq!(samples.get(PRIMARY_INFO, &[("node", primary)]), Some(1.0), "{primary}");
        assert_eq!(samples.get(NO_PRIMARY, &[]), Some(0.0));
        assert_eq!(samples.get(UNREPLICATED_WRITES, &[]), Some(0.0));
    }
    assert_eq!(daemon.severity("RedisWritesLost"), None);
}

/// Checks the numbers of events: changes of the primary, and beginnings and ends of disputes.
#[track_caller]
fn check_events(daemon: &Daemon, expected: [usize; 3]) {
    let kinds = ["primary_changed", "primary_disputed", "primary_undisputed"];
    assert_eq!(kinds.map(|kind| daemon.count(kind)), expected, "{:?}", daemon.events());
}

/// Checks an event about a change of the primary.
#[track_caller]
fn check_changed(event: &Value, from: &Redis, to: &Redis, cause: &str) {
    assert_eq!(
        (&event["from"], &event["to"], &event["cause"]),
        (&from.address().into(), &to.address().into(), &cause.into())
    );
}

/// Waits until the writes that were lost are reported.
#[track_caller]
fn until_lost(daemon: &Daemon, writes: u64) {
    let is_about = || {
        let counted = daemon.value(UNREPLICATED_WRITES).expect("the series");
        // Without writes nothing is lost. Otherwise the bounds are the polls around the promotion.
        let tolerance = if writes > 0 { 75.0 } else { 0.0 };
        (counted - writes as f64).abs() <= tolerance
    };
    eventually(SOON, "the lost writes are counted", || is_about().then_some(()));
    daemon.until_rounds(2);
    assert!(is_about(), "{:?} of {writes}", daemon.value(UNREPLICATED_WRITES));
    assert_eq!(daemon.severity("RedisWritesLost").is_some(), writes > 0);
}

/// Waits until a disputed deployment has recovered: all links are up and nothing is found.
#[track_caller]
fn until_recovered(daemon: &Daemon, primary: &Redis, replicas: &[&Redis]) {
    daemon.until_primary(SOON, primary, "sole");
    for replica in replicas {
        daemon.until_link(SECOND * 30, replica, "up");
    }
    daemon.until(SOON, DISPUTED, &[], 0.0);
}

/// Returns the addresses of these nodes.
fn addresses(nodes: &[&Redis]) -> Vec<String> {
    nodes.iter().map(|node| node.address()).collect()
}

/// Returns the URLs of these nodes.
fn urls(nodes: &[&Redis]) -> Vec<String> {
    nodes.iter().map(|node| node.url()).collect()
}

/// Declares a node of a deployment to be master.
fn declare(deployment: &str, node: &Redis) -> String {
    let url = format!("url = '{}'", node.url());
    deployment.replace(&url, &format!("{url}, role = 'master'"))
}
