//! Tracker of replication lag: bytes and seconds behind the primary, and the age of the data.
//!
//! Offsets of one history count the same stream on every node. The tracker stores when the primary
//! reached which offset, and looks up the offset of the replica there. So the age of the data is
//! known even while the link is down.

use std::collections::VecDeque;
use std::time::Duration;

use snapshot::{Replication, Role};

use crate::model::monotonic::Monotonic;
use crate::model::node::{Lag, NodeView};

/// The largest number of stored offsets. Beyond it, every second one of the older half is dropped:
/// older offsets are kept at a lower resolution.
const MAX_OFFSETS: usize = 256;

/// Tracks the offset of the primary.
#[derive(Debug, Default)]
pub(crate) struct LagTracker {
    replid: Option<Box<str>>,
    inherited: Option<InheritedHistory>,
    offsets: VecDeque<OffsetSample>,
}

/// The history that the current one continues.
#[derive(Debug)]
struct InheritedHistory {
    replid: Box<str>,
    /// Offset at which the current history begins.
    end: u64,
}

/// Offset of the primary at one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OffsetSample {
    at: Monotonic,
    offset: u64,
}

impl LagTracker {
    /// Processes one reply of the primary. `before` is its reply before that with its time, which
    /// may be that of a replica.
    pub(crate) fn observe(
        &mut self,
        primary: &Replication,
        before: Option<(&Replication, Monotonic)>,
        now: Monotonic,
    ) {
        let (Some(replid), Some(offset)) = (&primary.replid, primary.offset) else { return };
        if self.replid.as_ref() != Some(replid) {
            self.start_history(primary, replid);
        }
        if let Some((before, at)) = before {
            self.add_before(before, at);
        }
        // The offset of a history never falls: a lower one belongs to another history.
        if self.offsets.back().is_some_and(|last| offset < last.offset) {
            self.offsets.clear();
        }
        self.offsets.push_back(OffsetSample { at: now, offset });
        if self.offsets.len() > MAX_OFFSETS {
            let mut position = 0;
            self.offsets.retain(|_| {
                position += 1;
                position > MAX_OFFSETS / 2 || position % 2 == 1
            });
        }
    }

    /// Adds an earlier reply of a node that has become the primary. Without a primary, the offset
    /// of its history grew last when it was a replica. If the node had other data, its present
    /// history began later.
    fn add_before(&mut self, before: &Replication, at: Monotonic) {
        let had_other_data = before.replid.is_some() && before.replid != self.replid;
        let inherited = self.inherited.as_ref().filter(|_| had_other_data);
        let start = inherited.map(|inherited| inherited.end.saturating_sub(1));
        let Some(offset) = self.own_offset(before).or(start) else { return };
        if self.offsets.back().is_none_or(|last| last.at < at && last.offset <= offset) {
            self.offsets.push_back(OffsetSample { at, offset });
        }
    }

    fn start_history(&mut self, primary: &Replication, replid: &str) {
        self.inherited = primary
            .replid2
            .clone()
            .zip(primary.second_offset)
            .map(|(replid, end)| InheritedHistory { replid, end });
        match &self.inherited {
            Some(inherited) if self.replid.as_deref() == Some(&*inherited.replid) => {
                self.offsets.retain(|sample| sample.offset < inherited.end);
            }
            _ => self.offsets.clear(),
        }
        self.replid = Some(replid.into());
    }

    /// Returns the lag of a replica. `has_primary` is false if the primary is unknown or down;
    /// then only the age is known.
    pub(crate) fn lag(&self, node: &NodeView, now: Monotonic, has_primary: bool) -> Lag {
        let Some(last) = self.offsets.back() else { return Lag::default() };
        let Some(offset) = self.replica_offset(node) else { return Lag::default() };
        let bytes = last.offset.saturating_sub(offset);
        let reached = if bytes == 0 { last.at } else { self.reached_at(offset) };
        let age = now.since(reached);
        let behind = if bytes == 0 { Duration::ZERO } else { age };
        Lag {
            bytes: has_primary.then_some(bytes),
            behind: has_primary.then_some(behind),
            age: Some(age),
            changes: None,
        }
    }

    /// Returns the offset of a replica in the history of the primary.
    fn replica_offset(&self, node: &NodeView) -> Option<u64> {
        let replica = &node.snapshot()?.replication;
        self.own_offset(replica).filter(|_| replica.role == Some(Role::Replica))
    }

    /// Returns the offset of a node, if it belongs to the history of the primary.
    fn own_offset(&self, node: &Replication) -> Option<u64> {
        let (offset, replid) = (node.offset?, node.replid.as_ref()?);
        let is_inherited = self
            .inherited
            .as_ref()
            .is_some_and(|inherited| inherited.replid == *replid && offset < inherited.end);
        (self.replid.as_ref() == Some(replid) || is_inherited).then_some(offset)
    }

    /// Returns the time at which the history of the primary passed an offset, interpolated between
    /// two samples.
    fn reached_at(&self, offset: u64) -> Monotonic {
        let after = self.offsets.partition_point(|sample| sample.offset <= offset);
        let Some(end) = self.offsets.get(after) else {
            return self.offsets.back().map_or(Monotonic::START, |last| last.at);
        };
        // The replica is behind all stored offsets: its data is at least that old.
        let Some(begin) = after.checked_sub(1).and_then(|before| self.offsets.get(before)) else {
            return end.at;
        };
        let bytes = (end.offset - begin.offset).max(1);
        let fraction = (offset - begin.offset) as f64 / bytes as f64;
        begin.at + end.at.since(begin.at).mul_f64(fraction)
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

    fn at(second: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(second))
    }

    #[test]
    fn the_number_of_offsets_is_bounded() {
        let mut tracker = LagTracker::default();
        for second in 0..10_000 {
            tracker.observe(&primary(second * 100), None, at(second));
        }
        assert!(tracker.offsets.len() <= MAX_OFFSETS, "{}", tracker.offsets.len());
        let reached = tracker.reached_at(200_000).since_start().as_secs_f64();
        assert!((reached - 2000.0).abs() < 1.0, "{reached}");
        assert_eq!(tracker.reached_at(999_900), at(9999));
    }

    #[test]
    fn a_promoted_node_continues_the_history() {
        let mut tracker = LagTracker::default();
        tracker.observe(&primary(100), None, at(1));
        tracker.observe(&primary(200), None, at(2));
        let promoted = Replication {
            replid: Some("b".repeat(40).into()),
            replid2: Some("a".repeat(40).into()),
            second_offset: Some(151),
            ..primary(300)
        };
        tracker.observe(&promoted, None, at(3));
        assert_eq!(
            tracker.offsets,
            [OffsetSample { at: at(1), offset: 100 }, OffsetSample { at: at(3), offset: 300 }],
            "offsets beyond the takeover are dropped"
        );
        tracker.observe(&primary(50), None, at(4));
        assert_eq!(
            tracker.offsets,
            [OffsetSample { at: at(4), offset: 50 }],
            "another history starts without offsets"
        );
    }
    #[test]
    fn no_lag_begins_while_there_is_no_primary() {
        let mut tracker = LagTracker::default();
        tracker.observe(&primary(100), None, at(1));
        // The node was a replica for a while, and is promoted at offset 100.
        let replica = Replication { role: Some(Role::Replica), ..primary(100) };
        let promoted = Replication {
            replid: Some("b".repeat(40).into()),
            replid2: Some("a".repeat(40).into()),
            second_offset: Some(101),
            ..primary(300)
        };
        tracker.observe(&promoted, Some((&replica, at(40))), at(41));
        assert_eq!(tracker.reached_at(100), at(40));
        assert!(tracker.reached_at(200) > at(40));
    }

    #[test]
    fn a_history_begins_after_a_reply_with_other_data() {
        let mut tracker = LagTracker::default();
        tracker.observe(&primary(100), None, at(1));
        // The node had other data, was synchronized, and was promoted at offset 120.
        let other = Replication { replid: Some("c".repeat(40).into()), ..primary(900) };
        let promoted = Replication {
            replid: Some("b".repeat(40).into()),
            replid2: Some("a".repeat(40).into()),
            second_offset: Some(121),
            ..primary(320)
        };
        tracker.observe(&promoted, Some((&other, at(40))), at(41));
        assert_eq!(tracker.reached_at(120), at(40));
        assert!(tracker.reached_at(220) > at(40));
    }
}
