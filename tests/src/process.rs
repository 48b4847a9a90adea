//! A process that ends with the value that holds it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::eventually;

/// A process, and what it wrote to standard error and standard output.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

/// A signal.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    /// Ask it to stop.
    Term,
    /// End it at once.
    Kill,
    /// Freeze it.
    Stop,
    /// Let it go on.
    Cont,
    /// As Ctrl-C does.
    Int,
    /// Ask it to read its configuration again.
    Hangup,
}

impl Process {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let spawned =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!("{command:?}: {error}; tests/run.sh installs what is needed")
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().expect("piped"), &log);
        collect(child.stderr.take().expect("piped"), &log);
        Process { child, log }
    }

    /// Sends a signal to this process, by its id.
    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Term => "-TERM",
            Signal::Kill => "-KILL",
            Signal::Stop => "-STOP",
            Signal::Cont => "-CONT",
            Signal::Int => "-INT",
            Signal::Hangup => "-HUP",
        };
        let status =
            Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill");
        assert!(status.success(), "kill {name}");
    }

    /// What it wrote so far, line by line.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        eventually(limit, "the process ends", || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; a stopped one must be killed, not asked.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().expect("the log").push(line);
        }
    });
}

/// Processor time that a process used so far, seconds.
pub fn processor_time(id: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("a process");
    let fields: Vec<_> = text.rsplit_once(") ").expect("a name").1.split(' ').collect();
    // Ticks of 10 ms in user and in kernel mode.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("ticks") / 100.0).sum()
}

/// Resident memory of a process, kilobytes.
pub fn resident_kilobytes(id: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
