//! The password file of redis_exporter: a JSON map from URL to password, or one password.

use std::collections::BTreeMap;

use client::{Address, Endpoint, Password};

use crate::ConfigError;
use crate::address::{DEFAULT_PORT, ParsedUrl};

/// The passwords of nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct PasswordMap(Vec<NodePassword>);

#[derive(Debug, Clone)]
struct NodePassword {
    username: Option<String>,
    address: Address,
    password: Password,
}

/// Returns the password of all nodes, and the passwords of single nodes, from a password and the
/// path of a password file. `location` names the setting that contains the path.
///
/// The password has priority, as in redis_exporter: charts set both for the same password. A file
/// that is no map then has no effect.
///
/// # Errors
/// Fails if the file is an invalid map, or if it cannot be read and there is no other password.
pub(crate) fn load(
    password: Option<Password>,
    file: Option<&str>,
    location: &str,
) -> Result<(Option<Password>, PasswordMap), ConfigError> {
    let Some(path) = file else { return Ok((password, PasswordMap::default())) };
    let location = format!("{location}: {path}");
    match files::read_to_string(path) {
        Ok(text) if text.trim_start().starts_with('{') => {
            Ok((password, PasswordMap::parse(&text, &location)?))
        }
        Err(error) if password.is_none() => {
            Err(ConfigError::new(location, format!("cannot read the file: {error}")))
        }
        // The file is read again at each connection.
        _ => Ok((password.or_else(|| Some(Password::File(path.into()))), PasswordMap::default())),
    }
}

impl PasswordMap {
    fn parse(text: &str, location: &str) -> Result<Self, ConfigError> {
        // The message of the parser may quote the text, so it is not shown.
        let map: BTreeMap<String, String> = serde_json::from_str(text).map_err(|error| {
            ConfigError::new(
                format!("{location}:{}", error.line()),
                "invalid JSON: expected a map from URL to password, \
                 such as {\"redis://host:port\": \"password\"}",
            )
        })?;
        let entry = |(url, password): (String, String)| {
            let url = ParsedUrl::parse(&url, DEFAULT_PORT)
                .map_err(|message| ConfigError::new(location, message))?;
            let ParsedUrl { address, username, .. } = url;
            Ok(NodePassword { username, address, password: Password::Inline(password.into()) })
        };
        map.into_iter().map(entry).collect::<Result<_, _>>().map(PasswordMap)
    }

    /// Returns the addresses in the map.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.0.iter().map(|entry| &entry.address)
    }

    /// Sets the password of a node that has none. Finds it by the user and the address.
    pub(crate) fn fill_in(&self, endpoint: &mut Endpoint) {
        let Endpoint { address, credentials, .. } = endpoint;
        if credentials.password.is_some() {
            return;
        }
        let entry = self
            .0
            .iter()
            .find(|entry| entry.address == *address && entry.username == credentials.username);
        credentials.password = entry.map(|entry| entry.password.clone());
    }
}
