//! Random faults on the servers of one deployment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tests::{SECOND, Server, Signal, pause};

/// Servers of one deployment, and the state of the random faults on them.
pub(crate) struct Faults {
    nodes: Vec<Server>,
    random: Rng,
}

/// Fault on one node, which ends within seconds.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    RestartWithoutData,
    Freeze,
    PauseClients,
    BusyScript,
    Promote,
    Chain,
    Password,
    CloseConnections,
    RefuseConnections,
    RefuseWrites,
    ErrorCodes,
}

const FAULTS: [Fault; 12] = [
    Fault::Kill,
    Fault::RestartWithoutData,
    Fault::Freeze,
    Fault::PauseClients,
    Fault::BusyScript,
    Fault::Promote,
    Fault::Chain,
    Fault::Password,
    Fault::CloseConnections,
    Fault::RefuseConnections,
    Fault::RefuseWrites,
    Fault::ErrorCodes,
];

impl Faults {
    pub(crate) fn new(nodes: Vec<Server>, seed: u64) -> Self {
        Faults { nodes, random: Rng::with_seed(seed) }
    }

    /// Writes keys until the run is over.
    pub(crate) fn write_until(&mut self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            self.write();
            pause(SECOND / 2);
        }
    }

    /// Injects one fault after the other until the run is over, and repairs the deployment.
    pub(crate) fn inject_until(&mut self, is_over: &AtomicBool, count: &AtomicU64) {
        while !is_over.load(Ordering::Relaxed) {
            self.write();
            let fault = FAULTS[self.random.usize(..FAULTS.len())];
            let node = self.random.usize(..self.nodes.len());
            self.inject(fault, node);
            count.fetch_add(1, Ordering::Relaxed);
            pause(self.seconds(0.5, 6.0));
        }
        let primary = self.nodes[0].port.to_string();
        self.configure(0, &["REPLICAOF", "NO", "ONE"]);
        for replica in 1..self.nodes.len() {
            self.configure(replica, &["REPLICAOF", "127.0.0.1", &primary]);
        }
    }

    fn inject(&mut self, fault: Fault, node: usize) {
        let time = self.seconds(0.5, 12.0);
        match fault {
            Fault::Kill => {
                self.nodes[node].kill();
                pause(time);
                self.nodes[node].restart();
            }
            Fault::RestartWithoutData => {
                self.nodes[node].kill();
                self.nodes[node].restart_without_data();
            }
            Fault::Freeze => {
                self.nodes[node].signal(Signal::Stop);
                pause(time);
                self.nodes[node].signal(Signal::Cont);
            }
            Fault::PauseClients => self.configure(node, &["CLIENT", "PAUSE", "3000"]),
            Fault::BusyScript => {
                self.configure(node, &["EVAL", "for i = 1, 3e7 do local x = i end", "0"]);
            }
            Fault::Promote => {
                let port = self.nodes[node].port.to_string();
                self.configure(node, &["REPLICAOF", "NO", "ONE"]);
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    self.configure(other, &["REPLICAOF", "127.0.0.1", &port]);
                }
            }
            Fault::Chain => {
                let upstream = (node + 1) % self.nodes.len();
                let port = self.nodes[upstream].port.to_string();
                self.configure(node, &["REPLICAOF", "127.0.0.1", &port]);
            }
            Fault::Password => self.for_a_time(node, ["requirepass", "secret", ""], time),
            Fault::CloseConnections => self.configure(node, &["CLIENT", "KILL", "TYPE", "normal"]),
            Fault::RefuseConnections => self.for_a_time(node, ["maxclients", "1", "10000"], time),
            Fault::RefuseWrites => {
                self.for_a_time(node, ["min-slaves-to-write", "9", "0"], time);
            }
            Fault::ErrorCodes => {
                let code = self.random.u32(..).to_string();
                let script = "return redis.error_reply('CODE' .. ARGV[1] .. ' text')";
                self.configure(node, &["EVAL", script, "0", &code]);
            }
        }
    }

    /// Sets an option to a value, and after a time back to another one on the same connection.
    fn for_a_time(&self, node: usize, [option, value, usual]: [&str; 3], time: Duration) {
        let Ok(mut connection) = self.nodes[node].connect() else { return };
        // A server with a fault may refuse it.
        let _ = connection.execute(&["CONFIG", "SET", option, value]);
        let _ = connection.execute(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        pause(time);
        if option == "requirepass" {
            // Redis 5 asks the clients that are connected for the new password, too.
            let _ = connection.execute(&["AUTH", value]);
        }
        let _ = connection.execute(&["CONFIG", "SET", option, usual]);
    }

    /// Writes to each server that accepts writes.
    fn write(&mut self) {
        let value = self.random.u32(..).to_string();
        for node in &self.nodes {
            // Replicas and servers with a fault refuse it.
            let _ = node.try_execute(&["SET", &format!("key{}", value.len()), &value]);
        }
    }

    /// Runs a command; a server with a fault may refuse it.
    fn configure(&self, node: usize, command: &[&str]) {
        let _ = self.nodes[node].try_execute(command);
    }

    fn seconds(&mut self, least: f64, most: f64) -> Duration {
        Duration::from_secs_f64(least + self.random.f64() * (most - least))
    }
}
