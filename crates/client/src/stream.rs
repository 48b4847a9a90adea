//! Byte streams to servers.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use snapshot::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::Failure;

/// Size of the buffer that receives the bytes of one read.
const RECEIVED_AT_ONCE: usize = 64 << 10;

thread_local! {
    /// Buffer that receives the bytes of one read. Connections wait for most of their time, so they
    /// share it: a buffer for each would be most of their memory.
    static RECEIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; RECEIVED_AT_ONCE].into());
}

/// A byte stream to a server: TCP, TLS over TCP, or a unix socket.
pub(crate) type Stream = Box<dyn ByteStream>;

/// A byte stream in both directions.
pub(crate) trait ByteStream:
    AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin
{
}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin> ByteStream for T {}

/// Waits for bytes and appends them to `buffer`.
///
/// # Errors
/// The connection failed, or the server closed it.
pub(crate) async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<(), Failure> {
    let received = poll_fn(|cx| {
        RECEIVED.with_borrow_mut(|received| {
            let mut received = ReadBuf::new(received);
            let result = Pin::new(&mut *stream).poll_read(cx, &mut received);
            result.map_ok(|()| {
                append(buffer, received.filled());
                received.filled().len()
            })
        })
    });
    match received.await {
        Ok(0) => Err(closed()),
        Ok(_) => Ok(()),
        Err(error) => Err(failure(&error)),
    }
}

/// Appends bytes. A large buffer grows in steps, because doubling would waste memory.
fn append(buffer: &mut Vec<u8>, bytes: &[u8]) {
    const STEP: usize = 256 << 10;
    if buffer.len() >= STEP && buffer.capacity() - buffer.len() < bytes.len() {
        buffer.reserve_exact(STEP.max(bytes.len()));
    }
    buffer.extend_from_slice(bytes);
}

/// Time within which a failure after a command has the mark `failed_at_once`.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Waits for the replies to commands that were sent, and marks a failure that follows at once.
pub(crate) async fn mark_failure_at_once<T>(
    replies: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut replies = pin!(replies);
    match timeout(AT_ONCE, &mut replies).await {
        Ok(replies) => replies.map_err(|failure| Failure { failed_at_once: true, ..failure }),
        Err(_) => replies.await,
    }
}

/// Returns the failure of a connection that the server closed.
pub(crate) fn closed() -> Failure {
    Failure::new(Reason::Closed, "the server closed the connection")
}

/// Converts an I/O error of a stream.
pub(crate) fn failure(error: &io::Error) -> Failure {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Failure::new(Reason::Tls, error.to_string());
    }
    let reason = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Reason::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted => Reason::Reset,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Reason::Unreachable,
        io::ErrorKind::TimedOut => Reason::Timeout,
        io::ErrorKind::UnexpectedEof => Reason::Closed,
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied => Reason::Local,
        _ if is_out_of_descriptors(error) => Reason::Local,
        _ => Reason::Closed,
    };
    Failure::new(reason, message(error))
}

/// Returns true if this process or the machine has no free file descriptors.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Returns the text of an error without the error number of the operating system.
fn message(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
