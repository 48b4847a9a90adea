//! Proxy between a client and a server that counts the commands and can change the replies.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::free_port;

/// Proxy in front of one server.
pub struct CommandProxy {
    /// The address and port on which it listens.
    pub address: String,
    seen: Arc<Mutex<Traffic>>,
}

/// Connections and commands that a [`CommandProxy`] saw.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Number of connections so far, including closed ones.
    pub connections: u32,
    /// Number of open connections.
    pub open: u32,
    /// Number of calls of each command. Names are in upper case; those of SENTINEL and CLIENT
    /// include the subcommand.
    pub commands: BTreeMap<String, u64>,
}

/// Pairs of texts of equal length: in replies, the first is replaced by the second.
pub type Rewrites = Vec<(String, String)>;

impl CommandProxy {
    /// Starts a proxy on 127.0.0.1 that forwards replies unchanged.
    pub fn start(target: &str) -> Self {
        Self::rewriting("127.0.0.1", target, Vec::new())
    }

    /// Starts a proxy on a local address that changes replies.
    pub fn rewriting(host: &str, target: &str, rewrites: Rewrites) -> Self {
        assert!(
            rewrites.iter().all(|(from, to)| from.len() == to.len()),
            "a replacement must be as long as the original, since RESP bulk strings have a length"
        );
        let address = format!("{host}:{}", free_port());
        let listener = TcpListener::bind(&address).expect("cannot listen");
        let seen: Arc<Mutex<Traffic>> = Arc::default();
        let (shared, target) = (Arc::clone(&seen), target.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (seen, target, rewrites) =
                    (Arc::clone(&shared), target.clone(), rewrites.clone());
                std::thread::spawn(move || serve(&client, &target, &seen, &rewrites));
            }
        });
        CommandProxy { address, seen }
    }

    /// Returns the URL of the proxy as a node.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Returns the connections and commands so far.
    pub fn traffic(&self) -> Traffic {
        self.seen.lock().expect("a thread panicked").clone()
    }
}

fn serve(client: &TcpStream, target: &str, seen: &Mutex<Traffic>, rewrites: &Rewrites) {
    let Ok(server) = TcpStream::connect(target) else { return };
    let count = |change: fn(&mut Traffic)| change(&mut seen.lock().expect("a thread panicked"));
    count(|seen| {
        seen.connections += 1;
        seen.open += 1;
    });
    let (to_server, to_client) = (
        server.try_clone().expect("cannot clone the stream"),
        client.try_clone().expect("cannot clone the stream"),
    );
    std::thread::scope(|scope| {
        // When one side closes its connection, close the other one too.
        scope.spawn(|| {
            let _ = requests(client, &to_server, seen);
            let _ = to_server.shutdown(Shutdown::Both);
        });
        let _ = replies(&server, &to_client, rewrites);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    count(|seen| seen.open -= 1);
}

fn requests(client: &TcpStream, mut server: &TcpStream, seen: &Mutex<Traffic>) -> Result<()> {
    let mut client = BufReader::new(client);
    loop {
        let mut command = Vec::new();
        let words = number(&mut client, &mut command)?;
        let mut name = String::new();
        for position in 0..words {
            let length =
                usize::try_from(number(&mut client, &mut command)?).expect("invalid length");
            let begin = command.len();
            command.resize(begin + length + 2, 0);
            client.read_exact(&mut command[begin..])?;
            let word = String::from_utf8_lossy(&command[begin..begin + length]).to_uppercase();
            match (position, name.as_str()) {
                (0, _) => name = word,
                (1, "SENTINEL" | "CLIENT") => name = format!("{name} {word}"),
                _ => {}
            }
        }
        *seen.lock().expect("a thread panicked").commands.entry(name).or_default() += 1;
        server.write_all(&command)?;
    }
}

/// Reads a RESP line such as `*3` or `$5`, appends it to `command`, and returns its number.
fn number(from: &mut impl BufRead, command: &mut Vec<u8>) -> Result<u64> {
    let begin = command.len();
    if from.read_until(b'\n', command)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(&command[begin..]);
    line.trim_end()
        .get(1..)
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn replies(mut server: &TcpStream, mut client: &TcpStream, rewrites: &Rewrites) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = server.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        for (from, to) in rewrites {
            let (from, to) = (from.as_bytes(), to.as_bytes());
            for start in 0..(length + 1).saturating_sub(from.len()) {
                if buffer[start..].starts_with(from) {
                    buffer[start..start + to.len()].copy_from_slice(to);
                }
            }
        }
        client.write_all(&buffer[..length])?;
    }
}
