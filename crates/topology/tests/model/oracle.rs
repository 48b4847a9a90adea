//! Comparison of the view with the truth: what the model knows and the exporter must not get wrong.

use std::collections::BTreeMap;

use topology::{DeploymentView, NodeState, NodeView};

use crate::network::Host;
use crate::replies::server_at;
use crate::server::{ProcessState, Role, Server};
use crate::world::World;

/// A statement of the view that contradicts the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Seconds since the start of the history.
    pub(crate) at: u64,
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

/// A rule that every view must satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A node that replies is up.
    RepliesUp,
    /// A node without a process that replies to anybody is down.
    GoneDown,
    /// A node that a reachable peer reaches is not down.
    AliveNotDown,
    /// The undisputed primary claims to be master.
    PrimaryIsMaster,
    /// The undisputed primary is the one that the Sentinels name.
    PrimaryOfSentinels,
    /// The undisputed primary is the one that clients and replicas use.
    PrimaryInUse,
    /// Two masters of one history that reply are a split brain.
    SplitBrain,
    /// A deployment with a master that replies has a primary.
    HasPrimary,
    /// A deployment without a master has no primary.
    HasNoPrimary,
    /// The primary that takes writes is writable.
    Writable,
    /// A primary that does not run is not writable.
    NotWritable,
    /// A loop is reported while it exists.
    Loop,
    /// A replica that follows the primary is no orphan.
    NoOrphan,
}

/// Rounds for which a contradiction may last, by rule.
const TOLERANCES: [(Rule, u32); 13] = [
    (Rule::RepliesUp, 1),
    // Idle links ping every 10 s, up to 5 s late, and their times are up to 2 s late.
    (Rule::GoneDown, 20),
    (Rule::AliveNotDown, 0),
    (Rule::PrimaryIsMaster, 1),
    (Rule::PrimaryOfSentinels, 12),
    // Writes count as recent for 30 s.
    (Rule::PrimaryInUse, 32),
    (Rule::SplitBrain, 2),
    (Rule::HasPrimary, 2),
    (Rule::HasNoPrimary, 20),
    (Rule::Writable, 1),
    (Rule::NotWritable, 16),
    (Rule::Loop, 3),
    (Rule::NoOrphan, 3),
];

/// Rounds for which a peer must have reached a server, so that its last statement is not older than
/// the failure.
const WITNESSED_ROUNDS: u32 = 15;

/// Judge of one history.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Consecutive rounds with a contradiction, by rule and server.
    rounds: BTreeMap<(Rule, usize), u32>,
    /// Consecutive rounds in which each server ran and a peer that replies reached it.
    witnessed: Vec<u32>,
    /// Comparisons so far.
    pub(crate) comparisons: u64,
}

/// The view of a round, and the truth about it.
struct Comparison<'a> {
    world: &'a World,
    view: &'a DeploymentView,
    /// Consecutive rounds in which each server ran and a peer that replies reached it.
    witnessed: &'a [u32],
    /// Contradictions of this round.
    found: Vec<(Rule, usize, String)>,
    comparisons: u64,
}

impl Oracle {
    /// Compares a view with the truth. Returns the first fault.
    pub(crate) fn compare(&mut self, world: &World, view: &DeploymentView) -> Option<Fault> {
        self.witnessed.resize(world.servers.len(), 0);
        for (server, rounds) in self.witnessed.iter_mut().enumerate() {
            let is_witnessed = world.servers[server].is_running() && has_witness(world, server);
            *rounds = if is_witnessed { *rounds + 1 } else { 0 };
        }
        let witnessed = &self.witnessed;
        let mut comparison =
            Comparison { world, view, witnessed, found: Vec::new(), comparisons: 0 };
        comparison.compare_nodes();
        comparison.compare_primary();
        comparison.compare_outage();
        comparison.compare_loop();
        let Comparison { found, comparisons, .. } = comparison;
        self.comparisons += comparisons;
        let mut rounds = BTreeMap::new();
        let mut fault = None;
        for (rule, server, text) in found {
            let lasted = self.rounds.get(&(rule, server)).copied().unwrap_or_default() + 1;
            rounds.insert((rule, server), lasted);
            let tolerance = TOLERANCES.iter().find(|(other, _)| *other == rule);
            if lasted > tolerance.map_or(0, |(_, rounds)| *rounds) {
                fault = fault.or(Some(Fault { at: world.now / 1000, rule, text }));
            }
        }
        self.rounds = rounds;
        fault
    }
}

impl Comparison<'_> {
    /// Checks a rule: `holds` must be true.
    fn check(&mut self, rule: Rule, server: usize, holds: bool, text: impl FnOnce() -> String) {
        self.comparisons += 1;
        if !holds {
            self.found.push((rule, server, text()));
        }
    }

    fn node(&self, server: usize) -> Option<&NodeView> {
        self.view
            .members()
            .map(|(_, node)| node)
            .find(|node| node.holds_data() && server_at(&node.node.address) == Some(server))
    }

    fn is_seen(&self, server: usize) -> bool {
        self.world.network.connects(Host::Exporter, Host::Server(server))
    }

    fn replies(&self, server: usize) -> bool {
        self.is_seen(server) && self.world.servers[server].is_running()
    }

    fn compare_nodes(&mut self) {
        for server in 0..self.world.servers.len() {
            let Some(node) = self.node(server) else { continue };
            let (presence, up) = (node.presence, node.up());
            let process = &self.world.servers[server];
            let replies = self.replies(server);
            let state = process.state;
            if replies {
                self.check(Rule::RepliesUp, server, up == Some(true), || {
                    format!("server {server} replies, but is {presence:?}")
                });
            }
            if state != ProcessState::Running {
                self.check(Rule::GoneDown, server, is_down(presence), || {
                    format!("server {server} is {state:?}, but {presence:?}")
                });
            } else if !replies && self.witnessed[server] >= WITNESSED_ROUNDS {
                // A node that was down before may stay so until Rolecall reaches it.
                let begins = matches!(presence, NodeState::Down { since, .. }
                    if since == self.view.now);
                self.check(Rule::AliveNotDown, server, !begins, || {
                    format!("server {server} runs and peers reach it, but it is {presence:?}")
                });
            }
        }
    }

    /// Returns the undisputed primary.
    fn certain_primary(&self) -> Option<usize> {
        let shard = self.view.shards.first()?;
        let primary = shard.primary.filter(|_| shard.is_primary_certain())?;
        server_at(&self.view.nodes[primary.node].node.address)
    }

    /// Returns the servers that reply as masters.
    fn masters(&self) -> Vec<usize> {
        let servers = 0..self.world.servers.len();
        servers
            .filter(|server| self.replies(*server) && self.world.servers[*server].is_master())
            .collect()
    }

    fn compare_primary(&mut self) {
        let masters = self.masters();
        if let Some(primary) = self.certain_primary() {
            let world = self.world;
            let server = &world.servers[primary];
            if self.replies(primary) {
                self.check(Rule::PrimaryIsMaster, primary, server.is_master(), || {
                    format!("the primary {primary} replies as {:?}", server.role)
                });
            }
            if let Some(named) = self.named_by_sentinels()
                && masters.contains(&named)
            {
                self.check(Rule::PrimaryOfSentinels, primary, named == primary, || {
                    format!("the Sentinels name {named}, the verdict {primary} is undisputed")
                });
            } else if world.sentinels.all.is_empty()
                && let Some(used) = self.in_use(&masters)
            {
                self.check(Rule::PrimaryInUse, primary, used == primary, || {
                    format!("clients and replicas use {used}, {primary} is undisputed")
                });
            }
            let written = world.written_at[primary];
            let takes_writes = written.is_some_and(|at| world.now < at + 500);
            let writable = self.view.shards[0].writable;
            if self.replies(primary) && takes_writes {
                self.check(Rule::Writable, primary, writable != Some(false), || {
                    format!("the primary {primary} takes writes, but writable is {writable:?}")
                });
            }
            let runs = server.is_running();
            self.check(Rule::NotWritable, primary, runs || writable != Some(true), || {
                format!("the primary {primary} is {:?}, but writable", server.state)
            });
            self.compare_orphans(primary);
        }
        let related = masters
            .iter()
            .any(|a| masters.iter().any(|b| a != b && are_related(self.world, *a, *b)));
        let reported =
            self.view.shards.first().is_some_and(|shard| !shard.split_brain.masters.is_empty());
        if related {
            self.check(Rule::SplitBrain, 0, reported, || {
                format!("{masters:?} are masters of one history, no split brain")
            });
        }
    }

    /// Returns the server that all Sentinels which run name, if they are a majority that the
    /// exporter and the server can reach.
    fn named_by_sentinels(&self) -> Option<usize> {
        let world = self.world;
        let sentinels = world.sentinels.all.iter().enumerate();
        let seen: Vec<_> = sentinels
            .filter(|(index, sentinel)| {
                sentinel.state == ProcessState::Running
                    && world.network.connects(Host::Exporter, Host::Sentinel(*index))
            })
            .collect();
        let (_, first) = seen.first()?;
        let master = first.master;
        let agrees = seen
            .iter()
            .all(|(_, sentinel)| sentinel.master == master && !sentinel.is_down(master, world.now));
        (agrees && seen.len() * 2 > world.sentinels.all.len()).then_some(master)
    }

    /// Returns the only master that clients write to and replicas follow.
    fn in_use(&self, masters: &[usize]) -> Option<usize> {
        let world = self.world;
        let written: Vec<_> = masters
            .iter()
            .copied()
            .filter(|server| world.written_at[*server].is_some_and(|at| world.now < at + 500))
            .collect();
        let [used] = written[..] else { return None };
        let follows = |server: &Server, master| server.role == Role::Replica(master);
        let replicas = || world.servers.iter().filter(|server| server.is_running());
        let others = replicas()
            .any(|server| masters.iter().any(|master| *master != used && follows(server, *master)));
        (!others && replicas().any(|server| follows(server, used) && server.link.up))
            .then_some(used)
    }

    fn compare_orphans(&mut self, primary: usize) {
        for server in 0..self.world.servers.len() {
            let process = &self.world.servers[server];
            let follows = process.role == Role::Replica(primary) && process.link.up;
            let connected =
                self.world.network.connects(Host::Server(server), Host::Server(primary));
            if !follows || !connected || !self.replies(server) || !self.replies(primary) {
                continue;
            }
            let orphan = self.node(server).and_then(|node| node.orphan);
            self.check(Rule::NoOrphan, server, orphan.is_none(), || {
                format!("{server} follows the primary {primary}, but is an orphan: {orphan:?}")
            });
        }
    }

    fn compare_outage(&mut self) {
        let Some(shard) = self.view.shards.first() else { return };
        let why = shard.no_primary.why;
        let masters = self.masters();
        if !masters.is_empty() {
            self.check(Rule::HasPrimary, 0, why.is_none(), || {
                format!("{masters:?} reply as masters, but no primary: {why:?}")
            });
        }
        let servers = &self.world.servers;
        let any_master = servers.iter().any(|server| server.is_running() && server.is_master());
        let all_seen = (0..servers.len()).all(|server| self.is_seen(server));
        let known = (0..servers.len()).all(|server| self.node(server).is_some());
        if !any_master && all_seen && known {
            self.check(Rule::HasNoPrimary, 0, why.is_some(), || {
                "no server is a master, but that is not reported".to_owned()
            });
        }
    }

    fn compare_loop(&mut self) {
        let looping: Vec<_> = (0..self.world.servers.len())
            .filter(|server| self.replies(*server) && self.world.is_in_loop(*server))
            .collect();
        let all_reply = (0..self.world.servers.len()).all(|server| self.replies(server));
        let reported = !self.view.shards[0].replication_loop.is_empty();
        if all_reply {
            let exists = !looping.is_empty();
            self.check(Rule::Loop, 0, exists == reported, || {
                format!("servers in a loop: {looping:?}, reported: {reported}")
            });
        }
    }
}

fn is_down(presence: NodeState) -> bool {
    matches!(presence, NodeState::Down { .. })
}

/// Returns true if a peer that replies is in contact with the server.
fn has_witness(world: &World, server: usize) -> bool {
    let replies = |other: usize| {
        world.servers[other].is_running()
            && world.network.connects(Host::Exporter, Host::Server(other))
    };
    let by_link = (0..world.servers.len()).any(|replica| {
        let other = &world.servers[replica];
        let connected = world.network.connects(Host::Server(server), Host::Server(replica));
        let linked = other.link.up
            && other.role == Role::Replica(server)
            && other.link.run == world.servers[server].run;
        let attached = world.servers[server].link.up
            && world.servers[server].role == Role::Replica(replica)
            && world.servers[server].link.run == other.run;
        connected && (linked || attached) && replies(replica)
    });
    by_link
        || world.sentinels.all.iter().enumerate().any(|(index, sentinel)| {
            sentinel.state == ProcessState::Running
                && world.network.connects(Host::Exporter, Host::Sentinel(index))
                && world.network.connects(Host::Server(server), Host::Sentinel(index))
                && !sentinel.is_down(server, world.now)
        })
}

/// Returns true if one server continues the present history of the other.
fn are_related(world: &World, a: usize, b: usize) -> bool {
    let continues = |new: &Server, old: &Server| {
        new.history == old.history || new.previous.is_some_and(|(id, _)| id == old.history)
    };
    let (a, b) = (&world.servers[a], &world.servers[b]);
    continues(a, b) || continues(b, a)
}
