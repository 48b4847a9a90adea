//! The web configuration file, in the format of Prometheus: its text becomes a [`WebConfigFile`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use serde::Deserialize;
use serde_yaml_ng::Value;

/// Content of the web configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfigFile {
    pub(crate) tls_server_config: Option<TlsServerConfig>,
    pub(crate) basic_auth_users: BTreeMap<String, PasswordHash>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsServerConfig {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) client_ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) client_auth_type: ClientAuth,
    #[serde(default)]
    pub(crate) min_version: MinVersion,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum ClientAuth {
    #[default]
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub(crate) enum MinVersion {
    #[default]
    TLS12,
    TLS13,
}

/// A bcrypt hash. Its Debug output is redacted.
#[derive(PartialEq, Eq, Deserialize)]
pub(crate) struct PasswordHash(pub(crate) String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<redacted>")
    }
}

impl WebConfigFile {
    /// Parses the text of a file. An empty text is allowed, as in Prometheus.
    ///
    /// # Errors
    /// Fails if the text is invalid. The error contains no password and no hash.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        check_users(&serde_yaml_ng::from_str(text)?)?;
        let file: Option<WebConfigFile> = serde_yaml_ng::from_str(text)?;
        let file = file.unwrap_or_default();
        for (user, hash) in &file.basic_auth_users {
            if hash.0.parse::<bcrypt::HashParts>().is_err() {
                return Err(no_hash(user));
            }
        }
        Ok(file)
    }
}

/// Checks the types of what may be a password or a hash: the parser quotes a value of another type
/// than it expects.
fn check_users(document: &Value) -> anyhow::Result<()> {
    let users = document.get("basic_auth_users");
    let is_map = |value: &Value| value.is_mapping() || value.is_null();
    if !is_map(document) || !users.is_none_or(is_map) {
        bail!("invalid type: expected a map such as `basic_auth_users: {{ user: hash }}`");
    }
    for (user, hash) in users.and_then(Value::as_mapping).into_iter().flatten() {
        if !hash.is_string() {
            return Err(no_hash(user.as_str().unwrap_or("USER")));
        }
    }
    Ok(())
}

fn no_hash(user: &str) -> anyhow::Error {
    anyhow!("basic_auth_users.{user}: not a bcrypt hash; create one with `htpasswd -nBC 10 {user}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_contain_passwords_of_any_type() {
        for (text, expected) in [
            ("7305441", "expected a map"),
            ("!x hunter2", "expected a map"),
            ("[hunter2, 7305441]", "expected a map"),
            ("basic_auth_users: 7305441", "expected a map"),
            ("basic_auth_users: [hunter2, 7305441]", "expected a map"),
            ("basic_auth_users: {prometheus: 7305441}", "users.prometheus: not a bcrypt hash"),
            ("basic_auth_users: {prometheus: hunter2}", "users.prometheus: not a bcrypt hash"),
            ("basic_auth_users: {5: [hunter2]}", "users.USER: not a bcrypt hash"),
        ] {
            let error = format!("{:#}", WebConfigFile::parse(text).expect_err(text));
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2") && !error.contains("7305441"), "{text}: {error}");
        }
    }
}
