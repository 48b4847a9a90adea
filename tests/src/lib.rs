//! Testbed of the end-to-end tests: starts real servers and the real daemon, and reads their state.
//! Dropping a value stops the process that it started.

#![expect(
    clippy::missing_panics_doc,
    reason = "every function of the testbed panics to fail the test"
)]

mod alert_pipeline;
mod browser;
mod certificate;
mod cluster;
mod command_proxy;
mod connection;
mod daemon;
mod daemon_state;
mod disk;
mod documented_server;
mod fake_fleet;
mod fake_server;
mod findings;
#[path = "../fuzz/src/lib.rs"]
pub mod fuzz;
mod hanging_mount;
mod hostile_peers;
pub mod interruption;
mod memory_limit;
mod name_server;
mod parsers;
mod path_fault;
mod ports;
mod process;
mod prometheus;
mod promql;
mod redis;
mod redis_exporter;
mod redis_py;
mod replicated_primary;
pub mod repository;
mod round_robin_proxy;
mod routine;
mod samples;
mod sentinel_deployment;
mod server;
mod split_network;
mod stub_server;
mod wait;

use std::path::PathBuf;

pub use alert_pipeline::{AlertPipeline, Notification, TIME_DIVISOR};
pub use browser::Browser;
pub use certificate::Certificate;
pub use cluster::{Cluster, ClusterNode, ClusterSetup};
pub use command_proxy::{CommandProxy, Rewrites, Traffic};
pub use connection::{
    CLIENT_NAME, Connection, SentinelEvent, SentinelSubscription, Writer, entries,
};
pub use daemon::{ConfigFile, Daemon, Response, deployment};
pub use disk::{Disk, FaultInjector};
pub use documented_server::DocumentedServer;
pub use fake_fleet::{FakeFleet, OpenedConnections, Shape, address, node_at};
pub use fake_server::{FakeServer, array, bulk, minimal_reply, redis_reply};
pub use findings::{Diagnosis, Findings, diagnose, diagnose_urls, has_finding};
pub use hanging_mount::HangingMount;
pub use hostile_peers::hostile_peers;
pub use memory_limit::MemoryLimit;
pub use name_server::NameServer;
pub use parsers::{open_metrics_parser, promtool};
pub use path_fault::{FaultyPath, PathFault};
pub use ports::free_port;
pub use process::{Process, Signal, processor_seconds, program, resident_kilobytes};
pub use prometheus::Prometheus;
pub use promql::CatalogMetrics;
pub use redis::{Redis, VERSIONS, server_program};
pub use redis_exporter::RedisExporter;
pub use redis_py::RedisPyClient;
pub use replicated_primary::{primary_with_replica, primary_with_two_replicas};
pub use round_robin_proxy::RoundRobinProxy;
pub use routine::{ClusterPods, DnsPods, Operation, PodAddresses, SentinelPods};
pub use samples::Samples;
pub use sentinel_deployment::{
    MASTER, SentinelDeployment, SentinelSetup, monitor_options, sentinel_deployment,
};
pub use server::Server;
pub use split_network::{Host, Side, SplitNetwork};
pub use stub_server::{Proxy, StubServer, serve_until_info};
pub use wait::{SECOND, Stopwatch, eventually, pause, until_ok};

/// Returns the directory in which `tests/setup.sh` installs everything that Debian does not
/// package.
pub fn installed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/testbed")
}
