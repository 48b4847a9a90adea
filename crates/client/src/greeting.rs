//! What a server says before it hangs up on a new client.
//!
//! A server that is full, or in protected mode, writes an error as soon as it accepts, and closes. fred drops that text with the
//! connection; so when a server hangs up during the first exchange, it is asked once more, without fred, only to listen.

use std::net::SocketAddr;
use std::time::Duration;

use snapshot::ServerError;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;

/// How long a greeting may take; a server that has none to give says nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// The longest greeting that is read, bytes.
const MAX_GREETING: u64 = 512;

/// The refusal with which the server greets a new client, if that is what it does.
pub(crate) async fn refusal(address: SocketAddr) -> Option<Failure> {
    let listen = async {
        let mut text = Vec::new();
        TcpStream::connect(address).await.ok()?.take(MAX_GREETING).read_to_end(&mut text).await.ok()?;
        String::from_utf8(text).ok()
    };
    let text = timeout(PATIENCE, listen).await.ok()??;
    let error = ServerError::new(text.strip_prefix('-')?.trim_end());
    error.reason().map(|_| Failure::refusal(&error))
}
