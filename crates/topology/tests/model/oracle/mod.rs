//! Comparison of the view with the truth: what the model knows and the exporter must not get wrong.

mod nodes;
mod primary;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use topology::{DeploymentView, NodeIndex, NodeState, NodeView, ShardView};

use crate::network::Host;
use crate::replies::{Polled, Polls, server_at};
use crate::server::{Millis, Role};
use crate::world::World;

use writes::{LostWrites, SeenData};

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
    /// The state of a link is that of the last reply.
    Link,
    /// The lag of a connected replica is the difference of the offsets.
    LagBytes,
    /// The lag in time is the age of the first byte that the replica lacks.
    LagTime,
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
    /// A deployment has no primary if no node is a master, and every node replies or is down.
    HasNoPrimary,
    /// The primary that takes writes is writable.
    Writable,
    /// A primary that does not run is not writable.
    NotWritable,
    /// A loop is reported while it exists.
    Loop,
    /// A replica that follows the primary is no orphan.
    NoOrphan,
    /// A replica of a dead node or of a stale master is an orphan.
    Orphan,
    /// A deployment in which everything works looks like that.
    Healthy,
    /// The diverging writes of a master are within the reported bounds.
    DivergingWrites,
    /// Not more writes are reported as lost than were ever at risk.
    NotLost,
    /// The acknowledged writes that are gone at the end were reported as lost.
    Lost,
}

/// Rounds for which a contradiction may last, by rule.
const TOLERANCES: [(Rule, u32); 21] = [
    (Rule::RepliesUp, 0),
    // Idle links ping every 10 s, up to 5 s late. Their times are up to 2 s late. A witness that
    // vouched and falls silent itself is undecided for up to 12 s (EVIDENCE 3).
    (Rule::GoneDown, 32),
    (Rule::AliveNotDown, 0),
    (Rule::Link, 0),
    (Rule::LagBytes, 0),
    (Rule::LagTime, 0),
    // The nodes are polled before the end of the round.
    (Rule::PrimaryIsMaster, 1),
    (Rule::PrimaryOfSentinels, 2),
    // Writes count as recent for 30 s.
    (Rule::PrimaryInUse, 32),
    (Rule::SplitBrain, 2),
    (Rule::HasPrimary, 2),
    // Two rounds in which all nodes are replicas.
    (Rule::HasNoPrimary, 3),
    (Rule::Writable, 1),
    // Its replicas decide within 12 s, and the first poll after the failure is up to 2 s late.
    (Rule::NotWritable, 14),
    // A loop needs two rounds.
    (Rule::Loop, 3),
    (Rule::NoOrphan, 3),
    (Rule::Orphan, 22),
    // Sentinels list a replica after up to 10 s, and Rolecall reads their lists every 10 s.
    (Rule::Healthy, 22),
    (Rule::DivergingWrites, 0),
    (Rule::NotLost, 0),
    (Rule::Lost, 0),
];

/// Judge of one history.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// Consecutive rounds with a contradiction, by rule and server.
    rounds: BTreeMap<(Rule, usize), u32>,
    /// Consecutive rounds in which a peer vouched for each server.
    witnessed: Vec<Vec<u32>>,
    /// Servers that replied to the exporter, or that its saved state contains.
    answered: Vec<bool>,
    /// The last reply of each server to the exporter.
    last: Vec<Option<Polled>>,
    /// Replication IDs that the exporter saw on each server.
    histories: Vec<BTreeSet<u32>>,
    /// The data of each server at its last reply, and the data before its restarts.
    data: Vec<SeenData>,
    /// Consecutive rounds in which each server replied.
    replied: Vec<u32>,
    /// The undisputed primary, and the time since which it is.
    certain: Option<(usize, Millis)>,
    writes: LostWrites,
    /// Comparisons by rule, in the order of [`TOLERANCES`].
    pub(crate) comparisons: [u64; TOLERANCES.len()],
    pub(crate) ended_healthy: bool,
}

/// The view of a round, and the truth about it.
struct Comparison<'a> {
    world: &'a World,
    polls: &'a Polls,
    view: &'a DeploymentView,
    shard: &'a ShardView,
    /// The members of the deployment, by server.
    nodes: Vec<Option<&'a NodeView>>,
    /// Consecutive rounds in which a peer vouched for each server.
    witnessed: &'a [Vec<u32>],
    /// Servers that replied to the exporter, or that its saved state contains.
    answered: &'a [bool],
    /// Replication IDs that the exporter saw on each server.
    histories: &'a [BTreeSet<u32>],
    /// The data of each server at its last reply, and the data before its restarts.
    data: &'a [SeenData],
    /// Consecutive rounds in which each server replied.
    replied: &'a [u32],
    /// Time since which the undisputed primary is the same.
    certain_since: Option<Millis>,
    /// Contradictions of this round.
    found: Vec<(Rule, usize, String)>,
    comparisons: &'a mut [u64; TOLERANCES.len()],
}

impl Oracle {
    pub(crate) fn new(world: &World) -> Self {
        let servers = world.servers.len();
        Oracle {
            rounds: BTreeMap::new(),
            witnessed: vec![vec![0; servers + world.sentinels.all.len()]; servers],
            answered: vec![false; servers],
            last: vec![None; servers],
            histories: vec![BTreeSet::new(); servers],
            data: vec![SeenData::default(); servers],
            replied: vec![0; servers],
            certain: None,
            writes: LostWrites::default(),
            comparisons: [0; TOLERANCES.len()],
            ended_healthy: false,
        }
    }

    /// Begins with another exporter.
    pub(crate) fn restart(&mut self, with_state: bool) {
        self.rounds.clear();
        self.witnessed.iter_mut().for_each(|rounds| rounds.fill(0));
        self.replied.fill(0);
        self.certain = None;
        self.last.fill(None);
        self.data.fill(SeenData::default());
        if !with_state {
            self.answered.fill(false);
            self.histories.iter_mut().for_each(BTreeSet::clear);
        }
        self.writes.restart();
    }

    /// Compares a view with the truth. Returns the first fault.
    pub(crate) fn compare(
        &mut self,
        world: &World,
        polls: &Polls,
        view: &DeploymentView,
    ) -> Option<Fault> {
        for server in 0..world.servers.len() {
            if let Some(polled) = polls.polled[server] {
                let previous = polled.previous.map(|(id, _)| id);
                self.histories[server].extend([polled.history].into_iter().chain(previous));
                let writes = &world.servers[server].writes;
                self.data[server].observe(writes, self.last[server].as_ref(), &polled);
            }
            self.last[server] = polls.polled[server].or(self.last[server]);
            let count = |rounds: u32, holds: bool| if holds { rounds + 1 } else { 0 };
            let witnesses = witnesses(world, server, self.last[server]);
            for (rounds, vouches) in self.witnessed[server].iter_mut().zip(witnesses) {
                *rounds = count(*rounds, vouches);
            }
            let has_answered = polls.polled[server].is_some();
            self.replied[server] = count(self.replied[server], has_answered);
            self.answered[server] |= has_answered;
        }
        let shard = view.shards.first()?;
        self.writes.observe(world, shard);
        let mut nodes = vec![None; world.servers.len()];
        for (_, node) in view.members().filter(|(_, node)| node.holds_data()) {
            if let Some(server) = server_at(&node.node.address) {
                nodes[server] = Some(node);
            }
        }
        // Rolecall forgets a server that is no member any more.
        for (histories, _) in self.histories.iter_mut().zip(&nodes).filter(|(_, n)| n.is_none()) {
            histories.clear();
        }
        let mut comparison = Comparison {
            nodes,
            certain_since: None,
            world,
            polls,
            view,
            shard,
            witnessed: &self.witnessed,
            answered: &self.answered,
            histories: &self.histories,
            data: &self.data,
            replied: &self.replied,
            found: Vec::new(),
            comparisons: &mut self.comparisons,
        };
        let certain = comparison.certain_primary();
        let before = self.certain.filter(|(before, _)| Some(*before) == certain);
        self.certain = before.or(certain.map(|certain| (certain, world.now)));
        comparison.certain_since = self.certain.map(|(_, since)| since);
        comparison.compare_nodes();
        comparison.compare_primary();
        comparison.compare_writes();
        let found = comparison.found;
        self.judge(world, found)
    }

    /// Compares the lost writes at the end of a history.
    pub(crate) fn end(&mut self, world: &World, view: &DeploymentView) -> Option<Fault> {
        self.ended_healthy = world.healthy_master().is_some();
        let shard = view.shards.first()?;
        let mut found = Vec::new();
        for (rule, holds, text) in self.writes.end(world, shard) {
            self.comparisons[position(rule)] += 1;
            if !holds {
                found.push((rule, 0, text));
            }
        }
        self.judge(world, found)
    }

    /// Returns the first contradiction that lasts for too long.
    fn judge(&mut self, world: &World, found: Vec<(Rule, usize, String)>) -> Option<Fault> {
        let mut rounds = BTreeMap::new();
        let mut fault = None;
        for (rule, server, text) in found {
            let lasted = self.rounds.get(&(rule, server)).copied().unwrap_or_default() + 1;
            rounds.insert((rule, server), lasted);
            if lasted > TOLERANCES[position(rule)].1 {
                fault = fault.or(Some(Fault { at: world.now / 1000, rule, text }));
            }
        }
        self.rounds = rounds;
        fault
    }
}

impl Rule {
    /// Returns all rules, in the order of the comparisons.
    pub(crate) fn all() -> impl Iterator<Item = Rule> {
        TOLERANCES.iter().map(|(rule, _)| *rule)
    }
}

fn position(rule: Rule) -> usize {
    Rule::all().position(|other| other == rule).expect("a tolerance for each rule")
}

impl<'a> Comparison<'a> {
    /// Checks a rule: `holds` must be true.
    fn check(&mut self, rule: Rule, server: usize, holds: bool, text: impl FnOnce() -> String) {
        self.comparisons[position(rule)] += 1;
        if !holds {
            self.found.push((rule, server, text()));
        }
    }

    /// Returns a server, if it is a member of the deployment.
    fn node(&self, server: usize) -> Option<&'a NodeView> {
        self.nodes[server]
    }

    fn is_seen(&self, server: usize) -> bool {
        self.world.network.connects(Host::Exporter, Host::Server(server))
    }

    fn replies(&self, server: usize) -> bool {
        self.is_seen(server) && self.world.servers[server].is_running()
    }

    /// Returns the reply of a member of the deployment in this round.
    fn polled(&self, server: usize) -> Option<Polled> {
        self.polls.polled[server]
    }

    /// Returns the undisputed primary.
    fn certain_primary(&self) -> Option<usize> {
        let primary = self.shard.primary.filter(|_| self.shard.is_primary_certain())?;
        self.server_of(primary.node)
    }

    fn server_of(&self, node: NodeIndex) -> Option<usize> {
        server_at(&self.view.nodes[node].node.address)
    }

    /// Returns true if the exporter saw a history of one server on the other one.
    fn are_related(&self, one: usize, other: usize) -> bool {
        !self.histories[one].is_disjoint(&self.histories[other])
    }

    /// Returns the servers that reply as masters.
    fn masters(&self) -> Vec<usize> {
        let servers = 0..self.world.servers.len();
        servers
            .filter(|server| self.replies(*server) && self.world.servers[*server].is_master())
            .collect()
    }
}

fn is_down(presence: NodeState) -> bool {
    matches!(presence, NodeState::Down { .. })
}

/// Returns for each server and Sentinel if it replies, is in contact with a server, and knows it as
/// the exporter does: links count with the same history, Sentinels with the same process.
fn witnesses(world: &World, server: usize, known: Option<Polled>) -> impl Iterator<Item = bool> {
    let process = &world.servers[server];
    let by_server = world.servers.iter().enumerate().map(move |(index, peer)| {
        // A master sends pings every 10 s, a replica only what it receives.
        let ping_period = if process.is_master() { 11_000 } else { 1000 };
        let is_linked = peer.link.up
            && known.is_none_or(|known| known.history == peer.history)
            && peer.role == Role::Replica(server)
            && peer.link.run == process.run
            && world.now > peer.link.connected_at + 1000
            && world.network.connects(Host::Server(index), Host::Server(server))
            && world.now <= peer.link.last_io + ping_period;
        let is_attached = process.link.up
            && process.role == Role::Replica(index)
            && process.link.run == peer.run
            && !process.link.closed
            && world.now > process.link.connected_at + 1000
            && world.network.connects(Host::Server(server), Host::Server(index))
            && world.now <= process.link.acknowledged + 1000;
        let replies =
            peer.is_running() && world.network.connects(Host::Exporter, Host::Server(index));
        process.is_running() && replies && (is_linked || is_attached)
    });
    let by_sentinel = world.sentinels.all.iter().enumerate().map(move |(index, sentinel)| {
        let watched = &sentinel.servers[server];
        process.is_running()
            && sentinel.is_running()
            && world.network.connects(Host::Exporter, Host::Sentinel(index))
            && watched.listed
            // After +switch-master and SENTINEL RESET the record says nothing (FACTS 13).
            && watched.run.is_some()
            && world.now > watched.up_since + 1000
            && known.is_none_or(|known| watched.run == Some(known.run))
            // The flag `s_down` alone, as of a master that is a replica, says nothing.
            && world.now <= watched.replied_at + 1000
    });
    by_server.chain(by_sentinel)
}
