//! Deployments of kind dns.

mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use recorded::RecordedTracker;
use snapshot::{NodeSnapshot, Reason};
use topology::{
    Deployment, DeploymentKind, DeploymentView, Discovery, HostNames, NodeIndex, NodeKind,
    NodeNameTemplate, NodeReply, PollOutcome, ResolvedName, Round,
};

const SECOND: Duration = Duration::from_secs(1);

/// A deployment of one DNS name, its addresses, and the servers by address. Other addresses refuse
/// connections.
struct TestDeployment {
    tracker: RecordedTracker,
    addresses: Option<Vec<&'static str>>,
    servers: BTreeMap<&'static str, String>,
    host_names: HostNames,
    events: Vec<(&'static str, String)>,
}

impl TestDeployment {
    fn new(template: &str) -> Self {
        let mut deployment =
            Deployment::new("orders", DeploymentKind::Dns, &[], SECOND, SECOND * 3);
        let names = NodeNameTemplate::new(template).expect(template);
        let address_map = BTreeMap::new();
        deployment.discovery = Some(Discovery {
            master: String::new(),
            names,
            address_map,
            ghost_after: SECOND * 600,
            forget_after: SECOND * 10,
        });
        let servers = [("10.0.0.1:6379", master("x")), ("10.0.0.2:6379", replica("y"))].into();
        let host_name =
            |(ip, name): (&str, &str)| (ip.to_owned(), Some(format!("{name}.orders.svc")));
        let host_names =
            [("10.0.0.1", "redis-0"), ("10.0.0.2", "redis-1"), ("10.0.0.3", "redis-1")]
                .map(host_name)
                .into();
        TestDeployment {
            tracker: RecordedTracker::new(Arc::new(deployment), None),
            addresses: Some(vec!["10.0.0.1", "10.0.0.2"]),
            servers,
            host_names,
            events: vec![],
        }
    }

    fn rounds(&mut self, count: usize) -> Arc<DeploymentView> {
        for _ in 0..count {
            let before = self.tracker.view();
            let now = before.now + SECOND;
            let outcome = |address: &str| match self.servers.get(address) {
                Some(info) => {
                    let snapshot = NodeSnapshot::from_info(info).expect("an INFO reply");
                    PollOutcome::Answered(NodeReply::new(
                        snapshot,
                        Duration::ZERO,
                        SystemTime::UNIX_EPOCH,
                    ))
                }
                None if address.starts_with("orders") => PollOutcome::Failed(Reason::Dns),
                None => PollOutcome::Failed(Reason::Refused),
            };
            let outcomes = before.nodes.values().map(|node| match node.node.kind {
                NodeKind::Vacant => PollOutcome::Pending,
                _ => outcome(&node.node.address),
            });
            let addresses = self
                .addresses
                .as_ref()
                .map(|all| all.iter().map(|address| (*address).to_owned()).collect());
            let resolved = ResolvedName {
                host: "orders.svc".to_owned(),
                port: 6379,
                addresses,
                excess: 0,
                lookups: 1,
                failures: 0,
            };
            let round = Round {
                resolved: [resolved].into(),
                host_names: Arc::new(self.host_names.clone()),
                ..Round::new(SystemTime::UNIX_EPOCH + now.since_start(), now, outcomes.collect())
            };
            let result = self.tracker.observe(&round);
            self.events.extend(
                result
                    .events
                    .into_iter()
                    .map(|event| (event.kind.label(), event.node.unwrap_or_default())),
            );
        }
        self.tracker.view()
    }

    fn events_of(&self, kind: &str) -> Vec<&str> {
        self.events
            .iter()
            .filter(|(other, _)| *other == kind)
            .map(|(_, node)| node.as_str())
            .collect()
    }
}

fn master(run_id: &str) -> String {
    format!(
        "run_id:{run_id}\nuptime_in_seconds:1000\nrole:master\nmaster_replid:{}\n",
        "a".repeat(40)
    )
}

fn replica(run_id: &str) -> String {
    let role =
        "slave\nmaster_host:10.0.0.1\nmaster_port:6379\nmaster_link_status:up\nslave_read_only:1\n";
    master(run_id).replace("master\n", role)
}

fn names(view: &DeploymentView) -> Vec<&str> {
    view.members().map(|(_, node)| node.node.name.as_str()).collect()
}

#[test]
fn an_unresolved_name_is_shown_as_a_node() {
    let mut test = TestDeployment::new("{host}:{port}");
    test.addresses = None;
    let view = test.rounds(4);
    assert_eq!(names(&view), ["orders.svc:6379"]);
    assert_eq!(view.nodes[NodeIndex::new(0)].readable(), Some(false));
    assert!(!view.findings.is_empty());
    test.addresses = Some(vec!["10.0.0.1", "10.0.0.2"]);
    let view = test.rounds(3);
    assert_eq!(names(&view), ["10.0.0.1:6379", "10.0.0.2:6379"]);
    assert_eq!(view.findings, []);
    assert_eq!(test.events_of("node_discovered"), Vec::<&str>::new(), "the first list is no event");
}

#[test]
fn an_unlisted_node_leaves_once_it_is_down() {
    let mut test = TestDeployment::new("{host}:{port}");
    test.rounds(3);
    test.addresses = Some(vec!["10.0.0.1"]);
    let view = test.rounds(30);
    assert_eq!(names(&view).len(), 2, "a node that replies is only not ready");
    test.servers.remove("10.0.0.2:6379");
    let view = test.rounds(1);
    assert_eq!(names(&view), ["10.0.0.1:6379"]);
    assert_eq!(test.events_of("node_gone"), ["10.0.0.2:6379"]);
    assert_eq!(view.shards[0].expected_replicas, 1, "it was not removed on purpose");
}

#[test]
fn a_down_node_stays_while_dns_lists_it() {
    let mut test = TestDeployment::new("{host}:{port}");
    test.rounds(3);
    test.servers.remove("10.0.0.2:6379");
    assert_eq!(names(&test.rounds(1000)).len(), 2);
    test.addresses = Some(vec!["10.0.0.1"]);
    assert_eq!(names(&test.rounds(9)).len(), 2);
    assert_eq!(names(&test.rounds(3)).len(), 1);
}

#[test]
fn a_node_with_a_new_address_keeps_its_name() {
    let mut test = TestDeployment::new("{short}");
    assert_eq!(names(&test.rounds(3)), ["redis-0", "redis-1"]);
    // DNS lists the old address for a while, without a host name.
    test.servers.remove("10.0.0.2:6379");
    test.host_names.insert("10.0.0.2".to_owned(), None);
    test.servers.insert("10.0.0.3:6379", replica("z"));
    test.addresses = Some(vec!["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let view = test.rounds(10);
    assert_eq!(names(&view), ["redis-0", "redis-1"]);
    assert_eq!(view.nodes[NodeIndex::new(1)].up(), Some(true));
    assert_eq!(view.nodes[NodeIndex::new(1)].node.address, "10.0.0.3:6379");
    // Another node may use the old address after DNS stopped listing it.
    test.addresses = Some(vec!["10.0.0.1", "10.0.0.3"]);
    test.rounds(2);
    test.servers.insert("10.0.0.2:6379", replica("w"));
    test.host_names.insert("10.0.0.2".to_owned(), Some("redis-2.orders.svc".to_owned()));
    test.addresses = Some(vec!["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(names(&test.rounds(2)), ["redis-0", "redis-1", "redis-2"]);
}

#[test]
fn a_process_with_two_addresses_is_one_node() {
    let mut test = TestDeployment::new("{host}:{port}");
    test.addresses = Some(vec!["10.0.0.1", "fd00::1"]);
    test.servers = [("10.0.0.1:6379", master("x")), ("[fd00::1]:6379", master("x"))].into();
    let view = test.rounds(20);
    assert_eq!(names(&view), ["10.0.0.1:6379"]);
    assert_eq!(view.shards[0].masters, [NodeIndex::new(0)]);
    assert_eq!(view.findings, []);
    assert_eq!(test.events_of("split_brain_began"), Vec::<&str>::new());
}

#[test]
fn a_new_process_takes_the_place_of_a_dead_node() {
    let mut test = TestDeployment::new("{host}:{port}");
    test.rounds(3);
    test.servers.remove("10.0.0.2:6379");
    test.rounds(3);
    test.servers.insert("10.0.0.3:6379", replica("z").replace(":1000", ":1"));
    test.addresses = Some(vec!["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(names(&test.rounds(3)).len(), 3, "DNS still lists the dead node");
    test.addresses = Some(vec!["10.0.0.1", "10.0.0.3"]);
    let view = test.rounds(2);
    assert_eq!(names(&view), ["10.0.0.1:6379", "10.0.0.3:6379"]);
    assert_eq!(view.findings, []);
    // A sole primary too.
    let mut test = TestDeployment::new("{host}:{port}");
    (test.addresses, test.servers) =
        (Some(vec!["10.0.0.1"]), [("10.0.0.1:6379", master("x"))].into());
    test.rounds(3);
    test.servers = [("10.0.0.3:6379", master("y").replace(":1000", ":1"))].into();
    test.addresses = Some(vec!["10.0.0.3"]);
    let view = test.rounds(4);
    assert_eq!((names(&view), view.findings.as_slice()), (vec!["10.0.0.3:6379"], &[][..]));
}

#[test]
fn a_dead_replica_more_than_expected_leaves_with_its_record() {
    for (expected, members) in [(0, 1), (1, 2)] {
        let mut test = TestDeployment::new("{host}:{port}");
        let mut deployment = Deployment::clone(&test.tracker.view().deployment);
        deployment.expect.replicas = Some(expected);
        test.tracker = RecordedTracker::new(Arc::new(deployment), None);
        test.rounds(3);
        test.servers.remove("10.0.0.2:6379");
        assert_eq!(names(&test.rounds(3)).len(), 2, "DNS still lists it");
        test.addresses = Some(vec!["10.0.0.1"]);
        assert_eq!(names(&test.rounds(3)).len(), members);
    }
}
