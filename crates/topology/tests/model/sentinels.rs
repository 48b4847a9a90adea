//! Model of Sentinels: they watch the servers, agree on failovers, and repair the configuration.

use crate::network::{Host, Network};
use crate::server::{Millis, ProcessState, Role, Server, follow, promote};

/// Silence after which a Sentinel considers a server down.
pub(crate) const DOWN_AFTER: Millis = 3000;

/// Time between two INFO commands, as long as everything works.
const INFO_PERIOD: Millis = 10_000;

/// Time between two INFO commands to replicas that lost their master.
const URGENT_INFO_PERIOD: Millis = 1000;

/// Time between two announcements of a Sentinel.
const HELLO_PERIOD: Millis = 2000;

/// Time for which a server must report a wrong role or master, and be up, before a Sentinel
/// reconfigures it.
const RECONFIGURE_AFTER: Millis = 8000;

/// Time for which a replica may have been without its master to be promoted.
const MAX_LINK_DOWN: Millis = 10 * DOWN_AFTER;

/// Time after a failover in which no other one begins.
const FAILOVER_PAUSE: Millis = 12_000;

/// Sentinels that must agree that the master is down.
pub(crate) const QUORUM: usize = 2;

/// A Sentinel.
#[derive(Debug, Clone)]
pub(crate) struct Sentinel {
    pub(crate) state: ProcessState,
    /// The server that it names as the master.
    pub(crate) master: usize,
    /// Configuration epoch of that master.
    pub(crate) epoch: u64,
    /// Its knowledge of each server.
    pub(crate) servers: Vec<WatchedServer>,
    /// Other Sentinels that it knows.
    pub(crate) known: Vec<bool>,
    /// Time at which the failover that it leads promotes a replica.
    promotes_at: Option<Millis>,
    /// Time at which it last tried a failover.
    tried_at: Option<Millis>,
}

/// A server as a Sentinel sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchedServer {
    /// It is the master, or a replica in the list of the Sentinel.
    pub(crate) listed: bool,
    /// Time of the last reply; that of the last reset if there was none since.
    pub(crate) replied_at: Millis,
    /// Time since which it has been up, or of the last reset.
    pub(crate) up_since: Millis,
    /// Process that replied to the last INFO; `None` after a reset.
    pub(crate) run: Option<u32>,
    /// Role in the last INFO.
    pub(crate) role: Role,
    /// Time since which it reports that role.
    reported_since: Millis,
    /// Time of the last INFO.
    info_at: Option<Millis>,
}

impl WatchedServer {
    fn new(role: Role, listed: bool, now: Millis) -> Self {
        WatchedServer {
            listed,
            replied_at: now,
            up_since: now,
            run: None,
            role,
            reported_since: now,
            info_at: None,
        }
    }

    fn is_silent(&self, now: Millis) -> bool {
        now > self.replied_at + DOWN_AFTER
    }

    /// Reads the PING and INFO replies of a server that is up.
    fn read(&mut self, server: &Server, is_urgent: bool, now: Millis) {
        if self.is_silent(now) {
            self.up_since = now;
        }
        self.replied_at = now;
        let is_cut = !server.is_master() && !server.link.up;
        let period = if is_urgent || is_cut { URGENT_INFO_PERIOD } else { INFO_PERIOD };
        if self.info_at.is_none_or(|at| now >= at + period) {
            if self.role != server.role {
                (self.role, self.reported_since) = (server.role, now);
            }
            (self.run, self.info_at) = (Some(server.run), Some(now));
        }
    }
}

impl Sentinel {
    fn new(servers: usize, sentinels: usize) -> Self {
        let role = |server: usize| if server == 0 { Role::Master } else { Role::Replica(0) };
        Sentinel {
            state: ProcessState::Running,
            master: 0,
            epoch: 0,
            servers: (0..servers).map(|server| WatchedServer::new(role(server), true, 0)).collect(),
            known: vec![true; sentinels],
            promotes_at: None,
            tried_at: None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == ProcessState::Running
    }

    /// Returns true if the Sentinel considers a server down.
    pub(crate) fn is_down(&self, server: usize, now: Millis) -> bool {
        self.down_for(server, now).is_some()
    }

    /// Returns the time for which the Sentinel has considered a server down: it is silent, or it is
    /// the master and has reported to be a replica for too long.
    pub(crate) fn down_for(&self, server: usize, now: Millis) -> Option<Millis> {
        let watched = &self.servers[server];
        let is_demoted = server == self.master && watched.role != Role::Master;
        let demoted_at =
            is_demoted.then_some(watched.reported_since + DOWN_AFTER + 2 * INFO_PERIOD);
        let causes = [Some(watched.replied_at + DOWN_AFTER), demoted_at];
        causes.into_iter().flatten().filter(|since| now > *since).map(|since| now - since).max()
    }

    /// Returns the number of Sentinels that vote, as far as this one knows.
    pub(crate) fn voters(&self) -> usize {
        self.known.iter().filter(|known| **known).count()
    }

    /// Executes SENTINEL RESET.
    pub(crate) fn reset(&mut self, own: usize, now: Millis) {
        self.switch(self.master, now);
        for (server, watched) in self.servers.iter_mut().enumerate() {
            watched.listed = server == self.master;
        }
        self.known.iter_mut().enumerate().for_each(|(other, known)| *known = other == own);
    }

    /// Names a master, and forgets what the servers replied.
    pub(crate) fn switch(&mut self, master: usize, now: Millis) {
        self.servers[master].listed = true;
        self.servers[self.master].listed = true;
        self.master = master;
        self.promotes_at = None;
        for (server, watched) in self.servers.iter_mut().enumerate() {
            let role = if server == master { Role::Master } else { Role::Replica(master) };
            *watched = WatchedServer::new(role, watched.listed, now);
        }
    }

    /// Returns the listed servers to which the Sentinel wants to send REPLICAOF.
    fn misconfigured(&self, now: Millis) -> impl Iterator<Item = usize> {
        let master = &self.servers[self.master];
        let is_sane = !self.is_down(self.master, now) && master.role == Role::Master;
        let is_due = move |(server, watched): &(usize, &WatchedServer)| {
            is_sane
                && *server != self.master
                && watched.listed
                && watched.info_at == Some(now)
                && watched.role != Role::Replica(self.master)
                && now > watched.reported_since + RECONFIGURE_AFTER
                && now > watched.up_since + RECONFIGURE_AFTER
        };
        self.servers.iter().enumerate().filter(is_due).map(|(server, _)| server)
    }
}

/// Sentinels of a deployment.
#[derive(Debug, Clone)]
pub(crate) struct Sentinels {
    pub(crate) all: Vec<Sentinel>,
    /// An operator ordered a failover.
    pub(crate) ordered: bool,
}

impl Sentinels {
    pub(crate) fn new(servers: &[Server], count: usize) -> Self {
        let all = (0..count).map(|_| Sentinel::new(servers.len(), count)).collect();
        Sentinels { all, ordered: false }
    }

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
            if self.all[index].is_running() {
                self.watch(index, servers, network, now);
                if now.is_multiple_of(HELLO_PERIOD) {
                    self.learn(index, servers, network, now);
                }
            }
        }
        self.start_failover(network, now, random);
        for index in 0..self.all.len() {
            let sentinel = &self.all[index];
            if !sentinel.is_running() {
                continue;
            }
            if sentinel.promotes_at.is_some_and(|at| now >= at) {
                *next_history += 1;
                self.promote(index, servers, network, now, *next_history);
                continue;
            }
            for server in sentinel.misconfigured(now) {
                if network.connects(Host::Sentinel(index), Host::Server(server)) {
                    follow(servers, server, sentinel.master, now);
                }
            }
        }
    }

    /// Reads the servers that the Sentinel reaches.
    fn watch(&mut self, index: usize, servers: &[Server], network: &Network, now: Millis) {
        let sentinel = &mut self.all[index];
        let is_urgent = sentinel.promotes_at.is_some() || sentinel.is_down(sentinel.master, now);
        for (server, process) in servers.iter().enumerate() {
            let reached = network.connects(Host::Sentinel(index), Host::Server(server));
            let watched = &mut sentinel.servers[server];
            if reached && process.is_running() && watched.listed {
                watched.read(process, is_urgent, now);
            }
        }
        // The INFO reply of the master lists its replicas.
        if sentinel.servers[sentinel.master].info_at == Some(now) {
            for (server, process) in servers.iter().enumerate() {
                let is_attached = process.role == Role::Replica(sentinel.master)
                    && process.link.up
                    && process.link.run == servers[sentinel.master].run;
                if is_attached && !sentinel.servers[server].listed {
                    sentinel.servers[server] = WatchedServer::new(process.role, true, now);
                }
            }
        }
    }

    /// Takes over the newest configuration of the Sentinels whose announcements arrive: directly,
    /// or over a server to which both are connected.
    fn learn(&mut self, index: usize, servers: &[Server], network: &Network, now: Millis) {
        let own = Host::Sentinel(index);
        for peer in (0..self.all.len()).filter(|peer| *peer != index) {
            let from = Host::Sentinel(peer);
            let has_common_server = || {
                servers.iter().enumerate().any(|(server, process)| {
                    let server = Host::Server(server);
                    process.is_running()
                        && network.connects(own, server)
                        && network.connects(from, server)
                })
            };
            let arrives = network.connects(from, own) || has_common_server();
            if !self.all[peer].is_running() || !arrives {
                continue;
            }
            let (epoch, master) = (self.all[peer].epoch, self.all[peer].master);
            let sentinel = &mut self.all[index];
            sentinel.known[peer] = true;
            if epoch > sentinel.epoch {
                sentinel.epoch = epoch;
                sentinel.switch(master, now);
            }
        }
    }

    /// Returns the running Sentinels that a Sentinel knows and reaches, including itself.
    pub(crate) fn peers<'a>(
        &'a self,
        index: usize,
        network: &'a Network,
    ) -> impl Iterator<Item = &'a Sentinel> {
        self.all.iter().enumerate().filter_map(move |(peer, sentinel)| {
            let is_reached = network.connects(Host::Sentinel(index), Host::Sentinel(peer));
            let is_known = peer == index || self.all[index].known[peer];
            (sentinel.is_running() && is_reached && is_known).then_some(sentinel)
        })
    }

    /// Elects a leader if enough Sentinels reach each other and agree that the master is down.
    fn start_failover(&mut self, network: &Network, now: Millis, random: &mut fastrand::Rng) {
        let ordered = std::mem::take(&mut self.ordered);
        for index in 0..self.all.len() {
            let sentinel = &self.all[index];
            if !sentinel.is_running() {
                continue;
            }
            let agrees = |peer: &&Sentinel| {
                (peer.master, peer.epoch) == (sentinel.master, sentinel.epoch)
                    && peer.is_down(sentinel.master, now)
            };
            let peers = self.peers(index, network).count();
            let is_elected = peers >= QUORUM && peers * 2 > sentinel.voters();
            let is_down = sentinel.is_down(sentinel.master, now)
                && self.peers(index, network).filter(agrees).count() >= QUORUM;
            let waits = self.all.iter().any(|other| {
                other.epoch == sentinel.epoch
                    && (other.promotes_at.is_some()
                        || other.tried_at.is_some_and(|tried| now < tried + FAILOVER_PAUSE))
            });
            if (is_down && is_elected && !waits) || ordered {
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
        history: u32,
    ) {
        let newest = self.all.iter().map(|other| other.epoch).max().unwrap_or_default();
        let sentinel = &mut self.all[index];
        sentinel.promotes_at = None;
        let old = sentinel.master;
        let silence = now.saturating_sub(sentinel.servers[old].replied_at);
        let reached: Vec<_> = (0..servers.len())
            .filter(|server| {
                *server != old
                    && sentinel.servers[*server].listed
                    && !sentinel.is_down(*server, now)
                    && network.connects(Host::Sentinel(index), Host::Server(*server))
                    && servers[*server].is_running()
            })
            .collect();
        let has_data = |server: &&usize| {
            let link = &servers[**server].link;
            link.down_since.is_none_or(|since| now - since <= MAX_LINK_DOWN + silence)
        };
        let candidates = reached.iter().filter(has_data);
        let best = candidates.copied().max_by_key(|server| servers[*server].offset);
        let Some(best) = best else { return };
        promote(servers, best, history, now);
        sentinel.epoch = newest + 1;
        sentinel.switch(best, now);
        for server in reached.into_iter().filter(|server| *server != best) {
            follow(servers, server, best, now);
        }
    }
}
