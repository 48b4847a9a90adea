//! Counted changes of one node over time, with the replication offsets at which they were read.
//!
//! `rdb_changes_since_last_save` counts writes only, unlike the replication offset. A save, a
//! restart or a load resets it: the history then continues with a lower bound.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{NodeSnapshot, Role};

use crate::model::monotonic::Monotonic;
use crate::model::shard::ChangeCount;
use crate::shard::branches::{CommonData, CommonEnd};

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

/// Totals between which the total at an offset was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Baseline {
    pub(crate) low: u64,
    /// Interpolated by the offset.
    pub(crate) about: u64,
    pub(crate) high: u64,
    /// Resets of the counter before `low`.
    pub(crate) resets: u32,
    /// The node has more changes since then than were counted, or may have.
    pub(crate) at_least: bool,
}

/// Result of the search for a total at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BaselineSearch {
    Known(Baseline),
    /// The node did not report an offset beyond it yet.
    Pending,
    /// There is no sample of that history.
    Unknown,
}

/// The counter of one process.
#[derive(Debug)]
struct ChangeCounter {
    run_id: Option<Box<str>>,
    /// The `rdb_changes_since_last_save` field of INFO.
    changes: u64,
    /// The `rdb_last_save_time` field of INFO.
    last_save: Option<Duration>,
    /// A save is running: its end subtracts the changes before its start.
    saving: Option<bool>,
    /// A lower bound of the changes at the start of that save.
    before_save: Option<u64>,
    /// The process may have loaded an append-only file, which counts as changes.
    loads_aof: bool,
    loading: bool,
    /// The last save may have ended a moment ago. Another save within the same second does not
    /// change `rdb_last_save_time`.
    is_save_recent: bool,
}

impl Baseline {
    /// Returns the total of a sample.
    fn exact(sample: &ChangeSample) -> Self {
        let ChangeSample { total, resets, .. } = *sample;
        Baseline { low: total, about: total, high: total, resets, at_least: false }
    }

    /// Returns the total that leaves only a lower bound of the changes so far.
    pub(crate) fn lower_bound(total: u64, resets: u32) -> Self {
        Baseline { low: total, about: total, high: total, resets, at_least: true }
    }

    /// Excludes the changes up to a total.
    pub(crate) fn not_before(self, total: u64) -> Self {
        Baseline {
            low: self.low.max(total),
            about: self.about.max(total),
            high: self.high.max(total),
            ..self
        }
    }

    /// Excludes changes after it.
    fn without(self, changes: u64) -> Self {
        Baseline {
            low: self.low.saturating_add(changes),
            about: self.about.saturating_add(changes),
            high: self.high.saturating_add(changes),
            at_least: true,
            ..self
        }
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

    /// Returns the total where the history of the node left that of another one.
    pub(crate) fn baseline(&self, common: &CommonData<'_>) -> BaselineSearch {
        let ends = self.ends(common);
        let is_common = |index: &usize| {
            ends[*index].is_some_and(|end| self.samples[*index].offset <= end.offset)
        };
        let last_common = (0..ends.len()).rev().find(is_common);
        let Some(position) = last_common.max(last_rejoining(&ends)) else {
            return BaselineSearch::Unknown;
        };
        let before = &self.samples[position];
        let exact = Baseline::exact(before);
        let next = ends.get(position + 1).copied().flatten();
        let end = next.or(ends[position]).map_or(u64::MAX, |end| end.offset);
        let Some(after) = self.samples.get(position + 1) else {
            return if before.offset == end {
                BaselineSearch::Known(exact)
            } else {
                BaselineSearch::Pending
            };
        };
        let rejoins = has_rejoined(ends[position], next);
        let is_new_start = next.is_none() && after.process != before.process && !after.is_continued;
        let baseline = if !rejoins && may_have_followed(before, after, common) {
            // All changes until then may be replicated from the other node, or discarded.
            Baseline { about: after.total, high: after.total, at_least: true, ..exact }
        } else if is_new_start || (before.offset == end && !rejoins) {
            // All changes since then are its own.
            exact
        } else {
            let grown = after.total - before.total;
            let bytes = after.offset.saturating_sub(before.offset);
            let shared = end.min(after.offset).saturating_sub(before.offset);
            let part = u128::from(grown) * u128::from(shared) / u128::from(bytes.max(1));
            let part = u64::try_from(part).unwrap_or(grown).min(grown);
            Baseline { about: exact.low + part, high: after.total, ..exact }
        };
        BaselineSearch::Known(self.without_discarded(baseline, position + 1, common))
    }

    /// Excludes changes after a baseline that the node counted, but may have discarded since: it
    /// was a replica of a third node, whose data it copied without counting. `position` is the
    /// first sample after the baseline.
    fn without_discarded(
        &self,
        baseline: Baseline,
        position: usize,
        common: &CommonData<'_>,
    ) -> Baseline {
        let last = self.samples.len() - 1;
        let follows = |index: usize| {
            may_have_followed(&self.samples[index], &self.samples[index + 1], common)
        };
        if !(position..last).any(follows) {
            return baseline;
        }
        let mut discarded = 0;
        // The oldest sample so far whose data the node kept until now, or until a restart.
        let mut kept = last;
        for index in (position..last).rev() {
            let (before, newer) = (&self.samples[index], &self.samples[kept]);
            if kept == index + 1 && !follows(index) {
                kept = index;
            } else if common.contains(&newer.history, &before.history, before.offset) {
                let more = newer.total.saturating_sub(before.total);
                discarded = more.saturating_add(discarded);
                kept = index;
            }
        }
        if kept == position {
            baseline.without(discarded)
        } else {
            Baseline::exact(&self.samples[kept]).without(discarded)
        }
    }

    /// Returns the last sample before the node discarded its data and was a replica of another one,
    /// which no sample shows.
    pub(crate) fn end_of_reign(&self, common: &CommonData<'_>) -> Option<&ChangeSample> {
        let last = last_rejoining(&self.ends(common))?;
        let (before, after) = (&self.samples[last], &self.samples[last + 1]);
        let is_kept = common.contains(&after.history, &before.history, before.offset);
        (!is_kept).then_some(before)
    }

    /// Returns what the node had in common with the present data of another one, by sample.
    fn ends<'a>(&'a self, common: &'a CommonData<'_>) -> Vec<Option<CommonEnd<'a>>> {
        let mut ends: Vec<Option<CommonEnd<'a>>> = Vec::with_capacity(self.samples.len());
        let mut last: Option<&str> = None;
        for sample in &self.samples {
            let known = ends.last().copied().filter(|_| last == Some(&*sample.history));
            ends.push(known.unwrap_or_else(|| common.end(&sample.history)));
            last = Some(&sample.history);
        }
        ends
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

/// Returns true if the node may have been a replica of any node between two consecutive samples.
fn may_have_followed(before: &ChangeSample, after: &ChangeSample, common: &CommonData<'_>) -> bool {
    after.is_continued && !common.continues_directly(&after.history, &before.history)
}

/// Returns true if a node replicated data of another one between two samples.
fn has_rejoined(before: Option<CommonEnd<'_>>, after: Option<CommonEnd<'_>>) -> bool {
    after.is_some_and(|after| before.is_none_or(|before| !before.explains(after)))
}

/// Returns the last sample after which the node replicated data of the other one.
fn last_rejoining(ends: &[Option<CommonEnd<'_>>]) -> Option<usize> {
    ends.windows(2).rposition(|pair| has_rejoined(pair[0], pair[1]))
}

impl ChangeCounter {
    fn read(snapshot: &NodeSnapshot) -> Option<Self> {
        Some(ChangeCounter {
            run_id: snapshot.identity.run_id.clone(),
            changes: snapshot.persistence.rdb.changes?,
            last_save: snapshot.persistence.rdb.last_save,
            saving: snapshot.fields.number("rdb_bgsave_in_progress").map(|running| running > 0.0),
            before_save: None,
            loads_aof: snapshot.persistence.aof.enabled != Some(false),
            loading: snapshot.persistence.loading != Some(false),
            is_save_recent: false,
        })
    }

    /// Returns the changes since an earlier reading, at least, and true if a reset may hide some.
    fn growth(&self, earlier: &ChangeCounter) -> (u64, bool) {
        if self.run_id != earlier.run_id {
            return (self.since_start(), true);
        }
        // Later in its life, a process loads data only from a new master, which counts nothing.
        if earlier.loading {
            return (0, true);
        }
        let is_reset = self.last_save != earlier.last_save || self.changes < earlier.changes;
        let growth = match earlier.saving {
            // FLUSHALL saves without a reset on some versions.
            _ if self.changes >= earlier.changes => self.changes - earlier.changes,
            // The save began after the earlier reading, and so did all changes that are left.
            Some(false) => self.changes,
            _ => self
                .changes
                .saturating_add(earlier.before_save.unwrap_or_default())
                .saturating_sub(earlier.changes),
        };
        (growth, is_reset || earlier.is_save_recent)
    }

    /// Returns the changes since the process started, unless the count includes loaded commands.
    fn since_start(&self) -> u64 {
        if self.loads_aof || self.loading { 0 } else { self.changes }
    }
}

#[cfg(test)]
mod tests {
    use snapshot::Replication;

    use super::*;
    use crate::shard::branches::Branches;

    #[derive(Clone, Copy)]
    struct Reply {
        run_id: &'static str,
        history: char,
        offset: u64,
        changes: u64,
        more: &'static str,
    }

    const FIRST: Reply = Reply { run_id: "x", history: 'a', offset: 0, changes: 0, more: "" };

    fn snapshot(reply: &Reply) -> NodeSnapshot {
        let Reply { run_id, history, offset, changes, more } = reply;
        let history = history.to_string().repeat(40);
        let info = format!(
            "{more}\nrun_id:{run_id}\nloading:0\naof_enabled:0\nrole:master\n\
             master_replid:{history}\nmaster_repl_offset:{offset}\nrdb_last_save_time:1\n\
             rdb_bgsave_in_progress:0\nrdb_changes_since_last_save:{changes}\n"
        );
        NodeSnapshot::from_info(&info).expect("an INFO reply")
    }

    fn history(replies: &[Reply]) -> ChangeHistory {
        let mut history = ChangeHistory::default();
        for reply in replies {
            assert!(history.record(&snapshot(reply), Monotonic::START));
        }
        history
    }

    /// Returns the baseline at an offset of the history `a`.
    fn at(history: &ChangeHistory, end: u64) -> BaselineSearch {
        // The other node took over from `a`.
        let mut branches = Branches::default();
        branches.observe(&Replication {
            replid: Some("z".into()),
            replid2: Some("a".repeat(40).into()),
            second_offset: Some(end + 1),
            ..Replication::default()
        });
        history.baseline(&branches.common_with("z"))
    }

    fn total_and_resets(history: &ChangeHistory) -> (u64, u32) {
        history.last().map(|last| (last.total, last.resets)).expect("a sample")
    }

    #[test]
    fn a_baseline_lies_between_two_samples() {
        let samples = [
            Reply { offset: 1000, changes: 100, ..FIRST },
            Reply { offset: 2000, changes: 200, ..FIRST },
            Reply { offset: 4000, changes: 240, ..FIRST },
        ];
        let history = history(&samples);
        let known = |low, about, high| {
            BaselineSearch::Known(Baseline { low, about, high, resets: 0, at_least: false })
        };
        assert_eq!(at(&history, 1250), known(100, 125, 200));
        assert_eq!(at(&history, 2000), known(200, 200, 200));
        assert_eq!(at(&history, 3000), known(200, 220, 240));
        assert_eq!(at(&history, 4001), BaselineSearch::Pending);
        assert_eq!(at(&history, 999), BaselineSearch::Unknown);
        assert_eq!(
            history.baseline(&Branches::default().common_with("z")),
            BaselineSearch::Unknown
        );
    }

    #[test]
    fn a_promotion_continues_the_offsets() {
        let samples = [
            Reply { offset: 1000, changes: 100, ..FIRST },
            Reply { offset: 1500, changes: 150, history: 'b', ..FIRST },
        ];
        let expected = Baseline { low: 100, about: 120, high: 150, resets: 0, at_least: false };
        assert_eq!(at(&history(&samples), 1200), BaselineSearch::Known(expected));
    }

    #[test]
    fn a_save_leaves_a_lower_bound() {
        let first = Reply { changes: 1000, ..FIRST };
        // It began and ended between the samples.
        let saved = Reply { changes: 7, more: "rdb_last_save_time:9", ..FIRST };
        assert_eq!(total_and_resets(&history(&[first, saved])), (1007, 1));
        // It runs at the second sample, and began between the first two.
        let replies = [
            Reply { changes: 1000, ..FIRST },
            Reply { changes: 1100, more: "rdb_bgsave_in_progress:1", ..FIRST },
            Reply { changes: 130, more: "rdb_last_save_time:9", ..FIRST },
        ];
        assert_eq!(total_and_resets(&history(&replies)), (1130, 1));
        // FLUSHALL saves, and keeps the count.
        let flushed = Reply { changes: 1005, more: "rdb_last_save_time:9", ..FIRST };
        assert_eq!(
            total_and_resets(&history(&[Reply { changes: 1000, ..FIRST }, flushed])),
            (1005, 1)
        );
    }

    #[test]
    fn a_second_save_within_one_second_is_possible() {
        let saved = |changes| Reply { changes, more: "rdb_last_save_time:9", ..FIRST };
        let replies = [Reply { changes: 100, ..FIRST }, saved(6), saved(9), saved(12)];
        // The second save may be between the readings 6 and 9. A third one is in another second.
        assert_eq!(total_and_resets(&history(&replies)), (112, 2));
    }

    #[test]
    fn a_restart_ends_a_history() {
        let replies = [
            Reply { offset: 1000, changes: 100, ..FIRST },
            Reply { run_id: "x2", history: 'c', offset: 50, changes: 5, ..FIRST },
        ];
        let history = history(&replies);
        assert_eq!((total_and_resets(&history), history.own_since()), ((105, 1), 100));
        let expected = Baseline { low: 100, about: 100, high: 100, resets: 0, at_least: false };
        assert_eq!(at(&history, 1200), BaselineSearch::Known(expected));
    }

    #[test]
    fn changes_that_a_third_node_replaced_do_not_count() {
        let id = |id: char| id.to_string().repeat(40);
        let mut branches = Branches::default();
        for (new, before, end) in [('z', 'a', 500), ('b', 'a', 1200), ('c', 'b', 1400)] {
            branches.observe(&Replication {
                replid: Some(id(new).into()),
                replid2: Some(id(before).into()),
                second_offset: Some(end + 1),
                ..Replication::default()
            });
        }
        let count = |replies: &[Reply]| {
            let history = history(replies);
            let search = history.baseline(&branches.common_with(&id('z')));
            let BaselineSearch::Known(baseline) = search else { panic!("a baseline") };
            let total = history.last().expect("a sample").total;
            (total - baseline.high, total - baseline.low, baseline.at_least)
        };
        let at = |offset: u64| Reply { offset, changes: offset / 10, ..FIRST };
        let own = [at(500), at(1000), at(2000)];
        assert_eq!(count(&own), (150, 150, false));
        // A replica of `b` keeps the changes up to 1200, and the counter those that it discards.
        let more = "master_replid2:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
        let promoted = Reply { history: 'c', offset: 1500, changes: 220, more, ..FIRST };
        assert_eq!(count(&[&own[..], &[promoted]].concat()), (50, 50, true));
        let later = Reply { offset: 1600, changes: 230, ..promoted };
        assert_eq!(count(&[&own[..], &[promoted, later]].concat()), (60, 60, true));
        // Nothing is known about the history that it continues.
        let more = "master_replid2:dddddddddddddddddddddddddddddddddddddddd";
        let unseen = Reply { history: 'e', offset: 1500, changes: 220, more, ..FIRST };
        assert_eq!(count(&[at(500), unseen]), (0, 170, true));
        assert_eq!(count(&[&own[..], &[unseen]].concat()), (0, 0, true));
    }

    #[test]
    fn replicated_changes_of_a_process_are_not_its_own() {
        let own_since = |replies: &[Reply]| history(replies).own_since();
        let replica = Reply { changes: 20, more: "role:slave\nmaster_host:h", ..FIRST };
        let promoted = Reply { changes: 25, history: 'b', ..FIRST };
        assert_eq!(own_since(&[promoted]), 0);
        assert_eq!(own_since(&[replica, promoted]), 25);
        // A new process that continues another history may have been a replica.
        let continues = "master_replid2:dddddddddddddddddddddddddddddddddddddddd";
        let restarted = Reply { run_id: "x2", changes: 7, history: 'c', ..FIRST };
        assert_eq!(own_since(&[promoted, restarted]), 25);
        assert_eq!(own_since(&[promoted, Reply { more: continues, ..restarted }]), 32);
    }

    #[test]
    fn the_number_of_samples_is_bounded() {
        let mut history = ChangeHistory::default();
        for second in 0..10_000 {
            let reply = Reply { offset: second * 100, changes: second, ..FIRST };
            history.record(&snapshot(&reply), Monotonic::START);
            assert!(history.samples.len() <= MAX_SAMPLES);
        }
        // The last minute is complete, and older samples are sparse.
        let BaselineSearch::Known(recent) = at(&history, 994_050) else { panic!("a baseline") };
        assert_eq!((recent.low, recent.high), (9940, 9941));
        assert!(matches!(at(&history, 900_050), BaselineSearch::Known(_)));
    }
}
