//! Free ports for servers.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::Mutex;

/// The first port of the first block. All ports are below 20,000, since a cluster node also uses
/// the port 10,000 above its own, and both must be below the ephemeral port range.
const FIRST: u16 = 10_000;

/// Number of ports per block. The process that listens on the first port of a block owns the block.
const BLOCK: u16 = 200;
const BLOCKS: u16 = 50;

/// Returns an unused port of the loopback interface. Two tests never get the same port, in one
/// process or in several processes at the same time.
pub fn free_port() -> u16 {
    static PORTS: Mutex<Ports> = Mutex::new(Ports::new());
    PORTS.lock().expect("a thread panicked").take()
}

/// Port blocks of one process.
struct Ports {
    /// The unused ports of the last block.
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
                .expect("no free block of ports");
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
    fn concurrent_processes_get_different_ports() {
        let (mut one, mut other) = (Ports::new(), Ports::new());
        let ports: BTreeSet<_> = (0..250).flat_map(|_| [one.take(), other.take()]).collect();
        assert_eq!(ports.len(), 500);
        assert!(ports.iter().all(|port| (10_000..20_000).contains(port)), "{ports:?}");
    }
}
