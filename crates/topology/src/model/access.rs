//! Access of Rolecall to a node, for commands that readers run themselves. It contains no secret.

use std::path::PathBuf;

/// User, password and TLS with which Rolecall connects to a node. The default is none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeAccess {
    /// ACL user; `None` for the default user.
    pub user: Option<String>,
    /// A password is configured.
    pub has_password: bool,
    /// Settings of TLS; `None` without TLS.
    pub tls: Option<TlsAccess>,
}

/// Settings of TLS. All paths are paths on the machine of Rolecall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsAccess {
    /// Certificates of the trusted authorities; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// Client certificate.
    pub cert_file: Option<PathBuf>,
    /// Key of the client certificate.
    pub key_file: Option<PathBuf>,
    /// Name that the certificate of the server must contain; `None` for its host.
    pub server_name: Option<String>,
    /// Any certificate is accepted.
    pub is_insecure: bool,
}
