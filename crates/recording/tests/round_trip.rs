//! Property: random rounds of recorded replies give the same results after they were written and
//! read. [`RecordedTracker`] compares the results of each round.

#[path = "../../topology/tests/recorded/mod.rs"]
mod recorded;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use recorded::RecordedTracker;
use snapshot::{
    Client, ClusterMap, CommandLatency, CommandStats, Config, Fields, MasterReport, NodeSnapshot,
    Quorum, Reason, Reply, SentinelEntry, SentinelReport, SlowLog,
};
use topology::{
    AofExpectation, Deployment, DeploymentKind, Discovery, DiskSpace, EndpointCheckResult,
    EndpointKind, EndpointServer, FailedContact, Monotonic, NodeIndex, NodeNameTemplate, NodeReply,
    PollOutcome, ResolvedName, Round, SavedState, SentinelMessage, ServiceEndpoint, SharedNode,
};

const SECOND: Duration = Duration::from_secs(1);

/// Captured replies of all versions.
struct Captures {
    /// Replies to INFO.
    infos: Vec<String>,
    /// Replies to CLUSTER NODES.
    maps: Vec<String>,
    /// Replies to CLIENT LIST.
    clients: Vec<String>,
    /// Entries of SENTINEL MASTERS, REPLICAS and SENTINELS.
    entries: Vec<SentinelEntry>,
}

static CAPTURES: LazyLock<Captures> = LazyLock::new(|| {
    let mut captures =
        Captures { infos: Vec::new(), maps: Vec::new(), clients: Vec::new(), entries: Vec::new() };
    for path in files() {
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
        if path.to_string_lossy().contains(".info-") {
            captures.infos.extend(NodeSnapshot::from_info(&text).map(|_| text.clone()));
        }
        for exchange in text.split(">>> ").skip(1) {
            let (command, reply) = exchange.split_once('\n').unwrap_or_default();
            match command.trim_end() {
                "CLUSTER NODES" => captures.maps.push(reply.to_owned()),
                "CLIENT LIST" => captures.clients.push(reply.to_owned()),
                command if command.starts_with("SENTINEL ") => {
                    captures.entries.extend(entry(reply));
                }
                _ => {}
            }
        }
    }
    captures
});

/// Returns the files with captured replies, in a fixed order.
fn files() -> Vec<PathBuf> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/captures");
    let servers = std::fs::read_dir(captures).expect("captures");
    let servers = servers.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    let files = servers.flat_map(|server| std::fs::read_dir(server).expect("a directory"));
    let mut files: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

/// Returns the first entry of a reply in the Redis protocol that has one.
fn entry(reply: &str) -> Option<SentinelEntry> {
    let lines: Vec<_> = reply.lines().map(|line| line.trim_end_matches('\r')).collect();
    let begin = lines.iter().position(|line| line.starts_with('$'))?;
    let words = lines[begin..].chunks_exact(2).take_while(|bulk| bulk[0].starts_with('$'));
    let words: Vec<_> = words.map(|bulk| bulk[1]).collect();
    SentinelEntry::from_pairs(words.chunks_exact(2).map(|pair| (pair[0], pair[1])))
}

fn capture(captured: &'static [String]) -> impl Strategy<Value = &'static str> {
    any::<Index>().prop_map(|index| index.get(captured).as_str())
}

fn entries() -> impl Strategy<Value = SentinelEntry> {
    any::<Index>().prop_map(|index| index.get(&CAPTURES.entries).clone())
}

fn report() -> impl Strategy<Value = SentinelReport> {
    let list = || prop::option::of(prop::collection::vec(entries(), 0..3));
    let name = select(vec!["mymaster", "other"]);
    let quorum = prop::option::of((any::<bool>(), prop::option::of(0..9_u64)));
    (name, entries(), list(), list(), quorum, 0..9_000_000_000_u64).prop_map(
        |(name, master, replicas, sentinels, quorum, age)| {
            SentinelReport::new(vec![MasterReport {
                master: SentinelEntry { name: name.into(), ..master },
                replicas: replicas.map(Into::into),
                sentinels: sentinels.map(Into::into),
                quorum: quorum.map(|(ok, usable)| Quorum { ok, usable }),
                lists_age: Duration::from_nanos(age),
            }])
        },
    )
}

/// Generates snapshots of captured replies. Errors, modules and fields change from one to the next.
fn snapshots() -> impl Strategy<Value = NodeSnapshot> {
    let parts = (
        prop::option::of(capture(&CAPTURES.infos)),
        prop::option::of(capture(&CAPTURES.infos)),
        prop::option::of(capture(&CAPTURES.maps)),
        prop::option::of(report()),
        prop::option::of((prop::option::of(0..9_u64), prop::option::of((0..9_u64, 0..9_u64)))),
        prop::option::of(prop::collection::btree_map(
            select(vec!["maxmemory", "dir", "replica-announce-ip", "appendfsync"]),
            "[a-z0-9 ]{0,9}",
            0..4,
        )),
        prop::collection::vec("(module:name=[ab],ver=[12]|weird:[\"\\\\é\u{7}]|a:b:c|x:)", 0..4),
    );
    (capture(&CAPTURES.infos), parts).prop_map(
        |(info, (commands, latencies, map, report, slow_log, config, more))| {
            let text = format!("{info}\n{}\n", more.join("\n"));
            let config = config.map(|values| {
                let words = values.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
                let mut config = Config::default();
                config.add(&Reply::Array(words.map(|word| Reply::Text(word.into())).collect()));
                Arc::new(config)
            });
            NodeSnapshot {
                commands: commands.map(|text| Arc::new(CommandStats::parse(text))),
                latencies: latencies.map(|text| Arc::new(CommandLatency::parse(text))),
                cluster: map.map(|_| Arc::new(Fields::parse("cluster_state:ok\r\nx:1\r\n"))),
                map: map.map(|text| Arc::new(ClusterMap::parse(text))),
                sentinel: report.map(Arc::new),
                slowlog: slow_log.map(|(length, last)| SlowLog {
                    length,
                    last: last.map(|(id, nanos)| (id, Duration::from_nanos(nanos))),
                }),
                config,
                ..NodeSnapshot::from_info(&text).expect("a reply to INFO")
            }
        },
    )
}

fn reasons() -> impl Strategy<Value = Reason> {
    select(Reason::ALL.to_vec())
}

fn nanos() -> impl Strategy<Value = Duration> {
    (0..10_000_000_000_u64).prop_map(Duration::from_nanos)
}

fn replies() -> impl Strategy<Value = NodeReply> {
    let counts = prop::collection::btree_map("[A-Z]{1,3}".prop_map(Box::from), 0..9_u64, 0..2);
    let clients = prop::option::weighted(0.3, capture(&CAPTURES.clients));
    let peer = prop::option::of(select(vec!["10.0.0.1:6379", "[::1]:6380"]));
    (
        snapshots(),
        (nanos(), nanos(), prop::option::of(nanos()), prop::option::of(nanos())),
        peer,
        counts,
        any::<bool>(),
        clients,
    )
        .prop_map(|(snapshot, times, peer, own_errors, commands_read, clients)| {
            let (at, duration, requested, expiry) = times;
            NodeReply {
                requested: requested.map(Monotonic::from_start),
                certificate_expiry: expiry,
                peer: peer.map(|peer| peer.parse().expect("an address")),
                own_errors,
                commands_read,
                clients: clients.map(|list| Client::parse_list(list).into()),
                ..NodeReply::new(snapshot, duration, SystemTime::UNIX_EPOCH + at)
            }
        })
}

fn outcomes() -> impl Strategy<Value = PollOutcome> {
    prop_oneof![
        1 => Just(PollOutcome::Pending),
        1 => reasons().prop_map(PollOutcome::Missed),
        1 => reasons().prop_map(PollOutcome::Failed),
        5 => replies().prop_map(PollOutcome::Answered),
    ]
}

fn checks() -> impl Strategy<Value = EndpointCheckResult> {
    let server = (prop::option::of("[a-f]{4}"), prop::option::of("[a-f]{40}"));
    let outcome = prop_oneof![
        reasons().prop_map(Err),
        server.prop_map(|(run_id, replid)| Ok(EndpointServer {
            run_id: run_id.map(Box::from),
            role: Some(snapshot::Role::Replica),
            replid: replid.map(Box::from),
        })),
    ];
    let kind = select(vec![EndpointKind::Primary, EndpointKind::Reader]);
    (kind, nanos(), outcome).prop_map(|(endpoint, started, outcome)| EndpointCheckResult {
        endpoint,
        started: Monotonic::from_start(started),
        ended: Monotonic::from_start(started + SECOND),
        interval: SECOND * 10,
        outcome,
    })
}

fn resolved() -> impl Strategy<Value = ResolvedName> {
    let addresses = prop::option::of(prop::collection::vec("10\\.0\\.0\\.[1-5]", 0..4));
    (addresses, 0..9_u64, 0..9_u64).prop_map(|(addresses, lookups, failures)| ResolvedName {
        host: "redis.svc".to_owned(),
        port: 6379,
        addresses: addresses.map(Into::into),
        excess: 0,
        lookups,
        failures,
    })
}

/// Generates rounds. Each has more outcomes than needed.
fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let details = prop::collection::vec(
        prop::option::of("[a-z \"\n]{0,9}".prop_map(|text| Arc::from(text.as_str()))),
        0..4,
    );
    let contacts = prop::collection::vec(
        prop::option::of((nanos(), 0..5_u32).prop_map(|(since, refused)| FailedContact {
            since: Monotonic::from_start(since),
            refused,
        })),
        0..4,
    );
    let disks = prop::collection::vec(
        prop::option::of(
            (0..9_u64, prop::option::of(0..9_u64))
                .prop_map(|(free_bytes, free_inodes)| DiskSpace { free_bytes, free_inodes }),
        ),
        0..4,
    );
    let names = prop::collection::btree_map("10\\.0\\.0\\.[1-3]", prop::option::of("[a-z]"), 0..3);
    let messages = prop::collection::vec(
        ("s[12]", "[+-](sdown|switch-master)", "[a-z ]{0,9}").prop_map(
            |(sentinel, channel, payload)| SentinelMessage {
                at: SystemTime::UNIX_EPOCH,
                sentinel,
                channel,
                payload,
            },
        ),
        0..3,
    );
    let round = (
        prop::collection::vec(outcomes(), 12),
        (nanos(), 0..3_u64, any::<bool>(), prop::option::of(nanos())),
        (details, contacts, disks),
        messages,
        prop::collection::vec(checks(), 0..2),
        (names, prop::collection::vec(resolved(), 0..2), prop::collection::vec(shared(), 0..2)),
    );
    prop::collection::vec(round, 1..5).prop_map(|rounds| {
        let mut now = Monotonic::START;
        let mut last: BTreeMap<usize, PollOutcome> = BTreeMap::new();
        let rounds = rounds.into_iter().map(|(outcomes, times, nodes, messages, checks, names)| {
            now += SECOND + times.0;
            let at =
                SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + now.since_start();
            // Some nodes reply the same again.
            let outcomes = outcomes.into_iter().enumerate().map(|(position, outcome)| {
                let outcome = match (outcome, last.get(&position)) {
                    (PollOutcome::Pending, Some(before)) => before.clone(),
                    (outcome, _) => outcome,
                };
                last.insert(position, outcome.clone());
                outcome
            });
            Round {
                duration: times.0,
                missed: times.1,
                blind: times.2,
                cut_off_for: times.3,
                details: nodes.0.into(),
                contacts: nodes.1.into(),
                messages,
                checks,
                host_names: Arc::new(names.0),
                disks: nodes.2.into(),
                resolved: names.1.into(),
                shared: names.2,
                ..Round::new(at, now, outcomes.collect())
            }
        });
        rounds.collect()
    })
}

fn shared() -> impl Strategy<Value = SharedNode> {
    (0..3_usize, "[ab]", any::<bool>()).prop_map(|(node, deployment, follows_there)| SharedNode {
        node: NodeIndex::new(node),
        deployment,
        follows_there,
    })
}

fn deployment(kind: DeploymentKind) -> Deployment {
    let labels = [("team".to_owned(), "a".to_owned()), ("env".to_owned(), "é\"".to_owned())];
    let mut deployment = Deployment::new("orders", kind, &labels, SECOND, SECOND * 3);
    if kind == DeploymentKind::Sentinel {
        deployment.add_sentinel("s1", "10.0.0.9:26379", true);
        deployment.add_sentinel("s2", "10.0.0.8:26379", false);
    } else {
        deployment.add("a", "127.0.0.1:17200", Some(snapshot::Role::Master));
        deployment.add("b", "127.0.0.1:17201", None);
        assert!(deployment.alias("a:17200", "127.0.0.1:17200"));
    }
    deployment.expect.replicas = Some(1);
    deployment.expect.aof = Some(AofExpectation::Replicas);
    deployment.expect.until = Some(SystemTime::UNIX_EPOCH + SECOND * 1_800_000_000);
    let primary = EndpointKind::Primary;
    deployment.endpoints =
        vec![ServiceEndpoint { kind: primary, address: "redis.svc:6379".to_owned() }];
    deployment.discovery = (kind != DeploymentKind::Static).then(|| Discovery {
        master: "mymaster".to_owned(),
        names: NodeNameTemplate::new("{host}-{port}").expect("a template"),
        address_map: [("10.1.1.1:1".to_owned(), "127.0.0.1:2".to_owned())].into(),
        ghost_after: SECOND * 600,
        forget_after: SECOND * 60,
    });
    deployment
}

/// Runs the rounds, with the outcomes of the nodes that are members then.
fn run(mut tracker: RecordedTracker, rounds: &[Round]) -> RecordedTracker {
    for round in rounds {
        let members = tracker.view().nodes.len();
        let outcomes = round.outcomes.values().cycle().take(members).cloned().collect();
        tracker.observe(&Round {
            outcomes,
            details: round.details.values().take(members).cloned().collect(),
            contacts: round.contacts.values().take(members).copied().collect(),
            disks: round.disks.values().take(members).copied().collect(),
            ..round.clone()
        });
    }
    tracker
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_recording_of_random_rounds_gives_the_same_results(
        rounds in rounds(),
        kind in select(vec![
            DeploymentKind::Static,
            DeploymentKind::Sentinel,
            DeploymentKind::Cluster,
            DeploymentKind::Dns,
        ]),
        restarts in any::<bool>(),
    ) {
        let deployment = Arc::new(deployment(kind));
        let tracker = run(RecordedTracker::new(Arc::clone(&deployment), None), &rounds);
        if restarts {
            let saved: SavedState = tracker.saved_state();
            run(RecordedTracker::new(deployment, Some((saved, SECOND))), &rounds);
        }
    }
}

#[test]
fn there_are_captures_of_all_kinds() {
    let Captures { infos, maps, clients, entries } = &*CAPTURES;
    let counts = [infos.len(), maps.len(), clients.len(), entries.len()];
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}
