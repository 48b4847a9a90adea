//! Connects to a server and authenticates.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use secrecy::SecretString;
use snapshot::{Reason, Reply, ServerError};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::probe::find_cause;
use crate::receive::Received;
use crate::resp::{self, Limits, Protocol};
use crate::secrets::SentPassword;
use crate::stream::{self, Stream};
use crate::tls::certificate_expiry;
use crate::{Address, Command, Credentials, Endpoint, Failure, Password, Tls};

/// Maximum number of addresses of one host name that are tried, one after another.
const MAX_ADDRESSES: usize = 4;

/// Time limit for the probes that find the cause of failed attempts.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Idle time before TCP keepalive probes, and interval between them. Without them a subscription
/// would not notice that its peer is gone.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Time after which a connection ends whose host acknowledges nothing. The kernel of a host
/// acknowledges also for a process that hangs. So the host is gone, or its address leads to another
/// one that does not know the connection and does not say so.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(2);

/// Limit of the size of a password file, bytes.
const PASSWORD_BYTES: u64 = 64 << 10;

/// Time limit for reading a password file. It is shorter than the time after which a node without a
/// connection counts as down, since the node may be healthy.
const PASSWORD_LIMIT: Duration = Duration::from_secs(1);

/// Limits of the replies to AUTH and to INFO server.
const LIMITS: Limits = Limits { bytes: 64 << 10, elements: 0 };

/// A stream to a server that replied to a first command.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) stream: Stream,
    /// Address of the server; `None` for a unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// Expiry time of the server's certificate, time since the Unix epoch; `None` without TLS.
    pub(crate) certificate_expiry: Option<Duration>,
    pub(crate) password: SentPassword,
    /// Error reply to the first command, if the server refused only this command.
    pub(crate) refusal: Option<ServerError>,
}

/// Options of an attempt to connect.
#[derive(Debug, Clone, Copy)]
pub struct ConnectOptions {
    pub(crate) limit: Duration,
    probe: bool,
}

impl ConnectOptions {
    /// Returns options for an attempt that takes at most `limit`. Reading a password file before it
    /// may take a second, and finding the cause of a failure another one.
    pub const fn new(limit: Duration) -> Self {
        ConnectOptions { limit, probe: true }
    }

    /// Opens no further connections to find the cause of a failure.
    #[must_use]
    pub const fn without_probe(self) -> Self {
        ConnectOptions { probe: false, ..self }
    }
}

/// Connects to a server: it sends AUTH, or INFO server if no password is configured, and waits for
/// the reply.
///
/// # Errors
/// The host does not resolve or is not trusted, the server does not reply, or it refuses the
/// credentials or the connection.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    options: ConnectOptions,
) -> Result<Connected, Failure> {
    let password = SentPassword::new(read_password(&endpoint.credentials).await?);
    let limit = options.limit;
    let attempt = timeout(limit + PROBE_LIMIT, try_addresses(endpoint, &password, options)).await;
    let connected = attempt.unwrap_or_else(|_| Err(timed_out(limit)));
    connected.map_err(|failure| password.hide_in_failure(failure))
}

async fn try_addresses(
    endpoint: &Endpoint,
    password: &SentPassword,
    options: ConnectOptions,
) -> Result<Connected, Failure> {
    let ConnectOptions { limit, probe } = options;
    let (host, port) = match &endpoint.address {
        Address::Unix(path) => {
            let attempt = async {
                let stream =
                    UnixStream::connect(path).await.map_err(|error| stream::failure(&error))?;
                authenticate(endpoint, password, Box::new(stream)).await
            };
            return timeout(limit, attempt).await.map_err(|_| timed_out(limit))?;
        }
        Address::Tcp { host, port } => (host, *port),
    };
    let addresses = resolve(host, port).await?;
    let (addresses, is_anonymous) = permitted(endpoint, host, addresses)?;
    let is_withheld = is_anonymous && password.expose().is_some();
    let password = if is_anonymous { &SentPassword::default() } else { password };
    let limit_per_address = limit / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut failure = Failure::new(Reason::Dns, format!("{host} resolves to no address"));
    for address in addresses {
        let attempt = timeout(limit_per_address, connect_tcp(endpoint, password, host, address));
        failure = match attempt.await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(failure)) if is_withheld => without_password(failure),
            Ok(Err(failure)) => failure,
            Err(_) => timed_out(limit_per_address),
        };
        if probe {
            failure = find_cause(failure, address, password, endpoint.tls.is_some()).await;
        }
    }
    Err(failure)
}

/// Returns the addresses of a host that the trust of the endpoint permits, and whether they may be
/// connected to only without credentials.
///
/// # Errors
/// Fails if there is none.
fn permitted(
    endpoint: &Endpoint,
    host: &str,
    addresses: Vec<SocketAddr>,
) -> Result<(Vec<SocketAddr>, bool), Failure> {
    let Some(trust) = &endpoint.trust else { return Ok((addresses, false)) };
    let (trusted, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| trust.permits(host, address.ip()));
    if !trusted.is_empty() {
        return Ok((trusted, false));
    }
    let anonymous: Vec<_> =
        others.into_iter().filter(|address| trust.permits_anonymously(address.ip())).collect();
    if !anonymous.is_empty() {
        return Ok((anonymous, true));
    }
    let problem = format!("{} is not permitted by \"trust\"", endpoint.address);
    Err(Failure::new(Reason::Local, problem))
}

/// Adds to a refusal that the configured password was not sent.
fn without_password(failure: Failure) -> Failure {
    if failure.reason != Reason::Auth {
        return failure;
    }
    let problem = "the address is not trusted, so the password was not sent";
    Failure { detail: format!("{problem}: {}", failure.detail), ..failure }
}

async fn connect_tcp(
    endpoint: &Endpoint,
    password: &SentPassword,
    host: &str,
    address: SocketAddr,
) -> Result<Connected, Failure> {
    let tcp = TcpStream::connect(address).await.map_err(|error| stream::failure(&error))?;
    configure(&tcp).map_err(|error| stream::failure(&error))?;
    let (stream, certificate_expiry): (Stream, _) = match &endpoint.tls {
        None => (Box::new(tcp), None),
        Some(tls) => start_tls(tls, host, address, tcp).await?,
    };
    let of_peer = |failure: Failure| failure.of_peer(address);
    let connected = authenticate(endpoint, password, stream).await.map_err(of_peer)?;
    Ok(Connected { peer: Some(address), certificate_expiry, ..connected })
}

/// Sets the options of a socket: packets are sent at once, and a host that is gone is noticed.
fn configure(tcp: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    tcp.set_nodelay(true)
}

/// Performs the handshake. Returns the stream and the expiry time of the server's certificate.
async fn start_tls(
    tls: &Tls,
    host: &str,
    address: SocketAddr,
    tcp: TcpStream,
) -> Result<(Stream, Option<Duration>), Failure> {
    let name = tls.server_name(host).to_owned();
    let server_name = ServerName::try_from(name.clone())
        .map_err(|_| Failure::new(Reason::Tls, format!("invalid server name {name:?}")))?;
    let connector = TlsConnector::from(Arc::new(tls.config(address)));
    let stream = connector.connect(server_name, tcp).await;
    let stream = stream.map_err(|error| stream::failure(&error))?;
    // A resumed session has the certificates of the first one.
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    let expiry = certificate.and_then(certificate_expiry);
    Ok((Box::new(stream), expiry))
}

/// Sends the first command and checks its reply: AUTH, or INFO server if no password is configured.
///
/// Without it, a server that accepts connections but does not reply would count as connected.
async fn authenticate(
    endpoint: &Endpoint,
    password: &SentPassword,
    mut stream: Stream,
) -> Result<Connected, Failure> {
    let mut request = Vec::new();
    match password.expose() {
        None => resp::encode(&[Command::new(&snapshot::INFO_SERVER, None)], &mut request),
        Some(password) => {
            let words = [Some(snapshot::AUTH.name), endpoint.credentials.username.as_deref()];
            resp::encode_words(words.into_iter().flatten().chain([password]), &mut request);
        }
    }
    let is_authenticating = password.expose().is_some();
    let sent = async {
        stream.write_all(&request).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| stream::failure(&error))?;
    let mut received = Received::default();
    let reply = received.complete_reply(&mut stream, 0, LIMITS, Protocol::Resp2);
    let end = stream::mark_failure_at_once(reply).await?.end;
    let refusal = match password.decode(&received.bytes[..end]) {
        Reply::Text(text) if is_authenticating && text == "OK" => None,
        Reply::Error(error) if is_authenticating => {
            return Err(rejected(&error, &received.bytes[..end]));
        }
        // Its text could be the password.
        _ if is_authenticating => {
            return Err(Failure::new(Reason::Protocol, "unexpected reply to AUTH"));
        }
        Reply::Error(error) => match error.reason() {
            Some(Reason::Auth) if error.code == "NOAUTH" => {
                let problem = "the server requires a password, and none is configured";
                let detail = format!("{problem}: {}", error.text);
                return Err(Failure { detail, ..Failure::refusal(&error) });
            }
            Some(Reason::Auth | Reason::Maxclients) => return Err(Failure::refusal(&error)),
            _ => Some(error),
        },
        _ => None,
    };
    let password = password.clone();
    Ok(Connected { stream, peer: None, certificate_expiry: None, password, refusal })
}

/// Converts an error reply to AUTH. `reply` is the reply as it was received.
fn rejected(error: &ServerError, reply: &[u8]) -> Failure {
    let reason = error.reason().unwrap_or(Reason::Auth);
    if reason != Reason::Auth {
        return Failure::refusal(error);
    }
    let reply = String::from_utf8_lossy(reply);
    // The first text is that of 6.0 and later, the second one that of older servers.
    let is_open =
        ["without any password", "no password is set"].iter().any(|text| reply.contains(text));
    let problem = if is_open {
        "a password is configured, and the server requires none"
    } else {
        "the server rejected the configured user or password"
    };
    let detail = format!("{problem}: {}", error.text);
    Failure { reason, detail, ..Failure::refusal(error) }
}

/// Returns the password, which may be in a file. The file is read for each connection, so that a
/// new password or token takes effect at the next connection.
///
/// # Errors
/// The file cannot be read, or it is empty, as while another process rewrites it. Then the server
/// gets no AUTH: an empty password would be an error there. The problem is local, and says nothing
/// about the credentials.
async fn read_password(credentials: &Credentials) -> Result<Option<SecretString>, Failure> {
    let path = match &credentials.password {
        None => return Ok(None),
        Some(Password::Inline(password)) => return Ok(Some(password.clone())),
        Some(Password::File(path)) => path,
    };
    let problem = |problem: &dyn fmt::Display| {
        let path = path.display();
        Failure::new(Reason::Local, format!("cannot read password file {path}: {problem}"))
    };
    let file = path.to_owned();
    let text =
        spawn_blocking(move || files::read_small(file, PASSWORD_BYTES, PASSWORD_LIMIT)).await;
    let text = text.map_err(io::Error::other).and_then(|text| text);
    let text = text.map_err(|error| problem(&error))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(problem(&"it is empty")),
        password => Ok(Some(password.into())),
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    match lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.take(MAX_ADDRESSES).collect()),
        Err(error) => Err(Failure::new(Reason::Dns, format!("{host}: {error}"))),
    }
}

fn timed_out(limit: Duration) -> Failure {
    Failure::new(Reason::Timeout, format!("connection not established within {limit:?}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Starts a server that closes the first connection after a command, and refuses the second one
    /// because it is full.
    async fn server() -> Endpoint {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a socket");
        let endpoint = listener.local_addr().expect("an address").into();
        let serve = async move {
            let (mut first, _) = listener.accept().await.expect("a connection");
            first.read_exact(&mut [0; 16]).await.expect("a command");
            drop(first);
            let (mut second, _) = listener.accept().await.expect("a connection");
            second.write_all(b"-ERR max number of clients reached\r\n").await.expect("sent");
        };
        #[expect(clippy::disallowed_methods, reason = "a server of this test")]
        tokio::spawn(serve);
        endpoint
    }

    #[tokio::test]
    async fn an_address_that_is_not_trusted_gets_no_password() {
        use crate::{Credentials, Password, Trust};

        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a socket");
        let mut endpoint = Endpoint::from(listener.local_addr().expect("an address"));
        let password = Some(Password::Inline("hunter2".to_owned().into()));
        endpoint.credentials = Credentials { username: Some("mon".to_owned()), password };
        for (networks, expected) in [(["10.0.0.0/8"], "INFO"), (["127.0.0.0/8"], "AUTH")] {
            let trust = Trust::new(networks, false).expect("a network");
            endpoint.trust = Some(trust.with_anonymous_connections().into());
            let serve = async {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut received = [0; 16];
                stream.read_exact(&mut received).await.expect("a command");
                stream.write_all(b"-NOAUTH Authentication required.\r\n").await.expect("sent");
                String::from_utf8_lossy(&received).into_owned()
            };
            let options = ConnectOptions::new(Duration::from_secs(2)).without_probe();
            let (received, connected) = tokio::join!(serve, connect(&endpoint, options));
            assert!(received.contains(expected), "{received}");
            let failure = connected.expect_err("the server refuses");
            let is_withheld = failure.detail.contains("so the password was not sent");
            assert_eq!((failure.reason, is_withheld), (Reason::Auth, expected == "INFO"));
        }
    }

    #[tokio::test]
    async fn only_an_attempt_with_a_probe_opens_a_second_connection() {
        let options = ConnectOptions::new(Duration::from_secs(2));
        let with_probe = connect(&server().await, options).await;
        assert_eq!(with_probe.expect_err("it is full").reason, Reason::Maxclients);
        let without_probe = connect(&server().await, options.without_probe()).await;
        let reason = without_probe.expect_err("it is closed").reason;
        assert!(matches!(reason, Reason::Closed | Reason::Reset), "{reason}");
    }
}
