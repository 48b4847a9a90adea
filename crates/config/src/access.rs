//! How servers let us in: credentials and TLS.

use std::path::PathBuf;

use client::{Credentials, Password, Tls, TlsSettings};
use serde::Deserialize;

use crate::error::{Problem, at};
use crate::values::SecretText;

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileTls {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    insecure_skip_verify: bool,
}

impl FileTls {
    pub(crate) fn profile(self) -> Result<Option<Tls>, Problem> {
        let settings = TlsSettings {
            ca_file: self.ca_file,
            cert_file: self.cert_file,
            key_file: self.key_file,
            server_name: self.server_name,
            insecure_skip_verify: self.insecure_skip_verify,
        };
        if settings == TlsSettings::default() {
            return Ok(None);
        }
        Tls::new(&settings).map(Some).map_err(|error| match error {
            client::TlsError::File { key, path, problem } => {
                at([key], format!("found {}, which cannot be used ({problem})", path.display()))
            }
            other => (vec![], other.to_string()),
        })
    }
}

pub(crate) fn credentials(
    username: Option<String>,
    password: Option<SecretText>,
    file: Option<PathBuf>,
    others: &Credentials,
) -> Result<Credentials, Problem> {
    let password = match (password, file) {
        (Some(_), Some(_)) => {
            return Err(at(["password_file"], "found password too, accepted is one of them"));
        }
        (Some(password), None) => Some(Password::Inline(password.0.into())),
        (None, Some(path)) => {
            std::fs::metadata(&path).map_err(|error| {
                at(
                    ["password_file"],
                    format!(
                        "found {}, which cannot be read ({error}), accepted is a file",
                        path.display()
                    ),
                )
            })?;
            Some(Password::File(path))
        }
        (None, None) => others.password.clone(),
    };
    Ok(Credentials { username: username.or_else(|| others.username.clone()), password })
}
