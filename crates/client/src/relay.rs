//! A relay between fred and a server.
//!
//! fred reads each reply into memory as a whole, nested to any depth, and expects valid UTF-8. The
//! relay forwards a reply only when it is complete, and within the limits. fred connects to the
//! relay over a unix socket in this process, so TLS, passwords and connection errors are handled in
//! the same way for all connections.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use snapshot::Reason;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{UnixListener, UnixStream};

use crate::Failure;
use crate::receive::Received;
use crate::resp::{Limits, Protocol};
use crate::stream::{self, Stream};

/// Limits of the reply to a command. A list of 1,500 masters fits into them.
pub const COMMAND_LIMITS: Limits = Limits { bytes: 2 << 20, elements: 1 << 16 };

/// Limits of a published message, and of the replies to CLIENT ID and INFO server. Many messages
/// may wait to be received.
pub const MESSAGE_LIMITS: Limits = Limits { bytes: 16 << 10, elements: 8 };

/// Number of relays that this process has created, for their names.
static CREATED: AtomicU64 = AtomicU64::new(0);

/// A unix socket that waits for the connection of fred.
#[derive(Debug)]
pub(crate) struct Relay {
    listener: UnixListener,
    path: PathBuf,
}

impl Relay {
    /// Creates the socket.
    ///
    /// # Errors
    /// The socket cannot be created.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let path = socket_path(&format!("rolecall-{}-{number}", std::process::id()));
        let listener = UnixListener::bind(&path).map_err(|error| local(&error))?;
        Ok(Relay { listener, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the connection of fred. Connections of other processes are closed.
    ///
    /// # Errors
    /// The socket cannot accept a connection.
    pub(crate) async fn accept(&self) -> Result<UnixStream, Failure> {
        loop {
            let (stream, _) = self.listener.accept().await.map_err(|error| local(&error))?;
            let peer = stream.peer_cred().map_err(|error| local(&error))?;
            if peer.pid().and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id()) {
                return Ok(stream);
            }
        }
    }
}

/// Removes the socket, if it is a file.
impl Drop for Relay {
    fn drop(&mut self) {
        if self.path.is_absolute() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Returns an address that needs no file.
#[cfg(target_os = "linux")]
fn socket_path(name: &str) -> PathBuf {
    PathBuf::from(format!("\0{name}"))
}

/// Returns the path of a file.
#[cfg(not(target_os = "linux"))]
fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// Forwards commands and replies until the connection ends. Returns the reason, or `None` if fred
/// closed the connection.
pub(crate) async fn forward(server: Stream, fred: UnixStream, limits: Limits) -> Option<Failure> {
    let (from_server, mut to_server) = tokio::io::split(server);
    let (mut from_fred, to_fred) = tokio::io::split(fred);
    tokio::select! {
        failure = forward_replies(from_server, to_fred, limits) => failure,
        copied = tokio::io::copy(&mut from_fred, &mut to_server) => {
            copied.err().map(|error| stream::failure(&error))
        }
    }
}

async fn forward_replies(
    mut server: ReadHalf<Stream>,
    mut fred: WriteHalf<UnixStream>,
    limits: Limits,
) -> Option<Failure> {
    let mut received = Received::default();
    loop {
        let reply = received.complete_reply(&mut server, 0, limits, Protocol::Resp2);
        let end = match reply.await {
            Ok(end) => end,
            Err(failure) => return Some(failure),
        };
        make_valid_utf8(&mut received.bytes[..end]);
        if fred.write_all(&received.bytes[..end]).await.is_err() {
            return None;
        }
        received.drop_before(end);
    }
}

/// Replaces bytes that are not valid UTF-8 by question marks. The length stays the same.
///
/// ```
/// let mut reply = b"+caf\xe9\r\n".to_vec();
/// client::make_valid_utf8(&mut reply);
/// assert_eq!(reply, b"+caf?\r\n");
/// ```
pub fn make_valid_utf8(bytes: &mut [u8]) {
    let mut checked = 0;
    while let Err(error) = std::str::from_utf8(&bytes[checked..]) {
        let start = checked + error.valid_up_to();
        checked = error.error_len().map_or(bytes.len(), |length| start + length);
        bytes[start..checked].fill(b'?');
    }
}

fn local(error: &io::Error) -> Failure {
    Failure::new(Reason::Local, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bytes_are_replaced_one_by_one() {
        let mut bytes = b"+caf\xe9 \xf0\x9f\x98\x80 \xf0\x9f\r\n".to_vec();
        make_valid_utf8(&mut bytes);
        assert_eq!(String::from_utf8(bytes).as_deref(), Ok("+caf? 😀 ??\r\n"));
    }
}
