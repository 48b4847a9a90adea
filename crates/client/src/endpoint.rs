//! Where a server is, and who we are to it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::{Tls, Trust};

/// A server as configured. Debug shows no secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Who we are to it.
    pub credentials: Credentials,
    /// How TLS is spoken to it; `None` is not at all.
    pub tls: Option<Tls>,
    /// Where it may be, if others told us; `None` for one that was configured.
    pub trust: Option<Arc<Trust>>,
}

/// Where a server listens. Displayed as the label `node` of a server without a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or IP address, and a port.
    Tcp {
        /// Without the brackets of an IPv6 address.
        host: String,
        /// 6379 by default.
        port: u16,
    },
    /// The path of a socket.
    Unix(PathBuf),
}

/// Who we are to a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Credentials {
    /// ACL user; `None` is the user `default`.
    pub username: Option<String>,
    /// Its password. Without one, nothing is sent.
    pub password: Option<Password>,
}

/// Where a password comes from.
#[derive(Debug, Clone)]
pub enum Password {
    /// From the configuration.
    Given(SecretString),
    /// From a file that is read at each connection.
    File(PathBuf),
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Password::Given(one), Password::Given(other)) => {
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

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
