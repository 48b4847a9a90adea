//! Operations on the model: faults, commands of operators, and recovery.

use std::fmt;

use crate::network::Partition;
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
    HideSentinel(usize),
    ShowSentinel(usize),
    /// Separates two sides of the network. The bits are the sides of the hosts.
    Cut(u16),
    /// The same, but hosts of side 1 still connect to those of side 0.
    CutOneWay(u16),
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
    /// SENTINEL RESET.
    Reset(usize),
    /// An operator moves a client to another server.
    MoveClient {
        client: usize,
        server: usize,
    },
    /// Restarts the exporter, with or without its state file.
    RestartExporter {
        with_state: bool,
        downtime: u64,
    },
}

/// An operation at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Seconds since the start of the history.
    pub(crate) at: u64,
    pub(crate) operation: Operation,
}

/// Returns an operation at a time, in seconds since the start of the history.
pub(crate) fn at(at: u64, operation: Operation) -> Step {
    Step { at, operation }
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at({}, {:?})", self.at, self.operation)
    }
}

impl Operation {
    /// Draws an operation that is possible now.
    pub(crate) fn draw(world: &World, random: &mut fastrand::Rng) -> Operation {
        use Operation::{
            Cut, CutOneWay, Failover, Follow, Freeze, FreezeSentinel, Heal, Hide, HideSentinel,
            Kill, KillSentinel, MoveClient, Promote, Reset, Restart, RestartExporter, Show,
            ShowSentinel, Start, Thaw,
        };
        let count = world.servers.len();
        let server = random.usize(..count);
        let other = (server + random.usize(1..count)) % count;
        let sentinels = world.sentinels.all.len();
        let sentinel = random.usize(..sentinels.max(1));
        let with_data = random.bool();
        match (random.u8(..24), world.servers[server].state) {
            (0..=2, ProcessState::Running) => Kill(server),
            (0..=9, ProcessState::Dead) => Start { server, with_data },
            (3, ProcessState::Running) => Restart { server, with_data },
            (4..=5, ProcessState::Running) => Freeze(server),
            (0..=9, ProcessState::Frozen) => Thaw(server),
            (6..=7, _) if world.network.hidden_servers[server] => Show(server),
            (6..=7, _) => Hide(server),
            (8, _) => Cut(random.u16(..)),
            (9, _) => CutOneWay(random.u16(..)),
            (10..=11, _) => Heal,
            (12..=13, ProcessState::Running) => Promote(server),
            (14..=15, ProcessState::Running) => Follow { server, master: other },
            // A demotion by hand: to a replica of the master, or to a dead server.
            (16, _) => {
                let mut servers = 0..count;
                let master = servers.find(|index| world.servers[*index].is_master());
                let server = master.unwrap_or(server);
                Follow { server, master: (server + random.usize(1..count)) % count }
            }
            (17, _) if sentinels > 0 => Failover,
            (18, _) if sentinels > 0 && with_data => KillSentinel(sentinel),
            (18, _) if sentinels > 0 => FreezeSentinel(sentinel),
            (19, _) if sentinels > 0 && world.network.hidden_sentinels[sentinel] => {
                ShowSentinel(sentinel)
            }
            (19, _) if sentinels > 0 => HideSentinel(sentinel),
            (20, _) if sentinels > 0 => Reset(sentinel),
            (21, _) => RestartExporter { with_state: with_data, downtime: random.u64(0..5) },
            _ => MoveClient { client: random.usize(..world.clients.len()), server },
        }
    }

    /// Applies the operation to the world. An operation that is not possible has no effect.
    pub(crate) fn apply(self, world: &mut World) {
        let now = world.now;
        match self {
            Operation::Kill(server) => world.servers[server].kill(),
            Operation::Start { server, with_data } => {
                if world.servers[server].state == ProcessState::Dead {
                    world.restart(server, with_data);
                }
            }
            Operation::Restart { server, with_data } => world.restart(server, with_data),
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
                world.sentinels.all[index].state = ProcessState::Dead;
            }
            Operation::FreezeSentinel(index) => {
                if world.sentinels.all[index].is_running() {
                    world.sentinels.all[index].state = ProcessState::Frozen;
                }
            }
            Operation::Hide(server) => world.network.hidden_servers[server] = true,
            Operation::Show(server) => world.network.hidden_servers[server] = false,
            Operation::HideSentinel(index) => world.network.hidden_sentinels[index] = true,
            Operation::ShowSentinel(index) => world.network.hidden_sentinels[index] = false,
            Operation::Cut(sides) => world.network.cut(Partition { sides, one_way: false }),
            Operation::CutOneWay(sides) => world.network.cut(Partition { sides, one_way: true }),
            Operation::Heal => world.network.heal(),
            Operation::Promote(server) => {
                if world.servers[server].is_running() {
                    world.promote(server);
                }
            }
            Operation::Follow { server, master } => {
                if world.servers[server].is_running() {
                    world.follow(server, master);
                }
            }
            Operation::Failover => world.sentinels.ordered = true,
            Operation::Reset(index) => {
                if world.sentinels.all[index].is_running() {
                    world.sentinels.all[index].reset(index, now);
                }
            }
            Operation::MoveClient { client, server } => world.clients[client].target = server,
            // The history does this.
            Operation::RestartExporter { .. } => {}
        }
    }
}

/// Ends all faults: starts what is dead, thaws what is frozen, and reconnects everything. Without
/// Sentinels an operator makes all servers follow the first one.
pub(crate) fn recover(world: &mut World) {
    world.network.heal();
    for server in 0..world.servers.len() {
        Operation::Show(server).apply(world);
        Operation::Thaw(server).apply(world);
        Operation::Start { server, with_data: true }.apply(world);
    }
    let now = world.now;
    for (index, sentinel) in world.sentinels.all.iter_mut().enumerate() {
        world.network.hidden_sentinels[index] = false;
        if sentinel.state == ProcessState::Dead {
            sentinel.switch(sentinel.master, now);
        }
        sentinel.state = ProcessState::Running;
    }
    if world.sentinels.all.is_empty() {
        world.promote(0);
        for server in 1..world.servers.len() {
            if world.servers[server].role != Role::Replica(0) {
                world.follow(server, 0);
            }
        }
    }
}
