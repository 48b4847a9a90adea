//! The testbed: real servers, the real daemon, and what they say. Whatever it starts ends with the value that holds it.

#![expect(
    clippy::missing_panics_doc,
    reason = "a testbed that cannot do its work fails the test, everywhere"
)]

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
mod ports;
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

use std::path::PathBuf;

pub use browser::Browser;
pub use cluster::{Cluster, ClusterSetup, Mapped};
pub use daemon::{ConfigFile, Daemon, Response, deployment};
pub use disk::{Disk, Shim};
pub use findings::{Found, diagnose, diagnose_urls, has};
pub use group::{pair, trio};
pub use name_server::NameServer;
pub use namespaces::{Place, Side, Sides};
pub use pager::{Notified, Pager, SCALE};
pub use parsers::{open_metrics_parser, promtool};
pub use peer::{Peer, Proxy, until_info};
pub use ports::free_port;
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
pub use wait::{SECOND, Stopwatch, eventually, pause, until_ok};
pub use wire::{Heard, Listener, NAME, Wire, Writer};

/// Where `tests/setup.sh` puts what no Debian package holds.
pub fn installed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/testbed")
}
