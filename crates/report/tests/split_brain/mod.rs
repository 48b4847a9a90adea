//! A deployment with a split brain.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{NodeSnapshot, Reason, Role};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, EndpointCheckResult,
    EndpointKind, EndpointServer, NodeReply, PollOutcome, Round, ServiceEndpoint,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Returns the outcome of a poll with this INFO reply.
pub(crate) fn replied(info: &str) -> PollOutcome {
    PollOutcome::Answered(NodeReply::new(
        NodeSnapshot::from_info(info).expect("an INFO reply"),
        Duration::from_millis(1),
        SystemTime::UNIX_EPOCH,
    ))
}

/// Returns a deployment with a split brain. An operator promoted a replica while its master was
/// down. The master returned and accepted two more writes. A third node is down.
pub(crate) fn split_brain() -> Arc<DeploymentView> {
    split_brain_named("orders", ["orders-0", "orders-1", "orders-2"])
}

/// Returns the same deployment with other names.
pub(crate) fn split_brain_named(name: &str, nodes: [&str; 3]) -> Arc<DeploymentView> {
    let mut deployment = Deployment::new(name, DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for (name, port) in nodes.into_iter().zip(6379..) {
        deployment.add(name, format!("10.0.0.5:{port}"), None);
    }
    let endpoint = |kind, address: &str| ServiceEndpoint { kind, address: address.to_owned() };
    deployment.endpoints = vec![
        endpoint(EndpointKind::Primary, "10.0.0.5:7000"),
        endpoint(EndpointKind::Reader, "10.0.0.5:7001"),
    ];
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let (old, new) = ("a".repeat(40), "b".repeat(40));
    let master = |changes: u64| {
        format!(
            "run_id:0\nrole:master\nmaster_replid:{old}\nmaster_repl_offset:100\n\
             rdb_last_save_time:1\nrdb_changes_since_last_save:{changes}\nloading:0\n"
        )
    };
    let replica = format!(
        "role:slave\nmaster_host:10.0.0.5\nmaster_port:6379\nmaster_link_status:up\n\
         master_replid:{old}\nmaster_repl_offset:100\n"
    );
    let promoted = |changes: u64| {
        format!(
            "run_id:1\nrole:master\nmaster_replid:{new}\nmaster_replid2:{old}\n\
             second_repl_offset:91\nmaster_repl_offset:120\nloading:0\n\
             rdb_changes_since_last_save:{changes}\n"
        )
    };
    let down = || PollOutcome::Failed(Reason::Refused);
    let rounds = [
        [
            replied(&master(5)),
            replied(&format!("run_id:1\n{replica}")),
            replied(&format!("run_id:2\n{replica}")),
        ],
        [down(), replied(&promoted(5)), down()],
        [replied(&master(5)), replied(&promoted(5)), down()],
        [replied(&master(7)), replied(&promoted(6)), down()],
    ];
    for (outcomes, number) in rounds.into_iter().zip(1..) {
        let elapsed = SECOND * number;
        let checks = if number == 4 { checks() } else { Vec::new() };
        tracker.observe(&Round {
            checks,
            ..Round::new(
                SystemTime::UNIX_EPOCH + elapsed,
                topology::Monotonic::from_start(elapsed),
                outcomes.into(),
            )
        });
    }
    tracker.view()
}

/// Returns checks of the endpoints. The primary endpoint still leads to the old master. The reader
/// endpoint refuses connections.
fn checks() -> Vec<EndpointCheckResult> {
    let server =
        || EndpointServer { run_id: Some("0".into()), role: Some(Role::Master), replid: None };
    let check = |millis, endpoint, outcome| {
        let started = topology::Monotonic::from_start(SECOND * 3 + Duration::from_millis(millis));
        let ended = started + Duration::from_millis(1);
        EndpointCheckResult { endpoint, started, ended, interval: SECOND * 10, outcome }
    };
    vec![
        check(100, EndpointKind::Primary, Ok(server())),
        check(200, EndpointKind::Primary, Ok(server())),
        check(300, EndpointKind::Reader, Err(Reason::Refused)),
    ]
}
