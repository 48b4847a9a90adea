//! A server that parses requests of the Redis protocol and sends any replies, as another system or
//! a faulty or hostile server may.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::StubServer;

/// Server that answers each command with a function, and keeps what it received. It runs until the
/// test process exits.
pub struct FakeServer {
    /// The server itself.
    pub stub: StubServer,
    received: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
}

impl FakeServer {
    /// Starts a server. `answer` gets a command in capitals, such as `CONFIG GET DIR`, and returns
    /// the reply in the Redis protocol; `None` closes the connection.
    pub fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let received: Arc<Mutex<Vec<String>>> = Arc::default();
        let open = Arc::<AtomicUsize>::default();
        let (kept, connections) = (Arc::clone(&received), Arc::clone(&open));
        let stub = StubServer::start(move |stream| {
            connections.fetch_add(1, Ordering::Relaxed);
            serve(&stream, |command| {
                kept.lock().expect("a thread panicked").push(command.to_owned());
                answer(command)
            });
            connections.fetch_sub(1, Ordering::Relaxed);
        });
        FakeServer { stub, received, open }
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

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
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

/// Returns the reply of a server that only knows the commands that every connection begins with.
pub fn minimal_reply(command: &str) -> Vec<u8> {
    match command.split(' ').next() {
        Some("CLIENT") => b":1\r\n".to_vec(),
        Some("PING") => b"+PONG\r\n".to_vec(),
        Some("CONFIG") => array([]),
        _ => b"-ERR unknown command\r\n".to_vec(),
    }
}

/// Returns a bulk string.
pub fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Returns an array.
pub fn array(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let items: Vec<_> = items.into_iter().collect();
    let head = format!("*{}\r\n", items.len()).into_bytes();
    std::iter::once(head).chain(items).flatten().collect()
}

/// Answers the commands of one connection until it ends.
fn serve(stream: &TcpStream, answer: impl Fn(&str) -> Option<Vec<u8>>) {
    let mut requests = BufReader::new(stream);
    while let Ok(command) = read_command(&mut requests) {
        let Some(reply) = answer(&command) else { return };
        let mut stream = stream;
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

/// Reads one command, in capitals.
fn read_command(from: &mut impl BufRead) -> Result<String> {
    let count = read_number(from)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = read_number(from)?;
        let mut word = vec![0; length + 2];
        from.read_exact(&mut word)?;
        words.push(String::from_utf8_lossy(&word[..length]).to_uppercase());
    }
    Ok(words.join(" "))
}

/// Reads a line such as `*3` or `$5` and returns its number.
fn read_number(from: &mut impl BufRead) -> Result<usize> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let number = line.trim_end().get(1..).and_then(|number| number.parse().ok());
    number.ok_or_else(|| Error::from(ErrorKind::InvalidData))
}
