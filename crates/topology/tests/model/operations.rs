//! Operations on the model: faults, commands of operators, and recovery.

use std::fmt;

use crate::network::Sides;
use crate::server::{ProcessState, Role};
use crate::world::World;

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Kill(usize),
    /// Starts a dead server.
    Start {
        server: usize,
        with_data: bool,
    },
    /// Kills a server and starts it at once.
    Restart {
        server: usize,
        with_data: bool,
    },
    Freeze(usize),
    Thaw(usize),
    KillSentinel(usize),
    FreezeSentinel(usize),
    /// Cuts the connection between the exporter and a server.
    Hide(usize),
    Show(usize),
    /// Separates two sides of the network. The bits are the sides of the hosts.
    Partition(u16),
    Heal,
    /// REPLICAOF NO ONE.
    Promote(usize),
    /// REPLICAOF.
    Follow {
        server: usize,
        master: usize,
    },
    /// SENTINEL FAILOVER.
    Failover,
    /// An operator moves a client to another server.
    MoveClient {
        client: usize,
        server: usize,
    },
}

/// An operation at a time.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Seconds since the start of the history.
    pub(crate) at: u64,
    pub(crate) operation: Operation,
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>3} s  {:?}", self.at, self.operation)
    }
}

impl Operation {
    /// Draws an operation that is possible now.
    pub(crate) fn draw(world: &mut World) -> Operation {
        use Operation::{
            Failover, Follow, Freeze, FreezeSentinel, Heal, Hide, Kill, KillSentinel, MoveClient,
            Partition, Promote, Restart, Show, Start, Thaw,
        };
        let (count, random) = (world.servers.len(), &mut world.random);
        let server = random.usize(..count);
        let other = (server + random.usize(1..count)) % count;
        let sentinels = world.sentinels.all.len();
        let with_data = random.bool();
        match (random.u8(..20), world.servers[server].state) {
            (0..=2, ProcessState::Running) => Kill(server),
            (0..=9, ProcessState::Dead) => Start { server, with_data },
            (3, ProcessState::Running) => Restart { server, with_data },
            (4..=5, ProcessState::Running) => Freeze(server),
            (0..=9, ProcessState::Frozen) => Thaw(server),
            (6..=7, _) if world.network.hidden_servers[server] => Show(server),
            (6..=7, _) => Hide(server),
            (8..=9, _) => Partition(random.u16(..)),
            (10..=11, _) => Heal,
            (12..=13, ProcessState::Running) => Promote(server),
            (14..=15, ProcessState::Running) => Follow { server, master: other },
            (16, _) if sentinels > 0 => Failover,
            (17, _) if sentinels > 0 && random.bool() => KillSentinel(random.usize(..sentinels)),
            (17, _) if sentinels > 0 => FreezeSentinel(random.usize(..sentinels)),
            _ => MoveClient { client: random.usize(..world.clients.len()), server },
        }
    }

    /// Applies the operation. An operation that is not possible has no effect.
    pub(crate) fn apply(self, world: &mut World) {
        let now = world.now;
        match self {
            Operation::Kill(server) => world.servers[server].kill(),
            Operation::Start { server, with_data } => {
                if world.servers[server].state == ProcessState::Dead {
                    restart(world, server, with_data);
                }
            }
            Operation::Restart { server, with_data } => restart(world, server, with_data),
            Operation::Freeze(server) => {
                if world.servers[server].is_running() {
                    world.servers[server].state = ProcessState::Frozen;
                }
            }
            Operation::Thaw(server) => {
                if world.servers[server].state == ProcessState::Frozen {
                    world.servers[server].state = ProcessState::Running;
                }
            }
            Operation::KillSentinel(index) => {
                if let Some(sentinel) = world.sentinels.all.get_mut(index) {
                    sentinel.state = ProcessState::Dead;
                }
            }
            Operation::FreezeSentinel(index) => {
                if let Some(sentinel) = world.sentinels.all.get_mut(index) {
                    sentinel.state = ProcessState::Frozen;
                }
            }
            Operation::Hide(server) => world.network.hidden_servers[server] = true,
            Operation::Show(server) => world.network.hidden_servers[server] = false,
            Operation::Partition(bits) => {
                let side = |shift: usize, count: usize| {
                    (0..count).map(|index| bits >> (shift + index) & 1 == 1).collect()
                };
                let sides = Sides {
                    servers: side(0, world.servers.len()),
                    sentinels: side(8, world.sentinels.all.len()),
                    clients: side(12, world.clients.len()),
                };
                world.network.cut(sides);
            }
            Operation::Heal => world.network.heal(),
            Operation::Promote(server) => {
                if world.servers[server].is_running() {
                    let history = world.new_history();
                    world.servers[server].promote(history, now);
                }
            }
            Operation::Follow { server, master } => {
                if world.servers[server].is_running() {
                    world.servers[server].follow(master, now);
                }
            }
            Operation::Failover => world.sentinels.ordered = true,
            Operation::MoveClient { client, server } => world.clients[client].target = server,
        }
    }
}

fn restart(world: &mut World, server: usize, with_data: bool) {
    let (run, history, now) = (world.new_run(), world.new_history(), world.now);
    let counts_loaded = world.has_aof;
    let server = &mut world.servers[server];
    server.restart(run, history, with_data, now);
    if counts_loaded {
        server.changes = server.writes.len() as u64;
    }
}

/// Ends all faults: starts what is dead, thaws what is frozen, and reconnects everything. Without
/// Sentinels an operator makes all servers follow one.
pub(crate) fn recover(world: &mut World, master: usize) {
    world.network.heal();
    for server in 0..world.servers.len() {
        Operation::Show(server).apply(world);
        Operation::Thaw(server).apply(world);
        Operation::Start { server, with_data: true }.apply(world);
    }
    for sentinel in &mut world.sentinels.all {
        sentinel.state = ProcessState::Running;
    }
    if world.sentinels.all.is_empty() {
        let history = world.new_history();
        let now = world.now;
        world.servers[master].promote(history, now);
        for server in 0..world.servers.len() {
            if server != master && world.servers[server].role != Role::Replica(master) {
                world.servers[server].follow(master, now);
            }
        }
    }
}
