//! Clusters, round by round: their shards, who serves them, and whether the nodes agree that all is well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{ClusterMap, Fields, NodeSnapshot, Reason};
use topology::{
    Cause, Deployment, DeploymentKind, DeploymentTracker, DeploymentView, Discovery, EventKind,
    FindingKind, NodeIndex, NodeNameTemplate, NodeReply, PollOutcome, Round,
};
use topology::{ReadRequest, Severity};

const SECOND: Duration = Duration::from_secs(1);

/// A node as it describes itself: the id of its master, if it has one, its slots and its epoch.
#[derive(Clone)]
struct Server {
    master: Option<usize>,
    slots: String,
    epoch: u64,
    /// What its data belongs to, and what that continues.
    history: (char, Option<char>),
    works: bool,
    /// The map that it has, where that is not the one of all.
    map: Option<String>,
    failed: bool,
    /// Its address, where that is not the one of its number.
    moved: Option<usize>,
}

/// A cluster of which the first node is listed.
struct Scene {
    fold: DeploymentTracker,
    servers: BTreeMap<usize, Server>,
    silent: Vec<usize>,
    wanted: Vec<ReadRequest>,
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
        map: None,
        failed: false,
        moved: None,
    }
}

fn address(number: usize) -> String {
    format!("10.0.0.{number}:6379")
}

impl Scene {
    /// Three masters, 1 to 3, and their replicas, 4 to 6.
    fn new() -> Self {
        let mut deployment =
            Deployment::new("cache", DeploymentKind::Cluster, &[], SECOND, SECOND * 3);
        deployment.add(address(1), address(1), None);
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
        Scene {
            fold: DeploymentTracker::new(Arc::new(deployment)),
            servers,
            silent: vec![],
            wanted: vec![],
            events: vec![],
            maps: 0,
        }
    }

    /// What one node has to say of all: CLUSTER NODES.
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
                "id{number} {at}@16379 {myself}{role}{failed} {master} 0 0 {epoch} connected {slots}\n"
            )
        };
        self.servers.iter().map(line).collect()
    }

    fn answer(&self, number: usize, with_map: bool) -> PollOutcome {
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
            "run_id:r{number}\nuptime_in_seconds:1000\ncluster_enabled:1\n{role}\nmaster_replid:{}\n",
            id(history)
        );
        let newest = self.servers.values().map(|server| server.epoch).max().unwrap_or_default();
        let (state, covered) = if server.works { ("ok", 16384) } else { ("fail", 10923) };
        let assigned =
            if server.map.as_ref().is_some_and(|map| map.lines().count() == 1) { 0 } else { 16384 };
        let info = format!(
            "cluster_state:{state}\ncluster_slots_assigned:{assigned}\ncluster_slots_ok:{covered}\ncluster_known_nodes:{}\ncluster_current_epoch:{newest}\ncluster_my_epoch:{}\n",
            self.servers.len(),
            server.epoch
        );
        let map = server.map.clone().unwrap_or_else(|| self.map(number));
        let snapshot = NodeSnapshot {
            cluster: Some(Arc::new(Fields::parse(&info))),
            map: with_map.then(|| Arc::new(ClusterMap::parse(&map))),
            ..NodeSnapshot::from_info(&(head + &before)).expect("an INFO reply")
        };
        PollOutcome::Answered(NodeReply::new(snapshot, Duration::ZERO, SystemTime::UNIX_EPOCH))
    }

    fn rounds(&mut self, count: usize) -> Arc<DeploymentView> {
        for _ in 0..count {
            let before = self.fold.view();
            let now = before.now + SECOND;
            let outcomes = before.nodes.iter().map(|(index, node)| {
                let number = node
                    .node
                    .address
                    .strip_prefix("10.0.0.")
                    .and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
                let is_at = |(own, server): &(&usize, &Server)| {
                    server.moved.unwrap_or(**own) == number.unwrap_or_default()
                };
                let number =
                    number.map(|_| self.servers.iter().find(is_at).map_or(0, |(own, _)| *own));
                number.map_or(PollOutcome::Pending, |number| {
                    self.answer(number, self.wanted.contains(&ReadRequest::ClusterMap(index)))
                })
            });
            let step = self.fold.observe(&Round::new(
                SystemTime::UNIX_EPOCH + now.since_start(),
                now,
                outcomes.collect(),
            ));
            self.wanted = step.requests;
            self.maps = self
                .wanted
                .iter()
                .filter(|wanted| matches!(wanted, ReadRequest::ClusterMap(_)))
                .count();
            self.events.extend(step.events.into_iter().map(|event| match event.kind {
                EventKind::PrimaryChanged { from, to, cause } => (
                    "primary_changed",
                    format!("{} {from} {to} {}", event.shard.unwrap_or_default(), cause.label()),
                ),
                kind => (kind.label(), event.node.or(event.shard).unwrap_or_default()),
            }));
        }
        self.fold.view()
    }

    fn healthy() -> Self {
        let mut scene = Scene::new();
        let view = scene.rounds(6);
        assert_eq!((kinds(&view), scene.events.len()), (vec![], 0));
        scene
    }

    fn happened(&self, kind: &str) -> Vec<&str> {
        self.events
            .iter()
            .filter(|(other, _)| *other == kind)
            .map(|(_, what)| what.as_str())
            .collect()
    }
}

/// Each shard, its primary, and how many replicas it has.
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
fn one_node_is_enough_to_find_all_shards() {
    let mut scene = Scene::healthy();
    let view = scene.rounds(1);
    let [a, b, c] = [1, 2, 3].map(address);
    assert_eq!(
        shards(&view),
        [("0", Some(&*a), 1), ("5461", Some(&*b), 1), ("10923", Some(&*c), 1)]
    );
    let cluster = view.cluster.as_ref().expect("a cluster");
    assert_eq!((cluster.working(), cluster.uncovered, cluster.known), (Some(true), Some(0), 6));
    assert_eq!(scene.maps, 3, "while nothing moves");
}

#[test]
fn a_failover_is_that_of_its_shard() {
    let mut scene = Scene::healthy();
    scene.silent = vec![1];
    scene.rounds(2);
    scene
        .servers
        .get_mut(&4)
        .expect("it")
        .clone_from(&Server { history: ('d', Some('a')), ..server(None, "0-5460", 7, 'd') });
    let old = scene.servers.get_mut(&1).expect("it");
    (old.failed, old.slots) = (true, String::new());
    let view = scene.rounds(6);
    assert_eq!(shards(&view)[0], ("0", Some(&*address(4)), 0));
    assert_eq!(
        scene.happened("primary_changed"),
        [format!("0 {} {} cluster", address(1), address(4))]
    );
    // It returns, takes itself for the master for a moment, and then follows.
    scene.silent.clear();
    scene.servers.insert(1, server(Some(4), "", 7, 'd'));
    let view = scene.rounds(6);
    assert_eq!((shards(&view)[0], kinds(&view)), (("0", Some(&*address(4)), 1), vec![]));
    assert_eq!(
        (scene.happened("split_brain_began").len(), scene.happened("primary_changed").len()),
        (0, 1)
    );
    assert_eq!(view.shards[0].primary_change_counts[Cause::Cluster as usize], 1);
    assert!(
        view.shards[1..].iter().all(|shard| shard.primary_change_counts.iter().sum::<u64>() == 0)
    );
}

#[test]
fn two_masters_of_one_shard_are_told_apart_by_their_epochs() {
    let mut scene = Scene::healthy();
    // Nothing but the map says that these two have to do with one another.
    scene.servers.insert(4, server(None, "0-5460", 7, 'd'));
    let view = scene.rounds(8);
    assert_eq!(shards(&view)[0].1, Some(&*address(4)));
    assert_eq!(view.shards[0].stale_masters.len(), 1, "the one before claims to be master still");
}

#[test]
fn slots_that_move_take_no_label_with_them() {
    let mut scene = Scene::healthy();
    let mut slots = |number: usize, slots: &str, epoch: u64| {
        let server = scene.servers.get_mut(&number).expect("it");
        (server.slots, server.epoch) = (slots.to_owned(), epoch);
    };
    slots(1, "1000-5460", 1);
    slots(2, "0-999 5461-10922", 8);
    let view = scene.rounds(8);
    let [a, b, c] = [1, 2, 3].map(address);
    assert_eq!(
        shards(&view),
        [("0", Some(&*a), 1), ("5461", Some(&*b), 1), ("10923", Some(&*c), 1)]
    );
    // A new one that has the lowest slot has a label of its own.
    scene.servers.get_mut(&2).expect("it").slots = "5461-10922".to_owned();
    scene.servers.insert(7, server(None, "0-999", 9, 'e'));
    let view = scene.rounds(8);
    let labels: Vec<_> = shards(&view).into_iter().map(|(label, ..)| label.to_owned()).collect();
    assert_eq!(labels, ["0", "1", "5461", "10923"]);
    assert_eq!(
        (scene.happened("primary_changed").len(), scene.happened("node_discovered")),
        (0, vec![&*address(7)])
    );
    assert_eq!(kinds(&view), []);
}

#[test]
fn a_slot_with_two_masters_is_a_conflict_once_both_were_read_again() {
    let mut scene = Scene::healthy();
    let claims = scene.map(2).replace("5461-10922", "5000-10922");
    scene.servers.get_mut(&2).expect("it").map = Some(claims);
    let found = |view: &DeploymentView| view.cluster.as_ref().map(|cluster| cluster.conflicts);
    let early: Vec<_> = (0..3).map(|_| found(&scene.rounds(1))).collect();
    assert_eq!(early[0], Some(0), "maps are not of one moment");
    let view = scene.rounds(8);
    assert_eq!(found(&view), Some(461));
    assert!(kinds(&view).contains(&(
        FindingKind::RedisClusterSlotConflict,
        Severity::Critical,
        None
    )));
}

#[test]
fn a_master_that_was_replaced_while_it_was_cut_off_claims_nothing() {
    let mut scene = Scene::healthy();
    let before = scene.map(1);
    let old = scene.servers.get_mut(&1).expect("it");
    (old.map, old.works) = (Some(before), false);
    scene.servers.insert(4, server(None, "0-5460", 7, 'd'));
    let view = scene.rounds(8);
    let cluster = view.cluster.as_ref().expect("a cluster");
    assert_eq!(
        (view.shards[0].stale_masters.len(), &cluster.doubtful[..], cluster.conflicts),
        (1, &[NodeIndex::new(0)][..], 0)
    );
    // Once it holds that the cluster works it takes writes again.
    scene.servers.get_mut(&1).expect("it").works = true;
    assert_eq!(scene.rounds(8).cluster.as_ref().map(|cluster| cluster.conflicts), Some(5461));
}

#[test]
fn most_masters_say_whether_it_works() {
    let mut scene = Scene::healthy();
    scene.servers.get_mut(&1).expect("it").works = false;
    let view = scene.rounds(2);
    assert_eq!(view.cluster.as_ref().and_then(topology::ClusterView::working), Some(true));
    let down = |view: &DeploymentView| {
        view.findings
            .iter()
            .find(|finding| finding.kind == FindingKind::RedisClusterDown)
            .map(|finding| finding.severity)
    };
    assert_eq!(down(&view), Some(Severity::Info), "it may have been started just now");
    assert_eq!(down(&scene.rounds(15)), Some(Severity::Warning));
    scene.servers.get_mut(&2).expect("it").works = false;
    let view = scene.rounds(2);
    assert_eq!(
        view.cluster.as_ref().map(|cluster| (cluster.working(), cluster.uncovered)),
        Some((Some(false), Some(5461)))
    );
    for kind in [FindingKind::RedisClusterDown, FindingKind::RedisClusterSlotsUncovered] {
        assert!(kinds(&view).contains(&(kind, Severity::Critical, None)), "{:?}", kinds(&view));
    }
}

#[test]
fn a_replica_less_is_the_business_of_its_shard() {
    let mut scene = Scene::healthy();
    scene.silent = vec![5];
    let view = scene.rounds(6);
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
fn nodes_that_maps_forget_are_gone_and_those_that_failed_long_ago_are_ghosts() {
    let mut scene = Scene::healthy();
    scene.servers.remove(&6);
    scene.silent = vec![5];
    scene.servers.get_mut(&5).expect("it").failed = true;
    let view = scene.rounds(40);
    assert_eq!(scene.happened("node_gone"), [&*address(6), &*address(5)]);
    assert_eq!(view.cluster.as_ref().map(|cluster| cluster.ghosts.clone()), Some(vec![address(5)]));
    assert!(!kinds(&view).iter().any(|(kind, ..)| *kind == FindingKind::RedisDown));
}

#[test]
fn nobody_is_forgotten_while_no_map_is_read() {
    let mut scene = Scene::healthy();
    scene.silent = (1..=6).collect();
    let view = scene.rounds(60);
    assert_eq!((view.members().count(), scene.happened("node_gone").len()), (6, 0));
}

#[test]
fn the_primaries_outlive_a_restart_of_the_exporter() {
    let kept = Scene::healthy().fold.saved_state();
    let mut later = Scene::new();
    later.fold.restore(kept, SECOND);
    later.servers.insert(4, Server { history: ('d', Some('a')), ..server(None, "0-5460", 7, 'd') });
    later.servers.insert(1, server(Some(4), "", 7, 'd'));
    later.rounds(10);
    let changed = later.happened("primary_changed");
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
fn a_replica_that_was_reset_is_of_no_shard_at_once() {
    let mut scene = Scene::healthy();
    let alone = format!("id4 {}@16379 myself,master - 0 0 0 connected\n", address(4));
    scene.servers.insert(
        4,
        Server {
            map: Some(alone),
            history: ('d', Some('a')),
            works: false,
            ..server(None, "", 0, 'd')
        },
    );
    let view = scene.rounds(4);
    assert_eq!(shards(&view)[0], ("0", Some(&*address(1)), 0));
    assert_eq!(
        (scene.happened("split_brain_began").len(), scene.happened("primary_changed").len()),
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
fn a_node_that_moves_to_another_address_is_followed() {
    let mut scene = Scene::new();
    let view = scene.rounds(20);
    let named =
        |view: &DeploymentView, name: &str| view.nodes.position(|node| node.node.name == name);
    let index = named(&view, &address(5)).expect("it");
    assert_eq!(view.nodes.len(), 6);
    // As a pod does that is given another address: it keeps its id.
    scene.servers.get_mut(&5).expect("it").moved = Some(15);
    let view = scene.rounds(15);
    assert_eq!((named(&view, &address(15)), named(&view, &address(5))), (Some(index), None));
    assert_eq!((view.nodes[index].up(), view.nodes.len()), (Some(true), 6));
    assert!(view.findings.is_empty(), "{:?}", view.findings);
    assert_eq!(view.shards.iter().map(|shard| shard.replicas).collect::<Vec<_>>(), [1, 1, 1]);
}
