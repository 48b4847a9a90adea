//! Subscription to the events of a Sentinel, over a connection of its own.
//!
//! A connection that subscribes accepts no other commands.

use std::time::Duration;

use fred::types::Message;
use snapshot::{Reason, Reply};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::timeout;

use crate::connect::{ConnectOptions, Connected, connect};
use crate::fred_connection::{FredConnection, Purpose};
use crate::{Command, Endpoint, Failure};

/// Time to wait for a refusal of the subscription. Messages that arrive in this time are kept.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);

/// A subscription to the events of a Sentinel.
///
/// It does not work after a [`Failure`]: drop it and open another one.
#[derive(Debug)]
pub struct Subscription {
    connection: FredConnection,
    messages: Receiver<Message>,
}

/// An item that [`Subscription::next`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionMessage {
    /// A published message.
    Published {
        /// Channel, for example `+sdown`.
        channel: String,
        /// Text of the message.
        payload: String,
    },
    /// Number of messages that were dropped, because they were not received in time.
    Missed(u64),
}

impl Subscription {
    /// Connects and subscribes to the events of a Sentinel. `limit` applies to each of the three
    /// steps.
    ///
    /// # Errors
    /// Those of [`Connection::open`](crate::Connection::open), or the server refuses the
    /// subscription.
    pub async fn open(endpoint: &Endpoint, limit: Duration) -> Result<Self, Failure> {
        let Connected { stream, password, .. } =
            connect(endpoint, ConnectOptions::new(limit)).await?;
        let connection =
            FredConnection::open(stream, password, Purpose::Subscription, limit).await?;
        let messages = connection.messages();
        // fred's own subscribe function reports a refusal as success. As a custom command, the
        // refusal is its reply. A success has no reply, because fred consumes the confirmations:
        // then the wait below times out.
        let command = Command::new(&snapshot::PSUBSCRIBE, None);
        if let Ok(replies) = timeout(limit.min(REFUSAL_LIMIT), connection.run(&[command])).await
            && let Some(error) = replies?.0.first().and_then(Reply::error)
        {
            return Err(Failure::refusal(error));
        }
        Ok(Subscription { connection, messages })
    }

    /// Waits for the next message, without a time limit.
    ///
    /// # Errors
    /// The connection ended, or a message is invalid or too large.
    pub async fn next(&mut self) -> Result<SubscriptionMessage, Failure> {
        tokio::select! {
            biased;
            received = self.messages.recv() => match received {
                Ok(message) => Ok(SubscriptionMessage::Published {
                    channel: self.connection.hide(&message.channel),
                    payload: self.connection.hide(&message.value.as_string().unwrap_or_default()),
                }),
                Err(RecvError::Lagged(missed)) => Ok(SubscriptionMessage::Missed(missed)),
                Err(RecvError::Closed) => {
                    Err(Failure::new(Reason::Closed, "the subscription ended"))
                }
            },
            failure = self.connection.ended() => Err(failure),
        }
    }
}
