//! The reader of replies from data nodes, and texts made from them.

use std::borrow::Cow;
use std::path::Path;

use client::resp::{self, Limits, MAX_DEPTH, Protocol, ReplyError, Scanner, decode};
use client::{Command, Failure};
use snapshot::{Reason, Reply, ServerError, printable};

use super::resp::{GENEROUS, encode};
use super::seeds;
use super::text::check_printable;

/// Limits that short inputs exceed, limits of INFO, and limits of long replies.
const LIMITS: [Limits; 3] =
    [Limits { bytes: 200, elements: 8 }, Limits { bytes: 1 << 20, elements: 0 }, GENEROUS];

/// Longest input that is also passed to the decoder before it is known to be complete.
const MAX_UNCHECKED: usize = 4096;

/// Estimated memory of an element.
const ELEMENT_COST: usize = 64;

pub(super) fn check(input: &[u8]) {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        for limits in LIMITS {
            check_reply(input, limits, protocol);
        }
    }
    if input.len() <= MAX_UNCHECKED {
        decode(input);
    }
    check_texts(&String::from_utf8_lossy(input));
}

fn check_reply(input: &[u8], limits: Limits, protocol: Protocol) {
    let result = Scanner::new(limits, protocol).advance(input);
    assert_eq!(scan_in_pieces(input, limits, protocol), result, "{limits:?}");
    match result {
        Ok(None) => assert!(input.len() <= limits.bytes, "holds {} bytes", input.len()),
        Ok(Some(length)) => check_complete(&input[..length], limits),
        Err(error) => check_printable(&error.to_string(), 100),
    }
}

/// Returns the result for an input that arrives in pieces, of which the first ones are short.
fn scan_in_pieces(
    input: &[u8],
    limits: Limits,
    protocol: Protocol,
) -> Result<Option<usize>, ReplyError> {
    let mut scanner = Scanner::new(limits, protocol);
    let mut end = 0;
    loop {
        let result = scanner.advance(&input[..end]);
        if result != Ok(None) || end == input.len() {
            return result;
        }
        assert!(end <= limits.bytes, "holds {end} bytes");
        assert!(scanner.memory() <= limits.bytes + limits.elements * ELEMENT_COST);
        end = (end + 1 + end / 16).min(input.len());
    }
}

fn check_complete(bytes: &[u8], limits: Limits) {
    assert!(bytes.len() <= limits.bytes, "{} bytes", bytes.len());
    let reply = decode(bytes);
    let size = Size::of(&reply);
    assert!(size.elements <= limits.elements, "{size:?}");
    assert!(size.depth <= MAX_DEPTH, "{size:?}");
    // A byte that is not UTF-8 becomes a character of three bytes.
    assert!(size.text <= 3 * bytes.len(), "{size:?}");
    let again = encode(&reply);
    assert_eq!(Scanner::new(GENEROUS, Protocol::Resp2).advance(&again), Ok(Some(again.len())));
    assert_eq!(decode(&again), reply);
}

/// Size of a decoded reply.
#[derive(Debug, Default)]
struct Size {
    elements: usize,
    depth: usize,
    /// Length of all texts, bytes.
    text: usize,
}

impl Size {
    fn of(reply: &Reply<'_>) -> Self {
        match reply {
            Reply::Nil | Reply::Integer(_) => Size::default(),
            Reply::Text(text) => Size { text: text.len(), ..Size::default() },
            Reply::Error(error) => {
                check_error(error);
                Size { text: error.text.len(), ..Size::default() }
            }
            Reply::Array(items) => {
                let sizes = items.iter().map(Size::of);
                let sum = sizes.fold(Size::default(), |sum, size| Size {
                    elements: sum.elements + size.elements,
                    depth: sum.depth.max(size.depth),
                    text: sum.text + size.text,
                });
                let depth = sum.depth + usize::from(!items.is_empty());
                Size { elements: sum.elements + items.len(), depth, ..sum }
            }
        }
    }
}

fn check_error(error: &ServerError) {
    check_printable(&error.text, 256);
    assert!(error.text.starts_with(&error.code) && error.code.len() <= 48, "{error:?}");
    check_printable(&Failure::refusal(error).to_string(), 600);
    assert_eq!(ServerError::new(&error.text), *error);
}

/// Checks the texts that are made from a text of a server or of the configuration.
fn check_texts(text: &str) {
    let failure = Failure::new(Reason::Protocol, text);
    check_printable(&failure.detail, 512);
    check_printable(&printable(text, 20), 20);
    check_error(&ServerError::new(text));
    let command = Command::new(&snapshot::SENTINEL_CKQUORUM, Some(text.to_owned().into()));
    let mut bytes = Vec::new();
    resp::encode(std::slice::from_ref(&command), &mut bytes);
    let words = [command.name].into_iter().chain(command.arguments.iter().map(AsRef::as_ref));
    let words = words.map(|word| Reply::Text(Cow::Borrowed(word))).collect();
    assert_eq!(decode(&bytes), Reply::Array(words));
}

pub(super) fn seeds(root: &Path) -> Vec<Vec<u8>> {
    let types: [&[u8]; 12] = [
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(12345678901234567890\r\n",
        b"!6\r\nERR no\r\n",
        b"=8\r\ntxt:text\r\n",
        b"%1\r\n+key\r\n:1\r\n",
        b"~1\r\n:1\r\n",
        b"|1\r\n+ttl\r\n:9\r\n+value\r\n",
        b"$1152921504606846976\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    ];
    let replies =
        seeds::replies(root, &["CONFIG GET", "SLOWLOG", "CLUSTER", "ROLE", "AUTH", "GET"]);
    replies.into_iter().chain(types.map(<[u8]>::to_vec)).collect()
}
