//! TLS towards servers: whom we trust, and who we are.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// What a TLS profile is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates of the authorities to trust, in PEM; those of the system without it.
    pub ca_file: Option<PathBuf>,
    /// Our certificate with its chain, in PEM, for servers that ask for one.
    pub cert_file: Option<PathBuf>,
    /// Its key, in PEM.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have; its host without it.
    pub server_name: Option<String>,
    /// Trust any certificate.
    pub insecure_skip_verify: bool,
}

/// A TLS profile: read once, and shared by all connections that use it, so that sessions are resumed.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
    settings: Arc<TlsSettings>,
    /// What was in the files.
    contents: Arc<[Vec<u8>]>,
}

/// Why a TLS profile cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of the kind.
    #[error("{key}: {path}: {problem}", path = path.display())]
    File {
        /// The setting that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("cert_file and key_file: found only one of them, accepted are both or none")]
    HalfIdentity,
    /// The system has no certificates, and no `ca_file` is given.
    #[error(
        "ca_file: found none, and the system has no certificates of authorities ({0}), accepted is a file in PEM"
    )]
    NoRoots(String),
    /// The certificate and the key do not fit.
    #[error("cert_file and key_file: {0}")]
    Identity(rustls::Error),
}

/// When the certificate of a server expires, once it was seen; since the Unix epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expiry(Arc<Mutex<Option<Duration>>>);

impl Tls {
    /// Reads the files and makes the profile.
    ///
    /// # Errors
    /// A file is missing or holds nothing of use.
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if settings.insecure_skip_verify {
            Arc::new(TrustAnyone(Arc::clone(&provider)))
        } else {
            let roots = Arc::new(roots(settings)?);
            let built =
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            built.map_err(|error| TlsError::NoRoots(error.to_string()))?
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
            _ => return Err(TlsError::HalfIdentity),
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

    /// The configuration of one connection. It shares everything with the others but what it saw.
    pub(crate) fn config(&self, expiry: &Expiry) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.config);
        let verifier = Recording { verifier: Arc::clone(&self.verifier), expiry: expiry.clone() };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        config
    }

    /// The name that the certificate of a server at this host must have.
    pub(crate) fn server_name<'a>(&'a self, host: &'a str) -> &'a str {
        self.settings.server_name.as_deref().unwrap_or(host)
    }

    /// What the profile was made from.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }
}

/// Two profiles are the same when they were made from the same settings and files; a key does not change without its certificate.
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

impl Expiry {
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

/// The first message of a TLS handshake, to learn whether a server speaks TLS at all. The handshake is never finished.
pub(crate) fn hello() -> Option<Vec<u8>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?;
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("redis.invalid").ok()?)
            .ok()?;
    let mut message = Vec::new();
    connection.write_tls(&mut message).ok()?;
    Some(message)
}

fn roots(settings: &TlsSettings) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.ca_file {
        roots.add_parsable_certificates(certificates("ca_file", path)?);
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let problem =
            found.errors.first().map_or_else(|| "none installed".to_owned(), ToString::to_string);
        return Err(TlsError::NoRoots(problem));
    }
    Ok(roots)
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
            problem: "found no certificate, accepted is PEM".to_owned(),
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
        rustls::pki_types::pem::Error::Io(error) => format!("{error}, accepted is PEM"),
        other => format!("{other}, accepted is PEM"),
    };
    TlsError::File { key, path: path.to_owned(), problem }
}

/// Verifies as another does, and takes note of when the certificate expires, whether it is accepted or not.
#[derive(Debug)]
struct Recording {
    verifier: Arc<dyn ServerCertVerifier>,
    expiry: Expiry,
}

impl ServerCertVerifier for Recording {
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

/// Accepts any certificate. Only where the configuration says so in so many words.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
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
