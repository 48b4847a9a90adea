//! Deployments of one node.

mod recorded;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use recorded::RecordedTracker;
use snapshot::{CommandStats, Config, NodeSnapshot, Reason, Reply, Role};
use topology::{
    Availability, Deployment, DeploymentKind, EventKind, LinkState, Monotonic, NodeIndex,
    NodeReply, NodeState, NodeView, PollOutcome, PollResult, RefusalReason, Round, RoundResult,
};

const SECOND: Duration = Duration::from_secs(1);

/// A deployment of one node, polled once a second.
struct TestDeployment {
    tracker: RecordedTracker,
    now: Monotonic,
}

impl TestDeployment {
    fn new() -> Self {
        let mut deployment =
            Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        deployment.add("a", "a", Some(Role::Master));
        TestDeployment {
            tracker: RecordedTracker::new(Arc::new(deployment), None),
            now: Monotonic::START,
        }
    }

    fn round(&mut self, outcome: PollOutcome) -> RoundResult {
        self.later(SECOND, false, outcome)
    }

    fn later(&mut self, gap: Duration, blind: bool, outcome: PollOutcome) -> RoundResult {
        self.now += gap;
        let at = SystemTime::UNIX_EPOCH + self.now.since_start();
        let round = Round { blind, ..Round::new(at, self.now, vec![outcome]) };
        self.tracker.observe(&round)
    }

    fn reply(&mut self, info: &str) -> RoundResult {
        self.round(reply(info, |_| {}))
    }
}

fn reply(info: &str, with: impl FnOnce(&mut NodeReply)) -> PollOutcome {
    let snapshot = NodeSnapshot::from_info(info).expect("an INFO reply");
    let took = Duration::from_millis(1);
    let mut reply = NodeReply::new(snapshot, took, SystemTime::UNIX_EPOCH);
    with(&mut reply);
    PollOutcome::Answered(reply)
}

fn node(result: &RoundResult) -> &NodeView {
    &result.view.nodes[NodeIndex::new(0)]
}

/// Returns the kinds of the events of the node, without those of the deployment.
fn kinds(result: &RoundResult) -> Vec<&'static str> {
    result
        .events
        .iter()
        .filter(|event| event.node.is_some())
        .map(|event| event.kind.label())
        .collect()
}

const MASTER: &str = "run_id:x\nuptime_in_seconds:100\nrole:master\n";

#[test]
fn a_node_that_was_never_reached_is_pending() {
    let mut test = TestDeployment::new();
    let result = test.round(PollOutcome::Pending);
    assert_eq!(
        (node(&result).presence, node(&result).polling.polls, kinds(&result)),
        (NodeState::Pending, 0, vec![])
    );
}

#[test]
fn a_node_down_in_the_first_round_is_unreachable() {
    let mut test = TestDeployment::new();
    assert_eq!(kinds(&test.round(PollOutcome::Failed(Reason::Auth))), ["node_unreachable"]);
    assert_eq!(kinds(&test.reply(MASTER)), ["node_back"]);
}

#[test]
fn a_node_is_down_after_a_silence_of_down_after() {
    let mut test = TestDeployment::new();
    test.reply(MASTER);
    for _ in 0..2 {
        let result = test.round(PollOutcome::Missed(Reason::Timeout));
        assert_eq!(
            (node(&result).up(), node(&result).role(), kinds(&result)),
            (Some(true), Some(Role::Master), vec![])
        );
    }
    let result = test.round(PollOutcome::Missed(Reason::Timeout));
    assert_eq!(
        (node(&result).up(), node(&result).role(), kinds(&result)),
        (Some(false), None, vec!["node_unreachable"])
    );
    assert_eq!(node(&result).polling.failures[Reason::Timeout as usize], 3);
    test.round(PollOutcome::Missed(Reason::Timeout));
    let result = test.reply(MASTER);
    assert_eq!(node(&result).up(), Some(true));
    assert_eq!(result.events[0].kind, EventKind::NodeBack { down: SECOND * 2 });
    let result = test.round(PollOutcome::Missed(Reason::Timeout));
    assert_eq!(node(&result).up(), Some(true), "a reply ends the silence");
}

#[test]
fn a_late_first_reply_is_no_outage() {
    let mut test = TestDeployment::new();
    for _ in 0..2 {
        let result = test.round(PollOutcome::Missed(Reason::Timeout));
        assert_eq!((node(&result).presence, kinds(&result)), (NodeState::Pending, vec![]));
    }
    let result = test.round(PollOutcome::Missed(Reason::Timeout));
    assert_eq!((kinds(&result), node(&result).was_never_reached()), (vec![], true));
    assert_eq!((node(&result).up(), node(&result).readable()), (None, Some(false)));
    assert_eq!(node(&result).availability(), Availability::Unknown);
    // Connected again, but too late for this round.
    let result = test.round(PollOutcome::Pending);
    assert_eq!((node(&result).presence, node(&result).polling.polls), (NodeState::Pending, 3));
}

#[test]
fn a_refused_connection_marks_a_node_down_at_once() {
    for (reason, up) in [
        (Reason::Refused, false),
        (Reason::Reset, true),
        (Reason::Closed, true),
        (Reason::Auth, true),
        (Reason::Dns, true),
    ] {
        let mut test = TestDeployment::new();
        test.reply(MASTER);
        let result = test.round(PollOutcome::Failed(reason));
        assert_eq!(node(&result).up(), Some(up), "{reason}");
    }
}

#[test]
fn a_pause_of_the_exporter_marks_no_node_down() {
    let mut test = TestDeployment::new();
    test.reply(MASTER);
    let result = test.later(SECOND * 60, true, PollOutcome::Missed(Reason::Timeout));
    assert_eq!(
        (node(&result).up(), node(&result).polling.failures[Reason::Timeout as usize]),
        (Some(true), 1)
    );
    let result = test.later(SECOND * 60, false, PollOutcome::Missed(Reason::Timeout));
    assert_eq!(node(&result).up(), Some(true), "a round adds at most two intervals to a silence");
}

#[test]
fn the_poll_history_is_bounded() {
    let mut test = TestDeployment::new();
    test.round(PollOutcome::Pending);
    test.reply(MASTER);
    test.later(SECOND, true, PollOutcome::Missed(Reason::Timeout));
    test.now += SECOND;
    let at = SystemTime::UNIX_EPOCH + test.now.since_start();
    let details = vec![Some("Connection refused".into())].into();
    let result = test.tracker.observe(&Round {
        details,
        ..Round::new(at, test.now, vec![PollOutcome::Failed(Reason::Refused)])
    });
    let polls: Vec<_> =
        node(&result).polls.iter().map(|poll| (poll.blind, poll.result.clone())).collect();
    let failure = PollResult::Failed(Reason::Refused, Some("Connection refused".into()));
    assert_eq!(
        polls,
        [
            (false, PollResult::Replied(SECOND / 1000)),
            (true, PollResult::Missed(Reason::Timeout, None)),
            (false, failure.clone())
        ]
    );
    assert_eq!(node(&result).polls.back().map(|poll| poll.at), Some(at));

    let before = Arc::clone(&result.view);
    let mut last = result;
    for _ in 0..30 {
        last = test.reply(MASTER);
    }
    assert_eq!(
        (node(&last).polls.len(), before.nodes[NodeIndex::new(0)].polls.len()),
        (20, 3),
        "bounded, and an earlier view does not change"
    );
    assert!(node(&last).polls.iter().all(|poll| poll.result == PollResult::Replied(SECOND / 1000)));
    test.reply(&format!("{MASTER}master_replid:{}\n", "a".repeat(40)));
    let result = test.reply(&format!(
        "run_id:other\nuptime_in_seconds:9000\nrole:master\nmaster_replid:{}\n",
        "b".repeat(40)
    ));
    assert_eq!(
        node(&result).polls.back().map(|poll| poll.result.clone()),
        Some(PollResult::Missed(Reason::Identity, None)),
        "the first reply of another server"
    );
}

#[test]
fn uptime_distinguishes_restart_and_replacement() {
    let mut test = TestDeployment::new();
    test.reply(MASTER);
    let result = test.reply("run_id:y\nuptime_in_seconds:1\nrole:master\n");
    assert_eq!((node(&result).process.restarts, kinds(&result)), (1, vec!["restarted"]));
    let result = test.reply("run_id:z\nuptime_in_seconds:5000\nrole:slave\n");
    assert_eq!(
        (node(&result).up(), node(&result).process.replacements),
        (Some(true), 0),
        "the first reply of another server"
    );
    let result = test.reply("run_id:z\nuptime_in_seconds:5000\nrole:slave\n");
    assert_eq!(
        (node(&result).process.replacements, kinds(&result)),
        (1, vec!["node_replaced", "role_changed"])
    );
    assert_eq!(node(&result).unexpected_role(), Some(true));
}

/// Returns a reply of a server that has run for long, with a replication history.
fn old_server(run_id: &str, history: char) -> String {
    let replid = history.to_string().repeat(40);
    format!("run_id:{run_id}\nuptime_in_seconds:5000\nrole:master\nmaster_replid:{replid}\n")
}

#[test]
fn address_of_the_only_node_moves_within_two_rounds() {
    let mut test = TestDeployment::new();
    test.reply(&old_server("x", 'a'));
    for (run_id, history) in [("y", 'a'), ("z", 'b')] {
        let result = test.reply(&old_server(run_id, history));
        assert_eq!((node(&result).up(), kinds(&result)), (Some(true), vec![]), "{run_id}");
        let result = test.reply(&old_server(run_id, history));
        assert_eq!(kinds(&result), ["node_replaced"], "{run_id}");
        let snapshot = node(&result).snapshot().expect("up");
        assert_eq!(snapshot.identity.run_id.as_deref(), Some(run_id));
        assert_eq!(node(&result).servers, None);
        for _ in 0..70 {
            test.reply(&old_server(run_id, history));
        }
    }
}

#[test]
fn unrelated_server_replaces_one_of_two_nodes_after_a_minute() {
    let mut test = TestDeployment::new();
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for name in ["a", "b"] {
        deployment.add(name, name, None);
    }
    test.tracker = RecordedTracker::new(Arc::new(deployment), None);
    let mut round = |info: &str| {
        test.now += SECOND;
        let at = SystemTime::UNIX_EPOCH + test.now.since_start();
        let outcomes = vec![reply(info, |_| {}), PollOutcome::Pending];
        test.tracker.observe(&Round::new(at, test.now, outcomes))
    };
    round(&old_server("x", 'a'));
    for _ in 0..60 {
        let result = round(&old_server("z", 'b'));
        let run_id = node(&result).last.as_ref().and_then(|last| last.identity.run_id.clone());
        assert_eq!(run_id.as_deref(), Some("x"), "the reply is ignored");
    }
    let unreadable = node(&round(&old_server("y", 'c'))).presence;
    assert!(
        matches!(unreadable, NodeState::Unreadable { reason: Reason::Identity, .. }),
        "{unreadable:?}"
    );
    for _ in 0..60 {
        round(&old_server("z", 'b'));
    }
    assert_eq!(kinds(&round(&old_server("z", 'b'))), ["node_back", "node_replaced"]);
}

/// Replies in turn as each of some servers. Returns the last result and the kinds of all events.
fn take_turns(
    test: &mut TestDeployment,
    servers: &[String],
    rounds: usize,
) -> (RoundResult, Vec<&'static str>) {
    let mut all = Vec::new();
    let mut last = None;
    for server in servers.iter().cycle().take(rounds) {
        let result = test.reply(server);
        all.extend(result.events.iter().map(|event| event.kind.label()));
        assert_ne!(node(&result).up(), Some(false));
        last = Some(result);
    }
    (last.expect("a round"), all)
}

#[test]
fn servers_behind_one_address_are_ambiguous_and_give_no_verdict() {
    let server = |run_id: &str, role: &str, memory: u32| {
        format!(
            "run_id:{run_id}\nuptime_in_seconds:5000\nredis_version:7.0.15\nrole:{role}\n\
             master_replid:{}\nused_memory:{memory}\nmaxmemory:100\ntotal_commands_processed:{}\n",
            "a".repeat(40),
            memory * 1000
        )
    };
    let servers = [
        server("x", "master", 1),
        server("y", "slave\nmaster_link_status:up", 2),
        server("z", "slave\nmaster_link_status:down\nmaster_link_down_since_seconds:900", 3),
    ];
    let mut test = TestDeployment::new();
    let (result, events) = take_turns(&mut test, &servers, 90);
    let node = node(&result);
    assert_eq!((node.servers, node.up(), node.role()), (Some(3), Some(true), None));
    assert_eq!(node.has_unknown_role(), None, "the finding about several servers explains it");
    let process = node.process;
    assert_eq!((process.restarts, process.replacements, process.role_changes), (0, 0, 0));
    let fields = &node.snapshot().expect("up").fields;
    let kept = ["redis_version", "maxmemory"].map(|name| fields.get(name).is_some());
    let differing = ["used_memory", "total_commands_processed", "run_id", "role", "master_replid"];
    assert_eq!((kept, differing.map(|name| fields.get(name))), ([true; 2], [None; 5]));
    let findings: Vec<_> =
        result.view.findings.iter().map(|finding| finding.kind.label()).collect();
    assert_eq!(findings, ["RolecallNodeAmbiguous"]);
    assert_eq!(events, Vec::<&str>::new());
    assert_eq!(result.view.shards[0].no_primary.why, None);

    // The proxy is gone: one of the servers replies alone.
    let (result, events) = take_turns(&mut test, &servers[..1], 70);
    let primary = result.view.shards[0].primary.map(|primary| primary.node);
    assert_eq!((primary, result.view.findings.len()), (Some(NodeIndex::new(0)), 0));
    assert!(!events.contains(&"primary_lost"), "{events:?}");
}

#[test]
fn errors_of_several_servers_are_not_counted() {
    let server = |run_id: &str, errors: u32| {
        format!(
            "run_id:{run_id}\nuptime_in_seconds:5000\nrole:master\n\
             total_error_replies:{errors}\n# Errorstats\nerrorstat_READONLY:count={errors}\n"
        )
    };
    let servers = [server("x", 10), server("y", 5000)];
    let mut test = TestDeployment::new();
    take_turns(&mut test, &servers, 40);
    let (result, _) = take_turns(&mut test, &servers[1..], 70);
    let counters = &node(&result).counters;
    let readonly = counters.errors().expect("a table").find(|(code, _)| *code == "READONLY");
    assert_eq!((readonly, counters.error_replies()), (Some(("READONLY", 0)), Some(0)));
}

#[test]
fn process_without_run_id_restarts_with_its_uptime() {
    let info = |uptime: u32, more: &str| {
        format!("redis_version:6.2.11\nuptime_in_seconds:{uptime}\nrole:master\n{more}")
    };
    let mut test = TestDeployment::new();
    test.reply(&info(100, "process_id:1\n"));
    let result = test.reply(&info(101, "process_id:1\n"));
    assert_eq!((node(&result).process.restarts, kinds(&result)), (0, vec![]));
    let result = test.reply(&info(97, "process_id:1\n"));
    assert_eq!(kinds(&result), Vec::<&str>::new(), "the clock of the host was set back");
    let result = test.reply(&info(1, "process_id:1\n"));
    assert_eq!((node(&result).process.restarts, kinds(&result)), (1, vec!["restarted"]));
    let result = test.reply(&info(2, "process_id:7\n"));
    assert_eq!(kinds(&result), ["restarted"], "another process ID");
    let result = test.reply(&info(4000, "process_id:8\n"));
    assert_eq!(kinds(&result), ["node_replaced"], "an older process");
}

#[test]
fn counters_that_fall_at_a_restart_are_no_reset_of_statistics() {
    let info = |uptime: u32, processed: u32| {
        format!(
            "redis_version:6.2.11\nrole:master\nuptime_in_seconds:{uptime}\n\
             total_commands_processed:{processed}\n"
        )
    };
    let mut test = TestDeployment::new();
    test.reply(&info(100, 9000));
    assert_eq!(kinds(&test.reply(&info(0, 3))), ["restarted"]);
    test.reply(&info(1, 50));
    assert_eq!(kinds(&test.reply(&info(2, 1))), ["stats_reset"]);
}

#[test]
fn node_with_an_unknown_role_is_no_evidence_but_its_link_is() {
    // KeyDB, `src/server.cpp`: a node with `active-replica yes`.
    let info = |link: &str| {
        format!(
            "run_id:x\nuptime_in_seconds:5000\nrole:active-replica\nmaster_host:b\n\
             master_port:6379\n{link}"
        )
    };
    let mut test = TestDeployment::new();
    let result = test.reply(&info("master_link_status:up\n"));
    let findings = |result: &RoundResult| {
        result.view.findings.iter().map(|finding| finding.kind.label()).collect::<Vec<_>>()
    };
    assert_eq!(findings(&result), ["RolecallUnknownRole"]);
    assert_eq!((node(&result).role(), node(&result).has_unknown_role()), (None, Some(true)));
    let shard = &result.view.shards[0];
    assert_eq!((shard.primary, shard.no_primary.why), (None, None));
    assert_eq!(shard.replication_loop, []);
    let down = info("master_link_status:down\nmaster_link_down_since_seconds:400\n");
    let result = test.reply(&down);
    assert_eq!(findings(&result), ["RolecallUnknownRole", "RedisReplicaLinkDown"]);
    assert_eq!(node(&result).link.state, Some(LinkState::Lost));
    assert_eq!(kinds(&result), ["link_dropped"]);
    for _ in 0..60 {
        assert_eq!(test.reply(&down).view.shards[0].no_primary.why, None);
    }
}

#[test]
fn an_expected_unknown_role_is_no_finding_and_never_expires() {
    let mut deployment = Deployment::new("a", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    deployment.add("a", "a", None);
    deployment.expect.unknown_role = true;
    deployment.expect.until = Some(SystemTime::UNIX_EPOCH + SECOND * 2);
    let tracker = RecordedTracker::new(Arc::new(deployment), None);
    let mut test = TestDeployment { tracker, now: Monotonic::START };
    let findings = |result: &RoundResult| {
        result.view.findings.iter().map(|finding| finding.kind.label()).collect::<Vec<_>>()
    };
    for _ in 0..5 {
        let result = test.reply("run_id:x\nuptime_in_seconds:5000\nused_memory:1\n");
        assert_eq!(findings(&result), Vec::<&str>::new());
        assert_eq!((node(&result).role(), node(&result).has_unknown_role()), (None, None));
        assert_eq!(result.view.shards[0].primary, None);
    }
    // The link of a node with another role is judged as without the expectation.
    let link = "role:active-replica\nmaster_host:b\nmaster_port:6379\nmaster_link_status:down\n\
                master_link_down_since_seconds:400\n";
    let result = test.reply(&format!("run_id:x\nuptime_in_seconds:5006\n{link}"));
    assert_eq!(findings(&result), ["RedisReplicaLinkDown"]);
    let result = test.reply("run_id:x\nuptime_in_seconds:5007\nrole:master\n");
    assert_eq!(node(&result).has_unknown_role(), Some(false));
}

#[test]
fn unknown_role_makes_active_write_refusals_unknown() {
    let info = |role: &str| {
        format!(
            "run_id:x\nuptime_in_seconds:5000\n{role}used_memory:9\nmaxmemory:5\n\
             maxmemory_policy:noeviction\nloading:0\n"
        )
    };
    let refusals =
        |role: &str| node(&TestDeployment::new().reply(&info(role))).writes_refused.clone();
    let (oom, loading) = (RefusalReason::Oom, RefusalReason::Loading);
    let master = refusals("role:master\n");
    assert!(master.contains(&(oom, true)) && master.contains(&(loading, false)));
    let replica = refusals("role:slave\n");
    assert!(replica.contains(&(oom, false)), "a replica refuses writes by design");
    let unknown = refusals("");
    assert!(unknown.iter().all(|(reason, _)| *reason != oom), "{unknown:?}");
    assert!(unknown.contains(&(loading, false)), "{unknown:?}");
}

#[test]
fn server_that_loads_without_a_role_is_no_finding() {
    // Kvrocks, `src/server/server.cc`: sections that read the database are missing meanwhile.
    let mut test = TestDeployment::new();
    let result = test.reply("kvrocks_version:2.8.0\nredis_version:4.0.0\nloading:1\n");
    let findings: Vec<_> =
        result.view.findings.iter().map(|finding| finding.kind.label()).collect();
    assert_eq!((findings, node(&result).up()), (vec!["RedisLoading"], Some(true)));
}

#[test]
fn a_changed_role_is_an_event_the_first_role_is_not() {
    let mut test = TestDeployment::new();
    assert_eq!(kinds(&test.reply(MASTER)), Vec::<&str>::new());
    let result = test.reply("run_id:x\nrole:slave\nmaster_link_status:up\n");
    assert_eq!(
        result.events[0].kind,
        EventKind::RoleChanged { from: Role::Master, to: Role::Replica }
    );
}

#[test]
fn the_link_of_a_replica_that_was_frozen_is_not_stalled() {
    let mut test = TestDeployment::new();
    let link = |silence: u32| {
        format!("run_id:x\nrole:slave\nmaster_link_status:up\nmaster_last_io_seconds_ago:{silence}")
    };
    let state = |result: &RoundResult| node(result).link.state;
    for _ in 0..12 {
        test.reply(&link(1));
    }
    for _ in 0..30 {
        test.round(PollOutcome::Missed(Reason::Timeout));
    }
    // The pings of the master arrive within 10 s after the freeze.
    for second in 0..10 {
        assert_eq!(state(&test.reply(&link(31 + second))), Some(LinkState::Up));
    }
    assert_eq!(state(&test.reply(&link(41))), Some(LinkState::Stalled));
    test.round(PollOutcome::Missed(Reason::Timeout));
    assert_eq!(state(&test.reply(&link(43))), Some(LinkState::Stalled), "one missed poll");
    assert_eq!(state(&test.reply(&link(0))), Some(LinkState::Up));
}

#[test]
fn link_states() {
    let replica = |status: &str| format!("run_id:x\nrole:slave\n{status}");
    let mut test = TestDeployment::new();
    let mut check = |status: &str, state: LinkState, drops: u64, events: &[&str]| {
        let result = test.reply(&replica(status));
        assert_eq!(
            (node(&result).link.state, node(&result).link.drops),
            (Some(state), drops),
            "{status}"
        );
        assert_eq!(kinds(&result), events, "{status}");
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
fn errors_are_counted_without_those_of_rolecall() {
    let info = |run_id: &str, noperm: u64, total: u64| {
        format!(
            "run_id:{run_id}\nrole:master\ntotal_error_replies:{total}\n# Errorstats\n\
             errorstat_NOPERM:count={noperm}\n"
        )
    };
    let mut test = TestDeployment::new();
    let mut check = |info: &str, own: &[&str], noperm: u64, total: u64| {
        let result = test.round(reply(info, |reply| {
            reply.own_errors = own.iter().map(|code| ((*code).into(), 1)).collect();
        }));
        let counters = &node(&result).counters;
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
fn own_errors_that_the_server_counts_late_are_not_counted() {
    let mut test = TestDeployment::new();
    let mut check = |noauth: u64, own: u64, counted: u64| {
        let info = format!(
            "run_id:x\nrole:master\ntotal_error_replies:{noauth}\n# Errorstats\n\
             errorstat_NOAUTH:count={noauth}\n"
        );
        let info = if noauth == 0 { info.replace("errorstat_NOAUTH:count=0\n", "") } else { info };
        let result = test.round(reply(&info, |reply| {
            reply.own_errors = (own > 0).then(|| ("NOAUTH".into(), own)).into_iter().collect();
        }));
        let counters = &node(&result).counters;
        let errors = counters.errors().expect("a table").find(|(code, _)| *code == "NOAUTH");
        let stated = (errors.map_or(0, |(_, count)| count), counters.error_replies());
        assert_eq!(stated, (counted, Some(counted)), "{noauth} {own}");
    };
    // Another task was denied, but the server made the reply to INFO before.
    check(0, 0, 0);
    check(0, 1, 0);
    check(1, 0, 0);
    check(1, 2, 0);
    check(3, 1, 0);
    check(4, 0, 0);
    // An own error that the server does not count hides no later error of a client.
    check(4, 1, 0);
    check(4, 0, 0);
    check(5, 0, 1);
    // The reply to INFO has an error that this task hears of later: one is too many, but only one.
    for round in 0..9 {
        check(6 + round, u64::from(round > 0), 2);
    }
    check(14, 1, 2);
    check(15, 0, 2);
}

#[test]
fn counts_of_a_replacement_are_not_new() {
    let info = |run_id: &str, uptime: u64, readonly: u64| {
        format!(
            "run_id:{run_id}\nuptime_in_seconds:{uptime}\nrole:master\n\
             total_error_replies:{readonly}\n# Errorstats\nerrorstat_READONLY:count={readonly}\n"
        )
    };
    let mut test = TestDeployment::new();
    let mut check = |info: &str, counted: u64| {
        let result = test.reply(info);
        let counters = &node(&result).counters;
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
    check(&info("y", 9000, 701), 1);
    check(&info("y", 9000, 703), 3);
    check(&info("z", 1, 4), 7);
}

#[test]
fn a_replica_listed_twice_is_shown_once() {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    deployment.add("a", "10.0.0.5:6379", None);
    deployment.add("b", "[::1]:6379", None);
    assert!(deployment.alias("172.17.0.2:6379", "[::1]:6379"));
    let mut test = TestDeployment {
        tracker: RecordedTracker::new(Arc::new(deployment), None),
        now: Monotonic::START,
    };
    let info = "run_id:x\nrole:master\n\
                slave0:ip=::1,port=6379,state=online,offset=10,lag=60\n\
                slave1:ip=::1,port=6379,state=online,offset=90,lag=0\n\
                slave2:ip=172.17.0.2,port=6379,state=wait_bgsave,offset=0,lag=0\n\
                slave3:ip=10.0.0.9,port=6379,state=online,offset=80,lag=1\n";
    let round = Round::new(
        SystemTime::UNIX_EPOCH,
        Monotonic::from_start(SECOND),
        vec![reply(info, |_| {}), PollOutcome::Pending],
    );
    let result = test.tracker.observe(&round);
    let attached: Vec<_> = node(&result)
        .attached_replicas
        .iter()
        .map(|replica| (replica.name.as_str(), replica.reported.offset))
        .collect();
    assert_eq!(attached, [("10.0.0.9:6379", Some(80)), ("b", Some(90))]);
}

#[test]
fn a_disabled_error_table_is_absent() {
    let mut test = TestDeployment::new();
    test.reply("run_id:x\nrole:master\n# Errorstats\nerrorstat_OOM:count=2\n");
    let result =
        test.reply("run_id:x\nrole:master\n# Errorstats\nerrorstat_ERRORSTATS_DISABLED:count=1\n");
    assert!(node(&result).counters.errors().is_none());
    let result = test.reply("run_id:x\nrole:master\n# Errorstats\nerrorstat_OOM:count=1\n");
    let oom = node(&result).counters.errors().expect("a table").find(|(code, _)| *code == "OOM");
    assert_eq!(oom, Some(("OOM", 1)));
}

#[test]
fn topology_commands_are_counted_from_the_first_reply() {
    let stats = |text: &str| {
        let commands = Arc::new(CommandStats::parse(text));
        reply(MASTER, |reply| {
            Arc::make_mut(&mut reply.snapshot).commands = Some(commands);
            reply.commands_read = true;
        })
    };
    let mut test = TestDeployment::new();
    test.round(stats("cmdstat_replicaof:calls=3,usec=1"));
    let result = test.round(stats(
        "cmdstat_replicaof:calls=6,usec=1,rejected_calls=4,failed_calls=1\n\
         cmdstat_config|set:calls=1,usec=1",
    ));
    let counted: Vec<_> =
        node(&result).counters.topology().filter(|(_, total)| *total > 0).collect();
    assert_eq!(counted, [("replicaof", 2), ("config_set", 1)]);
}

/// Returns a reply with or without command statistics.
fn with_commands(info: &str, commands: Option<&str>) -> PollOutcome {
    reply(info, |reply| {
        Arc::make_mut(&mut reply.snapshot).commands =
            commands.map(|text| Arc::new(CommandStats::parse(text)));
        reply.commands_read = commands.is_some();
    })
}

/// Returns a deployment after a REPLICAOF and a CLIENT PAUSE that its node executed long ago.
fn after_topology_commands(info: &str) -> TestDeployment {
    let mut test = TestDeployment::new();
    test.round(with_commands(info, Some("cmdstat_config|get:calls=1,usec=1")));
    let stats = "cmdstat_config|get:calls=2,usec=1\ncmdstat_replicaof:calls=1,usec=1\n\
                 cmdstat_client|pause:calls=1,usec=1";
    let result = test.round(with_commands(info, Some(stats)));
    assert_eq!(kinds(&result), ["reconfigured", "clients_paused"]);
    test
}

/// Asserts that the node executed no topology command in this round, and that it counted one
/// REPLICAOF before.
fn assert_no_command(result: &RoundResult, round: &str) {
    let commands = ["reconfigured", "clients_paused"];
    assert!(!kinds(result).iter().any(|kind| commands.contains(kind)), "{round}");
    let replicaof = node(result).counters.topology().find(|(label, _)| *label == "replicaof");
    assert_eq!(replicaof, Some(("replicaof", 1)), "{round}");
}

#[test]
fn commands_before_a_missing_reading_are_not_new() {
    let mut test = after_topology_commands(MASTER);
    let result = test.round(with_commands(MASTER, None));
    assert!(!node(&result).counters.counts_topology());
    assert_no_command(&result, "an error reply");
    let stats = "cmdstat_replicaof:calls=1,usec=1\ncmdstat_client|pause:calls=1,usec=1";
    let result = test.round(with_commands(MASTER, Some(stats)));
    assert!(node(&result).counters.counts_topology());
    assert_no_command(&result, "the next reading");
}

#[test]
fn commands_before_a_second_restart_are_not_new() {
    let mut test = after_topology_commands(MASTER);
    for run_id in ["y", "z"] {
        let restarted =
            |uptime: u32| format!("run_id:{run_id}\nuptime_in_seconds:{uptime}\nrole:master\n");
        let result = test.round(with_commands(&restarted(0), None));
        assert_eq!(kinds(&result), ["restarted"]);
        assert_no_command(&result, run_id);
        let result =
            test.round(with_commands(&restarted(1), Some("cmdstat_config|get:calls=1,usec=1")));
        assert_no_command(&result, run_id);
    }
}

#[test]
fn commands_before_an_alternation_are_not_new() {
    let info = |run_id: &str| format!("run_id:{run_id}\nuptime_in_seconds:5000\nrole:master\n");
    let mut test = after_topology_commands(&info("a"));
    for turn in 0..6 {
        let result = test.round(with_commands(&info(["b", "a"][turn % 2]), None));
        assert_no_command(&result, "servers take turns");
    }
    for _ in 0..70 {
        test.round(with_commands(&info("a"), None));
    }
    let stats = "cmdstat_replicaof:calls=1,usec=1\ncmdstat_client|pause:calls=1,usec=1";
    let result = test.round(with_commands(&info("a"), Some(stats)));
    assert_eq!(node(&result).servers, None);
    assert_no_command(&result, "one server again");
}

#[test]
fn refused_writes_are_derived_from_the_state() {
    let check = |info: &str, config: &[(&str, &str)], refused: &[RefusalReason]| {
        let outcome = reply(info, |reply| {
            let pairs = config.iter().flat_map(|(name, value)| {
                [Reply::Text((*name).into()), Reply::Text((*value).into())]
            });
            let mut read = Config::default();
            read.add(&Reply::Array(pairs.collect()));
            Arc::make_mut(&mut reply.snapshot).config = Some(Arc::new(read));
        });
        let result = TestDeployment::new().round(outcome);
        let active: Vec<_> = node(&result)
            .writes_refused
            .iter()
            .filter(|(_, is_active)| *is_active)
            .map(|(reason, _)| *reason)
            .collect();
        assert_eq!(active, refused, "{info} {config:?}");
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
    let evicting = "run_id:x\nrole:master\nmaxmemory:100\nmaxmemory_policy:volatile-lru\n\
                    used_memory:101\ncurrent_eviction_exceeded_time";
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
fn reasons_without_a_role_need_what_they_follow_from() {
    let check = |info: &str, expected: [Option<bool>; 2]| {
        let outcome = reply(&format!("run_id:x\n{info}"), |reply| {
            let mut read = Config::default();
            let pair = ["replica-serve-stale-data", "no"].map(|word| Reply::Text(word.into()));
            read.add(&Reply::Array(pair.into()));
            Arc::make_mut(&mut reply.snapshot).config = Some(Arc::new(read));
        });
        let result = TestDeployment::new().round(outcome);
        let node = node(&result);
        let of = |refusals: &[(RefusalReason, bool)], wanted: RefusalReason| {
            refusals.iter().find(|(reason, _)| *reason == wanted).map(|(_, active)| *active)
        };
        let masterdown = of(&node.reads_refused, RefusalReason::Masterdown);
        let noreplicas = of(&node.writes_refused, RefusalReason::Noreplicas);
        assert_eq!([masterdown, noreplicas], expected, "{info}");
    };
    check("role:master\n", [Some(false), Some(false)]);
    check("role:active-replica\n", [None, None]);
    check("used_memory:1\n", [None, None]);
    let link = "role:active-replica\nmaster_host:b\nmaster_port:1\nmaster_link_status";
    check(&format!("{link}:up\n"), [Some(false), None]);
    check(&format!("{link}:down\nmaster_link_down_since_seconds:4\n"), [Some(true), None]);
}

#[test]
fn a_server_that_evicts_keys_accepts_writes() {
    let above = |evicted: u32| {
        let memory = "maxmemory:100\nmaxmemory_policy:allkeys-lru\nused_memory:101\n\
                      current_eviction_exceeded_time:500";
        reply(&format!("run_id:x\nrole:master\n{memory}\nevicted_keys:{evicted}\n"), |_| {})
    };
    let mut test = TestDeployment::new();
    let refused =
        |result: &RoundResult| node(result).writes_refused.contains(&(RefusalReason::Oom, true));
    assert!(refused(&test.round(above(10))), "it is not known yet if the server evicts keys");
    assert!(!refused(&test.round(above(11))));
    assert!(refused(&test.round(above(11))));
}

#[test]
fn silent_node_is_unknown_while_the_exporter_is_cut_off() {
    let mut test = TestDeployment::new();
    test.reply(MASTER);
    let cut_off = |test: &mut TestDeployment, seconds: u64, outcome: PollOutcome| {
        test.now += SECOND;
        let at = SystemTime::UNIX_EPOCH + test.now.since_start();
        let cut_off_for = Some(SECOND * u32::try_from(seconds).expect("a short time"));
        test.tracker.observe(&Round {
            blind: true,
            cut_off_for,
            ..Round::new(at, test.now, vec![outcome])
        })
    };
    let silent = || PollOutcome::Missed(Reason::Timeout);
    let state = |result: &RoundResult| {
        let node = node(result);
        (node.up(), node.readable(), node.is_unknown())
    };
    let result = cut_off(&mut test, 0, silent());
    assert_eq!(state(&result), (Some(true), Some(true), true), "a single missed poll");
    for second in 1..=60 {
        let result = cut_off(&mut test, second, silent());
        let readable = second < 3;
        assert_eq!(state(&result), (Some(true), Some(readable), true), "second {second}");
        assert_eq!(node(&result).role(), Some(Role::Master), "the last known state is kept");
        assert_eq!(result.view.shards[0].writable, Some(true));
        assert_eq!((result.events.len(), result.view.findings.len()), (0, 0));
        assert!(result.view.is_unknown() && !result.view.is_outdated());
    }
    // After a minute the last known state is outdated.
    let result = cut_off(&mut test, 61, silent());
    assert_eq!(state(&result), (None, Some(false), true));
    assert_eq!(node(&result).role(), None);
    let shard = &result.view.shards[0];
    assert_eq!((shard.writable, shard.primary, shard.last_primary.is_some()), (None, None, true));
    assert_eq!(shard.no_primary.why, None);
    assert!(result.view.is_outdated());
    assert_eq!((result.events.len(), result.view.findings.len()), (0, 0));

    let result = test.reply(MASTER);
    assert_eq!(state(&result), (Some(true), Some(true), false));
    assert_eq!(result.view.shards[0].writable, Some(true));
    assert_eq!(kinds(&result), Vec::<&str>::new());

    // The host of a node that refuses the connection can be reached.
    let result = cut_off(&mut test, 0, PollOutcome::Failed(Reason::Refused));
    assert_eq!(state(&result), (Some(false), Some(false), false));
    assert_eq!(kinds(&result), ["node_unreachable"]);
    // A node that was down stays down.
    let result = cut_off(&mut test, 1, silent());
    assert_eq!(state(&result), (Some(false), Some(false), false));

    // A node that stays silent when the exporter is no longer cut off is down after `down_after`.
    test.reply(MASTER);
    cut_off(&mut test, 0, silent());
    cut_off(&mut test, 10, silent());
    let states: Vec<_> = (0..3).map(|_| state(&test.round(silent())).0).collect();
    assert_eq!(states, [Some(true), Some(true), Some(false)]);
}
