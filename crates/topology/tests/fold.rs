//! The fold on built rounds.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{CommandStats, Config, NodeSnapshot, Reason, Reply, Role};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, EventKind, LinkState, Monotonic, NodeIndex,
    NodeReply, NodeState, NodeView, PollOutcome, PollResult, RefusalReason, Round, RoundResult,
};

const SECOND: Duration = Duration::from_secs(1);

/// A deployment of one node, asked once a second.
struct Scene {
    fold: DeploymentTracker,
    now: Monotonic,
}

impl Scene {
    fn new() -> Self {
        let mut deployment =
            Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        deployment.add("a", "a", Some(Role::Master));
        Scene { fold: DeploymentTracker::new(Arc::new(deployment)), now: Monotonic::START }
    }

    fn round(&mut self, outcome: PollOutcome) -> RoundResult {
        self.later(SECOND, false, outcome)
    }

    fn later(&mut self, gap: Duration, blind: bool, outcome: PollOutcome) -> RoundResult {
        self.now += gap;
        let at = SystemTime::UNIX_EPOCH + self.now.since_start();
        let round = Round { blind, ..Round::new(at, self.now, vec![outcome]) };
        self.fold.observe(&round)
    }

    fn answer(&mut self, info: &str) -> RoundResult {
        self.round(answered(info, |_| {}))
    }
}

fn answered(info: &str, with: impl FnOnce(&mut NodeReply)) -> PollOutcome {
    let snapshot = NodeSnapshot::from_info(info).expect("an INFO reply");
    let took = Duration::from_millis(1);
    let mut answer = NodeReply::new(snapshot, took, SystemTime::UNIX_EPOCH);
    with(&mut answer);
    PollOutcome::Answered(answer)
}

fn node(step: &RoundResult) -> &NodeView {
    &step.view.nodes[NodeIndex::new(0)]
}

/// What happened to the node; what that means for the deployment is another matter.
fn kinds(step: &RoundResult) -> Vec<&'static str> {
    step.events
        .iter()
        .filter(|event| event.node.is_some())
        .map(|event| event.kind.label())
        .collect()
}

const MASTER: &str = "run_id:x\nuptime_in_seconds:100\nrole:master\n";

#[test]
fn a_node_that_was_never_reached_is_pending_and_says_nothing() {
    let mut scene = Scene::new();
    let step = scene.round(PollOutcome::Pending);
    assert_eq!(
        (node(&step).presence, node(&step).polling.polls, kinds(&step)),
        (NodeState::Pending, 0, vec![])
    );
}

#[test]
fn a_node_found_down_at_first_is_unreachable_so_that_its_return_has_a_pair() {
    let mut scene = Scene::new();
    assert_eq!(kinds(&scene.round(PollOutcome::Failed(Reason::Auth))), ["node_unreachable"]);
    assert_eq!(kinds(&scene.answer(MASTER)), ["node_back"]);
}

#[test]
fn silence_is_unknown_until_it_lasted() {
    let mut scene = Scene::new();
    scene.answer(MASTER);
    for _ in 0..2 {
        let step = scene.round(PollOutcome::Missed(Reason::Timeout));
        assert_eq!(
            (node(&step).up(), node(&step).role(), kinds(&step)),
            (Some(true), Some(Role::Master), vec![])
        );
    }
    let step = scene.round(PollOutcome::Missed(Reason::Timeout));
    assert_eq!(
        (node(&step).up(), node(&step).role(), kinds(&step)),
        (Some(false), None, vec!["node_unreachable"])
    );
    assert_eq!(node(&step).polling.failures[Reason::Timeout as usize], 3);
    scene.round(PollOutcome::Missed(Reason::Timeout));
    let step = scene.answer(MASTER);
    assert_eq!(node(&step).up(), Some(true));
    assert_eq!(step.events[0].kind, EventKind::NodeBack { down: SECOND * 2 });
    let step = scene.round(PollOutcome::Missed(Reason::Timeout));
    assert_eq!(
        node(&step).up(),
        Some(true),
        "an answer ends the silence, so the next one starts anew"
    );
}

#[test]
fn a_first_answer_that_is_late_is_no_outage() {
    let mut scene = Scene::new();
    for _ in 0..2 {
        let step = scene.round(PollOutcome::Missed(Reason::Timeout));
        assert_eq!((node(&step).presence, kinds(&step)), (NodeState::Pending, vec![]));
    }
    assert_eq!(kinds(&scene.round(PollOutcome::Missed(Reason::Timeout))), ["node_unreachable"]);
    // Connected again, but too late to be asked: nothing new.
    let step = scene.round(PollOutcome::Pending);
    assert_eq!(
        (node(&step).presence, node(&step).polling.polls),
        (NodeState::Down { reason: Reason::Timeout, since: Monotonic::from_start(SECOND * 3) }, 3)
    );
}

#[test]
fn a_refused_connection_is_evidence_at_once() {
    for (reason, up) in [
        (Reason::Refused, false),
        (Reason::Reset, false),
        (Reason::Closed, false),
        (Reason::Auth, true),
        (Reason::Dns, true),
    ] {
        let mut scene = Scene::new();
        scene.answer(MASTER);
        let step = scene.round(PollOutcome::Failed(reason));
        assert_eq!(node(&step).up(), Some(up), "{reason}");
    }
}

#[test]
fn a_pause_of_the_exporter_is_evidence_of_nothing() {
    let mut scene = Scene::new();
    scene.answer(MASTER);
    let step = scene.later(SECOND * 60, true, PollOutcome::Missed(Reason::Timeout));
    assert_eq!(
        (node(&step).up(), node(&step).polling.failures[Reason::Timeout as usize]),
        (Some(true), 1)
    );
    let step = scene.later(SECOND * 60, false, PollOutcome::Missed(Reason::Timeout));
    assert_eq!(node(&step).up(), Some(true), "a round adds at most two intervals to a silence");
}

#[test]
fn the_last_rounds_of_a_node_are_kept_one_by_one_and_no_more() {
    let mut scene = Scene::new();
    scene.round(PollOutcome::Pending);
    scene.answer(MASTER);
    scene.later(SECOND, true, PollOutcome::Missed(Reason::Timeout));
    scene.now += SECOND;
    let at = SystemTime::UNIX_EPOCH + scene.now.since_start();
    let details = vec![Some("Connection refused".into())].into();
    let step = scene.fold.observe(&Round {
        details,
        ..Round::new(at, scene.now, vec![PollOutcome::Failed(Reason::Refused)])
    });
    let kept: Vec<_> =
        node(&step).polls.iter().map(|asking| (asking.blind, asking.result.clone())).collect();
    let failure = PollResult::Failed(Reason::Refused, Some("Connection refused".into()));
    assert_eq!(
        kept,
        [
            (false, PollResult::Replied(SECOND / 1000)),
            (true, PollResult::Missed(Reason::Timeout, None)),
            (false, failure.clone())
        ]
    );
    assert_eq!(node(&step).polls.back().map(|asking| asking.at), Some(at));

    let before = Arc::clone(&step.view);
    let mut last = step;
    for _ in 0..30 {
        last = scene.answer(MASTER);
    }
    assert_eq!(
        (node(&last).polls.len(), before.nodes[NodeIndex::new(0)].polls.len()),
        (20, 3),
        "bounded, and a view that was published stays as it is"
    );
    assert!(
        node(&last).polls.iter().all(|asking| asking.result == PollResult::Replied(SECOND / 1000))
    );
    scene.answer(&format!("{MASTER}master_replid:{}\n", "a".repeat(40)));
    let step = scene.answer(&format!(
        "run_id:other\nuptime_in_seconds:9000\nrole:master\nmaster_replid:{}\n",
        "b".repeat(40)
    ));
    assert_eq!(
        node(&step).polls.back().map(|asking| asking.result.clone()),
        Some(PollResult::Failed(Reason::Identity, None)),
        "a stranger"
    );
}

#[test]
fn a_restart_is_told_from_a_replacement_by_uptime() {
    let mut scene = Scene::new();
    scene.answer(MASTER);
    let step = scene.answer("run_id:y\nuptime_in_seconds:1\nrole:master\n");
    assert_eq!((node(&step).process.restarts, kinds(&step)), (1, vec!["restarted"]));
    let step = scene.answer("run_id:z\nuptime_in_seconds:5000\nrole:slave\n");
    assert_eq!(
        (node(&step).process.replacements, kinds(&step)),
        (1, vec!["node_replaced", "role_changed"])
    );
    assert_eq!(node(&step).unexpected_role(), Some(true));
}

#[test]
fn a_server_that_shares_nothing_is_not_the_node_until_it_stays() {
    let server = |run_id: &str, history: char| {
        let replid = history.to_string().repeat(40);
        format!("run_id:{run_id}\nuptime_in_seconds:5000\nrole:master\nmaster_replid:{replid}\n")
    };
    let mut scene = Scene::new();
    scene.answer(&server("x", 'a'));
    // Another process with the same history is a replacement at once.
    assert_eq!(kinds(&scene.answer(&server("y", 'a'))), ["node_replaced"]);
    for _ in 0..3 {
        let step = scene.answer(&server("z", 'b'));
        assert_eq!(
            node(&step).last.as_ref().and_then(|last| last.identity.run_id.as_deref()),
            Some("y"),
            "what it says is not taken up"
        );
    }
    let step = scene.answer(&server("z", 'b'));
    assert_eq!(
        node(&step).presence,
        NodeState::Down { reason: Reason::Identity, since: Monotonic::from_start(SECOND * 5) }
    );
    assert_eq!(kinds(&scene.answer(&server("y", 'a'))), ["node_back"]);
    for _ in 0..60 {
        scene.answer(&server("z", 'b'));
    }
    assert_eq!(kinds(&scene.answer(&server("z", 'b'))), ["node_back", "node_replaced"]);
}

#[test]
fn a_new_role_is_an_event_and_first_sight_is_none() {
    let mut scene = Scene::new();
    assert_eq!(kinds(&scene.answer(MASTER)), Vec::<&str>::new());
    let step = scene.answer("run_id:x\nrole:slave\nmaster_link_status:up\n");
    assert_eq!(
        step.events[0].kind,
        EventKind::RoleChanged { from: Role::Master, to: Role::Replica }
    );
}

#[test]
fn states_of_a_link() {
    let replica = |status: &str| format!("run_id:x\nrole:slave\n{status}");
    let mut scene = Scene::new();
    let mut check = |status: &str, state: LinkState, drops: u64, events: &[&str]| {
        let step = scene.answer(&replica(status));
        assert_eq!(
            (node(&step).link.state, node(&step).link.drops),
            (Some(state), drops),
            "{status}"
        );
        assert_eq!(kinds(&step), events, "{status}");
    };
    let (down, sync) = (
        "master_link_status:down\nmaster_sync_in_progress:0\n",
        "master_link_status:down\nmaster_sync_in_progress:1\n",
    );
    check(&format!("{down}master_link_down_since_seconds:-1"), LinkState::NeverUp, 0, &[]);
    check(&format!("{down}master_link_down_since_seconds:1795226552"), LinkState::NeverUp, 0, &[]);
    check(sync, LinkState::Syncing, 0, &[]);
    check(
        "master_link_status:up\nmaster_last_io_seconds_ago:10",
        LinkState::Up,
        0,
        &["full_resync"],
    );
    check("master_link_status:up\nmaster_last_io_seconds_ago:21", LinkState::Stalled, 0, &[]);
    check(
        &format!("{down}master_link_down_since_seconds:4"),
        LinkState::Lost,
        1,
        &["link_dropped"],
    );
    for _ in 0..2 {
        check(sync, LinkState::Syncing, 1, &[]);
        check(&format!("{down}master_link_down_since_seconds:4"), LinkState::Lost, 1, &[]);
    }
    check(sync, LinkState::SyncLooping, 1, &[]);
    check("master_link_status:up", LinkState::Up, 1, &["link_restored", "full_resync"]);
    check(sync, LinkState::Syncing, 2, &["link_dropped"]);
}

#[test]
fn foreign_errors_are_counted_and_our_own_are_not() {
    let info = |run_id: &str, noperm: u64, total: u64| {
        format!(
            "run_id:{run_id}\nrole:master\ntotal_error_replies:{total}\n# Errorstats\nerrorstat_NOPERM:count={noperm}\n"
        )
    };
    let mut scene = Scene::new();
    let mut check = |info: &str, own: &[&str], noperm: u64, total: u64| {
        let step = scene.round(answered(info, |answer| {
            answer.own_errors = own.iter().map(|code| ((*code).into(), 1)).collect();
        }));
        let counters = &node(&step).counters;
        let counted = counters
            .errors()
            .expect("a table")
            .find(|(code, _)| *code == "NOPERM")
            .expect("watched")
            .1;
        assert_eq!((counted, counters.error_replies()), (noperm, Some(total)), "{info}");
    };
    check(&info("x", 7, 9), &[], 0, 0);
    check(&info("x", 8, 10), &["NOPERM"], 0, 0);
    check(&info("x", 10, 12), &[], 2, 2);
    check(&info("x", 10, 12), &["NOPERM"], 2, 2);
    check(&info("x", 1, 1), &[], 3, 3);
    check(&info("y", 4, 5), &[], 7, 8);
}

#[test]
fn what_another_server_counted_did_not_happen_here() {
    let info = |run_id: &str, uptime: u64, readonly: u64| {
        format!(
            "run_id:{run_id}\nuptime_in_seconds:{uptime}\nrole:master\ntotal_error_replies:{readonly}\n# Errorstats\nerrorstat_READONLY:count={readonly}\n"
        )
    };
    let mut scene = Scene::new();
    let mut check = |info: &str, counted: u64| {
        let step = scene.answer(info);
        let counters = &node(&step).counters;
        let readonly = counters.errors().expect("a table").find(|(code, _)| *code == "READONLY");
        assert_eq!(
            (readonly, counters.error_replies()),
            (Some(("READONLY", counted)), Some(counted)),
            "{info}"
        );
    };
    check(&info("x", 5000, 10), 0);
    check(&info("x", 5000, 11), 1);
    check(&info("y", 9000, 700), 1);
    check(&info("y", 9000, 702), 3);
    check(&info("z", 1, 4), 7);
}

#[test]
fn a_replica_that_is_listed_twice_is_one() {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    deployment.add("a", "10.0.0.5:6379", None);
    deployment.add("b", "[::1]:6379", None);
    assert!(deployment.alias("172.17.0.2:6379", "[::1]:6379"));
    let mut scene =
        Scene { fold: DeploymentTracker::new(Arc::new(deployment)), now: Monotonic::START };
    let info = "run_id:x\nrole:master\n\
                slave0:ip=::1,port=6379,state=online,offset=10,lag=60\n\
                slave1:ip=::1,port=6379,state=online,offset=90,lag=0\n\
                slave2:ip=172.17.0.2,port=6379,state=wait_bgsave,offset=0,lag=0\n\
                slave3:ip=10.0.0.9,port=6379,state=online,offset=80,lag=1\n";
    let round = Round::new(
        SystemTime::UNIX_EPOCH,
        Monotonic::from_start(SECOND),
        vec![answered(info, |_| {}), PollOutcome::Pending],
    );
    let step = scene.fold.observe(&round);
    let attached: Vec<_> = node(&step)
        .attached_replicas
        .iter()
        .map(|replica| (replica.name.as_str(), replica.reported.offset))
        .collect();
    assert_eq!(attached, [("10.0.0.9:6379", 80), ("b", 90)]);
}

#[test]
fn a_wiped_error_table_is_absent_and_not_zero() {
    let mut scene = Scene::new();
    scene.answer("run_id:x\nrole:master\n# Errorstats\nerrorstat_OOM:count=2\n");
    let step = scene
        .answer("run_id:x\nrole:master\n# Errorstats\nerrorstat_ERRORSTATS_DISABLED:count=1\n");
    assert!(node(&step).counters.errors().is_none());
    let step = scene.answer("run_id:x\nrole:master\n# Errorstats\nerrorstat_OOM:count=1\n");
    let oom = node(&step).counters.errors().expect("a table").find(|(code, _)| *code == "OOM");
    assert_eq!(oom, Some(("OOM", 1)));
}

#[test]
fn topology_commands_are_counted_from_first_sight_on() {
    let stats = |text: &str| {
        let commands = Arc::new(CommandStats::parse(text));
        answered(MASTER, |answer| {
            Arc::make_mut(&mut answer.snapshot).commands = Some(commands);
            answer.commands_read = true;
        })
    };
    let mut scene = Scene::new();
    scene.round(stats("cmdstat_replicaof:calls=3,usec=1"));
    let step = scene.round(stats("cmdstat_replicaof:calls=6,usec=1,rejected_calls=4,failed_calls=1\ncmdstat_config|set:calls=1,usec=1"));
    let counted: Vec<_> = node(&step).counters.topology().filter(|(_, total)| *total > 0).collect();
    assert_eq!(counted, [("replicaof", 2), ("config_set", 1)]);
}

#[test]
fn refused_writes_are_derived_from_state() {
    let check = |info: &str, config: &[(&str, &str)], refused: &[RefusalReason]| {
        let outcome = answered(info, |answer| {
            let pairs = config.iter().flat_map(|(name, value)| {
                [Reply::Text((*name).to_owned()), Reply::Text((*value).to_owned())]
            });
            let mut read = Config::default();
            read.add(&Reply::Array(pairs.collect()));
            Arc::make_mut(&mut answer.snapshot).config = Some(Arc::new(read));
        });
        let step = Scene::new().round(outcome);
        let held: Vec<_> = node(&step)
            .writes_refused
            .iter()
            .filter(|(_, holds)| *holds)
            .map(|(reason, _)| *reason)
            .collect();
        assert_eq!(held, refused, "{info} {config:?}");
    };
    let failed_save = "run_id:x\nrole:master\nrdb_last_bgsave_status:err\n";
    check(MASTER, &[], &[]);
    check(
        "run_id:x\nrole:master\naof_enabled:1\naof_last_write_status:err\n",
        &[],
        &[RefusalReason::MisconfAof],
    );
    check("run_id:x\nrole:master\naof_enabled:0\naof_last_write_status:err\n", &[], &[]);
    check(
        failed_save,
        &[("save", "3600 1"), ("stop-writes-on-bgsave-error", "yes")],
        &[RefusalReason::MisconfRdb],
    );
    check(failed_save, &[("save", ""), ("stop-writes-on-bgsave-error", "yes")], &[]);
    check(failed_save, &[("save", "3600 1"), ("stop-writes-on-bgsave-error", "no")], &[]);
    check(
        "run_id:x\nrole:master\nmaxmemory:100\nmaxmemory_policy:noeviction\nused_memory:101\n",
        &[],
        &[RefusalReason::Oom],
    );
    check(
        "run_id:x\nrole:master\nmaxmemory:100\nmaxmemory_policy:allkeys-lru\nused_memory:101\n",
        &[],
        &[],
    );
    let evicting = "run_id:x\nrole:master\nmaxmemory:100\nmaxmemory_policy:volatile-lru\nused_memory:101\ncurrent_eviction_exceeded_time";
    check(&format!("{evicting}:12\n"), &[], &[RefusalReason::Oom]);
    check(&format!("{evicting}:0\n"), &[], &[]);
    check(
        "run_id:x\nrole:master\nmin_slaves_good_slaves:0\n",
        &[("min-replicas-to-write", "1")],
        &[RefusalReason::Noreplicas],
    );
    check("run_id:x\nrole:master\nloading:1\n", &[], &[RefusalReason::Loading]);
    check("run_id:x\nrole:slave\nloading:1\naof_enabled:1\naof_last_write_status:err\n", &[], &[]);
}

#[test]
fn a_server_that_makes_room_takes_writes_meanwhile() {
    let above = |evicted: u32| {
        let memory = "maxmemory:100\nmaxmemory_policy:allkeys-lru\nused_memory:101\ncurrent_eviction_exceeded_time:500";
        answered(&format!("run_id:x\nrole:master\n{memory}\nevicted_keys:{evicted}\n"), |_| {})
    };
    let mut scene = Scene::new();
    let refused =
        |step: &RoundResult| node(step).writes_refused.contains(&(RefusalReason::Oom, true));
    assert!(
        refused(&scene.round(above(10))),
        "it does not tell yet whether it finds something to evict"
    );
    assert!(!refused(&scene.round(above(11))));
    assert!(refused(&scene.round(above(11))));
}
