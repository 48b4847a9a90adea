//! Connections of the test's own to servers: one that asks, one that listens to a Sentinel, one that writes.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Stopwatch, eventually, pause};

/// The name of these connections in the CLIENT LIST of servers.
pub const NAME: &str = "testbed";

/// A connection to a server.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    /// Connects, and authenticates if there is a password.
    ///
    /// # Errors
    /// It does not listen, or does not answer within 2 s.
    pub fn connect(address: &str, password: Option<&str>) -> Result<Self> {
        let address: SocketAddr = address.parse().map_err(|_| ErrorKind::InvalidInput)?;
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut wire = Wire(BufReader::new(stream));
        if let Some(password) = password {
            wire.ask(&["AUTH", password])?;
        }
        wire.ask(&["CLIENT", "SETNAME", NAME])?;
        Ok(wire)
    }

    /// Sends a command, and gives its reply as a flat list of texts; errors are a text that begins with `-`.
    ///
    /// # Errors
    /// It closed the connection, or does not answer within 2 s.
    pub fn ask(&mut self, command: &[&str]) -> Result<Vec<String>> {
        self.send(command)?;
        self.reply()
    }

    /// Sends a command.
    fn send(&mut self, command: &[&str]) -> Result<()> {
        // As one packet: the system would hold back the second.
        let mut text = Vec::new();
        write!(text, "*{}\r\n", command.len())?;
        for word in command {
            write!(text, "${}\r\n{word}\r\n", word.len())?;
        }
        self.0.get_mut().write_all(&text)
    }

    /// Reads one reply.
    fn reply(&mut self) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            let line = self.line()?;
            let (kind, rest) = line.split_at_checked(1).ok_or(ErrorKind::UnexpectedEof)?;
            match kind {
                "*" => left += length(rest)?.unwrap_or_default(),
                "$" => texts.extend(self.bulk(rest)?),
                "-" => texts.push(line),
                _ => texts.push(rest.to_owned()),
            }
        }
        Ok(texts)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// The text that follows its length; nothing if there is none.
    fn bulk(&mut self, rest: &str) -> Result<Option<String>> {
        let Some(length) = length(rest)? else { return Ok(None) };
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text)?;
        text.truncate(length);
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

/// How much follows; none for what is not there, as the protocol writes it.
fn length(text: &str) -> Result<Option<usize>> {
    if text == "-1" {
        Ok(None)
    } else {
        text.parse().map(Some).map_err(|_| ErrorKind::InvalidData.into())
    }
}

/// What a Sentinel published since the test began to listen.
pub struct Listener {
    heard: Arc<Mutex<Vec<Heard>>>,
    ends: Arc<AtomicBool>,
}

/// A message of a Sentinel.
#[derive(Debug, Clone)]
pub struct Heard {
    /// On the stopwatch that the listener was given.
    pub at: Duration,
    /// What happened.
    pub channel: String,
    /// To whom.
    pub payload: String,
}

impl Listener {
    /// Listens to everything that a Sentinel publishes.
    pub fn start(address: &str, password: Option<&str>, clock: &Arc<Stopwatch>) -> Self {
        let mut wire = Wire::connect(address, password).expect("a connection");
        wire.ask(&["PSUBSCRIBE", "*"]).expect("a subscription");
        let listener = Listener { heard: Arc::default(), ends: Arc::default() };
        let (heard, ends, clock) =
            (Arc::clone(&listener.heard), Arc::clone(&listener.ends), Arc::clone(clock));
        std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                match wire.reply() {
                    // pmessage, pattern, channel, payload
                    Ok(message) if message.len() == 4 && message[2] != "__sentinel__:hello" => {
                        let at = clock.elapsed();
                        heard.lock().expect("heard").push(Heard {
                            at,
                            channel: message[2].clone(),
                            payload: message[3].clone(),
                        });
                    }
                    Ok(_) => {}
                    Err(error) if waits(&error) => {}
                    Err(_) => return,
                }
            }
        });
        listener
    }

    /// What was heard so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("heard").clone()
    }

    /// Waits for the first message of a channel.
    #[track_caller]
    pub fn until(&self, limit: Duration, channel: &str) -> Heard {
        eventually(limit, channel, || {
            self.heard().into_iter().find(|heard| heard.channel == channel)
        })
        .0
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// A client that writes a key of its own at a steady pace, until it is stopped.
pub struct Writer {
    taken: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Writes `prefix1`, `prefix2` and so on to a server, that often per second. A write that is refused or unanswered is tried again.
    pub fn start(address: &str, prefix: &'static str, per_second: u32) -> Self {
        let (taken, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ended, address) = (Arc::clone(&taken), Arc::clone(&ends), address.to_owned());
        let thread = std::thread::spawn(move || {
            let mut wire = None;
            while !ended.load(Ordering::Relaxed) {
                let key = format!("{prefix}{}", counted.load(Ordering::Relaxed) + 1);
                wire = wire.or_else(|| Wire::connect(&address, None).ok()).and_then(|mut wire| {
                    let reply = wire.ask(&["SET", &key, "1"]).ok()?;
                    if reply == ["OK"] {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(wire)
                });
                pause(Duration::from_secs(1) / per_second);
            }
        });
        Writer { taken, ends, thread: Some(thread) }
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Stops it, and gives the number of writes that were acknowledged.
    pub fn stop(&mut self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the writer");
        }
        self.acknowledged()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// Nothing came in time.
fn waits(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
