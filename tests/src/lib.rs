//! The testbed: real servers, the real daemon, and what they say. Whatever it starts ends with the value that holds it.

#![expect(clippy::missing_panics_doc, reason = "a testbed that cannot do its work fails the test, everywhere")]

mod daemon;
mod disk;
mod parsers;
mod peer;
mod process;
mod prometheus;
mod redis;
mod samples;
mod wait;

use std::net::TcpListener;
use std::path::PathBuf;

pub use daemon::{Daemon, Found, Response, diagnose};
pub use disk::{Disk, Fsync};
pub use parsers::{open_metrics_parser, promtool};
pub use peer::{Peer, Proxy, until_info};
pub use process::{Process, Signal};
pub use prometheus::Prometheus;
pub use redis::{Redis, VERSIONS};
pub use samples::Samples;
pub use wait::{Stopwatch, eventually, pause};

/// A port of the loopback interface that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Where `tests/setup.sh` puts what no Debian package holds.
pub fn installed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/testbed")
}
