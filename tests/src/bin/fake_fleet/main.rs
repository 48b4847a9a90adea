//! Thousands of fake Redis servers in one process, for measurements. They reply like Redis 7.0.15,
//! from a capture, with values of their own that move each second.
//!
//! `fake_fleet SHAPE NODES PORT [CERTIFICATE KEY]`. See [`tests::Shape`]. With a certificate, the
//! servers accept only TLS. SIGHUP closes all connections. The program prints the connections that
//! were opened, see [`tests::OpenedConnections`].

#![expect(clippy::print_stdout, reason = "it prints that it listens, and opened connections")]

mod cluster;
mod command;
mod config;
mod info;
mod opened;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::tests::{Shape, Stopwatch, node_at};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::cluster::ClusterMap;
use crate::command::Command;
use crate::info::InfoTemplate;
use crate::opened::OpenedCounter;

/// Limit of connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Time that the values of all nodes have behind them when the fleet starts.
const AGE: Duration = Duration::from_secs(100_000);

/// Size of the buffer for commands.
const RECEIVED_AT_ONCE: usize = 1024;

/// Time between two lines about opened connections.
const OPENED_CADENCE: Duration = Duration::from_millis(100);

/// All nodes.
struct Fleet {
    shape: Shape,
    nodes: usize,
    port: u16,
    started: Stopwatch,
    info: InfoTemplate,
    map: ClusterMap,
    tls: Option<TlsAcceptor>,
    opened: OpenedCounter,
}

/// Node at one moment.
#[derive(Clone, Copy)]
struct Node<'a> {
    fleet: &'a Fleet,
    number: usize,
    /// Time since the start of the fleet.
    seconds: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [shape, nodes, port, files @ ..] = &arguments[..] else {
        panic!("usage: fake_fleet SHAPE NODES PORT [CERTIFICATE KEY]")
    };
    let nodes = nodes.parse().expect("a number of nodes");
    let port = port.parse().expect("a port");
    let shape = Shape::from_label(shape).expect("a shape");
    let mut fleet = Fleet::new(shape, nodes, port);
    if let [certificate, key] = files {
        fleet.tls = Some(tls_acceptor(certificate.as_ref(), key.as_ref()));
    }
    let fleet = Arc::new(fleet);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
    let listener = socket.listen(BACKLOG)?;
    let mut hangups = signal(SignalKind::hangup())?;
    let mut ticks = tokio::time::interval(OPENED_CADENCE);
    println!("listening");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                fleet.opened.add_accepted();
                connections.spawn(serve(accepted?.0, Arc::clone(&fleet)));
            }
            _ = hangups.recv() => connections.shutdown().await,
            _ = ticks.tick() => {
                if let Some(opened) = fleet.opened.take(fleet.started.elapsed()) {
                    println!("{}", opened.line());
                }
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Returns the TLS settings of all nodes. Clients can resume sessions with tickets, as with Redis.
fn tls_acceptor(certificate: &Path, key: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate).expect("cannot read the certificate");
    let chain: Result<Vec<_>, _> = chain.collect();
    let key = PrivateKeyDer::from_pem_file(key).expect("cannot read the key");
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions");
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain.expect("certificates in PEM format"), key)
        .expect("the certificate and the key belong together");
    config.ticketer = ring::Ticketer::new().expect("random numbers");
    TlsAcceptor::from(Arc::new(config))
}

impl Fleet {
    fn new(shape: Shape, nodes: usize, port: u16) -> Self {
        Fleet {
            shape,
            nodes,
            port,
            started: Stopwatch::start(),
            info: InfoTemplate::read(shape, port),
            map: ClusterMap::new(shape, nodes, port),
            tls: None,
            opened: OpenedCounter::default(),
        }
    }
}

/// Replies to the commands of one connection until the client closes it.
async fn serve(stream: TcpStream, fleet: Arc<Fleet>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let IpAddr::V4(address) = stream.local_addr()?.ip() else { return Ok(()) };
    let Some(number) = node_at(address).filter(|number| *number < fleet.nodes) else {
        return Ok(());
    };
    let Some(acceptor) = &fleet.tls else { return reply_all(stream, &fleet, number).await };
    let stream = acceptor.accept(stream).await?;
    fleet.opened.add_handshake(stream.get_ref().1.handshake_kind());
    reply_all(stream, &fleet, number).await
}

/// Replies to the commands from a stream until its end.
async fn reply_all(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    fleet: &Fleet,
    number: usize,
) -> io::Result<()> {
    let mut received = Vec::with_capacity(RECEIVED_AT_ONCE);
    loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
        let seconds = fleet.started.elapsed().as_secs();
        let node = Node { fleet, number, seconds };
        let (mut replies, mut end) = (Vec::new(), 0);
        while let Some((command, length)) = Command::parse(&received[end..]) {
            node.reply(&command, &mut replies);
            end += length;
        }
        received.drain(..end);
        stream.write_all(&replies).await?;
        stream.flush().await?;
    }
}

impl Node<'_> {
    /// Appends the reply to a command.
    fn reply(self, command: &Command<'_>, replies: &mut Vec<u8>) {
        let [name, arguments @ ..] = command.words() else { return };
        match (name.to_ascii_uppercase().as_str(), arguments) {
            ("INFO", sections) => bulk(replies, |body| self.write_info(sections, body)),
            ("CONFIG", [_, pattern, ..]) => config::write(pattern, replies),
            ("CLUSTER", [part]) if part.eq_ignore_ascii_case("nodes") => {
                bulk(replies, |body| self.fleet.map.write(self.number, body));
            }
            ("CLUSTER", _) => bulk(replies, |body| self.write_cluster_info(body)),
            ("CLIENT", [part, ..]) if part.eq_ignore_ascii_case("list") => {
                bulk(replies, |body| body.extend(b"id=7 addr=127.0.0.1:5000 name= cmd=client\n"));
            }
            ("SLOWLOG", [part]) if part.eq_ignore_ascii_case("len") => replies.extend(b":0\r\n"),
            ("SLOWLOG", _) => replies.extend(b"*0\r\n"),
            ("CLIENT", _) => replies.extend(b":7\r\n"),
            ("AUTH", _) => replies.extend(b"+OK\r\n"),
            _ => replies.extend(b"-ERR unknown command\r\n"),
        }
    }

    /// Returns the master of the node; the node itself if it is a master.
    fn master(self) -> usize {
        self.fleet.shape.master(self.number, self.fleet.nodes)
    }
}

/// Appends a bulk string.
fn bulk(replies: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::with_capacity(8 << 10);
    write(&mut body);
    replies.extend(format!("${}\r\n", body.len()).into_bytes());
    replies.extend(body);
    replies.extend(b"\r\n");
}

/// Returns an ID of 40 hexadecimal digits, which differs by node and by use.
fn id(node: usize, salt: u64) -> String {
    let mixed = (node as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
    format!("{mixed:016x}{:016x}{node:08x}", mixed.rotate_left(29))
}

#[cfg(test)]
mod tests {
    use snapshot::{ClusterMap, NodeSnapshot, Role};

    use super::*;

    const NODES: usize = 30;

    /// Returns the body of the reply to a command, a bulk string.
    fn body(fleet: &Fleet, number: usize, seconds: u64, words: &[&str]) -> String {
        let argument = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
        let arguments: Vec<_> = words.iter().map(argument).collect();
        let request = format!("*{}\r\n{}", words.len(), arguments.concat());
        let (command, length) = Command::parse(request.as_bytes()).expect("a command");
        assert_eq!(length, request.len());
        let mut reply = Vec::new();
        Node { fleet, number, seconds }.reply(&command, &mut reply);
        let text = String::from_utf8(reply).expect("text");
        let (header, body) = text.split_once("\r\n").expect("a header");
        assert_eq!(header, format!("${}", body.len() - 2), "{words:?}");
        body.to_owned()
    }

    #[test]
    fn info_has_the_roles_of_the_shape_and_moves() {
        for shape in Shape::ALL {
            let fleet = Fleet::new(shape, NODES, 7000);
            for number in 0..NODES {
                let info = |seconds| body(&fleet, number, seconds, &["INFO"]);
                let snapshot = NodeSnapshot::from_info(&info(1)).expect("INFO");
                let is_master = shape.master(number, NODES) == number;
                let role = if is_master { Role::Master } else { Role::Replica };
                assert_eq!(snapshot.replication.role, Some(role), "{shape:?} {number}");
                assert!(info(1) != info(2) && !info(1).contains("cmdstat_"));
                assert!(info(1) != body(&fleet, (number + 1) % NODES, 1, &["INFO"]));
            }
            let stats = body(&fleet, 0, 1, &["INFO", "commandstats"]);
            assert_eq!(stats.lines().filter(|line| line.starts_with("cmdstat_")).count(), 50);
        }
    }

    #[test]
    fn cluster_map_has_all_nodes_and_slots() {
        let fleet = Fleet::new(Shape::Cluster, NODES, 7000);
        let text = body(&fleet, 3, 1, &["CLUSTER", "NODES"]);
        assert!(text.lines().nth(3).is_some_and(|line| line.contains(" myself,master ")));
        assert_eq!(text.matches("myself,").count(), 1);
        assert_eq!(ClusterMap::parse(&text).nodes.len(), NODES);
    }

    #[test]
    fn an_incomplete_command_is_not_parsed() {
        let request = b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n";
        for end in 0..request.len() {
            assert!(Command::parse(&request[..end]).is_none(), "{end}");
        }
    }
}
