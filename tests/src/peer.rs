//! Peers that are no Redis server: what a broken proxy or another program does to who connects.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{free_port, pause};

/// A program on a port that does something with each connection, as long as the value lives.
pub struct Peer {
    /// The port it listens on, on 127.0.0.1.
    pub port: u16,
}

impl Peer {
    /// Calls the function with each connection, on a thread of its own.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Peer { port }
    }

    /// Its address as a node's URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// A TCP proxy whose target can be changed, and that can hold back what flows.
pub struct Proxy {
    /// Where it listens.
    pub peer: Peer,
    state: Arc<Mutex<(u16, Vec<TcpStream>)>>,
    holds: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts it in front of a port.
    pub fn start(target: u16) -> Self {
        let (state, holds) =
            (Arc::new(Mutex::new((target, Vec::new()))), Arc::<AtomicBool>::default());
        let (shared, held) = (Arc::clone(&state), Arc::clone(&holds));
        let peer = Peer::start(move |client| {
            let Ok(server) = TcpStream::connect(("127.0.0.1", shared.lock().expect("state").0))
            else {
                return;
            };
            shared.lock().expect("state").1.extend([
                client.try_clone().expect("a stream"),
                server.try_clone().expect("a stream"),
            ]);
            let (from, to) =
                (client.try_clone().expect("a stream"), server.try_clone().expect("a stream"));
            let held_too = Arc::clone(&held);
            std::thread::spawn(move || pump(from, to, &held_too));
            pump(server, client, &held);
        });
        Proxy { peer, state, holds }
    }

    /// Leads to another port from now on: new connections go there, and old ones are cut.
    pub fn lead_to(&self, target: u16) {
        let mut state = self.state.lock().expect("state");
        state.0 = target;
        for stream in state.1.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Holds back all that flows, in either direction, until told otherwise. Connections stay open.
    pub fn hold(&self, holds: bool) {
        self.holds.store(holds, Ordering::Relaxed);
    }
}

/// Passes on what comes from one side, until either side ends.
fn pump(mut from: TcpStream, mut to: TcpStream, holds: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        while holds.load(Ordering::Relaxed) {
            pause(Duration::from_millis(10));
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // They may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Answers like a server until `INFO` without a section is asked for, and then as the function says.
pub fn until_info(mut stream: TcpStream, answer: impl Fn(&mut TcpStream) -> std::io::Result<()>) {
    let mut request = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut request) {
        let text = String::from_utf8_lossy(&request[..length]).to_uppercase();
        let answered = match () {
            () if text.contains("CLIENT") => stream.write_all(b":1\r\n"),
            () if text.contains("SERVER") => {
                stream.write_all(b"$21\r\nredis_version:7.0.0\r\n\r\n")
            }
            () => answer(&mut stream),
        };
        if answered.is_err() {
            return;
        }
    }
}
