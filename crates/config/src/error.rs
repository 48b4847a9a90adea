//! What is wrong with the configuration: where, what was found, and what is accepted. Holds no secret.

use std::fmt::Write;

use figment::error::{Actual, Kind};

/// What is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    place: String,
    problem: String,
}

impl ConfigError {
    pub(crate) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        ConfigError { place: place.into(), problem: problem.into() }
    }
}

/// A key, with the keys and positions that lead to it; and what is wrong with its value.
pub(crate) type Problem = (Vec<String>, String);

/// The path of a key in a problem.
pub(crate) fn at<const N: usize>(path: [&str; N], problem: impl Into<String>) -> Problem {
    (path.map(str::to_owned).to_vec(), problem.into())
}

/// Puts a key before the path of a problem.
pub(crate) fn under(key: impl std::fmt::Display, problem: Problem) -> Problem {
    let (mut path, problem) = problem;
    path.insert(0, key.to_string());
    (path, problem)
}

/// The first problem in an error of figment, in our words.
pub(crate) fn of_figment(error: &figment::Error) -> Problem {
    let mut path = error.path.clone();
    let problem = match &error.kind {
        Kind::UnknownField(_, accepted) => {
            format!("found an unknown key, accepted are {}", list(accepted))
        }
        Kind::UnknownVariant(found, accepted) => {
            format!("found {found:?}, accepted are {}", list(accepted))
        }
        Kind::InvalidType(found, accepted) | Kind::InvalidValue(found, accepted) => {
            format!("found {}, accepted is {}", kind(found), in_words(accepted))
        }
        Kind::MissingField(name) => {
            path.push(name.to_string());
            "found nothing, and it is needed".to_owned()
        }
        Kind::Message(message) => message.clone(),
        other => other.to_string(),
    };
    (path, problem)
}

fn list(names: &[&str]) -> String {
    let mut text = String::new();
    for name in names {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{name}");
    }
    text
}

/// What serde calls a kind of value, as people do.
fn in_words(accepted: &str) -> &str {
    match accepted {
        "u32" => "a whole number, 0 or more",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        other if other.starts_with("struct ") || other == "a map" => "a table",
        other => other,
    }
}

/// What kind of value was found. The value itself may be a secret.
fn kind(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Str(_) | Actual::Char(_) => "a string",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "something else",
    }
}
