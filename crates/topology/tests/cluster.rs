//! Deployments of kind cluster: shards, membership, slots and the state of the cluster.

mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use recorded::RecordedTracker;
use snapshot::{ClusterMap, CommandStats, Fields, NodeSnapshot, Reason};
use topology::{
    Cause, Deployment, DeploymentKind, DeploymentView, Discovery, EventKind, Evidence, FindingKind,
    NodeIndex, NodeNameTemplate, NodeReply, PollOutcome, Round,
};
use topology::{ReadRequest, Severity};

const SECOND: Duration = Duration::from_secs(1);

/// A cluster node: the number of its master, its slots and its epoch.
#[derive(Clone)]
struct Server {
    master: Option<usize>,
    slots: String,
    epoch: u64,
    /// Its replication history, and the one that this continues.
    history: (char, Option<char>),
    works: bool,
    /// Slots of masters that only this server does not reach.
    missed_slots: u32,
    /// Its map, if it differs from that of the other nodes.
    map: Option<String>,
    failed: bool,
    /// The number of its address, if it differs from its own.
    moved: Option<usize>,
    keys: u64,
    /// INFO commandstats.
    commands: &'static str,
}

/// A cluster whose first node is configured.
struct TestDeployment {
    tracker: RecordedTracker,
    servers: BTreeMap<usize, Server>,
    silent: Vec<usize>,
    requests: Vec<ReadRequest>,
    events: Vec<(&'static str, String)>,
    maps: usize,
}

fn server(master: Option<usize>, slots: &str, epoch: u64, history: char) -> Server {
    Server {
        master,
        slots: slots.to_owned(),
        epoch,
        history: (history, None),
        works: true,
        missed_slots: 0,
        map: None,
        failed: false,
        moved: None,
        keys: 0,
        commands: "",
    }
}

fn address(number: usize) -> String {
    format!("10.0.0.{number}:6379")
}

impl TestDeployment {
    /// Creates three masters, 1 to 3, and their replicas, 4 to 6.
    fn new() -> Self {
        Self::with_seed(1)
    }

    /// Does the same with the number of the configured address. Address 101 leads to node 1.
    fn with_seed(seed: usize) -> Self {
        let mut deployment =
            Deployment::new("cache", DeploymentKind::Cluster, &[], SECOND, SECOND * 3);
        deployment.add(address(seed), address(seed), None);
        let (master, names, address_map) =
            (String::new(), NodeNameTemplate::default(), BTreeMap::new());
        deployment.discovery = Some(Discovery {
            master,
            names,
            address_map,
            ghost_after: SECOND * 20,
            forget_after: SECOND * 10,
        });
        let masters = [("0-5460", 'a'), ("5461-10922", 'b'), ("10923-16383", 'c')];
        let mut servers = BTreeMap::new();
        for (number, (slots, history)) in (1..).zip(masters) {
            servers.insert(number, server(None, slots, number as u64, history));
            servers.insert(number + 3, server(Some(number), "", number as u64, history));
        }
        TestDeployment {
            tracker: RecordedTracker::new(Arc::new(deployment), None),
            servers,
            silent: vec![],
            requests: vec![],
            events: vec![],
            maps: 0,
        }
    }

    /// Returns the reply of one node to CLUSTER NODES.
    fn map(&self, of: usize) -> String {
        let line = |(number, server): (&usize, &Server)| {
            let myself = if *number == of { "myself," } else { "" };
            let (role, master) = server
                .master
                .map_or(("master", "-".to_owned()), |master| ("slave", format!("id{master}")));
            let failed = if server.failed { ",fail" } else { "" };
            let (at, epoch, slots) =
                (address(server.moved.unwrap_or(*number)), server.epoch, &server.slots);
            format!(
                "id{number} {at}@16379 {myself}{role}{failed} {master} 0 0 {epoch} connected \
                 {slots}\n"
            )
        };
        self.servers.iter().map(line).collect()
    }

    fn poll(&self, number: usize, with_map: bool) -> PollOutcome {
        let Some(server) = self.servers.get(&number).filter(|_| !self.silent.contains(&number))
        else {
            return PollOutcome::Failed(Reason::Refused);
        };
        let (history, continues) = server.history;
        let id = |history: char| history.to_string().repeat(40);
        let role = server.master.map_or("role:master".to_owned(), |master| {
            format!(
                "role:slave\nmaster_host:10.0.0.{master}\nmaster_port:6379\nmaster_link_status:up"
            )
        });
        let before = continues
            .map(|history| format!("master_replid2:{}\nsecond_repl_offset:1\n", id(history)))
            .unwrap_or_default();
        let head = format!(
            "run_id:r{number}\nuptime_in_seconds:1000\ncluster_enabled:1\n{role}\n\
             master_replid:{}\ndb0:keys={},expires=0,avg_ttl=0\n",
            id(history),
            server.keys
        );
        let newest = self.servers.values().map(|server| server.epoch).max().unwrap_or_default();
        let (state, covered) = if server.works { ("ok", 16384) } else { ("fail", 10923) };
        let covered = covered - server.missed_slots;
        let assigned =
            if server.map.as_ref().is_some_and(|map| map.lines().count() == 1) { 0 } else { 16384 };
        let info = format!(
            "cluster_state:{state}\ncluster_slots_assigned:{assigned}\n\
             cluster_slots_ok:{covered}\ncluster_known_nodes:{}\ncluster_current_epoch:{newest}\n\
             cluster_my_epoch:{}\n",
            self.servers.len(),
            server.epoch
        );
        let map = server.map.clone().unwrap_or_else(|| self.map(number));
        let snapshot = NodeSnapshot {
            cluster: Some(Arc::new(Fields::parse(&info))),
            map: with_map.then(|| Arc::new(ClusterMap::parse(&map))),
            commands: Some(Arc::new(CommandStats::parse(server.commands))),
            ..NodeSnapshot::from_info(&(head + &before)).expect("an INFO reply")
        };
        PollOutcome::Answered(NodeReply::new(snapshot, Duration::ZERO, SystemTime::UNIX_EPOCH))
    }

    fn rounds(&mut self, count: usize) -> Arc<DeploymentView> {
        for _ in 0..count {
            let before = self.tracker.view();
            let now = before.now + SECOND;
            let outcomes = before.nodes.iter().map(|(index, node)| {
                let number = node
                    .node
                    .address
                    .strip_prefix("10.0.0.")
                    .and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
                let is_at = |(own, server): &(&usize, &Server)| {
                    server.moved.unwrap_or(**own) == number.unwrap_or_default() % 100
                };
                let number =
                    number.map(|_| self.servers.iter().find(is_at).map_or(0, |(own, _)| *own));
                number.map_or(PollOutcome::Pending, |number| {
                    self.poll(number, self.requests.contains(&ReadRequest::ClusterMap(index)))
                })
            });
            let result = self.tracker.observe(&Round::new(
                SystemTime::UNIX_EPOCH + now.since_start(),
                now,
                outcomes.collect(),
            ));
            self.requests = result.requests;
            self.maps = self
                .requests
                .iter()
                .filter(|request| matches!(request, ReadRequest::ClusterMap(_)))
                .count();
            self.events.extend(result.events.into_iter().map(|event| match event.kind {
                EventKind::PrimaryChanged { from, to, cause } => (
                    "primary_changed",
                    format!("{} {from} {to} {}", event.shard.unwrap_or_default(), cause.label()),
                ),
                kind => (kind.label(), event.node.or(event.shard).unwrap_or_default()),
            }));
        }
        self.tracker.view()
    }

    fn healthy() -> Self {
        let mut test = TestDeployment::new();
        let view = test.rounds(6);
        assert_eq!((kinds(&view), test.events.len()), (vec![], 0));
        test
    }

    fn events_of(&self, kind: &str) -> Vec<&str> {
        self.events
            .iter()
            .filter(|(other, _)| *other == kind)
            .map(|(_, what)| what.as_str())
            .collect()
    }
}

/// Returns the label, the primary and the number of replicas of each shard.
fn shards(view: &DeploymentView) -> Vec<(&str, Option<&str>, usize)> {
    let of = view.shards.iter();
    of.map(|shard| {
        (
            shard.shard.as_deref().expect("a label"),
            shard.primary.map(|primary| view.name(primary.node)),
            shard.replicas,
        )
    })
    .collect()
}

fn kinds(view: &DeploymentView) -> Vec<(FindingKind, Severity, Option<&str>)> {
    view.findings
        .iter()
        .map(|finding| (finding.kind, finding.severity, finding.shard.as_deref()))
        .collect()
}

#[test]
fn one_configured_node_discovers_all_shards() {
    let mut test = TestDeployment::healthy();
    let view = test.rounds(1);
    let [a, b, c] = [1, 2, 3].map(address);
    assert_eq!(
        shards(&view),
        [("0", Some(&*a), 1), ("5461", Some(&*b), 1), ("10923", Some(&*c), 1)]
    );
    let cluster = view.cluster.as_ref().expect("a cluster");
    assert_eq!((cluster.working(), cluster.uncovered, cluster.known), (Some(true), Some(0), 6));
    assert_eq!(test.maps, 3, "without changes a few maps are read in turn");
}

#[test]
fn a_failover_belongs_to_its_shard() {
    let mut test = TestDeployment::healthy();
    test.silent = vec![1];
    test.rounds(2);
    test.servers
        .get_mut(&4)
        .expect("it")
        .clone_from(&Server { history: ('d', Some('a')), ..server(None, "0-5460", 7, 'd') });
    let old = test.servers.get_mut(&1).expect("it");
    (old.failed, old.slots) = (true, String::new());
    let view = test.rounds(6);
    assert_eq!(shards(&view)[0], ("0", Some(&*address(4)), 0));
    assert_eq!(
        test.events_of("primary_changed"),
        [format!("0 {} {} cluster", address(1), address(4))]
    );
    // The old master returns as a replica.
    test.silent.clear();
    test.servers.insert(1, server(Some(4), "", 7, 'd'));
    let view = test.rounds(6);
    assert_eq!((shards(&view)[0], kinds(&view)), (("0", Some(&*address(4)), 1), vec![]));
    assert_eq!(
        (test.events_of("split_brain_began").len(), test.events_of("primary_changed").len()),
        (0, 1)
    );
    assert_eq!(view.shards[0].primary_change_counts[Cause::Cluster as usize], 1);
    assert!(
        view.shards[1..].iter().all(|shard| shard.primary_change_counts.iter().sum::<u64>() == 0)
    );
}

#[test]
fn the_epoch_decides_between_two_masters_of_a_shard() {
    let mut test = TestDeployment::healthy();
    // Only the map relates the two masters.
    test.servers.insert(4, server(None, "0-5460", 7, 'd'));
    let view = test.rounds(8);
    assert_eq!(shards(&view)[0].1, Some(&*address(4)));
    assert_eq!(view.shards[0].stale_masters.len(), 1, "the old master still claims to be master");
}

#[test]
fn migrated_slots_do_not_change_shard_labels() {
    let mut test = TestDeployment::healthy();
    let mut slots = |number: usize, slots: &str, epoch: u64| {
        let server = test.servers.get_mut(&number).expect("it");
        (server.slots, server.epoch) = (slots.to_owned(), epoch);
    };
    slots(1, "1000-5460", 1);
    slots(2, "0-999 5461-10922", 8);
    let view = test.rounds(8);
    let [a, b, c] = [1, 2, 3].map(address);
    assert_eq!(
        shards(&view),
        [("0", Some(&*a), 1), ("5461", Some(&*b), 1), ("10923", Some(&*c), 1)]
    );
    // A new shard with the lowest slot gets its own label.
    test.servers.get_mut(&2).expect("it").slots = "5461-10922".to_owned();
    test.servers.insert(7, server(None, "0-999", 9, 'e'));
    let view = test.rounds(8);
    let labels: Vec<_> = shards(&view).into_iter().map(|(label, ..)| label.to_owned()).collect();
    assert_eq!(labels, ["0", "1", "5461", "10923"]);
    assert_eq!(
        (test.events_of("primary_changed").len(), test.events_of("node_discovered")),
        (0, vec![&*address(7)])
    );
    assert_eq!(kinds(&view), []);
}

/// Opens a slot between two nodes, in the maps of those that report it.
fn open_slot(test: &mut TestDeployment, slot: u16, source: Option<usize>, target: Option<usize>) {
    let [from, to] = [source, target].map(Option::unwrap_or_default);
    for (number, slots) in
        [(source, format!("[{slot}->-id{to}]")), (target, format!("[{slot}-<-id{from}]"))]
    {
        let Some(server) = number.and_then(|number| test.servers.get_mut(&number)) else {
            continue;
        };
        let number = number.unwrap_or_default();
        server.map = None;
        let map = test.map(number);
        let with_slot = |line: &str| {
            let open = if line.contains("myself") { format!(" {slots}") } else { String::new() };
            format!("{line}{open}\n")
        };
        let map = map.lines().map(with_slot).collect();
        test.servers.get_mut(&number).expect("it").map = Some(map);
    }
}

/// Returns the open slots with the nodes that report them as migrating and as importing.
fn open_slots(view: &DeploymentView) -> Vec<(u16, Vec<&str>, Vec<&str>)> {
    let cluster = view.cluster.as_ref().expect("a cluster");
    let names = |nodes: &[NodeIndex]| nodes.iter().map(|node| view.name(*node)).collect();
    let open = cluster.open_slots.iter();
    open.map(|open| (open.slot, names(&open.migrating), names(&open.importing))).collect()
}

#[test]
fn an_open_slot_counts_once_on_both_of_its_nodes() {
    let mut test = TestDeployment::healthy();
    let [a, b] = [1, 2].map(address);
    open_slot(&mut test, 93, Some(1), Some(2));
    let view = test.rounds(3);
    assert_eq!(open_slots(&view), [(93, vec![&*a], vec![&*b])]);
    assert_eq!(kinds(&view), [], "a slot migration is no finding");
    // A replica of Valkey reports the slot too, and is neither source nor target.
    open_slot(&mut test, 93, Some(4), None);
    assert_eq!(open_slots(&test.rounds(3)), [(93, vec![&*a], vec![&*b])]);
    // A source that is down reports nothing.
    test.silent = vec![1];
    assert_eq!(open_slots(&test.rounds(12)), [(93, vec![], vec![&*b])]);
}

#[test]
fn a_slot_that_stays_open_for_ten_minutes_is_a_warning() {
    let mut test = TestDeployment::healthy();
    open_slot(&mut test, 93, Some(1), Some(2));
    let view = test.rounds(600);
    assert_eq!(kinds(&view), []);
    let view = test.rounds(4);
    assert_eq!(kinds(&view), [(FindingKind::RedisClusterSlotOpen, Severity::Warning, None)]);
    let Evidence::RedisClusterSlotOpen(evidence) = &view.findings[0].evidence else {
        panic!("{:?}", view.findings)
    };
    let names = [&evidence.migrating, &evidence.importing].map(Vec::as_slice);
    assert_eq!((evidence.slots.as_slice(), names), (&[93][..], [&[address(1)][..], &[address(2)]]));
    assert!(evidence.open_for > SECOND * 600, "{evidence:?}");
    for number in [1, 2] {
        test.servers.get_mut(&number).expect("it").map = None;
    }
    assert_eq!(kinds(&test.rounds(3)), []);
}

#[test]
fn a_resharding_of_many_slots_is_no_finding() {
    let mut test = TestDeployment::healthy();
    for slot in 0..150 {
        open_slot(&mut test, slot, Some(1), Some(2));
        let view = test.rounds(5);
        assert_eq!((kinds(&view), open_slots(&view).len()), (vec![], 1), "slot {slot}");
    }
}

#[test]
fn a_shard_that_refuses_writes_for_an_open_slot_says_so() {
    let mut test = TestDeployment::healthy();
    open_slot(&mut test, 93, Some(1), Some(2));
    test.rounds(3);
    // The source fails over. The target keeps it as the owner of the slot.
    let target = test.servers.get_mut(&2).expect("it");
    (target.works, target.missed_slots) = (false, 0);
    test.rounds(3);
    let view = test.tracker.view();
    let blocked = view.findings.iter().find_map(|finding| match &finding.evidence {
        Evidence::RedisWritesBlocked(evidence) => Some(evidence),
        _ => None,
    });
    let blocked = blocked.expect("a finding");
    assert_eq!((&blocked.primary, blocked.importing_slots.as_slice()), (&address(2), &[93][..]));
    // If the whole cluster is down, the slot is not the reason.
    for number in [1, 3] {
        test.servers.get_mut(&number).expect("it").works = false;
    }
    let view = test.rounds(3);
    let slots = view.findings.iter().filter_map(|finding| match &finding.evidence {
        Evidence::RedisWritesBlocked(evidence) => Some(evidence.importing_slots.len()),
        _ => None,
    });
    let slots: Vec<_> = slots.collect();
    assert!(!slots.is_empty() && slots.iter().all(|slots| *slots == 0), "{:?}", view.findings);
}

#[test]
fn a_slot_conflict_needs_several_maps() {
    let mut test = TestDeployment::healthy();
    let claims = test.map(2).replace("5461-10922", "5000-10922");
    test.servers.get_mut(&2).expect("it").map = Some(claims);
    let conflicts = |view: &DeploymentView| view.cluster.as_ref().map(|cluster| cluster.conflicts);
    let early: Vec<_> = (0..3).map(|_| conflicts(&test.rounds(1))).collect();
    assert_eq!(early[0], Some(0), "maps are not read at the same moment");
    let view = test.rounds(8);
    assert_eq!(conflicts(&view), Some(461));
    assert!(kinds(&view).contains(&(
        FindingKind::RedisClusterSlotConflict,
        Severity::Critical,
        None
    )));
}

#[test]
fn a_partitioned_former_master_causes_no_conflict() {
    let mut test = TestDeployment::healthy();
    let before = test.map(1);
    let old = test.servers.get_mut(&1).expect("it");
    (old.map, old.works) = (Some(before), false);
    test.servers.insert(4, server(None, "0-5460", 7, 'd'));
    let view = test.rounds(8);
    let cluster = view.cluster.as_ref().expect("a cluster");
    assert_eq!(
        (view.shards[0].stale_masters.len(), &cluster.doubtful[..], cluster.conflicts),
        (1, &[NodeIndex::new(0)][..], 0)
    );
    // When it considers the cluster ok, it accepts writes again.
    test.servers.get_mut(&1).expect("it").works = true;
    assert_eq!(test.rounds(8).cluster.as_ref().map(|cluster| cluster.conflicts), Some(5461));
}

#[test]
fn the_majority_of_masters_decides_if_the_cluster_works() {
    let mut test = TestDeployment::healthy();
    test.servers.get_mut(&1).expect("it").works = false;
    let view = test.rounds(2);
    assert_eq!(view.cluster.as_ref().and_then(topology::ClusterView::working), Some(true));
    let down = |view: &DeploymentView| {
        view.findings
            .iter()
            .find(|finding| finding.kind == FindingKind::RedisClusterDown)
            .map(|finding| finding.severity)
    };
    assert_eq!(down(&view), Some(Severity::Info), "the node may have started just now");
    assert_eq!(down(&test.rounds(15)), Some(Severity::Warning));
    test.servers.get_mut(&2).expect("it").works = false;
    let view = test.rounds(2);
    assert_eq!(
        view.cluster.as_ref().map(|cluster| (cluster.working(), cluster.uncovered)),
        Some((Some(false), Some(5461)))
    );
    for kind in [FindingKind::RedisClusterDown, FindingKind::RedisClusterSlotsUncovered] {
        assert!(kinds(&view).contains(&(kind, Severity::Critical, None)), "{:?}", kinds(&view));
    }
}

#[test]
fn two_masters_that_lost_contact_still_serve_their_slots() {
    let mut test = TestDeployment::healthy();
    for number in [1, 3] {
        test.servers.get_mut(&number).expect("it").missed_slots = 5461;
    }
    let view = test.rounds(15);
    let cluster = view.cluster.as_ref().expect("a cluster");
    assert_eq!((cluster.working(), cluster.uncovered), (Some(true), Some(0)));
    assert_eq!(kinds(&view), []);
}

#[test]
fn a_missing_replica_is_a_finding_of_its_shard() {
    let mut test = TestDeployment::healthy();
    test.silent = vec![5];
    // Half of the default `cluster-node-timeout` and 3 s must pass.
    let view = test.rounds(12);
    assert!(
        kinds(&view).contains(&(
            FindingKind::RedisClusterShardWithoutReplica,
            Severity::Warning,
            Some("5461")
        )),
        "{:?}",
        kinds(&view)
    );
    assert!(!kinds(&view).iter().any(|(kind, ..)| *kind == FindingKind::RedisReplicasMissing));
}

#[test]
fn maps_report_a_silent_node_as_down() {
    let mut test = TestDeployment::healthy();
    test.silent = vec![5];
    assert_eq!(test.rounds(3).reported_down, []);
    test.servers.get_mut(&5).expect("it").failed = true;
    let view = test.rounds(3);
    let names: Vec<_> = view.reported_down.iter().map(|index| view.name(*index)).collect();
    assert_eq!(names, [address(5)]);
}

#[test]
fn unlisted_nodes_leave_and_failed_ones_become_ghosts() {
    let mut test = TestDeployment::healthy();
    test.servers.remove(&6);
    test.silent = vec![5];
    test.servers.get_mut(&5).expect("it").failed = true;
    let view = test.rounds(40);
    assert_eq!(test.events_of("node_gone"), [&*address(6), &*address(5)]);
    assert_eq!(view.cluster.as_ref().map(|cluster| cluster.ghosts.clone()), Some(vec![address(5)]));
    assert!(!kinds(&view).iter().any(|(kind, ..)| *kind == FindingKind::RedisDown));
}

#[test]
fn no_node_leaves_while_no_map_is_read() {
    let mut test = TestDeployment::healthy();
    test.silent = (1..=6).collect();
    let view = test.rounds(60);
    assert_eq!((view.members().count(), test.events_of("node_gone").len()), (6, 0));
}

#[test]
fn primaries_survive_a_restart_of_the_exporter() {
    let saved = TestDeployment::healthy().tracker.saved_state();
    let mut later = TestDeployment::new();
    later.tracker =
        RecordedTracker::new(later.tracker.view().deployment.clone(), Some((saved, SECOND)));
    later.servers.insert(4, Server { history: ('d', Some('a')), ..server(None, "0-5460", 7, 'd') });
    later.servers.insert(1, server(Some(4), "", 7, 'd'));
    later.rounds(10);
    let changed = later.events_of("primary_changed");
    assert_eq!(
        (
            changed.len(),
            changed.first().map(|change| change.starts_with(&format!(
                "0 {} {}",
                address(1),
                address(4)
            )))
        ),
        (1, Some(true))
    );
}

#[test]
fn a_reset_replica_leaves_its_shard_at_once() {
    let mut test = TestDeployment::healthy();
    let alone = format!("id4 {}@16379 myself,master - 0 0 0 connected\n", address(4));
    test.servers.insert(
        4,
        Server {
            map: Some(alone),
            history: ('d', Some('a')),
            works: false,
            ..server(None, "", 0, 'd')
        },
    );
    let view = test.rounds(4);
    assert_eq!(shards(&view)[0], ("0", Some(&*address(1)), 0));
    assert_eq!(
        (test.events_of("split_brain_began").len(), test.events_of("primary_changed").len()),
        (0, 0)
    );
    assert!(
        !kinds(&view)
            .iter()
            .any(|(kind, ..)| *kind == FindingKind::RedisClusterShardWithoutReplica),
        "{:?}",
        kinds(&view)
    );
}

#[test]
fn a_node_with_a_new_address_keeps_its_index() {
    let mut test = TestDeployment::new();
    let view = test.rounds(20);
    let named =
        |view: &DeploymentView, name: &str| view.nodes.position(|node| node.node.name == name);
    let index = named(&view, &address(5)).expect("it");
    assert_eq!(view.nodes.len(), 6);
    // Like a pod with a new address: it keeps its ID.
    test.servers.get_mut(&5).expect("it").moved = Some(15);
    let view = test.rounds(15);
    assert_eq!((named(&view, &address(15)), named(&view, &address(5))), (Some(index), None));
    assert_eq!((view.nodes[index].up(), view.nodes.len()), (Some(true), 6));
    assert!(view.findings.is_empty(), "{:?}", view.findings);
    assert_eq!(view.shards.iter().map(|shard| shard.replicas).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn a_configured_address_moves_with_its_node() {
    let mut test = TestDeployment::new();
    let view = test.rounds(20);
    let named =
        |view: &DeploymentView, name: &str| view.nodes.position(|node| node.node.name == name);
    let index = named(&view, &address(1)).expect("it");
    test.servers.get_mut(&1).expect("it").moved = Some(11);
    // Its own map still has the old address.
    let map = test.map(1).replace(&format!("{}@", address(11)), &format!("{}@", address(1)));
    test.servers.get_mut(&1).expect("it").map = Some(map);
    test.rounds(6);
    for _ in 0..20 {
        let view = test.rounds(3);
        assert_eq!((named(&view, &address(11)), named(&view, &address(1))), (Some(index), None));
        assert_eq!((view.nodes[index].up(), view.nodes.len()), (Some(true), 6));
    }
    assert!(test.rounds(1).findings.is_empty(), "{:?}", test.rounds(1).findings);
}

#[test]
fn a_dead_node_that_all_forgot_leaves_soon() {
    let mut test = TestDeployment::new();
    test.rounds(20);
    let removed = test.servers.remove(&6).expect("it");
    let view = test.rounds(1);
    assert!(view.nodes.values().any(|node| node.node.name == address(6)));
    let view = test.rounds(12);
    assert!(view.nodes.values().all(|node| node.node.name != address(6)), "nobody lists it");
    test.servers.insert(6, removed);
    let view = test.rounds(5);
    assert!(view.nodes.values().any(|node| node.node.name == address(6)));
}

#[test]
fn a_translated_address_stays_while_its_node_is_silent() {
    let mut test = TestDeployment::with_seed(101);
    test.rounds(20);
    test.silent = vec![1];
    test.rounds(20);
    test.silent = vec![];
    let view = test.rounds(2);
    let seed = &view.nodes[NodeIndex::new(0)];
    assert_eq!((&*seed.node.address, seed.up(), view.nodes.len()), (&*address(101), Some(true), 6));
}

/// Gives every node 100 keys.
fn with_keys() -> TestDeployment {
    let mut test = TestDeployment::healthy();
    test.servers.values_mut().for_each(|server| server.keys = 100);
    test.rounds(3);
    test
}

/// Lets node 7 take the slots of node 1, which becomes its replica two rounds later. Before, node 7
/// is a master without slots and keys for some rounds.
fn taken_over(test: &mut TestDeployment, new: Server, empty_for: usize) {
    if empty_for > 0 {
        test.servers.insert(7, server(None, "", 0, 'f'));
        test.rounds(empty_for);
    }
    test.servers.insert(7, new);
    test.servers.get_mut(&1).expect("it").slots = String::new();
    test.rounds(2);
    for number in [1, 4] {
        test.servers.insert(number, Server { keys: 100, ..server(Some(7), "", 10, 'f') });
    }
    test.rounds(12);
}

/// Returns the numbers of replacements by shard, of foreign masters, and of findings about them.
fn replaced(view: &DeploymentView) -> (Vec<(&str, u64)>, u64, usize) {
    let by_shard = view.shards.iter().map(|shard| {
        let label = shard.shard.as_deref().expect("a label");
        (label, shard.dataset_replaced.total)
    });
    let is_replaced =
        |finding: &&topology::Finding| finding.kind == FindingKind::RedisDatasetReplaced;
    let findings = view.findings.iter().filter(is_replaced).count();
    (by_shard.collect(), view.foreign_masters.total, findings)
}

fn nothing_replaced() -> (Vec<(&'static str, u64)>, u64, usize) {
    (vec![("0", 0), ("5461", 0), ("10923", 0)], 0, 0)
}
#[test]
fn the_master_of_another_cluster_replaces_the_data() {
    let mut test = with_keys();
    let foreign = Server { keys: 90, ..server(None, "0-5460", 10, 'f') };
    taken_over(&mut test, foreign, 0);
    let view = test.rounds(1);
    // One finding for the shard, and one for the cluster.
    assert_eq!(replaced(&view), (vec![("0", 1), ("5461", 0), ("10923", 0)], 1, 2));
    assert_eq!(test.events_of("dataset_replaced"), [address(1)]);
    assert_eq!(shards(&view)[0].1, Some(&*address(7)), "the shard keeps its label");
}

#[test]
fn a_slot_migration_to_a_new_master_replaces_nothing() {
    // It joined without keys. Or the migration was over before Rolecall first polled it.
    let syncslots = "cmdstat_cluster|syncslots:calls=9,usec=1,usec_per_call=1.00";
    for (commands, empty_for) in [("", 3), (syncslots, 0)] {
        let mut test = with_keys();
        let new = Server { keys: 100, commands, ..server(None, "0-5460", 10, 'f') };
        taken_over(&mut test, new, empty_for);
        let view = test.rounds(1);
        assert_eq!(replaced(&view), nothing_replaced(), "{commands}");
        assert_eq!(test.events_of("dataset_replaced"), Vec::<&str>::new(), "{commands}");
    }
}

#[test]
fn a_master_of_another_shard_that_takes_all_slots_is_silent() {
    let mut test = with_keys();
    let mut set = |number: usize, to: Server| test.servers.insert(number, to);
    set(2, Server { keys: 200, ..server(None, "0-10922", 10, 'b') });
    set(1, Server { keys: 200, ..server(Some(2), "", 10, 'b') });
    set(4, Server { keys: 200, ..server(Some(2), "", 10, 'b') });
    let view = test.rounds(12);
    assert_eq!(test.events_of("dataset_replaced"), Vec::<&str>::new());
    assert_eq!((replaced(&view).1, replaced(&view).2), (0, 0));
}

#[test]
fn empty_masters_of_another_cluster_are_silent() {
    let mut test = TestDeployment::healthy();
    taken_over(&mut test, server(None, "0-5460", 10, 'f'), 0);
    let view = test.rounds(1);
    assert_eq!(replaced(&view), nothing_replaced());
}
