//! Writes that wait: FAILOVER, pauses that Valkey reports, and CLIENT PAUSE on Redis.

mod recorded;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use recorded::RecordedTracker;
use snapshot::{CommandStats, NodeSnapshot};
use topology::{
    Deployment, DeploymentKind, EventKind, FindingKind, Monotonic, NodeIndex, NodeReply,
    PollOutcome, RefusalReason, Round, RoundResult, Severity, Value, limits,
};

const SECOND: Duration = Duration::from_secs(1);
const MASTER: &str = "run_id:x\nuptime_in_seconds:100\nrole:master\n";
const FAILOVER: &str = "master_failover_state:waiting-for-sync\n";
const NO_FAILOVER: &str = "master_failover_state:no-failover\n";
const NO_PAUSE: &str = "paused_reason:none\npaused_actions:none\n";
const READ: &str = "cmdstat_config|get:calls=1,usec=1";

/// A deployment of one master, polled once a second.
struct TestDeployment {
    tracker: RecordedTracker,
    now: Monotonic,
}

impl TestDeployment {
    fn new() -> Self {
        let mut deployment =
            Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        deployment.add("a", "a", None);
        TestDeployment {
            tracker: RecordedTracker::new(Arc::new(deployment), None),
            now: Monotonic::START,
        }
    }

    /// Processes the reply of the master after this time.
    fn later(&mut self, gap: Duration, info: &str, commands: Option<&str>) -> RoundResult {
        self.now += gap;
        let at = SystemTime::UNIX_EPOCH + self.now.since_start();
        let snapshot = NodeSnapshot {
            commands: commands.map(|text| Arc::new(CommandStats::parse(text))),
            ..NodeSnapshot::from_info(&format!("{MASTER}{info}")).expect("an INFO reply")
        };
        let mut reply = NodeReply::new(snapshot, Duration::from_millis(1), at);
        reply.commands_read = commands.is_some();
        let outcomes = vec![PollOutcome::Answered(reply)];
        self.tracker.observe(&Round::new(at, self.now, outcomes))
    }

    fn reply(&mut self, info: &str) -> RoundResult {
        self.later(SECOND, info, None)
    }

    fn commands(&mut self, info: &str, commands: &str) -> RoundResult {
        self.later(SECOND, info, Some(commands))
    }
}

/// Returns the state of the reason `paused`.
fn paused(result: &RoundResult) -> Option<bool> {
    let refused = &result.view.nodes[NodeIndex::new(0)].writes_refused;
    refused.iter().find(|(reason, _)| *reason == RefusalReason::Paused).map(|(_, holds)| *holds)
}

fn writable(result: &RoundResult) -> Option<bool> {
    result.view.shards[0].writable
}

fn findings(result: &RoundResult) -> Vec<(FindingKind, Severity)> {
    result.view.findings.iter().map(|finding| (finding.kind, finding.severity)).collect()
}

fn evidence(result: &RoundResult, name: &str) -> Option<Value> {
    let values = result.view.findings.first()?.evidence.values();
    values.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn pauses(pauses: u32, unpauses: u32) -> String {
    format!(
        "{READ}\ncmdstat_client|pause:calls={pauses},usec=1\n\
             cmdstat_client|unpause:calls={unpauses},usec=1"
    )
}

fn changes(changes: u32) -> String {
    format!("{NO_FAILOVER}rdb_changes_since_last_save:{changes}\nrdb_last_save_time:5\n")
}

fn clients_paused(result: &RoundResult) -> usize {
    result.events.iter().filter(|event| event.kind == EventKind::ClientsPaused).count()
}

const BLOCKED: (FindingKind, Severity) = (FindingKind::RedisWritesBlocked, Severity::Critical);
const COMMAND: (FindingKind, Severity) = (FindingKind::RedisTopologyCommand, Severity::Info);

#[test]
fn a_failover_that_waits_blocks_writes_after_five_seconds() {
    for state in [FAILOVER, "master_failover_state:failover-in-progress\n"] {
        let mut test = TestDeployment::new();
        assert_eq!(paused(&test.commands(NO_FAILOVER, READ)), Some(false));
        // The first reply shows it, five more show that it lasts.
        for second in 0..=5 {
            let result = test.commands(state, READ);
            let expected = (Some(false), Some(true), vec![]);
            let found = (paused(&result), writable(&result), findings(&result));
            assert_eq!(found, expected, "second {second}");
        }
        let result = test.commands(state, READ);
        assert_eq!((paused(&result), writable(&result)), (Some(true), Some(false)));
        assert_eq!(findings(&result), [BLOCKED]);
        assert_eq!(evidence(&result, "reasons"), Some(Value::List(vec!["paused".to_owned()])));
        assert_eq!(evidence(&result, "paused_by"), Some(Value::Text("failover".to_owned())));
        let result = test.commands(NO_FAILOVER, READ);
        assert_eq!((paused(&result), writable(&result)), (Some(false), Some(true)));
        assert_eq!(findings(&result), []);
        // The next failover has its own five seconds.
        assert_eq!(paused(&test.commands(state, READ)), Some(false));
    }
}

#[test]
fn a_pause_that_valkey_reports_names_its_operation() {
    for (reason, cause) in [
        ("client_pause", "client_pause"),
        ("failover_in_progress", "failover"),
        ("shutdown_in_progress", "shutdown"),
        ("slot_migration_in_progress", "slot_migration"),
        ("a_new_operation", "other"),
    ] {
        let mut test = TestDeployment::new();
        assert_eq!(paused(&test.reply(NO_PAUSE)), Some(false), "no command statistics are needed");
        let info = format!("paused_reason:{reason}\npaused_actions:write\n");
        test.reply(&info);
        assert_eq!(paused(&test.later(SECOND * 5, &info, None)), Some(false));
        let result = test.reply(&info);
        assert_eq!((paused(&result), findings(&result)), (Some(true), vec![BLOCKED]));
        assert_eq!(evidence(&result, "paused_by"), Some(Value::Text(cause.to_owned())));
    }
}

#[test]
fn a_replica_that_pauses_refuses_no_writes() {
    let mut test = TestDeployment::new();
    let info = "paused_reason:client_pause\npaused_actions:write\n".to_owned();
    let replica = format!("{info}role:slave\nmaster_link_status:up\n");
    // Of two lines with one name, the first one counts.
    let as_replica = replica.replace("role:slave\n", "");
    for _ in 0..10 {
        test.reply(&as_replica);
    }
    assert_eq!(paused(&test.reply(&as_replica)), Some(true), "a master does");
    let snapshot = NodeSnapshot::from_info(&format!("run_id:x\n{replica}")).expect("INFO");
    test.now += SECOND;
    let at = SystemTime::UNIX_EPOCH + test.now.since_start();
    let reply = NodeReply::new(snapshot, SECOND, at);
    let round = Round::new(at, test.now, vec![PollOutcome::Answered(reply)]);
    assert_eq!(paused(&test.tracker.observe(&round)), Some(false));
}

#[test]
fn a_pause_that_the_server_cannot_show_is_absent() {
    let mut test = TestDeployment::new();
    // Redis 5.0 and 6.0: neither the state of a failover nor subcommands.
    let result = test.commands("", "cmdstat_client:calls=9,usec=1");
    assert_eq!((paused(&result), writable(&result)), (None, Some(true)));
    // Redis 6.2: the state of a failover, but no subcommands.
    let result = test.commands(NO_FAILOVER, "cmdstat_client:calls=10,usec=1");
    assert_eq!((paused(&result), writable(&result)), (None, Some(true)));
}

#[test]
fn client_pause_makes_writability_unknown_until_a_change() {
    let mut test = TestDeployment::new();
    test.commands(&changes(7), &pauses(1, 0));
    let result = test.commands(&changes(7), &pauses(1, 0));
    assert_eq!(paused(&result), Some(false), "commands of the past are no event");
    let result = test.commands(&format!("{}blocked_clients:2\n", changes(8)), &pauses(2, 0));
    assert_eq!(clients_paused(&result), 1);
    assert_eq!(result.events.len(), 1, "it is no event `reconfigured`: {:?}", result.events);
    assert_eq!((paused(&result), writable(&result)), (None, None));
    assert_eq!(findings(&result), [COMMAND]);
    assert_eq!(evidence(&result, "command"), Some(Value::Text("client_pause".to_owned())));
    assert_eq!(evidence(&result, "blocked_clients"), Some(Value::Number(2.0)));
    for _ in 0..30 {
        let result = test.commands(&changes(8), &pauses(2, 0));
        assert_eq!((paused(&result), writable(&result)), (None, None));
        assert_eq!(findings(&result), [COMMAND]);
        assert_eq!(clients_paused(&result), 0);
    }
    let result = test.commands(&changes(9), &pauses(2, 0));
    assert_eq!((paused(&result), writable(&result)), (Some(false), Some(true)));
    assert_eq!(findings(&result), []);
}

#[test]
fn client_unpause_and_a_new_process_end_a_pause() {
    let mut test = TestDeployment::new();
    test.commands(NO_FAILOVER, READ);
    assert_eq!(findings(&test.commands(NO_FAILOVER, &pauses(1, 0))), [COMMAND]);
    assert_eq!(findings(&test.commands(NO_FAILOVER, &pauses(1, 1))), []);
    // Both since the last reading: the event remains, the pause is over.
    let result = test.commands(NO_FAILOVER, &pauses(2, 2));
    assert_eq!((clients_paused(&result), findings(&result)), (1, vec![]));
    // A new pause replaces the one before.
    assert_eq!(findings(&test.commands(NO_FAILOVER, &pauses(3, 2))), [COMMAND]);
    assert_eq!(clients_paused(&test.commands(NO_FAILOVER, &pauses(4, 2))), 1);
    // The first line counts: another process, just started.
    let restarted = "run_id:y\nuptime_in_seconds:0\nrole:master\n";
    let snapshot = NodeSnapshot {
        commands: Some(Arc::new(CommandStats::parse(READ))),
        ..NodeSnapshot::from_info(restarted).expect("an INFO reply")
    };
    test.now += SECOND * 2;
    let at = SystemTime::UNIX_EPOCH + test.now.since_start();
    let mut reply = NodeReply::new(snapshot, SECOND, at);
    reply.commands_read = true;
    let outcomes = vec![PollOutcome::Answered(reply)];
    let result = test.tracker.observe(&Round::new(at, test.now, outcomes));
    assert!(!findings(&result).contains(&COMMAND), "{:?}", findings(&result));
    assert_eq!(paused(&result), Some(false));
}

#[test]
fn a_pause_is_assumed_for_at_most_an_hour() {
    let mut test = TestDeployment::new();
    test.commands(NO_FAILOVER, READ);
    test.commands(NO_FAILOVER, &pauses(1, 0));
    let result = test.later(limits::CLIENT_PAUSE_ASSUMED_FOR, NO_FAILOVER, Some(&pauses(1, 0)));
    assert_eq!((findings(&result), writable(&result)), (vec![COMMAND], None));
    let result = test.commands(NO_FAILOVER, &pauses(1, 0));
    assert_eq!((findings(&result), writable(&result)), (vec![], Some(true)));
}

#[test]
fn a_refusal_is_reported_while_a_pause_may_last() {
    let mut test = TestDeployment::new();
    test.commands("", READ);
    let full = "maxmemory:100\nmaxmemory_policy:noeviction\nused_memory:101\n";
    let result = test.commands(full, &pauses(1, 0));
    assert_eq!((paused(&result), writable(&result)), (None, Some(false)));
    assert!(findings(&result).contains(&BLOCKED), "{:?}", findings(&result));
}
