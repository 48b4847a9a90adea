//! A connection that fred operates.
//!
//! fred serves the connections to Sentinels with their subscriptions, and those that send a single
//! command. It is connected to the server through a [relay](Relay).

use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{
    Config, ConnectionConfig, CredentialProvider, PerformanceConfig, Server, ServerConfig,
};
use fred::types::{
    ClusterHash, ConnectHandle, CustomCommand, Message, Resp3Frame, RespVersion, Value,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, try_join_all};
use snapshot::{Reason, Reply, ServerError};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::large_replies::Reservation;
use crate::relay::{self, Batch, Expected, Relay};
use crate::resp::MAX_DEPTH;
use crate::secrets::SentPassword;
use crate::stream::{self, Stream};
use crate::{Command, Failure};

/// Maximum number of published messages that wait to be received. A failover of one master causes
/// 34 to 51.
const MAX_PENDING: usize = 1024;

/// Channel capacity of a connection without a subscription. It cannot be 0: fred uses the same
/// capacity for the channel that reports connection errors.
const MIN_CHANNEL_CAPACITY: usize = 4;

/// Time for the relay to report why it ended. fred notices the end at the same time.
const REASON_LIMIT: Duration = Duration::from_millis(100);

/// Use of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Commands,
    Subscription,
}

/// A connection that fred operates.
#[derive(Debug)]
pub(crate) struct FredConnection {
    client: Client,
    task: ConnectHandle,
    /// Forwards the bytes while a method of this type is awaited. Resolves when the connection
    /// ends; `None` means that fred closed it.
    relay: Shared<BoxFuture<'static, Option<Failure>>>,
    batch: Batch,
    password: SentPassword,
}

impl FredConnection {
    /// Leaves an authenticated stream to fred, which sends CLIENT ID and INFO server.
    ///
    /// # Errors
    /// The server does not reply within `limit`, or refuses INFO server.
    pub(crate) async fn open(
        stream: Stream,
        password: SentPassword,
        purpose: Purpose,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let batch = Batch::default();
        let expected = match purpose {
            Purpose::Commands => Expected::Replies(batch.clone()),
            Purpose::Subscription => Expected::Messages,
        };
        let relay = Relay::listen()?;
        let client = client(&relay, purpose, limit);
        let mut connected = client.reconnect_rx();
        let task = client.connect();
        let forwarding = async move {
            match relay.accept().await {
                Ok(fred) => relay::forward(stream, fred, expected).await,
                Err(failure) => Some(failure),
            }
        };
        let relay = forwarding.boxed().shared();
        // From here on, dropping the connection ends fred's task.
        let mut connection = FredConnection { client, task, relay, batch, password };
        let relay = connection.relay.clone();
        let outcome = timeout(limit, async {
            tokio::select! {
                biased;
                ended = &mut connection.task => {
                    Err(connection.failure(error_of_task(ended)).await)
                }
                failure = relay => Err(failure.unwrap_or_else(stream::closed)),
                _ = connected.recv() => Ok(()),
            }
        });
        outcome.await.map_err(|_| {
            Failure::new(Reason::Timeout, format!("connection not established within {limit:?}"))
        })??;
        Ok(connection)
    }

    /// Returns a receiver of the messages that are published to this connection.
    pub(crate) fn messages(&self) -> Receiver<Message> {
        self.client.message_rx()
    }

    /// Sends the commands in one batch and waits for all replies. Returns them without the
    /// password, and the memory that is reserved for them.
    ///
    /// # Errors
    /// The connection ended, or the replies exceed a limit.
    pub(crate) async fn run(
        &self,
        commands: &[Command],
    ) -> Result<(Vec<Reply<'static>>, Reservation), Failure> {
        drop(self.batch.end());
        let replies = try_join_all(commands.iter().map(|command| {
            let custom = CustomCommand::new_static(command.name, ClusterHash::FirstKey, false);
            let arguments = command.arguments.iter().map(|argument| argument.as_ref().into());
            self.client.custom_raw(custom, arguments.collect::<Vec<Value>>())
        }));
        tokio::select! {
            biased;
            replies = replies => match replies {
                Ok(frames) => {
                    let replies = frames.into_iter().map(|frame| self.reply(frame, 0));
                    Ok((replies.collect(), self.batch.end()))
                }
                Err(error) => Err(self.failure(Some(error)).await),
            },
            failure = self.ended() => Err(failure),
        }
    }

    /// Waits until the connection ends, and returns the reason.
    pub(crate) async fn ended(&self) -> Failure {
        self.relay.clone().await.unwrap_or_else(stream::closed)
    }

    /// Returns the reason why fred reported an error: that of the relay, otherwise that of fred.
    async fn failure(&self, error: Option<Error>) -> Failure {
        if let Ok(Some(failure)) = timeout(REASON_LIMIT, self.relay.clone()).await {
            return failure;
        }
        let Some(error) = error else { return stream::closed() };
        let detail = self.password.error(error.details()).text;
        let reason = match error.kind() {
            ErrorKind::Timeout => Reason::Timeout,
            ErrorKind::Auth => Reason::Auth,
            ErrorKind::Protocol | ErrorKind::Parse => Reason::Protocol,
            ErrorKind::IO | ErrorKind::Canceled => Reason::Closed,
            _ => ServerError::new(error.details()).reason().unwrap_or(Reason::Protocol),
        };
        Failure::new(reason, detail)
    }

    /// Replaces the password in a text that the server published.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.password.hide_long(text.into()).into_owned()
    }

    /// Converts a reply of fred. The password is replaced.
    fn reply(&self, frame: Resp3Frame, depth: usize) -> Reply<'static> {
        let text = |bytes: &[u8]| self.hide(&String::from_utf8_lossy(bytes));
        match frame {
            _ if depth > MAX_DEPTH => Reply::Nil,
            Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => {
                Reply::Text(text(&data).into())
            }
            Resp3Frame::SimpleError { data, .. } => Reply::Error(self.password.error(&data)),
            Resp3Frame::Number { data, .. } => Reply::Integer(data),
            Resp3Frame::Array { data, .. } | Resp3Frame::Push { data, .. } => {
                let items = data.into_iter().map(|item| self.reply(item, depth + 1));
                Reply::Array(items.collect())
            }
            // The relay forwards only types of RESP2.
            _ => Reply::Nil,
        }
    }
}

/// Ends fred's task, which would otherwise keep the socket open.
impl Drop for FredConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn client(relay: &Relay, purpose: Purpose, limit: Duration) -> Client {
    let config = Config {
        server: ServerConfig::Unix { path: relay.path().to_owned() },
        version: RespVersion::RESP2,
        credential_provider: Some(Arc::new(NoCredentials)),
        ..Config::default()
    };
    let performance = PerformanceConfig {
        default_command_timeout: Duration::ZERO,
        broadcast_channel_capacity: match purpose {
            Purpose::Commands => MIN_CHANNEL_CAPACITY,
            Purpose::Subscription => MAX_PENDING,
        },
        ..PerformanceConfig::default()
    };
    let connection = ConnectionConfig {
        connection_timeout: limit,
        internal_command_timeout: limit,
        max_command_attempts: 1,
        disable_cluster_health_check: true,
        ..ConnectionConfig::default()
    };
    Client::new(config, Some(performance), Some(connection), None)
}

/// Provider of no credentials: the stream is authenticated before fred uses it.
///
/// fred sends no PING if a provider is set. A server refuses PING while it loads its data set.
#[derive(Debug)]
struct NoCredentials;

#[async_trait::async_trait]
impl CredentialProvider for NoCredentials {
    async fn fetch(&self, _: Option<&Server>) -> Result<(Option<String>, Option<String>), Error> {
        Ok((None, None))
    }
}

/// Returns the error that ended fred's task; `None` if the connection was closed.
fn error_of_task(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Option<Error> {
    match ended {
        Ok(result) => result.err(),
        Err(error) => Some(Error::new(ErrorKind::Unknown, error.to_string())),
    }
}
