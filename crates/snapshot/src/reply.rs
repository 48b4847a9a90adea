//! A reply in a form that does not depend on the client library.

use std::borrow::Cow;

use crate::Reason;
use crate::names::{NameKind, is_bounded};

/// A reply of a server to one command. Text is borrowed from the received bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply<'a> {
    /// No value.
    Nil,
    /// An integer.
    Integer(i64),
    /// A status or a bulk string. Invalid UTF-8 is replaced.
    Text(Cow<'a, str>),
    /// An error reply.
    Error(ServerError),
    /// An array. A map is an array of alternating keys and values.
    Array(Vec<Reply<'a>>),
}

/// An error reply of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// Error code: the first word, for example `NOPERM`. Decisions depend on the code, because
    /// texts differ between versions. Empty if the word is too long for a code.
    pub code: String,
    /// The whole text, including the code. For logs and pages.
    pub text: String,
    reason: Option<Reason>,
}

/// Maximum length of an error text, characters.
const MAX_ERROR: usize = 256;

/// Returns a text of a server for logs, pages and terminals: without control characters, and with
/// at most `max_length` characters.
///
/// ```
/// assert_eq!(snapshot::printable("ERR \x1b[2J", 20), "ERR \u{fffd}[2J");
/// assert_eq!(snapshot::printable("ERR unknown command", 10), "ERR unk...");
/// ```
pub fn printable(text: &str, max_length: usize) -> String {
    const DOTS: &str = "...";
    let replace =
        |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    if text.char_indices().nth(max_length).is_none() {
        return text.chars().map(replace).collect();
    }
    let start = text.chars().take(max_length.saturating_sub(DOTS.len()));
    start.map(replace).chain(DOTS.chars()).collect()
}

impl ServerError {
    /// Parses the text of an error reply, without the leading `-`. Shortens a long text, and
    /// replaces control characters.
    ///
    /// ```
    /// use snapshot::{Reason, ServerError};
    ///
    /// let error = ServerError::new("NOAUTH Authentication required.");
    /// assert_eq!(error.code, "NOAUTH");
    /// assert_eq!(error.reason(), Some(Reason::Auth));
    /// ```
    pub fn new(text: impl AsRef<str>) -> Self {
        let text = printable(text.as_ref(), MAX_ERROR);
        let code = text.split(' ').next().filter(|code| is_bounded(NameKind::ErrorCode, code));
        let code = code.unwrap_or_default().to_owned();
        let reason = reason(&code, &text);
        ServerError { code, text, reason }
    }

    /// Replaces the text and the code, for example to hide a secret. The reason stays.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        ServerError { reason: self.reason, ..ServerError::new(text) }
    }

    /// Returns the reason for a failed poll, if the error means that the server cannot be read.
    ///
    /// Returns `None` for errors that may concern only the refused command.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Returns true if the error describes a state of the server or its deployment, which may end:
    /// the command itself is permitted.
    ///
    /// ```
    /// use snapshot::ServerError;
    ///
    /// let error = ServerError::new("LOADING Redis is loading the dataset in memory");
    /// assert!(error.is_temporary());
    /// assert!(!ServerError::new("ERR admin permission required").is_temporary());
    /// ```
    pub fn is_temporary(&self) -> bool {
        matches!(
            self.code.as_str(),
            "LOADING"
                | "BUSY"
                | "MASTERDOWN"
                | "CLUSTERDOWN"
                | "TRYAGAIN"
                | "OOM"
                | "MISCONF"
                | "NOREPLICAS"
        )
    }
}

/// Returns the reason for a failed poll that an error with this code and text is.
fn reason(code: &str, text: &str) -> Option<Reason> {
    match code {
        "NOAUTH" | "WRONGPASS" | "DENIED" => Some(Reason::Auth),
        "NOPERM" => Some(Reason::Noperm),
        "BUSY" => Some(Reason::Busy),
        // Redis 5.0 has no code for these errors, so the text must decide.
        "ERR" if text.contains("invalid password") || text.contains("without any password") => {
            Some(Reason::Auth)
        }
        // Servers before 6.0 know no users, so AUTH takes one argument.
        "ERR" if text.contains("wrong number of arguments for 'auth'") => Some(Reason::Auth),
        "ERR" if text.contains("max number of clients") => Some(Reason::Maxclients),
        // Some systems write the words in another case.
        "ERR" if text.to_lowercase().contains("unknown command") => Some(Reason::Unsupported),
        // Envoy has no code.
        _ if text.starts_with("unsupported command") => Some(Reason::Unsupported),
        _ => None,
    }
}

impl Reply<'_> {
    /// Returns the text of a status or bulk string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Reply::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the value of an integer.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Reply::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// Returns the items of an array; an empty slice for other replies.
    pub fn items(&self) -> &[Self] {
        match self {
            Reply::Array(items) => items,
            _ => &[],
        }
    }

    /// Returns the keys and values of a map.
    pub fn pairs(&self) -> impl Iterator<Item = (&Self, &Self)> {
        self.items().chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
    }

    /// Returns the value of a key in a map.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.pairs().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
    }

    /// Returns the error of an error reply.
    pub fn error(&self) -> Option<&ServerError> {
        match self {
            Reply::Error(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, reason: Option<Reason>) {
        assert_eq!(ServerError::new(text).reason(), reason, "{text}");
    }

    #[test]
    fn error_codes_determine_the_reason() {
        check("NOAUTH Authentication required.", Some(Reason::Auth));
        check("WRONGPASS invalid username-password pair or user is disabled.", Some(Reason::Auth));
        check("ERR invalid password", Some(Reason::Auth));
        check(
            "ERR AUTH <password> called without any password configured for the default user.",
            Some(Reason::Auth),
        );
        check(
            "NOPERM this user has no permissions to run the 'info' command",
            Some(Reason::Noperm),
        );
        check("BUSY Redis is busy running a script.", Some(Reason::Busy));
        check("ERR max number of clients reached", Some(Reason::Maxclients));
        check("ERR unknown command 'INFO', with args beginning with: ", Some(Reason::Unsupported));
        check("ERR Unknown Command: info", Some(Reason::Unsupported));
        check("unsupported command 'INFO'", Some(Reason::Unsupported));
        check("ERR wrong number of arguments for 'auth' command", Some(Reason::Auth));
        check("ERR wrong number of arguments for 'info' command", None);
        check("LOADING Redis is loading the dataset in memory", None);
        check("", None);
    }
}
