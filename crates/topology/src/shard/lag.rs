//! Fact: how far each replica is behind the primary: in bytes, in seconds, and how old its data is.
//!
//! Offsets of one history count the same stream on every node. When the primary's history reached a replica's offset is looked up in
//! what was seen of it, so lag does not vanish with the link.

use std::collections::VecDeque;
use std::time::Duration;

use snapshot::{Replication, Role};

use crate::model::view::NodeView;

/// The most offsets of the primary that are remembered. When there are more, every other of the older half is dropped, so that what is
/// remembered reaches back ever further, ever more coarsely.
const MAX_OFFSETS: usize = 256;

/// How far a replica is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lag {
    /// Replication stream of the primary that it has not applied, bytes. `None` unless both answer and share a history.
    pub bytes: Option<u64>,
    /// Time since the primary's stream passed what the replica applied; zero when it has applied all.
    pub behind: Option<Duration>,
    /// Time since the primary's history last equalled the replica's data; goes on rising while the primary is away.
    pub age: Option<Duration>,
}

/// What the fact remembers: offsets of the primary, with the monotonic time at which they were seen.
#[derive(Debug, Default)]
pub(crate) struct LagTracker {
    replid: Option<Box<str>>,
    /// The history that this one continues, and the offset up to which it does.
    continued: Option<(Box<str>, u64)>,
    offsets: VecDeque<(Duration, u64)>,
}

impl LagTracker {
    /// Takes up the primary's answer of this round.
    pub(crate) fn learn(&mut self, primary: &Replication, elapsed: Duration) {
        let (Some(replid), Some(offset)) = (&primary.replid, primary.offset) else { return };
        if self.replid.as_ref() != Some(replid) {
            let continued = primary.replid2.clone().zip(primary.second_offset);
            match &continued {
                Some((id, end)) if self.replid.as_ref() == Some(id) => {
                    self.offsets.retain(|(_, offset)| offset < end);
                }
                _ => self.offsets.clear(),
            }
            self.replid = Some(replid.clone());
            self.continued = continued;
        }
        // A history does not go back: an offset that does is of another one.
        if self.offsets.back().is_some_and(|(_, last)| offset < *last) {
            self.offsets.clear();
        }
        self.offsets.push_back((elapsed, offset));
        if self.offsets.len() > MAX_OFFSETS {
            let mut index = 0;
            self.offsets.retain(|_| {
                index += 1;
                index > MAX_OFFSETS / 2 || index % 2 == 1
            });
        }
    }

    /// How far a replica is behind. `answers` says that the primary answered in this round, or was silent for a moment only.
    pub(crate) fn of(&self, node: &NodeView, elapsed: Duration, answers: bool) -> Lag {
        let Some(replica) = node.snapshot().map(|snapshot| &snapshot.replication) else {
            return Lag::default();
        };
        let Some(offset) = replica
            .offset
            .filter(|offset| replica.role == Some(Role::Replica) && self.covers(replica, *offset))
        else {
            return Lag::default();
        };
        let Some((last_seen, last)) = self.offsets.back().copied() else { return Lag::default() };
        let bytes = last.saturating_sub(offset);
        let reached = if bytes == 0 { last_seen } else { self.passed(offset) };
        let age = elapsed.saturating_sub(reached);
        let behind = if bytes == 0 { Duration::ZERO } else { age };
        Lag { bytes: answers.then_some(bytes), behind: answers.then_some(behind), age: Some(age) }
    }

    fn covers(&self, replica: &Replication, offset: u64) -> bool {
        let Some(id) = &replica.replid else { return false };
        let continued = self
            .continued
            .as_ref()
            .is_some_and(|(continued, end)| continued == id && offset < *end);
        self.replid.as_ref() == Some(id) || continued
    }

    /// When the primary's history passed an offset; between two sightings in proportion.
    fn passed(&self, offset: u64) -> Duration {
        let after = self.offsets.partition_point(|(_, seen)| *seen <= offset);
        let Some((end, to)) = self.offsets.get(after).copied() else {
            return self.offsets.back().map_or(Duration::ZERO, |(at, _)| *at);
        };
        // Behind everything that is remembered: at least as old as that.
        let Some((begin, from)) =
            after.checked_sub(1).and_then(|before| self.offsets.get(before)).copied()
        else {
            return end;
        };
        begin
            + end.saturating_sub(begin).mul_f64((offset - from) as f64 / (to - from).max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(offset: u64) -> Replication {
        Replication {
            role: Some(Role::Master),
            replid: Some("a".repeat(40).into()),
            offset: Some(offset),
            ..Replication::default()
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_reaches_far_back() {
        let mut memory = LagTracker::default();
        for second in 0..10_000 {
            memory.learn(&primary(second * 100), Duration::from_secs(second));
        }
        assert!(memory.offsets.len() <= MAX_OFFSETS, "{}", memory.offsets.len());
        let passed = memory.passed(200_000).as_secs_f64();
        assert!((passed - 2000.0).abs() < 1.0, "{passed}");
        assert_eq!(memory.passed(999_900), Duration::from_secs(9999));
    }

    #[test]
    fn a_history_goes_on_with_the_node_that_took_over() {
        let mut memory = LagTracker::default();
        memory.learn(&primary(100), Duration::from_secs(1));
        memory.learn(&primary(200), Duration::from_secs(2));
        let taken_over = Replication {
            replid: Some("b".repeat(40).into()),
            replid2: Some("a".repeat(40).into()),
            second_offset: Some(151),
            ..primary(300)
        };
        memory.learn(&taken_over, Duration::from_secs(3));
        assert_eq!(
            memory.offsets,
            [(Duration::from_secs(1), 100), (Duration::from_secs(3), 300)],
            "what was not taken over is forgotten"
        );
        memory.learn(&primary(50), Duration::from_secs(4));
        assert_eq!(
            memory.offsets,
            [(Duration::from_secs(4), 50)],
            "another history is another matter"
        );
    }
}
