//! A reply in a form that does not depend on the client library.

use crate::Reason;
use crate::names::{NameKind, is_bounded};

/// A reply of a server to one command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// No value.
    Nil,
    /// An integer.
    Integer(i64),
    /// A status or a bulk string. Invalid UTF-8 is replaced.
    Text(String),
    /// An error reply.
    Error(ServerError),
    /// An array. A map is an array of alternating keys and values.
    Array(Vec<Reply>),
}

/// An error reply of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// Error code: the first word, for example `NOPERM`. Decisions depend on the code, because
    /// texts differ between versions. Empty if the word is too long for a code.
    pub code: String,
    /// The whole text, including the code. For logs and pages.
    pub text: String,
}

impl ServerError {
    /// Parses the text of an error reply, without the leading `-`.
    ///
    /// ```
    /// use snapshot::{Reason, ServerError};
    ///
    /// let error = ServerError::new("NOAUTH Authentication required.");
    /// assert_eq!(error.code, "NOAUTH");
    /// assert_eq!(error.reason(), Some(Reason::Auth));
    /// ```
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let code = text.split(' ').next().filter(|code| is_bounded(NameKind::ErrorCode, code));
        let code = code.unwrap_or_default().to_owned();
        ServerError { code, text }
    }

    /// Returns the reason for a failed poll, if the error means that the server cannot be read.
    ///
    /// Returns `None` for errors that may concern only the refused command.
    pub fn reason(&self) -> Option<Reason> {
        match self.code.as_str() {
            "NOAUTH" | "WRONGPASS" | "DENIED" => Some(Reason::Auth),
            "NOPERM" => Some(Reason::Noperm),
            "BUSY" => Some(Reason::Busy),
            // Redis 5.0 has no code for these errors, so the text must decide.
            "ERR"
                if self.text.contains("invalid password")
                    || self.text.contains("without any password") =>
            {
                Some(Reason::Auth)
            }
            "ERR" if self.text.contains("max number of clients") => Some(Reason::Maxclients),
            "ERR" if self.text.contains("unknown command") => Some(Reason::Unsupported),
            _ => None,
        }
    }
}

impl Reply {
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
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) => items,
            _ => &[],
        }
    }

    /// Returns the keys and values of a map.
    pub fn pairs(&self) -> impl Iterator<Item = (&Reply, &Reply)> {
        self.items().chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
    }

    /// Returns the value of a key in a map.
    pub fn get(&self, name: &str) -> Option<&Reply> {
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
        check("LOADING Redis is loading the dataset in memory", None);
        check("", None);
    }
}
