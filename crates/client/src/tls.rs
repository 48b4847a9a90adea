//! TLS profiles for connections to servers.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

use crate::tls_sessions::{ServerSessions, TlsSessions};

/// Settings of a TLS profile. All files are in PEM format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// Certificates of the trusted authorities; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// Client certificate with its chain, for servers that require one.
    pub cert_file: Option<PathBuf>,
    /// Private key of the client certificate.
    pub key_file: Option<PathBuf>,
    /// Name that the server's certificate must contain; `None` for the host of the server.
    pub server_name: Option<String>,
    /// Accept any server certificate.
    pub insecure_skip_verify: bool,
}

/// A TLS profile.
///
/// The files are read once. Connections share a profile, so that TLS sessions can be resumed. Two
/// profiles are equal if their settings and the contents of their certificate files are equal.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    sessions: Arc<TlsSessions>,
    settings: Arc<TlsSettings>,
    /// Contents of `ca_file` and `cert_file`, for comparison. A new key requires a new certificate,
    /// so the key is not compared.
    contents: Arc<[Vec<u8>]>,
}

/// The files of a TLS profile.
struct PemFiles {
    ca: Option<PemFile>,
    cert: Option<PemFile>,
    key: Option<PemFile>,
}

/// A file in PEM format.
struct PemFile {
    /// Setting that names the file.
    setting: &'static str,
    path: PathBuf,
    content: Vec<u8>,
}

/// End of the message about a file that is not in PEM format.
const EXPECTED_PEM: &str = ", expected PEM";

/// Path that stands for all certificates of the system in [`files::within_limit`].
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs";

/// Error in the settings of a TLS profile.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has no valid content.
    #[error("\"{key}\": cannot read {path}: {problem}", path = path.display())]
    File {
        /// Setting that names the file: `ca_file`, `cert_file` or `key_file`.
        key: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Cause: the error of the operating system or of the PEM parser.
        problem: String,
    },
    /// Only one of `cert_file` and `key_file` is set.
    #[error("\"cert_file\" and \"key_file\" must be set together")]
    IncompleteIdentity,
    /// `ca_file` is not set, and the system has no CA certificates.
    #[error("missing key \"ca_file\": the system has no CA certificates ({0})")]
    NoCaCertificates(String),
    /// The certificate and the key do not match, or one of them is not supported.
    #[error("\"cert_file\" and \"key_file\" cannot be used: {0}")]
    Identity(rustls::Error),
}

impl Tls {
    /// Reads the files and returns the profile. A file on a file system that hangs takes
    /// [`files::LIMIT`], so this does not belong on a thread that polls.
    ///
    /// # Errors
    /// A file cannot be read or has no valid content, or the settings contradict each other.
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        let files = PemFiles::read(settings)?;
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if settings.insecure_skip_verify {
            Arc::new(AcceptAnyCertificate(Arc::clone(&provider)))
        } else {
            let (roots, ca_file) = ca_certificates(&files)?;
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            let verifier = builder.build();
            let verifier =
                verifier.map_err(|error| TlsError::NoCaCertificates(error.to_string()))?;
            Arc::new(SelfSignedVerifier { verifier, ca_file })
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Identity)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match (&files.cert, &files.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let problem = |error: pem::Error| key.error(error.to_string() + EXPECTED_PEM);
                let key = PrivateKeyDer::from_pem_slice(&key.content).map_err(problem)?;
                builder
                    .with_client_auth_cert(cert.certificates()?, key)
                    .map_err(TlsError::Identity)?
            }
            _ => return Err(TlsError::IncompleteIdentity),
        };
        let compared = [files.ca, files.cert].into_iter().flatten();
        Ok(Tls {
            config: Arc::new(config),
            sessions: Arc::default(),
            settings: Arc::new(settings.clone()),
            contents: compared.map(|file| file.content).collect(),
        })
    }

    /// Returns the configuration of a connection to this address, which resumes the last session of
    /// its server. Everything else is shared: rustls resumes no session of another verifier.
    pub(crate) fn config(&self, address: SocketAddr) -> ClientConfig {
        let sessions = ServerSessions::new(Arc::clone(&self.sessions), address);
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::store(Arc::new(sessions));
        config
    }

    /// Returns the name that the certificate of a server at this host must contain.
    pub(crate) fn server_name<'a>(&'a self, host: &'a str) -> &'a str {
        self.settings.server_name.as_deref().unwrap_or(host)
    }

    /// Returns the settings of the profile.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// Returns true if both are the same profile, with the same certificates in memory and the same
    /// TLS sessions.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings && self.contents == other.contents
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Returns the expiry time of a certificate, time since the Unix epoch.
pub(crate) fn certificate_expiry(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp().try_into().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns the first message of a TLS handshake. A probe sends it to detect TLS, and does not
/// complete the handshake.
pub(crate) fn client_hello() -> Option<Vec<u8>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?;
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)))
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("redis.invalid").ok()?)
            .ok()?;
    let mut message = Vec::new();
    connection.write_tls(&mut message).ok()?;
    Some(message)
}

/// Returns the trusted certificates: those of `ca_file`, otherwise those of the system. The second
/// value contains those of `ca_file`.
fn ca_certificates(
    files: &PemFiles,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &files.ca {
        let ca_file = file.certificates()?;
        roots.add_parsable_certificates(ca_file.iter().cloned());
        return Ok((roots, ca_file));
    }
    let load = || Ok(rustls_native_certs::load_native_certs());
    let loaded = files::within_limit(Path::new(SYSTEM_CERTIFICATES), load)
        .map_err(|error| TlsError::NoCaCertificates(error.to_string()))?;
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let problem =
            loaded.errors.first().map_or_else(|| "none installed".to_owned(), ToString::to_string);
        return Err(TlsError::NoCaCertificates(problem));
    }
    Ok((roots, Vec::new()))
}

impl PemFiles {
    /// Reads the files that the settings name.
    fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let read = |key, path: &Option<PathBuf>| {
            path.as_deref().map(|path| PemFile::read(key, path)).transpose()
        };
        Ok(PemFiles {
            ca: read("ca_file", &settings.ca_file)?,
            cert: read("cert_file", &settings.cert_file)?,
            key: read("key_file", &settings.key_file)?,
        })
    }
}

impl PemFile {
    fn read(setting: &'static str, path: &Path) -> Result<Self, TlsError> {
        let file = PemFile { setting, path: path.to_owned(), content: Vec::new() };
        match files::read(path) {
            Ok(content) => Ok(PemFile { content, ..file }),
            Err(error) => Err(file.error(error.to_string())),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Result<Vec<_>, pem::Error> =
            CertificateDer::pem_slice_iter(&self.content).collect();
        let certificates =
            certificates.map_err(|error| self.error(error.to_string() + EXPECTED_PEM))?;
        if certificates.is_empty() {
            return Err(self.error("no certificate found".to_owned() + EXPECTED_PEM));
        }
        Ok(certificates)
    }

    fn error(&self, problem: String) -> TlsError {
        TlsError::File { key: self.setting, path: self.path.clone(), problem }
    }
}

/// Verifier that also accepts a certificate of `ca_file` as the certificate of the server.
///
/// `openssl req -x509` creates such certificates: each is its own authority. OpenSSL, and so
/// redis-cli, accepts them. The name and the time are verified as for other certificates.
#[derive(Debug)]
struct SelfSignedVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    ca_file: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for SelfSignedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if verified.is_ok() || !self.ca_file.contains(end_entity) {
            return verified;
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        verify_validity(end_entity, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Checks that a certificate is valid at this time.
fn verify_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Verifier that accepts any certificate, for `insecure_skip_verify` and for probes.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_fifo_is_no_file_of_a_profile() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success()));
        let path = Some(fifo);
        let cert = TlsSettings { cert_file: path.clone(), ..TlsSettings::default() };
        for (expected, settings) in [
            ("ca_file", TlsSettings { ca_file: path.clone(), ..TlsSettings::default() }),
            ("cert_file", TlsSettings { key_file: path.clone(), ..cert.clone() }),
            ("key_file", TlsSettings { key_file: path, ..TlsSettings::default() }),
        ] {
            match Tls::new(&settings).expect_err("not a regular file") {
                TlsError::File { key, problem, .. } => {
                    assert_eq!((key, &*problem), (expected, "not a regular file"));
                }
                other => panic!("{other}"),
            }
        }
    }
}
