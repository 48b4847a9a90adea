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
    /// Changes of the present reign of each master that are counted as lost in this incident.
    lost: NodeMap<LostInReign>,
    /// The same of reigns that ended in this incident.
    lost_before: ChangeCount,
    /// Total of each master up to which earlier incidents counted its changes as lost.
    counted: NodeMap<u64>,
    view: LostWritesView,
    split_brain: bool,
}

/// Total of a master where its history left that of a rival, and the histories of both when it was
/// found.
#[derive(Debug)]
struct KnownDivergence {
    baseline: Baseline,
    histories: [Option<Box<str>>; 2],
}

/// Changes that are lost since a node became a master.
#[derive(Debug, Clone, Copy)]
struct LostInReign {
    changes: ChangeCount,
    /// The total of the master with them.
    until: u64,
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
            if let Some((baseline, end)) = self.interval(index, rivals.reference(index)) {
                self.lose(index, baseline, end, now);
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
        self.counted.remove(&index);
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
        self.lost_before = ChangeCount::default();
        for (index, lost) in std::mem::take(&mut self.lost) {
            self.counted.insert(index, lost.until);
        }
    }

    /// Ends the reign of a master in the present incident.
    fn end_reign(&mut self, index: NodeIndex) {
        if let Some(lost) = self.lost.remove(&index) {
            self.lost_before = self.lost_before.plus(lost.changes);
        }
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
        for (index, rival) in rivals.pairs() {
            let histories = [index, rival].map(|node| rivals.history(node).map(Into::into));
            let known = self.baselines.get(&(index, rival));
            if known.is_some_and(|known| known.histories == histories) {
                continue;
            }
            let Some(baseline) = self.find_baseline(index, rival, rivals) else { continue };
            if let Some((before, end)) = self.unseen_end(index, rival, rivals.nodes) {
                self.lose(index, before, end, rivals.now);
                self.end_reign(index);
            }
            self.baselines.insert((index, rival), KnownDivergence { baseline, histories });
        }
    }

    /// Returns the total of a master where its history left that of a rival; `None` if the known
    /// one remains, or if there is none.
    fn find_baseline(
        &mut self,
        index: NodeIndex,
        rival: NodeIndex,
        rivals: &Rivals<'_>,
    ) -> Option<Baseline> {
        let history = self.histories.get(&index)?;
        match self.search(history, rival, rivals.nodes)? {
            BaselineSearch::Known(baseline) => Some(baseline),
            BaselineSearch::Pending => {
                // The rival has all data of the master that was read so far.
                self.baselines.remove(&(index, rival));
                None
            }
            BaselineSearch::Unknown => match self.baselines.get(&(index, rival)) {
                None => first_baseline(history, rivals, index),
                Some(known) => {
                    let mut sides = [index, rival].into_iter().zip(&known.histories);
                    let follows_unseen = sides.any(|(side, before)| {
                        self.may_have_followed(side, before.as_deref(), rivals.nodes)
                    });
                    // Otherwise, a history that nothing connects with the ones before explains
                    // nothing.
                    let last = history.last().filter(|_| follows_unseen)?;
                    Some(Baseline::lower_bound(last.total, last.resets))
                }
            },
        }
    }

    /// Returns the changes of a master that was demoted and promoted again since the last round:
    /// from the known baseline to the end of its former reign.
    fn unseen_end(
        &self,
        index: NodeIndex,
        rival: NodeIndex,
        nodes: ShardNodes<'_>,
    ) -> Option<(Baseline, End)> {
        let known = self.baselines.get(&(index, rival))?;
        let common = self.common(rival, nodes)?;
        let end = self.histories.get(&index)?.end_of_reign(&common)?;
        Some((known.baseline, End::at(end)))
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

    /// Searches the samples of a master for the offset where its history left that of a rival;
    /// `None` if that of the rival is unknown.
    fn search(
        &self,
        history: &ChangeHistory,
        rival: NodeIndex,
        nodes: ShardNodes<'_>,
    ) -> Option<BaselineSearch> {
        self.common(rival, nodes).map(|common| history.baseline(&common))
    }

    /// Returns what other nodes have in common with a master.
    fn common<'a>(&'a self, rival: NodeIndex, nodes: ShardNodes<'a>) -> Option<CommonData<'a>> {
        let replication = &nodes.deployment()[rival].snapshot()?.replication;
        Some(self.branches.common_with(replication.replid.as_deref()?))
    }

    /// Returns the totals between which are the changes of a master that its rival does not have.
    fn interval(&self, index: NodeIndex, rival: Option<NodeIndex>) -> Option<(Baseline, End)> {
        let known = self.baselines.get(&(index, rival?))?;
        let last = self.histories.get(&index)?.last()?;
        Some((known.baseline, End::at(last)))
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
        let known = self.baselines.get(&(index, winner)).map(|known| known.baseline);
        let baseline = known.or_else(|| match self.search(&history, winner, rivals.nodes)? {
            BaselineSearch::Known(baseline) => Some(baseline),
            BaselineSearch::Pending | BaselineSearch::Unknown => None,
        });
        if let (Some(baseline), Some(end)) = (baseline, end) {
            self.lose_at_demotion(index, baseline, end, rivals.now, in_incident);
        }
        self.end_reign(index);
        self.counted.remove(&index);
    }

    /// Counts the changes of a demoted master as lost. Without an incident, they begin one.
    fn lose_at_demotion(
        &mut self,
        index: NodeIndex,
        baseline: Baseline,
        end: End,
        now: Monotonic,
        in_incident: &mut bool,
    ) {
        if !*in_incident {
            let until = self.lost.get(&index).map_or(0, |lost| lost.until);
            if self.uncounted(index, baseline.not_before(until)).count(end).low == 0 {
                return;
            }
            self.begin_incident();
            *in_incident = true;
        }
        self.lose(index, baseline, end, now);
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
        let [about, high] = [own, growth].map(|more| last.total.saturating_add(more));
        Some(End { about, high, ..End::at(last) })
    }

    /// Returns the baseline without changes that earlier incidents counted.
    fn uncounted(&self, index: NodeIndex, baseline: Baseline) -> Baseline {
        self.counted.get(&index).map_or(baseline, |until| baseline.not_before(*until))
    }

    /// Counts the changes of a master between two totals as lost.
    fn lose(&mut self, index: NodeIndex, baseline: Baseline, end: End, now: Monotonic) {
        let changes = self.uncounted(index, baseline).count(end);
        // Without a certain change, the interval may contain replicated changes only.
        if changes.low == 0 {
            return;
        }
        let in_reign = LostInReign { changes, until: end.about };
        let before = self.lost.insert(index, in_reign).map_or(0, |before| before.changes.about);
        let more = changes.about.saturating_sub(before);
        self.view.total = self.view.total.saturating_add(more);
        let mut loss =
            self.view.loss.take().filter(|_| self.view.in_split_brain > 0).unwrap_or_default();
        if !loss.stale_masters.contains(&index) {
            loss.stale_masters.push(index);
            loss.primary_again.retain(|primary| *primary != index);
        }
        self.view.in_split_brain = self.view.in_split_brain.saturating_add(more);
        let counts = self.lost.values().map(|in_reign| in_reign.changes);
        loss.changes = counts.fold(self.lost_before, ChangeCount::plus);
        if more > 0 {
            loss.last = now;
        }
        self.view.loss = Some(loss);
    }

    /// Returns the changes of each master since it diverged from the primary, or from the rival
    /// that it left first.
    fn diverging(&self, rivals: &Rivals<'_>) -> Vec<DivergingWrites> {
        let diverging = |index: &NodeIndex| {
            let of = |rival: NodeIndex| {
                self.interval(*index, Some(rival)).map(|(baseline, end)| baseline.count(end))
            };
            let others = || rivals.masters.iter().copied().filter(|rival| rival != index);
            let earliest = || others().filter_map(of).max_by_key(|count| (count.low, count.about));
            let count = rivals.reference(*index).map_or_else(earliest, of);
            count.map(|changes| DivergingWrites { node: *index, changes })
        };
        rivals.masters.iter().filter_map(diverging).collect()
    }
}

impl Baseline {
    /// Returns the changes from here to the end.
    fn count(self, end: End) -> ChangeCount {
        let Baseline { low, about, high, resets, at_least } = self;
        let lowest = end.low.saturating_sub(high);
        let at_least = at_least || end.at_least || end.resets > resets;
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

/// Returns the baseline of a master that shares no sample with its rival.
fn first_baseline(
    history: &ChangeHistory,
    rivals: &Rivals<'_>,
    index: NodeIndex,
) -> Option<Baseline> {
    // Changes before a reply in this round may be replicated.
    let last = history.last().filter(|last| last.at() == rivals.now)?;
    // A process that is younger than its rival shares no change with it, except replicated ones.
    let total = if rivals.started_stale(index) { history.own_since() } else { last.total };
    Some(Baseline::lower_bound(total, last.resets))
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
    stale.iter().filter_map(beyond).reduce(u64::saturating_add)
}
