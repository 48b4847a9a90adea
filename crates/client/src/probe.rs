//! Why a server hung up, or kept silent, during the first exchange.
//!
//! A server that is full, or in protected mode, writes an error as soon as it accepts, and closes; one that speaks TLS on this port, or one
//! that does not, can be told by what it answers to the other way of speaking. fred drops such texts with the connection, so in these cases the server
//! is asked once more, without fred.

use std::net::SocketAddr;
use std::time::Duration;

use snapshot::{Reason, ServerError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;
use crate::tls::hello;

/// How long each of the two answers may take; a server that has nothing to say says nothing.
const PATIENCE: Duration = Duration::from_millis(300);

/// The longest answer that is read, bytes.
const MAX_ANSWER: usize = 512;

/// The first bytes of a TLS handshake and of an alert: either is an answer of someone who speaks TLS.
const HANDSHAKE_OR_ALERT: &[u8; 2] = &[0x16, 0x15];

/// A better explanation of a failure to connect, if the server gives one. `tls` says whether TLS was spoken to it.
pub(crate) async fn explain(failure: &Failure, address: SocketAddr, tls: bool) -> Option<Failure> {
    let unclear = match failure.reason {
        Reason::Closed | Reason::Reset => true,
        Reason::Timeout | Reason::Protocol => tls,
        Reason::Tls => failure.detail.contains("corrupt message"),
        _ => false,
    };
    if !unclear {
        return None;
    }
    let mut stream = connect(address).await?;
    if let Some(greeting) = read(&mut stream).await {
        return refusal(&greeting);
    }
    let (question, tells) =
        if tls { (b"INFO server\r\n".to_vec(), b"$-") } else { (hello()?, HANDSHAKE_OR_ALERT) };
    timeout(PATIENCE, stream.write_all(&question)).await.ok()?.ok()?;
    let first = *read(&mut stream).await?.first()?;
    let problem = if tls {
        "the server does not speak TLS on this port: use redis://"
    } else {
        "the server speaks TLS on this port: use rediss://"
    };
    tells.contains(&first).then(|| Failure::new(Reason::Tls, problem))
}

async fn connect(address: SocketAddr) -> Option<TcpStream> {
    timeout(PATIENCE, TcpStream::connect(address)).await.ok()?.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut answer = vec![0; MAX_ANSWER];
    let length = timeout(PATIENCE, stream.read(&mut answer)).await.ok()?.ok()?;
    answer.truncate(length);
    Some(answer)
}

/// The refusal with which the server greets a new client, if that is what it does.
fn refusal(greeting: &[u8]) -> Option<Failure> {
    let text = std::str::from_utf8(greeting).ok()?;
    let error = ServerError::new(text.strip_prefix('-')?.lines().next()?);
    error.reason().map(|_| Failure::refusal(&error))
}
