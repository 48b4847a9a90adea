//! The daemon as a separate process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;
use ureq::http::{HeaderName, HeaderValue};

use crate::{Host, Process, Redis, Signal, Stopwatch, eventually, program};

/// Running `rolecall serve` with a free port.
pub struct Daemon {
    /// The port of its HTTP server.
    pub port: u16,
    /// The IP address of its HTTP server, 127.0.0.1 unless it runs on another host.
    pub host: String,
    process: Process,
    /// The configuration file, if it was started with one.
    file: Option<ConfigFile>,
}

/// Temporary configuration file that can be overwritten.
pub struct ConfigFile(TempDir);

impl ConfigFile {
    /// Creates a file with this text.
    pub fn new(text: &str) -> Self {
        let file = ConfigFile(tempfile::tempdir().expect("cannot create a directory"));
        file.write(text);
        file
    }

    /// Overwrites the file with this text.
    pub fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("cannot write a file");
    }

    /// Returns the path of the file.
    pub fn path(&self) -> String {
        self.0.path().join("rolecall.toml").display().to_string()
    }
}

/// Response of the HTTP server of the daemon.
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// The header `Content-Type`; empty if absent.
    pub content_type: String,
    /// All headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The decompressed body.
    pub text: String,
    /// Time from the request to the end of the body.
    pub took: Duration,
}

impl Daemon {
    /// Returns the path of the `rolecall` binary in the target directory of the tests.
    pub fn binary() -> PathBuf {
        program("rolecall")
    }

    /// Starts `rolecall serve` with these arguments, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        Self::run(&mut Command::new(Self::binary()), arguments)
    }

    /// Starts `rolecall serve` with a prepared command, to which the arguments are appended, and
    /// waits until it listens.
    pub fn run(command: &mut Command, arguments: &[&str]) -> Self {
        Self::run_at(command, "127.0.0.1", 0, arguments)
    }

    /// Starts `rolecall serve` with this configuration on a host of the testbed, with its HTTP
    /// server on the address of the host. Waits until it is ready.
    pub fn on_host(place: &Host, text: &str) -> Self {
        let daemon = Self::on_host_at(place, text, 0, &[]);
        daemon.until_ready();
        daemon
    }

    /// Does the same as [`Self::on_host`] on a given port, with additional arguments. Waits only
    /// until the daemon listens.
    pub fn on_host_at(place: &Host, text: &str, port: u16, arguments: &[&str]) -> Self {
        let file = ConfigFile::new(text);
        let namespace = place.namespace.as_deref().expect("the host has no network namespace");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(Self::binary());
        let path = file.path();
        let arguments = [&["--config.file", &path], arguments].concat();
        let mut daemon = Self::run_at(&mut command, &place.host, port, &arguments);
        daemon.file = Some(file);
        daemon
    }

    fn run_at(command: &mut Command, host: &str, requested_port: u16, arguments: &[&str]) -> Self {
        command
            .args(["serve", "--web.listen-address", &format!("{host}:{requested_port}")])
            .args(arguments);
        Self::launch(command, host)
    }

    /// Starts the daemon under the name `redis_exporter`, with these environment variables and
    /// arguments and a free port, and waits until it listens.
    pub fn as_redis_exporter(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("cannot create a directory");
        let link = folder.path().join("redis_exporter");
        std::os::unix::fs::symlink(Self::binary(), &link).expect("cannot create a link");
        let mut command = Command::new(link);
        command
            .env("REDIS_EXPORTER_WEB_LISTEN_ADDRESS", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .args(arguments);
        Self::launch(&mut command, "127.0.0.1")
    }

    /// Starts a complete command, and waits until it listens on a port of this address.
    pub fn launch(command: &mut Command, host: &str) -> Self {
        let mut process = Process::start(command);
        let (port, _) = eventually(Duration::from_secs(10), "rolecall listens", || {
            assert!(process.exit_status().is_none(), "rolecall exited: {:?}", process.log());
            process.log().iter().find_map(|line| port(line, host))
        });
        Daemon { port, host: host.to_owned(), process, file: None }
    }

    /// Starts `rolecall serve` with these node URLs or arguments, and waits until it is ready.
    pub fn serve(nodes: &[&str]) -> Self {
        let daemon = Self::start(nodes);
        daemon.until_ready();
        daemon
    }

    /// Starts `rolecall serve` for these servers, and waits until it is ready.
    pub fn watch(servers: &[&Redis]) -> Self {
        let urls: Vec<_> = servers.iter().map(|server| server.url()).collect();
        Self::serve(&urls.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts `rolecall serve` with this configuration, and waits until it is ready.
    pub fn configured(text: &str) -> Self {
        Self::configured_at(text, 0)
    }

    /// Does the same as [`Self::configured`], with additional arguments.
    pub fn configured_with(text: &str, arguments: &[&str]) -> Self {
        Self::run_on(ConfigFile::new(text), 0, arguments)
    }

    /// Does the same as [`Self::configured`] on a given port, as after a restart.
    pub fn configured_at(text: &str, port: u16) -> Self {
        Self::run_on(ConfigFile::new(text), port, &[])
    }

    /// Starts `rolecall serve` with a prepared command, a configuration file and a port, and waits
    /// until it listens.
    pub(crate) fn run_with_file(command: &mut Command, file: ConfigFile, port: u16) -> Self {
        let mut daemon = Self::run_at(command, "127.0.0.1", port, &["--config.file", &file.path()]);
        daemon.file = Some(file);
        daemon
    }

    fn run_on(file: ConfigFile, port: u16, arguments: &[&str]) -> Self {
        let path = file.path();
        let mut daemon = Self::run_at(
            &mut Command::new(Self::binary()),
            "127.0.0.1",
            port,
            &[&["--config.file", &path], arguments].concat(),
        );
        daemon.until_ready();
        daemon.file = Some(file);
        daemon
    }

    /// Returns the path of the configuration file, if the daemon was started with one.
    pub fn configuration(&self) -> Option<String> {
        self.file.as_ref().map(ConfigFile::path)
    }

    /// Overwrites the configuration file. The daemon does not reload it.
    #[track_caller]
    pub fn rewrite(&self, text: &str) {
        self.file.as_ref().expect("the daemon has no configuration file").write(text);
    }

    /// Overwrites the configuration file, and makes the daemon reload it with SIGHUP.
    #[track_caller]
    pub fn reload(&self, text: &str) {
        self.rewrite(text);
        self.signal(Signal::Hangup);
    }

    fn until_ready(&self) {
        eventually(Duration::from_secs(10), "rolecall is ready", || {
            (self.get("/-/ready", "").status == 200).then_some(())
        });
    }

    /// Sends a GET request with this `Accept` header, with a timeout of 10 s.
    pub fn get(&self, path: &str, accept: &str) -> Response {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .into();
        let begun = Stopwatch::start();
        let mut response = agent.get(self.url(path)).header("Accept", accept).call().expect(path);
        let text = response
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_string()
            .expect("the body is not text");
        let took = begun.elapsed();
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().unwrap_or_default().to_owned())
        };
        let headers: BTreeMap<_, _> = response.headers().iter().map(header).collect();
        let content_type = headers.get("content-type").cloned().unwrap_or_default();
        Response { status: response.status().as_u16(), content_type, headers, text, took }
    }

    /// Returns the URL of a path of its HTTP server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.host, self.port)
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the log lines so far.
    pub fn log(&self) -> Vec<String> {
        self.process.log()
    }

    /// Returns the log lines that have this value in the field `event`.
    pub fn logged_events(&self, event: &str) -> Vec<String> {
        let field = format!(" event={event}");
        self.log().into_iter().filter(|line| line.contains(&field)).collect()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the process exits, and returns the exit status and the time waited.
    #[track_caller]
    pub fn end(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        self.process.end(limit)
    }
}

/// Returns a `[[deployment]]` section with these servers as its nodes. Callers may append more
/// keys.
pub fn deployment(name: &str, servers: &[&Redis]) -> String {
    let nodes: Vec<_> =
        servers.iter().map(|server| format!("{{ url = '{}' }}", server.url())).collect();
    format!("[[deployment]]\nname = '{name}'\nnodes = [{}]\n", nodes.join(", "))
}

/// Returns the port from the log line about the listening address, in either log format.
fn port(line: &str, host: &str) -> Option<u16> {
    let host = format!("{host}:");
    let after = line.contains("listening").then(|| line.split(host.as_str()).nth(1)).flatten()?;
    after.trim_end_matches(['"', '}', ' ']).parse().ok()
}

impl Drop for Daemon {
    /// Fails every test during which the daemon panicked.
    fn drop(&mut self) {
        let log = self.log();
        let panicked = log.iter().find(|line| line.contains("panicked at"));
        assert!(panicked.is_none() || std::thread::panicking(), "{panicked:?}");
    }
}
