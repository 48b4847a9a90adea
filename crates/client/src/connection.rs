//! A connection to one server.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{
    Config, ConnectionConfig, CredentialProvider, PerformanceConfig, Server, ServerConfig,
    TcpConfig, TlsConnector,
};
use fred::types::{ClusterHash, ConnectHandle, CustomCommand, Resp3Frame, RespVersion, Value};
use futures_util::future::try_join_all;
use secrecy::ExposeSecret;
use snapshot::{Reason, Reply, SentCommand, ServerError};
use socket2_of_fred::TcpKeepalive;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::memory_guard::within_limits;
use crate::tls::CertificateExpiry;
use crate::{Address, Credentials, Endpoint, Failure, Password, probe};

/// Maximum number of addresses of one host name that are tried, one after another.
const MAX_ADDRESSES: usize = 4;

/// Time limit for the probes that find the cause of failed attempts.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Channel capacity of a connection without a subscription. It cannot be 0: fred uses the same
/// capacity for the channel that reports connection errors.
const MIN_CHANNEL_CAPACITY: usize = 4;

/// Idle time before TCP keepalive probes, and interval between them. Without them a subscription
/// would not notice that its peer is gone.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Maximum nesting depth of a reply. Deeper values become [`Reply::Nil`].
const MAX_DEPTH: usize = 8;

/// A connection to one server.
///
/// It does not work after a [`Failure`]: drop it and open another one.
///
/// ```no_run
/// use std::time::Duration;
///
/// use client::{Address, Command, Connection, Credentials, Endpoint, Failure};
///
/// # async fn example() -> Result<(), Failure> {
/// let endpoint = Endpoint {
///     address: Address::Tcp { host: "10.0.0.5".to_owned(), port: 6379 },
///     credentials: Credentials::default(),
///     tls: None,
///     trust: None,
/// };
/// let mut connection = Connection::open(&endpoint, Duration::from_secs(2)).await?;
/// let replies = connection.run(&[Command::new(&snapshot::INFO, None)]).await?;
/// println!("{}", replies[0].text().unwrap_or_default());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Connection {
    client: Client,
    task: ConnectHandle,
    expiry: CertificateExpiry,
    peer: Option<SocketAddr>,
}

/// A command and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Name of the command, for example `CONFIG`. Value of the label `command` of
    /// `rolecall_commands_total`.
    pub name: &'static str,
    /// Arguments, including a subcommand.
    pub arguments: Vec<Cow<'static, str>>,
}

impl Command {
    /// Returns a command of the table. `operand` is the variable last argument, if it takes one.
    ///
    /// ```
    /// use client::Command;
    ///
    /// let command = Command::new(&snapshot::CONFIG_GET, Some("maxmemory".into()));
    /// assert_eq!(command.name, "CONFIG");
    /// assert_eq!(command.arguments, ["GET", "maxmemory"]);
    /// ```
    pub fn new(sent: &'static SentCommand, operand: Option<Cow<'static, str>>) -> Self {
        let fixed = sent.arguments.iter().map(|argument| Cow::Borrowed(*argument));
        Command { name: sent.name, arguments: fixed.chain(operand).collect() }
    }
}

impl Connection {
    /// Connects and authenticates within `limit`. If that fails, finding the cause may take another
    /// second.
    ///
    /// # Errors
    /// The host does not resolve or is not trusted, the server does not reply, or it refuses the
    /// credentials or the connection.
    pub async fn open(endpoint: &Endpoint, limit: Duration) -> Result<Self, Failure> {
        Self::open_with(endpoint, limit, MIN_CHANNEL_CAPACITY).await
    }

    /// Connects like [`Connection::open`]. `channel_capacity` is the maximum number of published
    /// messages that wait to be received.
    pub(crate) async fn open_with(
        endpoint: &Endpoint,
        limit: Duration,
        channel_capacity: usize,
    ) -> Result<Self, Failure> {
        within_limits(async {
            timeout(limit + PROBE_LIMIT, Self::try_addresses(endpoint, limit, channel_capacity))
                .await
                .map_err(|_| connect_timeout(limit))?
        })
        .await
    }

    /// Returns fred's handle to the connection.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    async fn try_addresses(
        endpoint: &Endpoint,
        limit: Duration,
        channel_capacity: usize,
    ) -> Result<Self, Failure> {
        let (host, port) = match &endpoint.address {
            Address::Unix(path) => {
                return Self::connect(
                    ServerConfig::Unix { path: path.clone() },
                    endpoint,
                    limit,
                    channel_capacity,
                )
                .await;
            }
            Address::Tcp { host, port } => (host, *port),
        };
        let mut addresses = resolve(host, port).await?;
        if let Some(trust) = &endpoint.trust {
            addresses.retain(|address| trust.permits(host, address.ip()));
            if addresses.is_empty() {
                return Err(Failure::new(
                    Reason::Local,
                    format!("{} is not permitted by \"trust\"", endpoint.address),
                ));
            }
        }
        let limit_per_address = limit / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut failure = Failure::new(Reason::Dns, format!("{host} resolves to no address"));
        for address in addresses {
            let mut server = Server::new(address.ip().to_string(), address.port());
            server.tls_server_name = endpoint.tls.as_ref().map(|tls| tls.server_name(host).into());
            let server = ServerConfig::Centralized { server };
            match Self::connect(server, endpoint, limit_per_address, channel_capacity).await {
                Ok(mut connection) => {
                    connection.peer = Some(address);
                    return Ok(connection);
                }
                Err(other) => failure = other,
            }
            if let Some(cause) = probe::find_cause(&failure, address, endpoint.tls.is_some()).await
            {
                failure = cause;
            }
        }
        Err(failure)
    }

    /// Returns the expiry time of the server's certificate, time since the Unix epoch. `None`
    /// without TLS.
    pub fn certificate_expiry(&self) -> Option<Duration> {
        self.expiry.get()
    }

    /// Returns the address that the connection uses; `None` for a unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Sends the commands in one batch and waits for all replies.
    ///
    /// Returns one reply for each command, in order. A refused command has an error as its reply,
    /// and does not cause a failure.
    ///
    /// # Errors
    /// The connection ended, there was no reply within 30 seconds, or the replies are too large:
    /// this process grew by more than 64 MiB while it waited.
    pub async fn run(&mut self, commands: &[Command]) -> Result<Vec<Reply>, Failure> {
        let replies = try_join_all(commands.iter().map(|command| {
            let custom = CustomCommand::new_static(command.name, ClusterHash::FirstKey, false);
            self.client.custom_raw(
                custom,
                command
                    .arguments
                    .iter()
                    .map(|argument| argument.as_ref().into())
                    .collect::<Vec<Value>>(),
            )
        }));
        let task = &mut self.task;
        within_limits(async {
            tokio::select! {
                biased;
                replies = replies => match replies {
                    Ok(frames) => Ok(frames.into_iter().map(|frame| reply(frame, 0)).collect()),
                    Err(error) => Err(Failure::from_fred(&error)),
                },
                ended = task => Err(failure_of_task(ended)),
            }
        })
        .await
    }

    /// Waits until the connection ends, and returns the reason.
    pub async fn ended(&mut self) -> Failure {
        failure_of_task((&mut self.task).await)
    }

    async fn connect(
        server: ServerConfig,
        endpoint: &Endpoint,
        limit: Duration,
        channel_capacity: usize,
    ) -> Result<Self, Failure> {
        let expiry = CertificateExpiry::default();
        let config = Config {
            server,
            version: RespVersion::RESP2,
            tls: endpoint.tls.as_ref().map(|tls| TlsConnector::from(tls.config(&expiry)).into()),
            credential_provider: Some(Arc::new(Provider(endpoint.credentials.clone()))),
            ..Config::default()
        };
        let performance = PerformanceConfig {
            default_command_timeout: Duration::ZERO,
            broadcast_channel_capacity: channel_capacity,
            ..PerformanceConfig::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: limit,
            internal_command_timeout: limit,
            max_command_attempts: 1,
            disable_cluster_health_check: true,
            tcp: TcpConfig {
                keepalive: Some(TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE)),
                ..TcpConfig::default()
            },
            ..ConnectionConfig::default()
        };
        let client = Client::new(config, Some(performance), Some(connection), None);
        let mut connected = client.reconnect_rx();
        let mut connection = Connection { task: client.connect(), client, expiry, peer: None };
        let outcome = timeout(limit, async {
            tokio::select! {
                biased;
                ended = &mut connection.task => Err(failure_of_task(ended)),
                _ = connected.recv() => Ok(()),
            }
        });
        match outcome.await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(connect_timeout(limit)),
        }
    }
}

/// Aborts fred's task, which would otherwise keep the socket open.
impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Provides the credentials to fred.
///
/// fred sends no PING if a provider is set. A server refuses PING while it loads its data set.
struct Provider(Credentials);

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Provider {
    async fn fetch(&self, _: Option<&Server>) -> Result<(Option<String>, Option<String>), Error> {
        let password = match &self.0.password {
            None => return Ok((None, None)),
            Some(Password::Inline(password)) => password.expose_secret().to_owned(),
            Some(Password::File(path)) => read_password(path).await?,
        };
        Ok((self.0.username.clone(), Some(password)))
    }
}

/// Reads a password from its file. This happens for each connection, so that a new password takes
/// effect at the next connection.
async fn read_password(path: &Path) -> Result<String, Error> {
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| {
        let path = path.display();
        Error::new(ErrorKind::Auth, format!("cannot read password file {path}: {error}"))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    match lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.take(MAX_ADDRESSES).collect()),
        Err(error) => Err(Failure::new(Reason::Dns, format!("{host}: {error}"))),
    }
}

fn connect_timeout(limit: Duration) -> Failure {
    Failure::new(Reason::Timeout, format!("connection not established within {limit:?}"))
}

/// Returns the failure that ended fred's task.
fn failure_of_task(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Failure {
    match ended {
        Ok(Ok(())) => Failure::new(Reason::Closed, "the server closed the connection"),
        Ok(Err(error)) => Failure::from_fred(&error),
        Err(error) => Failure::new(Reason::Local, error.to_string()),
    }
}

/// Converts a reply of fred.
fn reply(frame: Resp3Frame, depth: usize) -> Reply {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let items = |items: Vec<Resp3Frame>| {
        Reply::Array(items.into_iter().map(|item| reply(item, depth + 1)).collect())
    };
    match frame {
        _ if depth > MAX_DEPTH => Reply::Nil,
        Resp3Frame::BlobString { data, .. }
        | Resp3Frame::SimpleString { data, .. }
        | Resp3Frame::BigNumber { data, .. }
        | Resp3Frame::VerbatimString { data, .. } => Reply::Text(text(&data)),
        Resp3Frame::SimpleError { data, .. } => Reply::Error(ServerError::new(&*data)),
        Resp3Frame::BlobError { data, .. } => Reply::Error(ServerError::new(text(&data))),
        Resp3Frame::Number { data, .. } => Reply::Integer(data),
        Resp3Frame::Boolean { data, .. } => Reply::Integer(data.into()),
        Resp3Frame::Double { data, .. } => Reply::Text(data.to_string()),
        Resp3Frame::Array { data, .. } | Resp3Frame::Push { data, .. } => items(data),
        Resp3Frame::Set { data, .. } => items(data.into_iter().collect()),
        Resp3Frame::Map { data, .. } => {
            items(data.into_iter().flat_map(|(key, value)| [key, value]).collect())
        }
        Resp3Frame::Null | Resp3Frame::Hello { .. } | Resp3Frame::ChunkedString(_) => Reply::Nil,
    }
}
