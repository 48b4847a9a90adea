//! Messages that a server publishes, over a connection of their own: a subscribed one takes no other command.

use std::time::Duration;

use fred::interfaces::EventInterface;
use fred::types::Message;
use snapshot::{Reason, Reply};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::timeout;

use crate::memory_guard::endless_growth;
use crate::{Command, Connection, Endpoint, Failure};

/// Messages that may wait to be taken up. A failover of one master is 34 to 51 of them.
const MAX_WAITING: usize = 1024;

/// How long a refusal may take. What is published meanwhile is not lost.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// A subscription to messages. After a [`Failure`] it is of no use any more: drop it, and open another.
#[derive(Debug)]
pub struct Subscription {
    connection: Connection,
    messages: Receiver<Message>,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message {
        /// On which channel.
        channel: String,
        /// What it says.
        payload: String,
    },
    /// That many were not taken up in time.
    Missed(u64),
}

impl Subscription {
    /// Connects and subscribes to the events of a Sentinel, within `limit` each.
    ///
    /// # Errors
    /// As of [`Connection::open`]; or the server refuses the subscription.
    pub async fn open(endpoint: &Endpoint, limit: Duration) -> Result<Self, Failure> {
        let mut connection = Connection::open_with(endpoint, limit, MAX_WAITING).await?;
        let messages = connection.client().message_rx();
        // fred's own command takes a refusal for a success. Sent as any other a refusal is its reply, and a success has none: fred takes the
        // confirmations for itself.
        let command = Command::new(&snapshot::PSUBSCRIBE, None);
        if let Ok(replies) = timeout(limit.min(REFUSED_WITHIN), connection.run(&[command])).await
            && let Some(error) = replies?.first().and_then(Reply::error)
        {
            return Err(Failure::refusal(error));
        }
        Ok(Subscription { connection, messages })
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// The connection came to an end.
    pub async fn next(&mut self) -> Result<Heard, Failure> {
        tokio::select! {
            biased;
            received = self.messages.recv() => match received {
                Ok(message) => Ok(Heard::Message {
                    channel: message.channel.to_string(),
                    payload: message.value.as_string().unwrap_or_default(),
                }),
                Err(RecvError::Lagged(missed)) => Ok(Heard::Missed(missed)),
                Err(RecvError::Closed) => Err(Failure::new(Reason::Closed, "the subscription ended")),
            },
            grown = endless_growth() => Err(Failure::new(
                Reason::Toolarge,
                format!("{grown} bytes more in memory while listening: a message that does not end"),
            )),
            failure = self.connection.ended() => Err(failure),
        }
    }
}
