//! Fleets of fake servers, as measurements use them.

use tests::{Daemon, FakeFleet, SECOND, Shape, eventually};

/// Number of nodes of each fleet.
const NODES: usize = 30;

#[test]
fn rolecall_reads_fake_fleets_of_all_shapes() {
    for shape in Shape::ALL {
        let fleet = FakeFleet::start(shape, NODES);
        let daemon = Daemon::configured(&fleet.configuration());
        eventually(SECOND * 20, shape.label(), || {
            (daemon.samples().sum("redis_up", &[]) >= NODES as f64).then_some(())
        });
        let roles = || {
            let samples = daemon.samples();
            ["master", "replica"].map(|role| samples.sum("redis_role", &[("role", role)]))
        };
        let known = || Some(roles()).filter(|roles| roles.iter().sum::<f64>() >= NODES as f64);
        let ([masters, _], _) = eventually(SECOND * 20, "roles are known", known);
        let expected = match shape {
            Shape::Triples => NODES / 3,
            Shape::Cluster => NODES / 2,
            Shape::Singles | Shape::One => NODES,
        };
        assert!((masters - expected as f64).abs() < 0.5, "{shape:?}: {masters} masters");
    }
}

#[test]
fn lost_tls_connections_of_a_fleet_resume_their_sessions() {
    let fleet = FakeFleet::start_with_tls(Shape::Triples, NODES);
    let daemon = Daemon::configured(&fleet.configuration());
    let until_opened = |expected: u64| {
        eventually(SECOND * 20, "all connections are open", || {
            let opened = fleet.opened_connections();
            let accepted: u64 = opened.iter().map(|opened| opened.accepted).sum();
            let full: u64 = opened.iter().map(|opened| opened.full_handshakes).sum();
            let resumed: u64 = opened.iter().map(|opened| opened.resumed_handshakes).sum();
            (accepted == expected && full + resumed == expected).then_some((full, resumed))
        })
    };
    let nodes = NODES as u64;
    assert_eq!(until_opened(nodes).0, (nodes, 0));
    eventually(SECOND * 20, "all nodes are up", || {
        (daemon.samples().sum("redis_up", &[]) >= NODES as f64).then_some(())
    });
    fleet.close_connections();
    assert_eq!(until_opened(nodes * 2).0, (nodes, nodes));
}
