//! Connections to Redis and Valkey servers. The only crate that uses fred.
//!
//! [`Connection::open`] turns an [`Endpoint`] into a connection. [`Connection::run`] sends commands
//! and returns replies or a [`Failure`]. A [`Subscription`] receives the events of a Sentinel.
//!
//! A connection never reconnects and never sends PING. The caller decides when to connect again.
//! The crate limits the time and memory of each call: see [`Connection::run`]. Dropping a
//! connection closes its socket and ends its task.

mod connection;
mod endpoint;
mod failure;
mod memory_guard;
mod probe;
mod subscription;
mod tls;
mod trust;

pub use connection::{Command, Connection};
pub use endpoint::{Address, Credentials, Endpoint, Password};
pub use failure::Failure;
pub use secrecy::SecretString;
pub use subscription::{Subscription, SubscriptionMessage};
pub use tls::{Tls, TlsError, TlsSettings};
pub use trust::Trust;
