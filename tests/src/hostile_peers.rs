//! Servers with wrong, endless or oversized replies.

use std::io::Write;
use std::net::TcpStream;

use crate::{StubServer, bulk, serve_until_info};

/// Sends the start once, then the repeated part until the connection ends.
fn send(stream: &mut TcpStream, start: &[u8], repeated: &[u8]) -> std::io::Result<()> {
    stream.write_all(start)?;
    loop {
        stream.write_all(repeated)?;
    }
}

/// Starts a peer that sends this as its reply to INFO.
fn peer(start: &'static [u8], repeated: &'static [u8]) -> StubServer {
    StubServer::start(move |stream| {
        serve_until_info(stream, |stream| send(stream, start, repeated));
    })
}

/// Starts a peer that replies with complete replies of this kind, again and again.
fn complete(reply: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> StubServer {
    StubServer::start(move |stream| {
        serve_until_info(stream, |stream| stream.write_all(&reply()));
    })
}

/// Starts ten peers with different wrong, endless or oversized replies.
pub fn hostile_peers() -> Vec<StubServer> {
    const X: &[u8] = &[b'x'; 1 << 16];
    vec![
        peer(b"$1152921504606846976\r\n", X),
        peer(b"$1048000\r\n", b"x"),
        peer(b"+", X),
        peer(b"-", X),
        peer(b"*1\r\n", b"*1\r\n"),
        peer(b"%1\r\n+k\r\n", b"%1\r\n+k\r\n"),
        complete(|| format!("*1000000\r\n{}", ":1\r\n".repeat(1_000_000)).into_bytes()),
        complete(|| bulk(&"field:value\r\n".repeat(80_000))),
        complete(|| bulk(&format!("role:master\r\nrun_id:{}\r\n", "a".repeat(1_000_000)))),
        StubServer::start(|mut stream| drop(send(&mut stream, b"+", X))),
    ]
}
