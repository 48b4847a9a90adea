//! Fact: writes that stale masters accepted and the primary does not have.
//!
//! `rdb_changes_since_last_save` counts writes, and nothing else that moves offsets. What it grows by on a stale master, from the first
//! round in which a successor exists, is lost. Where the count falls, by a save that took its part away, the number is a floor; and a
//! process that read an append-only file at its start counted what it read as writes, so it counts from its first answer.

use std::time::Duration;

use snapshot::NodeSnapshot;

use crate::model::view::NodeView;

/// Writes that the primary does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostWritesView {
    /// Writes since the exporter started.
    pub total: u64,
    /// Of these, the ones since the running or last split brain began.
    pub of_split: u64,
    /// The last split brain that lost any.
    pub loss: Option<Loss>,
    /// Replication stream that stale masters produced beyond what the primary took over, bytes; `None` where no formula holds.
    pub bytes: Option<u64>,
}

/// Writes that one split brain lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loss {
    /// How many.
    pub writes: u64,
    /// The places of the stale masters that accepted them.
    pub stale: Vec<usize>,
    /// Monotonic time at which the last of them was seen.
    pub last: Duration,
}

/// What the fact remembers.
#[derive(Debug, Default)]
pub(crate) struct LostWritesTracker {
    watched: Vec<Option<Count>>,
    view: LostWritesView,
    splits: bool,
}

/// A count of writes as last read from a stale master.
#[derive(Debug, Clone)]
struct Count {
    run_id: Option<Box<str>>,
    changes: u64,
    /// What the process read at its start counts as written, and may still be being read.
    reads_file: bool,
    loading: bool,
}

/// What the fact is formed from, beside the nodes.
pub(crate) struct Stale<'a> {
    /// The places of the stale masters.
    pub(crate) masters: &'a [usize],
    /// The primary, and when it was first seen as master, on the monotonic clock.
    pub(crate) primary: Option<(usize, Duration)>,
    /// For each node, whether it answered in this round.
    pub(crate) answered: &'a [bool],
    /// Whether there is a split brain.
    pub(crate) splits: bool,
    pub(crate) elapsed: Duration,
}

impl LostWritesTracker {
    pub(crate) fn observe(&mut self, nodes: &[NodeView], stale: &Stale<'_>) {
        self.watched.resize(nodes.len(), None);
        if stale.splits && !self.splits {
            self.view.of_split = 0;
        }
        self.splits = stale.splits;
        for (index, node) in nodes.iter().enumerate().filter(|(index, _)| stale.answered[*index]) {
            let snapshot = node.snapshot().filter(|_| stale.masters.contains(&index));
            let Some((snapshot, now)) =
                snapshot.and_then(|snapshot| Some((snapshot, Count::of(snapshot)?)))
            else {
                self.watched[index] = None;
                continue;
            };
            let grown = match &self.watched[index] {
                Some(before) => now.since(before),
                None if born_stale(snapshot, stale) => now.since_start(),
                None => 0,
            };
            self.watched[index] = Some(now);
            if grown > 0 {
                self.lost(index, grown, stale.elapsed);
            }
        }
        self.view.bytes =
            stale.primary.and_then(|(primary, _)| bytes(nodes, stale.masters, primary));
    }

    /// Forgets the node at a place.
    pub(crate) fn clear(&mut self, index: usize) {
        self.watched.get_mut(index).map(Option::take);
        if let Some(loss) = &mut self.view.loss {
            loss.stale.retain(|stale| *stale != index);
        }
    }

    pub(crate) fn view(&self) -> &LostWritesView {
        &self.view
    }

    fn lost(&mut self, index: usize, writes: u64, elapsed: Duration) {
        self.view.total += writes;
        let loss = self.view.loss.take().filter(|_| self.view.of_split > 0).unwrap_or_default();
        let mut stale = loss.stale;
        if !stale.contains(&index) {
            stale.push(index);
        }
        self.view.of_split += writes;
        self.view.loss = Some(Loss { writes: loss.writes + writes, stale, last: elapsed });
    }
}

impl Count {
    fn of(snapshot: &NodeSnapshot) -> Option<Self> {
        Some(Count {
            run_id: snapshot.identity.run_id.clone(),
            changes: snapshot.persistence.rdb.changes?,
            reads_file: snapshot.persistence.aof.enabled != Some(false),
            loading: snapshot.persistence.loading != Some(false),
        })
    }

    /// Writes since an earlier count. A save takes away what was written before it began.
    fn since(&self, before: &Count) -> u64 {
        if self.run_id != before.run_id {
            self.since_start()
        } else if self.loading || before.loading {
            0
        } else {
            self.changes.saturating_sub(before.changes)
        }
    }

    /// Writes since the process started, as far as they can be told from what it read then.
    fn since_start(&self) -> u64 {
        if self.reads_file || self.loading { 0 } else { self.changes }
    }
}

/// The process started when there was a successor already: then every write that it took is lost.
fn born_stale(snapshot: &NodeSnapshot, stale: &Stale<'_>) -> bool {
    let started = snapshot.identity.uptime.map(|uptime| stale.elapsed.saturating_sub(uptime));
    matches!((started, stale.primary), (Some(started), Some((_, since))) if started > since)
}

/// The formula needs the history that the primary continued to be the one that the stale master still writes.
fn bytes(nodes: &[NodeView], stale: &[usize], primary: usize) -> Option<u64> {
    let new = &nodes[primary].snapshot()?.replication;
    let beyond = |index: &usize| {
        let old = &nodes[*index].snapshot()?.replication;
        let continues = old.replid.is_some() && old.replid == new.replid2;
        let taken_over = new.second_offset.filter(|_| continues)?.saturating_sub(1);
        Some(old.offset?.saturating_sub(taken_over))
    };
    stale.iter().filter_map(beyond).reduce(|a, b| a + b)
}
