//! TLS and basic authentication of the web server.
//!
//! Both come from a file in the web configuration format of Prometheus.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use anyhow::{Context, bail};
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::sync::Semaphore;

use crate::limits::{AddressLimit, OpenConnection, ReachedLimit, overloaded};
use crate::web_config::{ClientAuth, MinVersion, PasswordHash, TlsServerConfig, WebConfigFile};

/// Limit of cached valid credentials. Checking a bcrypt hash takes a tenth of a second by design.
const MAX_CACHED: usize = 64;

/// Limit of credentials that wait to be checked. Further requests get 503.
const MAX_WAITING: usize = 64;

/// Limit of credentials from one client address that wait to be checked. Somebody who guesses
/// passwords does not fill the queue.
const MAX_WAITING_PER_ADDRESS: usize = 8;

/// Hash that unknown users are checked against, so that response times do not reveal user names.
const UNKNOWN_USER_HASH: &str = "$2b$10$vI8aWBnW3fID.ZQ4/zo1G.q1lRps.9cGLcZEiGDMVr5yUP1KUOYTa";

/// Access control of the web server. Without a file everybody has access, over plain HTTP.
#[derive(Debug, Clone)]
pub(crate) struct WebSecurity {
    /// TLS configuration, if TLS is enabled.
    pub(crate) tls: Option<RustlsConfig>,
    users: Arc<RwLock<Arc<Users>>>,
    /// Permit to check credentials. One check runs at a time, because it occupies a whole core.
    check: Arc<Semaphore>,
    /// Permits to wait for a check.
    waiting: AddressLimit,
}

/// Users and their cached credentials. A reload replaces both together.
#[derive(Debug, Default)]
struct Users {
    hashes: BTreeMap<String, PasswordHash>,
    cached: Mutex<Vec<CachedCredentials>>,
}

/// Valid credentials.
#[derive(Debug, Clone)]
struct CachedCredentials {
    user: String,
    /// The header `Authorization`.
    header: HeaderValue,
}

impl WebSecurity {
    fn new(tls: Option<ServerConfig>, hashes: BTreeMap<String, PasswordHash>) -> Self {
        let users = Arc::new(Users { hashes, ..Users::default() });
        WebSecurity {
            tls: tls.map(|tls| RustlsConfig::from_config(Arc::new(tls))),
            users: Arc::new(RwLock::new(users)),
            check: Arc::new(Semaphore::new(1)),
            waiting: AddressLimit::new(MAX_WAITING, MAX_WAITING_PER_ADDRESS),
        }
    }

    /// Loads the file.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is invalid.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(WebSecurity::new(None, BTreeMap::new())) };
        let location = || format!("--web.config.file: {}", path.display());
        let text = files::read_to_string(path).with_context(location)?;
        let file = WebConfigFile::parse(&text).with_context(location)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::from_file(file, folder).with_context(location)
    }

    /// Applies the content of a file. `folder` is that of relative paths in it.
    ///
    /// # Errors
    /// Fails if the files that it names cannot be read or are invalid.
    pub(crate) fn from_file(file: WebConfigFile, folder: &Path) -> anyhow::Result<Self> {
        let tls = file.tls_server_config.map(|tls| build(&tls, folder)).transpose()?;
        Ok(WebSecurity::new(tls, file.basic_auth_users))
    }

    /// Applies a reloaded file. Enabling or disabling TLS requires a restart. Users whose hash did
    /// not change are not checked again: a check may have to wait for those of guessed passwords.
    pub(crate) fn replace(&self, new: &WebSecurity) {
        let users = new.users();
        users.keep_cached(&self.users());
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = users;
        if let (Some(used), Some(found)) = (&self.tls, &new.tls) {
            used.reload_from_config(found.get_inner());
        }
    }

    /// Returns whether TLS is enabled.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether the credentials of a client permit the request.
    ///
    /// # Errors
    /// Fails with the response to send if too many credentials wait to be checked.
    async fn authorizes(
        &self,
        header: Option<&HeaderValue>,
        client: IpAddr,
    ) -> Result<bool, (StatusCode, String)> {
        let users = self.users();
        if users.hashes.is_empty() {
            return Ok(true);
        }
        let Some(header) = header else { return Ok(false) };
        if users.is_cached(header) {
            return Ok(true);
        }
        let Some((user, password)) = credentials(header) else { return Ok(false) };
        let _waiting = self.waiting.acquire(client).map_err(|reached| {
            overloaded(match reached {
                ReachedLimit::Total => MAX_WAITING,
                ReachedLimit::Address => MAX_WAITING_PER_ADDRESS,
            })
        })?;
        let Ok(permit) = Arc::clone(&self.check).acquire_owned().await else { return Ok(false) };
        // Another request may have checked the same credentials in the meantime.
        if users.is_cached(header) {
            return Ok(true);
        }
        let header = header.clone();
        let check = move || {
            // The permit ends with the check, even if the request was cancelled.
            let _permit = permit;
            let good = users.check(&user, &password);
            if good {
                users.cache(CachedCredentials { user, header });
            }
            good
        };
        Ok(tokio::task::spawn_blocking(check).await.unwrap_or(false))
    }
}

impl Users {
    fn is_cached(&self, header: &HeaderValue) -> bool {
        self.cached().iter().any(|valid| valid.header == header)
    }

    fn cache(&self, mut valid: CachedCredentials) {
        // Its Debug output is redacted then.
        valid.header.set_sensitive(true);
        let mut cached = self.cached();
        if cached.len() < MAX_CACHED {
            cached.push(valid);
        }
    }

    /// Adds the cached credentials of users that had the same hash before.
    fn keep_cached(&self, before: &Users) {
        let is_unchanged = |valid: &&CachedCredentials| {
            let hash = self.hashes.get(&valid.user);
            hash.is_some() && hash == before.hashes.get(&valid.user)
        };
        let kept: Vec<_> = before.cached().iter().filter(is_unchanged).cloned().collect();
        for valid in kept {
            self.cache(valid);
        }
    }

    fn cached(&self) -> MutexGuard<'_, Vec<CachedCredentials>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, user: &str, password: &str) -> bool {
        let known = self.hashes.get(user);
        let matches =
            bcrypt::verify(password, known.map_or(UNKNOWN_USER_HASH, |hash| hash.0.as_str()))
                .unwrap_or(false);
        matches && known.is_some()
    }
}

/// Rejects requests without valid credentials.
pub(crate) async fn authenticate(
    State(security): State<WebSecurity>,
    Extension(connection): Extension<OpenConnection>,
    request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(AUTHORIZATION);
    match security.authorizes(header, connection.client).await {
        Ok(true) => next.run(request).await,
        Ok(false) => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic")], "Unauthorized\n")
            .into_response(),
        Err(overloaded) => overloaded.into_response(),
    }
}

fn credentials(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Builds the TLS configuration. Paths are relative to the folder of the file.
fn build(tls: &TlsServerConfig, folder: &Path) -> anyhow::Result<ServerConfig> {
    let versions: &[&SupportedProtocolVersion] = match tls.min_version {
        MinVersion::TLS12 => &[&TLS13, &TLS12],
        MinVersion::TLS13 => &[&TLS13],
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let builder = match (tls.client_auth_type, &tls.client_ca_file) {
        (ClientAuth::NoClientCert, None) => builder.with_no_client_auth(),
        (ClientAuth::NoClientCert, Some(_)) => {
            bail!("\"client_ca_file\" requires \"client_auth_type: RequireAndVerifyClientCert\"");
        }
        (_, None) => {
            bail!("\"client_auth_type: {:?}\" requires \"client_ca_file\"", tls.client_auth_type)
        }
        (kind, Some(file)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client_ca_file", &folder.join(file))? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let optional = kind == ClientAuth::VerifyClientCertIfGiven;
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let key_file = folder.join(&tls.key_file);
    let location = || format!("key_file: {}", key_file.display());
    let text = files::read(&key_file).with_context(location)?;
    let key = PrivateKeyDer::from_pem_slice(&text).with_context(location)?;
    let chain = certificates("cert_file", &folder.join(&tls.cert_file))?;
    let mut config = builder.with_single_cert(chain, key).context("cert_file and key_file")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(key: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let location = || format!("{key}: {}", path.display());
    let text = files::read(path).with_context(location)?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().with_context(location)?;
    if found.is_empty() {
        bail!("{key}: {}: no certificate found, expected PEM", path.display());
    }
    Ok(found)
}
