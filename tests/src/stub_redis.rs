//! A server that parses requests of the Redis protocol and sends any replies, as a faulty or
//! hostile server may.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::StubServer;

/// Server with replies that a test chooses. It runs until the test process exits.
pub struct StubRedis {
    /// Address of the server.
    pub server: StubServer,
    open: Arc<AtomicUsize>,
}

impl StubRedis {
    /// Starts a server that calls `reply` with the words of each command, the first one in upper
    /// case. Commands for which it returns nothing get an error.
    pub fn start(reply: impl Fn(&[String]) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let open = Arc::<AtomicUsize>::default();
        let connections = Arc::clone(&open);
        let server = StubServer::start(move |stream| {
            connections.fetch_add(1, Ordering::Relaxed);
            // The client closes the connection at the end.
            let _ = serve(&stream, &reply);
            connections.fetch_sub(1, Ordering::Relaxed);
        });
        StubRedis { server, open }
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.server.port)
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

fn serve(stream: &TcpStream, reply: &dyn Fn(&[String]) -> Option<Vec<u8>>) -> Result<()> {
    let mut requests = BufReader::new(stream);
    loop {
        let words = read_command(&mut requests)?;
        let sent = reply(&words).unwrap_or_else(|| default_reply(&words));
        let mut stream = stream;
        stream.write_all(&sent)?;
    }
}

/// Returns the reply to a command that every server knows, otherwise an error.
fn default_reply(words: &[String]) -> Vec<u8> {
    match words[0].as_str() {
        "CLIENT" => b":1\r\n".to_vec(),
        "PING" => b"+PONG\r\n".to_vec(),
        "CONFIG" => array([]),
        name => format!("-ERR unknown command '{name}'\r\n").into_bytes(),
    }
}

/// Reads one command.
pub(crate) fn read_command(from: &mut impl BufRead) -> Result<Vec<String>> {
    let count = read_number(from)?;
    let mut words = Vec::new();
    for position in 0..count {
        let length = read_number(from)?;
        let mut word = vec![0; length + 2];
        from.read_exact(&mut word)?;
        let word = String::from_utf8_lossy(&word[..length]).into_owned();
        words.push(if position == 0 { word.to_uppercase() } else { word });
    }
    Ok(words)
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
