//! Failures of connections and commands.

use std::fmt;

use fred::error::{Error, ErrorKind};
use snapshot::{Reason, ServerError};

/// Failure to connect to a server or to read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// Reason, the label `reason` of metrics.
    pub reason: Reason,
    /// Details for the log and for pages. Contains no secret.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// Text after which a server quotes the arguments of an unknown command.
const QUOTED_ARGUMENTS: &str = ", with args beginning with";

impl Failure {
    /// Returns a failure. Removes arguments that the server quotes from the details.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        // A server that does not know AUTH quotes the password.
        if let Some(end) = detail.find(QUOTED_ARGUMENTS) {
            detail.truncate(end);
        }
        Failure { reason, detail }
    }

    /// Converts an error reply. The reason is [`Reason::Protocol`] if the error has no reason of
    /// its own.
    pub fn refusal(error: &ServerError) -> Self {
        Failure::new(error.reason().unwrap_or(Reason::Protocol), error.text.clone())
    }

    /// Converts an error of fred.
    ///
    /// fred keeps only the Debug text of an I/O error, so the text must be matched. The version of
    /// fred is pinned for this reason.
    pub(crate) fn from_fred(error: &Error) -> Self {
        let details = error.details();
        let reason = match error.kind() {
            ErrorKind::Timeout => Reason::Timeout,
            ErrorKind::Auth => Reason::Auth,
            ErrorKind::Tls => Reason::Tls,
            ErrorKind::Protocol | ErrorKind::Parse => Reason::Protocol,
            ErrorKind::Canceled => Reason::Closed,
            ErrorKind::IO => reason_of_io_error(details).unwrap_or(Reason::Closed),
            _ => ServerError::new(details).reason().unwrap_or(Reason::Protocol),
        };
        Failure::new(reason, message(details))
    }
}

/// Returns the message in the Debug text of an I/O error; other texts unchanged.
fn message(details: &str) -> &str {
    let os_message = details
        .split_once("message: \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(message, _)| message);
    let library_message =
        || details.strip_prefix("Custom {")?.split_once(", error: ")?.1.strip_suffix(" }");
    os_message.or_else(library_message).unwrap_or(details)
}

/// Returns the reason for the Debug text of an I/O error.
fn reason_of_io_error(text: &str) -> Option<Reason> {
    const REASONS: [(&str, Reason); 16] = [
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
    REASONS.iter().find(|(part, _)| text.contains(part)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ErrorKind, details: &'static str, reason: Reason, detail: &str) {
        assert_eq!(Failure::from_fred(&Error::new(kind, details)), Failure::new(reason, detail));
    }

    #[test]
    fn errors_of_fred_determine_reason_and_details() {
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
