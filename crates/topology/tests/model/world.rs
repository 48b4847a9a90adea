//! Model of a deployment: servers, Sentinels and clients on a network.

use crate::network::{Host, Network};
use crate::sentinels::Sentinels;
use crate::server::{
    Millis, ProcessState, Resync, Role, Server, Version, disconnect_replicas, follow, promote,
};

/// Step of the simulation.
pub(crate) const TICK: Millis = 250;

/// Silence after which both ends of a replication link give it up. The default is 60 s.
const REPL_TIMEOUT: Millis = 30_000;

/// A client that writes without pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// Server to which it writes.
    pub(crate) target: usize,
    /// Writes per tick; 0 for a client that only reads.
    rate: u32,
    /// It asks the Sentinels for the master when its writes fail.
    asks_sentinels: bool,
}

/// A deployment.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Sentinels,
    pub(crate) clients: Vec<Client>,
    pub(crate) network: Network,
    /// Last acknowledged write of a client, by server.
    pub(crate) written_at: Vec<Option<Millis>>,
    /// Number of acknowledged writes.
    pub(crate) acknowledged: u32,
    /// A full resync saves on the upstream, as on Redis 5.0 and 6.2.
    saves_on_sync: bool,
    random: fastrand::Rng,
    next_history: u32,
    next_run: u32,
}

impl World {
    /// Creates a healthy deployment: the first server is the master of the others.
    pub(crate) fn new(mut random: fastrand::Rng) -> Self {
        let count = random.usize(2..=5);
        let sentinels = if random.bool() { 3 } else { 0 };
        let is_chained = count > 3 && random.bool();
        let version = Version { is_modern: random.bool(), has_aof: random.bool() };
        let servers: Vec<_> = (0..count)
            .map(|index| {
                let role = match index {
                    0 => Role::Master,
                    3 if is_chained => Role::Replica(2),
                    _ => Role::Replica(0),
                };
                let mut server = Server::new(version, 0, role, 1);
                server.run = u32::try_from(index + 1).unwrap_or_default();
                server
            })
            .collect();
        let clients = (0..2)
            .map(|_| Client {
                target: 0,
                rate: random.u32(0..4),
                asks_sentinels: sentinels > 0 && random.u8(0..4) > 0,
            })
            .collect();
        World {
            now: 0,
            network: Network::new(count, sentinels),
            written_at: vec![None; count],
            acknowledged: 0,
            sentinels: Sentinels::new(&servers, sentinels),
            servers,
            clients,
            saves_on_sync: !version.is_modern && random.bool(),
            random,
            next_history: 1,
            next_run: 100,
        }
    }

    /// Executes REPLICAOF NO ONE on a server.
    pub(crate) fn promote(&mut self, server: usize) {
        self.next_history += 1;
        promote(&mut self.servers, server, self.next_history, self.now);
    }

    /// Executes REPLICAOF on a server.
    pub(crate) fn follow(&mut self, server: usize, master: usize) {
        follow(&mut self.servers, server, master, self.now);
    }

    /// Starts the process of a server again.
    pub(crate) fn restart(&mut self, server: usize, with_data: bool) {
        self.next_history += 1;
        self.next_run += 1;
        self.servers[server].restart(self.next_run, self.next_history, with_data, self.now);
    }

    /// Advances the deployment by one step.
    pub(crate) fn advance(&mut self) {
        self.now += TICK;
        self.write();
        for index in 0..self.servers.len() {
            let has_replicas = self.has_replicas(index);
            let server = &mut self.servers[index];
            if server.is_running() && server.is_master() && has_replicas {
                server.ping(self.now);
            }
        }
        self.replicate();
        let World { sentinels, servers, network, now, random, next_history, .. } = self;
        sentinels.advance(servers, network, *now, random, next_history);
    }

    fn has_replicas(&self, index: usize) -> bool {
        let run = self.servers[index].run;
        self.servers.iter().any(|other| {
            let link = &other.link;
            other.role == Role::Replica(index) && link.up && !link.closed && link.run == run
        })
    }

    fn write(&mut self) {
        for index in 0..self.clients.len() {
            let Client { target, rate, asks_sentinels } = self.clients[index];
            let reaches = self.network.connects(Host::Client(index), Host::Server(target));
            let server = &mut self.servers[target];
            if reaches && server.is_running() && server.is_master() {
                for _ in 0..rate {
                    server.write(self.acknowledged, self.now);
                    self.acknowledged += 1;
                    self.written_at[target] = Some(self.now);
                }
            } else if asks_sentinels && let Some(master) = self.master_for_client(index) {
                self.clients[index].target = master;
            }
        }
    }

    /// Returns the master that the first Sentinel which the client reaches names.
    fn master_for_client(&self, client: usize) -> Option<usize> {
        let mut sentinels = self.sentinels.all.iter().enumerate();
        let reached = sentinels.find(|(index, sentinel)| {
            sentinel.is_running()
                && self.network.connects(Host::Client(client), Host::Sentinel(*index))
        });
        reached.map(|(_, sentinel)| sentinel.master)
    }

    /// Advances the replication links, those of the first replicas of a chain first.
    fn replicate(&mut self) {
        for depth in (0..self.servers.len()).map(Some).chain([None]) {
            for index in 0..self.servers.len() {
                if self.depth(index) == depth {
                    self.replicate_one(index);
                }
            }
        }
    }

    fn replicate_one(&mut self, index: usize) {
        let Role::Replica(master) = self.servers[index].role else { return };
        let now = self.now;
        let connects = self.network.connects(Host::Server(index), Host::Server(master));
        let Ok([replica, upstream]) = self.servers.get_disjoint_mut([index, master]) else {
            return;
        };
        let is_alive = connects && upstream.is_running() && replica.is_running();
        let is_silent = now > replica.link.acknowledged + REPL_TIMEOUT;
        if replica.link.up && upstream.is_running() && !is_alive && is_silent {
            replica.link.closed = true;
        }
        if !replica.is_running() {
            return;
        }
        if replica.link.up {
            let is_gone = (connects && upstream.state == ProcessState::Dead)
                || (is_alive && (upstream.run != replica.link.run || replica.link.closed));
            if is_gone || now > replica.link.last_io + REPL_TIMEOUT {
                replica.drop_link(now);
            } else if is_alive {
                replica.apply(upstream, now);
            }
        } else if now >= replica.link.retry_at {
            if is_alive && (upstream.is_master() || upstream.link.up) {
                let resync = replica.synchronize(upstream, now);
                if resync == Resync::Full && self.saves_on_sync {
                    (upstream.changes, upstream.last_save) = (0, now);
                }
                if resync != (Resync::Partial { is_new_history: false }) {
                    disconnect_replicas(&mut self.servers, index, now);
                }
            } else {
                replica.retry_later(now);
            }
        }
    }

    /// Returns the number of links up to the master of the chain; `None` in a loop.
    pub(crate) fn depth(&self, index: usize) -> Option<usize> {
        let mut current = index;
        for depth in 0..=self.servers.len() {
            match self.servers[current].role {
                Role::Master => return Some(depth),
                Role::Replica(master) => current = master,
            }
        }
        None
    }

    /// Returns true if the server is part of a replication loop.
    pub(crate) fn is_in_loop(&self, index: usize) -> bool {
        let mut current = index;
        for _ in 0..self.servers.len() {
            let Role::Replica(master) = self.servers[current].role else { return false };
            current = master;
            if current == index {
                return true;
            }
        }
        false
    }

    /// Returns the only running master if everything works: all servers follow it over links that
    /// are up, and all Sentinels name it.
    pub(crate) fn healthy_master(&self) -> Option<usize> {
        let mut masters = (0..self.servers.len()).filter(|index| self.servers[*index].is_master());
        let (Some(master), None) = (masters.next(), masters.next()) else { return None };
        let run_of = |index: usize| self.servers[index].run;
        let works = |server: &Server| {
            let Role::Replica(upstream) = server.role else { return server.is_running() };
            let link = &server.link;
            server.is_running() && link.up && !link.closed && link.run == run_of(upstream)
        };
        let is_healthy = self.servers.iter().all(works)
            && (0..self.servers.len()).all(|server| self.depth(server).is_some())
            && self.sentinels.all.iter().all(|sentinel| {
                sentinel.is_running()
                    && sentinel.master == master
                    && (0..self.servers.len()).all(|server| !sentinel.is_down(server, self.now))
            })
            && self.network.is_whole();
        is_healthy.then_some(master)
    }
}
