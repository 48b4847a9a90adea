//! The testbed: real servers, the real daemon, and what they say. Whatever it starts ends with the value that holds it.

#![expect(clippy::missing_panics_doc, reason = "a testbed that cannot do its work fails the test, everywhere")]

mod answers;
mod browser;
mod cluster;
mod daemon;
mod disk;
mod findings;
mod group;
mod name_server;
mod namespaces;
mod pager;
mod parsers;
mod peer;
mod process;
mod prometheus;
mod promql;
mod redis;
mod redis_exporter;
mod redis_py;
mod samples;
mod sentinels;
mod server;
mod tap;
mod wait;
mod wire;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

pub use browser::Browser;
pub use cluster::{Cluster, ClusterSetup, Mapped};
pub use daemon::{Daemon, Response, deployment};
pub use disk::{Disk, Fsync};
pub use findings::{Found, diagnose, diagnose_urls, has};
pub use group::{pair, trio};
pub use name_server::NameServer;
pub use namespaces::{Place, Side, Sides};
pub use pager::{Notified, Pager, SCALE};
pub use parsers::{open_metrics_parser, promtool};
pub use peer::{Peer, Proxy, until_info};
pub use process::{Process, Signal, processor_time, resident_kilobytes};
pub use prometheus::Prometheus;
pub use promql::Metrics;
pub use redis::{Redis, VERSIONS};
pub use redis_exporter::RedisExporter;
pub use redis_py::RedisPy;
pub use samples::Samples;
pub use sentinels::{Group, MASTER, Setup, monitored, watched_deployment};
pub use server::Server;
pub use tap::{Rewrites, Seen, Tap};
pub use wait::{Stopwatch, eventually, pause, until_ok};
pub use wire::{Heard, Listener, NAME, Wire, Writer};

/// A port of the loopback interface that nobody listens on. No two tests get the same one, and none is of those that the system gives to
/// connections, which may take it before the server does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run of the tests begins elsewhere. All stay below 20,000: a cluster node takes the port 10,000 above its own as well.
    let first = 10_000 + u16::try_from(std::process::id() % 40).expect("small") * 200;
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed) % 2000);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    ports.find(|port| is_free(*port) && is_free(*port + 10_000)).expect("a free port")
}

/// Where `tests/setup.sh` puts what no Debian package holds.
pub fn installed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/testbed")
}
