//! Real DNS server (dnsmasq) whose records a test can change. It needs root, since it listens on
//! port 53 of a separate loopback address.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Daemon, Host, Process, Signal, eventually};

/// Running DNS server with a private network of loopback addresses for its records.
pub struct NameServer {
    /// The first three octets of all its addresses.
    network: String,
    directory: TempDir,
    process: Process,
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
        let resolv = format!("nameserver {network}.53\noptions timeout:1 attempts:1\n");
        std::fs::write(directory.path().join("resolv.conf"), resolv).expect("cannot write a file");
        let process = launch(&network, &directory);
        NameServer { network, directory, process }
    }

    /// Returns the host with this last octet in the private network.
    pub fn host(&self, number: u8) -> Host {
        Host { host: format!("{}.{number}", self.network), namespace: None }
    }

    /// Returns the private network in CIDR notation.
    pub fn network(&self) -> String {
        format!("{}.0/24", self.network)
    }

    /// Replaces all records: each address gets the listed names. The first name of an address is
    /// also its reverse (PTR) name.
    pub fn name(&self, names: &[(&Host, &[&str])]) {
        let lines =
            names.iter().map(|(place, names)| format!("{} {}\n", place.host, names.join(" ")));
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
        let file = |name: &str| -> PathBuf { self.directory.path().join(name) };
        std::fs::write(file("rolecall.toml"), text).expect("cannot write a file");
        let mount = format!(
            "mount --bind '{}' /etc/resolv.conf && exec \"$0\" \"$@\"",
            file("resolv.conf").display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &mount]).arg(Daemon::binary());
        Daemon::run(&mut command, &["--config.file", &file("rolecall.toml").display().to_string()])
    }
}

fn launch(network: &str, directory: &TempDir) -> Process {
    let (names, address) = (directory.path().join("names"), format!("{network}.53"));
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
