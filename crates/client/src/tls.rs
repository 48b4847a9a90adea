//! TLS profiles for connections to servers.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

/// Settings of a TLS profile. All files are in PEM format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    verifier: Arc<dyn ServerCertVerifier>,
    settings: Arc<TlsSettings>,
    /// Contents of `ca_file` and `cert_file`, for comparison. A new key requires a new certificate,
    /// so the key is not compared.
    contents: Arc<[Vec<u8>]>,
}

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

/// Expiry time of the certificate that a server presented, time since the Unix epoch. `None` before
/// the handshake.
#[derive(Debug, Clone, Default)]
pub(crate) struct CertificateExpiry(Arc<Mutex<Option<Duration>>>);

impl Tls {
    /// Reads the files and returns the profile.
    ///
    /// # Errors
    /// A file cannot be read or has no valid content, or the settings contradict each other.
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if settings.insecure_skip_verify {
            Arc::new(AcceptAnyCertificate(Arc::clone(&provider)))
        } else {
            let (roots, ca_file) = ca_certificates(settings)?;
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
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::clone(&verifier));
        let config = match (&settings.cert_file, &settings.key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let problem = |error| file_error("key_file", key, error);
                let key = PrivateKeyDer::from_pem_file(key).map_err(problem)?;
                builder
                    .with_client_auth_cert(certificates("cert_file", cert)?, key)
                    .map_err(TlsError::Identity)?
            }
            _ => return Err(TlsError::IncompleteIdentity),
        };
        let files = [&settings.ca_file, &settings.cert_file].into_iter().flatten();
        let contents = files.map(|path| std::fs::read(path).unwrap_or_default()).collect();
        Ok(Tls {
            config: Arc::new(config),
            verifier,
            settings: Arc::new(settings.clone()),
            contents,
        })
    }

    /// Returns the configuration of one connection, which records the certificate's expiry in
    /// `expiry`. Connections share everything else, including TLS sessions.
    pub(crate) fn config(&self, expiry: &CertificateExpiry) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.config);
        let verifier =
            ExpiryRecorder { verifier: Arc::clone(&self.verifier), expiry: expiry.clone() };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
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

impl CertificateExpiry {
    pub(crate) fn get(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, certificate: &CertificateDer<'_>) {
        let parsed = x509_parser::parse_x509_certificate(certificate).ok();
        let seconds = parsed.and_then(|(_, certificate)| {
            certificate.validity().not_after.timestamp().try_into().ok()
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seconds.map(Duration::from_secs);
    }
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
    settings: &TlsSettings,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.ca_file {
        let ca_file = certificates("ca_file", path)?;
        roots.add_parsable_certificates(ca_file.iter().cloned());
        return Ok((roots, ca_file));
    }
    let loaded = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let problem =
            loaded.errors.first().map_or_else(|| "none installed".to_owned(), ToString::to_string);
        return Err(TlsError::NoCaCertificates(problem));
    }
    Ok((roots, Vec::new()))
}

fn certificates(
    key: &'static str,
    path: &PathBuf,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let problem = |error| file_error(key, path, error);
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(problem)?
        .collect::<Result<_, _>>()
        .map_err(problem)?;
    if certificates.is_empty() {
        return Err(TlsError::File {
            key,
            path: path.clone(),
            problem: "no certificate found, expected PEM".to_owned(),
        });
    }
    Ok(certificates)
}

fn file_error(
    key: &'static str,
    path: &std::path::Path,
    error: rustls::pki_types::pem::Error,
) -> TlsError {
    let problem = match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        other => format!("{other}, expected PEM"),
    };
    TlsError::File { key, path: path.to_owned(), problem }
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

/// Verifier that records the expiry time of every certificate, accepted or not, and leaves the
/// verification to another verifier.
#[derive(Debug)]
struct ExpiryRecorder {
    verifier: Arc<dyn ServerCertVerifier>,
    expiry: CertificateExpiry,
}

impl ServerCertVerifier for ExpiryRecorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.expiry.set(end_entity);
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
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
