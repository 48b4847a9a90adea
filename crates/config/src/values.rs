//! Value types of the configuration file: durations, dates, parts, secrets and URLs.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::redact::redacted;
use crate::{DEFAULT_CONNECTIONS_PER_ADDRESS, MAX_CONNECTIONS};

/// Longest accepted duration. Sums and products of durations up to it do not overflow.
const MAX_DURATION: Duration = Duration::from_secs(10 * 31_557_600);

/// A positive duration in text form: `1s`, `250ms`, `1m 30s`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DurationText(pub(crate) Duration);

/// A date or a time in text form: `2026-12-31` (the end of that day in UTC),
/// `2026-12-31T18:00:00Z`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DateText(pub(crate) SystemTime);

/// One of several exporters that divide the deployments: `1/3` is the first of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    number: u32,
    count: u32,
}

/// A secret, which is never shown. Accepts integers: figment parses an environment variable that
/// consists of digits as a number.
pub(crate) struct SecretText(pub(crate) String);

/// A table that can be abbreviated to its `url`.
pub(crate) struct UrlOr<Table>(pub(crate) Table);

// === impl DurationText ===

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_valid = |duration: &Duration| !duration.is_zero() && *duration <= MAX_DURATION;
        let duration = humantime::parse_duration(&text).ok().filter(is_valid);
        duration.map(DurationText).ok_or_else(|| {
            D::Error::custom(format!(
                "invalid duration {text:?}, \
                 expected a positive duration such as \"1s\" or \"250ms\", at most {:?}",
                DurationText(MAX_DURATION).to_string()
            ))
        })
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

// === impl DateText ===

impl<'de> Deserialize<'de> for DateText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text)
            .or_else(|_| humantime::parse_rfc3339(&format!("{text}T23:59:59Z")));
        time.map(DateText).map_err(|_| {
            D::Error::custom(format!(
                "invalid date {text:?}, expected a date such as \"2026-12-31\" \
                 or a time in UTC such as \"2026-12-31T18:00:00Z\""
            ))
        })
    }
}

// === impl Part ===

impl Part {
    /// Returns whether a deployment belongs to this part. Depends on the name only, so that all
    /// exporters agree without communication.
    pub(crate) fn contains(self, deployment: &str) -> bool {
        crc32fast::hash(deployment.as_bytes()) % self.count == self.number - 1
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let part = text
            .split_once('/')
            .and_then(|(number, count)| {
                Some(Part { number: number.parse().ok()?, count: count.parse().ok()? })
            })
            .filter(|part| (1..=part.count).contains(&part.number));
        part.ok_or_else(|| {
            D::Error::custom(format!(
                "invalid part {text:?}, expected a number and a count such as \"1/3\", \
                 the first of three exporters"
            ))
        })
    }
}

// === impl SecretText ===

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;
        impl Visitor<'_> for SecretVisitor {
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
        deserializer.deserialize_any(SecretVisitor)
    }
}

// === impl UrlOr ===

impl<'de, Table: Deserialize<'de> + From<String>> Deserialize<'de> for UrlOr<Table> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlOrVisitor<Table>(PhantomData<Table>);
        impl<'de, Table: Deserialize<'de> + From<String>> Visitor<'de> for UrlOrVisitor<Table> {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL or a table with the key \"url\"")
            }

            fn visit_str<E: Error>(self, url: &str) -> Result<Table, E> {
                Ok(url.to_owned().into())
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Table, M::Error> {
                Table::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(UrlOrVisitor(PhantomData)).map(UrlOr)
    }
}

/// Parses the URL under which users reach the pages. Removes trailing slashes.
///
/// # Errors
/// Returns the message if it is not an HTTP URL, or has credentials, a query or a fragment.
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
    let url = url.ok_or_else(|| {
        format!(
            "invalid URL {:?}, expected http:// or https://, a host, and optionally a path",
            redacted(text)
        )
    })?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Returns the limit of open connections from one client address.
///
/// # Errors
/// Returns the message if it is zero, or above the limit of all addresses together.
pub(crate) fn connections_per_address(limit: Option<u32>) -> Result<u32, String> {
    match limit {
        None => Ok(DEFAULT_CONNECTIONS_PER_ADDRESS),
        Some(limit) if (1..=MAX_CONNECTIONS).contains(&limit) => Ok(limit),
        Some(limit) => Err(format!("must be from 1 to {MAX_CONNECTIONS}, got {limit}")),
    }
}
