//! Tracker of one shard, and the order in which its parts are updated.

use std::sync::Arc;

use crate::model::identity::DatasetReplacedView;
use crate::model::monotonic::Monotonic;
use crate::model::node::{Lag, NodeView};
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::read_request::ReadRequest;
use crate::model::saved_state::{SavedClaims, SavedNode};
use crate::model::shard::{Cause, PrimaryChange, ShardView};
use crate::shard::change_cause::ChangeCauseTracker;
use crate::shard::claim_group::SharedClaim;
use crate::shard::context::ShardContext;
use crate::shard::divergence::DivergenceTracker;
use crate::shard::emptied::{EmptiedTracker, PrimaryTransition};
use crate::shard::evidence::EvidenceTracker;
use crate::shard::external::ExternalTracker;
use crate::shard::former_primary::FormerPrimaryTracker;
use crate::shard::lag::LagTracker;
use crate::shard::lineage::LineageTracker;
use crate::shard::lost_writes::LostWritesTracker;
use crate::shard::masters::{Known, MasterClaims};
use crate::shard::misrouted::{MisrouteContext, MisroutedTracker};
use crate::shard::no_primary::{self, NoPrimaryTracker, PrimaryPresence};
use crate::shard::nodes::{ShardNodes, ShardUpstream};
use crate::shard::replica_count::ReplicaCountTracker;
use crate::shard::replication_loop::LoopTracker;
use crate::shard::resync::ResyncTracker;
use crate::shard::rivals::{PrimarySince, StaleMasters};
use crate::shard::split_brain::SplitBrainTracker;
use crate::shard::{serving, upstream};

/// Tracks one shard.
#[derive(Debug, Default)]
pub(crate) struct ShardTracker {
    lineage: LineageTracker,
    evidence: EvidenceTracker,
    /// The verdict of the last round was disputed.
    disputed: bool,
    external: ExternalTracker,
    /// The last known primary.
    primary: Option<NodeIndex>,
    /// Monotonic time at which it was first seen as the primary.
    primary_since: Monotonic,
    /// Monotonic time of the first round without it.
    primary_lost_at: Option<Monotonic>,
    /// Monotonic time of the last change from one primary to another.
    last_change: Option<Monotonic>,
    split_brain: SplitBrainTracker,
    lost_writes: LostWritesTracker,
    no_primary: NoPrimaryTracker,
    change_cause: ChangeCauseTracker,
    change_counts: [u64; Cause::ALL.len()],
    lag: LagTracker,
    replica_count: ReplicaCountTracker,
    emptied: EmptiedTracker,
    replication_loop: LoopTracker,
    former_primary: FormerPrimaryTracker,
    resyncs: NodeMap<ResyncTracker>,
    divergence: NodeMap<DivergenceTracker>,
    misrouted: NodeMap<MisroutedTracker>,
}

/// Saved state of a node, as its shard restores it.
#[derive(Debug)]
pub(crate) struct SavedMember {
    pub(crate) was_primary: bool,
    pub(crate) node: SavedNode,
    /// The claim of the node to be master.
    pub(crate) claim: Option<SharedClaim>,
}

impl ShardTracker {
    /// Processes one round. Results about single replicas are written to `nodes`.
    pub(crate) fn observe(
        &mut self,
        nodes: &mut NodeVec<NodeView>,
        context: &ShardContext<'_>,
    ) -> ShardView {
        let shard = ShardNodes::new(nodes, context.members);
        self.observe_lineage(shard, context);
        self.evidence.observe(shard, &self.lineage, context);
        let external = self.external.observe(shard, &self.lineage, self.primary, context);
        if external {
            // A node that was the primary is a replica of the external one again.
            self.primary = None;
        }
        let known = Known {
            lineage: &self.lineage,
            evidence: &self.evidence,
            primary: self.primary,
            disputed: self.disputed,
            external,
        };
        let masters = MasterClaims::classify(shard, known, context);
        self.evidence.record(masters.undisputed_primary(), shard, context);
        self.disputed = masters.verdict.disputed;
        let primary = masters.primary();
        let previous_primary = self.primary;
        self.observe_primary(primary, context);
        self.observe_emptied(
            shard,
            PrimaryTransition { from: previous_primary, to: primary },
            context,
        );
        let primary_changes = self.resolve_changes(shard, &masters, context);
        let replication_loop =
            self.replication_loop.observe(shard, |index| context.answered(index));
        self.observe_outages(shard, &masters, &replication_loop, context);
        let former_primary = self
            .former_primary
            .observe(shard, &masters, context.sentinels)
            .filter(|_| !context.expect.external);
        self.split_brain.observe_changes(&primary_changes, shard, context);
        self.observe_replicas(nodes, primary, &masters.primaries, context);
        self.observe_misrouted(nodes, masters.all.len(), context);

        let shard = ShardNodes::new(nodes, context.members);
        let replicas = shard.values().filter(|node| node.follows()).count();
        // In a replication loop every node is a replica, including the former primary.
        let counted = if masters.primaries.is_empty() { 0 } else { replicas };
        let recent_replicas = self.replica_count.observe(counted, context.now());
        let blocked = masters.all.is_empty() && serving::is_blocked(shard, self.primary);
        let writable =
            if blocked { Some(false) } else { serving::writable(shard, &masters.primaries) };
        ShardView {
            labels: Arc::clone(context.labels),
            shard: None,
            members: context.members.to_vec(),
            masters: masters.all,
            primary: masters.verdict.primary,
            primary_statements: masters.verdict.statements,
            primary_disputed: masters.verdict.disputed,
            primary_unconfirmed: masters.verdict.unconfirmed,
            primaries: masters.primaries,
            last_primary: self.primary,
            primary_lost_at: self.primary_lost_at,
            stale_masters: masters.stale,
            unrelated_masters: masters.unrelated,
            split_brain: self.split_brain.view().clone(),
            lost_writes: self.lost_writes.view().clone(),
            no_primary: self.no_primary.view(),
            replication_loop,
            former_primary,
            primary_changes,
            primary_change_counts: self.change_counts,
            replicas,
            expected_replicas: context
                .expect
                .replicas
                .map_or(recent_replicas, |replicas| replicas as usize),
            emptied: self.emptied.view(),
            // The identity of the data set is tracked for all shards together.
            dataset_replaced: DatasetReplacedView::default(),
            writable,
            readable: serving::readable(shard),
            // It needs all shards.
            failover: None,
        }
    }

    /// Returns the replies that should be read in the next round: command statistics that show
    /// the cause of a change, and lists of clients that write to replicas.
    pub(crate) fn read_requests(&self) -> impl Iterator<Item = ReadRequest> {
        let lists = self.misrouted.iter().filter(|(_, misrouted)| misrouted.needs_client_list());
        self.change_cause
            .pending_nodes()
            .map(ReadRequest::CommandStats)
            .chain(lists.map(|(index, _)| ReadRequest::ClientList(*index)))
    }

    /// Returns true if the node is the last known primary.
    pub(crate) fn was_primary(&self, index: NodeIndex) -> bool {
        self.primary == Some(index)
    }

    /// Writes the state of a node that is kept over a restart of the exporter.
    pub(crate) fn save(&self, index: NodeIndex, nodes: &NodeVec<NodeView>, saved: &mut SavedNode) {
        saved.replication_ids = self.lineage.ids(index).map(str::to_owned).collect();
        saved.continued_id = self.lineage.continued(index).map(str::to_owned);
        self.evidence.save(index, nodes, saved);
    }

    /// Returns the claims of some nodes, which are kept over a restart of the exporter.
    pub(crate) fn saved_claims(
        &self,
        nodes: &NodeVec<NodeView>,
        is_included: impl Fn(NodeIndex) -> bool,
    ) -> Vec<SavedClaims> {
        self.evidence.saved_claims(nodes, is_included)
    }

    /// Restores the saved state of a node.
    pub(crate) fn restore(&mut self, index: NodeIndex, member: &SavedMember) {
        let SavedMember { was_primary, node: saved, claim } = member;
        if *was_primary && self.primary.is_none() {
            self.primary = Some(index);
        }
        for id in &saved.replication_ids {
            self.lineage.restore(index, id);
        }
        if let Some(id) = &saved.continued_id {
            self.lineage.restore_continued(index, id);
        }
        self.evidence.restore(index, saved, claim.as_ref());
        self.change_cause.restore_epoch(index, saved.epoch);
    }

    /// Returns the highest epoch at which a Sentinel named the node.
    pub(crate) fn epoch(&self, index: NodeIndex) -> Option<u64> {
        self.change_cause.epoch(index)
    }

    /// Lowers the expected number of replicas by those that were removed on purpose.
    pub(crate) fn remove_replicas(&mut self, count: usize) {
        self.replica_count.remove(count);
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.primary = self.primary.filter(|primary| *primary != index);
        self.lineage.clear(index);
        self.evidence.clear(index);
        self.split_brain.clear(index);
        self.lost_writes.clear(index);
        self.change_cause.clear(index);
        self.emptied.clear(index);
        self.replication_loop.clear(index);
        self.former_primary.clear(index);
        self.resyncs.remove(&index);
        self.divergence.remove(&index);
        self.misrouted.remove(&index);
    }

    fn observe_lineage(&mut self, nodes: ShardNodes<'_>, context: &ShardContext<'_>) {
        for (index, node) in nodes.iter() {
            if let (Some(change), Some(snapshot)) = (context.process_change(index), node.snapshot())
            {
                self.lineage.observe(index, snapshot, change);
            }
        }
    }

    /// Records the primary. The first one after the start of the exporter is no change.
    fn observe_primary(&mut self, primary: Option<NodeIndex>, context: &ShardContext<'_>) {
        self.primary_lost_at = match (primary, self.primary) {
            (None, Some(_)) => self.primary_lost_at.or(Some(context.now())),
            _ => None,
        };
        let Some(to) = primary.filter(|primary| self.primary != Some(*primary)) else { return };
        if let Some(from) = self.primary {
            let at = context.round.round.at;
            self.change_cause.add(PrimaryChange { at, from, to, cause: Cause::Unknown });
            self.last_change = Some(context.now());
        }
        self.primary = Some(to);
        self.primary_since = context.now();
    }

    fn observe_emptied(
        &mut self,
        nodes: ShardNodes<'_>,
        primary: PrimaryTransition,
        context: &ShardContext<'_>,
    ) {
        for (index, node) in nodes.iter() {
            if let (Some(change), Some(snapshot)) = (context.process_change(index), node.snapshot())
            {
                self.emptied.observe(index, snapshot, change, primary, context.now());
            }
        }
    }

    /// Returns the changes of the primary whose causes this round decided, and counts them.
    fn resolve_changes(
        &mut self,
        nodes: ShardNodes<'_>,
        masters: &MasterClaims,
        context: &ShardContext<'_>,
    ) -> Vec<PrimaryChange> {
        let statements = context.sentinels.map_or(&[][..], |sentinels| &sentinels.statements);
        let resolved =
            self.change_cause.resolve(nodes, statements, context.now(), context.interval());
        for change in &resolved {
            self.change_counts[change.cause as usize] += 1;
        }
        if let Some(primary) = masters.undisputed_primary() {
            self.change_cause.record_counters(nodes, primary);
        }
        resolved
    }

    /// Updates the periods without a primary, with a split brain, and the writes lost in them.
    fn observe_outages(
        &mut self,
        nodes: ShardNodes<'_>,
        masters: &MasterClaims,
        replication_loop: &[NodeIndex],
        context: &ShardContext<'_>,
    ) {
        let presence = if self.external.is_outside() || masters.has_candidate {
            PrimaryPresence::Present
        } else {
            no_primary::primary_presence(nodes, replication_loop, self.primary, context)
        };
        self.no_primary.observe(presence, context);
        self.split_brain.observe(&masters.split, context);
        let primary =
            masters.primary().map(|node| PrimarySince { node, since: self.primary_since });
        let stale = StaleMasters {
            masters: &masters.stale,
            split: &masters.split,
            primary,
            disputed: masters.verdict.disputed,
            split_brain: !self.split_brain.view().masters.is_empty(),
        };
        self.lost_writes.observe(nodes, &stale, context);
    }

    /// Updates the results about single replicas, which depend on the primary and on each other.
    fn observe_replicas(
        &mut self,
        nodes: &mut NodeVec<NodeView>,
        primary: Option<NodeIndex>,
        primaries: &[NodeIndex],
        context: &ShardContext<'_>,
    ) {
        let answering = primary.filter(|primary| context.answered(*primary));
        let primary_snapshot = answering.and_then(|primary| nodes[primary].last.clone());
        if let (Some(primary), Some(snapshot)) = (answering, &primary_snapshot) {
            let before = &context.previous.nodes[primary];
            let last = before.last.as_deref().map(|last| &last.replication);
            let before = last.zip(before.polling.requested);
            self.lag.observe(&snapshot.replication, before, context.now());
        }
        for index in context.members.iter().copied() {
            let shard = ShardNodes::new(nodes, context.members);
            let upstream_snapshot = match shard.upstream(index) {
                ShardUpstream::Node(upstream) => nodes[upstream].last.clone(),
                ShardUpstream::Nothing | ShardUpstream::Outside => None,
            };
            let depth = upstream::depth(shard, index);
            let orphan =
                upstream::orphan_reason(shard, index, primaries, self.external.is_outside());
            let has_primary = primary.is_some_and(|primary| !nodes[primary].is_unreachable());
            let mut lag = self.replica_lag(index, &nodes[index], has_primary, context);
            lag.changes = primary
                .zip(nodes[index].snapshot().filter(|_| nodes[index].is_replica()))
                .and_then(|(primary, replica)| {
                    self.lost_writes.changes_beyond(primary, &replica.replication)
                });
            let resyncs = self.resyncs.entry(index).or_default();
            let divergence = self.divergence.entry(index).or_default();
            let node = &mut nodes[index];
            if let Some(snapshot) = node.last.as_deref().filter(|_| context.answered(index)) {
                let commands = node.counters.replicaof_commands();
                resyncs.observe(snapshot, commands, upstream_snapshot.as_deref());
                divergence.observe(snapshot, primary_snapshot.as_deref(), resyncs.total());
            }
            let is_up = node.snapshot().is_some();
            (node.depth, node.orphan, node.lag) =
                if is_up { (depth, orphan, lag) } else { (None, None, Lag::default()) };
            node.resyncs = resyncs.total();
            node.diverged = is_up && divergence.diverged();
        }
    }

    /// Returns the lag of a replica. A replica that missed the poll keeps its lag. If the primary
    /// started another history, the data of a replica without a link only gets older.
    fn replica_lag(
        &self,
        index: NodeIndex,
        node: &NodeView,
        has_primary: bool,
        context: &ShardContext<'_>,
    ) -> Lag {
        let previous = context.previous.nodes[index].lag;
        if !context.answered(index) {
            return previous;
        }
        let mut lag = self.lag.lag(node, context.now(), has_primary);
        if lag.age.is_none() && node.link.down_since.is_some() {
            let passed = context.now().since(context.previous.now);
            lag.age = previous.age.map(|age| age + passed);
        }
        lag
    }

    /// Updates the clients that write to replicas.
    fn observe_misrouted(
        &mut self,
        nodes: &mut NodeVec<NodeView>,
        masters: usize,
        context: &ShardContext<'_>,
    ) {
        let round = MisrouteContext {
            now: context.now(),
            interval: context.interval(),
            masters,
            last_change: self.last_change,
        };
        for index in context.members.iter().copied() {
            let (node, tracker) = (&mut nodes[index], self.misrouted.entry(index).or_default());
            if let (Some(reply), Some(change)) =
                (context.reply(index), context.process_change(index))
            {
                tracker.observe(reply, &node.counters, change, &round);
            }
            node.misrouted = tracker.view(&round).filter(|_| node.is_replica()).map(Arc::new);
        }
    }
}
