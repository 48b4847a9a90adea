//! What the nodes that hold one data set mean together: the memories of its facts, and the order in which they are formed.

use std::sync::Arc;
use std::time::Duration;

use crate::masters::Masters;
use crate::no_primary::Sight;
use crate::process::Succession;
use crate::{
    Answer, Cause, Deployment, Expectations, Labels, NodeView, PrimaryChange, RememberedNode,
    Round, SentinelsView, ShardView, Wanted, cause, divergence, emptied, following, lag, lineage,
    lost_writes, misrouted, no_primary, replicas, resync, serving, split_brain,
};

/// What is remembered of the nodes that hold one data set.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    lineage: lineage::Memory,
    primary: Option<usize>,
    /// When the node became the primary, on the monotonic clock.
    primary_since: Duration,
    /// When another node than before last became the primary, on the monotonic clock.
    changed: Option<Duration>,
    split_brain: split_brain::Memory,
    lost_writes: lost_writes::Memory,
    no_primary: no_primary::Memory,
    cause: cause::Memory,
    changes: [u64; Cause::ALL.len()],
    offsets: lag::Memory,
    replicas: replicas::Memory,
    emptied: emptied::Memory,
    /// The nodes that followed one another in a circle when all of them last answered, and those that did so twice in a row.
    looped: (Vec<usize>, Vec<usize>),
    resyncs: Vec<resync::Memory>,
    divergence: Vec<divergence::Memory>,
    misrouted: Vec<misrouted::Memory>,
}

/// One round, as the facts see it.
pub(crate) struct Scene<'a> {
    pub(crate) round: &'a Round,
    pub(crate) deployment: &'a Deployment,
    pub(crate) expect: Expectations,
    /// For each node, how the process that answered in this round follows on the one before; `None` when none answered.
    pub(crate) successions: &'a [Option<Succession>],
    /// What each node answered in this round.
    pub(crate) answers: &'a [Option<&'a Answer>],
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

impl Scene<'_> {
    /// What is listed at the same time is one data set, whatever became of the histories of its nodes since.
    pub(crate) fn lists_together(&self, node: usize, other: usize) -> bool {
        self.listed.contains(&node) && self.listed.contains(&other)
    }
}

impl Memory {
    /// Forms the facts of one round: those about single replicas go into their nodes.
    pub(crate) fn apply(&mut self, nodes: &mut [NodeView], scene: &Scene<'_>) -> ShardView {
        let Scene { deployment, expect, accrued, .. } = *scene;
        let (elapsed, interval) = (scene.round.elapsed, deployment.interval);
        let answered: Vec<_> = scene.successions.iter().map(Option::is_some).collect();
        for (place, succession) in scene.successions.iter().enumerate() {
            if let (Some(succession), Some(snapshot)) = (succession, nodes[place].snapshot()) {
                self.lineage.apply(place, snapshot, *succession);
            }
        }

        let masters = Masters::tell(nodes, &self.lineage, self.primary, scene);
        let primary = masters.primary.map(|primary| primary.node);

        let was_primary = self.primary;
        self.follow(primary, scene);
        for (place, succession) in scene.successions.iter().enumerate() {
            if let (Some(succession), Some(snapshot)) = (succession, nodes[place].snapshot()) {
                let (was, is) = (was_primary == Some(place), primary == Some(place));
                self.emptied.apply(place, snapshot, *succession, was, is, elapsed);
            }
        }
        let said = scene.sentinels.map_or(&[][..], |sentinels| &sentinels.said);
        let changed = self.cause.settle(nodes, said, elapsed, interval);
        for change in &changed {
            self.changes[change.cause as usize] += 1;
        }
        if primary.is_some() {
            self.cause.remember(nodes);
        }

        let looped = self.looped(nodes, &answered);
        let sight = if expect.external || masters.claimed {
            Sight::Present
        } else {
            no_primary::find(nodes, &answered, &looped, self.primary, deployment.down_after)
        };
        self.no_primary.apply(sight, elapsed, accrued, interval);
        let seen = masters.split.iter().all(|master| answered[*master]);
        self.split_brain.apply(masters.split, seen, elapsed, accrued, interval);
        self.lost_writes.apply(
            nodes,
            &lost_writes::Stale {
                masters: &masters.stale,
                primary: primary.map(|primary| (primary, self.primary_since)),
                answered: &answered,
                splits: !self.split_brain.view().masters.is_empty(),
                elapsed,
            },
        );

        self.of_replicas(nodes, primary, &masters.acting, &answered, scene);
        self.misrouted(nodes, masters.all.len(), scene);
        let replicas = nodes.iter().filter(|node| node.follows()).count();
        // In a circle every node follows another, the one that was primary too.
        let seen_of_late =
            self.replicas.apply(if masters.acting.is_empty() { 0 } else { replicas }, elapsed);
        let blocked = masters.all.is_empty() && serving::is_blocked(nodes, self.primary);
        let writable =
            if blocked { Some(false) } else { serving::writable(nodes, &masters.acting) };
        ShardView {
            labels: Arc::clone(scene.labels),
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
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        let writers = self.misrouted.iter().enumerate().filter(|(_, misrouted)| misrouted.wanted());
        self.cause
            .wanted()
            .map(Wanted::Commands)
            .chain(writers.map(|(place, _)| Wanted::Clients(place)))
    }

    /// What is worth keeping over a restart of the exporter: the primary, and the histories of each node.
    pub(crate) fn remembered(&self) -> (Option<usize>, &lineage::Memory) {
        (self.primary, &self.lineage)
    }

    /// Takes up what was kept of the node at a place.
    pub(crate) fn remember(&mut self, place: usize, was_primary: bool, kept: &RememberedNode) {
        if was_primary && self.primary.is_none() {
            self.primary = Some(place);
        }
        for id in &kept.replication_ids {
            self.lineage.remember(place, id);
        }
        self.cause.remember_epoch(place, kept.epoch);
    }

    /// The highest epoch at which a Sentinel named the node at a place.
    pub(crate) fn epoch(&self, place: usize) -> Option<u64> {
        self.cause.epoch(place)
    }

    /// Replicas were taken away: they are not missed.
    pub(crate) fn removed(&mut self, replicas: usize) {
        self.replicas.removed(replicas);
    }

    /// Forgets the node at a place, which is gone.
    pub(crate) fn clear(&mut self, place: usize) {
        self.primary = self.primary.filter(|primary| *primary != place);
        self.lineage.clear(place);
        self.split_brain.clear(place);
        self.lost_writes.clear(place);
        self.cause.clear(place);
        self.emptied.clear(place);
        self.looped.0.retain(|looped| *looped != place);
        self.looped.1.retain(|looped| *looped != place);
        self.resyncs.get_mut(place).map(std::mem::take);
        self.divergence.get_mut(place).map(std::mem::take);
        self.misrouted.get_mut(place).map(std::mem::take);
    }

    /// Notes the primary; another one than before is a change, except at first sight.
    fn follow(&mut self, primary: Option<usize>, scene: &Scene<'_>) {
        let Some(to) = primary.filter(|primary| self.primary != Some(*primary)) else { return };
        if let Some(from) = self.primary {
            let change = PrimaryChange { at: scene.round.at, from, to, cause: Cause::Unknown };
            self.cause.note(change);
            self.changed = Some(scene.round.elapsed);
        }
        self.primary = Some(to);
        self.primary_since = scene.round.elapsed;
    }

    /// The nodes that follow one another in a circle. Replies are not of one moment, so a circle counts once it was seen twice; and one of
    /// whose nodes are silent for a moment is what it was.
    fn looped(&mut self, nodes: &[NodeView], answered: &[bool]) -> Vec<usize> {
        let found = following::looped(nodes);
        let (once, twice) = &mut self.looped;
        if found.iter().all(|place| answered[*place]) {
            *twice = found.iter().copied().filter(|place| once.contains(place)).collect();
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
        scene: &Scene<'_>,
    ) {
        self.resyncs.resize_with(nodes.len(), resync::Memory::default);
        self.divergence.resize_with(nodes.len(), divergence::Memory::default);
        let leader = primary
            .filter(|primary| answered[*primary])
            .and_then(|primary| nodes[primary].last.clone());
        if let Some(leader) = &leader {
            self.offsets.learn(&leader.replication, scene.round.elapsed);
        }
        for place in 0..nodes.len() {
            let upstream = match nodes[place].upstream {
                following::Upstream::Node(upstream) => nodes[upstream].last.clone(),
                _ => None,
            };
            let depth = following::depth(nodes, place);
            let orphan = following::orphan(nodes, place, acting, scene.expect.external);
            let lag = self.lag(
                &nodes[place],
                scene.late.0[place],
                answered[place],
                primary.is_some(),
                scene,
            );
            if let Some(snapshot) = nodes[place].last.clone().filter(|_| answered[place]) {
                self.resyncs[place].apply(
                    &snapshot,
                    nodes[place].counters.told_to_follow(),
                    upstream.as_deref(),
                );
                self.divergence[place].apply(
                    &snapshot,
                    leader.as_deref(),
                    self.resyncs[place].total(),
                );
            }
            let node = &mut nodes[place];
            let is_up = node.snapshot().is_some();
            (node.depth, node.orphan, node.lag) =
                if is_up { (depth, orphan, lag) } else { (None, None, lag::Lag::default()) };
            node.resyncs = self.resyncs[place].total();
            node.diverged = is_up && self.divergence[place].diverged();
        }
    }

    /// Who writes to replicas.
    fn misrouted(&mut self, nodes: &mut [NodeView], masters: usize, scene: &Scene<'_>) {
        self.misrouted.resize_with(nodes.len(), misrouted::Memory::default);
        let (elapsed, interval) = (scene.round.elapsed, scene.deployment.interval);
        let now = misrouted::Now { elapsed, interval, masters, changed: self.changed };
        for (place, (node, memory)) in nodes.iter_mut().zip(&mut self.misrouted).enumerate() {
            if let (Some(answer), Some(succession)) =
                (scene.answers[place], scene.successions[place])
            {
                memory.apply(answer, &node.counters, succession, &now);
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
        scene: &Scene<'_>,
    ) -> lag::Lag {
        if !answered {
            return before;
        }
        let mut lag = self.offsets.of(node, scene.round.elapsed, primary);
        if lag.age.is_none() && node.link.down_since.is_some() {
            let passed = scene.round.elapsed.saturating_sub(scene.late.1);
            lag.age = before.age.map(|age| age + passed);
        }
        lag
    }
}
