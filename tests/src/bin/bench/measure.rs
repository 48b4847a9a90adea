//! Measurements of processes and of scrapes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tests::{SECOND, Stopwatch, pause};

/// Number of scrapes of which the median is taken.
const SCRAPES: usize = 9;

/// Measurement of the processor time of a process.
pub(crate) struct ProcessorTime {
    process: u32,
    before: f64,
    begun: Stopwatch,
}

/// Processor time within a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// Processor time, s.
    pub(crate) seconds: f64,
    /// The time, s.
    pub(crate) within: f64,
}

impl ProcessorTime {
    /// Starts the measurement.
    pub(crate) fn start(process: u32) -> Self {
        ProcessorTime { process, before: cpu_seconds(process), begun: Stopwatch::start() }
    }

    /// Ends the measurement.
    pub(crate) fn end(&self) -> Spent {
        let seconds = cpu_seconds(self.process) - self.before;
        Spent { seconds, within: self.begun.elapsed().as_secs_f64() }
    }
}

impl Spent {
    /// Returns the microseconds for each node and round, with rounds of a second.
    pub(crate) fn for_each(self, nodes: usize) -> f64 {
        self.seconds * 1e6 / self.within / nodes as f64
    }
}

/// Format of a response to a scrape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::OpenMetrics => "OpenMetrics",
        }
    }

    pub(crate) fn accept(self) -> &'static str {
        match self {
            Format::Text => "text/plain",
            Format::OpenMetrics => "application/openmetrics-text;version=1.0.0",
        }
    }
}

/// Returns the median duration of some scrapes, in milliseconds. See [`scrape`].
pub(crate) fn median_scrape(port: u16, query: &str, format: Format, encoding: &str) -> f64 {
    let mut times: Vec<_> = (0..SCRAPES).map(|_| scrape(port, query, format, encoding)).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Returns the duration of a scrape of `/metrics`, from the request to the last byte, in
/// milliseconds. `query` follows the path.
pub(crate) fn scrape(port: u16, query: &str, format: Format, encoding: &str) -> f64 {
    let begun = Stopwatch::start();
    let mut response = ureq::get(format!("http://127.0.0.1:{port}/metrics{query}"))
        .header("Accept", format.accept())
        .header("Accept-Encoding", encoding)
        .call()
        .expect("no response");
    // Do not decompress, since the exporter does not either.
    let mut bytes = response.body_mut().with_config().limit(1 << 30).reader();
    std::io::copy(&mut bytes, &mut std::io::sink()).expect("cannot read the response");
    begun.elapsed().as_secs_f64() * 1e3
}

/// Measures the minimum cost of polling: one thread sends INFO on all connections once per second
/// and ignores the replies. Returns the processor time for each node and round, us.
pub(crate) fn bare_sockets(addresses: &[SocketAddr], time: Duration) -> f64 {
    let connect = |address| TcpStream::connect(address).expect("cannot connect");
    let mut sockets: Vec<_> = addresses.iter().map(connect).collect();
    let spent = ProcessorTime::start(std::process::id());
    let begun = Stopwatch::start();
    let (mut polls, mut reply) = (0, vec![0; 64 << 10]);
    while begun.elapsed() < time {
        let round = Stopwatch::start();
        for socket in &mut sockets {
            socket.write_all(b"*1\r\n$4\r\nINFO\r\n").expect("cannot send");
        }
        for socket in &mut sockets {
            read_reply(socket, &mut reply);
        }
        polls += addresses.len();
        pause(SECOND.saturating_sub(round.elapsed()));
    }
    spent.end().seconds * 1e6 / polls as f64
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

/// Returns the processor time of all threads of a process, user and system, in seconds.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/schedstat")).ok();
    let threads =
        std::fs::read_dir(format!("/proc/{process}/task")).expect("cannot list the threads");
    let of = |text: String| text.split(' ').next()?.parse::<f64>().ok();
    let sum: f64 = threads
        .filter_map(|thread| {
            of(std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?)
        })
        .sum();
    sum.max(stat.and_then(of).unwrap_or_default()) / 1e9
}

/// Returns the resident memory of a process, in megabytes.
pub(crate) fn resident_megabytes(process: u32) -> f64 {
    tests::resident_kilobytes(process) as f64 / 1e3
}

/// Returns the highest resident memory of a process since [`reset_peak`], in megabytes.
pub(crate) fn peak_megabytes(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"));
    let text = text.expect("cannot read the process");
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM is missing");
    let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes / 1e3
}

/// Starts a new measurement of the highest resident memory of a process.
pub(crate) fn reset_peak(process: u32) {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("cannot reset the peak");
}
