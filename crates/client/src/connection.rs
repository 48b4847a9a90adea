//! A connection to one server.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use snapshot::{Reason, Reply, ServerError};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::connect::{ConnectOptions, Connected, connect};
use crate::fred_connection::{FredConnection, Purpose};
use crate::large_replies::Reservation;
use crate::receive::Received;
use crate::resp::{self, Protocol};
use crate::secrets::{PasswordVersion, SentPassword};
use crate::stream::{self, Stream, mark_failure_at_once};
use crate::{Command, Endpoint, Failure};

/// Time that a connection is kept without a reply. A reply that arrives later than the deadline of
/// a round, but within this time, is still used.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// A connection to one server.
///
/// It does not work after a [`Failure`]: drop it and open another one.
///
/// ```no_run
/// use std::net::SocketAddr;
/// use std::time::Duration;
///
/// use client::{Command, ConnectOptions, Connection, Endpoint, Failure};
///
/// # async fn example() -> Result<(), Failure> {
/// let endpoint = Endpoint::from(SocketAddr::from(([10, 0, 0, 5], 6379)));
/// let options = ConnectOptions::new(Duration::from_secs(2));
/// let mut connection = Connection::open(&endpoint, options).await?;
/// let replies = connection.run(&[Command::new(&snapshot::INFO, None)]).await?;
/// println!("{}", replies.decode()[0].text().unwrap_or_default());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    certificate_expiry: Option<Duration>,
    peer: Option<SocketAddr>,
    refusal: Option<ServerError>,
    password: SentPassword,
}

/// Implementation of a connection.
#[derive(Debug)]
enum Transport {
    Stream(Stream),
    Fred(FredConnection),
}

/// Replies to one batch of commands. The `Debug` output contains only their size.
pub struct Replies {
    content: Content,
    password: SentPassword,
}

enum Content {
    /// Replies as they were received, and the offset of the end of each.
    Received(Received, Vec<usize>),
    /// Replies without the password, and the memory that is reserved for them.
    Decoded(
        Vec<Reply<'static>>,
        #[expect(dead_code, reason = "the memory is reserved until the replies are dropped")]
        Reservation,
    ),
}

impl Connection {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// The host does not resolve or is not trusted, the server does not reply, or it refuses the
    /// credentials or the connection.
    pub async fn open(endpoint: &Endpoint, options: ConnectOptions) -> Result<Self, Failure> {
        let Connected { stream, peer, certificate_expiry, password, refusal } =
            connect(endpoint, options).await?;
        let transport = Transport::Stream(stream);
        Ok(Connection { transport, certificate_expiry, peer, refusal, password })
    }

    /// Connects like [`Connection::open`], and leaves the connection to fred, which may take the
    /// time limit of `options` again. For Sentinels and for
    /// single commands.
    ///
    /// # Errors
    /// Those of [`Connection::open`].
    pub async fn open_with_fred(
        endpoint: &Endpoint,
        options: ConnectOptions,
    ) -> Result<Self, Failure> {
        let Connected { stream, peer, certificate_expiry, password, refusal } =
            connect(endpoint, options).await?;
        let fred = FredConnection::open(stream, password.clone(), Purpose::Commands, options.limit);
        let transport = Transport::Fred(fred.await?);
        Ok(Connection { transport, certificate_expiry, peer, refusal, password })
    }

    /// Returns the expiry time of the server's certificate, time since the Unix epoch. `None`
    /// without TLS.
    pub fn certificate_expiry(&self) -> Option<Duration> {
        self.certificate_expiry
    }

    /// Returns the address that the connection uses; `None` for a unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns the version of the password that the connection sent.
    pub fn password_version(&self) -> Option<PasswordVersion> {
        self.password.version()
    }

    /// Returns the error with which the server refused the INFO server that was sent while
    /// connecting.
    pub fn refusal(&self) -> Option<&ServerError> {
        self.refusal.as_ref()
    }

    /// Sends the commands in one batch and waits for all replies.
    ///
    /// Returns one reply for each command, in order. A refused command has an error as its reply,
    /// and does not cause a failure.
    ///
    /// # Errors
    /// The connection ended, there was no reply within 30 seconds, a reply is invalid or exceeds
    /// the limits of its command (over fred, [`COMMAND_LIMITS`](crate::COMMAND_LIMITS)), a reply of
    /// more than 256 KiB is not complete after 5 seconds, or there is no memory for it.
    pub async fn run(&mut self, commands: &[Command]) -> Result<Replies, Failure> {
        let replies = async {
            match &mut self.transport {
                Transport::Stream(stream) => run(stream, commands).await,
                // Only few connections use fred, so its memory is not part of the others.
                Transport::Fred(fred) => Box::pin(fred.run(commands))
                    .await
                    .map(|(replies, memory)| Content::Decoded(replies, memory)),
            }
        };
        let content = timeout(REPLY_LIMIT, replies).await.map_err(|_| {
            Failure::new(Reason::Timeout, format!("no reply within {REPLY_LIMIT:?}"))
        })??;
        Ok(Replies { content, password: self.password.clone() })
    }

    /// Waits until the connection ends, and returns the reason.
    pub async fn ended(&mut self) -> Failure {
        match &mut self.transport {
            Transport::Stream(stream) => match stream::receive(stream, &mut Vec::new()).await {
                Ok(()) => Failure::new(Reason::Protocol, "reply without a command"),
                Err(failure) => failure,
            },
            Transport::Fred(fred) => Box::pin(fred.ended()).await,
        }
    }
}

/// Size of an element of an array in a reply that fred decoded, bytes.
const ELEMENT_SIZE: usize = 64;

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl Replies {
    /// Returns the size of the replies, bytes; an estimate for those that fred decoded.
    pub fn size(&self) -> usize {
        match &self.content {
            Content::Received(received, _) => received.bytes.len(),
            Content::Decoded(replies, _) => replies.iter().map(size).sum(),
        }
    }

    /// Returns the replies in the order of their commands. Passwords in them are replaced.
    pub fn decode(&self) -> Vec<Reply<'_>> {
        match &self.content {
            Content::Received(received, ends) => {
                let starts = [0].into_iter().chain(ends.iter().copied());
                let replies = starts.zip(ends).map(|(start, end)| &received.bytes[start..*end]);
                replies.map(|reply| self.password.decode(reply)).collect()
            }
            Content::Decoded(replies, _) => replies.clone(),
        }
    }
}

fn size(reply: &Reply<'_>) -> usize {
    match reply {
        Reply::Text(text) => text.len(),
        Reply::Array(items) => items.iter().map(|item| ELEMENT_SIZE + size(item)).sum(),
        Reply::Nil | Reply::Integer(_) | Reply::Error(_) => 0,
    }
}

/// Sends the commands and receives their replies.
async fn run(stream: &mut Stream, commands: &[Command]) -> Result<Content, Failure> {
    let mut request = Vec::new();
    resp::encode(commands, &mut request);
    let sent = async {
        stream.write_all(&request).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| stream::failure(&error))?;
    let mut received = Received::default();
    let mut ends = Vec::with_capacity(commands.len());
    let replies = async {
        for command in commands {
            let start = ends.last().copied().unwrap_or(0);
            let reply = received.complete_reply(stream, start, command.limits, Protocol::Resp3);
            ends.push(reply.await?.end);
        }
        Ok(())
    };
    mark_failure_at_once(replies).await?;
    if received.bytes.len() > ends.last().copied().unwrap_or(0) {
        return Err(Failure::new(Reason::Protocol, "more replies than commands"));
    }
    Ok(Content::Received(received, ends))
}
