//! Redis or Valkey server on the loopback interface, configured by command line options.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Process, Signal, eventually, free_port, installed};

/// Server versions for tests: redis-7.0.15 is the package of Debian, `tests/setup.sh` installs the
/// others.
pub const VERSIONS: [&str; 5] =
    ["redis-5.0.6", "redis-6.2.14", "redis-7.0.15", "redis-8.2.3", "valkey-9.1.2"];

/// Running server on the loopback interface.
pub struct Redis {
    /// The port on 127.0.0.1.
    pub port: u16,
    version: &'static str,
    environment: Vec<(&'static str, String)>,
    options: Vec<String>,
    directory: TempDir,
    process: Process,
}

impl Redis {
    /// Starts the server of Debian with these options and a temporary data directory.
    pub fn start(options: &[&str]) -> Self {
        Self::with_version("redis-7.0.15", options)
    }

    /// Starts one of the [`VERSIONS`].
    pub fn with_version(version: &'static str, options: &[&str]) -> Self {
        Self::with_environment(&[], version, options)
    }

    /// Starts one of the [`VERSIONS`] with additional environment variables.
    pub fn with_environment(
        environment: &[(&'static str, String)],
        version: &'static str,
        options: &[&str],
    ) -> Self {
        let directory = tempfile::tempdir().expect("cannot create a directory");
        let port = free_port();
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let process = launch(version, port, environment, &options, &directory);
        Redis { port, version, environment: environment.to_vec(), options, directory, process }
    }

    /// Starts a Sentinel of the same version that monitors this server as `mymaster`.
    #[must_use]
    pub fn sentinel(&self) -> Self {
        let directory = tempfile::tempdir().expect("cannot create a directory");
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, format!("sentinel monitor mymaster 127.0.0.1 {} 1\n", self.port))
            .expect("cannot write a file");
        let port = free_port();
        let mut command = Command::new(server_program(self.version));
        let process = Process::start(command.arg(&file).args([
            "--sentinel",
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ]));
        until_listening(port);
        Redis {
            port,
            version: self.version,
            environment: Vec::new(),
            options: Vec::new(),
            directory,
            process,
        }
    }

    /// Starts a replica of this server, and waits until it is synchronised.
    #[must_use]
    pub fn replica(&self) -> Self {
        let replica = self.replica_with(&[]);
        replica.until_synchronised();
        replica
    }

    /// Waits until the replica is synchronised with its master.
    #[track_caller]
    pub fn until_synchronised(&self) {
        eventually(Duration::from_secs(20), "the replica is synchronised", || {
            (self.info("master_link_status")? == "up").then_some(())
        });
    }

    /// Waits until the replica has all that its master has now. WAIT would say so only on the
    /// connection that wrote.
    #[track_caller]
    pub fn until_caught_up(&self, master: &Redis) {
        let offset = master.number("master_repl_offset");
        eventually(Duration::from_secs(20), "the replica has caught up", || {
            (self.number("master_repl_offset") >= offset).then_some(())
        });
    }

    /// Starts a replica of this server with these options. Does not wait until it is synchronised.
    #[must_use]
    pub fn replica_with(&self, options: &[&str]) -> Self {
        let port = self.port.to_string();
        Redis::with_version(self.version, &[&["--replicaof", "127.0.0.1", &port], options].concat())
    }

    /// Makes this server a replica of another server.
    #[track_caller]
    pub fn replicate_from(&self, master: &Redis) {
        assert_eq!(self.cli(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]).trim(), "OK");
    }

    /// Makes this server a master.
    #[track_caller]
    pub fn promote(&self) {
        assert_eq!(self.cli(&["REPLICAOF", "NO", "ONE"]).trim(), "OK");
    }

    /// Writes a hundred keys, and waits until the replica has them.
    #[track_caller]
    pub fn fill(&self, replica: &Redis) {
        self.cli(&["EVAL", "for i = 1, 100 do redis.call('SET', 'key' .. i, i) end", "0"]);
        eventually(Duration::from_secs(10), "the replica has all keys", || {
            (replica.cli(&["DBSIZE"]).trim() == "100").then_some(())
        });
    }

    /// Returns the temporary data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns `host:port`, which is also the label `node` of an unnamed node.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Runs a command with `redis-cli`, and returns its output.
    pub fn cli(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port, "--no-auth-warning"])
            .args(command)
            .output()
            .expect("cannot run redis-cli");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns a field of INFO.
    pub fn info(&self, field: &str) -> Option<String> {
        let text = self.cli(&["INFO", "all"]);
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// Returns a field of INFO that is a whole number. Panics if it is absent.
    #[track_caller]
    pub fn number(&self, field: &str) -> u64 {
        self.info(field)
            .and_then(|number| number.parse().ok())
            .expect("the INFO field is absent or not a number")
    }

    /// Returns the `id=` fields of Rolecall's connections in CLIENT LIST. They are recognised by
    /// their last command, which is one that Rolecall sends at the end of a poll.
    pub fn rolecall_connections(&self) -> Vec<String> {
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

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the process exits by itself.
    #[track_caller]
    pub fn end(&mut self, limit: Duration) -> ExitStatus {
        self.process.end(limit).0
    }

    /// Kills the process with SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.signal(Signal::Kill);
        self.process.end(Duration::from_secs(5));
    }

    /// Starts the server again on the same port with the same data directory.
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
    let mut command = Command::new(server_program(version));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let defaults = ["--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"];
    command
        .args(["--port", &port.to_string()])
        .args(defaults)
        .arg("--dir")
        .arg(directory.path())
        .args(options);
    let process = Process::start(&mut command);
    until_listening(port);
    process
}

fn until_listening(port: u16) {
    eventually(Duration::from_secs(10), "the server listens", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
}

/// Returns the path or the name of the server program of one of the [`VERSIONS`].
pub fn server_program(version: &str) -> PathBuf {
    if version == "redis-7.0.15" {
        "redis-server".into()
    } else {
        installed().join("servers").join(version)
    }
}
