//! Errors of readers.

use std::fmt;

/// A problem that makes a recording unreadable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// Number of the line, counted from 1.
    pub line: usize,
    /// The problem.
    pub problem: String,
    /// Remedy, as a command to the user.
    pub advice: &'static str,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.problem, self.advice)
    }
}

impl std::error::Error for ReadError {}

/// Advice for a line that is damaged.
pub(crate) const DAMAGED: &str =
    "the file is damaged; copy it again, or delete this line and all later ones";

/// Advice for a value that this version does not know.
pub(crate) const NEWER: &str =
    "the file may be written by a newer version of Rolecall; read it with that version";

/// A problem of one line.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) text: String,
    pub(crate) advice: &'static str,
}

impl Problem {
    /// Returns the problem of a damaged line.
    pub(crate) fn damaged(text: impl fmt::Display) -> Self {
        Problem { text: text.to_string(), advice: DAMAGED }
    }

    /// Returns the problem of an unknown value.
    pub(crate) fn unknown(what: &str, value: &str) -> Self {
        Problem { text: format!("unknown {what} {value:?}"), advice: NEWER }
    }

    /// Returns the error of the line with this number.
    pub(crate) fn at(self, line: usize) -> ReadError {
        ReadError { line, problem: self.text, advice: self.advice }
    }
}
