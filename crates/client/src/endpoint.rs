//! Address, credentials and TLS of a server.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::{Tls, Trust};

/// Address, credentials and TLS of a server. The `Debug` output contains no secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Address of the server.
    pub address: Address,
    /// Credentials for the server.
    pub credentials: Credentials,
    /// TLS profile; `None` for connections without TLS.
    pub tls: Option<Tls>,
    /// Rule that the resolved addresses must satisfy before credentials are sent. `None` for
    /// endpoints from the configuration; only discovered endpoints have a rule.
    pub trust: Option<Arc<Trust>>,
}

/// Address of a server.
///
/// Displayed as `host:port` or as the path. This is the label `node` of nodes without a name.
///
/// ```
/// use client::Address;
///
/// let address = Address::Tcp { host: "fd00::5".to_owned(), port: 6379 };
/// assert_eq!(address.to_string(), "[fd00::5]:6379");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// Host name or IP address. IPv6 addresses have no brackets.
        host: String,
        /// Port number.
        port: u16,
    },
    /// Path of a unix socket.
    Unix(PathBuf),
}

/// Credentials for a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Credentials {
    /// ACL user; `None` for the user `default`.
    pub username: Option<String>,
    /// Password of the user. Without a password, AUTH is not sent.
    pub password: Option<Password>,
}

/// Source of a password.
#[derive(Debug, Clone)]
pub enum Password {
    /// The password itself.
    Inline(SecretString),
    /// File that contains the password or a token, at most 64 KiB. It is read before each new
    /// connection, within a second. The password is kept only while its connection is open, to hide
    /// it in replies. Trailing line breaks are removed. An unreadable or empty file is a failure
    /// with [`Reason::Local`](snapshot::Reason::Local), and nothing is sent.
    File(PathBuf),
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Password::Inline(one), Password::Inline(other)) => {
                one.expose_secret() == other.expose_secret()
            }
            (Password::File(one), Password::File(other)) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } => match host.parse() {
                Ok(IpAddr::V6(ip)) => write!(f, "[{ip}]:{port}"),
                _ => write!(f, "{host}:{port}"),
            },
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    /// Returns the endpoint of a configured address, without credentials and TLS.
    fn from(address: SocketAddr) -> Self {
        Self {
            address: Address::Tcp { host: address.ip().to_string(), port: address.port() },
            credentials: Credentials::default(),
            tls: None,
            trust: None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
