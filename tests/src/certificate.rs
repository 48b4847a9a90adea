//! Certificate of servers with TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Name in the certificate of all nodes.
const SERVER_NAME: &str = "redis.test";

/// Files of a certificate that all servers of a test have. It is signed by itself.
pub struct Certificate {
    /// Certificate of the authority.
    pub authority: PathBuf,
    /// Certificate of the servers.
    pub chain: PathBuf,
    /// Private key of the servers.
    pub key: PathBuf,
}

impl Certificate {
    /// Creates a key and a certificate in a directory.
    ///
    /// # Errors
    /// Fails if openssl does.
    pub fn create(directory: &Path) -> Result<Self, String> {
        let (certificate, key) = (directory.join("server.pem"), directory.join("server.key"));
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "30", "-subj", &format!("/CN={SERVER_NAME}")])
            .args(["-addext", &format!("subjectAltName=DNS:{SERVER_NAME}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
            .output()
            .map_err(|error| format!("cannot run openssl: {error}"))?;
        let error = || format!("openssl failed: {}", String::from_utf8_lossy(&output.stderr));
        let files = Certificate { authority: certificate.clone(), chain: certificate, key };
        output.status.success().then_some(files).ok_or_else(error)
    }

    /// Returns the TLS profile for the configuration of the exporter.
    pub fn profile(&self) -> String {
        let authority = self.authority.display();
        format!("tls = {{ ca_file = '{authority}', server_name = '{SERVER_NAME}' }}\n")
    }
}
