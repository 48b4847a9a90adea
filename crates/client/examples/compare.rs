//! Compares the two kinds of connections: memory of one that is idle, and processor time of INFO.
//!
//! `cargo run --release -p client --example compare -- PORT` needs a Redis server on this port of
//! 127.0.0.1, with `maxclients` above 1,000. Linux only.

#![expect(clippy::print_stdout, reason = "the output of a program for the terminal")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use client::{Command, ConnectOptions, Connection, Endpoint, Failure};

/// Number of open connections.
const CONNECTIONS: u32 = 500;

/// Number of times that each connection sends INFO.
const ROUNDS: u32 = 40;

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(6379);
    let endpoint = Endpoint::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    for with_fred in [false, true] {
        // The first connection allocates what all of them share.
        let first = open(&endpoint, with_fred).await?;
        let before = resident_kilobytes();
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(open(&endpoint, with_fred).await?);
        }
        let command = [Command::new(&snapshot::INFO, None)];
        for connection in &mut connections {
            connection.run(&command).await?;
        }
        let memory = resident_kilobytes().saturating_sub(before) as f64 / f64::from(CONNECTIONS);
        let started = processor_time();
        for _ in 0..ROUNDS {
            for connection in &mut connections {
                let replies = connection.run(&command).await?;
                assert!(replies.decode().iter().all(|reply| reply.text().is_some()));
            }
        }
        let time = processor_time().saturating_sub(started) / (CONNECTIONS * ROUNDS);
        let name = if with_fred { "fred and relay" } else { "own reader" };
        println!("{name}: {memory:.1} kB for each connection, {time:?} for each INFO");
        drop((first, connections));
    }
    Ok(())
}

async fn open(endpoint: &Endpoint, with_fred: bool) -> Result<Connection, Failure> {
    if with_fred {
        Connection::open_with_fred(endpoint, ConnectOptions::new(LIMIT)).await
    } else {
        Connection::open(endpoint, ConnectOptions::new(LIMIT)).await
    }
}

/// Returns a line of a file of this process in `/proc`.
fn proc_line(file: &str, start: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
}

fn resident_kilobytes() -> u64 {
    let line = proc_line("status", "VmRSS:");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Returns the processor time of this process, which has one thread.
fn processor_time() -> Duration {
    let line = proc_line("schedstat", "");
    let nanoseconds = line.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
