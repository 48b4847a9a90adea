//! Redis or Valkey server, or Sentinel, with a configuration file on any host of the testbed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::redis::server_program;
use crate::{Connection, Host, Process, Signal, entries, eventually, free_port};

/// Running server or Sentinel with its own configuration file, which it may rewrite.
pub struct Server {
    /// The IP address.
    pub host: String,
    /// The port.
    pub port: u16,
    pub(crate) version: &'static str,
    is_sentinel: bool,
    /// The host.
    pub place: Host,
    password: Option<&'static str>,
    directory: TempDir,
    process: Process,
}

impl Server {
    /// Starts a server or a Sentinel on a free port of a host, with these additional configuration
    /// lines, and waits until it replies.
    pub fn start(
        version: &'static str,
        is_sentinel: bool,
        place: &Host,
        options: &str,
        password: Option<&'static str>,
    ) -> Self {
        Self::start_on(version, is_sentinel, place, free_port(), options, password)
    }

    /// Does the same as [`Self::start`] on a given port.
    pub fn start_on(
        version: &'static str,
        is_sentinel: bool,
        place: &Host,
        port: u16,
        options: &str,
        password: Option<&'static str>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("cannot create a directory");
        let (host, folder) = (place.host.clone(), directory.path().display());
        let mut text = format!("port {port}\nbind {host}\nprotected-mode no\ndir {folder}\n");
        if has_own_address(version, place) {
            // Its peers see the address of the host, as they see that of a pod.
            writeln!(text, "bind-source-addr {host}").expect("writing to a string cannot fail");
        }
        if !is_sentinel {
            text += "save \"\"\nrepl-diskless-sync-delay 0\n";
        }
        std::fs::write(directory.path().join("server.conf"), text + options)
            .expect("cannot write a file");
        let process = launch(version, is_sentinel, place, &directory);
        let server = Server {
            host,
            port,
            version,
            is_sentinel,
            place: place.clone(),
            password,
            directory,
            process,
        };
        server.until_replies();
        server
    }

    /// Starts a standalone server on the loopback interface.
    pub fn standalone(version: &'static str) -> Self {
        Self::start(version, false, &Host::loopback(), "", None)
    }

    /// Returns `host:port`, which is also the label `node` of an unnamed node.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Opens a connection, with the password of the server.
    ///
    /// # Errors
    /// Fails if the server does not accept the connection or does not reply within 2 s.
    pub fn connect(&self) -> std::io::Result<Connection> {
        Connection::connect(&self.address(), self.password)
    }

    /// Runs a command and returns its reply; see [`Connection::execute`]. Panics if there is none.
    #[track_caller]
    pub fn execute(&self, command: &[&str]) -> Vec<String> {
        self.try_execute(command)
            .unwrap_or_else(|| panic!("{} does not reply to {command:?}", self.address()))
    }

    /// Runs a command and returns its reply; nothing if there is none.
    pub fn try_execute(&self, command: &[&str]) -> Option<Vec<String>> {
        self.connect().ok()?.execute(command).ok()
    }

    /// Returns the entries of a reply such as that of SENTINEL REPLICAS. Each entry is a list of
    /// fields that begins with `name`.
    pub fn table(&self, command: &[&str]) -> Vec<BTreeMap<String, String>> {
        entries(&self.try_execute(command).unwrap_or_default())
    }

    /// Returns the fields of SENTINEL MASTER for a master name.
    #[track_caller]
    pub fn master(&self, name: &str) -> BTreeMap<String, String> {
        self.table(&["SENTINEL", "MASTER", name])
            .pop()
            .expect("the Sentinel does not know the master")
    }

    /// Returns the fields of a section of INFO; none if the server does not reply.
    pub fn section(&self, section: &str) -> BTreeMap<String, String> {
        let text = self.try_execute(&["INFO", section]).unwrap_or_default().concat();
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(field, value)| (field.to_owned(), value.to_owned()))
            .collect()
    }

    /// Returns the fields of the INFO section `replication`.
    pub fn replication(&self) -> BTreeMap<String, String> {
        self.section("replication")
    }

    /// Returns the INFO field `role`: `master` or `slave`.
    pub fn role(&self) -> Option<String> {
        self.replication().remove("role")
    }

    /// Returns the lines of CLIENT LIST that belong to Rolecall: all except Sentinels, replication
    /// links and the connections of the test itself.
    pub fn clients(&self) -> Vec<String> {
        let list = self.execute(&["CLIENT", "LIST"]).concat();
        let own = format!(" name={} ", crate::connection::CLIENT_NAME);
        let known = [" name=sentinel-", " flags=S ", " flags=M ", &own];
        list.lines()
            .filter(|line| known.iter().all(|known| !line.contains(known)))
            .map(str::to_owned)
            .collect()
    }

    /// Waits until the replica is synchronised with its master.
    #[track_caller]
    pub fn until_synchronised(&self) {
        eventually(Duration::from_secs(20), "the replica is synchronised", || {
            (self.replication().get("master_link_status")? == "up").then_some(())
        });
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Kills the process with SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.signal(Signal::Kill);
        self.process.end(Duration::from_secs(5));
    }

    /// Restarts the server as an operator does: stops it with SIGTERM, and starts it again.
    pub fn restart_gracefully(&mut self) {
        self.stop();
        self.restart();
    }

    /// Starts the server again with its configuration file, including what the server wrote to it.
    pub fn restart(&mut self) {
        self.process = launch(self.version, self.is_sentinel, &self.place, &self.directory);
        self.until_replies();
    }

    /// Starts the server again without its RDB file, and so without data if it has no append-only
    /// file.
    pub fn restart_without_data(&mut self) {
        let file = self.directory.path().join("dump.rdb");
        if file.exists() {
            std::fs::remove_file(file).expect("cannot remove a file");
        }
        self.restart();
    }

    /// Starts the server again on another port, like a pod that gets a new address.
    pub fn restart_on_port(&mut self, port: u16) {
        let file = self.directory.path().join("server.conf");
        let text = std::fs::read_to_string(&file).expect("cannot read the configuration");
        std::fs::write(
            &file,
            text.replacen(&format!("port {}\n", self.port), &format!("port {port}\n"), 1),
        )
        .expect("cannot write a file");
        self.port = port;
        self.restart();
    }

    /// Stops the server with SIGTERM, as Kubernetes stops a pod, and waits until it is gone.
    pub fn stop(&mut self) {
        self.process.signal(Signal::Term);
        self.process.end(Duration::from_secs(20));
    }

    /// Starts a stopped server with its data on another host, like a pod that gets a new address.
    pub fn start_elsewhere(&mut self, place: &Host) {
        self.rewrite_options(&[
            ("bind", &place.host),
            ("bind-source-addr", &place.host),
            ("cluster-announce-ip", &place.host),
        ]);
        (self.host, self.place) = (place.host.clone(), place.clone());
        self.restart();
    }

    /// Starts a stopped server with its data and the program of another version.
    pub fn start_upgraded(&mut self, version: &'static str) {
        self.version = version;
        self.restart();
    }

    /// Replaces the values of these options in the configuration file, where it has them.
    fn rewrite_options(&self, options: &[(&str, &str)]) {
        let file = self.directory.path().join("server.conf");
        let text = std::fs::read_to_string(&file).expect("cannot read the configuration");
        let rewritten = text.lines().map(|line| {
            let name = line.split(' ').next().unwrap_or_default();
            match options.iter().find(|(option, _)| *option == name) {
                Some((option, value)) => format!("{option} {value}\n"),
                None => format!("{line}\n"),
            }
        });
        std::fs::write(&file, rewritten.collect::<String>()).expect("cannot write a file");
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    #[track_caller]
    fn until_replies(&self) {
        let replies = || {
            self.try_execute(&["PING"]).filter(|reply| !reply[0].starts_with("-NOAUTH")).map(drop)
        };
        eventually(Duration::from_secs(20), "the server replies", replies);
    }
}

/// Returns true if the server runs on a loopback address of its own, and its version can use that
/// address for the connections that it opens.
fn has_own_address(version: &str, place: &Host) -> bool {
    let is_old = version.starts_with("redis-5") || version.starts_with("redis-6");
    place.host.starts_with("127.") && place.host != "127.0.0.1" && !is_old
}

/// Returns a command that runs the program in its arguments with another `/etc/resolv.conf`.
pub(crate) fn with_resolver(resolver: &Path) -> Command {
    let mount =
        format!("mount --bind '{}' /etc/resolv.conf && exec \"$0\" \"$@\"", resolver.display());
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &mount]);
    command
}

fn launch(version: &str, is_sentinel: bool, place: &Host, directory: &TempDir) -> Process {
    let server = server_program(version);
    // The commands before the server replace themselves with it, so signals reach the server.
    let mut command = match (&place.namespace, &place.resolver) {
        (Some(namespace), _) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(server);
            command
        }
        (None, Some(resolver)) => {
            let mut command = with_resolver(resolver);
            command.arg(server);
            command
        }
        (None, None) => Command::new(server),
    };
    command.arg(directory.path().join("server.conf"));
    if is_sentinel {
        command.arg("--sentinel");
    }
    Process::start(&mut command)
}
