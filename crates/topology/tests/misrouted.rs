//! Clients that write to a replica.

mod recorded;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use recorded::RecordedTracker;
use snapshot::{Client, CommandStats, NodeSnapshot, Reason};
use topology::limits::{CLIENT_LIST_CADENCE, MAX_LISTED_CLIENTS};
use topology::{
    Deployment, DeploymentKind, DeploymentView, Finding, FindingKind, MisrouteReason,
    MisroutedView, Monotonic, NodeIndex, NodeReply, PollOutcome, ReadRequest, Round, Value,
};

const SECOND: Duration = Duration::from_secs(1);

/// A server with counters.
#[derive(Clone)]
struct Server {
    name: &'static str,
    follows: Option<u16>,
    /// Its replication history, as a letter.
    history: char,
    uptime: u64,
    /// READONLY errors; `None` without an error table.
    readonly: Option<u64>,
    /// Rejected and failed calls by command.
    commands: BTreeMap<&'static str, (u64, u64)>,
    counts_refusals: bool,
    connected: u64,
    clients: Vec<String>,
    listed: u32,
}

impl Server {
    fn new(name: &'static str, follows: Option<u16>) -> Self {
        Server {
            name,
            follows,
            history: 'a',
            uptime: 100_000,
            readonly: Some(0),
            commands: BTreeMap::new(),
            counts_refusals: true,
            connected: 10,
            clients: Vec::new(),
            listed: 0,
        }
    }

    /// Refuses writes of a client.
    fn refuse(&mut self, command: &'static str, times: u64) {
        self.readonly = self.readonly.map(|readonly| readonly + times);
        self.commands.entry(command).or_default().0 += times;
    }

    fn poll(&mut self, lists: bool) -> PollOutcome {
        let role = match self.follows {
            Some(port) => format!(
                "role:slave\nmaster_host:h\nmaster_port:{port}\nmaster_link_status:up\n\
                 slave_read_only:1\n"
            ),
            None => "role:master\n".to_owned(),
        };
        let history = self.history.to_string().repeat(40);
        let mut info = format!(
            "run_id:{}\nuptime_in_seconds:{}\nloading:0\n{role}master_replid:{history}\n\
             master_repl_offset:1\nconnected_clients:{}\n",
            self.name, self.uptime, self.connected
        );
        if let Some(readonly) = self.readonly {
            write!(info, "# Errorstats\nerrorstat_READONLY:count={readonly}\n")
                .expect("to a string");
        }
        let mut commands = String::from(
            "cmdstat_get:calls=5,usec=5,usec_per_call=1,rejected_calls=0,failed_calls=0\n",
        );
        for (name, (rejected, failed)) in &self.commands {
            write!(commands, "cmdstat_{name}:calls={failed},usec=5,usec_per_call=1")
                .expect("to a string");
            let more = if self.counts_refusals {
                format!(",rejected_calls={rejected},failed_calls={failed}\n")
            } else {
                "\n".to_owned()
            };
            commands += &more;
        }
        let mut snapshot = NodeSnapshot::from_info(&info).expect("an INFO reply");
        snapshot.commands = Some(Arc::new(CommandStats::parse(&commands)));
        self.listed += u32::from(lists);
        let clients = lists.then(|| Client::parse_list(&self.clients.join("\n")).into());
        PollOutcome::Answered(NodeReply {
            commands_read: true,
            clients,
            ..NodeReply::new(snapshot, SECOND / 1000, SystemTime::UNIX_EPOCH)
        })
    }
}

/// Returns a line of CLIENT LIST.
fn client(id: u64, age: u64, idle: u64, command: &str, library: &str) -> String {
    format!(
        "id={id} addr=10.0.0.{id}:5000 name=app{id} age={age} idle={idle} flags=N cmd={command} \
         user=default lib-name={library} lib-ver=1.0"
    )
}

/// A deployment of servers at the ports 1, 2 and 3 of one host. The first one is the primary.
struct TestDeployment {
    servers: Vec<Server>,
    tracker: RecordedTracker,
    now: Monotonic,
    requests: Vec<ReadRequest>,
    view: Arc<DeploymentView>,
}

impl TestDeployment {
    fn new() -> Self {
        let mut deployment =
            Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        for port in 1..=3 {
            deployment.add(format!("n{port}"), format!("h:{port}"), None);
        }
        let servers =
            vec![Server::new("a", None), Server::new("b", Some(1)), Server::new("c", Some(1))];
        let tracker = RecordedTracker::new(Arc::new(deployment), None);
        let mut test = TestDeployment {
            servers,
            view: tracker.view(),
            tracker,
            now: Monotonic::START,
            requests: Vec::new(),
        };
        test.rounds(2, |_| {});
        test
    }

    fn round(&mut self) {
        self.now += SECOND;
        let requests = std::mem::take(&mut self.requests);
        let poll = |(index, server): (usize, &mut Server)| {
            server.poll(requests.contains(&ReadRequest::ClientList(NodeIndex::new(index))))
        };
        let outcomes = self.servers.iter_mut().enumerate().map(poll).collect();
        self.observe(outcomes);
    }

    fn observe(&mut self, outcomes: Vec<PollOutcome>) {
        let result = self.tracker.observe(&Round::new(
            SystemTime::UNIX_EPOCH + self.now.since_start(),
            self.now,
            outcomes,
        ));
        (self.view, self.requests) = (result.view, result.requests);
    }

    /// Runs several rounds. `happens` is called before each.
    fn rounds(&mut self, count: usize, mut happens: impl FnMut(&mut [Server])) {
        for _ in 0..count {
            happens(&mut self.servers);
            self.round();
        }
    }

    /// Makes the primary a replica of the second node.
    fn swap(&mut self) {
        (self.servers[0].follows, self.servers[1].follows, self.servers[2].follows) =
            (Some(2), None, Some(2));
    }

    fn at(&self, index: usize) -> Option<&MisroutedView> {
        self.view.nodes[NodeIndex::new(index)].misrouted.as_deref()
    }

    fn finding(&self, kind: FindingKind) -> Option<&Finding> {
        self.view.findings.iter().find(|finding| finding.kind == kind)
    }

    fn evidence(&self, kind: FindingKind, name: &str) -> Option<Value> {
        self.finding(kind)?
            .evidence
            .values()
            .into_iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    }
}

const HIT: FindingKind = FindingKind::RedisWritesHitReplica;
const STALE: FindingKind = FindingKind::RedisStaleClients;

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| (*item).to_owned()).collect())
}

#[test]
fn a_writer_is_named_and_a_reader_is_not() {
    let mut test = TestDeployment::new();
    test.servers[1].clients = vec![
        client(1, 500, 0, "set", "redis-py"),
        client(2, 500, 0, "get", "jedis"),
        client(3, 9, 0, "info", ""),
    ];
    test.rounds(3, |servers| servers[1].refuse("set", 2));
    let misrouted = test.at(1).expect("clients that write");
    assert_eq!(
        (misrouted.why, &*misrouted.commands),
        (MisrouteReason::WrongEndpoint, &["set".into()][..])
    );
    assert!((misrouted.per_second - 2.0).abs() < 0.01, "{}", misrouted.per_second);
    let writers = misrouted.writers.as_ref().expect("listed");
    assert_eq!((writers.total, &*writers.libraries), (1, &[("redis-py".into(), 1)][..]));
    assert_eq!(*writers.busiest, ["app1 10.0.0.1:5000".into()]);
    assert_eq!(misrouted.stale_clients, None, "Rolecall saw no demotion");
    assert!(test.finding(HIT).is_none(), "it has not lasted long enough");
    assert!(test.at(0).is_none() && test.at(2).is_none());

    test.rounds(60, |servers| servers[1].refuse("set", 2));
    assert_eq!(test.evidence(HIT, "why"), Some(Value::Text("wrong_endpoint".to_owned())));
    assert_eq!(test.evidence(HIT, "commands"), Some(list(&["set"])));
    assert_eq!(test.evidence(HIT, "libraries"), Some(list(&["redis-py 1.0"])));
    assert_eq!(test.evidence(HIT, "clients"), Some(list(&["app1 10.0.0.1:5000"])));
    assert_eq!(test.evidence(HIT, "per_second"), Some(Value::Number(2.0)));
    assert_eq!(test.servers[1].listed, 2, "once in 30 s");
    assert_eq!((test.servers[0].listed, test.servers[2].listed, test.finding(STALE)), (0, 0, None));

    test.rounds(60, |_| {});
    assert!(test.at(1).is_some(), "it ends after a minute without refusals");
    test.rounds(1, |_| {});
    assert!(test.at(1).is_none() && test.finding(HIT).is_none());
    assert_eq!(test.servers[1].listed, 3, "no list without new refusals");
}

#[test]
fn clients_of_healthy_nodes_are_never_listed() {
    let mut test = TestDeployment::new();
    test.rounds(100, |_| {});
    // Errors of a master do not count.
    test.rounds(5, |servers| servers[0].refuse("set", 1));
    assert!(test.servers.iter().all(|server| server.listed == 0));
}

#[test]
fn too_many_clients_are_not_listed() {
    let mut test = TestDeployment::new();
    test.servers[1].connected = MAX_LISTED_CLIENTS + 1;
    test.rounds(70, |servers| servers[1].refuse("del", 1));
    assert_eq!(test.servers[1].listed, 0);
    let misrouted = test.at(1).expect("clients that write");
    assert_eq!(
        (misrouted.writers.clone(), misrouted.too_many_clients),
        (None, Some(MAX_LISTED_CLIENTS + 1))
    );
    assert_eq!(test.evidence(HIT, "connected_clients"), Some(Value::Number(1001.0)));
    assert_eq!(test.evidence(HIT, "clients"), None);

    test.servers[1].connected = MAX_LISTED_CLIENTS;
    test.rounds(2, |servers| servers[1].refuse("del", 1));
    assert_eq!(test.servers[1].listed, 1);
}

#[test]
fn clients_are_listed_at_most_once_per_cadence() {
    let mut test = TestDeployment::new();
    test.rounds(2, |servers| servers[1].refuse("set", 1));
    assert_eq!(test.servers[1].listed, 1);
    for _ in 1..CLIENT_LIST_CADENCE.as_secs() {
        test.servers[1].refuse("set", 1);
        test.round();
        assert_eq!(test.servers[1].listed, 1);
    }
    test.rounds(2, |servers| servers[1].refuse("set", 1));
    assert_eq!(test.servers[1].listed, 2);
}

#[test]
fn clients_of_a_demoted_primary_are_stale() {
    let mut test = TestDeployment::new();
    test.rounds(10, |_| {});
    test.swap();
    test.servers[0].clients = vec![
        client(1, 500, 0, "set", "redis-py"),
        client(2, 500, 300, "get", "redis-py"),
        client(3, 1, 0, "set", "jedis"),
        // Clients that only monitor: a Sentinel and exporters.
        client(4, 500, 0, "ping", "").replace("name=app4", "name=sentinel-1234abcd-cmd"),
        client(5, 500, 0, "info", ""),
        client(6, 500, 0, "client|list", ""),
        client(7, 500, 0, "monitor", "").replace("flags=N", "flags=O"),
        // It last wrote before the demotion.
        client(8, 500, 100, "set", "lettuce"),
    ];
    test.rounds(4, |servers| servers[0].refuse("set", 3));
    let misrouted = test.at(0).expect("clients that write");
    assert_eq!(misrouted.why, MisrouteReason::Demotion);
    let of = |clients: &Option<Arc<topology::MisroutedClients>>| {
        let clients = clients.clone().expect("listed");
        clients
            .libraries
            .iter()
            .map(|(library, count)| (library.to_string(), *count))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&misrouted.writers), [("jedis".to_owned(), 1), ("redis-py".to_owned(), 1)]);
    assert_eq!(
        of(&misrouted.stale_clients),
        [("redis-py".to_owned(), 2), ("lettuce".to_owned(), 1)]
    );
    assert!(
        test.finding(STALE).is_none() && test.finding(HIT).is_none(),
        "clients need a while after a failover"
    );

    test.rounds(59, |servers| servers[0].refuse("set", 3));
    assert_eq!(test.evidence(STALE, "stale_clients"), Some(Value::Number(3.0)));
    assert_eq!(test.evidence(STALE, "demoted_seconds_ago"), Some(Value::Number(62.0)));
    assert_eq!(test.evidence(HIT, "why"), Some(Value::Text("demotion".to_owned())));

    // The node is master again and accepts writes.
    (test.servers[0].follows, test.servers[1].follows) = (None, Some(1));
    test.round();
    assert!(test.at(0).is_none() && test.finding(STALE).is_none() && test.finding(HIT).is_none());
}

#[test]
fn decreasing_writes_after_a_failover_are_stale_topology() {
    let mut test = TestDeployment::new();
    test.rounds(10, |_| {});
    test.swap();
    test.rounds(60, |servers| servers[2].refuse("incr", 10));
    assert_eq!(test.at(2).expect("clients").why, MisrouteReason::StaleTopology);
    test.rounds(80, |servers| servers[2].refuse("incr", 1));
    assert_eq!(test.at(2).expect("clients").why, MisrouteReason::StaleTopology, "it became less");
    // Unless the writes continue as they began.
    test.rounds(60, |servers| servers[2].refuse("incr", 20));
    assert_eq!(test.at(2).expect("clients").why, MisrouteReason::WrongEndpoint);
}

#[test]
fn with_two_masters_the_reason_is_unknown() {
    let mut test = TestDeployment::new();
    test.servers[2].follows = None;
    test.rounds(65, |_| {});
    test.rounds(65, |servers| servers[1].refuse("set", 1));
    assert_eq!(test.evidence(HIT, "why"), Some(Value::Text("unknown".to_owned())));
}

#[test]
fn transactions_and_scripts_count_as_refused_commands() {
    let mut test = TestDeployment::new();
    test.servers[1].clients = vec![
        client(1, 50, 0, "exec", "redis-py"),
        client(2, 50, 0, "eval", "jedis"),
        client(3, 50, 0, "eval_ro", "lettuce"),
        client(4, 50, 0, "evalsha", "ioredis"),
    ];
    test.rounds(3, |servers| {
        servers[1].refuse("hset", 2);
        // The transaction fails with its command. A script that declares writes is rejected.
        servers[1].commands.entry("exec").or_default().1 += 1;
        servers[1].commands.entry("eval").or_default().0 += 1;
    });
    let misrouted = test.at(1).expect("clients that write");
    assert_eq!(*misrouted.commands, ["hset".into(), "eval".into(), "exec".into()]);
    let writers = misrouted.writers.as_ref().expect("listed");
    assert_eq!(
        *writers.libraries,
        [("jedis".into(), 1), ("redis-py".into(), 1)],
        "no script of other clients failed"
    );
}

#[test]
fn a_writer_is_known_until_it_disconnects() {
    let mut test = TestDeployment::new();
    test.servers[1].clients =
        vec![client(1, 500, 0, "set", "redis-py"), client(2, 500, 0, "get", "jedis")];
    test.rounds(3, |servers| servers[1].refuse("set", 1));
    test.servers[1].clients =
        vec![client(1, 530, 0, "get", "redis-py"), client(2, 530, 0, "get", "jedis")];
    test.rounds(31, |servers| servers[1].refuse("set", 1));
    let libraries = |test: &TestDeployment| {
        test.at(1)
            .and_then(|misrouted| misrouted.writers.clone())
            .expect("listed")
            .libraries
            .clone()
    };
    assert_eq!((test.servers[1].listed, libraries(&test)), (2, vec![("redis-py".into(), 1)]));
    test.servers[1].clients.remove(0);
    test.rounds(31, |servers| servers[1].refuse("set", 1));
    assert_eq!((test.servers[1].listed, libraries(&test)), (3, vec![]));
}

#[test]
fn without_an_error_table_rejected_writes_count() {
    let mut test = TestDeployment::new();
    test.servers[1].readonly = None;
    test.rounds(3, |_| {});
    assert!(test.at(1).is_none(), "a missing table is no refusal");
    test.rounds(3, |servers| servers[1].refuse("get", 1));
    assert!(test.at(1).is_none(), "rejected reads do not count");
    test.rounds(3, |servers| servers[1].refuse("set", 2));
    let misrouted = test.at(1).expect("clients that write");
    assert!((misrouted.per_second - 2.0).abs() < 0.01, "{}", misrouted.per_second);
}

#[test]
fn without_any_counter_nothing_is_detected() {
    let mut test = TestDeployment::new();
    (test.servers[1].readonly, test.servers[1].counts_refusals) = (None, false);
    test.rounds(80, |servers| servers[1].refuse("set", 2));
    assert!(test.at(1).is_none() && test.servers[1].listed == 0);
}

#[test]
fn the_number_of_names_is_bounded() {
    let mut test = TestDeployment::new();
    test.servers[1].clients =
        (0..400).map(|id| client(id, 50, 0, "set", &format!("lib{}", id % 40))).collect();
    test.servers[1].clients.push(client(400, 50, 0, "set", "other"));
    test.rounds(3, |servers| servers[1].refuse("set", 2));
    let writers = test.at(1).and_then(|misrouted| misrouted.writers.clone()).expect("listed");
    assert_eq!(
        (writers.total, writers.libraries.len(), writers.versions.len(), writers.busiest.len()),
        (401, 17, 16, 5)
    );
    assert_eq!(writers.libraries.iter().map(|(_, count)| count).sum::<usize>(), 401);
    assert_eq!(writers.libraries.last(), Some(&("other".into(), 241)));
}

#[test]
fn a_missing_library_name_is_unknown() {
    let mut test = TestDeployment::new();
    let line = "id=1 addr=10.0.0.1:5000 name= age=9 idle=0 flags=N cmd=set user=default";
    test.servers[1].clients = vec![line.to_owned(), client(2, 9, 0, "set", "")];
    test.rounds(3, |servers| servers[1].refuse("set", 2));
    let writers = test.at(1).and_then(|misrouted| misrouted.writers.clone()).expect("listed");
    assert_eq!(
        (&*writers.libraries, &*writers.busiest[0]),
        (&[("unknown".into(), 2)][..], "10.0.0.1:5000")
    );
}

#[test]
fn a_restart_resets_the_known_clients() {
    let mut test = TestDeployment::new();
    test.servers[1].clients = vec![client(1, 500, 0, "set", "redis-py")];
    test.rounds(3, |servers| servers[1].refuse("set", 2));
    assert!(test.at(1).is_some());
    test.now += SECOND;
    let outcomes = vec![
        test.servers[0].poll(false),
        PollOutcome::Failed(Reason::Refused),
        test.servers[2].poll(false),
    ];
    test.observe(outcomes);
    assert!(test.at(1).is_none());
    let restarted = Server {
        uptime: 0,
        clients: vec![client(1, 1, 0, "get", "jedis")],
        ..Server::new("b2", Some(1))
    };
    test.servers[1] = restarted;
    test.rounds(1, |_| {});
    assert_eq!(
        test.at(1).and_then(|misrouted| misrouted.writers.clone()),
        None,
        "the new process has other clients"
    );
}
