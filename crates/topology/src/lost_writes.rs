//! Fact: writes that stale masters accepted and the primary does not have.
//!
//! `rdb_changes_since_last_save` counts writes, and nothing else that moves offsets. What it grows by on a stale master, from the first
//! round in which a successor exists, is lost. Where the count begins anew, by a save or a restart, the number is a floor.

use std::time::Duration;

use snapshot::NodeSnapshot;

use crate::NodeView;

/// Writes that the primary does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LostWritesView {
    /// Writes since the exporter started.
    pub total: u64,
    /// Of these, the ones since the running or last split brain began.
    pub of_split: u64,
    /// Monotonic time at which the last of them was seen.
    pub last: Option<Duration>,
    /// Replication stream that stale masters produced beyond what the primary took over, bytes; `None` where no formula holds.
    pub bytes: Option<u64>,
}

/// What the fact remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    watched: Vec<Option<Count>>,
    view: LostWritesView,
    splits: bool,
}

/// A count of writes as last read from a stale master.
#[derive(Debug, Clone)]
struct Count {
    run_id: Option<Box<str>>,
    last_save: Option<Duration>,
    changes: u64,
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

impl Memory {
    pub(crate) fn apply(&mut self, nodes: &[NodeView], stale: &Stale<'_>) {
        self.watched.resize(nodes.len(), None);
        if stale.splits && !self.splits {
            self.view.of_split = 0;
        }
        self.splits = stale.splits;
        for (place, node) in nodes.iter().enumerate().filter(|(place, _)| stale.answered[*place]) {
            let snapshot = node.snapshot().filter(|_| stale.masters.contains(&place));
            let Some((snapshot, now)) = snapshot.and_then(|snapshot| Some((snapshot, Count::of(snapshot)?))) else {
                self.watched[place] = None;
                continue;
            };
            let grown = match &self.watched[place] {
                Some(before) => now.since(before),
                None if born_stale(snapshot, stale) => now.changes,
                None => 0,
            };
            self.watched[place] = Some(now);
            if grown > 0 {
                self.view.total += grown;
                self.view.of_split += grown;
                self.view.last = Some(stale.elapsed);
            }
        }
        self.view.bytes = stale.primary.and_then(|(primary, _)| bytes(nodes, stale.masters, primary));
    }

    pub(crate) fn view(&self) -> LostWritesView {
        self.view
    }
}

impl Count {
    fn of(snapshot: &NodeSnapshot) -> Option<Self> {
        Some(Count {
            run_id: snapshot.identity.run_id.clone(),
            last_save: snapshot.persistence.rdb.last_save,
            changes: snapshot.persistence.rdb.changes?,
            loading: snapshot.persistence.loading == Some(true),
        })
    }

    /// Writes since an earlier count. Reading an append-only file at start counts as writing.
    fn since(&self, before: &Count) -> u64 {
        if self.loading || before.loading {
            0
        } else if self.run_id != before.run_id || self.last_save != before.last_save {
            self.changes
        } else {
            self.changes.saturating_sub(before.changes)
        }
    }
}

/// The process started when there was a successor already, and read no append-only file: then every write it counts is lost.
fn born_stale(snapshot: &NodeSnapshot, stale: &Stale<'_>) -> bool {
    let started = snapshot.identity.uptime.map(|uptime| stale.elapsed.saturating_sub(uptime));
    let read_aof = snapshot.persistence.aof.enabled != Some(false) || snapshot.persistence.loading != Some(false);
    matches!((started, stale.primary), (Some(started), Some((_, since))) if started > since) && !read_aof
}

/// The formula needs the history that the primary continued to be the one that the stale master still writes.
fn bytes(nodes: &[NodeView], stale: &[usize], primary: usize) -> Option<u64> {
    let new = &nodes[primary].snapshot()?.replication;
    let beyond = |place: &usize| {
        let old = &nodes[*place].snapshot()?.replication;
        let continues = old.replid.is_some() && old.replid == new.replid2;
        let taken_over = new.second_offset.filter(|_| continues)?.saturating_sub(1);
        Some(old.offset?.saturating_sub(taken_over))
    };
    stale.iter().filter_map(beyond).reduce(|a, b| a + b)
}
