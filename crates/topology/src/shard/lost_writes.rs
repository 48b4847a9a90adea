//! Tracker of lost writes: changes that stale masters accepted and the primary does not have.
//!
//! Two masters diverge where the history of one branches off that of the other. The changes of each
//! side since then are at risk. They are lost when that side loses: it replies as a replica, or the
//! verdict against it is undisputed.

use std::collections::BTreeMap;

use snapshot::{NodeSnapshot, Replication, Role};

use crate::model::monotonic::Monotonic;
use crate::model::node::LinkState;
use crate::model::node_index::{NodeIndex, NodeMap};
use crate::model::shard::{ChangeCount, DivergingWrites, Loss, LostWritesView};
use crate::shard::branches::{Branches, CommonData};
use crate::shard::change_history::{Baseline, BaselineSearch, ChangeHistory, ChangeSample};
use crate::shard::context::ShardContext;
use crate::shard::nodes::ShardNodes;
use crate::shard::rivals::{Rivals, StaleMasters};

/// The largest number of masters that are compared with each other.
const MAX_RIVALS: usize = 8;

/// Tracks the lost writes of a shard.
#[derive(Debug, Default)]
pub(crate) struct LostWritesTracker {
    branches: Branches,
    /// Counted changes of each master.
    histories: NodeMap<ChangeHistory>,
    /// Totals of a master where its history left that of a rival, by master and rival.
    baselines: BTreeMap<(NodeIndex, NodeIndex), KnownDivergence>,
    /// Changes of each master that are counted as lost, since the split brain began.
    lost: NodeMap<ChangeCount>,
    view: LostWritesView,
    split_brain: bool,
}

/// Total of a master where its history left that of a rival.
#[derive(Debug, Clone, Copy)]
struct Divergence {
    baseline: Baseline,
    /// The history was not observed from there on.
    at_least: bool,
}

/// A divergence, and the histories of both masters when it was found.
#[derive(Debug)]
struct KnownDivergence {
    divergence: Divergence,
    histories: [Option<Box<str>>; 2],
}

/// The total of a master at the end of its reign, or now.
#[derive(Debug, Clone, Copy)]
struct End {
    low: u64,
    about: u64,
    high: u64,
    resets: u32,
    /// The last changes were not observed.
    at_least: bool,
}

impl LostWritesTracker {
    /// Processes one round.
    pub(crate) fn observe(
        &mut self,
        nodes: ShardNodes<'_>,
        stale: &StaleMasters<'_>,
        context: &ShardContext<'_>,
    ) {
        let now = context.now();
        let began = stale.split_brain && !self.split_brain;
        if began {
            self.begin_incident();
        }
        self.record(nodes, context);
        let masters = nodes.indices().filter(|index| stale.contains(*index)).take(MAX_RIVALS);
        let rivals = Rivals { nodes, stale, masters: masters.collect(), now };
        self.find_divergences(&rivals);
        for index in rivals.masters.iter().copied().filter(|index| stale.has_lost(*index)) {
            if let Some(count) = self.count(index, rivals.reference(index)) {
                self.lose(index, count, now);
            }
        }
        // Masters that are demoted in the same round belong to one incident.
        let mut in_incident = self.split_brain || stale.split_brain;
        for (index, node) in nodes.iter().filter(|(index, _)| context.answered(*index)) {
            if node.is_replica() {
                self.demote(index, &rivals, &mut in_incident);
            }
        }
        self.view.diverging = self.diverging(&rivals);
        let compared = rivals.masters;
        self.baselines
            .retain(|(index, rival), _| compared.contains(index) && compared.contains(rival));
        self.split_brain = stale.split_brain;
        if let (Some(primary), Some(loss)) = (stale.primary, &mut self.view.loss) {
            loss.set_primary(primary.node);
        }
        self.view.bytes =
            stale.primary.and_then(|primary| lost_bytes(nodes, stale.masters, primary.node));
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.histories.remove(&index);
        self.lost.remove(&index);
        self.baselines.retain(|(node, rival), _| *node != index && *rival != index);
        self.view.diverging.retain(|diverging| diverging.node != index);
        if let Some(loss) = &mut self.view.loss {
            loss.stale_masters.retain(|stale| *stale != index);
            loss.primary_again.retain(|primary| *primary != index);
        }
    }

    /// Returns the lost writes so far.
    pub(crate) fn view(&self) -> &LostWritesView {
        &self.view
    }

    /// Returns the changes of a master that the data of a replica does not contain; `None` if they
    /// share no history.
    pub(crate) fn changes_beyond(
        &self,
        master: NodeIndex,
        replica: &Replication,
    ) -> Option<ChangeCount> {
        let (replid, offset) = (replica.replid.as_deref()?, replica.offset?);
        self.histories.get(&master)?.changes_beyond(replid, offset)
    }

    fn begin_incident(&mut self) {
        self.view.in_split_brain = 0;
        self.lost.clear();
    }

    /// Adds the replies of all masters. A promoted node continues the counter of the replica.
    fn record(&mut self, nodes: ShardNodes<'_>, context: &ShardContext<'_>) {
        let answered = nodes.iter().filter(|(index, _)| context.answered(*index));
        let masters = answered.filter(|(_, node)| node.role() == Some(Role::Master));
        for (index, node) in masters {
            let Some(snapshot) = node.snapshot() else { continue };
            self.branches.observe(&snapshot.replication);
            let history = self.histories.entry(index).or_default();
            let previous = context.previous.nodes.get(index).and_then(|node| node.last.as_deref());
            if let Some(replica) = previous.filter(|_| history.last().is_none()) {
                history.record(replica, context.previous.now);
            }
            history.record(snapshot, context.now());
        }
    }

    /// Finds the totals where the masters diverged, once for each pair of histories.
    fn find_divergences(&mut self, rivals: &Rivals<'_>) {
        let replid = |index: NodeIndex| {
            rivals.nodes[index].snapshot().and_then(|snapshot| snapshot.replication.replid.clone())
        };
        for index in rivals.masters.iter().copied() {
            for rival in rivals.masters.iter().copied().filter(|rival| *rival != index) {
                let histories = [index, rival].map(replid);
                let known = self.baselines.get(&(index, rival));
                if known.is_some_and(|known| known.histories == histories) {
                    continue;
                }
                let history = self.histories.get(&index);
                let common = self.common(rival, rivals.nodes);
                let Some((history, common)) = history.zip(common) else { continue };
                let newest = history.last();
                let is_connected =
                    newest.is_some_and(|newest| common.end(newest.history()).is_some());
                let follows_unseen = known.is_some_and(|known| {
                    let mut sides = [index, rival].into_iter().zip(&known.histories);
                    sides.any(|(side, before)| {
                        self.may_have_followed(side, before.as_deref(), rivals.nodes)
                    })
                });
                if known.is_some() && !is_connected {
                    if follows_unseen && let Some(divergence) = Divergence::now(history) {
                        let divergence = KnownDivergence { divergence, histories };
                        self.baselines.insert((index, rival), divergence);
                    }
                    // Another history that nothing connects with the ones before explains nothing.
                    continue;
                }
                let divergence = match self.divergence(index, rival, rivals) {
                    Some(found) if known.is_none() || !found.at_least => found,
                    Some(_) => continue,
                    // The rival has all data of the master that was read so far.
                    None => {
                        self.baselines.remove(&(index, rival));
                        continue;
                    }
                };
                // The master was demoted and promoted again since the last round.
                let end = history.end_of_reign(&common).map(End::at);
                let lost = known.zip(end).map(|(known, end)| known.divergence.count(end));
                if let Some(count) = lost {
                    self.lose(index, count, rivals.now);
                }
                self.baselines.insert((index, rival), KnownDivergence { divergence, histories });
            }
        }
    }

    /// Returns true if a node continues a history that nothing connects with its former one: it
    /// may have been a replica of any node in the meantime.
    fn may_have_followed(
        &self,
        index: NodeIndex,
        before: Option<&str>,
        nodes: ShardNodes<'_>,
    ) -> bool {
        let Some(replication) = nodes[index].snapshot().map(|snapshot| &snapshot.replication)
        else {
            return false;
        };
        let (Some(now), Some(before)) = (&replication.replid, before) else { return false };
        replication.replid2.is_some() && !self.branches.continues(now, before)
    }

    /// Returns the total of a master where its history left that of a rival.
    fn divergence(
        &self,
        index: NodeIndex,
        rival: NodeIndex,
        rivals: &Rivals<'_>,
    ) -> Option<Divergence> {
        let history =
            self.histories.get(&index).filter(|_| rivals.nodes[index].snapshot().is_some())?;
        match self.search(history, rival, rivals.nodes) {
            BaselineSearch::Known(baseline) => Some(Divergence { baseline, at_least: false }),
            BaselineSearch::Pending => None,
            // A process that is younger than its rival shares no change with it, except replicated
            // ones.
            BaselineSearch::Unknown => {
                // Changes before a reply in this round may be replicated.
                let last = history.last().filter(|last| last.at() == rivals.now)?;
                let total =
                    if rivals.started_stale(index) { history.own_since() } else { last.total };
                Some(Divergence::since(total, last.resets))
            }
        }
    }

    /// Searches the samples of a master for the offset where its history left that of a rival.
    fn search(
        &self,
        history: &ChangeHistory,
        rival: NodeIndex,
        nodes: ShardNodes<'_>,
    ) -> BaselineSearch {
        let common = self.common(rival, nodes);
        common.map_or(BaselineSearch::Pending, |common| history.baseline(&common))
    }

    /// Returns what other nodes have in common with a master.
    fn common<'a>(&'a self, rival: NodeIndex, nodes: ShardNodes<'a>) -> Option<CommonData<'a>> {
        let replication = &nodes.deployment()[rival].snapshot()?.replication;
        Some(self.branches.common_with(replication.replid.as_deref()?))
    }

    /// Returns the changes of a master that its rival does not have.
    fn count(&self, index: NodeIndex, rival: Option<NodeIndex>) -> Option<ChangeCount> {
        let known = self.baselines.get(&(index, rival?))?;
        let last = self.histories.get(&index)?.last()?;
        Some(known.divergence.count(End::at(last)))
    }

    /// Counts the changes of a master that replies as a replica as lost. While it follows no
    /// master and keeps its data, nothing is lost.
    fn demote(&mut self, index: NodeIndex, rivals: &Rivals<'_>, in_incident: &mut bool) {
        let node = &rivals.nodes[index];
        let Some(snapshot) = node.snapshot() else { return };
        let continues =
            self.histories.get(&index).is_some_and(|history| history.continues(snapshot));
        // A new process has nothing but the data that it loaded until its link is up.
        let keeps_data = continues || node.link.state == Some(LinkState::NeverUp);
        let Some(winner) = rivals.winner(index, keeps_data) else { return };
        let Some(mut history) = self.histories.remove(&index) else { return };
        let end = if continues {
            history.record(snapshot, rivals.now);
            history.last().map(End::at)
        } else {
            self.end_of(&history, snapshot, winner)
        };
        let known = self.baselines.get(&(index, winner)).map(|known| known.divergence);
        let divergence = known.or_else(|| match self.search(&history, winner, rivals.nodes) {
            BaselineSearch::Known(baseline) => Some(Divergence { baseline, at_least: false }),
            BaselineSearch::Pending | BaselineSearch::Unknown => None,
        });
        let (Some(divergence), Some(end)) = (divergence, end) else { return };
        let count = divergence.count(end);
        if !*in_incident && count.low > 0 {
            self.begin_incident();
            *in_incident = true;
        }
        self.lose(index, count, rivals.now);
    }

    /// Returns the total at the end of the reign of a master that has the data of the winner
    /// already. Its counter then includes the changes that it replicated since.
    fn end_of(
        &self,
        history: &ChangeHistory,
        snapshot: &NodeSnapshot,
        winner: NodeIndex,
    ) -> Option<End> {
        let last = history.last()?;
        let Some(growth) = history.growth_until(snapshot) else {
            return Some(End { at_least: true, ..End::at(last) });
        };
        let winner = self.histories.get(&winner);
        let replicated = winner.and_then(|winner| winner.growth_since(last.at()));
        let own = growth.saturating_sub(replicated.unwrap_or_default());
        Some(End { about: last.total + own, high: last.total + growth, ..End::at(last) })
    }

    fn lose(&mut self, index: NodeIndex, count: ChangeCount, now: Monotonic) {
        // Without a certain change, the interval may contain replicated changes only.
        if count.low == 0 {
            return;
        }
        let before = self.lost.insert(index, count).map_or(0, |before| before.about);
        let more = count.about.saturating_sub(before);
        self.view.total += more;
        let mut loss =
            self.view.loss.take().filter(|_| self.view.in_split_brain > 0).unwrap_or_default();
        if !loss.stale_masters.contains(&index) {
            loss.stale_masters.push(index);
            loss.primary_again.retain(|primary| *primary != index);
        }
        self.view.in_split_brain += more;
        loss.changes = self.lost.values().copied().fold(ChangeCount::default(), ChangeCount::plus);
        if more > 0 {
            loss.last = now;
        }
        self.view.loss = Some(loss);
    }

    /// Returns the changes of each master since it diverged from the primary, or from the rival
    /// that it left first.
    fn diverging(&self, rivals: &Rivals<'_>) -> Vec<DivergingWrites> {
        let diverging = |index: &NodeIndex| {
            let of = |rival: NodeIndex| self.count(*index, Some(rival));
            let others = || rivals.masters.iter().copied().filter(|rival| rival != index);
            let earliest = || others().filter_map(of).max_by_key(|count| (count.low, count.about));
            let count = rivals.reference(*index).map_or_else(earliest, of);
            count.map(|changes| DivergingWrites { node: *index, changes })
        };
        rivals.masters.iter().filter_map(diverging).collect()
    }
}

impl Divergence {
    /// Returns the divergence of a master whose changes so far its rival may have.
    fn now(history: &ChangeHistory) -> Option<Self> {
        history.last().map(|last| Divergence::since(last.total, last.resets))
    }

    fn since(total: u64, resets: u32) -> Self {
        let baseline = Baseline { low: total, about: total, high: total, resets };
        Divergence { baseline, at_least: true }
    }

    /// Returns the changes from here to the end.
    fn count(&self, end: End) -> ChangeCount {
        let Baseline { low, about, high, resets } = self.baseline;
        let lowest = end.low.saturating_sub(high);
        let at_least = self.at_least || end.at_least || end.resets > resets;
        ChangeCount {
            low: lowest,
            about: if at_least { lowest } else { end.about.saturating_sub(about).max(lowest) },
            high: if at_least { lowest } else { end.high.saturating_sub(low) },
            at_least,
        }
    }
}

impl End {
    fn at(sample: &ChangeSample) -> Self {
        let ChangeSample { total, resets, .. } = *sample;
        End { low: total, about: total, high: total, resets, at_least: false }
    }
}

impl Loss {
    /// Records the primary. A stale master that is primary again must not be treated as stale
    /// later, even if another node takes over.
    fn set_primary(&mut self, primary: NodeIndex) {
        if let Some(position) = self.stale_masters.iter().position(|stale| *stale == primary) {
            self.primary_again.push(self.stale_masters.remove(position));
        }
    }
}

/// Returns the bytes that stale masters appended to the history that the primary continued;
/// `None` if the primary continued another history.
fn lost_bytes(nodes: ShardNodes<'_>, stale: &[NodeIndex], primary: NodeIndex) -> Option<u64> {
    let new = &nodes[primary].snapshot()?.replication;
    let beyond = |index: &NodeIndex| {
        let old = &nodes[*index].snapshot()?.replication;
        let continues = old.replid.is_some() && old.replid == new.replid2;
        let taken_over = new.second_offset.filter(|_| continues)?.saturating_sub(1);
        Some(old.offset?.saturating_sub(taken_over))
    };
    stale.iter().filter_map(beyond).reduce(|a, b| a + b)
}
