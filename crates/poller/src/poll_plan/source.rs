//! One thing that is read: at which pace, and whether the server lets us.

use std::time::Duration;

use snapshot::{Reason, Reply};
use tokio::time::Instant;

/// Something that is read beside INFO, at its own pace and for as long as it is not refused.
pub(super) struct Source<T> {
    name: &'static str,
    cadence: Duration,
    /// It takes several commands. The first is sent alone, once, and only shows that the others may be sent.
    several: bool,
    pub(super) access: Access,
    pub(super) due: Option<Instant>,
    pub(super) last: Option<T>,
}

/// Whether a command may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Unknown,
    Granted,
    Refused,
}

impl<T> Source<T> {
    pub(super) fn new(name: &'static str, cadence: Duration) -> Self {
        Source { name, cadence, several: false, access: Access::Unknown, due: None, last: None }
    }

    pub(super) fn of_several(name: &'static str, cadence: Duration) -> Self {
        Source { several: true, ..Source::new(name, cadence) }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.access != Access::Refused && self.due.is_none_or(|due| due <= now)
    }

    /// Learns from a reply whether the command may be used, and when it is due again. Gives the refusal, the first and only time.
    pub(super) fn meet(&mut self, reply: &Reply, now: Instant) -> Option<(&'static str, String)> {
        self.due = Some(now + self.cadence);
        let Some(error) = reply.error() else {
            if self.several && self.access == Access::Unknown {
                self.due = None;
            }
            self.access = Access::Granted;
            return None;
        };
        if !matches!(error.reason(), Some(Reason::Noperm | Reason::Unsupported)) {
            return None;
        }
        self.access = Access::Refused;
        Some((self.name, error.text.clone()))
    }
}
