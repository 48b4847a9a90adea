//! A real Redis server on a port of its own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Process, Signal, eventually, free_port, installed};

/// The servers that tests run on: that of Debian, and those that `tests/setup.sh` unpacks.
pub const VERSIONS: [&str; 5] =
    ["redis-5.0.6", "redis-6.2.14", "redis-7.0.15", "redis-8.2.3", "valkey-9.1.2"];

/// A real Redis server.
pub struct Redis {
    /// The port it listens on, on 127.0.0.1.
    pub port: u16,
    version: &'static str,
    environment: Vec<(&'static str, String)>,
    options: Vec<String>,
    directory: TempDir,
    process: Process,
}

impl Redis {
    /// Starts Debian's server with these options, in a directory of its own.
    pub fn start(options: &[&str]) -> Self {
        Self::of("redis-7.0.15", options)
    }

    /// Starts a server of one of the [`VERSIONS`].
    pub fn of(version: &'static str, options: &[&str]) -> Self {
        Self::within(&[], version, options)
    }

    /// Starts a server with more in its environment.
    pub fn within(
        environment: &[(&'static str, String)],
        version: &'static str,
        options: &[&str],
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let process = launch(version, port, environment, &options, &directory);
        Redis { port, version, environment: environment.to_vec(), options, directory, process }
    }

    /// Starts a Sentinel of this server's version that watches it as `mymaster`.
    #[must_use]
    pub fn sentinel(&self) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, format!("sentinel monitor mymaster 127.0.0.1 {} 1\n", self.port))
            .expect("a file");
        let port = free_port();
        let mut command = Command::new(binary(self.version));
        let process = Process::start(command.arg(&file).args([
            "--sentinel",
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ]));
        listening(port);
        Redis {
            port,
            version: self.version,
            environment: Vec::new(),
            options: Vec::new(),
            directory,
            process,
        }
    }

    /// Starts a replica of this server.
    #[must_use]
    pub fn replica(&self) -> Self {
        let replica = self.replica_with(&[]);
        replica.until_linked();
        replica
    }

    /// Waits until it is synchronised with its master.
    #[track_caller]
    pub fn until_linked(&self) {
        eventually(Duration::from_secs(20), "the replica is synchronised", || {
            (self.info("master_link_status")? == "up").then_some(())
        });
    }

    /// Starts a replica of this server with these options, which need not come to stand.
    #[must_use]
    pub fn replica_with(&self, options: &[&str]) -> Self {
        let port = self.port.to_string();
        Redis::of(self.version, &[&["--replicaof", "127.0.0.1", &port], options].concat())
    }

    /// Makes it a replica of another server.
    #[track_caller]
    pub fn follow(&self, master: &Redis) {
        assert_eq!(self.cli(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]).trim(), "OK");
    }

    /// Makes it a master.
    #[track_caller]
    pub fn promote(&self) {
        assert_eq!(self.cli(&["REPLICAOF", "NO", "ONE"]).trim(), "OK");
    }

    /// Writes a hundred keys, and waits until this replica of it has them.
    #[track_caller]
    pub fn fill(&self, replica: &Redis) {
        self.cli(&["EVAL", "for i = 1, 100 do redis.call('SET', 'key' .. i, i) end", "0"]);
        eventually(Duration::from_secs(10), "replicated", || {
            (replica.cli(&["DBSIZE"]).trim() == "100").then_some(())
        });
    }

    /// The directory that it has for its own.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its address, which is the label `node` of a server without a name.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Runs a command on it, and gives what `redis-cli` printed.
    pub fn cli(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port, "--no-auth-warning"])
            .args(command)
            .output()
            .expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// One figure of its INFO.
    pub fn info(&self, field: &str) -> Option<String> {
        let text = self.cli(&["INFO", "all"]);
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// The same, of a figure that is a whole number and there.
    #[track_caller]
    pub fn number(&self, field: &str) -> u64 {
        self.info(field).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// The ids of the connections whose last command was one with which rounds end: those of Rolecall.
    pub fn pollers(&self) -> Vec<String> {
        let list = self.cli(&["CLIENT", "LIST"]);
        let polls = |line: &&str| {
            [" cmd=info", " cmd=config", " cmd=slowlog", " cmd=cluster"]
                .iter()
                .any(|command| line.contains(command))
        };
        list.lines()
            .filter(polls)
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub fn end(&mut self, limit: Duration) -> ExitStatus {
        self.process.end(limit).0
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.process.signal(Signal::Kill);
        self.process.end(Duration::from_secs(5));
    }

    /// Starts it again, on the same port and in the same directory.
    pub fn restart(&mut self) {
        self.process =
            launch(self.version, self.port, &self.environment, &self.options, &self.directory);
    }
}

fn launch(
    version: &str,
    port: u16,
    environment: &[(&str, String)],
    options: &[String],
    directory: &TempDir,
) -> Process {
    let mut command = Command::new(binary(version));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let defaults = ["--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"];
    command
        .args(["--port", &port.to_string()])
        .args(defaults)
        .arg("--dir")
        .arg(directory.path())
        .args(options);
    let process = Process::start(&mut command);
    listening(port);
    process
}

fn listening(port: u16) {
    eventually(Duration::from_secs(10), "the server listens", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
}

fn binary(version: &str) -> PathBuf {
    if version == "redis-7.0.15" {
        "redis-server".into()
    } else {
        installed().join("servers").join(version)
    }
}
