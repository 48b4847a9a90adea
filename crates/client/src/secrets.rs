//! Passwords of connections, and their removal from text that a server sent.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

use secrecy::{ExposeSecret, SecretString};
use snapshot::{Reply, ServerError};

use crate::Failure;
use crate::resp::decode_with;

/// Replacement of a password.
const HIDDEN: &str = "***";

/// Minimum length of a password that is replaced in replies other than errors, bytes. A shorter one
/// can be part of a field name, so its replacement could make a valid reply unreadable. It is also
/// the minimum length of the beginning of a password that is replaced at the end of an error.
const MIN_LENGTH: usize = 8;

/// Text after which a server quotes the arguments of an unknown command.
const QUOTED_ARGUMENTS: &str = ", with args beginning with";

/// Number that differs between passwords. It is valid in this process only, and does not reveal the
/// password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordVersion(u64);

impl PasswordVersion {
    /// Returns the number of a password.
    pub fn new(password: &SecretString) -> Self {
        static KEY: LazyLock<std::hash::RandomState> = LazyLock::new(Default::default);
        PasswordVersion(KEY.hash_one(password.expose_secret()))
    }
}

/// The password that a connection sends to its server, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentPassword(Option<Arc<SecretString>>);

impl SentPassword {
    pub(crate) fn new(password: Option<SecretString>) -> Self {
        SentPassword(password.map(Arc::new))
    }

    pub(crate) fn expose(&self) -> Option<&str> {
        self.0.as_ref().map(|password| password.expose_secret())
    }

    pub(crate) fn version(&self) -> Option<PasswordVersion> {
        self.0.as_deref().map(PasswordVersion::new)
    }

    /// Converts a complete reply. The password is replaced in its texts.
    pub(crate) fn decode<'a>(&self, bytes: &'a [u8]) -> Reply<'a> {
        self.hide_in_texts(decode_with(bytes, &|text| self.error(text)))
    }

    /// Converts the text of an error reply. The password is replaced in the text, before that is
    /// shortened. It does not change the reason.
    pub(crate) fn error(&self, text: &str) -> ServerError {
        let text = text.split(QUOTED_ARGUMENTS).next().unwrap_or_default();
        let error = ServerError::new(text);
        match self.hide_in_error(text) {
            Cow::Borrowed(_) => error,
            Cow::Owned(hidden) => error.with_text(&hidden),
        }
    }

    /// Replaces the password in the details of a failure.
    pub(crate) fn hide_in_failure(&self, failure: Failure) -> Failure {
        match self.hide_in_error(&failure.detail) {
            Cow::Borrowed(_) => failure,
            Cow::Owned(detail) => Failure { detail, ..failure },
        }
    }

    /// Replaces the password in the texts of a reply, except in its errors.
    pub(crate) fn hide_in_texts<'a>(&self, reply: Reply<'a>) -> Reply<'a> {
        match reply {
            Reply::Text(text) => Reply::Text(self.hide_long(text)),
            Reply::Array(items) if self.is_long() => {
                Reply::Array(items.into_iter().map(|item| self.hide_in_texts(item)).collect())
            }
            other => other,
        }
    }

    /// Replaces a password that is long enough in a text.
    pub(crate) fn hide_long<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if self.is_long() { self.hide(text) } else { text }
    }

    fn hide<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        match self.expose() {
            Some(password) if !password.is_empty() && text.contains(password) => {
                Cow::Owned(text.replace(password, HIDDEN))
            }
            _ => text,
        }
    }

    /// Replaces the password in an error, and a beginning of it at the end: the server may have
    /// shortened the error.
    fn hide_in_error<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = self.hide(Cow::Borrowed(text));
        let Some(password) = self.expose() else { return text };
        let is_mark = |letter: char| letter.is_ascii_punctuation() || letter == '…';
        let (shown, marks) = text.split_at(text.trim_end_matches(is_mark).len());
        let mut beginnings =
            (MIN_LENGTH..password.len()).rev().filter_map(|end| password.get(..end));
        match beginnings.find_map(|beginning| shown.strip_suffix(beginning)) {
            Some(start) => Cow::Owned(format!("{start}{HIDDEN}{marks}")),
            None => text,
        }
    }

    fn is_long(&self) -> bool {
        self.expose().is_some_and(|password| password.len() >= MIN_LENGTH)
    }
}

#[cfg(test)]
mod tests {
    use snapshot::Reason;

    use super::*;

    fn sent(password: &str) -> SentPassword {
        SentPassword::new(Some(password.into()))
    }

    fn error(password: &str, text: &str) -> ServerError {
        match sent(password).decode(format!("-{text}\r\n").as_bytes()) {
            Reply::Error(error) => error,
            other => panic!("no error: {other:?}"),
        }
    }

    #[test]
    fn a_password_is_hidden_in_every_error() {
        assert_eq!(error("pw", "WRONGPASS pw is wrong").text, "WRONGPASS *** is wrong");
        let quoted = "ERR unknown command `AUTH`, with args beginning with: `rolecall`, `s3cr";
        assert_eq!(error("s3cret", quoted).text, "ERR unknown command `AUTH`");
        let nested = sent("pw").decode(b"*1\r\n*1\r\n-ERR pw is wrong\r\n");
        assert!(!format!("{nested:?}").contains("pw"), "{nested:?}");
        assert_eq!(error("", "ERR no password").text, "ERR no password");
    }

    #[test]
    fn a_shortened_password_is_hidden() {
        let long: String = ('a'..='z').cycle().take(300).collect();
        let text = error(&long, &format!("ERR unknown command 'AUTH u {long}'")).text;
        assert_eq!(text, "ERR unknown command 'AUTH u ***'");
        let late = format!("ERR {} {long}", "x".repeat(240));
        assert!(!error(&long, &late).text.contains("abc"), "it is replaced before the end is cut");
        let cut = error(&long, &format!("ERR unknown command 'AUTH {}...'", &long[..100])).text;
        assert_eq!(cut, "ERR unknown command 'AUTH ***...'");
        assert_eq!(error("with\ttab-character", "ERR with\ttab-character").text, "ERR ***");
    }

    #[test]
    fn a_password_that_is_a_word_of_an_error_keeps_the_reason() {
        let full = error("clients", "ERR max number of clients reached");
        assert_eq!(full.reason(), Some(Reason::Maxclients));
        assert_eq!(full.text, "ERR max number of *** reached");
    }

    #[test]
    fn only_a_long_password_is_hidden_in_other_replies() {
        let reply = b"*1\r\n$29\r\nredis_version:s3cret-password\r\n";
        let text = |text: &'static str| Reply::Array(vec![Reply::Text(text.into())]);
        assert_eq!(sent("s3cret-password").decode(reply), text("redis_version:***"));
        assert_eq!(sent("redis").decode(reply), text("redis_version:s3cret-password"));
    }

    #[test]
    fn versions_of_passwords_differ() {
        let version = |password| sent(password).version();
        assert_eq!(version("one"), version("one"));
        assert_ne!(version("one"), version("two"));
        assert_eq!(SentPassword::default().version(), None);
    }
}
