//! TCP servers that are not Redis: stubs with a custom protocol, and a proxy that can fail.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{free_port, pause};

/// TCP server that passes each connection to a function. It runs until the test process exits.
pub struct StubServer {
    /// The port on 127.0.0.1.
    pub port: u16,
}

impl StubServer {
    /// Starts a server that calls `serve` with each connection, on a separate thread per
    /// connection.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("cannot listen");
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        StubServer { port }
    }

    /// Returns the URL of the server as a node.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// TCP proxy that can change its target and can stall its connections.
pub struct Proxy {
    /// The server side of the proxy.
    pub peer: StubServer,
    state: Arc<Mutex<(u16, Vec<TcpStream>)>>,
    stalled: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy in front of a port on 127.0.0.1.
    pub fn start(target: u16) -> Self {
        let (state, stalled) =
            (Arc::new(Mutex::new((target, Vec::new()))), Arc::<AtomicBool>::default());
        let (shared, is_stalled) = (Arc::clone(&state), Arc::clone(&stalled));
        let peer = StubServer::start(move |client| {
            let Ok(server) =
                TcpStream::connect(("127.0.0.1", shared.lock().expect("a thread panicked").0))
            else {
                return;
            };
            shared.lock().expect("a thread panicked").1.extend([
                client.try_clone().expect("cannot clone the stream"),
                server.try_clone().expect("cannot clone the stream"),
            ]);
            let (from, to) = (
                client.try_clone().expect("cannot clone the stream"),
                server.try_clone().expect("cannot clone the stream"),
            );
            let is_stalled_too = Arc::clone(&is_stalled);
            std::thread::spawn(move || forward(from, to, &is_stalled_too));
            forward(server, client, &is_stalled);
        });
        Proxy { peer, state, stalled }
    }

    /// Changes the target port and closes all existing connections.
    pub fn redirect_to(&self, target: u16) {
        let mut state = self.state.lock().expect("a thread panicked");
        state.0 = target;
        for stream in state.1.drain(..) {
            // The stream may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Stops or resumes forwarding in both directions. Connections stay open.
    pub fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }
}

/// Forwards bytes in one direction until one of the connections is closed.
fn forward(mut from: TcpStream, mut to: TcpStream, stalled: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        while stalled.load(Ordering::Relaxed) {
            pause(Duration::from_millis(10));
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The streams may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Serves the handshake of Rolecall like a real server, and passes each later request to `answer`.
/// The handshake consists of CLIENT commands and `INFO SERVER`.
pub fn serve_until_info(
    mut stream: TcpStream,
    answer: impl Fn(&mut TcpStream) -> std::io::Result<()>,
) {
    let mut request = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut request) {
        let text = String::from_utf8_lossy(&request[..length]).to_uppercase();
        let sent = match () {
            () if text.contains("CLIENT") => stream.write_all(b":1\r\n"),
            () if text.contains("SERVER") => {
                stream.write_all(b"$21\r\nredis_version:7.0.0\r\n\r\n")
            }
            () => answer(&mut stream),
        };
        if sent.is_err() {
            return;
        }
    }
}
