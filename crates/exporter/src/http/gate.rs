//! Who may ask: TLS and basic authentication, from a file in Prometheus' own web configuration format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use serde::Deserialize;

/// The most different credentials that are remembered as good. Checking one takes a tenth of a second by design.
const MAX_REMEMBERED: usize = 64;

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
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    /// TLS, where it is spoken.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    users: Arc<BTreeMap<String, Hash>>,
    remembered: Arc<Mutex<Vec<HeaderValue>>>,
}

impl Gate {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Gate::default()) };
        let place = || format!("--web.config.file: {}", path.display());
        let text = std::fs::read_to_string(path).with_context(place)?;
        // An empty document is allowed, as in Prometheus.
        let file: Option<WebFile> = serde_yaml_ng::from_str(&text).with_context(place)?;
        let file = file.unwrap_or_default();
        for (user, hash) in &file.basic_auth_users {
            if hash.0.parse::<bcrypt::HashParts>().is_err() {
                bail!("{}: basic_auth_users.{user}: found no bcrypt hash, accepted is one as `htpasswd -nBC 10 {user}` makes it", place());
            }
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let tls = file.tls_server_config.map(|tls| tls.build(folder).map(Arc::new)).transpose().with_context(place)?;
        Ok(Gate { tls, users: Arc::new(file.basic_auth_users), remembered: Arc::default() })
    }

    /// Whether these credentials are those of a user.
    async fn admits(&self, header: &HeaderValue) -> bool {
        if self.remembered.lock().unwrap_or_else(PoisonError::into_inner).contains(header) {
            return true;
        }
        let Some((user, password)) = credentials(header) else { return false };
        let users = Arc::clone(&self.users);
        let check = move || {
            let known = users.get(&user);
            let matches = bcrypt::verify(password, known.map_or(NOBODY, |hash| hash.0.as_str())).unwrap_or(false);
            matches && known.is_some()
        };
        let good = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if good && remembered.len() < MAX_REMEMBERED && !remembered.contains(header) {
            remembered.push(header.clone());
        }
        good
    }
}

/// Lets through who may ask.
pub(super) async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if !gate.users.is_empty() {
        let admitted = match request.headers().get(AUTHORIZATION) {
            Some(header) => gate.admits(header).await,
            None => false,
        };
        if !admitted {
            return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic")], "Unauthorized\n").into_response();
        }
    }
    next.run(request).await
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
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
        let builder = match (self.client_auth_type, &self.client_ca_file) {
            (ClientAuth::NoClientCert, None) => builder.with_no_client_auth(),
            (ClientAuth::NoClientCert, Some(_)) => {
                bail!("client_ca_file: found one without a client_auth_type that uses it, accepted is RequireAndVerifyClientCert");
            }
            (_, None) => bail!("client_auth_type: found {:?} without client_ca_file, accepted is both", self.client_auth_type),
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
        let key_file = folder.join(&self.key_file);
        let key = PrivateKeyDer::from_pem_file(&key_file).map_err(|error| anyhow::anyhow!("key_file: {}: {error}", key_file.display()))?;
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
