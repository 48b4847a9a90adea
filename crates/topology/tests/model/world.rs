//! Model of a deployment: servers, Sentinels and clients on a network.

use crate::network::{Host, Network};
use crate::sentinels::{Sentinel, Sentinels};
use crate::server::{Millis, ProcessState, Role, Server};

/// Step of the simulation.
pub(crate) const TICK: Millis = 250;

/// Silence after which a replica gives up its link.
const REPL_TIMEOUT: Millis = 20_000;

/// A client that writes without pause.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Server to which it writes.
    pub(crate) target: usize,
    /// Writes per tick; 0 for a client that only reads.
    pub(crate) rate: u32,
    /// It asks the Sentinels for the master when its writes fail.
    pub(crate) asks_sentinels: bool,
    /// Time of the last acknowledged write.
    pub(crate) acknowledged_at: Millis,
}

/// A deployment.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Sentinels,
    pub(crate) clients: Vec<Client>,
    pub(crate) network: Network,
    pub(crate) random: fastrand::Rng,
    /// Last acknowledged write of a client, by server.
    pub(crate) written_at: Vec<Option<Millis>>,
    /// A disk-based full resync saves on the master, as on Redis 5.0 and 6.2.
    pub(crate) saves_on_sync: bool,
    pub(crate) has_aof: bool,
    next_id: u32,
    next_history: u32,
    next_run: u32,
}

impl World {
    /// Creates a healthy deployment: the first server is the master of the others.
    pub(crate) fn new(mut random: fastrand::Rng) -> Self {
        let count = random.usize(2..=5);
        let has_sentinels = random.bool();
        let chained = count > 3 && random.bool();
        let servers: Vec<_> = (0..count)
            .map(|index| {
                let role = match index {
                    0 => Role::Master,
                    3 if chained => Role::Replica(2),
                    _ => Role::Replica(0),
                };
                Server::new(u32::try_from(index).unwrap_or_default() + 1, role, 1)
            })
            .collect();
        let sentinels = if has_sentinels { 3 } else { 0 };
        let sentinels = (0..sentinels).map(|_| Sentinel::new(&servers, 0)).collect();
        let clients = (0..2)
            .map(|_| Client {
                target: 0,
                rate: random.u32(0..4),
                asks_sentinels: has_sentinels && random.u8(0..4) > 0,
                acknowledged_at: 0,
            })
            .collect();
        World {
            now: 0,
            network: Network::new(count, if has_sentinels { 3 } else { 0 }),
            written_at: vec![None; count],
            servers,
            sentinels: Sentinels { all: sentinels, ordered: false },
            clients,
            saves_on_sync: random.bool(),
            has_aof: random.bool(),
            random,
            next_id: 0,
            next_history: 1,
            next_run: 100,
        }
    }

    pub(crate) fn new_history(&mut self) -> u32 {
        self.next_history += 1;
        self.next_history
    }

    pub(crate) fn new_run(&mut self) -> u32 {
        self.next_run += 1;
        self.next_run
    }

    /// Advances the deployment by one step.
    pub(crate) fn advance(&mut self) {
        self.now += TICK;
        self.write();
        for index in 0..self.servers.len() {
            let has_replicas = self.servers.iter().any(|other| other.role == Role::Replica(index));
            let server = &mut self.servers[index];
            if server.is_running() && server.is_master() && has_replicas {
                server.ping(self.now);
            }
        }
        self.replicate();
        let World { sentinels, servers, network, now, random, next_history, .. } = self;
        sentinels.advance(servers, network, *now, random, next_history);
    }

    fn write(&mut self) {
        for index in 0..self.clients.len() {
            let target = self.clients[index].target;
            let reaches = self.network.connects(Host::Client(index), Host::Server(target));
            let server = &mut self.servers[target];
            if reaches && server.is_running() && server.is_master() {
                for _ in 0..self.clients[index].rate {
                    self.next_id += 1;
                    server.write(self.next_id);
                    self.written_at[target] = Some(self.now);
                    self.clients[index].acknowledged_at = self.now;
                }
            } else if self.clients[index].asks_sentinels
                && let Some(master) = self.master_for_client(index)
            {
                self.clients[index].target = master;
            }
        }
    }

    /// Returns the master that the first Sentinel which the client reaches names.
    fn master_for_client(&self, client: usize) -> Option<usize> {
        let sentinels = self.sentinels.all.iter().enumerate();
        let mut reached = sentinels.filter(|(index, sentinel)| {
            sentinel.state == ProcessState::Running
                && self.network.connects(Host::Client(client), Host::Sentinel(*index))
        });
        reached.next().map(|(_, sentinel)| sentinel.master)
    }

    /// Advances the replication links, those of the first replicas of a chain first.
    fn replicate(&mut self) {
        let mut order: Vec<_> = (0..self.servers.len()).collect();
        order.sort_by_key(|index| self.depth(*index));
        for index in order {
            let Role::Replica(master) = self.servers[index].role else { continue };
            let is_connected = self.network.connects(Host::Server(index), Host::Server(master));
            let has_master = self.depth(index).is_some();
            let Ok([replica, upstream]) = self.servers.get_disjoint_mut([index, master]) else {
                continue;
            };
            if !replica.is_running() {
                continue;
            }
            let is_alive = is_connected && upstream.is_running();
            if replica.link.up {
                let is_gone = (is_connected && upstream.state == ProcessState::Dead)
                    || (is_alive && upstream.run != replica.link.run);
                let is_silent = !is_alive && self.now > replica.link.last_io + REPL_TIMEOUT;
                if is_gone || is_silent || (is_alive && !replica.continues(upstream)) {
                    replica.drop_link(self.now);
                } else if is_alive {
                    replica.apply(upstream, self.now);
                }
            } else if self.now >= replica.link.retry_at {
                if is_alive && has_master && (upstream.is_master() || upstream.link.up) {
                    let is_full = replica.synchronize(upstream, self.now);
                    if is_full && self.saves_on_sync {
                        (upstream.changes, upstream.last_save) = (0, self.now);
                    }
                } else {
                    replica.link.retry_at = self.now + 1000;
                }
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
}
