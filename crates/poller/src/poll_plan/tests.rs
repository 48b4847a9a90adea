//! Tests of the poll plan: batches and replies, without a server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Failure, PasswordVersion};
use config::Cadences;
use snapshot::{CONFIG_PARAMETERS, OptionalCommand, Reply, ServerError};
use tokio::time::Instant;

use crate::clock::Clock;

use super::{ParsedReplies, PollCommand, PollPlan};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A modelled server: it answers INFO, and every other command with one reply.
struct Server {
    plan: PollPlan,
    now: Instant,
    info: String,
    /// Error reply to each command other than INFO, by its first words; others get an empty text.
    errors: BTreeMap<&'static str, &'static str>,
    /// Commands of the last poll.
    sent: Vec<String>,
}

impl Server {
    /// Starts a server and connects to it.
    fn start(info: &str) -> Self {
        Self::start_with(info, BTreeSet::new(), &BTreeMap::new())
    }

    /// Starts a server, and connects to it with a plan that leaves out commands and assumes values
    /// of CONFIG parameters.
    fn start_with(
        info: &str,
        skipped: BTreeSet<OptionalCommand>,
        assumed: &BTreeMap<String, String>,
    ) -> Self {
        let common = Arc::default();
        let mut plan = PollPlan::new(Cadences::default(), SECOND, skipped, assumed, &common);
        plan.connected(Some(SocketAddr::from(([10, 0, 0, 1], 6379))), None, None);
        Server {
            plan,
            now: Clock::start().now(),
            info: info.to_owned(),
            errors: BTreeMap::new(),
            sent: Vec::new(),
        }
    }

    /// Polls the server after this time.
    fn poll_after(&mut self, time: Duration) -> ParsedReplies {
        self.now += time;
        let now = self.now;
        let commands = self.plan.first_batch(now);
        self.plan.record_sending(now);
        let replies = self.replies(&commands);
        self.sent.clear();
        self.record(&commands);
        let mut parsed =
            self.plan.parse_first_batch(&commands, &replies, now).expect("a reply to INFO");
        let commands = self.plan.follow_up_batch(&parsed, now);
        let replies = self.replies(&commands);
        self.record(&commands);
        self.plan.parse_follow_up_batch(&commands, &replies, &mut parsed, now);
        parsed
    }

    fn poll(&mut self) -> ParsedReplies {
        self.poll_after(SECOND)
    }

    fn record(&mut self, commands: &[PollCommand]) {
        self.sent.extend(commands.iter().map(text));
    }

    fn replies(&self, commands: &[PollCommand]) -> Vec<Reply<'static>> {
        let reply = |command: &PollCommand| {
            let text = text(command);
            let error = self.errors.iter().find(|(words, _)| text.starts_with(*words));
            match (command, error) {
                (PollCommand::Info, _) => Reply::Text(self.info.clone().into()),
                (_, Some((_, error))) => Reply::Error(ServerError::new(*error)),
                (PollCommand::ConfigGet(parameter), None) => {
                    let words = [*parameter, "1"].map(|word| Reply::Text(word.into()));
                    Reply::Array(words.into())
                }
                (PollCommand::SlowLogLength, None) => Reply::Integer(0),
                _ => Reply::Text(String::new().into()),
            }
        };
        commands.iter().map(reply).collect()
    }

    /// Returns the number of commands of the last poll that begin with these words.
    fn sent(&self, words: &str) -> usize {
        self.sent.iter().filter(|command| command.starts_with(words)).count()
    }

    /// Polls once a second, and returns how often a command was sent.
    fn sent_within(&mut self, seconds: u32, words: &str) -> usize {
        let mut sent = 0;
        for _ in 0..seconds {
            self.poll();
            sent += self.sent(words);
        }
        sent
    }
}

/// Returns a command as it is typed.
fn text(command: &PollCommand) -> String {
    let command = command.command();
    [command.name]
        .into_iter()
        .chain(command.arguments.iter().map(|word| &**word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Replies to INFO of other systems, built from their public sources and documentation.
const INFO: &str = "run_id:a\nuptime_in_seconds:5000\nrole:master\n";
/// KeyDB, `src/server.cpp`: the role of a node with `active-replica yes`.
const KEYDB: &str = "run_id:a\nuptime_in_seconds:5000\nrole:active-replica\nmaster_host:b\n\
                     master_port:6379\nmaster_link_status:down\n\
                     master_link_down_since_seconds:400\n";
/// Azure Cache for Redis, Premium: INFO has no replication section.
const AZURE: &str = "redis_version:6.0.14\nrun_id:a\nuptime_in_seconds:5000\nused_memory:1\n";
/// Upstash: INFO has neither `role` nor `run_id`.
const UPSTASH: &str = "upstash_version:1.10.5\nredis_version:6.2.6\nused_memory:1\n";
/// Kvrocks, `src/server/server.cc`: sections that read the database are missing while it loads.
const KVROCKS: &str = "kvrocks_version:2.8.0\nredis_version:4.0.0\nloading:1\n";

#[test]
fn all_data_is_read_whatever_the_role() {
    for info in [INFO, KEYDB, AZURE, UPSTASH, KVROCKS] {
        let mut server = Server::start(info);
        server.poll();
        let parsed = server.poll();
        assert!(parsed.snapshot.commands.is_some(), "{info}");
        for command in ["CONFIG GET", "SLOWLOG LEN"] {
            assert!(server.sent(command) > 0, "{info}: {:?}", server.sent);
        }
        assert_eq!(server.sent("SENTINEL"), 0, "{info}");
        let read = server.sent_within(60, "INFO commandstats");
        assert_eq!(read, 6, "{info}");
        let parsed = server.poll();
        let data = (parsed.snapshot.config.is_some(), parsed.snapshot.slowlog.is_some());
        assert_eq!(data, (true, true), "{info}");
    }
}

/// Commands that a plan sends for a replica of a cluster, if it leaves out none.
const OPTIONAL: [&str; 7] = [
    "INFO commandstats",
    "SLOWLOG LEN",
    "SLOWLOG GET",
    "CONFIG GET",
    "CLIENT LIST",
    "CLUSTER INFO",
    "CLUSTER NODES",
];

/// Returns those commands that a plan sends while it leaves out these.
fn sent_without(skipped: &[OptionalCommand]) -> Vec<&'static str> {
    let info = "run_id:a\nuptime_in_seconds:5000\nrole:slave\nconnected_clients:2\n\
                cluster_enabled:1\n";
    let mut server = Server::start_with(info, skipped.iter().copied().collect(), &BTreeMap::new());
    let mut sent: BTreeSet<&str> = BTreeSet::new();
    for _ in 0..120 {
        server.plan.set_cluster_map_requested(true);
        server.plan.set_client_list_requested(true);
        server.plan.request_command_stats();
        server.poll();
        sent.extend(OPTIONAL.iter().filter(|words| server.sent(words) > 0));
        assert_eq!(server.sent.iter().filter(|command| *command == "INFO").count(), 1);
    }
    OPTIONAL.into_iter().filter(|words| sent.contains(words)).collect()
}

#[test]
fn commands_that_are_left_out_are_never_sent() {
    assert_eq!(sent_without(&[]), OPTIONAL);
    assert_eq!(sent_without(&OptionalCommand::ALL), Vec::<&str>::new());
    for skipped in OptionalCommand::ALL {
        let expected = OPTIONAL.iter().filter(|sent| !sent.starts_with(skipped.label()));
        let expected: Vec<_> = expected.copied().collect();
        assert_eq!(sent_without(&[skipped]), expected, "{}", skipped.label());
    }
}

#[test]
fn assumed_values_replace_config_that_is_left_out() {
    let assumed = BTreeMap::from([("maxmemory".to_owned(), "7".to_owned())]);
    let config = |skipped: &[OptionalCommand]| {
        let skipped = skipped.iter().copied().collect();
        let mut server = Server::start_with(INFO, skipped, &assumed);
        server.poll();
        let config = server.poll().snapshot.config;
        config.and_then(|config| config.number("maxmemory"))
    };
    assert_eq!(config(&[OptionalCommand::ConfigGet]), Some(7.0));
    assert_ne!(config(&[]), Some(7.0), "the server replies");
}

#[test]
fn two_errors_in_a_row_are_a_refusal() {
    for error in [
        // Tair: `ERR command 'X' not support for normal user`, from its documentation.
        "ERR command 'CONFIG' not support for normal user",
        // Kvrocks, `src/server/redis_connection.cc`.
        "ERR admin permission required to perform the command",
        // Dragonfly, `src/server/main_service.cc`.
        "ERR Cannot execute restricted command (admin only)",
        // Garnet, `libs/server/Resp/CmdStrings.cs`.
        "ERR unknown subcommand",
        "SOMETHING else",
    ] {
        for command in ["CONFIG", "SLOWLOG LEN", "INFO commandstats"] {
            let mut server = Server::start(INFO);
            server.errors = [(command, error)].into();
            assert_eq!(server.sent_within(600, command), 2, "{command}: {error}");
        }
    }
}

#[test]
fn missing_permission_is_a_refusal_at_once() {
    for error in [
        "NOPERM this user has no permissions to run the 'config|get' command",
        "ERR unknown command `CONFIG`, with args beginning with: `GET`",
        // SSDB.
        "ERR Unknown Command: config",
    ] {
        let mut server = Server::start(INFO);
        server.errors = [("CONFIG", error)].into();
        server.poll();
        let parsed = server.poll();
        let refused: Vec<_> = parsed.refused.iter().map(|refused| refused.command).collect();
        assert_eq!(refused, ["CONFIG GET"], "{error}");
        assert_eq!(server.sent_within(3600, "CONFIG"), 0, "{error}");
    }
}

#[test]
fn states_of_the_server_are_no_refusal() {
    for error in [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script.",
        "MASTERDOWN Link with MASTER is down",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "OOM command not allowed",
        "MISCONF Redis is configured to save RDB snapshots",
        "NOREPLICAS Not enough good replicas to write.",
    ] {
        let mut server = Server::start(INFO);
        server.errors = [("CONFIG", error)].into();
        server.poll();
        server.poll();
        assert_eq!(server.sent_within(240, "CONFIG"), 4, "{error}");
        server.errors.clear();
        let config = (0..120).find_map(|_| server.poll().snapshot.config);
        assert!(config.is_some(), "{error}");
    }
}

#[test]
fn refused_command_is_tried_again_after_a_day() {
    let mut server = Server::start(INFO);
    server.errors = [("CONFIG", "NOPERM no")].into();
    server.poll();
    server.poll();
    server.poll_after(DAY.saturating_sub(SECOND * 2));
    assert_eq!(server.sent("CONFIG"), 0);
    let parsed = server.poll_after(SECOND * 2);
    assert_eq!((server.sent("CONFIG"), parsed.refused.len()), (1, 0), "logged only once");
    assert_eq!(server.sent_within(600, "CONFIG"), 0);
}

#[test]
fn refused_command_is_tried_again_when_the_server_changes() {
    let mut server = Server::start(INFO);
    server.errors = [("CONFIG", "NOPERM no")].into();
    server.poll();
    server.poll();
    assert_eq!(server.sent_within(60, "CONFIG"), 0);
    server.info = "run_id:b\nuptime_in_seconds:0\nrole:master\n".to_owned();
    assert_eq!(server.sent_within(60, "CONFIG"), 1, "another process");
    let peer = |port| Some(SocketAddr::from(([10, 0, 0, 2], port)));
    server.plan.connected(peer(1), None, None);
    assert_eq!(server.sent_within(60, "CONFIG"), 1, "another address");
    server.plan.connected(peer(1), None, None);
    assert_eq!(server.sent_within(60, "CONFIG"), 0, "the same address");
    let password = Some(PasswordVersion::new(&"another".into()));
    server.plan.connected(peer(1), password, None);
    assert_eq!(server.sent_within(60, "CONFIG"), 1, "another password");
}

#[test]
fn refusals_are_remembered_for_the_address() {
    let mut server = Server::start(INFO);
    server.errors = [("CONFIG", "NOPERM no")].into();
    server.poll();
    server.poll();
    let (mut sent, mut all) = (0, 0);
    for second in 0..600 {
        server.info = format!("run_id:{second}\nuptime_in_seconds:5000\nrole:master\n");
        server.poll();
        sent += server.sent("CONFIG");
        all += server.sent.len();
    }
    assert!(sent <= 1, "{sent} CONFIG GET to a proxy that shows another run_id each time");
    assert!(all <= 610, "{all} commands in 600 polls");
}

#[test]
fn readings_of_a_proxy_are_not_repeated_for_each_server() {
    let mut server = Server::start(INFO);
    server.poll();
    let mut sent = 0;
    for second in 0..60 {
        let run_id = ["a", "b", "c"][second % 3];
        server.info = format!("run_id:{run_id}\nuptime_in_seconds:5000\nrole:master\n");
        let parsed = server.poll();
        sent += server.sent("CONFIG");
        assert!(second < 5 || parsed.snapshot.config.is_none(), "data of another server");
    }
    let reading = CONFIG_PARAMETERS.len() + 1;
    assert!(sent <= 2 * reading, "{sent} CONFIG GET in a minute: more than two readings");
}

#[test]
fn refused_parameter_does_not_disable_the_others() {
    let mut server = Server::start(INFO);
    server.errors = [("CONFIG GET maxclients", "ERR unsupported parameter")].into();
    server.poll();
    server.poll();
    server.poll();
    let sent = (server.sent("CONFIG"), server.sent("CONFIG GET maxclients"));
    assert_eq!(sent, (CONFIG_PARAMETERS.len(), 1));
    assert_eq!(server.sent_within(60, "CONFIG GET maxclients"), 1);
    assert_eq!(server.sent_within(600, "CONFIG GET maxclients"), 0);
    let parsed = server.poll();
    let config = parsed.snapshot.config.expect("the other parameters");
    assert_eq!((config.get("maxmemory"), config.get("maxclients")), (Some("1"), None));
}

#[test]
fn own_errors_cause_no_additional_reading() {
    let mut server = Server::start("");
    let info = |errors: u32| {
        format!("run_id:a\nuptime_in_seconds:5000\nrole:master\ntotal_error_replies:{errors}\n")
    };
    server.errors = [("CONFIG", "ERR a"), ("SLOWLOG", "ERR b")].into();
    let (mut errors, mut stats) = (10, Vec::new());
    for second in 0..90 {
        server.info = info(errors);
        server.poll();
        if server.sent("INFO commandstats") > 0 {
            stats.push(second);
        }
        let failed = ["CONFIG", "SLOWLOG"].map(|command| server.sent(command));
        errors += u32::try_from(failed.iter().sum::<usize>()).expect("a count");
    }
    assert_eq!(errors, 14, "each command is refused twice");
    assert!(stats.windows(2).all(|pair| pair[1] - pair[0] == 10), "{stats:?}");
    server.info = info(errors + 1);
    server.poll();
    assert_eq!(server.sent("INFO commandstats"), 1, "an error of a client");
}

#[test]
fn own_errors_belong_to_the_process_that_counted_them() {
    let refusal = ServerError::new("NOPERM the user may not run SETNAME");
    let own_errors = |run_id: &str| {
        let mut server = Server::start(INFO);
        server.errors = [("CONFIG", "ERR a")].into();
        server.poll();
        server.poll();
        server.plan.disconnected();
        server.plan.connected(Some(SocketAddr::from(([10, 0, 0, 1], 6379))), None, Some(&refusal));
        server.info = format!("run_id:{run_id}\nuptime_in_seconds:5000\nrole:master\n");
        let own_errors = server.poll().own_errors;
        assert_eq!(server.poll().own_errors.get("NOPERM"), None, "they are counted once");
        ["ERR", "NOPERM"].map(|code| own_errors.get(code).copied().unwrap_or_default())
    };
    assert_eq!(own_errors("a"), [1, 1], "the same process");
    assert_eq!(own_errors("b"), [0, 1], "another process counted only the refusal");
}

#[test]
fn denied_attempts_of_other_tasks_are_own_errors() {
    for (run_id, expected) in [("a", Some(5)), ("b", Some(2))] {
        let mut server = Server::start(INFO);
        server.poll();
        server.plan.attempts_denied(&[("NOAUTH".into(), 3)].into());
        server.plan.disconnected();
        server.plan.connected(Some(SocketAddr::from(([10, 0, 0, 1], 6379))), None, None);
        server.plan.attempts_denied(&[("NOAUTH".into(), 2)].into());
        server.info = format!("run_id:{run_id}\nuptime_in_seconds:5000\nrole:master\n");
        let counts = [(); 2].map(|()| server.poll().own_errors.get("NOAUTH").copied());
        assert_eq!(counts, [expected, None], "{run_id}");
    }
}

#[test]
fn refused_attempts_to_connect_are_own_errors() {
    let mut server = Server::start(INFO);
    server.poll();
    let wrong_password = ServerError::new("WRONGPASS invalid username-password pair");
    // A server sends this when it accepts a connection, and does not count it.
    let full = ServerError::new("ERR max number of clients reached");
    for error in [&wrong_password, &wrong_password, &full] {
        let failure = Failure::refusal(error);
        let detail = format!("the server rejected the password: {}", failure.detail);
        server.plan.connection_failed(&Failure { detail, ..failure });
    }
    let own_errors: Vec<_> = server.poll().own_errors.into_iter().collect();
    assert_eq!(own_errors, [("WRONGPASS".into(), 2)]);
}

#[test]
fn second_restart_is_read_at_once() {
    let mut server = Server::start(INFO);
    for run_id in ["a", "b", "c"] {
        server.info = format!("run_id:{run_id}\nuptime_in_seconds:0\nrole:master\n");
        let parsed = server.poll();
        assert!(parsed.snapshot.commands.is_some() && parsed.commands_read, "{run_id}");
    }
}

#[test]
fn data_that_is_no_longer_read_disappears() {
    let mut server = Server::start(INFO);
    server.poll();
    server.poll();
    let parsed = server.poll();
    let data = |parsed: &ParsedReplies| {
        let snapshot = &parsed.snapshot;
        [snapshot.commands.is_some(), snapshot.config.is_some(), snapshot.slowlog.is_some()]
    };
    assert_eq!(data(&parsed), [true; 3]);
    server.errors =
        ["CONFIG", "SLOWLOG", "INFO commandstats"].map(|words| (words, "NOPERM no")).into();
    let parsed = (0..70).map(|_| server.poll()).last().expect("a poll");
    assert_eq!(data(&parsed), [false; 3]);
}

#[test]
fn refused_cluster_command_is_not_repeated() {
    let mut server = Server::start(&format!("{INFO}cluster_enabled:1\n"));
    server.errors = [("CLUSTER INFO", "ERR admin permission required")].into();
    server.poll();
    assert_eq!(server.sent_within(600, "CLUSTER INFO"), 2);
}
