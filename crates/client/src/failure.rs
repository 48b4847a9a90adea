//! Why a server could not be read.

use std::fmt;

use fred::error::{Error, ErrorKind};
use snapshot::{Reason, ServerError};

/// Why a server could not be reached or read. The detail is for the log and the page of the node, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// Its class; what metrics show.
    pub reason: Reason,
    /// What happened, in words.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// After this a server quotes what it was sent.
const QUOTED: &str = ", with args beginning with";

impl Failure {
    /// A failure of this class.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        // A server that does not know AUTH quotes the password.
        if let Some(quoted) = detail.find(QUOTED) {
            detail.truncate(quoted);
        }
        Failure { reason, detail }
    }

    /// A refusal by the server, where it means that the server cannot be read at all.
    pub fn refusal(error: &ServerError) -> Self {
        Failure::new(error.reason().unwrap_or(Reason::Protocol), error.text.clone())
    }

    /// fred keeps an I/O error only as its Debug text, so here text must be matched; the version of fred is pinned for it.
    pub(crate) fn from_fred(error: &Error) -> Self {
        let details = error.details();
        let reason = match error.kind() {
            ErrorKind::Timeout => Reason::Timeout,
            ErrorKind::Auth => Reason::Auth,
            ErrorKind::Tls => Reason::Tls,
            ErrorKind::Protocol | ErrorKind::Parse => Reason::Protocol,
            ErrorKind::Canceled => Reason::Closed,
            ErrorKind::IO => from_debug(details).unwrap_or(Reason::Closed),
            _ => ServerError::new(details).reason().unwrap_or(Reason::Protocol),
        };
        Failure::new(reason, message(details))
    }
}

/// The message inside the Debug text of an I/O error, if it is one.
fn message(details: &str) -> &str {
    let of_system = details
        .split_once("message: \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(message, _)| message);
    let of_library =
        || details.strip_prefix("Custom {")?.split_once(", error: ")?.1.strip_suffix(" }");
    of_system.or_else(of_library).unwrap_or(details)
}

fn from_debug(text: &str) -> Option<Reason> {
    const CLASSES: [(&str, Reason); 16] = [
        ("ConnectionRefused", Reason::Refused),
        ("NotFound", Reason::Refused),
        ("ConnectionReset", Reason::Reset),
        ("BrokenPipe", Reason::Reset),
        ("ConnectionAborted", Reason::Reset),
        ("HostUnreachable", Reason::Unreachable),
        ("NetworkUnreachable", Reason::Unreachable),
        ("failed to lookup address", Reason::Dns),
        ("TimedOut", Reason::Timeout),
        ("InvalidCertificate", Reason::Tls),
        ("AlertReceived", Reason::Tls),
        ("corrupt message", Reason::Tls),
        ("InvalidMessage", Reason::Tls),
        ("Too many open files", Reason::Local),
        ("AddrNotAvailable", Reason::Local),
        ("PermissionDenied", Reason::Local),
    ];
    CLASSES.iter().find(|(class, _)| text.contains(class)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ErrorKind, details: &'static str, reason: Reason, detail: &str) {
        assert_eq!(Failure::from_fred(&Error::new(kind, details)), Failure::new(reason, detail));
    }

    #[test]
    fn errors_of_fred_are_told_apart() {
        let refused = r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#;
        check(ErrorKind::IO, refused, Reason::Refused, "Connection refused");
        check(
            ErrorKind::IO,
            r#"Os { code: 24, kind: Uncategorized, message: "Too many open files" }"#,
            Reason::Local,
            "Too many open files",
        );
        let unknown = "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }";
        check(ErrorKind::IO, unknown, Reason::Tls, "InvalidCertificate(UnknownIssuer)");
        check(ErrorKind::IO, "Connection closed.", Reason::Closed, "Connection closed.");
        check(ErrorKind::Canceled, "Canceled.", Reason::Closed, "Canceled.");
        check(ErrorKind::Timeout, "Request timed out.", Reason::Timeout, "Request timed out.");
        check(ErrorKind::Protocol, "Decode Error: x", Reason::Protocol, "Decode Error: x");
        check(
            ErrorKind::Unknown,
            "ERR max number of clients reached",
            Reason::Maxclients,
            "ERR max number of clients reached",
        );
        check(ErrorKind::Unknown, "SOMETHING else", Reason::Protocol, "SOMETHING else");
        let quotes = "ERR unknown command `AUTH`, with args beginning with: `rolecall`, `s3cret`, ";
        check(ErrorKind::Unknown, quotes, Reason::Unsupported, "ERR unknown command `AUTH`");
    }
}
