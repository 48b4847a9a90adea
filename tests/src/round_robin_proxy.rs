//! A proxy in front of several servers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::StubServer;

/// Time without another byte after which the replies to a request are complete.
const QUIET: Duration = Duration::from_millis(40);

/// Proxy that sends each request to another one of several servers, in turn.
pub struct RoundRobinProxy {
    /// The server side of the proxy.
    pub peer: StubServer,
}

impl RoundRobinProxy {
    /// Starts a proxy in front of these ports on 127.0.0.1.
    pub fn start(ports: &[u16]) -> Self {
        let (ports, turn) = (ports.to_vec(), AtomicUsize::new(0));
        let peer = StubServer::start(move |mut client| {
            let connect = |port| TcpStream::connect(("127.0.0.1", port)).expect("a server");
            let mut servers: Vec<_> = ports.iter().copied().map(connect).collect();
            let mut request = vec![0; 64 << 10];
            while let Ok(length @ 1..) = client.read(&mut request) {
                let turn = turn.fetch_add(1, Ordering::Relaxed) % servers.len();
                let replies = forward(&mut servers[turn], &request[..length]);
                if client.write_all(&replies).is_err() {
                    return;
                }
            }
        });
        RoundRobinProxy { peer }
    }
}

/// Sends a request to a server, and returns its replies.
fn forward(server: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    server.write_all(request).expect("a server");
    server.set_read_timeout(Some(QUIET)).expect("a timeout");
    let (mut replies, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    // A loaded machine needs longer for the first byte.
    for _ in 0..50 {
        while let Ok(length @ 1..) = server.read(&mut buffer) {
            replies.extend_from_slice(&buffer[..length]);
        }
        if !replies.is_empty() {
            break;
        }
    }
    replies
}
