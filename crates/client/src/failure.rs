//! Failures of connections and commands.

use std::fmt;
use std::net::SocketAddr;

use snapshot::{Reason, ServerError, printable};

/// Failure to connect to a server or to read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// Reason, the label `reason` of metrics.
    pub reason: Reason,
    /// Details for the log and for pages. Contains no secret.
    pub detail: String,
    /// Error reply to a command; `None` for other failures. Boxed, because tasks contain several
    /// failures.
    pub counted_error: Option<Box<CountedError>>,
    /// The connection failed within 300 ms after a command was sent.
    pub failed_at_once: bool,
    /// The server closed the connection at once when it received a command, and keeps another one
    /// open on which it receives none. Known only after a probe without TLS.
    pub closes_on_command: bool,
}

/// Error reply that is part of the counters of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedError {
    /// Its code.
    pub code: String,
    /// Address of the server, if it refused the first command of a connection; `None` for other
    /// commands and for Unix sockets.
    pub peer: Option<SocketAddr>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// Maximum length of the details, characters.
const MAX_DETAIL: usize = 512;

impl Failure {
    /// Returns a failure. Shortens long details, and replaces control characters.
    pub fn new(reason: Reason, detail: impl AsRef<str>) -> Self {
        let detail = printable(detail.as_ref(), MAX_DETAIL);
        Failure {
            reason,
            detail,
            counted_error: None,
            failed_at_once: false,
            closes_on_command: false,
        }
    }

    /// Converts an error reply. The reason is [`Reason::Protocol`] if the error has no reason of
    /// its own.
    pub fn refusal(error: &ServerError) -> Self {
        let reason = error.reason().unwrap_or(Reason::Protocol);
        // A server sends these errors when it accepts a connection, and counts none.
        let is_counted = reason != Reason::Maxclients && error.code != "DENIED";
        let counted = || Box::new(CountedError { code: error.code.clone(), peer: None });
        let counted_error = is_counted.then(counted);
        Failure { counted_error, ..Failure::new(reason, &error.text) }
    }

    /// Adds the address of the server.
    pub(crate) fn of_peer(mut self, peer: SocketAddr) -> Self {
        if let Some(error) = &mut self.counted_error {
            error.peer = Some(peer);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_short_and_printable() {
        let failure = Failure::new(Reason::Protocol, format!("one\x1b[2J\n{}", "x".repeat(600)));
        assert!(failure.detail.starts_with("one\u{fffd}[2J\u{fffd}xxx"), "{}", failure.detail);
        assert!(failure.detail.ends_with("xxx..."));
        assert_eq!(failure.detail.chars().count(), MAX_DETAIL);
    }
}
