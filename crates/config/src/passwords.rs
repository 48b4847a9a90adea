//! The password file of redis_exporter: a JSON map from URI to password.

use std::collections::BTreeMap;

use client::{Credentials, Endpoint, Password};

use crate::{ConfigError, address};

/// Passwords by user and address.
#[derive(Default)]
pub(crate) struct Passwords(Vec<(Option<String>, String, String)>);

/// Reads the file, if there is one.
pub(crate) fn load(path: Option<&str>) -> Result<Passwords, ConfigError> {
    let Some(path) = path else { return Ok(Passwords::default()) };
    let place = format!("REDIS_PASSWORD_FILE: {path}");
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new(&place, format!("cannot be read: {error}")))?;
    // The message of the parser may quote the text, so only the place is shown.
    let map: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|error| {
        ConfigError::new(
            format!("{place}:{}", error.line()),
            "found no JSON map of strings, accepted is {\"redis://host:port\": \"password\"}",
        )
    })?;
    let entry = |(uri, password): (String, String)| {
        let endpoint = address::parse(&uri, &Credentials::default(), None)
            .map_err(|problem| ConfigError::new(&place, problem))?;
        Ok((endpoint.credentials.username.clone(), endpoint.to_string(), password))
    };
    map.into_iter().map(entry).collect::<Result<_, _>>().map(Passwords)
}

impl Passwords {
    /// The password of a node, by its user and address.
    pub(crate) fn of(&self, endpoint: &Endpoint) -> Option<Password> {
        let address = endpoint.to_string();
        let found = self
            .0
            .iter()
            .find(|(user, at, _)| *at == address && *user == endpoint.credentials.username)?;
        Some(Password::Inline(found.2.clone().into()))
    }
}
