//! Connections to Redis and Valkey servers.
//!
//! [`Connection::open`] turns an [`Endpoint`] into a connection. [`Connection::run`] sends commands
//! and returns [`Replies`] or a [`Failure`]. A [`Subscription`] receives the events of a Sentinel.
//!
//! Data nodes are read by the code in [`resp`]. Sentinels, their events and single commands are
//! read through fred ([`Connection::open_with_fred`]), which is used nowhere else. Both limit the
//! size, nesting and duration of each reply: see [`Connection::run`].
//!
//! A connection never reconnects and never sends PING. The caller decides when to connect again.
//! Dropping a connection closes its socket and ends its tasks.

mod command;
mod connect;
mod connection;
mod endpoint;
mod failure;
mod fred_connection;
mod large_replies;
mod probe;
mod receive;
mod relay;
pub mod resp;
mod secrets;
mod stream;
mod subscription;
mod tls;
mod tls_sessions;
mod trust;

pub use command::Command;
pub use connect::ConnectOptions;
pub use connection::{Connection, Replies};
pub use endpoint::{Address, Credentials, Endpoint, Password};
pub use failure::{CountedError, Failure};
pub use receive::make_valid_utf8;
pub use relay::{COMMAND_LIMITS, MESSAGE_LIMITS};
pub use secrecy::SecretString;
pub use secrets::PasswordVersion;
pub use subscription::{Subscription, SubscriptionMessage};
pub use tls::{Tls, TlsError, TlsSettings};
pub use trust::Trust;
