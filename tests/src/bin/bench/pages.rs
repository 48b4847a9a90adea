//! Time to load pages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;

use tests::{Daemon, Redis, SECOND, Stopwatch, eventually, pause};

use crate::report::{Report, steal_time};

/// Number of servers. With more nodes than servers, several nodes share a server.
const SERVERS: usize = 10;

/// Number of loads of each page.
const LOADS: u32 = 50;

/// Time in which they are spread.
const LOADS_TIME: Duration = Duration::from_secs(3);

/// Measures the time to load pages while 1,000 nodes are polled: in one deployment, in many
/// deployments, and with a part of the nodes down.
pub(crate) fn measure(report: &mut Report) {
    report.table(
        "Pages of 1,000 nodes, gzip",
        &["page", "median, ms", "maximum, ms", "kB", "plain, kB", "steal time, ms"],
    );
    let primary = Redis::start(&[]);
    let mut replicas: Vec<_> = (1..SERVERS).map(|_| primary.replica()).collect();
    let node = |number: usize, primary: &Redis, replicas: &[Redis]| {
        let server = if number == 0 { primary } else { &replicas[number % replicas.len()] };
        format!("{{ url = '{}', name = 'n{number}' }},", server.url())
    };
    let named = |name: &str, nodes: Range<usize>| {
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
            pause(SECOND * 22);
            for path in paths {
                let before = steal_time();
                let (mut times, compressed, plain) = (
                    (0..LOADS).map(|_| spread(|| load(daemon.port, path).0)).collect::<Vec<_>>(),
                    load(daemon.port, path).1,
                    daemon.get(path, "text/html").text.len(),
                );
                times.sort_by(f64::total_cmp);
                report.row(&[
                    &format_args!("`{path}` of {shape}{state}"),
                    &format_args!("{:.1}", times[times.len() / 2]),
                    &format_args!("{:.1}", times[times.len() - 1]),
                    &format_args!("{:.1}", compressed as f64 / 1e3),
                    &format_args!("{:.0}", plain as f64 / 1e3),
                    &(steal_time() - before),
                ]);
            }
        }
    }
}

/// Loads after a pause, so that all loads together take longer than a round and hit every phase of
/// it.
fn spread<T>(load: impl Fn() -> T) -> T {
    pause(LOADS_TIME / LOADS);
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
