//! Connections of the tests to servers: a command connection, a subscriber to a Sentinel, and a
//! writer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Stopwatch, eventually, pause};

/// Client name of these connections in CLIENT LIST.
pub const CLIENT_NAME: &str = "testbed";

/// RESP2 connection to a server.
pub struct Connection(BufReader<Stream>);

/// Byte stream to a server.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(buffer),
            Stream::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Stream::Tcp(stream) => stream.flush(),
            Stream::Unix(stream) => stream.flush(),
        }
    }
}

impl Connection {
    /// Connects, authenticates if there is a password, and sets the client name.
    ///
    /// # Errors
    /// Fails if the server does not accept the connection or does not reply within 2 s.
    pub fn connect(address: &str, password: Option<&str>) -> Result<Self> {
        let address: SocketAddr = address.parse().map_err(|_| ErrorKind::InvalidInput)?;
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        Self::log_in(Stream::Tcp(stream), password)
    }

    /// Does the same through a Unix socket, with another time limit.
    ///
    /// # Errors
    /// Fails if the server does not accept the connection or does not reply within the limit.
    pub fn connect_unix(path: &Path, password: Option<&str>, limit: Duration) -> Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Self::log_in(Stream::Unix(stream), password)
    }

    fn log_in(stream: Stream, password: Option<&str>) -> Result<Self> {
        let mut wire = Connection(BufReader::new(stream));
        if let Some(password) = password {
            wire.execute(&["AUTH", password])?;
        }
        wire.execute(&["CLIENT", "SETNAME", CLIENT_NAME])?;
        Ok(wire)
    }

    /// Sends a command, and returns its reply as a flat list of texts. An error reply is a text
    /// that begins with `-`. Null replies are omitted.
    ///
    /// # Errors
    /// Fails if the server closes the connection or does not reply within 2 s.
    pub fn execute(&mut self, command: &[&str]) -> Result<Vec<String>> {
        self.send(command)?;
        self.reply()
    }

    /// Sends a command.
    fn send(&mut self, command: &[&str]) -> Result<()> {
        // Send one packet: Nagle's algorithm would delay a second one.
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

    /// Reads a bulk string after its length; nothing for a null bulk string.
    fn bulk(&mut self, rest: &str) -> Result<Option<String>> {
        let Some(length) = length(rest)? else { return Ok(None) };
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text)?;
        text.truncate(length);
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Returns the entries of a flat reply such as that of SENTINEL REPLICAS. Each entry is a list of
/// fields that begins with `name`.
///
/// # Panics
/// If the reply does not begin with the field `name`.
pub fn entries(reply: &[String]) -> Vec<BTreeMap<String, String>> {
    let mut entries: Vec<BTreeMap<String, String>> = Vec::new();
    for field in reply.chunks_exact(2) {
        if field[0] == "name" {
            entries.push(BTreeMap::new());
        }
        entries
            .last_mut()
            .expect("the reply does not begin with a name")
            .insert(field[0].clone(), field[1].clone());
    }
    entries
}

/// Parses the length of a bulk string or an array; nothing for `-1`, which means null.
fn length(text: &str) -> Result<Option<usize>> {
    if text == "-1" {
        Ok(None)
    } else {
        text.parse().map(Some).map_err(|_| ErrorKind::InvalidData.into())
    }
}

/// Subscription to all events of a Sentinel.
pub struct SentinelSubscription {
    events: Arc<Mutex<Vec<SentinelEvent>>>,
    stopped: Arc<AtomicBool>,
}

/// Event that a Sentinel published.
#[derive(Debug, Clone)]
pub struct SentinelEvent {
    /// Time on the stopwatch of the subscription.
    pub at: Duration,
    /// The channel, which is the kind of the event, for example `+switch-master`.
    pub channel: String,
    /// The message, which names the instances that the event concerns.
    pub payload: String,
}

impl SentinelSubscription {
    /// Subscribes to all channels of a Sentinel except its hello messages.
    pub fn start(address: &str, password: Option<&str>, clock: &Arc<Stopwatch>) -> Self {
        let mut wire = Connection::connect(address, password).expect("cannot connect");
        wire.execute(&["PSUBSCRIBE", "*"]).expect("cannot subscribe");
        let listener = SentinelSubscription { events: Arc::default(), stopped: Arc::default() };
        let (events, stopped, clock) =
            (Arc::clone(&listener.events), Arc::clone(&listener.stopped), Arc::clone(clock));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match wire.reply() {
                    // The elements: pmessage, pattern, channel, payload.
                    Ok(message) if message.len() == 4 && message[2] != "__sentinel__:hello" => {
                        let at = clock.elapsed();
                        events.lock().expect("a thread panicked").push(SentinelEvent {
                            at,
                            channel: message[2].clone(),
                            payload: message[3].clone(),
                        });
                    }
                    Ok(_) => {}
                    Err(error) if is_timeout(&error) => {}
                    Err(_) => return,
                }
            }
        });
        listener
    }

    /// Returns the events so far.
    pub fn events(&self) -> Vec<SentinelEvent> {
        self.events.lock().expect("a thread panicked").clone()
    }

    /// Waits for the first event on a channel.
    #[track_caller]
    pub fn until(&self, limit: Duration, channel: &str) -> SentinelEvent {
        eventually(limit, channel, || {
            self.events().into_iter().find(|event| event.channel == channel)
        })
        .0
    }
}

impl Drop for SentinelSubscription {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Client that writes new keys at a constant rate until it is stopped.
pub struct Writer {
    acknowledged: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts to write the keys `prefix1`, `prefix2` and so on. A write that fails or gets no reply
    /// is retried.
    pub fn start(address: &str, prefix: &'static str, per_second: u32) -> Self {
        let address = address.to_owned();
        Self::run(move || Some(address.clone()), false, prefix, per_second)
    }

    /// Does the same as [`Self::start`] with a client that looks up the primary again whenever it
    /// lost its connection or a write was refused.
    pub fn follow(
        primary: impl Fn() -> Option<String> + Send + 'static,
        prefix: &'static str,
        per_second: u32,
    ) -> Self {
        Self::run(primary, true, prefix, per_second)
    }

    fn run(
        primary: impl Fn() -> Option<String> + Send + 'static,
        reconnects: bool,
        prefix: &'static str,
        per_second: u32,
    ) -> Self {
        let (acknowledged, stopped) =
            (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, is_stopped) = (Arc::clone(&acknowledged), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            let mut wire = None;
            while !is_stopped.load(Ordering::Relaxed) {
                let key = format!("{prefix}{}", counted.load(Ordering::Relaxed) + 1);
                let connect = || Connection::connect(&primary()?, None).ok();
                wire = wire.or_else(connect).and_then(|mut wire: Connection| {
                    let reply = wire.execute(&["SET", &key, "1"]).ok()?;
                    let is_written = reply == ["OK"];
                    counted.fetch_add(u64::from(is_written), Ordering::Relaxed);
                    (is_written || !reconnects).then_some(wire)
                });
                pause(Duration::from_secs(1) / per_second);
            }
        });
        Writer { acknowledged, stopped, thread: Some(thread) }
    }

    /// Returns the number of acknowledged writes.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops the client, and returns the number of acknowledged writes.
    pub fn stop(&mut self) -> u64 {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the writer panicked");
        }
        self.acknowledged()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Returns true if the read timed out.
fn is_timeout(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
