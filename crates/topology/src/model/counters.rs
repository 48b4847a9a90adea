//! Errors and topology commands of a node, counted since the exporter started.

use std::collections::BTreeMap;

use snapshot::{CommandStat, CommandStats, ErrorStats};

/// Label of the command CLIENT PAUSE.
pub(crate) const CLIENT_PAUSE: &str = "client_pause";

/// Commands that change the topology or the configuration, or pause clients: the value of the label
/// `command`, and the name in INFO commandstats.
pub const TOPOLOGY_COMMANDS: [(&str, &str); 11] = [
    ("replicaof", "replicaof"),
    ("slaveof", "slaveof"),
    ("failover", "failover"),
    ("config_set", "config|set"),
    ("config_rewrite", "config|rewrite"),
    ("cluster_failover", "cluster|failover"),
    ("cluster_replicate", "cluster|replicate"),
    ("client_kill", "client|kill"),
    (CLIENT_PAUSE, "client|pause"),
    ("debug", "debug"),
    ("shutdown", "shutdown"),
];

/// Errors and topology commands of a node since the exporter first saw it, without those of
/// Rolecall itself.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    errors: BTreeMap<Box<str>, u64>,
    /// The server has an error table.
    pub(crate) has_error_table: bool,
    error_overflow: u64,
    pub(crate) error_replies: Option<u64>,
    /// The last reply had command statistics, and was not that of a Sentinel.
    pub(crate) counts_topology: bool,
    pub(crate) topology: [u64; TOPOLOGY_COMMANDS.len()],
}

impl Counters {
    /// Returns the error replies by code; `None` while the server has no error table. Those whose
    /// codes have no counter of their own are last, with the code `other`, if there are any.
    pub fn errors(&self) -> Option<impl Iterator<Item = (&str, u64)>> {
        let other = (self.error_overflow > 0).then_some((ErrorStats::OTHER, self.error_overflow));
        self.has_error_table
            .then(|| self.errors.iter().map(|(code, total)| (&**code, *total)).chain(other))
    }

    /// Returns the number of error replies with one of these codes; `None` while the server has no
    /// error table.
    pub(crate) fn errors_with(&self, codes: &[&str]) -> Option<u64> {
        let totals = codes.iter().filter_map(|code| self.errors.get(*code).copied());
        self.has_error_table.then(|| saturating_sum(totals))
    }

    /// Returns the error replies whose codes have no counter of their own; `None` while the server
    /// has no error table.
    pub fn error_overflow(&self) -> Option<u64> {
        self.has_error_table.then_some(self.error_overflow)
    }

    /// Returns all error replies; `None` if the server does not count them.
    pub fn error_replies(&self) -> Option<u64> {
        self.error_replies
    }

    /// Returns true if the last reply had command statistics, and was not that of a Sentinel.
    pub fn counts_topology(&self) -> bool {
        self.counts_topology
    }

    /// Returns the successful topology commands so far: label and count. The counts never fall,
    /// also while the command statistics are not read.
    pub fn topology(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TOPOLOGY_COMMANDS.iter().zip(self.topology).map(|((label, _), total)| (*label, total))
    }

    /// Returns the number of successful commands with this label.
    pub(crate) fn topology_commands(&self, label: &str) -> u64 {
        self.topology().find(|(command, _)| *command == label).map_or(0, |(_, total)| total)
    }

    /// Returns the number of REPLICAOF and SLAVEOF commands.
    pub(crate) fn replicaof_commands(&self) -> u64 {
        let commands =
            self.topology().filter(|(command, _)| ["replicaof", "slaveof"].contains(command));
        saturating_sum(commands.map(|(_, total)| total))
    }

    /// Adds error replies with one code.
    pub(crate) fn add_errors(&mut self, code: &str, count: u64) {
        let total = match self.errors.get_mut(code) {
            Some(total) => total,
            None => self.errors.entry(code.into()).or_default(),
        };
        *total = total.saturating_add(count);
    }

    /// Adds error replies whose codes are not counted separately.
    pub(crate) fn add_overflow(&mut self, count: u64) {
        self.error_overflow = self.error_overflow.saturating_add(count);
    }

    /// Adds counters for error codes that are always shown.
    pub(crate) fn watch_errors(&mut self, codes: impl IntoIterator<Item = &'static str>) {
        for code in codes {
            self.errors.entry(code.into()).or_default();
        }
    }
}

/// Returns true if a topology command succeeded between two readings from one process.
pub fn topology_changed(before: &CommandStats, now: &CommandStats) -> bool {
    TOPOLOGY_COMMANDS.iter().any(|(_, name)| succeeded(before, name) != succeeded(now, name))
}

/// Returns the number of successful calls of a command.
pub(crate) fn succeeded(stats: &CommandStats, name: &str) -> u64 {
    stats.get(name).map_or(0, CommandStat::succeeded)
}

/// Returns the growth of a counter. A counter that fell was reset to zero in between.
pub(crate) fn increase(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

/// Returns the sum of numbers that servers report. They may be of any size.
pub(crate) fn saturating_sum(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}
