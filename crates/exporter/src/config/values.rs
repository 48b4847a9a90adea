//! Values of their own kind in the configuration: times and secrets.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A time as people write it: `1s`, `250ms`, `1m 30s`.
#[derive(Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

/// A secret; never shown. One of digits only may be written as a number, as the environment makes it one.
pub(super) struct SecretText(pub(super) String);

// === impl Span ===

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = humantime::parse_duration(&text).ok().filter(|span| !span.is_zero());
        span.map(Span).ok_or_else(|| D::Error::custom(format!("found {text:?}, accepted is a time such as \"1s\" or \"250ms\"")))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

// === impl SecretText ===

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = SecretText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SecretText, E> {
                Ok(SecretText(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<SecretText, E> {
                Ok(SecretText(number.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<SecretText, E> {
                Ok(SecretText(number.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}
