//! Restarts of all servers with restored data, which replace nothing.

use tests::{Daemon, Redis, SentinelDeployment, SentinelSetup, deployment};

use super::{check_nothing_replaced, write_keys};
use crate::monitor::{LIMIT, Monitor, SOON};

#[test]
fn a_restart_of_all_with_restored_data_is_silent() {
    // The backup is of another server, so its history is unknown.
    let backup = Redis::start(&[]);
    write_keys(&backup, "backup", 250);
    backup.cli(&["SAVE"]);
    let mut primary = Redis::start(&[]);
    let mut replica = primary.replica();
    write_keys(&primary, "own", 300);
    replica.until_caught_up(&primary);
    let daemon = Daemon::configured(&deployment("orders", &[&primary, &replica]));
    daemon.until_healthy(SOON, &[&primary, &replica]);
    daemon.until_rounds(3);
    primary.kill();
    replica.kill();
    for server in [&primary, &replica] {
        let file = "dump.rdb";
        std::fs::copy(backup.directory().join(file), server.directory().join(file))
            .expect("a dump");
    }
    primary.restart();
    replica.restart();
    replica.until_synchronised();
    assert_eq!(replica.cli(&["DBSIZE"]).trim(), "250");
    check_nothing_replaced(&daemon);
    // The other member takes over after the restart, and the first one copies its data.
    replica.promote();
    write_keys(&replica, "new", 10);
    primary.cli(&["SLAVEOF", "127.0.0.1", &replica.port.to_string()]);
    primary.until_synchronised();
    check_nothing_replaced(&daemon);
}

#[test]
fn a_member_promoted_after_a_restart_of_all_is_silent() {
    let mut group = SentinelDeployment::start(&SentinelSetup::default());
    for key in 0..300 {
        group.nodes[0].execute(&["SET", &format!("key{key}"), "1"]);
    }
    group.nodes.iter().for_each(|node| {
        node.execute(&["SAVE"]);
    });
    let monitor = Monitor::start_settled(&group, "");
    let before = group.primary().address();
    for node in &mut group.nodes {
        node.kill();
    }
    // The former primary returns last, when a Sentinel promoted another member.
    for node in group.nodes.iter_mut().filter(|node| node.address() != before) {
        node.restart();
    }
    group.until_failed_over(LIMIT, &before);
    let old = group.index_of(&before);
    group.nodes[old].restart();
    group.until_replicating(LIMIT);
    monitor.until_all_up(&group);
    check_nothing_replaced(&monitor.daemon);
}
