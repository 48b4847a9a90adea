//! Clients of the deployments: redis-py processes on hosts of their own, which write numbered keys.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tests::{Host, Stopwatch, installed};

/// Program of the client.
const PROGRAM: &str = include_str!("client.py");

/// Way in which a client finds the node to which it writes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// It writes to the node whose address is in this file.
    Direct(PathBuf),
    /// It asks these Sentinels for the master of this name.
    Sentinels(Vec<String>, String),
    /// It asks these nodes of a cluster.
    Cluster(Vec<String>),
}

/// Settings of a client.
#[derive(Debug, Clone)]
pub(crate) struct ClientSettings {
    pub(crate) target: Target,
    pub(crate) password: Option<String>,
    /// Certificate of the authority, if the nodes use TLS.
    pub(crate) certificate: Option<PathBuf>,
    /// Prefix of its keys.
    pub(crate) prefix: String,
    /// Writes per second.
    pub(crate) rate: u32,
}

/// Running client. It is stopped when the value is dropped.
pub(crate) struct Client {
    child: Child,
    log: Arc<Mutex<WriteLog>>,
    pub(crate) settings: ClientSettings,
}

/// Outcomes of the writes of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteLog {
    /// Outcome of each write, by number.
    pub(crate) writes: BTreeMap<u64, Write>,
    /// Numbers of the outcomes of the last write that the node accepted, refused, or left hanging.
    pub(crate) last_acknowledged: Option<Duration>,
    pub(crate) last_refused: Option<Duration>,
    pub(crate) last_hung: Option<Duration>,
}

/// Outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Time since the start of the history.
    pub(crate) at: Duration,
    pub(crate) outcome: Outcome,
}

/// Outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged,
    /// The node replied with this error code.
    Refused(String),
    /// No reply: the node may have executed it or not.
    Hung,
}

impl Client {
    /// Starts a client on a host. Its outcomes get times of this clock.
    pub(crate) fn start(
        host: &Host,
        settings: ClientSettings,
        clock: &Arc<Stopwatch>,
    ) -> Result<Self, String> {
        let (mode, target) = match &settings.target {
            Target::Direct(file) => ("direct", file.display().to_string()),
            Target::Sentinels(sentinels, name) => {
                ("sentinel", format!("{}/{name}", sentinels.join(",")))
            }
            Target::Cluster(nodes) => ("cluster", nodes.join(",")),
        };
        let certificate = settings.certificate.as_ref();
        let certificate = certificate.map_or("-".to_owned(), |path| path.display().to_string());
        let mut child = Command::new("ip")
            .args(["netns", "exec", host.namespace.as_deref().unwrap_or_default()])
            .args(["python3", "-c", PROGRAM, mode, &target])
            .args([settings.password.as_deref().unwrap_or("-"), &certificate])
            .args([&settings.prefix, &settings.rate.to_string()])
            .env("PYTHONPATH", installed().join("python"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start a client: {error}"))?;
        let log = Arc::<Mutex<WriteLog>>::default();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (shared, clock) = (Arc::clone(&log), Arc::clone(clock));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut log = shared.lock().unwrap_or_else(PoisonError::into_inner);
                log.add(&line, clock.elapsed());
            }
        });
        Ok(Client { child, log, settings })
    }

    /// Returns a copy of its log.
    pub(crate) fn log(&self) -> WriteLog {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the client.
    pub(crate) fn stop(&mut self) {
        // It has ended if this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop();
    }
}

impl WriteLog {
    fn add(&mut self, line: &str, at: Duration) {
        let mut words = line.split(' ');
        let Some(number) = words.next().and_then(|number| number.parse().ok()) else { return };
        let outcome = match (words.next(), words.next()) {
            (Some("ok"), _) => {
                self.last_acknowledged = Some(at);
                Outcome::Acknowledged
            }
            (Some("refused"), code) => {
                self.last_refused = Some(at);
                Outcome::Refused(code.unwrap_or_default().to_owned())
            }
            _ => {
                self.last_hung = Some(at);
                Outcome::Hung
            }
        };
        self.writes.insert(number, Write { at, outcome });
    }

    /// Returns the number of writes with an outcome within a span of time.
    pub(crate) fn count(
        &self,
        span: std::ops::Range<Duration>,
        is_counted: impl Fn(&Outcome) -> bool,
    ) -> usize {
        let recent = self.writes.values().rev().take_while(|write| write.at >= span.start);
        recent.filter(|write| write.at < span.end && is_counted(&write.outcome)).count()
    }
}
