//! Comparison of diverging and lost writes.

use std::collections::BTreeSet;

use topology::{ChangeCount, ShardView};

use super::{Comparison, Rule};
use crate::replies::Polled;
use crate::server::Role;
use crate::world::World;

/// Writes that one end of a reign may hide or add: those of two rounds.
const PER_REIGN: u64 = 50;

/// Lost writes of a history, and what was at risk.
#[derive(Debug, Default)]
pub(crate) struct LostWrites {
    /// Writes by number: those that a master had and another master did not.
    diverged: Vec<bool>,
    /// The same, also of nodes that are no masters any more.
    at_risk: Vec<bool>,
    /// Masters in the round before, with their processes.
    masters: Vec<(usize, u32)>,
    /// Reigns that ended.
    ended: u64,
    /// Uncertainty of the finished incidents, and of the present one: below and above the count.
    finished: (u64, u64),
    present: (u64, u64),
    in_split_brain: u64,
    /// The exporter did not see everything: it restarted, a server was silent, or a count is a
    /// lower bound.
    is_incomplete: bool,
}

/// The data that the exporter saw on a server.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenData {
    /// Numbers of the writes at the last reply, ascending.
    last: Vec<u32>,
    /// Those at the last replies before restarts of a master. If the data is lost, the exporter
    /// counts what it saw: replicated writes, too, and writes that a resync before the restart
    /// discarded unseen.
    before_restarts: BTreeSet<u32>,
}

impl SeenData {
    /// Processes a reply. `last` is the one before.
    pub(super) fn observe(&mut self, writes: &[u32], last: Option<&Polled>, polled: &Polled) {
        let previous = polled.previous.map(|(id, _)| id);
        if last.is_some_and(|last| last.run != polled.run) {
            self.before_restarts.extend(&self.last);
        }
        // A replica of another node, or a former one.
        let continues = previous.is_some() && previous != last.map(|last| last.history);
        if polled.role != Role::Master || continues {
            self.before_restarts.clear();
        }
        self.last.clear();
        self.last.extend_from_slice(writes.get(..polled.writes).unwrap_or(writes));
    }
}

impl LostWrites {
    /// Continues with another exporter.
    pub(super) fn restart(&mut self) {
        self.is_incomplete = true;
        self.in_split_brain = 0;
    }

    /// Processes one round.
    pub(super) fn observe(&mut self, world: &World, shard: &ShardView) {
        let masters: Vec<_> = (0..world.servers.len())
            .filter(|index| world.servers[*index].is_master())
            .map(|index| (index, world.servers[index].run))
            .collect();
        let ended = self.masters.iter().filter(|master| !masters.contains(master)).count();
        self.ended += ended as u64;
        for (index, server) in world.servers.iter().enumerate() {
            let others = masters.iter().filter(|(other, _)| *other != index);
            for (other, _) in others {
                let rival = &world.servers[*other].writes;
                // Also of a replica: a former master may follow its own replica, and both keep the
                // writes. When another node is promoted, they are lost while it is the primary.
                add(&mut self.at_risk, difference(&server.writes, rival));
                if server.is_master() && !server.reign.writes.is_empty() {
                    add(&mut self.diverged, difference(&server.writes, rival));
                }
            }
        }
        self.masters = masters;
        let all_run =
            world.servers.iter().zip(&world.network.hidden_servers).all(|(server, is_hidden)| {
                server.is_running() && server.started == 0 && !is_hidden
            });
        let lost = &shard.lost_writes;
        let counts = lost.diverging.iter().map(|diverging| diverging.changes);
        let is_bounded =
            counts.chain(lost.loss.as_ref().map(|loss| loss.changes)).all(|c| !c.at_least);
        self.is_incomplete |= !all_run || !is_bounded;
        if lost.in_split_brain < self.in_split_brain {
            self.finished.0 += self.present.0;
            self.finished.1 += self.present.1;
            self.present = (0, 0);
        }
        self.in_split_brain = lost.in_split_brain;
        if let Some(loss) = &lost.loss {
            let ChangeCount { low, about, high, .. } = loss.changes;
            self.present.0 = self.present.0.max(about.saturating_sub(low));
            self.present.1 = self.present.1.max(high.saturating_sub(about));
        }
    }

    /// Returns the results of the comparison at the end of a history.
    pub(super) fn end(&self, world: &World, shard: &ShardView) -> Vec<(Rule, bool, String)> {
        let Some(master) = world.healthy_master() else { return Vec::new() };
        let data = &world.servers[master].writes;
        let all: Vec<u32> = (0..world.acknowledged).collect();
        let gone: Vec<_> = difference(&all, data).collect();
        let mut at_risk = self.at_risk.clone();
        add(&mut at_risk, gone.iter().copied());
        let at_risk = at_risk.iter().filter(|at_risk| **at_risk).count() as u64;
        // Writes that are lost without a second master, for example because a replica was behind,
        // are not counted.
        let has_diverged = |id: &&u32| self.diverged.get(**id as usize) == Some(&true);
        let gone = gone.iter().filter(has_diverged).count() as u64;
        let total = shard.lost_writes.total;
        let below = self.finished.0 + self.present.0 + self.ended * PER_REIGN;
        let above = self.finished.1 + self.present.1 + self.ended * PER_REIGN;
        let text = format!(
            "{gone} of {} writes diverged and are gone, {at_risk} were at risk, {total} are lost \
             (-{below}, +{above})",
            all.len()
        );
        let mut results = vec![(Rule::NotLost, total <= at_risk + below, text.clone())];
        if !self.is_incomplete {
            results.push((Rule::Lost, gone <= total + above, text));
        }
        results
    }
}

impl Comparison<'_> {
    /// Compares the writes of each master that its rival does not have.
    pub(super) fn compare_writes(&mut self) {
        for diverging in &self.shard.lost_writes.diverging {
            let address = |node| self.server_of(node);
            let Some(server) = address(diverging.node) else { continue };
            let primary = self.shard.primary.map(|primary| primary.node);
            let others = self.shard.masters.iter().filter(|master| **master != diverging.node);
            // Without a primary, the rival is the one that the master left first.
            let rival = match (primary, &others.collect::<Vec<_>>()[..]) {
                (Some(primary), _) if primary != diverging.node => Some(primary),
                (_, [other]) => Some(**other),
                _ => None,
            };
            if let Some(rival) = rival.and_then(address) {
                self.compare_diverging(server, rival, diverging.changes);
            }
        }
    }

    fn compare_diverging(&mut self, server: usize, rival: usize, changes: ChangeCount) {
        let (own, other) = (&self.world.servers[server], &self.world.servers[rival]);
        let Some(polled) = self.polled(server) else { return };
        // A master that was demoted since its reply may have been promoted again.
        let is_current = |server: usize| {
            let process = &self.world.servers[server];
            self.polled(server).is_some_and(|polled| {
                polled.role == Role::Master && polled.history == process.history
            })
        };
        if !is_current(server) || !is_current(rival) {
            return;
        }
        let data = own.writes.get(..polled.writes).unwrap_or(&own.writes);
        let missing = difference(data, &other.writes).count();
        let is_lacking = |id: &u32| other.writes.binary_search(id).is_err();
        let is_kept = |id: &u32| data.binary_search(id).is_ok();
        // A full resync copies data without counting changes.
        let reign = own.reign.writes.iter().copied().filter(|id| *id < polled.acknowledged);
        let (kept, erased): (Vec<u32>, Vec<u32>) = reign.filter(is_lacking).partition(is_kept);
        let before = self.data[server].before_restarts.iter().copied();
        let mut gone: BTreeSet<u32> = before.filter(|id| is_lacking(id) && !is_kept(id)).collect();
        gone.extend(&erased);
        let (low, high) = (kept.len() as u64, (missing + gone.len()) as u64);
        // The number is that since the divergence. A rival that lost its data misses more.
        let is_exact = !changes.at_least && !other.reign.lost_data && erased.is_empty();
        let holds = changes.low <= high && (!is_exact || changes.high >= low);
        self.check(Rule::DivergingWrites, server, holds, || {
            format!("{rival} lacks {low} to {high} writes of {server}, but {changes:?}")
        });
    }
}

/// Marks numbers.
fn add(marks: &mut Vec<bool>, ids: impl Iterator<Item = u32>) {
    for id in ids {
        let id = id as usize;
        if marks.len() <= id {
            marks.resize(id + 1, false);
        }
        marks[id] = true;
    }
}

/// Returns the numbers in one ascending list that another one lacks.
fn difference<'a>(list: &'a [u32], other: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
    let common = list.iter().zip(other).take_while(|(a, b)| a == b).count();
    let other = &other[common..];
    list[common..].iter().copied().filter(move |id| other.binary_search(id).is_err())
}
