//! Two Sentinel groups of one master name that meet.

use tests::{Host, SentinelDeployment, SentinelSetup, Server, eventually};

use super::{REPLACED, REPLACED_TOTAL, replacements};
use crate::monitor::{LIMIT, Monitor, SOON};

/// Starts a group with 300 keys.
fn group(prefix: &str, sentinel_options: &str) -> SentinelDeployment {
    let setup = SentinelSetup {
        replicas: 1,
        sentinel_options: sentinel_options.to_owned(),
        ..SentinelSetup::default()
    };
    let group = SentinelDeployment::start(&setup);
    for key in 0..300 {
        group.nodes[0].execute(&["SET", &format!("{prefix}{key}"), "1"]);
    }
    group
}

#[test]
fn two_sentinel_groups_of_one_name_are_reported() {
    let own = group("own", "");
    let mut foreign = group("foreign", "");
    // A higher epoch decides which group adopts the master of the other one.
    let before = foreign.failover();
    let master = foreign.until_failed_over(LIMIT, &before);
    foreign.until_replicating(LIMIT);
    let more = "[[deployment]]\nname = 'foreign'\nnodes = [";
    let nodes: Vec<_> =
        foreign.nodes.iter().map(|node| format!("{{ url = '{}' }}", node.url())).collect();
    let text = format!("{}{more}{}]\n", own.deployment("sessions", ""), nodes.join(", "));
    let monitor = Monitor::start(&text);
    monitor.until_primary(&own.nodes[0].address());
    monitor.until_all_up(&own);
    monitor.until_no_findings();
    // The replica of the foreign group is gone. A new replica of this group gets its address.
    let reused = foreign.index_of(&before);
    let port = foreign.nodes[reused].port;
    foreign.nodes.remove(reused).stop();
    let options = format!("replicaof {} {}\n", own.nodes[0].host, own.nodes[0].port);
    let moved = Server::start_on("redis-7.0.15", false, &Host::loopback(), port, &options, None);
    eventually(LIMIT, "the group has the foreign master", || {
        (own.nodes[0].role()? == "slave" && own.nodes[0].execute(&["EXISTS", "own1"]) == ["0"])
            .then_some(())
    });
    drop(moved);
    let labels = [("deployment", "sessions")];
    monitor.daemon.until(SOON, REPLACED_TOTAL, &labels, 1.0);
    monitor.daemon.until_severity(SOON, REPLACED, "critical");
    let events = replacements(&monitor.daemon);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["node"], own.nodes[0].address());
    assert_eq!(
        (&events[0]["from"], &events[0]["keys_before"]),
        (&master.clone().into(), &300.into())
    );
    // Both deployments have the foreign master now.
    let shared = [("deployment", "sessions"), ("node", &*master), ("other", "foreign")];
    monitor.daemon.until(SOON, "redis_node_shared", &shared, 1.0);
    monitor.daemon.until_found(SOON, "RolecallNodeShared");
}
