//! Probes a server to find the cause of a failed connection attempt.
//!
//! A probe is one more connection, on which the server speaks first: a server that is full or in
//! protected mode sends an error as soon as it accepts a connection, and closes it. A server that
//! stays silent receives the beginning of a command in plain text. A server of Redis, or a proxy,
//! waits for the rest of it; one that expects TLS closes the connection. Only then, TLS is tried on
//! a further connection.

use std::net::SocketAddr;
use std::time::Duration;

use snapshot::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;
use crate::secrets::SentPassword;
use crate::tls::client_hello;

/// Time limit of each step: connecting, writing and reading. Most servers send nothing before they
/// receive a command, so waiting for an error usually takes all of it.
const STEP_LIMIT: Duration = Duration::from_millis(300);

/// Maximum number of bytes that are read of a reply.
const MAX_REPLY: usize = 512;

/// Beginning of a command. A server counts no command, since it is not complete. It is longer than
/// the header of a TLS record.
const BEGIN_OF_COMMAND: &[u8] = b"*1\r\n$4\r\n";

/// First bytes of TLS records that a TLS server sends: handshake and alert.
const TLS_RECORD_TYPES: &[u8; 2] = &[0x16, 0x15];

/// First bytes of replies to INFO: bulk string and error.
const INFO_REPLY_TYPES: &[u8; 2] = b"$-";

/// Reaction of a server on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reaction {
    /// It sends these bytes.
    Sends(Vec<u8>),
    /// It closes or resets the connection.
    Closes,
    /// It does nothing within the time limit.
    Waits,
}

/// Probes the server and returns the failure, with a more specific cause if there is one.
///
/// Does nothing if the cause of `failure` is already clear. `tls` states whether the failed attempt
/// used TLS.
pub(crate) async fn find_cause(
    failure: Failure,
    address: SocketAddr,
    password: &SentPassword,
    tls: bool,
) -> Failure {
    let is_unclear = match failure.reason {
        Reason::Closed | Reason::Reset => true,
        Reason::Timeout | Reason::Protocol => tls,
        Reason::Tls => failure.detail.contains("corrupt message"),
        _ => false,
    };
    if !is_unclear {
        return failure;
    }
    let Some(mut stream) = connect(address).await else { return failure };
    match reaction(&mut stream).await {
        Reaction::Sends(greeting) => refusal(&greeting, password).unwrap_or(failure),
        // It accepts no connections now, whatever the protocol.
        Reaction::Closes => failure,
        Reaction::Waits if tls => find_plain_text(&mut stream).await.unwrap_or(failure),
        Reaction::Waits => match reaction_to(&mut stream, BEGIN_OF_COMMAND).await {
            Reaction::Waits => Failure { closes_on_command: failure.failed_at_once, ..failure },
            Reaction::Sends(reply) if is_tls(&reply) => tls_expected(),
            Reaction::Sends(_) => failure,
            Reaction::Closes => find_tls(address).await.unwrap_or(failure),
        },
    }
}

/// Checks if a server to which TLS was spoken expects plain text.
async fn find_plain_text(stream: &mut TcpStream) -> Option<Failure> {
    let reaction = reaction_to(stream, b"INFO server\r\n").await;
    let Reaction::Sends(reply) = reaction else { return None };
    let problem = "the server does not speak TLS on this port: use redis://";
    INFO_REPLY_TYPES.contains(reply.first()?).then(|| Failure::new(Reason::Tls, problem))
}

/// Checks if a server to which plain text was sent expects TLS.
async fn find_tls(address: SocketAddr) -> Option<Failure> {
    let mut stream = connect(address).await?;
    match reaction_to(&mut stream, &client_hello()?).await {
        Reaction::Sends(reply) if is_tls(&reply) => Some(tls_expected()),
        _ => None,
    }
}

fn tls_expected() -> Failure {
    Failure::new(Reason::Tls, "the server speaks TLS on this port: use rediss://")
}

/// Returns true if these bytes are the beginning of a TLS record.
fn is_tls(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| TLS_RECORD_TYPES.contains(first))
}

async fn connect(address: SocketAddr) -> Option<TcpStream> {
    timeout(STEP_LIMIT, TcpStream::connect(address)).await.ok()?.ok()
}

/// Sends bytes and waits for the reaction of the server.
async fn reaction_to(stream: &mut TcpStream, bytes: &[u8]) -> Reaction {
    match timeout(STEP_LIMIT, stream.write_all(bytes)).await {
        Ok(Ok(())) => reaction(stream).await,
        Ok(Err(_)) => Reaction::Closes,
        Err(_) => Reaction::Waits,
    }
}

/// Waits for the reaction of the server.
async fn reaction(stream: &mut TcpStream) -> Reaction {
    let mut reply = vec![0; MAX_REPLY];
    match timeout(STEP_LIMIT, stream.read(&mut reply)).await {
        Ok(Ok(length @ 1..)) => {
            reply.truncate(length);
            Reaction::Sends(reply)
        }
        Ok(Ok(0) | Err(_)) => Reaction::Closes,
        Err(_) => Reaction::Waits,
    }
}

/// Returns the failure that a greeting contains: an error reply with a known reason. It replies to
/// no command.
fn refusal(greeting: &[u8], password: &SentPassword) -> Option<Failure> {
    let text = std::str::from_utf8(greeting).ok()?;
    let error = password.error(text.strip_prefix('-')?.lines().next()?);
    error.reason().map(|_| Failure { counted_error: None, ..Failure::refusal(&error) })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::net::TcpListener;

    use super::*;

    /// Starts a server that waits for this number of bytes on each connection, and then sends a
    /// reply and closes it. Returns its address and what each connection received.
    async fn server(
        closes_after: usize,
        reply: &'static [u8],
    ) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let received: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let kept = Arc::clone(&received);
        let serve = async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                while bytes.len() < closes_after
                    && matches!(stream.read_buf(&mut bytes).await, Ok(1..))
                {}
                kept.lock().expect("no panic").push(bytes);
                // The client may have closed the connection.
                let _ = stream.write_all(reply).await;
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a server of this test")]
        tokio::spawn(serve);
        (address, received)
    }

    async fn find(failure: Failure, address: SocketAddr) -> Failure {
        let password = SentPassword::new(Some("s3cret".into()));
        find_cause(failure, address, &password, false).await
    }

    /// Returns the failure of a connection that was closed when it received a command.
    fn closed() -> Failure {
        let failure = Failure::new(Reason::Closed, "the server closed the connection");
        Failure { failed_at_once: true, ..failure }
    }

    #[tokio::test]
    async fn a_peer_that_knows_plain_text_receives_no_tls() {
        // Twemproxy closes the connection on a complete command.
        let (address, received) = server(BEGIN_OF_COMMAND.len() + 1, b"").await;
        let failure = find(closed(), address).await;
        assert_eq!(failure, Failure { closes_on_command: true, ..closed() });
        // The server notices the end of the connection.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(*received.lock().expect("no panic"), [BEGIN_OF_COMMAND]);
        // A load balancer closes the connection when its attempts to reach a server have failed.
        let late = Failure { failed_at_once: false, ..closed() };
        assert_eq!(find(late.clone(), address).await, late);
    }

    #[tokio::test]
    async fn a_peer_that_closes_at_once_receives_nothing() {
        let (address, received) = server(0, b"").await;
        assert_eq!(find(closed(), address).await, closed());
        assert_eq!(*received.lock().expect("no panic"), [b""]);
        let full = b"-ERR max number of clients reached: s3cret\r\n";
        let (address, received) = server(0, full).await;
        let failure = find(closed(), address).await;
        assert_eq!(failure.reason, Reason::Maxclients);
        assert_eq!(failure.detail, "ERR max number of clients reached: ***");
        assert_eq!(received.lock().expect("no panic").len(), 1);
    }

    #[tokio::test]
    async fn a_peer_that_closes_on_plain_text_is_tried_with_tls() {
        let alert = b"\x15\x03\x03\x00\x02\x02\x28";
        for (reply, expected) in [(&alert[..], tls_expected()), (b"", closed())] {
            let (address, received) = server(5, reply).await;
            assert_eq!(find(closed(), address).await, expected);
            let received = received.lock().expect("no panic");
            // An alert is proof enough.
            assert_eq!(received.len(), if reply.is_empty() { 2 } else { 1 });
            assert!(received.last().is_some_and(|bytes| reply.is_empty() == is_tls(bytes)));
        }
    }

    #[tokio::test]
    async fn a_clear_failure_causes_no_probe() {
        let (address, received) = server(0, b"").await;
        for reason in [Reason::Refused, Reason::Timeout, Reason::Auth, Reason::Unsupported] {
            let failure = Failure::new(reason, "clear");
            assert_eq!(find(failure.clone(), address).await, failure);
        }
        assert!(received.lock().expect("no panic").is_empty());
    }
}
