//! The neutral form of one reply, whatever library or file it came from.

use crate::Reason;

/// One reply of a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// No value.
    Nil,
    /// An integer.
    Integer(i64),
    /// A status or a bulk string. Bytes that are no UTF-8 were replaced.
    Text(String),
    /// The server refused the command.
    Error(ServerError),
    /// Several replies; a map is its keys and values in turn.
    Array(Vec<Reply>),
}

/// A refusal by the server: its code, and the rest of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The first word, for example `NOPERM`. What decides; texts differ between versions.
    pub code: String,
    /// The whole text, for the log only.
    pub text: String,
}

impl ServerError {
    /// Takes the text of an error reply without its leading `-`.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let code = text.split(' ').next().unwrap_or_default().to_owned();
        ServerError { code, text }
    }

    /// What this refusal says about our access to the server, if it says anything: a refusal of one command may be its own affair.
    pub fn reason(&self) -> Option<Reason> {
        match self.code.as_str() {
            "NOAUTH" | "WRONGPASS" | "DENIED" => Some(Reason::Auth),
            "NOPERM" => Some(Reason::Noperm),
            "BUSY" => Some(Reason::Busy),
            // 5.0 knows no code for these two, so here the text must decide.
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
    /// The text of a status or bulk reply.
    pub fn text(&self) -> Option<&str> {
        match self {
            Reply::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer reply.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Reply::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// The replies in an array; none in anything else.
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) => items,
            _ => &[],
        }
    }

    /// The names and values of a map, which is an array of them in turn.
    pub fn pairs(&self) -> impl Iterator<Item = (&Reply, &Reply)> {
        self.items().chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
    }

    /// The value of a name in a map.
    pub fn get(&self, name: &str) -> Option<&Reply> {
        self.pairs().find(|(found, _)| found.text() == Some(name)).map(|(_, value)| value)
    }

    /// The refusal, if the command was refused.
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
    fn a_refusal_is_told_by_its_code() {
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
