//! One connection to one server.

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
use crate::tls::Expiry;
use crate::{Address, Credentials, Endpoint, Failure, Password, greeting};

/// The most addresses of one name that are tried, one after the other.
const MAX_ADDRESSES: usize = 4;

/// The time that an explanation of failed attempts may take.
const EXPLANATION: Duration = Duration::from_secs(1);

/// Room for messages on a connection that subscribes to none; fred reports failures to connect through the same channels.
const NO_MESSAGES: usize = 4;

/// How long a silent connection may be half dead before that is found out. One that only listens would never know otherwise.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The deepest reply that is read.
const MAX_DEPTH: usize = 8;

/// One connection to one server. After a [`Failure`] it is of no use any more: drop it, and open another.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    task: ConnectHandle,
    expiry: Expiry,
    peer: Option<SocketAddr>,
}

/// A command and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its name, for example `CONFIG`. What own calls are counted by.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: Vec<Cow<'static, str>>,
}

impl Command {
    /// Returns a command of the table with its last argument, if it takes one.
    pub fn new(sent: &'static SentCommand, operand: Option<Cow<'static, str>>) -> Self {
        let fixed = sent.arguments.iter().map(|argument| Cow::Borrowed(*argument));
        Command { name: sent.name, arguments: fixed.chain(operand).collect() }
    }
}

impl Connection {
    /// Connects and authenticates, within `limit`; finding out why it failed may take a second more.
    ///
    /// # Errors
    /// The address does not resolve, nothing answers there, or the server turns us away.
    pub async fn open(endpoint: &Endpoint, limit: Duration) -> Result<Self, Failure> {
        Self::open_with(endpoint, limit, NO_MESSAGES).await
    }

    /// Connects, with room for a number of published messages that nobody took yet.
    pub(crate) async fn open_with(
        endpoint: &Endpoint,
        limit: Duration,
        messages: usize,
    ) -> Result<Self, Failure> {
        let late =
            |_| Failure::new(Reason::Timeout, format!("no answer to connecting within {limit:?}"));
        within_limits(async {
            timeout(limit + EXPLANATION, Self::try_addresses(endpoint, limit, messages))
                .await
                .map_err(late)?
        })
        .await
    }

    /// What fred knows the connection as.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    async fn try_addresses(
        endpoint: &Endpoint,
        limit: Duration,
        messages: usize,
    ) -> Result<Self, Failure> {
        let (host, port) = match &endpoint.address {
            Address::Unix(path) => {
                return Self::connect(
                    ServerConfig::Unix { path: path.clone() },
                    endpoint,
                    limit,
                    messages,
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
                    format!("{} is not where nodes may be: see trust", endpoint.address),
                ));
            }
        }
        let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut failure = Failure::new(Reason::Dns, format!("{host} has no address"));
        for address in addresses {
            let mut server = Server::new(address.ip().to_string(), address.port());
            server.tls_server_name = endpoint.tls.as_ref().map(|tls| tls.server_name(host).into());
            match Self::connect(ServerConfig::Centralized { server }, endpoint, share, messages)
                .await
            {
                Ok(mut connection) => {
                    connection.peer = Some(address);
                    return Ok(connection);
                }
                Err(other) => failure = other,
            }
            if let Some(explained) =
                greeting::explain(&failure, address, endpoint.tls.is_some()).await
            {
                failure = explained;
            }
        }
        Err(failure)
    }

    /// When the certificate of the server expires, since the Unix epoch; `None` without TLS.
    pub fn certificate_expiry(&self) -> Option<Duration> {
        self.expiry.get()
    }

    /// Where the server was reached; `None` over a unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Sends the commands together and waits for every reply, for as long as it takes. A refused command is an error among the
    /// replies, not a failure.
    ///
    /// # Errors
    /// The connection came to an end.
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
                ended = task => Err(ending(ended)),
            }
        })
        .await
    }

    /// Waits until the connection comes to an end, and says why.
    pub async fn ended(&mut self) -> Failure {
        ending((&mut self.task).await)
    }

    async fn connect(
        server: ServerConfig,
        endpoint: &Endpoint,
        limit: Duration,
        messages: usize,
    ) -> Result<Self, Failure> {
        let expiry = Expiry::default();
        let config = Config {
            server,
            version: RespVersion::RESP2,
            tls: endpoint.tls.as_ref().map(|tls| TlsConnector::from(tls.config(&expiry)).into()),
            credential_provider: Some(Arc::new(Provider(endpoint.credentials.clone()))),
            ..Config::default()
        };
        let performance = PerformanceConfig {
            default_command_timeout: Duration::ZERO,
            broadcast_channel_capacity: messages,
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
                ended = &mut connection.task => Err(ending(ended)),
                _ = connected.recv() => Ok(()),
            }
        });
        match outcome.await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::new(
                Reason::Timeout,
                format!("no answer to connecting within {limit:?}"),
            )),
        }
    }
}

/// Without this the socket and the task of fred would outlive the connection.
impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Gives fred the credentials. That there is a provider at all keeps it from sending a PING, which a server refuses while it loads.
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
            Some(Password::Given(password)) => password.expose_secret().to_owned(),
            Some(Password::File(path)) => read_password(path).await?,
        };
        Ok((self.0.username.clone(), Some(password)))
    }
}

/// Reads a password anew, so that a rotated one is used at the next connection.
async fn read_password(path: &Path) -> Result<String, Error> {
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| {
        Error::new(ErrorKind::Auth, format!("password file {}: {error}", path.display()))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    match lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.take(MAX_ADDRESSES).collect()),
        Err(error) => Err(Failure::new(Reason::Dns, format!("{host}: {error}"))),
    }
}

fn ending(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Failure {
    match ended {
        Ok(Ok(())) => Failure::new(Reason::Closed, "the server closed the connection"),
        Ok(Err(error)) => Failure::from_fred(&error),
        Err(error) => Failure::new(Reason::Local, error.to_string()),
    }
}

fn reply(frame: Resp3Frame, depth: usize) -> Reply {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let items = |items: Vec<Resp3Frame>| {
        Reply::Array(items.into_iter().map(|item| reply(item, depth + 1)).collect())
    };
    match frame {
        _ if depth > MAX_DEPTH => Reply::Nil,
        Resp3Frame::BlobString { data, .. }
        | Resp3Frame::SimpleString { data, .. }
        | Resp3Frame::BigNumber { data, .. } => Reply::Text(text(&data)),
        Resp3Frame::VerbatimString { data, .. } => Reply::Text(text(&data)),
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
