//! Child processes that are killed on drop.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::eventually;

/// Child process and its output. It is killed when the value is dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

/// Signal for a process.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    /// SIGTERM: asks the process to exit.
    Term,
    /// SIGKILL: kills the process at once.
    Kill,
    /// SIGSTOP: freezes the process.
    Stop,
    /// SIGCONT: continues a frozen process.
    Cont,
    /// SIGINT: Ctrl-C.
    Int,
    /// SIGHUP: asks the process to reload its configuration.
    Hangup,
}

impl Process {
    /// Starts the command, and collects its standard output and standard error.
    pub fn start(command: &mut Command) -> Self {
        let spawned =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!("cannot run {command:?}: {error}; tests/setup.sh installs the required programs")
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().expect("the stream is piped"), &log);
        collect(child.stderr.take().expect("the stream is piped"), &log);
        Process { child, log }
    }

    /// Sends a signal to this process.
    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Term => "-TERM",
            Signal::Kill => "-KILL",
            Signal::Stop => "-STOP",
            Signal::Cont => "-CONT",
            Signal::Int => "-INT",
            Signal::Hangup => "-HUP",
        };
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("cannot run kill");
        assert!(status.success(), "kill {name} failed");
    }

    /// Returns the lines of its output so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("a thread panicked").clone()
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status, or nothing while the process runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("cannot wait for the process")
    }

    /// Waits until the process exits, and returns the exit status and the time waited.
    #[track_caller]
    pub fn end(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        eventually(limit, "the process exits", || self.exit_status())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have exited already. SIGKILL also ends a frozen process; SIGTERM does
        // not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().expect("a thread panicked").push(line);
        }
    });
}

/// Returns the path of a program of this workspace in the target directory of the tests.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("cannot read the path of the test");
    // Tests run from target/PROFILE/deps, programs from target/PROFILE.
    let mut folders = test.ancestors().skip(1).take(2);
    let program = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.exists()));
    program.expect("run `cargo build --workspace` first")
}

/// Returns the processor time that a process has used, in seconds.
pub fn processor_seconds(id: u32) -> f64 {
    let text =
        std::fs::read_to_string(format!("/proc/{id}/stat")).expect("cannot read the process");
    let fields: Vec<_> = text.rsplit_once(") ").expect("no process name").1.split(' ').collect();
    // The fields utime and stime, in ticks of 10 ms.
    fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<f64>().expect("invalid number of ticks") / 100.0)
        .sum()
}

/// Returns the resident memory of a process, in kilobytes.
pub fn resident_kilobytes(id: u32) -> u64 {
    let text =
        std::fs::read_to_string(format!("/proc/{id}/status")).expect("cannot read the process");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is missing");
    line.trim().trim_end_matches(" kB").parse().expect("not a number")
}
