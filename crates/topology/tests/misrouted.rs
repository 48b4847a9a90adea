//! Clients that write to a replica: why, with which commands, and who they are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{Client, CommandStats, NodeSnapshot, Reason};
use topology::limits::{CLIENTS_LISTED_AT_MOST, CLIENTS_LISTED_EVERY};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, Finding, FindingKind,
    MisrouteReason, MisroutedView, NodeReply, PollOutcome, ReadRequest, Round, Value,
};

const SECOND: Duration = Duration::from_secs(1);

/// A server that counts as real ones do.
#[derive(Clone)]
struct Server {
    name: &'static str,
    follows: Option<u16>,
    /// The history that it has, as a letter.
    history: char,
    uptime: u64,
    /// `None` where the server threw its error table away, or has none.
    readonly: Option<u64>,
    /// Calls rejected, and failed, by command.
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

    /// A client writes.
    fn refuse(&mut self, command: &'static str, times: u64) {
        self.readonly = self.readonly.map(|readonly| readonly + times);
        self.commands.entry(command).or_default().0 += times;
    }

    fn answer(&mut self, lists: bool) -> PollOutcome {
        let role = match self.follows {
            Some(port) => format!(
                "role:slave\nmaster_host:h\nmaster_port:{port}\nmaster_link_status:up\nslave_read_only:1\n"
            ),
            None => "role:master\n".to_owned(),
        };
        let history = self.history.to_string().repeat(40);
        let mut info = format!(
            "run_id:{}\nuptime_in_seconds:{}\nloading:0\n{role}master_replid:{history}\nmaster_repl_offset:1\nconnected_clients:{}\n",
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

/// A line of CLIENT LIST.
fn client(id: u64, age: u64, idle: u64, command: &str, library: &str) -> String {
    format!(
        "id={id} addr=10.0.0.{id}:5000 name=app{id} age={age} idle={idle} flags=N cmd={command} user=default lib-name={library} lib-ver=1.0"
    )
}

/// Servers at ports 1, 2, 3 of one host, the first of them primary, and who watches them.
struct Scene {
    servers: Vec<Server>,
    fold: DeploymentTracker,
    elapsed: Duration,
    wanted: Vec<ReadRequest>,
    view: Arc<DeploymentView>,
}

impl Scene {
    fn new() -> Self {
        let mut deployment =
            Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        for port in 1..=3 {
            deployment.add(format!("n{port}"), format!("h:{port}"), None);
        }
        let servers =
            vec![Server::new("a", None), Server::new("b", Some(1)), Server::new("c", Some(1))];
        let fold = DeploymentTracker::new(Arc::new(deployment));
        let mut scene =
            Scene { servers, view: fold.view(), fold, elapsed: Duration::ZERO, wanted: Vec::new() };
        scene.rounds(2, |_| {});
        scene
    }

    fn round(&mut self) {
        self.elapsed += SECOND;
        let wanted = std::mem::take(&mut self.wanted);
        let answer = |(index, server): (usize, &mut Server)| {
            server.answer(wanted.contains(&ReadRequest::ClientList(index)))
        };
        let outcomes = self.servers.iter_mut().enumerate().map(answer).collect();
        self.take(outcomes);
    }

    fn take(&mut self, outcomes: Vec<PollOutcome>) {
        let step = self.fold.observe(&Round::new(
            SystemTime::UNIX_EPOCH + self.elapsed,
            self.elapsed,
            outcomes,
        ));
        (self.view, self.wanted) = (step.view, step.wanted);
    }

    /// That many rounds, with what happens before each.
    fn rounds(&mut self, count: usize, mut happens: impl FnMut(&mut [Server])) {
        for _ in 0..count {
            happens(&mut self.servers);
            self.round();
        }
    }

    /// The primary becomes a replica of the second node.
    fn swap(&mut self) {
        (self.servers[0].follows, self.servers[1].follows, self.servers[2].follows) =
            (Some(2), None, Some(2));
    }

    fn at(&self, index: usize) -> Option<&MisroutedView> {
        self.view.nodes[index].misrouted.as_deref()
    }

    fn finding(&self, kind: FindingKind) -> Option<&Finding> {
        self.view.findings.iter().find(|finding| finding.kind == kind)
    }

    fn evidence(&self, kind: FindingKind, name: &str) -> Option<Value> {
        self.finding(kind)?
            .evidence
            .values()
            .into_iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

const HIT: FindingKind = FindingKind::RedisWritesHitReplica;
const STALE: FindingKind = FindingKind::RedisStaleClients;

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| (*item).to_owned()).collect())
}

#[test]
fn a_client_of_a_replica_is_told_by_library_and_a_reader_is_not_blamed() {
    let mut scene = Scene::new();
    scene.servers[1].clients = vec![
        client(1, 500, 0, "set", "redis-py"),
        client(2, 500, 0, "get", "jedis"),
        client(3, 9, 0, "info", ""),
    ];
    scene.rounds(3, |servers| servers[1].refuse("set", 2));
    let misrouted = scene.at(1).expect("clients write to it");
    assert_eq!(
        (misrouted.why, &*misrouted.commands),
        (MisrouteReason::WrongEndpoint, &["set".into()][..])
    );
    assert!((misrouted.per_second - 2.0).abs() < 0.01, "{}", misrouted.per_second);
    let writers = misrouted.writers.as_ref().expect("listed");
    assert_eq!((writers.total, &*writers.libraries), (1, &[("redis-py".into(), 1)][..]));
    assert_eq!(*writers.busiest, ["app1 10.0.0.1:5000".into()]);
    assert_eq!(misrouted.stale, None, "nobody saw it demoted");
    assert!(scene.finding(HIT).is_none(), "it may pass");
    assert!(scene.at(0).is_none() && scene.at(2).is_none());

    scene.rounds(60, |servers| servers[1].refuse("set", 2));
    assert_eq!(scene.evidence(HIT, "why"), Some(Value::Text("wrong_endpoint".to_owned())));
    assert_eq!(scene.evidence(HIT, "commands"), Some(list(&["set"])));
    assert_eq!(scene.evidence(HIT, "libraries"), Some(list(&["redis-py 1.0"])));
    assert_eq!(scene.evidence(HIT, "clients"), Some(list(&["app1 10.0.0.1:5000"])));
    assert_eq!(scene.evidence(HIT, "per_second"), Some(Value::Number(2.0)));
    assert_eq!(scene.servers[1].listed, 2, "once in 30 s");
    assert_eq!(
        (scene.servers[0].listed, scene.servers[2].listed, scene.finding(STALE)),
        (0, 0, None)
    );

    scene.rounds(60, |_| {});
    assert!(scene.at(1).is_some(), "for a minute it may go on");
    scene.rounds(1, |_| {});
    assert!(scene.at(1).is_none() && scene.finding(HIT).is_none());
    assert_eq!(scene.servers[1].listed, 3, "the last one after a refusal, none since");
}

#[test]
fn healthy_nodes_are_never_asked_for_their_clients() {
    let mut scene = Scene::new();
    scene.rounds(100, |_| {});
    // Refusals of other kinds, and those of a master, are none of a replica.
    scene.rounds(5, |servers| servers[0].refuse("set", 1));
    assert!(scene.servers.iter().all(|server| server.listed == 0));
}

#[test]
fn the_list_of_many_clients_is_not_asked_for() {
    let mut scene = Scene::new();
    scene.servers[1].connected = CLIENTS_LISTED_AT_MOST + 1;
    scene.rounds(70, |servers| servers[1].refuse("del", 1));
    assert_eq!(scene.servers[1].listed, 0);
    let misrouted = scene.at(1).expect("clients write to it");
    assert_eq!(
        (misrouted.writers.clone(), misrouted.too_many),
        (None, Some(CLIENTS_LISTED_AT_MOST + 1))
    );
    assert_eq!(scene.evidence(HIT, "connected_clients"), Some(Value::Number(1001.0)));
    assert_eq!(scene.evidence(HIT, "clients"), None);

    scene.servers[1].connected = CLIENTS_LISTED_AT_MOST;
    scene.rounds(2, |servers| servers[1].refuse("del", 1));
    assert_eq!(scene.servers[1].listed, 1);
}

#[test]
fn a_list_is_asked_for_once_in_a_while_and_again_while_it_is_refused() {
    let mut scene = Scene::new();
    scene.rounds(2, |servers| servers[1].refuse("set", 1));
    assert_eq!(scene.servers[1].listed, 1);
    for _ in 1..CLIENTS_LISTED_EVERY.as_secs() {
        scene.servers[1].refuse("set", 1);
        scene.round();
        assert_eq!(scene.servers[1].listed, 1);
    }
    scene.rounds(2, |servers| servers[1].refuse("set", 1));
    assert_eq!(scene.servers[1].listed, 2);
}

#[test]
fn clients_left_on_a_demoted_primary_are_stale() {
    let mut scene = Scene::new();
    scene.rounds(10, |_| {});
    scene.swap();
    scene.servers[0].clients = vec![
        client(1, 500, 0, "set", "redis-py"),
        client(2, 500, 300, "get", "redis-py"),
        client(3, 1, 0, "set", "jedis"),
        // Those who only watch: a Sentinel and exporters.
        client(4, 500, 0, "ping", "").replace("name=app4", "name=sentinel-1234abcd-cmd"),
        client(5, 500, 0, "info", ""),
        client(6, 500, 0, "client|list", ""),
        client(7, 500, 0, "monitor", "").replace("flags=N", "flags=O"),
        // It wrote while it was right to, and did nothing since.
        client(8, 500, 100, "set", "lettuce"),
    ];
    scene.rounds(4, |servers| servers[0].refuse("set", 3));
    let misrouted = scene.at(0).expect("clients write to it");
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
    assert_eq!(of(&misrouted.stale), [("redis-py".to_owned(), 2), ("lettuce".to_owned(), 1)]);
    assert!(
        scene.finding(STALE).is_none() && scene.finding(HIT).is_none(),
        "after a failover clients may need a while"
    );

    scene.rounds(59, |servers| servers[0].refuse("set", 3));
    assert_eq!(scene.evidence(STALE, "stale_clients"), Some(Value::Number(3.0)));
    assert_eq!(scene.evidence(STALE, "demoted_seconds_ago"), Some(Value::Number(62.0)));
    assert_eq!(scene.evidence(HIT, "why"), Some(Value::Text("demotion".to_owned())));

    // It is master again, and takes writes.
    (scene.servers[0].follows, scene.servers[1].follows) = (None, Some(1));
    scene.round();
    assert!(
        scene.at(0).is_none() && scene.finding(STALE).is_none() && scene.finding(HIT).is_none()
    );
}

#[test]
fn clients_that_look_for_the_primary_where_it_is_not_decay() {
    let mut scene = Scene::new();
    scene.rounds(10, |_| {});
    scene.swap();
    scene.rounds(60, |servers| servers[2].refuse("incr", 10));
    assert_eq!(scene.at(2).expect("clients").why, MisrouteReason::StaleTopology);
    scene.rounds(80, |servers| servers[2].refuse("incr", 1));
    assert_eq!(scene.at(2).expect("clients").why, MisrouteReason::StaleTopology, "it became less");
    // Not so where it goes on as it began.
    scene.rounds(60, |servers| servers[2].refuse("incr", 20));
    assert_eq!(scene.at(2).expect("clients").why, MisrouteReason::WrongEndpoint);
}

#[test]
fn with_two_masters_nothing_says_why() {
    let mut scene = Scene::new();
    scene.servers[2].follows = None;
    scene.rounds(65, |_| {});
    scene.rounds(65, |servers| servers[1].refuse("set", 1));
    assert_eq!(scene.evidence(HIT, "why"), Some(Value::Text("unknown".to_owned())));
}

#[test]
fn transactions_and_scripts_are_told_by_what_carries_them() {
    let mut scene = Scene::new();
    scene.servers[1].clients = vec![
        client(1, 50, 0, "exec", "redis-py"),
        client(2, 50, 0, "eval", "jedis"),
        client(3, 50, 0, "eval_ro", "lettuce"),
        client(4, 50, 0, "evalsha", "ioredis"),
    ];
    scene.rounds(3, |servers| {
        servers[1].refuse("hset", 2);
        // The transaction fails with what it was to run; a script that says that it writes is rejected itself.
        servers[1].commands.entry("exec").or_default().1 += 1;
        servers[1].commands.entry("eval").or_default().0 += 1;
    });
    let misrouted = scene.at(1).expect("clients write to it");
    assert_eq!(*misrouted.commands, ["hset".into(), "eval".into(), "exec".into()]);
    let writers = misrouted.writers.as_ref().expect("listed");
    assert_eq!(
        *writers.libraries,
        [("jedis".into(), 1), ("redis-py".into(), 1)],
        "no script of others failed"
    );
}

#[test]
fn who_wrote_once_is_known_until_it_leaves() {
    let mut scene = Scene::new();
    scene.servers[1].clients =
        vec![client(1, 500, 0, "set", "redis-py"), client(2, 500, 0, "get", "jedis")];
    scene.rounds(3, |servers| servers[1].refuse("set", 1));
    scene.servers[1].clients =
        vec![client(1, 530, 0, "get", "redis-py"), client(2, 530, 0, "get", "jedis")];
    scene.rounds(31, |servers| servers[1].refuse("set", 1));
    let libraries = |scene: &Scene| {
        scene
            .at(1)
            .and_then(|misrouted| misrouted.writers.clone())
            .expect("listed")
            .libraries
            .clone()
    };
    assert_eq!((scene.servers[1].listed, libraries(&scene)), (2, vec![("redis-py".into(), 1)]));
    scene.servers[1].clients.remove(0);
    scene.rounds(31, |servers| servers[1].refuse("set", 1));
    assert_eq!((scene.servers[1].listed, libraries(&scene)), (3, vec![]));
}

#[test]
fn without_an_error_table_the_refusals_of_writes_tell() {
    let mut scene = Scene::new();
    scene.servers[1].readonly = None;
    scene.rounds(3, |_| {});
    assert!(scene.at(1).is_none(), "a table that is gone is no refusal");
    scene.rounds(3, |servers| servers[1].refuse("get", 1));
    assert!(scene.at(1).is_none(), "reads are refused for other reasons");
    scene.rounds(3, |servers| servers[1].refuse("set", 2));
    let misrouted = scene.at(1).expect("clients write to it");
    assert!((misrouted.per_second - 2.0).abs() < 0.01, "{}", misrouted.per_second);
}

#[test]
fn servers_that_count_no_refusals_tell_nothing() {
    let mut scene = Scene::new();
    (scene.servers[1].readonly, scene.servers[1].counts_refusals) = (None, false);
    scene.rounds(80, |servers| servers[1].refuse("set", 2));
    assert!(scene.at(1).is_none() && scene.servers[1].listed == 0);
}

#[test]
fn there_are_never_more_names_than_stated() {
    let mut scene = Scene::new();
    scene.servers[1].clients =
        (0..400).map(|id| client(id, 50, 0, "set", &format!("lib{}", id % 40))).collect();
    scene.servers[1].clients.push(client(400, 50, 0, "set", "other"));
    scene.rounds(3, |servers| servers[1].refuse("set", 2));
    let writers = scene.at(1).and_then(|misrouted| misrouted.writers.clone()).expect("listed");
    assert_eq!(
        (writers.total, writers.libraries.len(), writers.versions.len(), writers.busiest.len()),
        (401, 17, 16, 5)
    );
    assert_eq!(writers.libraries.iter().map(|(_, count)| count).sum::<usize>(), 401);
    assert_eq!(writers.libraries.last(), Some(&("other".into(), 241)));
}

#[test]
fn a_library_that_is_not_said_is_unknown() {
    let mut scene = Scene::new();
    let line = "id=1 addr=10.0.0.1:5000 name= age=9 idle=0 flags=N cmd=set user=default";
    scene.servers[1].clients = vec![line.to_owned(), client(2, 9, 0, "set", "")];
    scene.rounds(3, |servers| servers[1].refuse("set", 2));
    let writers = scene.at(1).and_then(|misrouted| misrouted.writers.clone()).expect("listed");
    assert_eq!(
        (&*writers.libraries, &*writers.busiest[0]),
        (&[("unknown".into(), 2)][..], "10.0.0.1:5000")
    );
}

#[test]
fn a_node_that_is_down_says_nothing_and_a_new_process_knows_other_clients() {
    let mut scene = Scene::new();
    scene.servers[1].clients = vec![client(1, 500, 0, "set", "redis-py")];
    scene.rounds(3, |servers| servers[1].refuse("set", 2));
    assert!(scene.at(1).is_some());
    scene.elapsed += SECOND;
    let outcomes = vec![
        scene.servers[0].answer(false),
        PollOutcome::Failed(Reason::Refused),
        scene.servers[2].answer(false),
    ];
    scene.take(outcomes);
    assert!(scene.at(1).is_none());
    let restarted = Server {
        uptime: 0,
        clients: vec![client(1, 1, 0, "get", "jedis")],
        ..Server::new("b2", Some(1))
    };
    scene.servers[1] = restarted;
    scene.rounds(1, |_| {});
    assert_eq!(
        scene.at(1).and_then(|misrouted| misrouted.writers.clone()),
        None,
        "its clients are others"
    );
}
