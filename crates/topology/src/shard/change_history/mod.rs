//! Counted changes of one node over time, with the replication offsets at which they were read.
//!
//! `rdb_changes_since_last_save` counts writes only, unlike the replication offset. A save, a
//! restart or a load resets it: the history then continues with a lower bound.

mod baseline;
mod counter;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{NodeSnapshot, Role};

use crate::model::monotonic::Monotonic;
use crate::model::shard::ChangeCount;

pub(crate) use baseline::{Baseline, BaselineSearch};
use counter::ChangeCounter;

/// The largest number of samples of one node. When it is reached, the older half keeps every other
/// sample.
const MAX_SAMPLES: usize = 128;

/// Resolution of `rdb_last_save_time` and of the uptime.
const SAVE_TIME_UNIT: Duration = Duration::from_secs(1);

/// Counted changes of one node.
#[derive(Debug, Default)]
pub(crate) struct ChangeHistory {
    /// The oldest first.
    samples: VecDeque<ChangeSample>,
    /// The counter at the last sample.
    counter: Option<ChangeCounter>,
    /// Total from which on all changes of the present process are its own: at its start, or at its
    /// first reply as a master if it may have been a replica before.
    own_since: u64,
    /// The last sample is that of a replica.
    replicated: bool,
}

/// A total at one replication offset.
#[derive(Debug, Clone)]
pub(crate) struct ChangeSample {
    /// Replication ID.
    history: Arc<str>,
    /// Replication offset, bytes.
    offset: u64,
    /// Changes since the first sample, at least.
    pub(crate) total: u64,
    /// Resets of the counter since the first sample, each of which may hide changes.
    pub(crate) resets: u32,
    /// Number of restarts since the first sample.
    process: u32,
    /// The history continues another one: the process may have been a replica.
    is_continued: bool,
    at: Monotonic,
}

impl ChangeSample {
    /// Returns the time of the round.
    pub(crate) fn at(&self) -> Monotonic {
        self.at
    }
}

impl ChangeHistory {
    /// Adds the reply of a node. Returns false if the reply has no counter.
    pub(crate) fn record(&mut self, snapshot: &NodeSnapshot, now: Monotonic) -> bool {
        let Some(mut counter) = ChangeCounter::read(snapshot) else { return false };
        let (growth, is_reset) = match &self.counter {
            Some(previous) => counter.growth(previous),
            None => (counter.since_start(), false),
        };
        let is_restart =
            self.counter.as_ref().is_some_and(|previous| previous.run_id != counter.run_id);
        counter.is_save_recent = match &self.counter {
            Some(previous) => is_restart || previous.last_save != counter.last_save,
            // A process begins with its start as the time of the last save.
            None => snapshot.identity.uptime.is_some_and(|uptime| uptime < SAVE_TIME_UNIT * 2),
        };
        counter.before_save = counter.saving.unwrap_or(false).then(|| match &self.counter {
            Some(previous) if is_restart || is_reset => previous.changes.min(counter.changes),
            Some(previous) => previous.before_save.unwrap_or(previous.changes),
            None => 0,
        });
        let (total, resets, process) = match self.samples.back() {
            Some(last) => (
                last.total.saturating_add(growth),
                last.resets + u32::from(is_reset),
                last.process + u32::from(is_restart),
            ),
            None => (growth, 0, 0),
        };
        let is_continued = snapshot.replication.replid2.is_some();
        let may_have_replicated = self.replicated || is_continued;
        let is_first_reply = is_restart || self.counter.is_none();
        if is_first_reply && !may_have_replicated {
            self.own_since = total - growth;
        } else if is_first_reply || self.replicated {
            self.own_since = total;
        }
        self.replicated = snapshot.replication.role == Some(Role::Replica);
        self.counter = Some(counter);
        let replication = &snapshot.replication;
        let history = self.shared_id(replication.replid.as_deref().unwrap_or_default());
        let offset = replication.offset.unwrap_or_default();
        self.push(ChangeSample { history, offset, total, resets, process, is_continued, at: now });
        true
    }

    /// Returns the last sample.
    pub(crate) fn last(&self) -> Option<&ChangeSample> {
        self.samples.back()
    }

    /// Returns the total from which on all changes of the present process are certainly its own.
    pub(crate) fn own_since(&self) -> u64 {
        self.own_since
    }

    /// Returns the growth of the total since a time.
    pub(crate) fn growth_since(&self, at: Monotonic) -> Option<u64> {
        let earlier = self.samples.iter().rev().find(|sample| sample.at <= at)?;
        Some(self.last()?.total - earlier.total)
    }

    /// Returns the changes that data of this history up to an offset does not contain; `None` if
    /// the node writes another history.
    pub(crate) fn changes_beyond(&self, history: &str, offset: u64) -> Option<ChangeCount> {
        let last = self.last().filter(|last| *last.history == *history)?;
        if offset >= last.offset {
            return Some(ChangeCount::default());
        }
        let others = self.samples.iter().rposition(|sample| *sample.history != *history);
        let first = others.map_or(0, |other| other + 1);
        let is_before = |sample: &&ChangeSample| sample.offset <= offset;
        let position = first + self.samples.iter().skip(first).take_while(is_before).count();
        let after = self.samples.get(position)?;
        let low = last.total - after.total;
        let before = position.checked_sub(1).filter(|before| *before >= first);
        let before = before.and_then(|before| self.samples.get(before));
        let Some(before) = before.filter(|before| before.resets == last.resets) else {
            return Some(ChangeCount { low, about: low, high: low, at_least: true });
        };
        let grown = after.total - before.total;
        let bytes = (after.offset - before.offset).max(1);
        let missing = u128::from(grown) * u128::from(after.offset - offset) / u128::from(bytes);
        Some(ChangeCount {
            low,
            about: low + u64::try_from(missing).unwrap_or(grown).min(grown),
            high: last.total - before.total,
            at_least: false,
        })
    }

    /// Returns true if the reply continues the history of the last sample: a demoted master keeps
    /// its history until it has the data of its new master.
    pub(crate) fn continues(&self, snapshot: &NodeSnapshot) -> bool {
        let is_linked = snapshot
            .replication
            .link
            .as_ref()
            .is_some_and(|link| link.status == Some(snapshot::LinkStatus::Up));
        let replid = snapshot.replication.replid.as_deref();
        !is_linked
            && self.is_same_process(snapshot)
            && self.last().is_some_and(|last| {
                replid == Some(&last.history)
                    && snapshot.replication.offset.is_some_and(|offset| offset >= last.offset)
            })
    }

    /// Returns the growth of the counter until this reply of the same process, including changes
    /// that it replicated; `None` if the counter was reset.
    pub(crate) fn growth_until(&self, snapshot: &NodeSnapshot) -> Option<u64> {
        let counter = ChangeCounter::read(snapshot)?;
        let (growth, is_reset) = counter.growth(self.counter.as_ref()?);
        (!is_reset).then_some(growth)
    }

    fn is_same_process(&self, snapshot: &NodeSnapshot) -> bool {
        self.counter.as_ref().is_some_and(|counter| counter.run_id == snapshot.identity.run_id)
    }

    /// Returns the replication ID, shared with the last sample if that has the same.
    fn shared_id(&self, id: &str) -> Arc<str> {
        match self.last() {
            Some(last) if *last.history == *id => Arc::clone(&last.history),
            _ => id.into(),
        }
    }

    fn push(&mut self, sample: ChangeSample) {
        if let Some(last) = self.samples.back_mut()
            && last.history == sample.history
            && (last.offset, last.total, last.resets, last.process)
                == (sample.offset, sample.total, sample.resets, sample.process)
        {
            last.at = sample.at;
            return;
        }
        if self.samples.len() == MAX_SAMPLES {
            let mut position = 0;
            self.samples.retain(|_| {
                position += 1;
                position > MAX_SAMPLES / 2 || position % 2 == 1
            });
        }
        self.samples.push_back(sample);
    }
}
