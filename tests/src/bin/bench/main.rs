//! Benchmark of the cost of monitoring. Compares Rolecall with redis_exporter 1.45.0 and with a
//! poller of bare sockets, on the same servers in one run. Started by `tests/bench.sh`.
//!
//! `bench fleets` measures only fleets of fake servers, `bench quick` only the small ones of them,
//! `bench fold` only the evaluation of rounds, `bench pages` only the web pages.

#![expect(clippy::print_stdout, reason = "it prints a table")]

mod fleets;
mod measure;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use procfs::{CurrentSI, KernelStats};
use snapshot::{ClusterMap, Fields, NodeSnapshot};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, Discovery, NodeNameTemplate, NodeReply,
    PollOutcome, ReadRequest, Round,
};

use tests::{Daemon, Redis, RedisExporter, Stopwatch, eventually, pause, resident_kilobytes};

use crate::measure::{cpu_seconds, median_scrape};

/// Number of servers. With more nodes than servers, several nodes share a server.
const SERVERS: usize = 10;

const SECOND: Duration = Duration::from_secs(1);

/// Number of loads of each page.
const LOADS: u32 = 100;

/// Duration of each measurement.
const MEASURE_TIME: Duration = Duration::from_secs(20);

/// Commands that each server runs once, so that INFO commandstats has a realistic length.
const WARM_UP_COMMANDS: [&str; 50] = [
    "SET a 1",
    "GET a",
    "DEL b",
    "EXISTS a",
    "EXPIRE a 1000",
    "TTL a",
    "TYPE a",
    "INCR n",
    "DECR n",
    "APPEND s x",
    "STRLEN s",
    "MSET c 1 d 2",
    "MGET c d",
    "SETEX e 100 v",
    "GETSET c 3",
    "LPUSH l 1",
    "RPUSH l 2",
    "LPOP l",
    "LRANGE l 0 -1",
    "LLEN l",
    "SADD t 1",
    "SMEMBERS t",
    "SCARD t",
    "SREM t 1",
    "ZADD z 1 a",
    "ZRANGE z 0 -1",
    "ZSCORE z a",
    "ZCARD z",
    "HSET h f v",
    "HGET h f",
    "HGETALL h",
    "HDEL h f",
    "HLEN h",
    "PFADD p 1",
    "PFCOUNT p",
    "XADD x * f v",
    "XLEN x",
    "PUBLISH ch m",
    "DBSIZE",
    "ECHO x",
    "PING",
    "TIME",
    "ROLE",
    "SCAN 0",
    "RANDOMKEY",
    "OBJECT HELP",
    "CLIENT ID",
    "EVAL return 0",
    "SLOWLOG LEN",
    "BITCOUNT s",
];

fn main() -> ExitCode {
    let hold = match std::env::args().nth(1).as_deref() {
        Some("fold") => {
            evaluation();
            true
        }
        Some("pages") => {
            pages();
            true
        }
        Some("quick") => fleets::measure(true),
        Some("fleets") => fleets::measure(false),
        _ => {
            real_servers();
            fleets::measure(false)
        }
    };
    // Without this, a limit that is exceeded would go unnoticed.
    if hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares the cost with that of redis_exporter on real servers, and measures pages.
fn real_servers() {
    let servers: Vec<_> = (0..SERVERS).map(|_| Redis::start(&["--appendonly", "yes"])).collect();
    for server in &servers {
        for command in WARM_UP_COMMANDS {
            server.cli(&command.split(' ').collect::<Vec<_>>());
        }
    }
    let version = Command::new("redis-server")
        .arg("--version")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    println!("{}", version.unwrap_or_default().split(" sha").next().unwrap_or_default());
    println!(
        "| | nodes | CPU per node and round, us | server time per round, us | resident, MB | \
         /metrics gzip, ms | plain, ms | series | plain, MB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for nodes in [1, 100, 1000] {
        println!("{}", rolecall(&servers, nodes));
        println!("{}", bare_sockets(&servers, nodes));
    }
    println!("{}", redis_exporter(&servers[0]));
    evaluation();
    drop(servers);
    pages();
}

/// Measures the time to load pages while 1,000 nodes are polled: in one deployment, in many
/// deployments, and with a part of the nodes down.
fn pages() {
    println!(
        "\n| pages of 1,000 nodes, gzip | median of {LOADS}, ms | maximum, ms | kB | plain, kB | \
         steal time, ms |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let primary = Redis::start(&[]);
    let mut replicas: Vec<_> = (1..SERVERS).map(|_| primary.replica()).collect();
    let node = |number: usize, primary: &Redis, replicas: &[Redis]| {
        let server = if number == 0 { primary } else { &replicas[number % replicas.len()] };
        format!("{{ url = '{}', name = 'n{number}' }},", server.url())
    };
    let named = |name: &str, nodes: std::ops::Range<usize>| {
        let nodes: String = nodes.map(|number| node(number, &primary, &replicas)).collect();
        format!("[[deployment]]\nname = '{name}'\nnodes = [{nodes}]\n")
    };
    let one = named("bench", 0..1000);
    let many: String = (0..334).map(|number| named(&format!("d{number}"), 0..3)).collect();
    let of_one = [
        "/",
        "/deployment/bench",
        "/deployment/bench?q=n777",
        "/?q=n777",
        "/deployment/bench/node/n777",
    ];
    let of_many = ["/", "/deployment/d7", "/?q=d77"];
    for (state, stopped) in [("", 0), (", a ninth of the nodes down", 1)] {
        replicas.truncate(SERVERS - 1 - stopped);
        for (text, paths, shape) in
            [(&one, &of_one[..], "one deployment"), (&many, &of_many[..], "334 deployments")]
        {
            let daemon = Daemon::configured(text);
            let polled = |nodes: usize| daemon.samples().count("redis_up", &[]) >= nodes;
            eventually(Duration::from_secs(60), "all nodes were polled", || {
                polled(1000).then_some(())
            });
            // Wait until stopped nodes are down and every node has its full history of recent
            // rounds.
            pause(SECOND * 25);
            for path in paths {
                let before = steal_time();
                let (mut times, compressed, plain) = (
                    (0..LOADS).map(|_| spread(|| load(daemon.port, path).0)).collect::<Vec<_>>(),
                    load(daemon.port, path).1,
                    daemon.get(path, "text/html").text.len(),
                );
                times.sort_by(f64::total_cmp);
                println!(
                    "| `{path}` of {shape}{state} | {:.1} | {:.1} | {:.1} | {:.0} | {} |",
                    times[times.len() / 2],
                    times[times.len() - 1],
                    compressed as f64 / 1e3,
                    plain as f64 / 1e3,
                    steal_time() - before
                );
            }
        }
    }
}

/// Returns the steal time of this virtual machine so far, in milliseconds: time in which the host
/// ran other guests.
fn steal_time() -> u64 {
    KernelStats::current()
        .expect("cannot read the kernel statistics")
        .total
        .steal_ms()
        .unwrap_or_default()
}

/// Loads after a pause, so that all loads together take longer than a round and hit every phase of
/// it.
fn spread<T>(load: impl Fn() -> T) -> T {
    pause(SECOND * 6 / LOADS);
    load()
}

/// Loads a page with gzip, as browsers do. Returns the milliseconds from the connection to the last
/// byte, and the size of the response in bytes.
fn load(port: u16, path: &str) -> (f64, usize) {
    let begun = Stopwatch::start();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("cannot connect");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\
         Accept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("cannot send");
    let mut response = Vec::new();
    socket.read_to_end(&mut response).expect("cannot read the response");
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let head = String::from_utf8_lossy(&response).to_lowercase();
    assert!(
        head.starts_with("http/1.1 200") && head.contains("content-encoding: gzip"),
        "{path}: {head}"
    );
    (took, response.len())
}

/// Measures the evaluation of rounds, without any server.
fn evaluation() {
    println!(
        "\n| evaluation | deployments | nodes of each | per node and round, us |\n\
         | --- | --- | --- | --- |"
    );
    for (deployments, nodes) in [(1000, 1), (333, 3), (1, 1000)] {
        println!("{}", static_evaluation(deployments, nodes));
    }
    println!(
        "\n| evaluation of a cluster | shards | nodes | \
         per node and round with parsing of requested CLUSTER NODES, us |\n\
         | --- | --- | --- | --- |"
    );
    for shards in [3, 250] {
        println!("{}", cluster_evaluation(shards));
    }
}

/// Measures a cluster of masters with one replica each. The time includes parsing CLUSTER NODES.
fn cluster_evaluation(shards: usize) -> String {
    const ROUNDS: u32 = 60;
    let nodes = shards * 2;
    let address = |number: usize| format!("10.1.{}.{}:6379", number / 250, number % 250);
    let slots =
        |shard: usize| format!("{}-{}", 16384 * shard / shards, 16384 * (shard + 1) / shards - 1);
    let id = |number: usize| format!("{number:040x}");
    let map = |of: usize| -> String {
        let line = |number: usize| {
            let myself = if number == of { "myself," } else { "" };
            let (role, master, slots) = if number < shards {
                ("master", "-".to_owned(), slots(number))
            } else {
                ("slave", id(number - shards), String::new())
            };
            format!(
                "{} {}@16379 {myself}{role} {master} 0 0 {} connected {slots}\n",
                id(number),
                address(number),
                number % shards
            )
        };
        (0..nodes).map(line).collect()
    };
    let maps: Vec<String> = (0..nodes).map(map).collect();
    let mut deployment = Deployment::new("bench", DeploymentKind::Cluster, &[], SECOND, SECOND * 3);
    deployment.add(address(0), address(0), None);
    let (master, names, address_map) =
        (String::new(), NodeNameTemplate::default(), BTreeMap::new());
    deployment.discovery = Some(Discovery {
        master,
        names,
        address_map,
        ghost_after: SECOND * 600,
        forget_after: SECOND * 300,
    });
    let mut fold = DeploymentTracker::new(Arc::new(deployment));
    let (mut wanted, mut spent) = (Vec::new(), Duration::ZERO);
    for round in 1..=ROUNDS {
        let view = fold.view();
        let snapshots = view.nodes.values().map(|node| {
            let number = (0..nodes)
                .find(|number| address(*number) == node.node.address)
                .expect("no node has this address");
            let shard = number % shards;
            let role = if number < shards {
                "role:master".to_owned()
            } else {
                format!(
                    "role:slave\nmaster_host:10.1.{}.{}\nmaster_port:6379\nmaster_link_status:up",
                    shard / 250,
                    shard % 250
                )
            };
            let info = format!(
                "run_id:{number}\nuptime_in_seconds:1000\ncluster_enabled:1\n{role}\n\
                 master_replid:{shard:040x}\nmaster_repl_offset:{round}\n"
            );
            let cluster = format!(
                "cluster_state:ok\ncluster_slots_ok:16384\ncluster_known_nodes:{nodes}\n\
                 cluster_current_epoch:{shards}\ncluster_my_epoch:{shard}\n"
            );
            let cluster = Some(Arc::new(Fields::parse(&cluster)));
            (
                number,
                NodeSnapshot { cluster, ..NodeSnapshot::from_info(&info).expect("invalid INFO") },
            )
        });
        let mut snapshots: Vec<_> = snapshots.collect();
        let begun = Stopwatch::start();
        for wanted in &wanted {
            if let ReadRequest::ClusterMap(place) = wanted {
                let (number, snapshot) = &mut snapshots[place.get()];
                snapshot.map = Some(Arc::new(ClusterMap::parse(&maps[*number])));
            }
        }
        let outcomes =
            snapshots.into_iter().map(|(_, snapshot)| responseed(&Arc::new(snapshot))).collect();
        let elapsed = SECOND * round;
        let step = fold.observe(&Round::new(
            SystemTime::UNIX_EPOCH + elapsed,
            topology::Monotonic::from_start(elapsed),
            outcomes,
        ));
        // Skip the first rounds, which discover the nodes.
        if round > ROUNDS / 2 {
            spent += begun.elapsed();
        }
        wanted = step.requests;
    }
    let view = fold.view();
    assert_eq!(
        (view.shards.len(), view.members().count(), view.findings.len()),
        (shards, nodes, 0)
    );
    let per = spent.as_secs_f64() * 1e6 / f64::from(ROUNDS / 2) / nodes as f64;
    format!("| Rolecall | {shards} | {nodes} | {per:.1} |")
}

fn rolecall(servers: &[Redis], nodes: usize) -> String {
    let mut text = String::from("[[deployment]]\nname = 'bench'\nnodes = [\n");
    for node in 0..nodes {
        writeln!(text, "  {{ url = '{}', name = 'n{node}' }},", servers[node % SERVERS].url())
            .expect("writing to a string cannot fail");
    }
    let daemon = Daemon::configured(&(text + "]\n"));
    let responseing =
        || daemon.samples().get("redis_deployment_nodes", &[("state", "responseing")]);
    eventually(Duration::from_secs(60), "all nodes response", || {
        (responseing() == Some(nodes as f64)).then_some(())
    });
    // Wait until the first CONFIG commands are done.
    pause(Duration::from_secs(5));
    let servers = &servers[..nodes.min(SERVERS)];
    let polls = || {
        daemon.value("rolecall_rounds_total").expect("no metric rolecall_rounds_total")
            * nodes as f64
    };
    let (cpu, busy, before) = (cpu_seconds(daemon.id()), server_micros(servers), polls());
    pause(MEASURE_TIME);
    // Send requests to the daemon only after the processor time was read.
    let (cpu, busy) = (cpu_seconds(daemon.id()) - cpu, server_micros(servers) - busy);
    let rounds = polls() - before;
    let resident = resident_kilobytes(daemon.id()) as f64 / 1e3;
    let [gzip, plain] = ["gzip", "identity"].map(|encoding| median_scrape(daemon.port, encoding));
    let text = daemon.get("/metrics", "").text;
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let missed = daemon.value("rolecall_rounds_missed_total");
    assert_eq!(missed, Some(0.0), "rounds were missed");
    format!(
        "| Rolecall | {nodes} | {:.0} | {:.0} | {resident:.1} | {gzip:.0} | {plain:.0} | {series} \
         | {:.1} |",
        cpu * 1e6 / rounds,
        busy / rounds,
        text.len() as f64 / 1e6
    )
}

/// Measures the minimum cost of polling: one thread sends INFO on all connections once per second
/// and ignores the replies.
fn bare_sockets(servers: &[Redis], nodes: usize) -> String {
    let mut sockets: Vec<_> = (0..nodes)
        .map(|node| {
            TcpStream::connect(("127.0.0.1", servers[node % SERVERS].port)).expect("cannot connect")
        })
        .collect();
    let me = std::process::id();
    let (cpu, begun) = (cpu_seconds(me), Stopwatch::start());
    let mut rounds = 0;
    let mut reply = vec![0; 1 << 16];
    while begun.elapsed() < MEASURE_TIME {
        let round = Stopwatch::start();
        for socket in &mut sockets {
            socket.write_all(b"*1\r\n$4\r\nINFO\r\n").expect("cannot send");
        }
        for socket in &mut sockets {
            let mut read = 0;
            while !reply[..read].ends_with(b"\r\n\r\n") || read < 2000 {
                read += socket.read(&mut reply[read..]).expect("no reply");
            }
        }
        rounds += nodes;
        pause(Duration::from_secs(1).saturating_sub(round.elapsed()));
    }
    let cpu = cpu_seconds(me) - cpu;
    format!("| bare sockets | {nodes} | {:.0} | | | | | | |", cpu * 1e6 / rounds as f64)
}

fn redis_exporter(server: &Redis) -> String {
    const SCRAPES: u32 = 300;
    let (exporter, text) = RedisExporter::start(server);
    let servers = std::slice::from_ref(server);
    let (cpu, busy) = (cpu_seconds(exporter.id()), server_micros(servers));
    for _ in 0..SCRAPES {
        exporter.scrape().expect("no response");
    }
    let (cpu, busy) = (cpu_seconds(exporter.id()) - cpu, server_micros(servers) - busy);
    let [gzip, plain] = ["gzip", "identity"].map(|encoding| median_scrape(exporter.port, encoding));
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    format!(
        "| redis_exporter 1.45.0 | 1 | {:.0} | {:.0} | {:.1} | {gzip:.0} | {plain:.0} | {series} \
         | {:.2} |",
        cpu * 1e6 / f64::from(SCRAPES),
        busy / f64::from(SCRAPES),
        resident_kilobytes(exporter.id()) as f64 / 1e3,
        text.len() as f64 / 1e6
    )
}

/// Measures the evaluation of captured replies of a master and its replicas.
fn static_evaluation(deployments: u16, nodes: u16) -> String {
    const ROUNDS: u32 = 20;
    let captures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/snapshot/captures/redis-7.0.15");
    let [master, replica] = ["master", "replica1"].map(|node| {
        let capture = captures.join(format!("03-replication-healthy.{node}.info-everything.txt"));
        std::fs::read_to_string(capture).expect("cannot read the capture")
    });
    let port = replica
        .lines()
        .find_map(|line| line.strip_prefix("master_port:")?.trim().parse::<u16>().ok())
        .expect("no master_port in the capture");
    let mut folds: Vec<_> = (0..deployments)
        .map(|_| {
            let mut deployment =
                Deployment::new("bench", DeploymentKind::Static, &[], SECOND, SECOND * 3);
            for node in 0..nodes {
                deployment.add(format!("n{node}"), format!("127.0.0.1:{}", port + node), None);
            }
            DeploymentTracker::new(Arc::new(deployment))
        })
        .collect();
    let rounds: Vec<Round> = (1..=ROUNDS)
        .map(|round| {
            // Each round has new replies with a higher offset.
            let moved = |info: &str| {
                info.replace("master_repl_offset:", &format!("master_repl_offset:{round}"))
            };
            let [master, replica] = [&master, &replica]
                .map(|info| Arc::new(NodeSnapshot::from_info(&moved(info)).expect("invalid INFO")));
            let outcomes =
                (0..nodes).map(|node| responseed(if node == 0 { &master } else { &replica }));
            let elapsed = SECOND * round;
            Round::new(
                SystemTime::UNIX_EPOCH + elapsed,
                topology::Monotonic::from_start(elapsed),
                outcomes.collect(),
            )
        })
        .collect();
    let begun = Stopwatch::start();
    for round in &rounds {
        for fold in &mut folds {
            std::hint::black_box(fold.observe(round));
        }
    }
    let each = begun.elapsed().as_secs_f64() * 1e6
        / f64::from(ROUNDS)
        / f64::from(deployments)
        / f64::from(nodes);
    format!("| | {deployments} | {nodes} | {each:.1} |")
}

fn responseed(snapshot: &Arc<NodeSnapshot>) -> PollOutcome {
    PollOutcome::Answered(NodeReply::new(
        Arc::clone(snapshot),
        Duration::from_millis(1),
        SystemTime::UNIX_EPOCH,
    ))
}

/// Returns the time that the servers spent in commands, in microseconds.
fn server_micros(servers: &[Redis]) -> f64 {
    let of = |server: &Redis| {
        let text = server.cli(&["INFO", "commandstats"]);
        let micros =
            |line: &str| line.split("usec=").nth(1)?.split(',').next()?.parse::<f64>().ok();
        text.lines().filter_map(micros).sum::<f64>()
    };
    servers.iter().map(of).sum()
}
