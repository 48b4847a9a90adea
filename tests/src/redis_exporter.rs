//! The real redis_exporter, to compare with.

use std::process::Command;
use std::time::Duration;

use crate::{Process, Redis, eventually, free_port};

/// redis_exporter 1.45.0 in front of one server.
pub struct RedisExporter {
    /// The port of its web server, on 127.0.0.1.
    pub port: u16,
    process: Process,
}

impl RedisExporter {
    /// Starts it, waits until it reads the server, and gives what it says then.
    pub fn start(server: &Redis) -> (Self, String) {
        let port = free_port();
        let mut command = Command::new("prometheus-redis-exporter");
        command.args([
            "-redis.addr",
            &server.url(),
            "-web.listen-address",
            &format!("127.0.0.1:{port}"),
        ]);
        let exporter = RedisExporter { port, process: Process::start(&mut command) };
        let reads = || exporter.scrape().filter(|text| text.contains("redis_up 1"));
        let (text, _) = eventually(Duration::from_secs(10), "redis_exporter answers", reads);
        (exporter, text)
    }

    /// What its `/metrics` says now.
    pub fn scrape(&self) -> Option<String> {
        ureq::get(format!("http://127.0.0.1:{}/metrics", self.port))
            .call()
            .ok()?
            .body_mut()
            .read_to_string()
            .ok()
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}
