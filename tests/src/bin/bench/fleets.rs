//! Cost of fleets of fake servers: processor time, memory, start and scrapes, each with its limit.
//!
//! The processor time is also measured as a ratio to a poller of bare sockets on the same servers
//! in the same run, because the speed of machines and their load differ.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tests::{
    Daemon, FakeFleet, Samples, Shape, Stopwatch, address, eventually, pause, resident_kilobytes,
};

use crate::measure::{cpu_seconds, load_average, median_scrape, peak_kilobytes, reset_peak};

/// Limit of the wait until all nodes are up.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Time between two checks if all nodes are up.
const UP_CADENCE: Duration = Duration::from_millis(250);

/// Time from the start until the first commands with long intervals are done.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Fleet to measure, and its limits.
struct Case {
    shape: Shape,
    nodes: usize,
    /// Processor time for each node and round, us.
    cpu: Option<f64>,
    /// Resident memory, MB.
    resident: Option<f64>,
    /// Highest resident memory during scrapes, MB.
    peak: Option<f64>,
    /// Time until all nodes are up, seconds.
    up: Option<f64>,
    /// Duration of a scrape with gzip, ms.
    scrape: Option<f64>,
    /// Measured with `--quick`, too.
    is_quick: bool,
}

const NO_LIMITS: Case = Case {
    shape: Shape::Triples,
    nodes: 0,
    cpu: None,
    resident: None,
    peak: None,
    up: None,
    scrape: None,
    is_quick: false,
};

/// All cases, the cheapest first.
const CASES: [Case; 7] = [
    Case { shape: Shape::Singles, nodes: 1, resident: Some(12.0), is_quick: true, ..NO_LIMITS },
    Case {
        nodes: 1000,
        cpu: Some(55.0),
        resident: Some(60.0),
        scrape: Some(100.0),
        is_quick: true,
        ..NO_LIMITS
    },
    Case { shape: Shape::Cluster, nodes: 1000, resident: Some(65.0), is_quick: true, ..NO_LIMITS },
    Case { shape: Shape::One, nodes: 100, ..NO_LIMITS },
    Case { shape: Shape::One, nodes: 1000, ..NO_LIMITS },
    Case { shape: Shape::Singles, nodes: 10_000, up: Some(5.0), ..NO_LIMITS },
    Case { nodes: 10_000, cpu: Some(50.0), resident: Some(450.0), peak: Some(550.0), ..NO_LIMITS },
];

/// Measures all fleets and prints a table. Returns true if all limits hold.
pub(crate) fn measure(is_quick: bool) -> bool {
    println!(
        "\n| fleet | nodes | load | up, s | CPU per node and round, us | bare sockets, us | ratio \
         | resident, MB | after the measurement, MB | during scrapes, MB | /metrics gzip, ms \
         | missed rounds |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let time = Duration::from_secs(if is_quick { 10 } else { 20 });
    let cases = CASES.iter().filter(|case| case.is_quick || !is_quick);
    let failures: Vec<_> = cases.flat_map(|case| case.measure(time)).collect();
    println!();
    for failure in &failures {
        println!("limit exceeded: {failure}");
    }
    failures.is_empty()
}

impl Case {
    /// Measures the fleet and prints a row. Returns the limits that it exceeds.
    fn measure(&self, time: Duration) -> Vec<String> {
        let Case { shape, nodes, .. } = *self;
        let fleet = FakeFleet::start(shape, nodes);
        let daemon = Daemon::configured(&fleet.configuration());
        let sum = |group: &str, name: &str| {
            let path = format!("/metrics?collect[]={group}");
            Samples::parse(daemon.get(&path, "text/plain").text).sum(name, &[])
        };
        let ((), up_after) = eventually(START_LIMIT, "all nodes are up", || {
            // Each scrape takes processor time from the start.
            pause(UP_CADENCE);
            (sum("polling", "redis_up") >= nodes as f64).then_some(())
        });
        pause(SETTLE_TIME);
        let resident = megabytes(resident_kilobytes(daemon.id()));
        let (load, cpu, begun) = (load_average(), cpu_seconds(daemon.id()), Stopwatch::start());
        pause(time);
        let cpu = cpu_seconds(daemon.id()) - cpu;
        // The interval is a second.
        let cpu = cpu * 1e6 / begun.elapsed().as_secs_f64() / nodes as f64;
        let load = f64::midpoint(load, load_average());
        let resident_later = megabytes(resident_kilobytes(daemon.id()));
        reset_peak(daemon.id());
        let scrape = median_scrape(daemon.port, "gzip");
        let peak = megabytes(peak_kilobytes(daemon.id()));
        let missed = sum("deployment", "rolecall_rounds_missed_total");
        let bare = bare_sockets(nodes, fleet.port, time / 2);
        println!(
            "| {} | {nodes} | {load:.1} | {:.1} | {cpu:.1} | {bare:.1} | {:.1} | {resident:.1} \
             | {resident_later:.1} | {peak:.1} | {scrape:.0} | {missed} |",
            shape.label(),
            up_after.as_secs_f64(),
            cpu / bare,
        );
        let mut failures = self.exceeded(&[
            ("us for each node and round", cpu, self.cpu),
            ("MB", resident_later, self.resident),
            ("MB during scrapes", peak, self.peak),
            ("s until all nodes are up", up_after.as_secs_f64(), self.up),
            ("ms for a scrape", scrape, self.scrape),
        ]);
        if missed > 0.0 {
            failures.push(format!("{} of {nodes} nodes: {missed} missed rounds", shape.label()));
        }
        failures
    }

    fn exceeded(&self, values: &[(&str, f64, Option<f64>)]) -> Vec<String> {
        let exceeded = |(unit, value, limit): &(&str, f64, Option<f64>)| {
            let limit = limit.filter(|limit| value > limit)?;
            let (shape, nodes) = (self.shape.label(), self.nodes);
            Some(format!("{shape} of {nodes} nodes: {value:.1} {unit}, limit {limit}"))
        };
        values.iter().filter_map(exceeded).collect()
    }
}

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1e3
}

/// Measures the minimum cost of polling: one thread sends INFO on all connections once per second
/// and ignores the replies. Returns the processor time for each node and round, us.
fn bare_sockets(nodes: usize, port: u16, time: Duration) -> f64 {
    let connect = |node| TcpStream::connect((address(node), port)).expect("cannot connect");
    let mut sockets: Vec<_> = (0..nodes).map(connect).collect();
    let me = std::process::id();
    let (cpu, begun) = (cpu_seconds(me), Stopwatch::start());
    let (mut polls, mut reply) = (0, vec![0; 64 << 10]);
    while begun.elapsed() < time {
        let round = Stopwatch::start();
        for socket in &mut sockets {
            socket.write_all(b"*1\r\n$4\r\nINFO\r\n").expect("cannot send");
        }
        for socket in &mut sockets {
            read_reply(socket, &mut reply);
        }
        polls += nodes;
        pause(Duration::from_secs(1).saturating_sub(round.elapsed()));
    }
    (cpu_seconds(me) - cpu) * 1e6 / polls as f64
}

/// Reads one bulk string.
fn read_reply(socket: &mut TcpStream, reply: &mut [u8]) {
    let mut read = 0;
    loop {
        read += socket.read(&mut reply[read..]).expect("no reply");
        let Some(line) = reply[..read].iter().position(|byte| *byte == b'\n') else { continue };
        let length = str::from_utf8(&reply[1..line]).ok().and_then(|text| text.trim().parse().ok());
        let length: usize = length.expect("a bulk string");
        if read == line + 1 + length + b"\r\n".len() {
            return;
        }
    }
}
