//! Schedule and permission of one data source.

use std::time::Duration;

use snapshot::{Reason, Reply, ServerError};
use tokio::time::Instant;

use super::replies::RefusedCommand;

/// Time after which a refused command is tried again, if neither the server nor the credentials
/// change before.
const RETRY_REFUSED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Error replies in a row from which on a command counts as refused. The texts differ from system
/// to system, so the outcome decides.
const REFUSED_AFTER_ERRORS: u32 = 2;

/// Longest time until a command is sent again after an error that may concern only one call.
const RETRY_ERROR_AFTER: Duration = Duration::from_secs(60);

/// Time after which a command is sent again with an operand for which the server returned errors.
const RETRY_OPERAND_AFTER: Duration = Duration::from_secs(300);

/// Data that are read in addition to INFO, with their own cadence, unless the server refuses them.
pub(super) struct Source<T> {
    /// Name of the command, for the log.
    command: &'static str,
    cadence: Duration,
    /// True if several commands read the data. The first one is sent alone, once, to find out
    /// if the server grants them.
    multiple_commands: bool,
    access: Access,
    /// Error replies in a row.
    errors: u32,
    /// Time of the next read; `None` is at once.
    pub(super) next_at: Option<Instant>,
    /// Last data.
    pub(super) last: Option<T>,
}

/// Permission to send a command.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Access {
    Unknown,
    Granted,
    Refused {
        /// Code of the error reply.
        code: Box<str>,
        retry_at: Instant,
    },
}

impl<T> Source<T> {
    /// Creates a source that one command reads.
    pub(super) fn new(command: &'static str, cadence: Duration) -> Self {
        Source {
            command,
            cadence,
            multiple_commands: false,
            access: Access::Unknown,
            errors: 0,
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
        match self.access {
            Access::Refused { retry_at, .. } => retry_at <= now,
            _ => self.next_at.is_none_or(|next_at| next_at <= now),
        }
    }

    /// Returns true if the command is not sent now because the server refused it.
    pub(super) fn is_refused(&self, now: Instant) -> bool {
        matches!(self.access, Access::Refused { retry_at, .. } if now < retry_at)
    }

    /// Returns true if the server answered the last command with data.
    pub(super) fn is_granted(&self) -> bool {
        self.access == Access::Granted
    }

    /// Returns the code of the error with which the server refuses the command.
    pub(super) fn refusal(&self) -> Option<&str> {
        match &self.access {
            Access::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Forgets that the server refused the command: another server may grant it. The data is read
    /// at once.
    pub(super) fn allow_again(&mut self) {
        self.access = Access::Unknown;
        self.errors = 0;
        self.next_at = None;
    }

    /// Updates the schedule and the permission from a reply. Returns the command if it was refused
    /// for the first time.
    pub(super) fn update(&mut self, reply: &Reply<'_>, now: Instant) -> Option<RefusedCommand> {
        self.next_at = Some(now + self.cadence);
        let Some(error) = reply.error() else {
            self.errors = 0;
            if self.multiple_commands && self.access != Access::Granted {
                self.next_at = None;
            }
            self.access = Access::Granted;
            return None;
        };
        self.next_at = Some(now + self.cadence.min(RETRY_ERROR_AFTER));
        // A state of the server says nothing about the permission.
        if error.is_temporary() {
            return None;
        }
        self.errors = self.errors.saturating_add(1);
        if self.errors < REFUSED_AFTER_ERRORS && !is_refusal(error) {
            return None;
        }
        let is_new = !matches!(self.access, Access::Refused { .. });
        let code = error.code.as_str().into();
        self.access = Access::Refused { code, retry_at: now + RETRY_REFUSED_AFTER };
        is_new.then(|| RefusedCommand { command: self.command, detail: error.text.clone() })
    }

    /// Updates the permission from a reply to the command with one of several operands, whose
    /// errors `operand` counts. An error that does not state a refusal concerns only this operand.
    /// Returns the command if it was refused for the first time.
    pub(super) fn update_operand(
        &mut self,
        reply: &Reply<'_>,
        operand: &mut OperandAccess,
        now: Instant,
    ) -> Option<RefusedCommand> {
        match reply.error().filter(|error| !is_refusal(error)) {
            None => {
                *operand = OperandAccess::default();
                self.update(reply, now)
            }
            Some(error) => operand
                .count(error, now)
                .then(|| RefusedCommand { command: self.command, detail: error.text.clone() }),
        }
    }
}

/// Error replies to a command with one operand, while the server grants the command itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OperandAccess {
    /// Error replies in a row.
    errors: u32,
    /// Time until which the command is not sent with this operand; `None` until it counts as
    /// refused.
    retry_at: Option<Instant>,
}

impl OperandAccess {
    /// Returns true if the command may be sent with this operand.
    pub(super) fn is_due(self, now: Instant) -> bool {
        self.retry_at.is_none_or(|retry_at| retry_at <= now)
    }

    /// Returns true if the last replies were errors, so that the command is sent less often.
    pub(super) fn is_refused(self) -> bool {
        self.retry_at.is_some()
    }

    /// Counts an error. Returns true if the command counts as refused from now on.
    fn count(&mut self, error: &ServerError, now: Instant) -> bool {
        if error.is_temporary() {
            return false;
        }
        self.errors = self.errors.saturating_add(1);
        if self.errors < REFUSED_AFTER_ERRORS {
            return false;
        }
        let is_new = !self.is_refused();
        self.retry_at = Some(now + RETRY_OPERAND_AFTER);
        is_new
    }
}

/// Returns true if an error states that the user may not run the command, or that the server does
/// not know it.
fn is_refusal(error: &ServerError) -> bool {
    matches!(error.reason(), Some(Reason::Noperm | Reason::Unsupported))
}
