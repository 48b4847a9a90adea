//! Limits of what cluster maps and Sentinels list: large clusters work, and memory does not grow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{
    ClusterMap, Fields, LeftOut, MasterReport, NodeSnapshot, Reason, SentinelEntry, SentinelReport,
};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, Discovery, LimitKind, Monotonic,
    NodeKind, NodeNameTemplate, NodeReply, PollOutcome, Round,
};

const SECOND: Duration = Duration::from_secs(1);

/// Address of the only node that replies.
const SEED: &str = "10.9.9.9:6379";

/// A cluster of which one node replies, with any map.
struct TestDeployment {
    tracker: DeploymentTracker,
    round: u32,
}

impl TestDeployment {
    fn with_limit(nodes: usize) -> Self {
        let mut deployment =
            Deployment::new("cache", DeploymentKind::Cluster, &[], SECOND, SECOND * 3);
        deployment.add(SEED, SEED, None);
        deployment.discovery = Some(Discovery {
            master: String::new(),
            names: NodeNameTemplate::default(),
            address_map: BTreeMap::new(),
            ghost_after: SECOND * 600,
            forget_after: SECOND * 300,
        });
        deployment.limits.nodes = nodes;
        TestDeployment { tracker: DeploymentTracker::new(Arc::new(deployment)), round: 0 }
    }

    /// Runs a round in which the first node replies with this map.
    fn observe(&mut self, map: &str) -> Arc<DeploymentView> {
        self.round += 1;
        let info = format!(
            "run_id:x\nuptime_in_seconds:1000\ncluster_enabled:1\nrole:master\n\
             master_replid:{}\nmaster_repl_offset:5\n",
            "1".repeat(40)
        );
        let mut snapshot = NodeSnapshot::from_info(&info).expect("a snapshot");
        let cluster = "cluster_state:ok\ncluster_slots_ok:16384\ncluster_my_epoch:1\n";
        snapshot.cluster = Some(Arc::new(Fields::parse(cluster)));
        snapshot.map = Some(Arc::new(ClusterMap::parse(map)));
        let at = SystemTime::UNIX_EPOCH + SECOND * self.round;
        let answer = NodeReply::new(snapshot, Duration::ZERO, at);
        let mut outcomes = vec![PollOutcome::Answered(answer)];
        let nodes = self.tracker.view().nodes.len();
        outcomes.resize_with(nodes, || PollOutcome::Failed(Reason::Timeout));
        let now = Monotonic::from_start(SECOND * self.round);
        self.tracker.observe(&Round::new(at, now, outcomes)).view
    }
}

/// Returns a map of `count` masters. The first one has the address of the node that replies, the
/// numbers of the others begin with `first`, for their IDs and for their addresses.
fn map(count: usize, first_id: usize, first_address: usize, epoch: usize) -> String {
    let slots = 16_384 / count;
    let line = |position: usize| {
        let (id, address) = (first_id + position, first_address + position);
        let at = match position {
            0 => format!("{SEED}@1 myself,master"),
            _ => {
                format!("10.{}.{}.{}:1@1 master", address >> 16, address >> 8 & 255, address & 255)
            }
        };
        let (first, last) = (position * slots, (position + 1) * slots - 1);
        format!("{id:040x} {at} - 0 1426238317239 {epoch} connected {first}-{last}\n")
    };
    (0..count).map(line).collect()
}

fn counts(view: &DeploymentView) -> (usize, usize, u64) {
    (view.members().count(), view.shards.len(), view.excess.get(LimitKind::Nodes))
}

#[test]
fn a_cluster_of_a_thousand_masters_is_complete() {
    let mut test = TestDeployment::with_limit(1024);
    for epoch in 1..4 {
        let view = test.observe(&map(1000, 1, 1, epoch));
        assert_eq!(counts(&view), (1000, 1000, 0));
        assert!(view.excess.is_empty());
    }
}

#[test]
fn nodes_beyond_the_limit_are_counted_and_members_stay() {
    let mut test = TestDeployment::with_limit(20);
    let view = test.observe(&map(20, 1, 1, 1));
    assert_eq!(counts(&view), (20, 20, 0));
    let names = |view: &DeploymentView| -> Vec<_> {
        view.members().map(|(_, node)| node.node.name.clone()).collect()
    };
    let members = names(&view);
    // The others have lower epochs and come first.
    let others: String = map(100, 500, 500, 0).split_inclusive('\n').skip(1).collect();
    let view = test.observe(&(others + &map(20, 1, 1, 1)));
    assert_eq!((counts(&view), names(&view)), ((20, 20, 99), members));
    let view = test.observe(&map(20, 1, 1, 1));
    assert_eq!(counts(&view), (20, 20, 0), "the excess ended");
}

#[test]
fn ids_that_change_each_second_take_no_memory() {
    for (addresses_change, label) in [(false, "IDs"), (true, "IDs and addresses")] {
        let mut test = TestDeployment::with_limit(200);
        let mut sizes = Vec::new();
        for round in 0..60 {
            let first_address = if addresses_change { 1 + round * 100 } else { 1 };
            let view = test.observe(&map(100, 1 + round * 100, first_address, round));
            let known = view.cluster.as_ref().map(|cluster| cluster.known);
            assert!(known <= Some(200) && view.members().count() <= 200, "{label}: {known:?}");
            // The text contains everything that the tracker keeps, except for recent events.
            let state = format!("{:?}", test.tracker);
            let events: usize = view.history.events().map(|event| format!("{event:?}").len()).sum();
            sizes.push(state.len().saturating_sub(2 * events));
        }
        let (early, late) = (sizes[5..15].iter().max(), sizes[50..].iter().max());
        let (Some(early), Some(late)) = (early, late) else { panic!("{sizes:?}") };
        assert!(*late < early * 3 / 2, "{label}: {early} and {late} bytes; {sizes:?}");
    }
}

#[test]
fn each_shard_has_a_label_of_its_own() {
    let map = |slots: &[&str]| -> String {
        let line = |(id, slots): (usize, &&str)| {
            let at =
                if id == 0 { format!("{SEED}@1 myself,") } else { format!("10.0.0.{id}:1@1 ") };
            format!("{id:040x} {at}master - 0 1426238317239 {id} connected {slots}\n")
        };
        slots.iter().enumerate().map(line).collect()
    };
    let mut test = TestDeployment::with_limit(20);
    test.observe(&map(&["0-16382", "16383"]));
    // Each shard gets another slot, and then gives the last slot to a new shard.
    test.observe(&map(&["0-16381", "16382-16383"]));
    test.observe(&map(&["0-16381", "16382", "16383"]));
    test.observe(&map(&["0-16380", "16382", "16381 16383"]));
    let view = test.observe(&map(&["0-16380", "16382", "16381", "16383"]));
    let labels: BTreeSet<_> =
        view.shards.iter().filter_map(|shard| shard.shard.as_deref()).collect();
    assert_eq!(labels, ["0", "1", "16383", "2"].into());
}

#[test]
fn a_slot_of_each_range_is_counted_once() {
    let ranges = "0-16383 ".repeat(16_384);
    let line = |id: usize| {
        let at = if id == 0 { SEED } else { "10.0.0.1:1" };
        let myself = if id == 0 { "myself," } else { "" };
        format!("{id:040x} {at}@1 {myself}master - 0 1 {id} connected {ranges}\n")
    };
    let map: String = (0..20).map(line).collect();
    let mut test = TestDeployment::with_limit(1024);
    let view = test.observe(&map);
    let cluster = view.cluster.as_ref().expect("a cluster");
    assert_eq!((view.shards.len(), cluster.conflicts, cluster.known), (1, 0, 20));
}

/// A Sentinel that names any master. Every server replies as a master.
struct TestSentinel {
    tracker: DeploymentTracker,
    round: u32,
    nodes_left: Option<usize>,
    /// Masters that the Sentinel lists and that were left out, and replicas of the master.
    left_out: [LeftOut; 2],
}

impl TestSentinel {
    fn with_limit(nodes: usize) -> Self {
        let mut deployment =
            Deployment::new("cache", DeploymentKind::Sentinel, &[], SECOND, SECOND * 3);
        deployment.add_sentinel("s".to_owned(), "10.0.1.1:26379".to_owned(), true);
        deployment.discovery = Some(Discovery {
            master: "mymaster".to_owned(),
            names: NodeNameTemplate::default(),
            address_map: BTreeMap::new(),
            ghost_after: SECOND * 600,
            forget_after: SECOND * 10,
        });
        deployment.limits.nodes = nodes;
        let tracker = DeploymentTracker::new(Arc::new(deployment));
        TestSentinel { tracker, round: 0, nodes_left: None, left_out: [LeftOut::default(); 2] }
    }

    /// Runs a round in which the Sentinel names the master at this port.
    fn observe(&mut self, port: u32) -> Arc<DeploymentView> {
        self.round += 1;
        let at = SystemTime::UNIX_EPOCH + SECOND * self.round;
        let answer = |info: &str, sentinel: Option<Arc<SentinelReport>>| {
            let snapshot = NodeSnapshot::from_info(info).expect("a reply to INFO");
            let snapshot = NodeSnapshot { sentinel, ..snapshot };
            PollOutcome::Answered(NodeReply::new(snapshot, Duration::ZERO, at))
        };
        let port = port.to_string();
        let pairs = [
            ("name", "mymaster"),
            ("ip", "10.0.0.1"),
            ("port", &*port),
            ("flags", "master"),
            ("config-epoch", &*port),
        ];
        let report = MasterReport {
            master: SentinelEntry::from_pairs(pairs.into_iter()).expect("an entry"),
            replicas: Some(Arc::default()),
            sentinels: Some(Arc::default()),
            quorum: None,
            lists_age: Duration::ZERO,
        };
        let [masters, lists] = self.left_out;
        let report = SentinelReport::new(vec![report]);
        let report = report.with_left_out(masters, [("mymaster".into(), lists)]);
        let report = Some(Arc::new(report));
        let view = self.tracker.view();
        let outcomes = view.nodes.values().map(|node| match node.node.kind {
            NodeKind::Sentinel { .. } => answer("run_id:s\nredis_mode:sentinel\n", report.clone()),
            NodeKind::Data => {
                let address = &node.node.address;
                let info = format!("run_id:{address}\nuptime_in_seconds:5000\nrole:master\n");
                answer(&info, None)
            }
            NodeKind::Vacant => PollOutcome::Pending,
        });
        let now = Monotonic::from_start(SECOND * self.round);
        let round = Round::new(at, now, outcomes.collect());
        self.tracker.observe(&Round { nodes_left: self.nodes_left, ..round }).view
    }
}

/// Returns the addresses of the data nodes.
fn data_nodes(view: &DeploymentView) -> Vec<&str> {
    let is_data = |kind: NodeKind| kind == NodeKind::Data;
    let members = view.members().filter(|(_, node)| is_data(node.node.kind));
    members.map(|(_, node)| node.node.address.as_str()).collect()
}

#[test]
fn masters_that_sentinels_name_in_turn_are_limited() {
    let mut test = TestSentinel::with_limit(5);
    let mut was_exceeded = false;
    for port in 1..=100 {
        let view = test.observe(port);
        assert!(data_nodes(&view).len() <= 6, "{port}: {:?}", data_nodes(&view));
        was_exceeded |= view.excess.get(LimitKind::Nodes) > 0;
    }
    assert!(was_exceeded);
    // The last one stays, and those that exceed the limit leave.
    let mut view = test.observe(100);
    for _ in 0..30 {
        view = test.observe(100);
    }
    let addresses = data_nodes(&view);
    assert!(addresses.len() <= 5 && addresses.contains(&"10.0.0.1:100"), "{addresses:?}");
    assert!(view.excess.is_empty());
}

#[test]
fn masters_of_a_full_group_are_limited_too() {
    let mut test = TestSentinel::with_limit(1024);
    test.nodes_left = Some(0);
    for port in 1..=100 {
        let view = test.observe(port);
        assert_eq!(data_nodes(&view), [format!("10.0.0.1:{port}")]);
    }
    // With room in the group, a former master stays while it replies as a master.
    test.nodes_left = Some(1);
    let mut view = test.observe(101);
    for _ in 0..30 {
        view = test.observe(101);
    }
    let mut addresses = data_nodes(&view);
    addresses.sort_unstable();
    assert_eq!(addresses, ["10.0.0.1:100", "10.0.0.1:101"]);
}

#[test]
fn entries_of_sentinels_that_are_left_out_are_counted() {
    let mut test = TestSentinel::with_limit(5);
    test.left_out = [LeftOut { excess: 2, long_names: 3 }, LeftOut { excess: 10, long_names: 20 }];
    let view = test.observe(1);
    let excess: Vec<_> = view.excess.iter().filter(|(_, count)| *count > 0).collect();
    let expected = [(LimitKind::Nodes, 10), (LimitKind::Masters, 2), (LimitKind::Names, 23)];
    assert_eq!(excess, expected);
    test.left_out = [LeftOut::default(); 2];
    assert!(test.observe(1).excess.is_empty());
}
