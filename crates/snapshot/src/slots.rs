//! Sets of hash slots.

/// Number of hash slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// Slots in one word of a set.
const WORD: u16 = 64;

/// A set of hash slots, as a bitmap.
///
/// ```
/// use snapshot::SlotSet;
///
/// let (mut taken, mut new) = (SlotSet::default(), Vec::new());
/// taken.claim((0, 99), &mut new);
/// taken.claim((90, 119), &mut new);
/// assert_eq!(new, [(0, 119)]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSet {
    words: Box<[u64]>,
}

impl Default for SlotSet {
    fn default() -> Self {
        SlotSet { words: vec![0; usize::from(SLOTS / WORD)].into() }
    }
}

impl SlotSet {
    /// Adds the slots from the first to the last one. Appends those that are new to `new`, as
    /// ranges. A range that continues the last one of `new` extends it.
    pub fn claim(&mut self, (first, last): (u16, u16), new: &mut Vec<(u16, u16)>) {
        let last = last.min(SLOTS - 1);
        if first > last {
            return;
        }
        for index in first / WORD..=last / WORD {
            let word = &mut self.words[usize::from(index)];
            let mut free = mask(index, first, last) & !*word;
            *word |= free;
            while free != 0 {
                let start = free.trailing_zeros();
                let length = (free >> start).trailing_ones();
                free &= !(ones(length) << start);
                // Positions in a word fit.
                let start = index * WORD + u16::try_from(start).unwrap_or_default();
                add_range((start, start + u16::try_from(length - 1).unwrap_or_default()), new);
            }
        }
    }
}

/// Returns the bits of a word that belong to a range of slots.
fn mask(index: u16, first: u16, last: u16) -> u64 {
    let begin = index * WORD;
    let from = first.saturating_sub(begin);
    let to = (last - begin).min(WORD - 1);
    ones(u32::from(to - from) + 1) << from
}

/// Returns a word whose lowest bits are set; all of them from 64 on.
fn ones(count: u32) -> u64 {
    1u64.checked_shl(count).map_or(u64::MAX, |bit| bit - 1)
}

/// Appends a range, or extends the last one if this one continues it.
fn add_range((first, last): (u16, u16), ranges: &mut Vec<(u16, u16)>) {
    match ranges.last_mut() {
        Some((_, end)) if *end + 1 == first => *end = last,
        _ => ranges.push((first, last)),
    }
}

/// Sorts ranges of slots and merges those that overlap or touch.
pub(crate) fn merge(ranges: &mut Vec<(u16, u16)>) {
    if !ranges.is_sorted() {
        ranges.sort_unstable();
    }
    ranges.dedup_by(|(first, last), (_, end)| {
        let touches = *first <= end.saturating_add(1);
        if touches {
            *end = (*end).max(*last);
        }
        touches
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn claims_equal_those_of_a_set_of_numbers(
            ranges in proptest::collection::vec((0u16..=SLOTS + 9, 0u16..300), 0..40),
        ) {
            let (mut set, mut numbers) = (SlotSet::default(), BTreeSet::new());
            for (first, length) in ranges {
                let range = (first, first.saturating_add(length));
                let mut new = Vec::new();
                set.claim(range, &mut new);
                let new: Vec<u16> = new.iter().flat_map(|(first, last)| *first..=*last).collect();
                let expected: Vec<u16> = (range.0..=range.1)
                    .filter(|slot| *slot < SLOTS && numbers.insert(*slot))
                    .collect();
                prop_assert_eq!(new, expected);
            }
            let mut free = Vec::new();
            set.claim((0, SLOTS - 1), &mut free);
            let free: usize = free.iter().map(|(first, last)| usize::from(last - first) + 1).sum();
            prop_assert_eq!(free, usize::from(SLOTS) - numbers.len());
        }

        #[test]
        fn merged_ranges_contain_the_same_slots(
            mut ranges in proptest::collection::vec((0u16..2000, 0u16..50), 0..60),
        ) {
            for (first, last) in &mut ranges {
                *last += *first;
            }
            let slots = |ranges: &[(u16, u16)]| -> BTreeSet<u16> {
                ranges.iter().flat_map(|(first, last)| *first..=*last).collect()
            };
            let before = slots(&ranges);
            merge(&mut ranges);
            prop_assert_eq!(slots(&ranges), before);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }
}
