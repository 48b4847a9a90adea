//! Ports for servers.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::Mutex;

/// The first of all. They stay below 20,000: a cluster node takes the port 10,000 above its own as well, and those that the system gives to
/// connections begin above both.
const FIRST: u16 = 10_000;

/// Ports are taken in blocks; who listens at the first of a block has all of it.
const BLOCK: u16 = 200;
const BLOCKS: u16 = 50;

/// A port of the loopback interface that nobody listens on. No two tests get the same one, be they of one process or of several that run at
/// the same time.
pub fn free_port() -> u16 {
    static PORTS: Mutex<Ports> = Mutex::new(Ports::new());
    PORTS.lock().expect("ports").take()
}

/// The blocks of a process.
struct Ports {
    /// What is left of the last.
    left: Range<u16>,
    held: Vec<TcpListener>,
}

impl Ports {
    const fn new() -> Self {
        Ports { left: 0..0, held: Vec::new() }
    }

    fn take(&mut self) -> u16 {
        loop {
            if let Some(port) = self
                .left
                .find(|port| listener(*port).is_some() && listener(*port + 10_000).is_some())
            {
                return port;
            }
            let mut blocks = (0..BLOCKS).map(|block| FIRST + block * BLOCK);
            let (first, held) = blocks
                .find_map(|first| Some((first, listener(first)?)))
                .expect("a free block of ports");
            self.left = first + 1..first + BLOCK;
            self.held.push(held);
        }
    }
}

fn listener(port: u16) -> Option<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn processes_that_run_at_the_same_time_share_no_port() {
        let (mut one, mut other) = (Ports::new(), Ports::new());
        let ports: BTreeSet<_> = (0..250).flat_map(|_| [one.take(), other.take()]).collect();
        assert_eq!(ports.len(), 500);
        assert!(ports.iter().all(|port| (10_000..20_000).contains(port)), "{ports:?}");
    }
}
