//! Servers that answer like other systems, and a proxy in front of several servers.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::StubServer;
use crate::stub_redis::{array, bulk, read_command};

/// Time without another byte after which the replies to a request are complete.
const QUIET: Duration = Duration::from_millis(40);

/// Server that answers each command with a function, and keeps what it received.
pub struct FakeServer {
    /// The server itself.
    pub stub: StubServer,
    received: Arc<Mutex<Vec<String>>>,
}

impl FakeServer {
    /// Starts a server. `answer` gets a command in capitals, such as `CONFIG GET DIR`, and returns
    /// the reply in the Redis protocol; `None` closes the connection.
    pub fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let received: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&received);
        let stub = StubServer::start(move |stream| {
            serve(&stream, |command| {
                kept.lock().expect("a thread panicked").push(command.to_owned());
                answer(command)
            });
        });
        FakeServer { stub, received }
    }

    /// Starts a server that answers INFO with a text, other commands like a fresh Redis.
    pub fn with_info(info: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self::start(move |command| Some(redis_reply(command, &info())))
    }

    /// Returns the number of received commands that begin with these words.
    pub fn received(&self, words: &str) -> usize {
        let received = self.received.lock().expect("a thread panicked");
        received.iter().filter(|command| command.starts_with(words)).count()
    }
}

/// Returns the reply to a command, with this text as the reply to INFO.
pub fn redis_reply(command: &str, info: &str) -> Vec<u8> {
    match command {
        "CLIENT ID" => b":1\r\n".to_vec(),
        "SLOWLOG LEN" => b":0\r\n".to_vec(),
        "SLOWLOG GET 1" => array([]),
        "INFO COMMANDSTATS" => {
            bulk("# Commandstats\r\ncmdstat_get:calls=7,usec=9,usec_per_call=1\r\n")
        }
        _ if command.starts_with("INFO") => bulk(info),
        _ => match command.strip_prefix("CONFIG GET ") {
            Some(name) => array([bulk(&name.to_lowercase()), bulk("1")]),
            None => b"-ERR unknown command\r\n".to_vec(),
        },
    }
}

/// Answers the commands of one connection until it ends.
fn serve(stream: &TcpStream, answer: impl Fn(&str) -> Option<Vec<u8>>) {
    let mut requests = BufReader::new(stream);
    while let Ok(words) = read_command(&mut requests) {
        let Some(reply) = answer(&words.join(" ").to_uppercase()) else { return };
        let mut stream = stream;
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

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
