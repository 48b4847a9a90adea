//! A disaster recovery site whose node is promoted, and nodes of two deployments.

use tests::{Daemon, Redis, deployment};

use super::{check_nothing_replaced, write_keys};
use crate::monitor::SOON;

const NO_PRIMARY: &str = "redis_deployment_no_primary";

#[test]
fn a_promoted_recovery_site_is_monitored_as_a_primary_site() {
    let external = Redis::start(&[]);
    write_keys(&external, "key", 300);
    let mut first = external.replica();
    let second = first.replica();
    let text = deployment("site", &[&first, &second]) + "expect = { primary = 'external' }\n";
    let daemon = Daemon::configured(&text);
    daemon.until_no_findings(SOON);
    daemon.until_rounds(3);
    assert_eq!(daemon.value(NO_PRIMARY), Some(0.0));
    first.promote();
    daemon.until_primary(SOON, &first, "sole");
    daemon.until_severity(SOON, "RedisUnexpectedRole", "critical");
    daemon.until_exact_findings(SOON, &["RedisUnexpectedRole"]);
    // It refuses writes.
    first.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    daemon.until_severity(SOON, "RedisWritesBlocked", "critical");
    first.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    daemon.until_exact_findings(SOON, &["RedisUnexpectedRole"]);
    // It is down.
    first.kill();
    daemon.until_severity(SOON, "RedisNoPrimary", "critical");
    first.restart();
    // The server was started as a replica of the external primary, and is one again.
    daemon.until_no_findings(SOON * 2);
    assert_eq!(daemon.value(NO_PRIMARY), Some(0.0));
    check_nothing_replaced(&daemon);
}

#[test]
fn a_site_that_returns_to_its_external_primary_is_silent() {
    let external = Redis::start(&[]);
    write_keys(&external, "key", 300);
    let site = external.replica();
    let text = deployment("site", &[&site]) + "expect = { primary = 'external' }\n";
    let daemon = Daemon::configured(&text);
    daemon.until_no_findings(SOON);
    daemon.until_rounds(3);
    site.promote();
    daemon.until_primary(SOON, &site, "sole");
    write_keys(&site, "drill", 20);
    site.replicate_from(&external);
    site.until_synchronised();
    daemon.until_no_findings(SOON);
    assert_eq!(daemon.count("primary_lost"), 0);
    check_nothing_replaced(&daemon);
}

#[test]
fn a_server_of_two_deployments_is_shared() {
    let (primary, other) = (Redis::start(&[]), Redis::start(&[]));
    let replica = primary.replica();
    let text = deployment("orders", &[&primary, &replica]) + &deployment("carts", &[&other]);
    let daemon = Daemon::configured(&text);
    daemon.until_no_findings(SOON);
    daemon.reload(
        &(deployment("orders", &[&primary, &replica]) + &deployment("carts", &[&other, &replica])),
    );
    daemon.until_severity(SOON, "RolecallNodeShared", "warning");
    let labels = [("deployment", "orders"), ("node", &*replica.address()), ("other", "carts")];
    daemon.until(SOON, "redis_node_shared", &labels, 1.0);
    daemon.reload(&text);
    daemon.until_no_findings(SOON * 2);
    assert_eq!(daemon.samples().count("redis_node_shared", &[]), 0);
}

#[test]
fn a_migration_between_two_deployments_is_information() {
    let (old, new) = (Redis::start(&[]), Redis::start(&[]));
    write_keys(&old, "key", 300);
    let text = deployment("old", &[&old, &new]) + &deployment("new", &[&new]);
    new.replicate_from(&old);
    new.until_synchronised();
    let daemon = Daemon::configured(&text);
    daemon.until_severity(SOON, "RolecallNodeShared", "info");
    new.promote();
    daemon.until_severity(SOON, "RolecallNodeShared", "warning");
    assert_eq!(daemon.count("dataset_replaced"), 0);
}
