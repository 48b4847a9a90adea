//! Schedule and permission of one data source.

use std::time::Duration;

use snapshot::{Reason, Reply};
use tokio::time::Instant;

use super::replies::RefusedCommand;

/// Data that are read in addition to INFO, with their own cadence, unless the server refuses them.
pub(super) struct Source<T> {
    /// Name of the command, for the log.
    command: &'static str,
    cadence: Duration,
    /// True if several commands read the data. The first one is sent alone, once, to find out
    /// if the server grants them.
    multiple_commands: bool,
    pub(super) access: Access,
    /// Time of the next read; `None` is at once.
    pub(super) next_at: Option<Instant>,
    /// Last data.
    pub(super) last: Option<T>,
}

/// Permission to send a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Unknown,
    Granted,
    Refused,
}

impl<T> Source<T> {
    /// Creates a source that one command reads.
    pub(super) fn new(command: &'static str, cadence: Duration) -> Self {
        Source {
            command,
            cadence,
            multiple_commands: false,
            access: Access::Unknown,
            next_at: None,
            last: None,
        }
    }

    /// Creates a source that several commands read.
    pub(super) fn of_multiple_commands(command: &'static str, cadence: Duration) -> Self {
        Source { multiple_commands: true, ..Source::new(command, cadence) }
    }

    /// Returns true if the data should be read now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.access != Access::Refused && self.next_at.is_none_or(|next_at| next_at <= now)
    }

    /// Updates the schedule and the permission from a reply. Returns the command if it was refused.
    pub(super) fn update(&mut self, reply: &Reply, now: Instant) -> Option<RefusedCommand> {
        self.next_at = Some(now + self.cadence);
        let Some(error) = reply.error() else {
            if self.multiple_commands && self.access == Access::Unknown {
                self.next_at = None;
            }
            self.access = Access::Granted;
            return None;
        };
        if !matches!(error.reason(), Some(Reason::Noperm | Reason::Unsupported)) {
            return None;
        }
        self.access = Access::Refused;
        Some(RefusedCommand { command: self.command, detail: error.text.clone() })
    }
}
