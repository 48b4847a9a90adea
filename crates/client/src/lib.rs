//! Address and credentials become a connection, and commands become replies or a [`Failure`]. The only user of fred.
//!
//! A connection never reconnects by itself, sends no PING, and has no time limit on commands: when to give up a hung server, and when
//! to try again, is for the caller to say. Dropping it closes the socket and ends its task.

mod connection;
mod endpoint;
mod failure;
mod greeting;
mod memory_guard;
mod subscription;
mod tls;
mod trust;

pub use connection::{Command, Connection};
pub use endpoint::{Address, Credentials, Endpoint, Password};
pub use failure::Failure;
pub use secrecy::SecretString;
pub use subscription::{Heard, Subscription};
pub use tls::{Tls, TlsError, TlsSettings};
pub use trust::Trust;
