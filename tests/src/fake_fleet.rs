//! Fleets of thousands of fake servers in one process, the program `fake_fleet`.
//!
//! All listen on one port. The address of a connection, in 127.1.0.0/16, tells which node it is.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, Signal, program};
use crate::{Certificate, eventually, free_port};

/// Number of nodes with the same third byte of their addresses.
const NODES_PER_BYTE: usize = 250;

/// Division of the nodes of a fake fleet into deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Deployments of a master with two replicas.
    Triples,
    /// Deployments of one master.
    Singles,
    /// One static deployment of masters.
    One,
    /// One cluster. The first half of the nodes are masters with one replica each.
    Cluster,
}

/// Running `fake_fleet`.
pub struct FakeFleet {
    /// Port of all nodes.
    pub port: u16,
    shape: Shape,
    nodes: usize,
    process: Process,
    /// Certificate of all nodes and its folder, if they use TLS.
    certificate: Option<(Certificate, TempDir)>,
}

/// Connections that clients opened to a fleet within a tenth of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedConnections {
    /// End of the tenth of a second, time since the start of the fleet.
    pub until: Duration,
    /// Number of accepted connections.
    pub accepted: u64,
    /// Number of complete TLS handshakes, with a certificate.
    pub full_handshakes: u64,
    /// Number of TLS handshakes that resumed a session.
    pub resumed_handshakes: u64,
}

impl Shape {
    /// All shapes.
    pub const ALL: [Self; 4] = [Shape::Triples, Shape::Singles, Shape::One, Shape::Cluster];

    /// Returns the name of the shape on the command line.
    pub fn label(self) -> &'static str {
        match self {
            Shape::Triples => "triples",
            Shape::Singles => "singles",
            Shape::One => "one",
            Shape::Cluster => "cluster",
        }
    }

    /// Returns the shape with this name.
    pub fn from_label(label: &str) -> Option<Self> {
        Shape::ALL.into_iter().find(|shape| shape.label() == label)
    }

    /// Returns the master that a node replicates from; the node itself if it is a master.
    pub fn master(self, node: usize, nodes: usize) -> usize {
        match self {
            Shape::Triples => node - node % 3,
            Shape::Singles | Shape::One => node,
            Shape::Cluster => node % (nodes / 2),
        }
    }

    /// Returns the replicas of a node.
    pub fn replicas(self, node: usize, nodes: usize) -> Range<usize> {
        let is_master = self.master(node, nodes) == node;
        match self {
            Shape::Triples if is_master => node + 1..nodes.min(node + 3),
            Shape::Cluster if is_master => node + nodes / 2..node + nodes / 2 + 1,
            _ => node..node,
        }
    }
}

/// Returns the address of a node.
pub fn address(node: usize) -> Ipv4Addr {
    let byte = |number: usize| u8::try_from(number).expect("at most 64,000 nodes");
    Ipv4Addr::new(127, 1, byte(node / NODES_PER_BYTE), byte(1 + node % NODES_PER_BYTE))
}

/// Returns the node with an address.
pub fn node_at(address: Ipv4Addr) -> Option<usize> {
    match address.octets() {
        [127, 1, block, place] if place > 0 => {
            Some(usize::from(block) * NODES_PER_BYTE + usize::from(place) - 1)
        }
        _ => None,
    }
}

impl FakeFleet {
    /// Starts the servers, and waits until they listen.
    pub fn start(shape: Shape, nodes: usize) -> Self {
        Self::start_with(shape, nodes, None)
    }

    /// Does the same as [`Self::start`] for servers that accept only TLS.
    pub fn start_with_tls(shape: Shape, nodes: usize) -> Self {
        let folder = tempfile::tempdir().expect("cannot create a directory");
        let certificate = Certificate::create(folder.path()).expect("a certificate");
        Self::start_with(shape, nodes, Some((certificate, folder)))
    }

    fn start_with(shape: Shape, nodes: usize, certificate: Option<(Certificate, TempDir)>) -> Self {
        let port = free_port();
        let mut command = Command::new(program("fake_fleet"));
        command.args([shape.label(), &nodes.to_string(), &port.to_string()]);
        if let Some((certificate, _)) = &certificate {
            command.args([&certificate.chain, &certificate.key]);
        }
        let process = Process::start(&mut command);
        eventually(Duration::from_secs(20), "the fake servers listen", || {
            process.log().iter().any(|line| line == "listening").then_some(())
        });
        FakeFleet { port, shape, nodes, process, certificate }
    }

    /// Returns the configuration of Rolecall for the fleet.
    pub fn configuration(&self) -> String {
        let (scheme, tls) = match &self.certificate {
            Some((certificate, _)) => ("rediss", certificate.profile()),
            None => ("redis", String::new()),
        };
        let list = |nodes: Range<usize>| -> String {
            let url = |node| format!("{{ url = '{scheme}://{}:{}' }}", address(node), self.port);
            nodes.map(url).collect::<Vec<_>>().join(", ")
        };
        let mut text = String::new();
        let mut add = |name: &str, key: &str, nodes: Range<usize>| {
            let list = list(nodes);
            writeln!(text, "[[deployment]]\nname = '{name}'\n{key} = [{list}]\n{tls}")
                .expect("writing to a string cannot fail");
        };
        match self.shape {
            Shape::One => add("one", "nodes", 0..self.nodes),
            Shape::Cluster => add("cluster", "cluster", 0..3.min(self.nodes)),
            Shape::Singles | Shape::Triples => {
                let size = if self.shape == Shape::Triples { 3 } else { 1 };
                for first in (0..self.nodes).step_by(size) {
                    add(&format!("d{first}"), "nodes", first..self.nodes.min(first + size));
                }
            }
        }
        text
    }

    /// Closes all connections at once.
    pub fn close_connections(&self) {
        self.process.signal(Signal::Hangup);
    }

    /// Returns the connections so far, for each tenth of a second in which some were opened.
    pub fn opened_connections(&self) -> Vec<OpenedConnections> {
        self.process.log().iter().filter_map(|line| OpenedConnections::parse(line)).collect()
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl OpenedConnections {
    /// Returns the line that `fake_fleet` prints.
    pub fn line(&self) -> String {
        format!(
            "opened {} {} {} {}",
            self.until.as_millis(),
            self.accepted,
            self.full_handshakes,
            self.resumed_handshakes
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let numbers: Result<Vec<_>, _> =
            line.strip_prefix("opened ")?.split(' ').map(str::parse).collect();
        let [until, accepted, full_handshakes, resumed_handshakes] = numbers.ok()?[..] else {
            return None;
        };
        let until = Duration::from_millis(until);
        Some(OpenedConnections { until, accepted, full_handshakes, resumed_handshakes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_addresses_of_their_own() {
        for node in 0..60_000 {
            assert_eq!(node_at(address(node)), Some(node));
        }
        assert_eq!(node_at(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn masters_and_replicas_know_each_other() {
        for shape in Shape::ALL {
            for node in 0..30 {
                let master = shape.master(node, 30);
                let is_replica = shape.replicas(master, 30).contains(&node);
                assert!(is_replica || node == master, "{shape:?} {node}");
            }
        }
    }

    #[test]
    fn lines_about_connections_are_read() {
        let opened = OpenedConnections {
            until: Duration::from_millis(1700),
            accepted: 12,
            full_handshakes: 3,
            resumed_handshakes: 9,
        };
        assert_eq!(OpenedConnections::parse(&opened.line()), Some(opened));
        assert_eq!(OpenedConnections::parse("listening"), None);
    }
}
