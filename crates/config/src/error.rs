//! Errors in the configuration. Each states the location, the mistake and the remedy, without
//! secrets.

use std::fmt::Display;

use figment::error::{Actual, Kind};
use snapshot::printable;

/// An error in the configuration, with the file and line, environment variable or flag it is in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {message}")]
pub struct ConfigError {
    location: String,
    message: String,
}

impl ConfigError {
    /// Returns an error. Keys that it quotes may have escaped control characters, which must not
    /// control a terminal.
    pub(crate) fn new(location: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        let visible = |text: &str| printable(text, usize::MAX);
        ConfigError { location: visible(location.as_ref()), message: visible(message.as_ref()) }
    }
}

/// An error at one key. The caller knows the file and adds it.
#[derive(Debug)]
pub(crate) struct KeyError {
    /// The keys and list positions that lead to the key, and the key itself.
    pub(crate) path: Vec<String>,
    pub(crate) message: String,
}

impl KeyError {
    /// Returns an error at a key.
    pub(crate) fn at<const N: usize>(path: [&str; N], message: impl Into<String>) -> Self {
        KeyError { path: path.map(str::to_owned).to_vec(), message: message.into() }
    }

    /// Returns an error at the current key. [`KeyError::under`] adds that key.
    pub(crate) fn here(message: impl Into<String>) -> Self {
        Self::at([], message)
    }

    /// Puts a key or a list position before the path.
    pub(crate) fn under(mut self, key: impl Display) -> Self {
        self.path.insert(0, key.to_string());
        self
    }

    /// Returns the first error that figment reports.
    pub(crate) fn from_figment(error: &figment::Error) -> Self {
        let mut path = error.path.clone();
        let message = match &error.kind {
            Kind::UnknownField(field, expected) => {
                format!("unknown field {field:?}, expected {}", one_of(expected))
            }
            Kind::UnknownVariant(value, expected) => {
                format!("invalid value {value:?}, expected {}", one_of(expected))
            }
            Kind::InvalidType(actual, expected) => {
                format!("invalid type: expected {}, got {}", plain(expected), type_of(actual))
            }
            Kind::InvalidValue(actual, expected) => {
                format!("invalid value: expected {}, got {}", plain(expected), type_of(actual))
            }
            Kind::MissingField(field) => {
                path.push(field.to_string());
                missing_key(field)
            }
            Kind::Message(message) => message.clone(),
            other => other.to_string(),
        };
        KeyError { path, message }
    }
}

/// Returns the message about a key that must be set.
pub(crate) fn missing_key(key: &str) -> String {
    format!("missing required key {key:?}")
}

/// Returns the message about two keys that exclude each other.
pub(crate) fn cannot_combine(key: &str, other: &str) -> String {
    format!("{key:?} cannot be combined with {other:?}")
}

/// Lists names: `"a"`, `"a" or "b"`, `one of "a", "b", "c"`.
pub(crate) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    match &quoted[..] {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first, second] => format!("{first} or {second}"),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

/// Translates serde's name of an expected type into TOML terms.
fn plain(expected: &str) -> &str {
    match expected {
        "u32" => "an integer from 0 to 4294967295",
        "a sequence" => "a list",
        other if other.starts_with("struct ") || other == "a map" => "a table",
        other => other,
    }
}

/// Returns the type of a value, not the value, which may be a secret.
fn type_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Signed(number) if *number < 0 => "a negative integer",
        Actual::Unsigned(_) | Actual::Signed(_) => "an integer",
        Actual::Float(_) => "a float",
        Actual::Str(_) | Actual::Char(_) => "a string",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "another type",
    }
}
