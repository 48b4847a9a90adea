//! A primary that becomes a replica of a foreign master: by mistake, and by an operator.

use tests::{Daemon, Redis, Signal, VERSIONS, deployment};

use super::{REPLACED, check_nothing_replaced, follow_as_sentinels_do, until_replaced, write_keys};
use crate::monitor::SOON;

#[test]
fn a_primary_that_follows_a_foreign_master_is_critical() {
    for version in VERSIONS {
        let primary = Redis::with_version(version, &[]);
        let replica = primary.replica();
        let foreign = Redis::with_version(version, &[]);
        write_keys(&primary, "own", 300);
        write_keys(&foreign, "foreign", 200);
        replica.until_caught_up(&primary);
        let daemon = Daemon::configured(&deployment("orders", &[&primary, &replica]));
        daemon.until_healthy(SOON, &[&primary, &replica]);
        daemon.until_primary(SOON, &primary, "sole");
        follow_as_sentinels_do(&primary, &foreign);
        let event = until_replaced(&daemon, &primary, &foreign, "critical");
        assert_eq!(
            (&event["keys_before"], &event["keys_after"]),
            (&300.into(), &200.into()),
            "{version}"
        );
        let finding = daemon.finding(REPLACED).expect("a finding");
        assert_eq!(finding["evidence"]["why"], "foreign_primary", "{version}");
    }
}

#[test]
fn a_migration_by_an_operator_is_a_warning() {
    for version in VERSIONS {
        let (primary, foreign) =
            (Redis::with_version(version, &[]), Redis::with_version(version, &[]));
        write_keys(&primary, "own", 300);
        write_keys(&foreign, "foreign", 200);
        let daemon = Daemon::watch(&[&primary]);
        daemon.until_primary(SOON, &primary, "sole");
        daemon.until_rounds(3);
        primary.replicate_from(&foreign);
        primary.until_synchronised();
        until_replaced(&daemon, &primary, &foreign, "warning");
        let finding = daemon.finding(REPLACED).expect("a finding");
        assert_eq!(finding["evidence"]["why"], "planned", "{version}");
    }
}

#[test]
fn one_dump_on_two_masters_does_not_relate_them() {
    for version in ["redis-6.2.14", "redis-7.0.15", "redis-8.2.3", "valkey-9.1.2"] {
        let source = Redis::with_version(version, &[]);
        write_keys(&source, "common", 300);
        source.cli(&["SAVE"]);
        let copy = || {
            let mut server = Redis::with_version(version, &[]);
            server.kill();
            let file = "dump.rdb";
            std::fs::copy(source.directory().join(file), server.directory().join(file))
                .expect("a dump");
            server.restart();
            assert_eq!(server.cli(&["DBSIZE"]).trim(), "300", "{version}");
            server
        };
        let (primary, foreign) = (copy(), copy());
        write_keys(&primary, "own", 20);
        let daemon = Daemon::watch(&[&primary]);
        daemon.until_primary(SOON, &primary, "sole");
        daemon.until_rounds(3);
        follow_as_sentinels_do(&primary, &foreign);
        let event = until_replaced(&daemon, &primary, &foreign, "critical");
        assert_eq!((&event["keys_before"], &event["keys_after"]), (&320.into(), &300.into()));
    }
}

#[test]
fn a_new_deployment_that_receives_data_is_not_replaced() {
    let (primary, source) = (Redis::start(&[]), Redis::start(&[]));
    write_keys(&source, "key", 300);
    let daemon = Daemon::watch(&[&primary]);
    daemon.until_primary(SOON, &primary, "sole");
    daemon.until_rounds(3);
    follow_as_sentinels_do(&primary, &source);
    check_nothing_replaced(&daemon);
}

#[test]
fn a_move_to_a_copy_of_the_data_is_not_a_replacement() {
    let primary = Redis::start(&[]);
    write_keys(&primary, "key", 300);
    let daemon = Daemon::watch(&[&primary]);
    daemon.until_primary(SOON, &primary, "sole");
    // The new server copies the data, takes over, and is restarted. Its history is unknown then.
    let mut new = primary.replica_with(&["--appendonly", "yes"]);
    new.until_synchronised();
    daemon.until_rounds(3);
    new.promote();
    new.kill();
    new.restart();
    new.cli(&["REPLICAOF", "NO", "ONE"]);
    follow_as_sentinels_do(&primary, &new);
    check_nothing_replaced(&daemon);
}

#[test]
fn a_restart_of_the_exporter_keeps_the_identity() {
    let (primary, foreign) = (Redis::start(&[]), Redis::start(&[]));
    write_keys(&primary, "own", 300);
    write_keys(&foreign, "foreign", 200);
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state.json");
    let text = format!("state_file = '{}'\n{}", state.display(), deployment("orders", &[&primary]));
    let start = || {
        let daemon = Daemon::configured(&text);
        daemon.until_primary(SOON, &primary, "sole");
        daemon.until_rounds(3);
        daemon
    };
    let mut daemon = start();
    daemon.signal(Signal::Term);
    daemon.end(SOON);
    let mut daemon = start();
    follow_as_sentinels_do(&primary, &foreign);
    until_replaced(&daemon, &primary, &foreign, "critical");
    daemon.signal(Signal::Term);
    daemon.end(SOON);
    let daemon = Daemon::configured(&text);
    daemon.until_severity(SOON, REPLACED, "critical");
}
