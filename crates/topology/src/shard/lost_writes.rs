//! Tracker of lost writes: writes that stale masters accepted and the primary does not have.
//!
//! `rdb_changes_since_last_save` counts writes only, unlike the replication offset. The growth on
//! each of several masters of one history is counted from the first round with all of them. It is
//! lost when that master loses: it replies as a replica, or the verdict against it is undisputed.
//! A save resets the counter, so the number is a lower bound. A process that loads an append-only
//! file counts the loaded commands as writes; its writes are counted from its first reply.

use snapshot::NodeSnapshot;

use crate::model::monotonic::Monotonic;
use crate::model::node_index::{NodeIndex, NodeMap};
use crate::model::shard::{Loss, LostWritesView};
use crate::shard::context::ShardContext;
use crate::shard::nodes::ShardNodes;

/// Tracks the lost writes of a shard.
#[derive(Debug, Default)]
pub(crate) struct LostWritesTracker {
    /// Last counts of the masters.
    counts: NodeMap<WriteCount>,
    /// Processes that were replicas, by node. They count replicated writes too.
    former_replicas: NodeMap<Option<Box<str>>>,
    /// Writes of each master that are lost if it loses.
    at_risk: NodeMap<u64>,
    view: LostWritesView,
    split_brain: bool,
}

/// Write counter of one of several masters.
#[derive(Debug, Clone)]
struct WriteCount {
    run_id: Option<Box<str>>,
    /// The `rdb_changes_since_last_save` field of INFO.
    changes: u64,
    /// The process may have loaded an append-only file, which counts as writes.
    loads_aof: bool,
    loading: bool,
}

/// The stale masters of a round.
pub(crate) struct StaleMasters<'a> {
    pub(crate) masters: &'a [NodeIndex],
    /// All masters that share a history with another one.
    pub(crate) split: &'a [NodeIndex],
    /// The verdict about the primary is disputed.
    pub(crate) disputed: bool,
    pub(crate) primary: Option<PrimarySince>,
    /// There is a split brain.
    pub(crate) split_brain: bool,
}

/// The primary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrimarySince {
    pub(crate) node: NodeIndex,
    /// Monotonic time at which the node was first seen as the primary.
    pub(crate) since: Monotonic,
}

impl LostWritesTracker {
    /// Processes one round.
    pub(crate) fn observe(
        &mut self,
        nodes: ShardNodes<'_>,
        stale: &StaleMasters<'_>,
        context: &ShardContext<'_>,
    ) {
        if stale.split_brain && !self.split_brain {
            self.view.in_split_brain = 0;
        }
        self.split_brain = stale.split_brain;
        for (index, node) in nodes.iter().filter(|(index, _)| context.answered(*index)) {
            if node.is_replica() {
                self.former_replicas.insert(index, node.run_id().map(Into::into));
            }
            if let Some(snapshot) = node.snapshot().filter(|_| stale.contains(index)) {
                self.count(index, snapshot, stale, context.now());
            } else {
                self.counts.remove(&index);
            }
            if stale.has_lost(index) || node.is_replica() {
                let lost = self.at_risk.remove(&index).unwrap_or_default();
                if lost > 0 {
                    self.add_loss(index, lost, context.now());
                }
            } else if !stale.contains(index) || stale.has_won(index) {
                self.at_risk.remove(&index);
            }
        }
        if let (Some(primary), Some(loss)) = (stale.primary, &mut self.view.loss) {
            loss.set_primary(primary.node);
        }
        self.view.bytes =
            stale.primary.and_then(|primary| lost_bytes(nodes, stale.masters, primary.node));
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.counts.remove(&index);
        self.at_risk.remove(&index);
        self.former_replicas.remove(&index);
        if let Some(loss) = &mut self.view.loss {
            loss.stale_masters.retain(|stale| *stale != index);
            loss.primary_again.retain(|primary| *primary != index);
        }
    }

    /// Returns the lost writes so far.
    pub(crate) fn view(&self) -> &LostWritesView {
        &self.view
    }

    /// Adds the writes of one of several masters since its last reply.
    fn count(
        &mut self,
        index: NodeIndex,
        snapshot: &NodeSnapshot,
        stale: &StaleMasters<'_>,
        now: Monotonic,
    ) {
        let Some(count) = WriteCount::read(snapshot) else {
            self.counts.remove(&index);
            return;
        };
        let was_replica = self.former_replicas.get(&index) == Some(&snapshot.identity.run_id);
        let is_stale = stale.masters.contains(&index) && !was_replica;
        let grown = match self.counts.get(&index) {
            Some(previous) => count.since(previous),
            None if is_stale && started_stale(snapshot, stale, now) => count.since_start(),
            None => 0,
        };
        self.counts.insert(index, count);
        *self.at_risk.entry(index).or_default() += grown;
    }

    fn add_loss(&mut self, index: NodeIndex, writes: u64, now: Monotonic) {
        self.view.total += writes;
        let mut loss =
            self.view.loss.take().filter(|_| self.view.in_split_brain > 0).unwrap_or_default();
        if !loss.stale_masters.contains(&index) {
            loss.stale_masters.push(index);
            loss.primary_again.retain(|primary| *primary != index);
        }
        loss.writes += writes;
        loss.last = now;
        self.view.in_split_brain += writes;
        self.view.loss = Some(loss);
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

impl StaleMasters<'_> {
    /// Returns true if the node is one of several masters of one history.
    fn contains(&self, index: NodeIndex) -> bool {
        self.split.contains(&index) || self.masters.contains(&index)
    }

    /// Returns true if the verdict against a master is undisputed.
    fn has_lost(&self, index: NodeIndex) -> bool {
        !self.disputed && self.masters.contains(&index)
    }

    /// Returns true if the verdict for a master is undisputed.
    fn has_won(&self, index: NodeIndex) -> bool {
        !self.disputed && self.primary.is_some_and(|primary| primary.node == index)
    }
}

impl WriteCount {
    fn read(snapshot: &NodeSnapshot) -> Option<Self> {
        Some(WriteCount {
            run_id: snapshot.identity.run_id.clone(),
            changes: snapshot.persistence.rdb.changes?,
            loads_aof: snapshot.persistence.aof.enabled != Some(false),
            loading: snapshot.persistence.loading != Some(false),
        })
    }

    /// Returns the writes since an earlier count. A save subtracts the writes before it.
    fn since(&self, earlier: &WriteCount) -> u64 {
        if self.run_id != earlier.run_id {
            self.since_start()
        } else if self.loading || earlier.loading {
            0
        } else {
            self.changes.saturating_sub(earlier.changes)
        }
    }

    /// Returns the writes since the process started, unless the count includes loaded commands.
    fn since_start(&self) -> u64 {
        if self.loads_aof || self.loading { 0 } else { self.changes }
    }
}

/// Returns true if the process started when there was a successor already: then all of its writes
/// are lost.
fn started_stale(snapshot: &NodeSnapshot, stale: &StaleMasters<'_>, now: Monotonic) -> bool {
    let started = snapshot.identity.uptime.map(|uptime| now.saturating_sub(uptime));
    matches!((started, stale.primary), (Some(started), Some(primary)) if started > primary.since)
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
