//! The real daemon.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;
use ureq::http::{HeaderName, HeaderValue};

use crate::{Process, Redis, Signal, Stopwatch, eventually};

/// `rolecall serve`, on a port of its own.
pub struct Daemon {
    /// The port of its web server, on 127.0.0.1.
    pub port: u16,
    process: Process,
    /// Its configuration, if it was given one.
    file: Option<ConfigFile>,
}

/// A configuration file, which can be written anew.
pub struct ConfigFile(TempDir);

impl ConfigFile {
    /// Writes this text to a new one.
    pub fn new(text: &str) -> Self {
        let file = ConfigFile(tempfile::tempdir().expect("a directory"));
        file.write(text);
        file
    }

    /// Replaces the text.
    pub fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("a file");
    }

    /// Where it is, as an argument.
    pub fn path(&self) -> String {
        self.0.path().join("rolecall.toml").display().to_string()
    }
}

/// An answer of its web server.
pub struct Response {
    /// The status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: String,
    /// All headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The text, decompressed.
    pub text: String,
    /// Time from asking to the end of the text.
    pub took: Duration,
}

impl Daemon {
    /// The binary that was built beside the tests.
    pub fn binary() -> PathBuf {
        let test = std::env::current_exe().expect("the path of the test");
        // target/PROFILE/deps for a test, target/PROFILE for a program.
        let binary = test
            .ancestors()
            .skip(1)
            .take(2)
            .map(|folder| folder.join("rolecall"))
            .find(|binary| binary.exists());
        binary.expect("run `cargo build --workspace` first")
    }

    /// Starts `rolecall serve` with these arguments, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        Self::run(&mut Command::new(Self::binary()), arguments)
    }

    /// Starts it through another command, which runs the binary with the arguments that follow.
    pub fn run(command: &mut Command, arguments: &[&str]) -> Self {
        Self::run_at(command, 0, arguments)
    }

    fn run_at(command: &mut Command, port_asked: u16, arguments: &[&str]) -> Self {
        command
            .args(["serve", "--web.listen-address", &format!("127.0.0.1:{port_asked}")])
            .args(arguments);
        let mut process = Process::start(command);
        let (port, _) = eventually(Duration::from_secs(10), "rolecall listens", || {
            assert!(process.ended().is_none(), "rolecall ended: {:?}", process.log());
            process.log().iter().find_map(|line| port(line))
        });
        Daemon { port, process, file: None }
    }

    /// Starts it on these nodes, and waits until it is ready.
    pub fn serve(nodes: &[&str]) -> Self {
        let daemon = Self::start(nodes);
        daemon.until_ready();
        daemon
    }

    /// Starts it on these servers, and waits until it is ready.
    pub fn watch(servers: &[&Redis]) -> Self {
        let urls: Vec<_> = servers.iter().map(|server| server.url()).collect();
        Self::serve(&urls.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts it with this text as its configuration, and waits until it is ready.
    pub fn configured(text: &str) -> Self {
        Self::configured_at(text, 0)
    }

    /// The same with more arguments.
    pub fn configured_with(text: &str, arguments: &[&str]) -> Self {
        Self::run_on(ConfigFile::new(text), 0, arguments)
    }

    /// The same on a given port, as one that starts again.
    pub fn configured_at(text: &str, port: u16) -> Self {
        Self::run_on(ConfigFile::new(text), port, &[])
    }

    fn run_on(file: ConfigFile, port: u16, arguments: &[&str]) -> Self {
        let path = file.path();
        let mut daemon = Self::run_at(
            &mut Command::new(Self::binary()),
            port,
            &[&["--config.file", &path], arguments].concat(),
        );
        daemon.until_ready();
        daemon.file = Some(file);
        daemon
    }

    /// Writes its configuration anew, of which it is not told.
    #[track_caller]
    pub fn rewrite(&self, text: &str) {
        self.file.as_ref().expect("a configuration").write(text);
    }

    /// Has it read another configuration.
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

    /// Asks its web server.
    pub fn get(&self, path: &str, accept: &str) -> Response {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .into();
        let begun = Stopwatch::start();
        let mut response = agent
            .get(format!("http://127.0.0.1:{}{path}", self.port))
            .header("Accept", accept)
            .call()
            .expect(path);
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().expect("text");
        let took = begun.elapsed();
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().unwrap_or_default().to_owned())
        };
        let headers: BTreeMap<_, _> = response.headers().iter().map(header).collect();
        let content_type = headers.get("content-type").cloned().unwrap_or_default();
        Response { status: response.status().as_u16(), content_type, headers, text, took }
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> Vec<String> {
        self.process.log()
    }

    /// The logged lines about one kind of event.
    pub fn logged(&self, event: &str) -> Vec<String> {
        let word = format!(" event={event}");
        self.log().into_iter().filter(|line| line.contains(&word)).collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        self.process.end(limit)
    }
}

/// The part of a configuration that has these servers as one deployment; more of its keys may follow.
pub fn deployment(name: &str, servers: &[&Redis]) -> String {
    let nodes: Vec<_> =
        servers.iter().map(|server| format!("{{ url = '{}' }}", server.url())).collect();
    format!("[[deployment]]\nname = '{name}'\nnodes = [{}]\n", nodes.join(", "))
}

/// The port in the line that says where it listens, in either format of log lines.
fn port(line: &str) -> Option<u16> {
    let after = line.contains("listening").then(|| line.split("127.0.0.1:").nth(1)).flatten()?;
    after.trim_end_matches(['"', '}', ' ']).parse().ok()
}

impl Drop for Daemon {
    /// Whatever was tested: the daemon must not have panicked meanwhile.
    fn drop(&mut self) {
        let log = self.log();
        let panicked = log.iter().find(|line| line.contains("panicked at"));
        assert!(panicked.is_none() || std::thread::panicking(), "{panicked:?}");
    }
}
