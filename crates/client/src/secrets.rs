//! Removes passwords from text that a server sent.

use std::borrow::Cow;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use snapshot::{Reply, ServerError};

/// Replacement of a password.
const HIDDEN: &str = "***";

/// Minimum length of a password that is replaced in replies other than errors, bytes. A shorter one
/// can be part of a field name, so its replacement could make a valid reply unreadable.
const MIN_LENGTH: usize = 8;

/// Text after which a server quotes the arguments of an unknown command. It may shorten them, so
/// that the replacement of the password fails.
const QUOTED_ARGUMENTS: &str = ", with args beginning with";

/// The password that a connection sent to its server, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentPassword(Option<Arc<SecretString>>);

impl SentPassword {
    pub(crate) fn new(password: Option<SecretString>) -> Self {
        let is_used = |password: &SecretString| !password.expose_secret().is_empty();
        SentPassword(password.filter(is_used).map(Arc::new))
    }

    /// Replaces the password in a text.
    pub(crate) fn hide<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        match &self.0 {
            Some(password) if text.contains(password.expose_secret()) => {
                Cow::Owned(text.replace(password.expose_secret(), HIDDEN))
            }
            _ => text,
        }
    }

    /// Replaces the password in a reply.
    pub(crate) fn hide_in_reply<'a>(&self, reply: Reply<'a>) -> Reply<'a> {
        match reply {
            Reply::Error(error) => {
                let text = error.text.split(QUOTED_ARGUMENTS).next().unwrap_or_default();
                Reply::Error(ServerError::new(self.hide(Cow::Borrowed(text))))
            }
            Reply::Text(text) if self.is_long() => Reply::Text(self.hide(text)),
            Reply::Array(items) if self.0.is_some() => {
                Reply::Array(items.into_iter().map(|item| self.hide_in_reply(item)).collect())
            }
            other => other,
        }
    }

    fn is_long(&self) -> bool {
        self.0.as_ref().is_some_and(|password| password.expose_secret().len() >= MIN_LENGTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(password: &str, reply: Reply<'_>) -> String {
        let password = SentPassword::new(Some(password.into()));
        match password.hide_in_reply(reply) {
            Reply::Error(error) => error.text,
            Reply::Text(text) => text.into_owned(),
            other => format!("{other:?}"),
        }
    }

    fn error(text: &str) -> Reply<'_> {
        Reply::Error(ServerError::new(text))
    }

    #[test]
    fn a_password_is_hidden_in_every_error() {
        assert_eq!(hidden("pw", error("WRONGPASS pw is wrong")), "WRONGPASS *** is wrong");
        let quoted = "ERR unknown command `AUTH`, with args beginning with: `rolecall`, `s3cr";
        assert_eq!(hidden("s3cret", error(quoted)), "ERR unknown command `AUTH`");
        let nested = Reply::Array(vec![Reply::Array(vec![error("ERR s3cret is wrong")])]);
        assert!(!hidden("s3cret", nested).contains("s3cret"));
    }

    #[test]
    fn only_a_long_password_is_hidden_in_other_replies() {
        let info = "redis_version:s3cret-password";
        assert_eq!(hidden("s3cret-password", Reply::Text(info.into())), "redis_version:***");
        assert_eq!(hidden("redis", Reply::Text(info.into())), info);
    }
}
