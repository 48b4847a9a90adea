//! Probes a server to find the cause of a failed connection attempt.
//!
//! A server that is full or in protected mode sends an error as soon as it accepts a connection,
//! and closes it. fred discards that error, so a plain connection reads it here. The probe also
//! detects whether the server expects TLS: it sends the first message of the other protocol and
//! checks the reply.

use std::net::SocketAddr;
use std::time::Duration;

use snapshot::{Reason, ServerError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;
use crate::tls::client_hello;

/// Time limit of each step: connecting, writing and reading. Most servers send nothing before they
/// receive a command, so waiting for an error usually takes all of it.
const STEP_LIMIT: Duration = Duration::from_millis(300);

/// Maximum number of bytes that are read of a reply.
const MAX_REPLY: usize = 512;

/// First bytes of TLS records that a TLS server sends: handshake and alert.
const TLS_RECORD_TYPES: &[u8; 2] = &[0x16, 0x15];

/// First bytes of replies to INFO: bulk string and error.
const INFO_REPLY_TYPES: &[u8; 2] = b"$-";

/// Probes the server and returns a failure with a more specific cause, if it finds one.
///
/// Does nothing if the cause of `failure` is already clear. `tls` states whether the failed attempt
/// used TLS.
pub(crate) async fn find_cause(
    failure: &Failure,
    address: SocketAddr,
    tls: bool,
) -> Option<Failure> {
    let is_unclear = match failure.reason {
        Reason::Closed | Reason::Reset => true,
        Reason::Timeout | Reason::Protocol => tls,
        Reason::Tls => failure.detail.contains("corrupt message"),
        _ => false,
    };
    if !is_unclear {
        return None;
    }
    let mut stream = connect(address).await?;
    if let Some(greeting) = read(&mut stream).await {
        return refusal(&greeting);
    }
    let (request, expected_types, problem) = if tls {
        (
            b"INFO server\r\n".to_vec(),
            INFO_REPLY_TYPES,
            "the server does not speak TLS on this port: use redis://",
        )
    } else {
        (client_hello()?, TLS_RECORD_TYPES, "the server speaks TLS on this port: use rediss://")
    };
    timeout(STEP_LIMIT, stream.write_all(&request)).await.ok()?.ok()?;
    let first = *read(&mut stream).await?.first()?;
    expected_types.contains(&first).then(|| Failure::new(Reason::Tls, problem))
}

async fn connect(address: SocketAddr) -> Option<TcpStream> {
    timeout(STEP_LIMIT, TcpStream::connect(address)).await.ok()?.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut reply = vec![0; MAX_REPLY];
    let length = timeout(STEP_LIMIT, stream.read(&mut reply)).await.ok()?.ok()?;
    reply.truncate(length);
    Some(reply)
}

/// Returns the failure that a greeting contains: an error reply with a known reason.
fn refusal(greeting: &[u8]) -> Option<Failure> {
    let text = std::str::from_utf8(greeting).ok()?;
    let error = ServerError::new(text.strip_prefix('-')?.lines().next()?);
    error.reason().map(|_| Failure::refusal(&error))
}
