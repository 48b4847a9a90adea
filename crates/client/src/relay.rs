//! A relay between fred and a server.
//!
//! fred reads each reply into memory as a whole, nested to any depth, expects valid UTF-8, and
//! drops replies without a command. The relay forwards a reply only when it is complete, within the
//! limits, and expected. fred connects to the relay over a unix socket in this process, so TLS,
//! passwords and connection errors are handled in the same way for all connections.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use snapshot::Reason;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{UnixListener, UnixStream};

use crate::Failure;
use crate::large_replies::Reservation;
use crate::receive::{CompleteReply, Received};
use crate::resp::{Limits, Protocol, Scanner};
use crate::stream::{self, Stream, receive};

/// Limits of the reply to a command. A list of 1,500 masters fits into them.
pub const COMMAND_LIMITS: Limits = Limits { bytes: 2 << 20, elements: 1 << 16 };

/// Limits of a published message, and of the replies to CLIENT ID and INFO server. Many messages
/// may wait to be received.
pub const MESSAGE_LIMITS: Limits = Limits { bytes: 16 << 10, elements: 8 };

/// Limits of a command that fred sends.
const SENT_LIMITS: Limits = Limits { bytes: 1 << 20, elements: 64 };

/// Estimated memory of one element in the replies of a batch, as fred decodes it and as Rolecall
/// converts it, bytes.
const ELEMENT_MEMORY: usize = 192;

/// Limit of the memory of the replies to one batch, bytes. The largest batch of Rolecall reads the
/// list of 1,500 masters, and the details of 64.
const BATCH_MEMORY: usize = 20 << 20;

/// Limit of the attempts to find a name that no other process uses.
const MAX_NAMES: usize = 1000;

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
        let mut attempts = 0;
        loop {
            let number = CREATED.fetch_add(1, Ordering::Relaxed);
            let path = socket_path(&format!("rolecall-{}-{number}", std::process::id()));
            match UnixListener::bind(&path) {
                Ok(listener) => return Ok(Relay { listener, path }),
                // Containers may share the names, and have the same process ids.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts < MAX_NAMES => {
                    attempts += 1;
                }
                Err(error) => return Err(local(&error)),
            }
        }
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

/// Memory of the replies to the current batch of commands, and the reservation for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch(Arc<Mutex<BatchMemory>>);

#[derive(Debug, Default)]
struct BatchMemory {
    used: usize,
    reservation: Reservation,
}

impl Batch {
    /// Ends the batch. Returns the reservation for its replies.
    pub(crate) fn end(&self) -> Reservation {
        std::mem::take(&mut *self.lock()).reservation
    }

    /// Adds a reply.
    async fn add(&self, reply: CompleteReply, received: Reservation) -> Result<(), Failure> {
        let mut memory = std::mem::take(&mut *self.lock());
        memory.reservation.merge(received);
        let decoded = reply.elements.saturating_mul(ELEMENT_MEMORY);
        memory.used = memory.used.saturating_add(reply.end).saturating_add(decoded);
        if memory.used > BATCH_MEMORY {
            let problem = format!("replies to one batch: they need more than {BATCH_MEMORY} bytes");
            return Err(Failure::new(Reason::Toolarge, problem));
        }
        memory.reservation.shrink(memory.used);
        memory.reservation.extend(memory.used, memory.used).await?;
        *self.lock() = memory;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BatchMemory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kind of the data that the relay expects from the server.
#[derive(Debug)]
pub(crate) enum Expected {
    /// One reply to each command.
    Replies(Batch),
    /// Published messages at any time.
    Messages,
}

/// Forwards commands and replies until the connection ends. Returns the reason, or `None` if fred
/// closed the connection.
pub(crate) async fn forward(
    server: Stream,
    fred: UnixStream,
    expected: Expected,
) -> Option<Failure> {
    let (from_server, to_server) = tokio::io::split(server);
    let (from_fred, to_fred) = tokio::io::split(fred);
    // Number of commands that have no reply yet.
    let pending = AtomicUsize::new(0);
    tokio::select! {
        failure = forward_replies(from_server, to_fred, &expected, &pending) => failure,
        failure = forward_commands(from_fred, to_server, &pending) => failure,
    }
}

async fn forward_commands(
    mut fred: ReadHalf<UnixStream>,
    mut server: WriteHalf<Stream>,
    pending: &AtomicUsize,
) -> Option<Failure> {
    let mut bytes = Vec::new();
    let mut complete = 0;
    let mut scanner = Scanner::new(SENT_LIMITS, Protocol::Resp2);
    loop {
        match scanner.advance(&bytes[complete..]) {
            Ok(Some(length)) => {
                complete += length;
                pending.fetch_add(1, Ordering::Relaxed);
                scanner = Scanner::new(SENT_LIMITS, Protocol::Resp2);
            }
            Ok(None) => {
                if let Err(error) = write(&mut server, &bytes[..complete]).await {
                    return Some(stream::failure(&error));
                }
                bytes.drain(..complete);
                complete = 0;
                if receive(&mut fred, &mut bytes).await.is_err() {
                    return None;
                }
            }
            Err(error) => return Some(Failure::new(Reason::Local, format!("command: {error}"))),
        }
    }
}

async fn write(server: &mut WriteHalf<Stream>, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    server.write_all(bytes).await?;
    server.flush().await
}

async fn forward_replies(
    mut server: ReadHalf<Stream>,
    mut fred: WriteHalf<UnixStream>,
    expected: &Expected,
    pending: &AtomicUsize,
) -> Option<Failure> {
    let limits = match expected {
        Expected::Replies(_) => COMMAND_LIMITS,
        Expected::Messages => MESSAGE_LIMITS,
    };
    let mut received = Received::default();
    loop {
        let reply = received.complete_reply(&mut server, 0, limits, Protocol::Resp2);
        let reply = match reply.await {
            Ok(reply) => reply,
            Err(failure) => return Some(failure),
        };
        let text = received.bytes[..reply.end].to_vec();
        let reservation = received.drop_before(reply.end);
        if let Expected::Replies(batch) = expected {
            let is_expected = |count: usize| count.checked_sub(1);
            if pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_expected).is_err() {
                return Some(Failure::new(Reason::Protocol, "reply without a command"));
            }
            if let Err(failure) = batch.add(reply, reservation).await {
                return Some(failure);
            }
        }
        if fred.write_all(&text).await.is_err() {
            return None;
        }
    }
}

fn local(error: &io::Error) -> Failure {
    Failure::new(Reason::Local, error.to_string())
}
