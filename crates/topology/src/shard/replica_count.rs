//! Fact: how many replicas there are, against how many there should be or lately were.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::REPLICAS_REMEMBERED;

/// How finely the past is remembered.
const STEP: Duration = Duration::from_secs(60);

/// What the fact remembers: the most replicas seen at a time, by the minute.
#[derive(Debug, Default)]
pub(crate) struct ReplicaCountTracker {
    highest: VecDeque<(Duration, usize)>,
}

impl ReplicaCountTracker {
    /// Takes up a count, and gives the highest of late.
    pub(crate) fn observe(&mut self, count: usize, elapsed: Duration) -> usize {
        match self.highest.back_mut() {
            Some((begun, highest)) if elapsed.saturating_sub(*begun) < STEP => {
                *highest = (*highest).max(count);
            }
            _ => self.highest.push_back((elapsed, count)),
        }
        while self
            .highest
            .front()
            .is_some_and(|(begun, _)| elapsed.saturating_sub(*begun) > REPLICAS_REMEMBERED)
        {
            self.highest.pop_front();
        }
        self.highest.iter().map(|(_, count)| *count).max().unwrap_or_default()
    }

    /// So many were taken away on purpose, and are not missed.
    pub(crate) fn removed(&mut self, count: usize) {
        for (_, highest) in &mut self.highest {
            *highest = highest.saturating_sub(count);
        }
    }
}
