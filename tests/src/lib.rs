//! Testbed of the end-to-end tests: starts real servers and the real daemon, and reads their state.
//! Dropping a value stops the process that it started.

#![expect(
    clippy::missing_panics_doc,
    reason = "every function of the testbed panics to fail the test"
)]

mod alert_pipeline;
mod browser;
mod cluster;
mod daemon;
mod daemon_state;
mod disk;
mod findings;
mod group;
mod name_server;
mod namespaces;
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

pub use alert_pipeline::{AlertPipeline, Notification, TIME_DIVISOR};
pub use browser::Browser;
pub use cluster::{Cluster, ClusterNode, ClusterSetup};
pub use daemon::{ConfigFile, Daemon, Response, deployment};
pub use disk::{Disk, Shim};
pub use findings::{Found, diagnose, diagnose_urls, has};
pub use group::{pair, trio};
pub use name_server::NameServer;
pub use namespaces::{Place, Side, Sides};
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
pub use wire::{CLIENT_NAME, SentinelEvent, SentinelSubscription, Wire, Writer};

/// Returns the directory in which `tests/setup.sh` installs everything that Debian does not
/// package.
pub fn installed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/testbed")
}
