//! Model of Sentinels: they watch the servers, agree on failovers, and repair the configuration.

use crate::network::{Host, Network};
use crate::server::{Millis, ProcessState, Role, Server};

/// Silence after which a Sentinel considers a server down.
pub(crate) const DOWN_AFTER: Millis = 3000;

/// Time after which a Sentinel reconfigures a server with a wrong role or master.
const RECONFIGURE_AFTER: Millis = 10_000;

/// A Sentinel.
#[derive(Debug, Clone)]
pub(crate) struct Sentinel {
    pub(crate) state: ProcessState,
    /// The server that it names as the master.
    pub(crate) master: usize,
    /// Configuration epoch of that master.
    pub(crate) epoch: u64,
    /// What it knows about each server.
    pub(crate) servers: Vec<WatchedServer>,
    /// Time at which the failover that it leads promotes a replica.
    promotes_at: Option<Millis>,
    /// Time at which it last tried a failover.
    tried_at: Option<Millis>,
}

/// A server as a Sentinel sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchedServer {
    /// Time of the last reply.
    pub(crate) replied_at: Millis,
    pub(crate) run: u32,
    pub(crate) role: Role,
    /// Time since which it reports a role or master that the Sentinel does not want.
    wrong_since: Option<Millis>,
}

impl Sentinel {
    pub(crate) fn new(servers: &[Server], master: usize) -> Self {
        let watched = |server: &Server| WatchedServer {
            replied_at: 0,
            run: server.run,
            role: server.role,
            wrong_since: None,
        };
        Sentinel {
            state: ProcessState::Running,
            master,
            epoch: 0,
            servers: servers.iter().map(watched).collect(),
            promotes_at: None,
            tried_at: None,
        }
    }

    pub(crate) fn is_down(&self, server: usize, now: Millis) -> bool {
        now > self.servers[server].replied_at + DOWN_AFTER
    }
}

/// Sentinels of a deployment.
#[derive(Debug, Clone)]
pub(crate) struct Sentinels {
    pub(crate) all: Vec<Sentinel>,
    /// Time at which an operator ordered a failover.
    pub(crate) ordered: bool,
}

impl Sentinels {
    /// Advances all Sentinels.
    pub(crate) fn advance(
        &mut self,
        servers: &mut [Server],
        network: &Network,
        now: Millis,
        random: &mut fastrand::Rng,
        next_history: &mut u32,
    ) {
        for index in 0..self.all.len() {
            if self.all[index].state == ProcessState::Running {
                self.watch(index, servers, network, now);
                self.learn(index, network);
            }
        }
        self.start_failover(network, now, random);
        for index in 0..self.all.len() {
            if self.all[index].state != ProcessState::Running {
                continue;
            }
            if self.all[index].promotes_at.is_some_and(|at| now >= at) {
                self.promote(index, servers, network, now, next_history);
            } else {
                self.reconfigure(index, servers, network, now);
            }
        }
    }

    /// Reads the servers that the Sentinel reaches.
    fn watch(&mut self, index: usize, servers: &[Server], network: &Network, now: Millis) {
        let sentinel = &mut self.all[index];
        for (server, watched) in sentinel.servers.iter_mut().enumerate() {
            let process = &servers[server];
            let reached = network.connects(Host::Sentinel(index), Host::Server(server));
            if !reached || !process.is_running() {
                watched.wrong_since = None;
                continue;
            }
            (watched.replied_at, watched.run, watched.role) = (now, process.run, process.role);
            let wanted = if server == sentinel.master {
                Role::Master
            } else {
                Role::Replica(sentinel.master)
            };
            let is_right = process.role == wanted || server == sentinel.master;
            watched.wrong_since = if is_right { None } else { watched.wrong_since.or(Some(now)) };
        }
    }

    /// Takes over the newest configuration of the Sentinels that it reaches.
    fn learn(&mut self, index: usize, network: &Network) {
        let newest = self
            .peers(index, network)
            .map(|peer| (self.all[peer].epoch, self.all[peer].master))
            .max()
            .filter(|(epoch, _)| *epoch > self.all[index].epoch);
        if let Some((epoch, master)) = newest {
            let sentinel = &mut self.all[index];
            (sentinel.epoch, sentinel.master, sentinel.promotes_at) = (epoch, master, None);
            sentinel.servers.iter_mut().for_each(|server| server.wrong_since = None);
        }
    }

    /// Returns the running Sentinels that a Sentinel reaches, including itself.
    fn peers<'a>(
        &'a self,
        index: usize,
        network: &'a Network,
    ) -> impl Iterator<Item = usize> + use<'a> {
        (0..self.all.len()).filter(move |peer| {
            self.all[*peer].state == ProcessState::Running
                && network.connects(Host::Sentinel(index), Host::Sentinel(*peer))
        })
    }

    /// Elects a leader if a majority reaches each other and agrees that the master is down.
    fn start_failover(&mut self, network: &Network, now: Millis, random: &mut fastrand::Rng) {
        let ordered = std::mem::take(&mut self.ordered);
        for index in 0..self.all.len() {
            let sentinel = &self.all[index];
            if sentinel.state != ProcessState::Running {
                continue;
            }
            let peers: Vec<_> = self.peers(index, network).collect();
            let (master, epoch) = (sentinel.master, sentinel.epoch);
            let agree = peers
                .iter()
                .filter(|peer| {
                    let peer = &self.all[**peer];
                    (peer.master, peer.epoch) == (master, epoch) && peer.is_down(master, now)
                })
                .count();
            let majority = peers.len() * 2 > self.all.len();
            let waits = self.all.iter().any(|other| {
                (other.master, other.epoch) == (master, epoch)
                    && (other.promotes_at.is_some()
                        || other.tried_at.is_some_and(|tried| now < tried + 6000))
            });
            let is_down = sentinel.is_down(master, now) && agree * 2 > self.all.len();
            if majority && !waits && (is_down || ordered) {
                let sentinel = &mut self.all[index];
                sentinel.tried_at = Some(now);
                sentinel.promotes_at = Some(now + random.u64(250..1500));
                return;
            }
        }
    }

    /// Promotes the best replica, and makes the others follow it.
    fn promote(
        &mut self,
        index: usize,
        servers: &mut [Server],
        network: &Network,
        now: Millis,
        next_history: &mut u32,
    ) {
        let sentinel = &mut self.all[index];
        sentinel.promotes_at = None;
        let old = sentinel.master;
        let reaches = |server: usize| network.connects(Host::Sentinel(index), Host::Server(server));
        let best = (0..servers.len())
            .filter(|server| {
                *server != old
                    && reaches(*server)
                    && servers[*server].is_running()
                    && !servers[*server].is_master()
            })
            .max_by_key(|server| servers[*server].offset);
        let Some(best) = best else { return };
        *next_history += 1;
        servers[best].promote(*next_history, now);
        let newest = self.all.iter().map(|other| other.epoch).max().unwrap_or_default();
        let sentinel = &mut self.all[index];
        (sentinel.epoch, sentinel.master) = (newest + 1, best);
        for server in 0..servers.len() {
            if server != best && server != old && reaches(server) && servers[server].is_running() {
                servers[server].follow(best, now);
            }
        }
        sentinel.servers.iter_mut().for_each(|server| server.wrong_since = None);
    }

    /// Makes servers that report a wrong role or master follow the master.
    fn reconfigure(
        &mut self,
        index: usize,
        servers: &mut [Server],
        network: &Network,
        now: Millis,
    ) {
        let sentinel = &mut self.all[index];
        let master = sentinel.master;
        let is_healthy = !sentinel.is_down(master, now) && servers[master].is_master();
        if !is_healthy {
            return;
        }
        for server in 0..servers.len() {
            let due = sentinel.servers[server]
                .wrong_since
                .is_some_and(|since| now >= since + RECONFIGURE_AFTER);
            if due && network.connects(Host::Sentinel(index), Host::Server(server)) {
                sentinel.servers[server].wrong_since = None;
                servers[server].follow(master, now);
            }
        }
    }
}
