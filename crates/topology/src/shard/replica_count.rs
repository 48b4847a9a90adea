//! Tracker of the number of replicas in the last hour.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::REPLICA_COUNT_WINDOW;
use crate::model::monotonic::Monotonic;

/// Length of the periods for which a maximum is stored.
const PERIOD: Duration = Duration::from_secs(60);

/// Tracks the largest number of replicas in each minute.
#[derive(Debug, Default)]
pub(crate) struct ReplicaCountTracker {
    maxima: VecDeque<PeriodMaximum>,
}

/// The largest number of replicas in one period.
#[derive(Debug, Clone, Copy)]
struct PeriodMaximum {
    begin: Monotonic,
    replicas: usize,
}

impl ReplicaCountTracker {
    /// Processes the number of replicas of a round and returns the largest recent one.
    pub(crate) fn observe(&mut self, replicas: usize, now: Monotonic) -> usize {
        match self.maxima.back_mut() {
            Some(maximum) if now.since(maximum.begin) < PERIOD => {
                maximum.replicas = maximum.replicas.max(replicas);
            }
            _ => self.maxima.push_back(PeriodMaximum { begin: now, replicas }),
        }
        let is_old = |maximum: &PeriodMaximum| now.since(maximum.begin) > REPLICA_COUNT_WINDOW;
        while self.maxima.front().is_some_and(is_old) {
            self.maxima.pop_front();
        }
        self.maxima.iter().map(|maximum| maximum.replicas).max().unwrap_or_default()
    }

    /// Subtracts replicas that were removed on purpose.
    pub(crate) fn remove(&mut self, count: usize) {
        for maximum in &mut self.maxima {
            maximum.replicas = maximum.replicas.saturating_sub(count);
        }
    }
}
