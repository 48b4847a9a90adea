//! What the nodes that hold one data set mean together: the memories of its facts, and the order in which they are formed.

pub(crate) mod change_cause;
pub(crate) mod divergence;
pub(crate) mod emptied;
pub(crate) mod lag;
pub(crate) mod lineage;
pub(crate) mod lost_writes;
pub(crate) mod masters;
pub(crate) mod misrouted;
pub(crate) mod no_primary;
pub(crate) mod primary;
pub(crate) mod replica_count;
pub(crate) mod resync;
pub(crate) mod serving;
pub(crate) mod shards;
pub(crate) mod split_brain;
pub(crate) mod upstream;
pub(crate) mod write_refusals;

use std::sync::Arc;
use std::time::Duration;

use crate::discovery::sentinels::SentinelsView;
use crate::model::deployment::{Deployment, Expectations, Labels};
use crate::model::round::{NodeReply, Round};
use crate::model::saved_state::SavedNode;
use crate::model::view::{NodeView, ShardView};
use crate::node::process::ProcessChange;
use crate::shard::change_cause::{Cause, PrimaryChange};
use crate::shard::masters::MasterClaims;
use crate::shard::no_primary::PrimaryPresence;
use crate::tracker::ReadRequest;

/// What is remembered of the nodes that hold one data set.
#[derive(Debug, Default)]
pub(crate) struct ShardTracker {
    lineage: lineage::LineageTracker,
    primary: Option<usize>,
    /// When the node became the primary, on the monotonic clock.
    primary_since: Duration,
    /// When another node than before last became the primary, on the monotonic clock.
    changed: Option<Duration>,
    split_brain: split_brain::SplitBrainTracker,
    lost_writes: lost_writes::LostWritesTracker,
    no_primary: no_primary::NoPrimaryTracker,
    cause: change_cause::ChangeCauseTracker,
    changes: [u64; Cause::ALL.len()],
    offsets: lag::LagTracker,
    replicas: replica_count::ReplicaCountTracker,
    emptied: emptied::EmptiedTracker,
    /// The nodes that followed one another in a circle when all of them last answered, and those that did so twice in a row.
    looped: (Vec<usize>, Vec<usize>),
    resyncs: Vec<resync::ResyncTracker>,
    divergence: Vec<divergence::DivergenceTracker>,
    misrouted: Vec<misrouted::MisroutedTracker>,
}

/// One round, as the facts see it.
pub(crate) struct ShardContext<'a> {
    pub(crate) round: &'a Round,
    pub(crate) deployment: &'a Deployment,
    pub(crate) expect: Expectations,
    /// For each node, how the process that answered in this round follows on the one before; `None` when none answered.
    pub(crate) successions: &'a [Option<ProcessChange>],
    /// What each node answered in this round.
    pub(crate) answers: &'a [Option<&'a NodeReply>],
    /// The time that this round may add to anything that accrues.
    pub(crate) accrued: Duration,
    /// How late each node was, and when that was.
    pub(crate) late: (&'a [lag::Lag], Duration),
    /// What stands on every series of the shard.
    pub(crate) labels: &'a Arc<Labels>,
    /// What the Sentinels say, if there are any.
    pub(crate) sentinels: Option<&'a SentinelsView>,
    /// In a cluster, the node that serves the slots at the highest epoch.
    pub(crate) owner: Option<usize>,
    /// The places of the nodes that Sentinels list, or the map of a cluster.
    pub(crate) listed: &'a [usize],
}

impl ShardContext<'_> {
    /// What is listed at the same time is one data set, whatever became of the histories of its nodes since.
    pub(crate) fn lists_together(&self, node: usize, other: usize) -> bool {
        self.listed.contains(&node) && self.listed.contains(&other)
    }
}

impl ShardTracker {
    /// Forms the facts of one round: those about single replicas go into their nodes.
    pub(crate) fn observe(
        &mut self,
        nodes: &mut [NodeView],
        context: &ShardContext<'_>,
    ) -> ShardView {
        let ShardContext { deployment, expect, accrued, .. } = *context;
        let (elapsed, interval) = (context.round.elapsed, deployment.interval);
        let answered: Vec<_> = context.successions.iter().map(Option::is_some).collect();
        for (index, succession) in context.successions.iter().enumerate() {
            if let (Some(succession), Some(snapshot)) = (succession, nodes[index].snapshot()) {
                self.lineage.observe(index, snapshot, *succession);
            }
        }

        let masters = MasterClaims::tell(nodes, &self.lineage, self.primary, context);
        let primary = masters.primary.map(|primary| primary.node);

        let was_primary = self.primary;
        self.follow(primary, context);
        for (index, succession) in context.successions.iter().enumerate() {
            if let (Some(succession), Some(snapshot)) = (succession, nodes[index].snapshot()) {
                let (was, is) = (was_primary == Some(index), primary == Some(index));
                self.emptied.observe(index, snapshot, *succession, was, is, elapsed);
            }
        }
        let said = context.sentinels.map_or(&[][..], |sentinels| &sentinels.said);
        let changed = self.cause.settle(nodes, said, elapsed, interval);
        for change in &changed {
            self.changes[change.cause as usize] += 1;
        }
        if primary.is_some() {
            self.cause.remember(nodes);
        }

        let looped = self.looped(nodes, &answered);
        let sight = if expect.external || masters.claimed {
            PrimaryPresence::Present
        } else {
            no_primary::find(nodes, &answered, &looped, self.primary, deployment.down_after)
        };
        self.no_primary.observe(sight, elapsed, accrued, interval);
        let seen = masters.split.iter().all(|master| answered[*master]);
        self.split_brain.observe(masters.split, seen, elapsed, accrued, interval);
        self.lost_writes.observe(
            nodes,
            &lost_writes::Stale {
                masters: &masters.stale,
                primary: primary.map(|primary| (primary, self.primary_since)),
                answered: &answered,
                splits: !self.split_brain.view().masters.is_empty(),
                elapsed,
            },
        );

        self.of_replicas(nodes, primary, &masters.acting, &answered, context);
        self.misrouted(nodes, masters.all.len(), context);
        let replicas = nodes.iter().filter(|node| node.follows()).count();
        // In a circle every node follows another, the one that was primary too.
        let seen_of_late =
            self.replicas.observe(if masters.acting.is_empty() { 0 } else { replicas }, elapsed);
        let blocked = masters.all.is_empty() && serving::is_blocked(nodes, self.primary);
        let writable =
            if blocked { Some(false) } else { serving::writable(nodes, &masters.acting) };
        ShardView {
            labels: Arc::clone(context.labels),
            shard: None,
            masters: masters.all,
            primary: masters.primary,
            last_primary: self.primary,
            stale: masters.stale,
            unrelated: masters.unrelated,
            split_brain: self.split_brain.view().clone(),
            lost_writes: self.lost_writes.view().clone(),
            no_primary: self.no_primary.view(),
            looped,
            changed,
            changes: self.changes,
            replicas,
            replicas_wanted: expect.replicas.map_or(seen_of_late, |replicas| replicas as usize),
            emptied: self.emptied.view(),
            writable,
            acting: masters.acting,
            readable: serving::readable(nodes),
        }
    }

    /// What would tell what changed the primary, and who writes to replicas.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = ReadRequest> {
        let writers = self.misrouted.iter().enumerate().filter(|(_, misrouted)| misrouted.wanted());
        self.cause
            .wanted()
            .map(ReadRequest::CommandStats)
            .chain(writers.map(|(index, _)| ReadRequest::ClientList(index)))
    }

    /// What is worth keeping over a restart of the exporter: the primary, and the histories of each node.
    pub(crate) fn remembered(&self) -> (Option<usize>, &lineage::LineageTracker) {
        (self.primary, &self.lineage)
    }

    /// Takes up what was kept of the node at a place.
    pub(crate) fn remember(&mut self, index: usize, was_primary: bool, kept: &SavedNode) {
        if was_primary && self.primary.is_none() {
            self.primary = Some(index);
        }
        for id in &kept.replication_ids {
            self.lineage.remember(index, id);
        }
        self.cause.remember_epoch(index, kept.epoch);
    }

    /// The highest epoch at which a Sentinel named the node at a place.
    pub(crate) fn epoch(&self, index: usize) -> Option<u64> {
        self.cause.epoch(index)
    }

    /// Replicas were taken away: they are not missed.
    pub(crate) fn removed(&mut self, replicas: usize) {
        self.replicas.removed(replicas);
    }

    /// Forgets the node at a place, which is gone.
    pub(crate) fn clear(&mut self, index: usize) {
        self.primary = self.primary.filter(|primary| *primary != index);
        self.lineage.clear(index);
        self.split_brain.clear(index);
        self.lost_writes.clear(index);
        self.cause.clear(index);
        self.emptied.clear(index);
        self.looped.0.retain(|looped| *looped != index);
        self.looped.1.retain(|looped| *looped != index);
        self.resyncs.get_mut(index).map(std::mem::take);
        self.divergence.get_mut(index).map(std::mem::take);
        self.misrouted.get_mut(index).map(std::mem::take);
    }

    /// Notes the primary; another one than before is a change, except at first sight.
    fn follow(&mut self, primary: Option<usize>, context: &ShardContext<'_>) {
        let Some(to) = primary.filter(|primary| self.primary != Some(*primary)) else { return };
        if let Some(from) = self.primary {
            let change = PrimaryChange { at: context.round.at, from, to, cause: Cause::Unknown };
            self.cause.note(change);
            self.changed = Some(context.round.elapsed);
        }
        self.primary = Some(to);
        self.primary_since = context.round.elapsed;
    }

    /// The nodes that follow one another in a circle. Replies are not of one moment, so a circle counts once it was seen twice; and one of
    /// whose nodes are silent for a moment is what it was.
    fn looped(&mut self, nodes: &[NodeView], answered: &[bool]) -> Vec<usize> {
        let found = upstream::looped(nodes);
        let (once, twice) = &mut self.looped;
        if found.iter().all(|index| answered[*index]) {
            *twice = found.iter().copied().filter(|index| once.contains(index)).collect();
            *once = found;
        }
        twice.clone()
    }

    /// The facts about single replicas, which need the primary and one another.
    fn of_replicas(
        &mut self,
        nodes: &mut [NodeView],
        primary: Option<usize>,
        acting: &[usize],
        answered: &[bool],
        context: &ShardContext<'_>,
    ) {
        self.resyncs.resize_with(nodes.len(), resync::ResyncTracker::default);
        self.divergence.resize_with(nodes.len(), divergence::DivergenceTracker::default);
        let leader = primary
            .filter(|primary| answered[*primary])
            .and_then(|primary| nodes[primary].last.clone());
        if let Some(leader) = &leader {
            self.offsets.learn(&leader.replication, context.round.elapsed);
        }
        for index in 0..nodes.len() {
            let upstream = match nodes[index].upstream {
                upstream::Upstream::Node(upstream) => nodes[upstream].last.clone(),
                _ => None,
            };
            let depth = upstream::depth(nodes, index);
            let orphan = upstream::orphan(nodes, index, acting, context.expect.external);
            let lag = self.lag(
                &nodes[index],
                context.late.0[index],
                answered[index],
                primary.is_some(),
                context,
            );
            if let Some(snapshot) = nodes[index].last.clone().filter(|_| answered[index]) {
                self.resyncs[index].observe(
                    &snapshot,
                    nodes[index].counters.told_to_follow(),
                    upstream.as_deref(),
                );
                self.divergence[index].observe(
                    &snapshot,
                    leader.as_deref(),
                    self.resyncs[index].total(),
                );
            }
            let node = &mut nodes[index];
            let is_up = node.snapshot().is_some();
            (node.depth, node.orphan, node.lag) =
                if is_up { (depth, orphan, lag) } else { (None, None, lag::Lag::default()) };
            node.resyncs = self.resyncs[index].total();
            node.diverged = is_up && self.divergence[index].diverged();
        }
    }

    /// Who writes to replicas.
    fn misrouted(&mut self, nodes: &mut [NodeView], masters: usize, context: &ShardContext<'_>) {
        self.misrouted.resize_with(nodes.len(), misrouted::MisroutedTracker::default);
        let (elapsed, interval) = (context.round.elapsed, context.deployment.interval);
        let now = misrouted::MisrouteContext { elapsed, interval, masters, changed: self.changed };
        for (index, (node, memory)) in nodes.iter_mut().zip(&mut self.misrouted).enumerate() {
            if let (Some(answer), Some(succession)) =
                (context.answers[index], context.successions[index])
            {
                memory.observe(answer, &node.counters, succession, &now);
            }
            node.misrouted = memory.view(&now).filter(|_| node.is_replica()).map(Arc::new);
        }
    }

    /// How far a replica is behind. One that was silent for a moment is as late as it was; and where the primary began another history the
    /// data of a replica without a link only gets older.
    fn lag(
        &self,
        node: &NodeView,
        before: lag::Lag,
        answered: bool,
        primary: bool,
        context: &ShardContext<'_>,
    ) -> lag::Lag {
        if !answered {
            return before;
        }
        let mut lag = self.offsets.of(node, context.round.elapsed, primary);
        if lag.age.is_none() && node.link.down_since.is_some() {
            let passed = context.round.elapsed.saturating_sub(context.late.1);
            lag.age = before.age.map(|age| age + passed);
        }
        lag
    }
}
