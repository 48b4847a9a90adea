//! Finds the end of a reply and enforces the limits.

/// Maximum nesting depth of arrays and maps. SLOWLOG GET, the deepest reply to a command of
/// Rolecall, has three levels.
pub const MAX_DEPTH: usize = 8;

/// Maximum length of a simple string or an error, bytes.
const MAX_LINE: usize = 64 << 10;

/// Maximum length of a line that contains a number, bytes.
const MAX_NUMBER: usize = 64;

/// Estimated memory of one element of a decoded array, bytes.
const ELEMENT_COST: usize = 64;

/// Limits of one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size on the wire, bytes.
    pub bytes: usize,
    /// Maximum number of elements in all arrays and maps together.
    pub elements: usize,
}

/// Version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Only the types of RESP2.
    Resp2,
    /// The types of RESP2 and RESP3.
    Resp3,
}

/// Error in a reply. The connection cannot be used after it. The text quotes nothing, because the
/// server could repeat a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The reply, or a line of it, is larger than its limit.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    /// The reply has more elements than its limit.
    #[error("more than {0} elements")]
    TooManyElements(usize),
    /// Arrays and maps are nested too deeply.
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// The reply begins like that of an HTTP server.
    #[error("HTTP, not the Redis protocol")]
    Http,
    /// The first byte of a value is not a type.
    #[error("not in the Redis protocol: a value begins with byte 0x{0:02x}")]
    UnknownType(u8),
    /// A length or number is invalid.
    #[error("not in the Redis protocol: invalid number")]
    InvalidNumber,
    /// A value does not end with CR LF.
    #[error("not in the Redis protocol: a value does not end with CR LF")]
    MissingEnd,
}

/// State of the search for the end of one reply.
///
/// ```
/// use client::resp::{Limits, Protocol, Scanner};
///
/// let mut scanner = Scanner::new(Limits { bytes: 1024, elements: 16 }, Protocol::Resp2);
/// assert_eq!(scanner.advance(b"*2\r\n:1\r\n$5\r\nhe"), Ok(None));
/// assert_eq!(scanner.advance(b"*2\r\n:1\r\n$5\r\nhello\r\n+OK\r\n"), Ok(Some(19)));
/// ```
#[derive(Debug, Clone)]
pub struct Scanner {
    limits: Limits,
    protocol: Protocol,
    /// Offset of the first value that is not complete.
    position: usize,
    /// Offset at which the search for the end of the current line continues.
    searched: usize,
    /// Number of missing elements in each open array or map, from the outermost.
    missing: [usize; MAX_DEPTH],
    depth: usize,
    /// Number of elements that all arrays and maps announced.
    elements: usize,
    /// Number of bytes of the reply that were received so far.
    received: usize,
    /// Length of the reply, if it is a string whose length was announced.
    announced: Option<usize>,
}

/// Header of a value: its first line.
enum Header {
    /// The line is the whole value.
    Complete,
    /// A string of this length follows.
    String(usize),
    /// This number of elements follows.
    Elements(usize),
}

impl Scanner {
    /// Starts the search.
    pub fn new(limits: Limits, protocol: Protocol) -> Self {
        Scanner {
            limits,
            protocol,
            position: 0,
            searched: 0,
            missing: [0; MAX_DEPTH],
            depth: 0,
            elements: 0,
            received: 0,
            announced: None,
        }
    }

    /// Continues the search. `bytes` are all bytes since the start of the reply; those of the next
    /// reply may follow. Returns the length of the reply, or `None` if it is incomplete.
    ///
    /// # Errors
    /// The reply violates the protocol or exceeds a limit. The limits apply to announced lengths
    /// too.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, ReplyError> {
        self.received = bytes.len();
        while let Some((header, start)) = self.header(bytes)? {
            let end = match header {
                Header::Complete | Header::Elements(0) => start,
                Header::Elements(count) => {
                    self.open(count)?;
                    self.position = start;
                    self.searched = start;
                    continue;
                }
                Header::String(length) => {
                    let end = start.saturating_add(length).saturating_add(2);
                    if end > self.limits.bytes {
                        return Err(ReplyError::TooLarge(self.limits.bytes));
                    }
                    if self.depth == 0 {
                        self.announced = Some(end);
                    }
                    match bytes.get(end - 2..end) {
                        None => return Ok(None),
                        Some(b"\r\n") => end,
                        Some(_) => return Err(ReplyError::MissingEnd),
                    }
                }
            };
            self.position = end;
            self.searched = end;
            if self.close() {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Returns the number of elements that all arrays and maps announced.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Returns the estimated memory of the part of the reply that was received, bytes: on the wire
    /// and decoded.
    pub fn memory(&self) -> usize {
        self.received.saturating_add(self.decoded())
    }

    /// Returns the estimated memory of the elements when they are decoded, bytes.
    pub fn decoded(&self) -> usize {
        self.elements.saturating_mul(ELEMENT_COST)
    }

    /// Returns the estimated memory that the whole reply needs at most, bytes.
    pub fn max_memory(&self) -> usize {
        let Limits { bytes, elements } = self.limits;
        let most = || bytes.saturating_add(elements.saturating_mul(ELEMENT_COST));
        self.announced.unwrap_or_else(most)
    }

    /// Reads the first line of the current value. Returns it with the offset at which it ends, or
    /// `None` if it is incomplete.
    fn header(&mut self, bytes: &[u8]) -> Result<Option<(Header, usize)>, ReplyError> {
        let Some(&kind) = bytes.get(self.position) else { return Ok(None) };
        if let Some(is_complete) = is_http(bytes) {
            return if is_complete { Err(ReplyError::Http) } else { Ok(None) };
        }
        let max_length = match kind {
            b'+' | b'-' => MAX_LINE,
            b':' | b'$' | b'*' => MAX_NUMBER,
            b'(' if self.protocol == Protocol::Resp3 => MAX_LINE,
            b'_' | b'#' | b',' | b'!' | b'=' | b'%' | b'~' | b'|'
                if self.protocol == Protocol::Resp3 =>
            {
                MAX_NUMBER
            }
            _ => return Err(ReplyError::UnknownType(kind)),
        };
        let Some(end) = self.line_end(bytes, max_length)? else { return Ok(None) };
        let line = &bytes[self.position + 1..end - 2];
        let header = match kind {
            b'$' | b'*' if line == b"-1" => Header::Complete,
            b'$' | b'!' | b'=' => Header::String(count(line)?),
            b'*' | b'~' => Header::Elements(count(line)?),
            b'%' => Header::Elements(count(line)?.saturating_mul(2)),
            // The value follows its attributes, as if it was the last element.
            b'|' => Header::Elements(count(line)?.saturating_mul(2).saturating_add(1)),
            b':' if number(line).is_none() => return Err(ReplyError::InvalidNumber),
            _ => Header::Complete,
        };
        Ok(Some((header, end)))
    }

    /// Returns the offset after the CR LF of the current line.
    fn line_end(&mut self, bytes: &[u8], max_length: usize) -> Result<Option<usize>, ReplyError> {
        let found = bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let end = found.map(|found| self.searched + found + 1);
        let received = end.unwrap_or(bytes.len());
        // Of the two limits, the one that is reached first: the error does not depend on how much
        // of the line has arrived.
        let longest = self.position.saturating_add(max_length);
        if received > longest.min(self.limits.bytes) {
            let limit = if longest < self.limits.bytes { max_length } else { self.limits.bytes };
            return Err(ReplyError::TooLarge(limit));
        }
        match end {
            Some(end) if bytes[..end].ends_with(b"\r\n") => Ok(Some(end)),
            Some(_) => Err(ReplyError::MissingEnd),
            None => {
                self.searched = bytes.len();
                Ok(None)
            }
        }
    }

    /// Opens an array or map that is not empty.
    fn open(&mut self, count: usize) -> Result<(), ReplyError> {
        self.elements = self.elements.saturating_add(count);
        if self.elements > self.limits.elements {
            return Err(ReplyError::TooManyElements(self.limits.elements));
        }
        let missing = self.missing.get_mut(self.depth).ok_or(ReplyError::TooDeep)?;
        *missing = count;
        self.depth += 1;
        Ok(())
    }

    /// Counts a complete value. Returns true if it completes the reply.
    fn close(&mut self) -> bool {
        while let Some(open) = self.depth.checked_sub(1) {
            self.missing[open] -= 1;
            if self.missing[open] > 0 {
                return false;
            }
            self.depth = open;
        }
        true
    }
}

/// Detects the reply of an HTTP server. Returns `Some(false)` if it could be one, but is too short
/// to decide, and `None` for other replies.
fn is_http(bytes: &[u8]) -> Option<bool> {
    const START: &[u8] = b"HTTP/";
    let beginning = &bytes[..bytes.len().min(START.len())];
    START.starts_with(beginning).then_some(beginning == START)
}

/// Parses the length of a string or the number of elements.
fn count(line: &[u8]) -> Result<usize, ReplyError> {
    let count = number(line).and_then(|number| usize::try_from(number).ok());
    count.ok_or(ReplyError::InvalidNumber)
}

/// Parses a decimal number.
pub(super) fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}
