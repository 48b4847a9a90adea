//! What to read from one node, and when: the cadences, and what was learned of its capabilities.
//!
//! INFO comes first in every batch, so that what our own later commands add to the error counters shows in the next INFO, not in this.

use std::sync::Arc;
use std::time::Duration;

use client::{Command, Failure};
use snapshot::{CommandStats, Config, NodeSnapshot, Reason, Reply, Role};
use tokio::time::Instant;

/// Time between two readings of the statistics by command, while nothing moves.
const COMMANDS_CADENCE: Duration = Duration::from_secs(10);

/// Time between two readings of the CONFIG parameters.
const CONFIG_CADENCE: Duration = Duration::from_secs(60);

/// The CONFIG parameters that are read. The first is asked alone: where it is refused, the others are not asked at all.
const PARAMETERS: [&str; 8] = [
    "replica-serve-stale-data",
    "stop-writes-on-bgsave-error",
    "save",
    "min-replicas-to-write",
    "auto-aof-rewrite-percentage",
    "auto-aof-rewrite-min-size",
    "repl-ping-replica-period",
    "repl-timeout",
];

/// One thing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Info,
    Commands,
    Config(&'static str),
}

/// What was read from one node, and what is due.
pub(super) struct Readings {
    run_id: Option<Box<str>>,
    role: Option<Role>,
    error_replies: Option<u64>,
    commands: Option<Arc<CommandStats>>,
    commands_due: Option<Instant>,
    config: Option<Arc<Config>>,
    config_access: Access,
    config_due: Option<Instant>,
    /// Errors that our own commands met since the last INFO.
    own_errors: Vec<Box<str>>,
}

/// Whether CONFIG may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Unknown,
    Granted,
    Refused,
}

/// What one INFO came to.
pub(super) struct Taken {
    pub(super) snapshot: NodeSnapshot,
    pub(super) own_errors: Vec<Box<str>>,
    pub(super) commands_read: bool,
    /// CONFIG was refused just now, with this text.
    pub(super) config_refused: Option<String>,
}

impl Readings {
    pub(super) fn new() -> Self {
        Readings {
            run_id: None,
            role: None,
            error_replies: None,
            commands: None,
            commands_due: None,
            config: None,
            config_access: Access::Unknown,
            config_due: None,
            own_errors: Vec::new(),
        }
    }

    /// What to read now.
    pub(super) fn due(&self, now: Instant) -> Vec<Reading> {
        let is_due = |due: Option<Instant>| due.is_none_or(|due| due <= now);
        let mut readings = vec![Reading::Info];
        // What else a server may be asked depends on what it is; a Sentinel knows neither of the others.
        if self.role.is_none_or(|role| role == Role::Sentinel) {
            return readings;
        }
        if is_due(self.commands_due) {
            readings.push(Reading::Commands);
        }
        if is_due(self.config_due) {
            match self.config_access {
                Access::Unknown => readings.push(Reading::Config(PARAMETERS[0])),
                Access::Granted => readings.extend(PARAMETERS.map(Reading::Config)),
                Access::Refused => {}
            }
        }
        readings
    }

    /// Takes up the replies to a batch that [`Readings::due`] asked for.
    ///
    /// # Errors
    /// INFO was refused, or its reply is none.
    pub(super) fn take(&mut self, readings: &[Reading], replies: &[Reply], now: Instant) -> Result<Taken, Failure> {
        let info = replies.first().ok_or_else(|| Failure::new(Reason::Protocol, "no reply to INFO"))?;
        if let Some(error) = info.error() {
            self.note_errors(replies);
            return Err(Failure::refusal(error));
        }
        let snapshot = info.text().and_then(NodeSnapshot::from_info);
        let mut snapshot = snapshot.ok_or_else(|| Failure::new(Reason::Protocol, "the reply to INFO is none"))?;
        self.meet(&snapshot);
        let own_errors = std::mem::take(&mut self.own_errors);
        self.note_errors(&replies[1..]);
        let commands_read = self.take_commands(readings, replies, &snapshot, now);
        let config_refused = self.take_config(readings, replies, now);
        snapshot.commands.clone_from(&self.commands);
        snapshot.config.clone_from(&self.config);
        self.error_replies = snapshot.fields.count("total_error_replies");
        self.role = snapshot.replication.role;
        Ok(Taken { snapshot, own_errors, commands_read, config_refused })
    }

    /// Takes up the statistics by command that were read at once, because something changed.
    pub(super) fn take_late_commands(&mut self, taken: &mut Taken, replies: &[Reply], now: Instant) {
        self.note_errors(replies);
        taken.commands_read = self.take_commands(&[Reading::Commands], replies, &taken.snapshot, now);
        taken.snapshot.commands.clone_from(&self.commands);
    }

    /// The statistics by command are worth reading at once: the process or its role changed, and they were not in this batch.
    pub(super) fn commands_overdue(&self, taken: &Taken) -> bool {
        self.commands_due.is_none() && !taken.commands_read && self.role != Some(Role::Sentinel)
    }

    /// A new process may grant what the old one refused, and counts from zero; a new role asks for the reason.
    fn meet(&mut self, snapshot: &NodeSnapshot) {
        if self.run_id != snapshot.identity.run_id {
            *self = Readings { run_id: snapshot.identity.run_id.clone(), role: self.role, ..Readings::new() };
        } else if self.role != snapshot.replication.role {
            self.commands_due = None;
        }
    }

    fn take_commands(&mut self, readings: &[Reading], replies: &[Reply], snapshot: &NodeSnapshot, now: Instant) -> bool {
        let errors = snapshot.fields.count("total_error_replies");
        let errors_moved = self.error_replies.is_some() && self.error_replies != errors;
        if errors_moved {
            self.commands_due = self.commands_due.map(|due| due.min(now));
        }
        let Some(place) = readings.iter().position(|reading| *reading == Reading::Commands) else { return false };
        let Some(text) = replies.get(place).and_then(Reply::text) else {
            self.commands_due = Some(now + COMMANDS_CADENCE);
            return false;
        };
        let commands = CommandStats::parse(text);
        let moved = errors_moved || self.commands.as_ref().is_some_and(|before| topology::topology_moved(before, &commands));
        self.commands_due = Some(if moved { now } else { now + COMMANDS_CADENCE });
        self.commands = Some(Arc::new(commands));
        true
    }

    fn take_config(&mut self, readings: &[Reading], replies: &[Reply], now: Instant) -> Option<String> {
        let replies: Vec<_> =
            readings.iter().zip(replies).filter(|(reading, _)| matches!(reading, Reading::Config(_))).map(|(_, reply)| reply).collect();
        let first = *replies.first()?;
        if let Some(error) = first.error() {
            if matches!(error.reason(), Some(Reason::Noperm | Reason::Unsupported)) {
                self.config_access = Access::Refused;
                self.config = None;
                return Some(error.text.clone());
            }
            self.config_due = Some(now + CONFIG_CADENCE);
            return None;
        }
        let mut config = Config::default();
        for reply in replies {
            config.add(reply);
        }
        // The first parameter alone only shows that the others may be asked, in the next round.
        self.config_due = (self.config_access == Access::Granted).then(|| now + CONFIG_CADENCE);
        self.config_access = Access::Granted;
        self.config = Some(Arc::new(config));
        None
    }

    fn note_errors(&mut self, replies: &[Reply]) {
        self.own_errors.extend(replies.iter().filter_map(Reply::error).map(|error| error.code.as_str().into()));
    }
}

impl Reading {
    pub(super) fn command(self) -> Command {
        match self {
            Reading::Info => Command { name: "INFO", arguments: Vec::new() },
            Reading::Commands => Command { name: "INFO", arguments: vec!["commandstats"] },
            Reading::Config(parameter) => Command { name: "CONFIG", arguments: vec!["GET", parameter] },
        }
    }
}
