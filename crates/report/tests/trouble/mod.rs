//! A deployment in trouble.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{NodeSnapshot, Reason, Role};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, EndpointCheckResult,
    EndpointKind, EndpointServer, NodeReply, PollOutcome, Round, ServiceEndpoint,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A node answered with this INFO.
pub(crate) fn answered(info: &str) -> PollOutcome {
    PollOutcome::Answered(NodeReply::new(
        NodeSnapshot::from_info(info).expect("an INFO reply"),
        Duration::from_millis(1),
        SystemTime::UNIX_EPOCH,
    ))
}

/// A replica was promoted by hand while its master lived on and took two writes; a third node is gone.
pub(crate) fn in_trouble() -> Arc<DeploymentView> {
    in_trouble_as("orders", ["orders-0", "orders-1", "orders-2"])
}

/// The same under other names.
pub(crate) fn in_trouble_as(name: &str, nodes: [&str; 3]) -> Arc<DeploymentView> {
    let mut deployment = Deployment::new(name, DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for (name, port) in nodes.into_iter().zip(6379..) {
        deployment.add(name, format!("10.0.0.5:{port}"), None);
    }
    let endpoint = |kind, address: &str| ServiceEndpoint { kind, address: address.to_owned() };
    deployment.endpoints = vec![
        endpoint(EndpointKind::Primary, "10.0.0.5:7000"),
        endpoint(EndpointKind::Reader, "10.0.0.5:7001"),
    ];
    let mut fold = DeploymentTracker::new(Arc::new(deployment));
    let (old, new) = ("a".repeat(40), "b".repeat(40));
    let master = |changes: u64| {
        format!(
            "run_id:0\nrole:master\nmaster_replid:{old}\nmaster_repl_offset:100\nrdb_last_save_time:1\nrdb_changes_since_last_save:{changes}\nloading:0\n"
        )
    };
    let replica = format!(
        "role:slave\nmaster_host:10.0.0.5\nmaster_port:6379\nmaster_link_status:up\nmaster_replid:{old}\nmaster_repl_offset:100\n"
    );
    let promoted = format!(
        "run_id:1\nrole:master\nmaster_replid:{new}\nmaster_replid2:{old}\nsecond_repl_offset:91\nmaster_repl_offset:120\n"
    );
    let rounds = [
        [
            answered(&master(5)),
            answered(&format!("run_id:1\n{replica}")),
            answered(&format!("run_id:2\n{replica}")),
        ],
        [answered(&master(5)), answered(&promoted), PollOutcome::Failed(Reason::Refused)],
        [answered(&master(7)), answered(&promoted), PollOutcome::Failed(Reason::Refused)],
    ];
    for (outcomes, number) in rounds.into_iter().zip(1..) {
        let elapsed = SECOND * number;
        let checks = if number == 3 { checks() } else { Vec::new() };
        fold.observe(&Round {
            checks,
            ..Round::new(
                SystemTime::UNIX_EPOCH + elapsed,
                topology::Monotonic::from_start(elapsed),
                outcomes.into(),
            )
        });
    }
    fold.view()
}

/// The endpoint for writes still leads to the old master; that for reads is closed.
fn checks() -> Vec<EndpointCheckResult> {
    let answerer =
        || EndpointServer { run_id: Some("0".into()), role: Some(Role::Master), replid: None };
    let check = |millis, endpoint, outcome| {
        let begun = topology::Monotonic::from_start(SECOND * 2 + Duration::from_millis(millis));
        EndpointCheckResult {
            endpoint,
            started: begun,
            ended: begun + Duration::from_millis(1),
            outcome,
        }
    };
    vec![
        check(100, EndpointKind::Primary, Ok(answerer())),
        check(200, EndpointKind::Primary, Ok(answerer())),
        check(300, EndpointKind::Reader, Err(Reason::Refused)),
    ]
}
