//! Who may ask: TLS and basic authentication, from a file in Prometheus' own web configuration format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context, bail};
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
use serde::Deserialize;
use serde_yaml_ng::Value;
use tokio::sync::Semaphore;

use super::bounds::refusal;

/// The most different credentials that are remembered as good. Checking one takes a tenth of a second by design.
const MAX_REMEMBERED: usize = 64;

/// The most credentials that wait for their turn to be checked; more are turned away.
const MAX_WAITING: usize = 64;

/// What an unknown user is checked against, so that the time it takes tells nothing about who is known.
const NOBODY: &str = "$2b$10$vI8aWBnW3fID.ZQ4/zo1G.q1lRps.9cGLcZEiGDMVr5yUP1KUOYTa";

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WebFile {
    tls_server_config: Option<TlsServer>,
    basic_auth_users: BTreeMap<String, Hash>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsServer {
    cert_file: PathBuf,
    key_file: PathBuf,
    client_ca_file: Option<PathBuf>,
    #[serde(default)]
    client_auth_type: ClientAuth,
    #[serde(default)]
    min_version: MinVersion,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
enum ClientAuth {
    #[default]
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
enum MinVersion {
    #[default]
    TLS12,
    TLS13,
}

/// A bcrypt hash; not shown.
#[derive(Deserialize)]
struct Hash(String);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<redacted>")
    }
}

/// Who may ask. Without a file everybody may, in plain text.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    /// TLS, where it is spoken.
    pub(super) tls: Option<RustlsConfig>,
    users: Arc<RwLock<Arc<Users>>>,
    /// Held while credentials are checked: that takes a whole core.
    turn: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Those who may ask, and what was found good of late: one goes with the other when the file is read again.
#[derive(Debug, Default)]
struct Users {
    hashes: BTreeMap<String, Hash>,
    remembered: Mutex<Vec<HeaderValue>>,
}

impl Gate {
    fn new(tls: Option<ServerConfig>, hashes: BTreeMap<String, Hash>) -> Self {
        let users = Arc::new(Users { hashes, ..Users::default() });
        Gate {
            tls: tls.map(|tls| RustlsConfig::from_config(Arc::new(tls))),
            users: Arc::new(RwLock::new(users)),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Gate::new(None, BTreeMap::new())) };
        let index = || format!("--web.config.file: {}", path.display());
        let text = std::fs::read_to_string(path).with_context(index)?;
        // The parser shows text that it finds in place of a map: there that may be a password or its hash.
        let shape: Value = serde_yaml_ng::from_str(&text).with_context(index)?;
        if shape.is_string() || shape.get("basic_auth_users").is_some_and(Value::is_string) {
            bail!(
                "{}: found text, accepted is a map of keys to values, as in `basic_auth_users: {{ user: hash }}`",
                index()
            );
        }
        // An empty document is allowed, as in Prometheus.
        let file: Option<WebFile> = serde_yaml_ng::from_str(&text).with_context(index)?;
        let file = file.unwrap_or_default();
        for (user, hash) in &file.basic_auth_users {
            if hash.0.parse::<bcrypt::HashParts>().is_err() {
                bail!(
                    "{}: basic_auth_users.{user}: found no bcrypt hash, accepted is one as `htpasswd -nBC 10 {user}` makes it",
                    index()
                );
            }
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let tls =
            file.tls_server_config.map(|tls| tls.build(folder)).transpose().with_context(index)?;
        Ok(Gate::new(tls, file.basic_auth_users))
    }

    /// Lets in whom a file that was read anew lets in, and nobody else. Whether TLS is spoken stays as it is.
    pub(crate) fn replace(&self, new: &Gate) {
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = new.users();
        if let (Some(used), Some(found)) = (&self.tls, &new.tls) {
            used.reload_from_config(found.get_inner());
        }
    }

    /// Whether TLS is spoken.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether who sends this may ask, or what to answer when too many wait to hear that.
    async fn admits(&self, header: Option<&HeaderValue>) -> Result<bool, (StatusCode, String)> {
        let users = self.users();
        if users.hashes.is_empty() {
            return Ok(true);
        }
        let Some(header) = header else { return Ok(false) };
        if users.remembers(header) {
            return Ok(true);
        }
        let Some((user, password)) = credentials(header) else { return Ok(false) };
        let _place = self.waiting.try_acquire().map_err(|_| refusal(MAX_WAITING))?;
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Ok(false) };
        // Meanwhile the same credentials may have been found good.
        if users.remembers(header) {
            return Ok(true);
        }
        let header = header.clone();
        let check = move || {
            // The turn ends with the check, even if nobody waits for its outcome any more.
            let _turn = turn;
            let good = users.check(&user, &password);
            if good {
                users.remember(header);
            }
            good
        };
        Ok(tokio::task::spawn_blocking(check).await.unwrap_or(false))
    }
}

impl Users {
    fn remembers(&self, header: &HeaderValue) -> bool {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).contains(header)
    }

    fn remember(&self, header: HeaderValue) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() < MAX_REMEMBERED {
            remembered.push(header);
        }
    }

    fn check(&self, user: &str, password: &str) -> bool {
        let known = self.hashes.get(user);
        let matches =
            bcrypt::verify(password, known.map_or(NOBODY, |hash| hash.0.as_str())).unwrap_or(false);
        matches && known.is_some()
    }
}

/// Lets through who may ask.
pub(super) async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    match gate.admits(request.headers().get(AUTHORIZATION)).await {
        Ok(true) => next.run(request).await,
        Ok(false) => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic")], "Unauthorized\n")
            .into_response(),
        Err(refusal) => refusal.into_response(),
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

impl TlsServer {
    /// Paths are relative to the folder of the file.
    fn build(&self, folder: &Path) -> anyhow::Result<ServerConfig> {
        let versions: &[&SupportedProtocolVersion] = match self.min_version {
            MinVersion::TLS12 => &[&TLS13, &TLS12],
            MinVersion::TLS13 => &[&TLS13],
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?;
        let builder = match (self.client_auth_type, &self.client_ca_file) {
            (ClientAuth::NoClientCert, None) => builder.with_no_client_auth(),
            (ClientAuth::NoClientCert, Some(_)) => {
                bail!(
                    "client_ca_file: found one without a client_auth_type that uses it, accepted is RequireAndVerifyClientCert"
                );
            }
            (_, None) => bail!(
                "client_auth_type: found {:?} without client_ca_file, accepted is both",
                self.client_auth_type
            ),
            (kind, Some(file)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("client_ca_file", &folder.join(file))? {
                    roots.add(certificate)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let optional = kind == ClientAuth::VerifyClientCertIfGiven;
                let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let key_file = folder.join(&self.key_file);
        let key = PrivateKeyDer::from_pem_file(&key_file)
            .map_err(|error| anyhow::anyhow!("key_file: {}: {error}", key_file.display()))?;
        let chain = certificates("cert_file", &folder.join(&self.cert_file))?;
        let mut config = builder.with_single_cert(chain, key).context("cert_file and key_file")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(key: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|error| anyhow::anyhow!("{key}: {}: {error}", path.display()))?;
    if found.is_empty() {
        bail!("{key}: {}: found no certificate, accepted is PEM", path.display());
    }
    Ok(found)
}
