//! The password file of redis_exporter: a JSON map from URL to password.

use std::collections::BTreeMap;

use client::{Endpoint, Password};

use crate::access::Access;
use crate::{ConfigError, address};

/// The passwords of nodes.
#[derive(Default)]
pub(crate) struct PasswordMap(Vec<NodePassword>);

struct NodePassword {
    username: Option<String>,
    address: String,
    password: String,
}

/// Reads the file. Returns an empty map if there is none.
pub(crate) fn load(path: Option<&str>) -> Result<PasswordMap, ConfigError> {
    let Some(path) = path else { return Ok(PasswordMap::default()) };
    let location = format!("REDIS_PASSWORD_FILE: {path}");
    let text = files::read_to_string(path)
        .map_err(|error| ConfigError::new(&location, format!("cannot read the file: {error}")))?;
    // The message of the parser may quote the text, so it is not shown.
    let map: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|error| {
        ConfigError::new(
            format!("{location}:{}", error.line()),
            "invalid JSON: expected a map from URL to password, \
             such as {\"redis://host:port\": \"password\"}",
        )
    })?;
    let entry = |(url, password): (String, String)| {
        let endpoint = address::parse(&url, &Access::default())
            .map_err(|message| ConfigError::new(&location, message))?;
        let address = endpoint.to_string();
        Ok(NodePassword { username: endpoint.credentials.username, address, password })
    };
    map.into_iter().map(entry).collect::<Result<_, _>>().map(PasswordMap)
}

impl PasswordMap {
    /// Sets the password of a node that has none. Finds it by the user and the address.
    pub(crate) fn fill_in(&self, endpoint: &mut Endpoint) {
        let address = endpoint.to_string();
        let credentials = &mut endpoint.credentials;
        if credentials.password.is_some() {
            return;
        }
        let entry = self
            .0
            .iter()
            .find(|entry| entry.address == address && entry.username == credentials.username);
        credentials.password = entry.map(|entry| Password::Inline(entry.password.clone().into()));
    }
}
