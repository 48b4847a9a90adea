//! Credentials and TLS profiles.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use client::{Credentials, Password, Tls, TlsError, TlsSettings};
use serde::Deserialize;

use crate::error::{KeyError, cannot_combine};
use crate::values::SecretText;

/// Credentials and TLS profile for a set of servers.
#[derive(Clone, Default)]
pub(crate) struct Access {
    pub(crate) credentials: Credentials,
    pub(crate) tls: Option<Tls>,
    pub(crate) profiles: TlsProfiles,
}

/// TLS profiles of one configuration. Servers with equal settings share a profile: the trusted
/// certificates of the system take more memory than all other data of a node.
#[derive(Clone, Default)]
pub(crate) struct TlsProfiles(Rc<RefCell<HashMap<TlsSettings, Tls>>>);

/// The keys `username`, `password` and `password_file` of one table.
#[derive(Default)]
pub(crate) struct FileCredentials {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<SecretText>,
    pub(crate) password_file: Option<PathBuf>,
}

/// The table `tls` or `sentinel_tls`.
#[derive(Deserialize, Default, Clone)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileTls {
    /// Certificate authorities to trust, PEM. The default is those of the system.
    #[cfg_attr(test, schemars(example = &"/etc/rolecall/ca.pem", extend("x-type" = "path")))]
    pub(crate) ca_file: Option<PathBuf>,
    /// Client certificate, PEM. Requires `key_file`.
    #[cfg_attr(test, schemars(example = &"/etc/rolecall/client.pem", extend("x-type" = "path")))]
    pub(crate) cert_file: Option<PathBuf>,
    /// Key of the client certificate, PEM. Requires `cert_file`.
    #[cfg_attr(test, schemars(example = &"/etc/rolecall/client.key", extend("x-type" = "path")))]
    pub(crate) key_file: Option<PathBuf>,
    /// Name that the certificates of the servers must contain. The default is the host of the URL.
    /// With several `rediss://` names in `dns` it is required.
    #[cfg_attr(test, schemars(example = &"redis.example.com"))]
    pub(crate) server_name: Option<String>,
    /// `true` accepts any certificate.
    #[cfg_attr(test, schemars(example = true, extend("x-default" = false)))]
    pub(crate) insecure_skip_verify: bool,
}

impl FileCredentials {
    /// Returns the credentials. A missing user name or password comes from `defaults`. `prefix` is
    /// the prefix of the three keys in the file.
    pub(crate) fn resolve(
        self,
        prefix: &str,
        defaults: &Credentials,
    ) -> Result<Credentials, KeyError> {
        let file_key = format!("{prefix}password_file");
        let password = match (self.password, self.password_file) {
            (Some(_), Some(_)) => {
                let message = cannot_combine(&file_key, &format!("{prefix}password"));
                return Err(KeyError::at([&file_key], message));
            }
            (Some(password), None) => Some(Password::Inline(password.0.into())),
            (None, Some(path)) => {
                check_readable(&file_key, &path)?;
                Some(Password::File(path))
            }
            (None, None) => defaults.password.clone(),
        };
        Ok(Credentials { username: self.username.or_else(|| defaults.username.clone()), password })
    }
}

impl TlsProfiles {
    /// Returns the profile with these settings. Reads its files the first time.
    ///
    /// # Errors
    /// Those of [`Tls::new`].
    pub(crate) fn get(&self, settings: &TlsSettings) -> Result<Tls, TlsError> {
        if let Some(profile) = self.0.borrow().get(settings) {
            return Ok(profile.clone());
        }
        let profile = Tls::new(settings)?;
        self.0.borrow_mut().insert(settings.clone(), profile.clone());
        Ok(profile)
    }
}

impl From<TlsSettings> for FileTls {
    fn from(settings: TlsSettings) -> Self {
        let TlsSettings { ca_file, cert_file, key_file, server_name, insecure_skip_verify } =
            settings;
        FileTls { ca_file, cert_file, key_file, server_name, insecure_skip_verify }
    }
}

impl FileTls {
    /// Returns the profile. `None` if the table is empty.
    pub(crate) fn profile(self, profiles: &TlsProfiles) -> Result<Option<Tls>, KeyError> {
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
        let pair = [("cert_file", &settings.cert_file), ("key_file", &settings.key_file)];
        match pair {
            [(key, Some(_)), (other, None)] | [(other, None), (key, Some(_))] => {
                return Err(KeyError::at([key], format!("{key:?} requires {other:?}")));
            }
            _ => {}
        }
        for (key, path) in [("ca_file", &settings.ca_file)].into_iter().chain(pair) {
            path.iter().try_for_each(|path| check_readable(key, path))?;
        }
        profiles.get(&settings).map(Some).map_err(|error| match error {
            TlsError::File { key, path, problem } => {
                let message = format!("invalid {key} {}: {problem}", path.display());
                KeyError::at([key], message)
            }
            other => KeyError::here(other.to_string()),
        })
    }
}

/// Returns an error if a file does not exist or is not a regular file.
fn check_readable(key: &str, path: &Path) -> Result<(), KeyError> {
    files::check(path).map_err(|error| {
        KeyError::at([key], format!("cannot read {key} {}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use crate::Settings;

    #[test]
    fn servers_with_equal_settings_share_a_profile() {
        let text = "
            [[deployment]]
            name = 'a'
            nodes = [{ url = 'rediss://a' }, { url = 'rediss://b' }]
            [[deployment]]
            name = 'b'
            nodes = [{ url = 'rediss://c' }]
            [[deployment]]
            name = 'c'
            nodes = [{ url = 'rediss://d' }]
            tls = { insecure_skip_verify = true }
            [[deployment]]
            name = 'd'
            cluster = ['rediss://e']
            tls = { insecure_skip_verify = true }";
        let settings = Settings::parse("test", text).expect("valid");
        let endpoints = settings.deployments.iter().flat_map(|settings| &settings.endpoints);
        let profiles: Vec<_> = endpoints.filter_map(|endpoint| endpoint.tls.as_ref()).collect();
        let is_shared = |one: usize, other: usize| profiles[one].is_shared_with(profiles[other]);
        assert!(is_shared(0, 1) && is_shared(1, 2) && is_shared(3, 4) && !is_shared(0, 3));
        let discovery = settings.deployments[3].discovery.as_ref().expect("a cluster");
        assert!(discovery.tls.as_ref().is_some_and(|tls| tls.is_shared_with(profiles[3])));
    }
}
