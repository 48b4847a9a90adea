//! Real DNS server (dnsmasq) whose records a test can change. It needs root, since it listens on
//! port 53 of a separate loopback address.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::server::with_resolver;
use crate::{ConfigFile, Daemon, Host, Process, Signal, eventually};

/// Last octet of the address of the DNS server itself.
const OWN_ADDRESS: u8 = 53;

/// Running DNS server with a private network of loopback addresses for its records.
pub struct NameServer {
    /// The first three octets of all its addresses.
    network: String,
    directory: TempDir,
    process: Process,
    /// The last octet of the last address that was given out.
    last_address: AtomicU8,
    /// The names of each address.
    records: Mutex<BTreeMap<String, Vec<String>>>,
}

impl NameServer {
    /// Starts a DNS server without any record.
    pub fn start() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let network = format!(
            "127.{}.{}",
            1 + std::process::id() % 250,
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = tempfile::tempdir().expect("cannot create a directory");
        std::fs::write(directory.path().join("names"), "").expect("cannot write a file");
        let resolv = format!("nameserver {network}.{OWN_ADDRESS}\noptions timeout:1 attempts:1\n");
        std::fs::write(directory.path().join("resolv.conf"), resolv).expect("cannot write a file");
        let process = launch(&network, &directory);
        NameServer {
            network,
            directory,
            process,
            last_address: AtomicU8::new(OWN_ADDRESS),
            records: Mutex::default(),
        }
    }

    /// Returns the host with this last octet in the private network.
    pub fn host(&self, number: u8) -> Host {
        Host { host: format!("{}.{number}", self.network), namespace: None, resolver: None }
    }

    /// Returns a host with an unused address, whose servers resolve names with this DNS server.
    pub fn new_host(&self) -> Host {
        let number = self.last_address.fetch_add(1, Ordering::Relaxed) + 1;
        Host { resolver: Some(self.directory.path().join("resolv.conf")), ..self.host(number) }
    }

    /// Returns the private network in CIDR notation.
    pub fn network(&self) -> String {
        format!("{}.0/24", self.network)
    }

    /// Replaces all records: each address gets the listed names. The first name of an address is
    /// also its reverse (PTR) name.
    pub fn name(&self, names: &[(&Host, &[&str])]) {
        self.change_records(|records| {
            records.clear();
            for (place, names) in names {
                let names = names.iter().map(|name| (*name).to_owned());
                records.insert(place.host.clone(), names.collect());
            }
        });
    }

    /// Replaces the names of one address.
    pub fn rename(&self, place: &Host, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.change_records(|records| match names.is_empty() {
            true => records.remove(&place.host),
            false => records.insert(place.host.clone(), names),
        });
    }

    fn change_records<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<String>>) -> T) {
        let mut records = self.records.lock().expect("a thread panicked");
        change(&mut records);
        let lines =
            records.iter().map(|(address, names)| format!("{address} {}\n", names.join(" ")));
        std::fs::write(self.directory.path().join("names"), lines.collect::<String>())
            .expect("cannot write a file");
        self.process.signal(Signal::Hangup);
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) {
        self.process.signal(Signal::Kill);
        self.process.end(Duration::from_secs(5));
    }

    /// Starts the process again with the same records.
    pub fn restart(&mut self) {
        self.process = launch(&self.network, &self.directory);
    }

    /// Starts the daemon with this configuration, in a mount namespace whose `/etc/resolv.conf`
    /// points to this DNS server.
    pub fn daemon(&self, text: &str) -> Daemon {
        self.daemon_at(text, 0)
    }

    /// Does the same as [`Self::daemon`] on a given port, as after a restart. Port 0 is any free one.
    pub fn daemon_at(&self, text: &str, port: u16) -> Daemon {
        let mut command = with_resolver(&self.directory.path().join("resolv.conf"));
        Daemon::run_with_file(command.arg(Daemon::binary()), ConfigFile::new(text), port)
    }
}

fn launch(network: &str, directory: &TempDir) -> Process {
    let (names, address) = (directory.path().join("names"), format!("{network}.{OWN_ADDRESS}"));
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--log-facility=-",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--user=root",
    ]);
    command.args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address", &address]);
    command.arg(format!("--addn-hosts={}", names.display()));
    let mut process = Process::start(&mut command);
    eventually(Duration::from_secs(10), "the DNS server listens", || {
        assert!(process.exit_status().is_none(), "the DNS server exited: {:?}", process.log());
        std::net::TcpStream::connect((address.as_str(), 53)).ok()
    });
    process
}
