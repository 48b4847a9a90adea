//! Cost with real servers, compared with redis_exporter 1.45.0 and with a poller of bare sockets.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tests::{Daemon, Redis, RedisExporter, eventually, pause};

use crate::measure::{Format, ProcessorTime, bare_sockets, median_scrape, resident_megabytes};
use crate::report::Report;

/// Number of servers. With more nodes than servers, several nodes share a server.
const SERVERS: usize = 10;

/// Duration of each measurement. It contains one round in which all slower commands are due.
const MEASURE_TIME: Duration = Duration::from_secs(15);

/// Time until the first commands with long intervals are done.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Limit of the time that a server spends in the commands of a round, us.
pub(crate) const SERVER_TIME_LIMIT: f64 = 60.0;

/// Commands that each server runs once, so that INFO commandstats has a realistic length.
pub(crate) const WARM_UP_COMMANDS: [&str; 50] = [
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

/// Cost of an exporter.
struct Cost {
    /// Processor time for each node and round, us.
    cpu: f64,
    /// Time that the servers spent in commands for each node and round, us.
    server: f64,
    /// Resident memory, MB.
    resident: f64,
    /// Duration of a scrape with gzip and without, ms.
    scrape: [f64; 2],
    series: usize,
    /// Size of the text, MB.
    size: f64,
}

/// Measures one, a hundred and a thousand nodes, and redis_exporter with one.
pub(crate) fn measure(report: &mut Report) {
    let servers: Vec<_> = (0..SERVERS).map(|_| Redis::start(&["--appendonly", "yes"])).collect();
    for server in &servers {
        warm_up(server);
    }
    report.table(
        "Real servers, Redis 7.0.15",
        &[
            "exporter",
            "nodes",
            "CPU per node and round, us",
            "bare sockets, us",
            "ratio",
            "server time per round, us",
            "resident, MB",
            "/metrics gzip, ms",
            "plain, ms",
            "series",
            "plain, MB",
        ],
    );
    let mut costs = Vec::new();
    for nodes in [1, 100, 1000] {
        let cost = rolecall(&servers, nodes);
        let addresses =
            (0..nodes).map(|node| SocketAddr::from(([127, 0, 0, 1], servers[node % SERVERS].port)));
        let bare = bare_sockets(&addresses.collect::<Vec<_>>(), MEASURE_TIME / 3);
        cost.add_row(report, "Rolecall", nodes, Some(bare));
        report.limit(
            &format!("server time of each round, real servers, nodes: {nodes}"),
            cost.server,
            SERVER_TIME_LIMIT,
            "us",
        );
        costs.push(cost);
    }
    let other = redis_exporter(&servers[0]);
    other.add_row(report, "redis_exporter 1.45.0", 1, None);
    let ratio = |rolecall: f64, other: f64| format!("{:.2}", rolecall / other);
    report.row(&[
        &"Rolecall / redis_exporter",
        &1,
        &ratio(costs[0].cpu, other.cpu),
        &"",
        &"",
        &ratio(costs[0].server, other.server),
        &ratio(costs[0].resident, other.resident),
        &ratio(costs[0].scrape[0], other.scrape[0]),
        &ratio(costs[0].scrape[1], other.scrape[1]),
        &ratio(costs[0].series as f64, other.series as f64),
        &ratio(costs[0].size, other.size),
    ]);
    report.paragraph(
        "redis_exporter polls during a scrape, so the CPU of its round includes that of the \
         response.",
    );
}

impl Cost {
    fn add_row(&self, report: &mut Report, exporter: &str, nodes: usize, bare: Option<f64>) {
        let of_bare = |value: Option<f64>| value.map(|value| format!("{value:.1}"));
        report.row(&[
            &exporter,
            &nodes,
            &format_args!("{:.0}", self.cpu),
            &of_bare(bare).unwrap_or_default(),
            &of_bare(bare.map(|bare| self.cpu / bare)).unwrap_or_default(),
            &format_args!("{:.0}", self.server),
            &format_args!("{:.1}", self.resident),
            &format_args!("{:.1}", self.scrape[0]),
            &format_args!("{:.1}", self.scrape[1]),
            &self.series,
            &format_args!("{:.2}", self.size),
        ]);
    }
}

/// Runs each of the [`WARM_UP_COMMANDS`] once.
pub(crate) fn warm_up(server: &Redis) {
    for command in WARM_UP_COMMANDS {
        server.cli(&command.split(' ').collect::<Vec<_>>());
    }
}

fn rolecall(servers: &[Redis], nodes: usize) -> Cost {
    let mut text = String::from("[[deployment]]\nname = 'bench'\nnodes = [\n");
    for node in 0..nodes {
        writeln!(text, "  {{ url = '{}', name = 'n{node}' }},", servers[node % SERVERS].url())
            .expect("writing to a string cannot fail");
    }
    let daemon = Daemon::configured(&(text + "]\n"));
    eventually(Duration::from_secs(60), "all nodes answer", || {
        (daemon.samples().sum("redis_up", &[]) >= nodes as f64).then_some(())
    });
    pause(SETTLE_TIME);
    let servers = &servers[..nodes.min(SERVERS)];
    let polls = || {
        daemon.value("rolecall_rounds_total").expect("no metric rolecall_rounds_total")
            * nodes as f64
    };
    let (busy, before, cpu) = (server_micros(servers), polls(), ProcessorTime::start(daemon.id()));
    pause(MEASURE_TIME);
    // Send requests to the daemon only after the processor time was read.
    let cpu = cpu.end().seconds;
    let (busy, rounds) = (server_micros(servers) - busy, polls() - before);
    let resident = resident_megabytes(daemon.id());
    let scrape =
        ["gzip", "identity"].map(|encoding| median_scrape(daemon.port, "", Format::Text, encoding));
    let text = daemon.get("/metrics", "").text;
    assert_eq!(daemon.value("rolecall_rounds_missed_total"), Some(0.0), "rounds were missed");
    Cost {
        cpu: cpu * 1e6 / rounds,
        server: busy / rounds,
        resident,
        scrape,
        series: series(&text),
        size: text.len() as f64 / 1e6,
    }
}

fn redis_exporter(server: &Redis) -> Cost {
    const SCRAPES: u32 = 300;
    let (exporter, text) = RedisExporter::start(server);
    let servers = std::slice::from_ref(server);
    let (cpu, busy) = (ProcessorTime::start(exporter.id()), server_micros(servers));
    for _ in 0..SCRAPES {
        exporter.scrape().expect("no response");
    }
    let (cpu, busy) = (cpu.end().seconds, server_micros(servers) - busy);
    Cost {
        cpu: cpu * 1e6 / f64::from(SCRAPES),
        server: busy / f64::from(SCRAPES),
        resident: resident_megabytes(exporter.id()),
        scrape: ["gzip", "identity"]
            .map(|encoding| median_scrape(exporter.port, "", Format::Text, encoding)),
        series: series(&text),
        size: text.len() as f64 / 1e6,
    }
}

/// Returns the number of samples in a response.
fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
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
