//! TLS sessions of servers, which later connections resume.
//!
//! A resumed session needs no certificates and no signatures, which are most of the cost of a
//! handshake, for both sides. The servers of one profile may share a host and a certificate, so
//! their sessions are kept by address and not only by name, as rustls does.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Limit of the servers whose sessions are kept. All are dropped when it is reached, as after a
/// restart.
const MAX_SERVERS: usize = 16_384;

/// Sessions of all servers of one profile.
#[derive(Default)]
pub(crate) struct TlsSessions(Mutex<HashMap<Server, Sessions>>);

/// Sessions of the server at one address.
pub(crate) struct ServerSessions {
    all: Arc<TlsSessions>,
    address: SocketAddr,
}

/// Address of a server, and the name that its certificate contains.
type Server = (SocketAddr, ServerName<'static>);

/// Sessions of one server. Each new one replaces the previous one.
#[derive(Default)]
struct Sessions {
    /// Group of the last key exchange, which the next one begins with.
    group: Option<NamedGroup>,
    tls12: Option<Box<Tls12ClientSessionValue>>,
    tls13: Option<Box<Tls13ClientSessionValue>>,
}

impl ServerSessions {
    pub(crate) fn new(all: Arc<TlsSessions>, address: SocketAddr) -> Self {
        ServerSessions { all, address }
    }

    /// Reads or changes the sessions of the server with this name.
    fn with<T>(&self, name: &ServerName<'_>, access: impl FnOnce(&mut Sessions) -> T) -> T {
        let server = (self.address, name.to_owned());
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_SERVERS && !all.contains_key(&server) {
            all.clear();
        }
        access(all.entry(server).or_default())
    }
}

impl ClientSessionStore for ServerSessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.with(&server_name, |sessions| sessions.group = Some(group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(server_name, |sessions| sessions.group)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.with(&server_name, |sessions| sessions.tls12 = Some(Box::new(value)));
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(server_name, |sessions| sessions.tls12.as_deref().cloned())
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.with(server_name, |sessions| sessions.tls12 = None);
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.with(&server_name, |sessions| sessions.tls13 = Some(Box::new(value)));
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.with(server_name, |sessions| sessions.tls13.take().map(|value| *value))
    }
}

impl fmt::Debug for ServerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSessions").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::Duration;

    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::version::{TLS12, TLS13};
    use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::{Address, ConnectOptions, Connection, Credentials, Endpoint, Tls, TlsSettings};

    /// Length of the command INFO server.
    const COMMAND_LENGTH: usize = "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n".len();

    /// Creates a certificate for 127.0.0.1. Returns its profile, and the configuration of a server.
    fn certificate(version: &'static SupportedProtocolVersion) -> (Tls, Arc<ServerConfig>) {
        let folder = tempfile::tempdir().expect("a directory");
        let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                         -subj /CN=server -addext subjectAltName=IP:127.0.0.1 \
                         -keyout key.pem -out cert.pem";
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(folder.path())
            .output()
            .expect("openssl");
        assert!(output.status.success(), "{output:?}");
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let chain = vec![CertificateDer::from_pem_file(&certificate).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(&key).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let settings = TlsSettings { ca_file: Some(certificate), ..TlsSettings::default() };
        (Tls::new(&settings).expect("a profile"), Arc::new(config.expect("a configuration")))
    }

    /// Starts a server that replies to the first command on each connection. Returns its endpoint
    /// and the kinds of its handshakes.
    async fn server(
        tls: &Tls,
        config: &Arc<ServerConfig>,
    ) -> (Endpoint, mpsc::Receiver<HandshakeKind>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let acceptor = TlsAcceptor::from(Arc::clone(config));
        let (sender, kinds) = mpsc::channel();
        let serve = async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let mut stream = acceptor.accept(tcp).await.expect("a handshake");
                let kind = stream.get_ref().1.handshake_kind().expect("a kind");
                stream.read_exact(&mut [0; COMMAND_LENGTH]).await.expect("a command");
                stream.write_all(b"$4\r\nrole\r\n").await.expect("sent");
                sender.send(kind).expect("the test runs");
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a server of this test")]
        tokio::spawn(serve);
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port };
        let credentials = Credentials::default();
        (Endpoint { address, credentials, tls: Some(tls.clone()), trust: None }, kinds)
    }

    async fn connect(endpoint: &Endpoint) -> Connection {
        let options = ConnectOptions::new(Duration::from_secs(5));
        Connection::open(endpoint, options).await.expect("a connection")
    }

    #[tokio::test]
    async fn a_second_connection_resumes_the_session_of_its_server() {
        for version in [&TLS12, &TLS13] {
            let (tls, config) = certificate(version);
            let [(one, kinds_of_one), (other, kinds_of_other)] =
                [server(&tls, &config).await, server(&tls, &config).await];
            for resumed in [false, true, true] {
                for (endpoint, kinds) in [(&one, &kinds_of_one), (&other, &kinds_of_other)] {
                    let connection = connect(endpoint).await;
                    let kind = kinds.recv_timeout(Duration::from_secs(5)).expect("a handshake");
                    assert_eq!(kind == HandshakeKind::Resumed, resumed, "{version:?}: {kind:?}");
                    let expiry = connection.certificate_expiry();
                    assert!(expiry.is_some_and(|expiry| !expiry.is_zero()), "{version:?}");
                }
            }
        }
    }

    #[test]
    fn the_number_of_servers_is_limited() {
        let all = Arc::<TlsSessions>::default();
        let name = ServerName::try_from("redis.example").expect("a name");
        for port in 0..=u16::MAX {
            let sessions = ServerSessions::new(Arc::clone(&all), ([10, 0, 0, 1], port).into());
            sessions.set_kx_hint(name.clone(), NamedGroup::X25519);
            assert_eq!(sessions.kx_hint(&name), Some(NamedGroup::X25519));
        }
        let count = all.0.lock().expect("no panic").len();
        assert!((1..=MAX_SERVERS).contains(&count), "{count}");
    }
}
