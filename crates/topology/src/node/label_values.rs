//! Tracker of the values of labels that the server of a node chooses: command names, error codes
//! and percentiles.
//!
//! A server can invent values for ever, and each one becomes a series. The first values, up to the
//! limit, keep their series; the counts of all others are added up under `other`, so that sums stay
//! right.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use snapshot::{CommandLatency, CommandStats, ErrorStats, NodeSnapshot};

use crate::model::counters::TOPOLOGY_COMMANDS;

/// Tracks the values of the labels of one node.
#[derive(Debug, Default)]
pub(crate) struct LabelValuesTracker {
    commands: LabelValues,
    error_codes: LabelValues,
    percentiles: LabelValues,
    /// The last command statistics, as read and as shown.
    last_commands: Option<Limited<CommandStats>>,
    /// The last latencies, as read and as shown.
    last_latencies: Option<Limited<Vec<CommandLatency>>>,
    excess_codes: usize,
}

/// Values of one label so far, up to a limit, as hashes.
#[derive(Debug, Default)]
struct LabelValues(Vec<u64>);

/// Table as it was read, and as it is shown.
#[derive(Debug)]
struct Limited<T> {
    read: Arc<T>,
    shown: Arc<T>,
    /// Number of values that are not shown.
    excess: usize,
}

impl LabelValues {
    /// Returns true if a value is one of the first ones.
    fn admit(&mut self, value: &str, limit: usize) -> bool {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let hash = hasher.finish();
        let Err(position) = self.0.binary_search(&hash) else { return true };
        let is_free = self.0.len() < limit;
        if is_free {
            self.0.insert(position, hash);
        }
        is_free
    }
}

impl LabelValuesTracker {
    /// Returns the snapshot with at most `limit` values of each label over time: the same one
    /// unless the limit is exceeded.
    pub(crate) fn limit(
        &mut self,
        snapshot: &Arc<NodeSnapshot>,
        limit: usize,
    ) -> Arc<NodeSnapshot> {
        let errors = self.limit_errors(&snapshot.errors, limit);
        self.limit_commands(snapshot.commands.as_ref(), limit);
        self.limit_latencies(snapshot.latencies.as_ref(), limit);
        if errors.is_none() && self.hidden_commands() + self.hidden_latencies() == 0 {
            return Arc::clone(snapshot);
        }
        let mut limited = NodeSnapshot::clone(snapshot);
        limited.errors = errors.unwrap_or(limited.errors);
        limited.commands = self.last_commands.as_ref().map(|last| Arc::clone(&last.shown));
        limited.latencies = self.last_latencies.as_ref().map(|last| Arc::clone(&last.shown));
        Arc::new(limited)
    }

    /// Returns the number of values in the last reply that have no series of their own.
    pub(crate) fn excess(&self) -> usize {
        let commands = self.last_commands.as_ref().map_or(0, |last| last.shown.excess());
        commands + self.hidden_latencies() + self.excess_codes
    }

    fn hidden_commands(&self) -> usize {
        self.last_commands.as_ref().map_or(0, |last| last.excess)
    }

    fn hidden_latencies(&self) -> usize {
        self.last_latencies.as_ref().map_or(0, |last| last.excess)
    }

    /// Returns the error counts with the excess added up; `None` without an excess.
    fn limit_errors(&mut self, errors: &ErrorStats, limit: usize) -> Option<ErrorStats> {
        self.excess_codes = 0;
        let ErrorStats::Counts { by_code, overflow } = errors else { return None };
        let mut is_kept = |code: &str| {
            ErrorStats::WATCHED.contains(&code)
                || (code != ErrorStats::OTHER && self.error_codes.admit(code, limit))
        };
        let kept: Vec<bool> = by_code.iter().map(|(code, _)| is_kept(code)).collect();
        self.excess_codes = kept.iter().filter(|kept| !**kept).count();
        if self.excess_codes == 0 {
            return None;
        }
        let (mut shown, mut overflow) = (Vec::new(), *overflow);
        for (entry, is_kept) in by_code.iter().zip(kept) {
            if is_kept {
                shown.push(entry.clone());
            } else {
                overflow = overflow.saturating_add(entry.1);
            }
        }
        Some(ErrorStats::Counts { by_code: shown, overflow })
    }

    fn limit_commands(&mut self, commands: Option<&Arc<CommandStats>>, limit: usize) {
        let Some(read) = commands else {
            self.last_commands = None;
            return;
        };
        if self.last_commands.as_ref().is_some_and(|last| Arc::ptr_eq(&last.read, read)) {
            return;
        }
        let is_needed = |name: &str| {
            name == CommandStats::OTHER || TOPOLOGY_COMMANDS.iter().any(|(_, known)| *known == name)
        };
        let hidden: Vec<_> = read
            .iter()
            .map(|command| command.name)
            .filter(|name| !is_needed(name) && !self.commands.admit(name, limit))
            .collect();
        let shown = if hidden.is_empty() {
            Arc::clone(read)
        } else {
            // The names are sorted, as those of the table are.
            Arc::new(read.limited(|name| hidden.binary_search(&name).is_err()))
        };
        let excess = hidden.len();
        self.last_commands = Some(Limited { read: Arc::clone(read), shown, excess });
    }

    /// Leaves out latencies that exceed the limit. Percentiles cannot be added up.
    fn limit_latencies(&mut self, latencies: Option<&Arc<Vec<CommandLatency>>>, limit: usize) {
        let Some(read) = latencies else {
            self.last_latencies = None;
            return;
        };
        if self.last_latencies.as_ref().is_some_and(|last| Arc::ptr_eq(&last.read, read)) {
            return;
        }
        let mut shown: Vec<CommandLatency> = Vec::with_capacity(read.len());
        let mut excess = 0;
        for command in read.iter() {
            if !self.commands.admit(&command.name, limit) {
                excess += 1;
                continue;
            }
            let mut command = command.clone();
            let listed = command.percentiles.len();
            command.percentiles.retain(|(name, _)| self.percentiles.admit(name, MAX_PERCENTILES));
            excess += listed - command.percentiles.len();
            shown.push(command);
        }
        let shown = if excess == 0 { Arc::clone(read) } else { Arc::new(shown) };
        self.last_latencies = Some(Limited { read: Arc::clone(read), shown, excess });
    }
}

/// Number of percentiles that a node has over time: the server states at most eight at a time.
const MAX_PERCENTILES: usize = 16;

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn snapshot(number: usize) -> Arc<NodeSnapshot> {
        let mut errors = String::from("role:master\n# Errorstats\nerrorstat_READONLY:count=1\n");
        let mut commands = String::from("cmdstat_get:calls=1,usec=1\n");
        for name in number * 10..number * 10 + 10 {
            writeln!(errors, "errorstat_E{name}:count=2").expect("to a string");
            writeln!(commands, "cmdstat_c{name}:calls=2,usec=3").expect("to a string");
        }
        let mut snapshot = NodeSnapshot::from_info(&errors).expect("a snapshot");
        snapshot.commands = Some(Arc::new(CommandStats::parse(&commands)));
        let latency = format!("latency_percentiles_usec_get:p50=1.0,p{number}.5=2.0");
        snapshot.latencies = Some(Arc::new(CommandLatency::parse(&latency)));
        Arc::new(snapshot)
    }

    #[test]
    fn new_values_beyond_the_limit_are_added_up() {
        let mut tracker = LabelValuesTracker::default();
        let first = snapshot(0);
        let shown = tracker.limit(&first, 20);
        assert!(Arc::ptr_eq(&shown, &first) && tracker.excess() == 0);
        for number in 1..100 {
            let read = snapshot(number);
            let shown = tracker.limit(&read, 20);
            let commands = shown.commands.as_ref().expect("commands");
            let calls: u64 = commands.iter().map(|command| command.calls).sum();
            assert_eq!(calls, 1 + 10 * 2, "the sum stays right");
            let ErrorStats::Counts { by_code, overflow } = &shown.errors else {
                panic!("{:?}", shown.errors)
            };
            let errors: u64 = by_code.iter().map(|(_, count)| count).sum();
            assert_eq!((errors + overflow, shown.errors.count("READONLY")), (21, Some(1)));
        }
        let names = [&tracker.commands, &tracker.error_codes, &tracker.percentiles];
        assert_eq!(names.map(|values| values.0.len()), [20, 20, 16]);
        // Ten commands and codes, and one percentile.
        assert_eq!(tracker.excess(), 10 + 10 + 1);
        assert_eq!(tracker.limit(&first, 20).commands, first.commands, "the first values stay");
    }

    #[test]
    fn watched_codes_and_topology_commands_always_have_series() {
        let mut tracker = LabelValuesTracker::default();
        let mut late = NodeSnapshot::from_info(
            "role:master\n# Errorstats\nerrorstat_NOAUTH:count=4\nerrorstat_X:count=1\n",
        )
        .expect("a snapshot");
        let commands = "cmdstat_replicaof:calls=3,usec=1\ncmdstat_x:calls=1,usec=1\n";
        late.commands = Some(Arc::new(CommandStats::parse(commands)));
        let shown = tracker.limit(&Arc::new(late), 0);
        let calls = |name| Some(shown.commands.as_ref()?.get(name)?.calls);
        assert_eq!((calls("replicaof"), calls("x"), calls("other")), (Some(3), None, Some(1)));
        assert_eq!(shown.errors.count("NOAUTH"), Some(4));
    }
}
