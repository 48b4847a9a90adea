//! Fact: refusals and topology commands counted since the exporter started, our own left out.
//!
//! They grow by what the server's figures grew, less what our own commands added: so they neither jump when the exporter restarts nor
//! fall when a server does.

use std::collections::BTreeMap;
use std::sync::Arc;

use snapshot::{CommandStat, CommandStats, ErrorStats, NodeSnapshot, Role};

use crate::model::round::{NodeReply, OwnErrors};
use crate::node::process::ProcessChange;

/// Commands that change a topology: the value of the label `command`, and the name in commandstats.
pub const TOPOLOGY_COMMANDS: [(&str, &str); 10] = [
    ("replicaof", "replicaof"),
    ("slaveof", "slaveof"),
    ("failover", "failover"),
    ("config_set", "config|set"),
    ("config_rewrite", "config|rewrite"),
    ("cluster_failover", "cluster|failover"),
    ("cluster_replicate", "cluster|replicate"),
    ("client_kill", "client|kill"),
    ("debug", "debug"),
    ("shutdown", "shutdown"),
];

/// The most codes with a counter of their own; what scripts make up beyond is counted together.
const MAX_CODES: usize = 128;

/// What was counted on one node since the exporter first saw it.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    errors: BTreeMap<Box<str>, u64>,
    table: bool,
    error_overflow: u64,
    error_replies: Option<u64>,
    counts_topology: bool,
    topology: [u64; TOPOLOGY_COMMANDS.len()],
}

/// What the fact remembers of one node: its counters, and the server's figures as last read.
#[derive(Debug, Default)]
pub(crate) struct CountersTracker {
    counters: Arc<Counters>,
    errors: Option<ErrorStats>,
    error_replies: Option<u64>,
    commands: Option<Arc<CommandStats>>,
}

impl Counters {
    /// Replies by error code; `None` while the server keeps no error table.
    pub fn errors(&self) -> Option<impl Iterator<Item = (&str, u64)>> {
        self.table.then(|| self.errors.iter().map(|(code, total)| (&**code, *total)))
    }

    /// Replies whose code had no place in the table; `None` while the server keeps none.
    pub fn error_overflow(&self) -> Option<u64> {
        self.table.then_some(self.error_overflow)
    }

    /// All error replies; `None` where the server does not count them.
    pub fn error_replies(&self) -> Option<u64> {
        self.error_replies
    }

    /// Topology commands that succeeded: label and count. None before it is known that the node is no Sentinel.
    pub fn topology(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TOPOLOGY_COMMANDS
            .iter()
            .filter(|_| self.counts_topology)
            .zip(self.topology)
            .map(|((label, _), total)| (*label, total))
    }
}

// === impl Memory ===

impl CountersTracker {
    pub(crate) fn observe(&mut self, answer: &NodeReply, succession: ProcessChange) {
        let snapshot = &*answer.snapshot;
        match succession {
            ProcessChange::Same => {}
            ProcessChange::Restarted => self.restart(),
            ProcessChange::Replaced => {
                *self = CountersTracker {
                    counters: Arc::clone(&self.counters),
                    ..CountersTracker::default()
                }
            }
        }
        if !self.counters.counts_topology
            && matches!(snapshot.replication.role, Some(Role::Master | Role::Replica))
        {
            Arc::make_mut(&mut self.counters).counts_topology = true;
        }
        self.count_errors(&snapshot.errors, &answer.own_errors);
        self.count_replies(snapshot, &answer.own_errors);
        if answer.commands_read {
            self.count_commands(snapshot);
        }
    }

    pub(crate) fn view(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// A new process counts from zero, so all that it shows is new.
    fn restart(&mut self) {
        self.errors = Some(ErrorStats::Unsupported);
        self.error_replies = Some(0);
        self.commands = Some(Arc::default());
    }

    fn count_errors(&mut self, now: &ErrorStats, own: &OwnErrors) {
        let ErrorStats::Counts { by_code, overflow } = now else {
            if self.counters.table {
                Arc::make_mut(&mut self.counters).table = false;
            }
            self.errors = Some(now.clone());
            return;
        };
        if !self.counters.table {
            let counters = Arc::make_mut(&mut self.counters);
            counters.table = true;
            for code in ErrorStats::WATCHED {
                counters.errors.entry(code.into()).or_default();
            }
        }
        if self.errors.as_ref() == Some(now) {
            return;
        }
        // Without a table before there is nothing to compare with: at first sight nothing is new, after a wipe everything is.
        let first_sight = self.errors.is_none();
        let before = self.errors.take().unwrap_or_default();
        let counters = Arc::make_mut(&mut self.counters);
        for (code, count) in by_code {
            let own = own.get(code).copied().unwrap_or_default();
            let grown = if first_sight {
                0
            } else {
                increase(before.count(code).unwrap_or_default(), *count).saturating_sub(own)
            };
            counters.add_error(code, grown);
        }
        if !first_sight {
            let overflowed =
                if let ErrorStats::Counts { overflow, .. } = before { overflow } else { 0 };
            counters.error_overflow += increase(overflowed, *overflow);
        }
        self.errors = Some(now.clone());
    }

    fn count_replies(&mut self, snapshot: &NodeSnapshot, own: &OwnErrors) {
        let now = snapshot.fields.count("total_error_replies");
        if now == self.error_replies && now.is_some() == self.counters.error_replies.is_some() {
            return;
        }
        let grown = match (self.error_replies, now) {
            (Some(before), Some(now)) => increase(before, now).saturating_sub(own.values().sum()),
            _ => 0,
        };
        self.error_replies = now;
        let counters = Arc::make_mut(&mut self.counters);
        counters.error_replies = now.map(|_| counters.error_replies.unwrap_or_default() + grown);
    }

    fn count_commands(&mut self, snapshot: &NodeSnapshot) {
        let Some(now) = &snapshot.commands else { return };
        if let Some(before) = &self.commands {
            for (index, (_, name)) in TOPOLOGY_COMMANDS.iter().enumerate() {
                let grown = increase(succeeded(before, name), succeeded(now, name));
                if grown > 0 {
                    Arc::make_mut(&mut self.counters).topology[index] += grown;
                }
            }
        }
        self.commands = Some(Arc::clone(now));
    }
}

impl Counters {
    /// How often the node was told whom to follow.
    pub(crate) fn told_to_follow(&self) -> u64 {
        self.topology()
            .filter(|(command, _)| ["replicaof", "slaveof"].contains(command))
            .map(|(_, total)| total)
            .sum()
    }

    fn add_error(&mut self, code: &str, grown: u64) {
        if let Some(total) = self.errors.get_mut(code) {
            *total += grown;
        } else if self.errors.len() < MAX_CODES {
            self.errors.insert(code.into(), grown);
        } else {
            self.error_overflow += grown;
        }
    }
}

/// Whether any topology command ran between two readings of one process.
pub fn topology_moved(before: &CommandStats, now: &CommandStats) -> bool {
    TOPOLOGY_COMMANDS.iter().any(|(_, name)| succeeded(before, name) != succeeded(now, name))
}

fn succeeded(stats: &CommandStats, name: &str) -> u64 {
    stats.get(name).map_or(0, CommandStat::succeeded)
}

/// What a server's counter grew by. One that fell was reset, and counted up to `now` since.
pub(crate) fn increase(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}
