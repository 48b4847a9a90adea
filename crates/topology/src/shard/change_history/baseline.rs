//! Total of a node where its history left that of another one.

use super::{ChangeHistory, ChangeSample};
use crate::shard::branches::{CommonData, CommonEnd};

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
