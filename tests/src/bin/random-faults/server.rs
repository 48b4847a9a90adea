//! Server processes: data nodes and Sentinels, each on a host of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::{
    Connection, Disk, FaultInjector, Host, Process, Signal, entries, eventually, server_program,
    until_ok,
};

use crate::operation::Data;

/// Port of all data nodes.
pub(crate) const PORT: u16 = 6379;

/// Port of all Sentinels.
pub(crate) const SENTINEL_PORT: u16 = 26379;

/// Longest wait for a reply through a Unix socket. A server that needs longer hangs.
const REPLY_LIMIT: Duration = Duration::from_millis(400);

/// Size of a small disk, megabytes.
const SMALL_DISK: u32 = 4;

/// State of a server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Running,
    /// Stopped by SIGSTOP.
    Frozen,
    Dead,
}

/// Server process and its files. The process is killed when the value is dropped.
pub(crate) struct ServerProcess {
    version: &'static str,
    is_sentinel: bool,
    host: Host,
    /// Password that the server requires now.
    pub(crate) password: Option<String>,
    pub(crate) state: ProcessState,
    process: Option<Process>,
    connection: RefCell<Option<Connection>>,
    faults: FaultInjector,
    disk: Option<Disk>,
    is_disk_full: bool,
    /// Contains the configuration file, the Unix socket, and without a small disk the data.
    directory: TempDir,
}

impl ServerProcess {
    /// Starts a server with these configuration lines, and waits until it replies.
    pub(crate) fn start(
        version: &'static str,
        is_sentinel: bool,
        host: &Host,
        options: &str,
        password: Option<String>,
        has_small_disk: bool,
    ) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut server = ServerProcess {
            version,
            is_sentinel,
            host: host.clone(),
            password,
            state: ProcessState::Dead,
            process: None,
            connection: RefCell::new(None),
            faults: FaultInjector::build(),
            disk: has_small_disk.then(|| Disk::with_megabytes(SMALL_DISK)),
            is_disk_full: false,
            directory,
        };
        let data = server.data();
        std::fs::create_dir_all(&data).map_err(|error| error.to_string())?;
        let text = format!(
            "protected-mode no\ndir {}\nunixsocket {}\n{options}",
            data.display(),
            server.socket().display()
        );
        std::fs::write(server.file("server.conf"), text).map_err(|error| error.to_string())?;
        server.launch();
        server.wait_for_reply();
        Ok(server)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.file("socket")
    }

    /// Returns the data directory.
    fn data(&self) -> PathBuf {
        match &self.disk {
            Some(disk) => disk.path().join("data"),
            None => self.file("data"),
        }
    }

    fn launch(&mut self) {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.host.namespace.as_deref().unwrap_or_default()])
            .arg(server_program(self.version))
            .arg(self.file("server.conf"))
            .envs(self.faults.environment());
        if self.is_sentinel {
            command.arg("--sentinel");
        }
        self.process = Some(Process::start(&mut command));
        self.state = ProcessState::Running;
    }

    fn wait_for_reply(&self) {
        until_ok(Duration::from_secs(20), || {
            let log = || self.process.as_ref().map(Process::log).unwrap_or_default();
            let failed = || format!("the server does not reply: {:?}", log());
            self.execute(&["PING"]).ok_or_else(failed)
        });
    }

    /// Copies the data directory, to which [`Data::Old`] goes back.
    pub(crate) fn back_up(&self) {
        copy(&self.data(), &self.file("old"));
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::Kill);
            process.end(Duration::from_secs(5));
        }
        self.state = ProcessState::Dead;
    }

    /// Starts a dead process with these data. Does not wait until it replies.
    pub(crate) fn revive(&mut self, data: Data) {
        if self.state != ProcessState::Dead {
            return;
        }
        let directory = self.data();
        match data {
            Data::Kept => {}
            Data::Deleted => clear(&directory),
            Data::Old => {
                clear(&directory);
                copy(&self.file("old"), &directory);
            }
        }
        self.launch();
    }

    /// Stops a running process with SIGSTOP.
    pub(crate) fn freeze(&mut self) {
        if self.is_alive() && self.state == ProcessState::Running {
            self.signal(Signal::Stop);
            self.state = ProcessState::Frozen;
        }
    }

    /// Continues a frozen process.
    pub(crate) fn thaw(&mut self) {
        if self.state == ProcessState::Frozen {
            self.signal(Signal::Cont);
            self.state = ProcessState::Running;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Returns true unless the process ended, by itself or by a signal.
    pub(crate) fn is_alive(&mut self) -> bool {
        let ended = self.process.as_mut().is_none_or(|process| process.exit_status().is_some());
        if ended {
            (self.state, self.process) = (ProcessState::Dead, None);
        }
        !ended
    }

    /// Fills the disk, if the data is on a small one.
    pub(crate) fn fill_disk(&mut self) {
        if let Some(disk) = self.disk.as_ref().filter(|_| !self.is_disk_full) {
            disk.fill();
            self.is_disk_full = true;
        }
    }

    /// Frees a full disk.
    pub(crate) fn free_disk(&mut self) {
        if let Some(disk) = self.disk.as_ref().filter(|_| self.is_disk_full) {
            disk.free();
            self.is_disk_full = false;
        }
    }

    /// Returns the faults of its file operations.
    pub(crate) fn faults(&self) -> &FaultInjector {
        &self.faults
    }

    /// Opens a connection through the Unix socket, which no fault of the network cuts.
    fn connect(&self) -> Option<Connection> {
        Connection::connect_unix(&self.socket(), self.password.as_deref(), REPLY_LIMIT).ok()
    }

    /// Runs a command through the Unix socket and returns its reply. Returns `None` if the process
    /// does not run, hangs or accepts no more clients.
    pub(crate) fn execute(&self, command: &[&str]) -> Option<Vec<String>> {
        if self.state != ProcessState::Running {
            return None;
        }
        // The connection is kept, since a server may have no place for another one.
        let kept = self.connection.borrow_mut().take();
        let reply = kept.and_then(|mut connection| {
            let reply = connection.execute(command).ok()?;
            Some((connection, reply))
        });
        let (connection, reply) = reply.or_else(|| {
            let mut connection = self.connect()?;
            let reply = connection.execute(command).ok()?;
            Some((connection, reply))
        })?;
        self.connection.replace(Some(connection));
        Some(reply)
    }

    /// Returns the fields of INFO; `None` if it does not reply with them.
    pub(crate) fn info(&self) -> Option<Fields> {
        let fields = Fields::parse(&self.execute(&["INFO"])?.concat());
        fields.get("run_id").is_some().then_some(fields)
    }

    /// Returns the fields of each entry in a reply such as that of SENTINEL REPLICAS.
    pub(crate) fn table(&self, command: &[&str]) -> Option<Vec<BTreeMap<String, String>>> {
        // An error has one field.
        self.execute(command).filter(|reply| reply.len() > 1).map(|reply| entries(&reply))
    }
}

/// Fields of INFO.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Parses the lines `name:value`.
    pub(crate) fn parse(text: &str) -> Self {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Fields(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Returns a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns a field that is a whole number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// Returns true if the INFO field `role` is `master`.
    pub(crate) fn is_master(&self) -> bool {
        self.get("role") == Some("master")
    }

    /// Returns the address of the master that a replica follows.
    pub(crate) fn master_address(&self) -> Option<String> {
        let (host, port) = (self.get("master_host")?, self.get("master_port")?);
        (!self.is_master()).then(|| format!("{host}:{port}"))
    }

    /// Returns true for a replica whose link to its master is up.
    pub(crate) fn is_linked(&self) -> bool {
        self.get("master_link_status") == Some("up")
    }
}

/// Waits until a server meets a condition.
pub(crate) fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    eventually(limit, what, || holds().then_some(()));
}

/// Copies the files of a directory, also those in its directories.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--no-target-directory"]).args([from, to]).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot copy {}", from.display());
}

/// Removes everything in a data directory except the map of a cluster, without which the server
/// would be another cluster node.
fn clear(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_map = entry.file_name() == "nodes.conf";
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false if is_map => Ok(()),
            false => std::fs::remove_file(&path),
        };
        removed.unwrap_or_else(|error| panic!("cannot remove {}: {error}", path.display()));
    }
}
