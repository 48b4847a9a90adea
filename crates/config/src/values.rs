//! Values of their own kind in the configuration: times and secrets.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::address::redacted;

/// A time as people write it: `1s`, `250ms`, `1m 30s`.
#[derive(Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

/// The end of a day, or a time: `2026-12-31`, `2026-12-31T18:00:00Z`.
#[derive(Clone, Copy)]
pub(crate) struct Date(pub(crate) SystemTime);

/// Which of several exporters this is: `1/3` is the first of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    number: u32,
    of: u32,
}

/// A secret; never shown. One of digits only may be written as a number, as the environment makes it one.
pub(crate) struct SecretText(pub(crate) String);

/// Reads what is a URL, or a table that says more than that. `accepted` is what is said to whoever wrote neither.
pub(crate) fn url_or_table<'de, D, T>(
    deserializer: D,
    accepted: &'static str,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + From<String>,
{
    struct UrlOrTable<T>(&'static str, PhantomData<T>);
    impl<'de, T: Deserialize<'de> + From<String>> Visitor<'de> for UrlOrTable<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, url: &str) -> Result<T, E> {
            Ok(url.to_owned().into())
        }

        fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(UrlOrTable(accepted, PhantomData))
}

// === impl Span ===

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = humantime::parse_duration(&text).ok().filter(|span| !span.is_zero());
        span.map(Span).ok_or_else(|| {
            D::Error::custom(format!(
                "found {text:?}, accepted is a time such as \"1s\" or \"250ms\""
            ))
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

// === impl Date ===

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = humantime::parse_rfc3339(&text)
            .or_else(|_| humantime::parse_rfc3339(&format!("{text}T23:59:59Z")));
        at.map(Date).map_err(|_| {
            D::Error::custom(format!(
                "found {text:?}, accepted is a day such as \"2026-12-31\", or a time in UTC"
            ))
        })
    }
}

// === impl Part ===

impl Part {
    /// Whether a deployment is for this exporter to watch. The same everywhere and always, so that several agree without talking.
    pub(crate) fn has(self, deployment: &str) -> bool {
        crc32fast::hash(deployment.as_bytes()) % self.of == self.number - 1
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let numbers = text
            .split_once('/')
            .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        let part = numbers
            .filter(|(number, of)| (1..=*of).contains(number))
            .map(|(number, of)| Part { number, of });
        part.ok_or_else(|| {
            D::Error::custom(format!(
                "found {text:?}, accepted is a part such as \"1/3\", the first of three"
            ))
        })
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

/// A URL under which people reach our pages, without a slash at the end.
pub(crate) fn external_url(text: &str) -> Result<String, String> {
    let is_page = |url: &url::Url| {
        ["http", "https"].contains(&url.scheme())
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = url::Url::parse(text)
        .ok()
        .filter(is_page)
        .filter(|url| url.username().is_empty() && url.password().is_none());
    let problem = || {
        format!(
            "found {:?}, accepted is http:// or https://, a host, and a path if there is one",
            redacted(text)
        )
    };
    let url = url.ok_or_else(problem)?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
