//! A real server or Sentinel, a process of its own at a place of its own.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Place, Process, Signal, Wire, eventually, free_port, installed};

/// A server with a configuration file of its own, which it may rewrite.
pub struct Server {
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    version: &'static str,
    is_sentinel: bool,
    pub(crate) place: Place,
    password: Option<&'static str>,
    directory: TempDir,
    process: Process,
}

impl Server {
    /// Starts a server, or a Sentinel, at a place with these lines in its configuration, and waits until it answers.
    pub fn start(
        version: &'static str,
        is_sentinel: bool,
        place: &Place,
        options: &str,
        password: Option<&'static str>,
    ) -> Self {
        Self::start_on(version, is_sentinel, place, free_port(), options, password)
    }

    /// The same on a given port.
    pub fn start_on(
        version: &'static str,
        is_sentinel: bool,
        place: &Place,
        port: u16,
        options: &str,
        password: Option<&'static str>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (host, folder) = (place.host.clone(), directory.path().display());
        let mut text = format!("port {port}\nbind {host}\nprotected-mode no\ndir {folder}\n");
        if !is_sentinel {
            text += "save \"\"\nrepl-diskless-sync-delay 0\n";
        }
        std::fs::write(directory.path().join("server.conf"), text + options).expect("a file");
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
        server.until_answers();
        server
    }

    /// A server by itself on the loopback interface.
    pub fn alone(version: &'static str) -> Self {
        Self::start(version, false, &Place::loopback(), "", None)
    }

    /// Its address and port, which are its label.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// A connection to it.
    ///
    /// # Errors
    /// It does not listen, or does not answer within 2 s.
    pub fn connect(&self) -> std::io::Result<Wire> {
        Wire::connect(&self.address(), self.password)
    }

    /// Runs a command on it; see [`Wire::ask`].
    #[track_caller]
    pub fn ask(&self, command: &[&str]) -> Vec<String> {
        self.try_ask(command)
            .unwrap_or_else(|| panic!("{} does not answer {command:?}", self.address()))
    }

    /// Runs a command on it, if it answers.
    pub fn try_ask(&self, command: &[&str]) -> Option<Vec<String>> {
        self.connect().ok()?.ask(command).ok()
    }

    /// A reply that lists entries of fields, each with its `name` first.
    pub fn table(&self, command: &[&str]) -> Vec<BTreeMap<String, String>> {
        let mut entries: Vec<BTreeMap<String, String>> = Vec::new();
        for field in self.try_ask(command).unwrap_or_default().chunks_exact(2) {
            if field[0] == "name" {
                entries.push(BTreeMap::new());
            }
            entries
                .last_mut()
                .expect("a name comes first")
                .insert(field[0].clone(), field[1].clone());
        }
        entries
    }

    /// What a Sentinel says of a master.
    #[track_caller]
    pub fn master(&self, name: &str) -> BTreeMap<String, String> {
        self.table(&["SENTINEL", "MASTER", name]).pop().expect("a master")
    }

    /// The fields of a section of its INFO.
    pub fn section(&self, section: &str) -> BTreeMap<String, String> {
        let text = self.try_ask(&["INFO", section]).unwrap_or_default().concat();
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(field, value)| (field.to_owned(), value.to_owned()))
            .collect()
    }

    /// The fields of its INFO about replication.
    pub fn replication(&self) -> BTreeMap<String, String> {
        self.section("replication")
    }

    /// The role that it claims, in its own words.
    pub fn role(&self) -> Option<String> {
        self.replication().remove("role")
    }

    /// Clients of a server that are neither Sentinels, nor replicas, nor the test's own: those of Rolecall.
    pub fn clients(&self) -> Vec<String> {
        let list = self.ask(&["CLIENT", "LIST"]).concat();
        let own = format!(" name={} ", crate::wire::NAME);
        let known = [" name=sentinel-", " flags=S ", " flags=M ", &own];
        list.lines()
            .filter(|line| known.iter().all(|known| !line.contains(known)))
            .map(str::to_owned)
            .collect()
    }

    /// Waits until it is synchronised with its master.
    #[track_caller]
    pub fn until_linked(&self) {
        eventually(Duration::from_secs(20), "the replica is synchronised", || {
            (self.replication().get("master_link_status")? == "up").then_some(())
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.process.signal(Signal::Kill);
        self.process.end(Duration::from_secs(5));
    }

    /// Asks it to stop, and starts it again once it did: what an operator does.
    pub fn bounce(&mut self) {
        self.process.signal(Signal::Term);
        self.process.end(Duration::from_secs(20));
        self.restart();
    }

    /// Starts it again, with what it last wrote to its configuration.
    pub fn restart(&mut self) {
        self.process = launch(self.version, self.is_sentinel, &self.place, &self.directory);
        self.until_answers();
    }

    /// Starts it again at another port, as a pod that is given another address.
    pub fn move_to(&mut self, port: u16) {
        let file = self.directory.path().join("server.conf");
        let text = std::fs::read_to_string(&file).expect("its configuration");
        std::fs::write(
            &file,
            text.replacen(&format!("port {}\n", self.port), &format!("port {port}\n"), 1),
        )
        .expect("a file");
        self.port = port;
        self.restart();
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    #[track_caller]
    fn until_answers(&self) {
        let answers =
            || self.try_ask(&["PING"]).filter(|reply| !reply[0].starts_with("-NOAUTH")).map(drop);
        eventually(Duration::from_secs(20), "the server answers", answers);
    }
}

fn launch(version: &str, is_sentinel: bool, place: &Place, directory: &TempDir) -> Process {
    let server = if version == "redis-7.0.15" {
        "redis-server".into()
    } else {
        installed().join("servers").join(version)
    };
    let mut command = match &place.namespace {
        // It becomes the server, so that signals reach that.
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(server);
            command
        }
        None => Command::new(server),
    };
    command.arg(directory.path().join("server.conf"));
    if is_sentinel {
        command.arg("--sentinel");
    }
    Process::start(&mut command)
}
