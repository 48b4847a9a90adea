//! The redis_exporter, for comparison.

use std::process::Command;
use std::time::Duration;

use crate::{Process, Redis, eventually, free_port};

/// Running redis_exporter 1.45.0 for one server.
pub struct RedisExporter {
    /// The port of its HTTP server on 127.0.0.1.
    pub port: u16,
    process: Process,
}

impl RedisExporter {
    /// Starts the exporter, waits until `redis_up` is 1, and returns it with that exposition.
    pub fn start(server: &Redis) -> (Self, String) {
        Self::watch(&server.url())
    }

    /// Does the same as [`Self::start`] for the server with this URL.
    pub fn watch(url: &str) -> (Self, String) {
        let port = free_port();
        let mut command = Command::new("prometheus-redis-exporter");
        command.args(["-redis.addr", url, "-web.listen-address", &format!("127.0.0.1:{port}")]);
        let exporter = RedisExporter { port, process: Process::start(&mut command) };
        let is_up = || exporter.scrape().filter(|text| text.contains("redis_up 1"));
        let (text, _) =
            eventually(Duration::from_secs(10), "redis_exporter reports redis_up 1", is_up);
        (exporter, text)
    }

    /// Scrapes `/metrics`; nothing if the request fails.
    pub fn scrape(&self) -> Option<String> {
        ureq::get(format!("http://127.0.0.1:{}/metrics", self.port))
            .call()
            .ok()?
            .body_mut()
            .read_to_string()
            .ok()
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}
