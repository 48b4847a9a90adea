//! Replies of servers.

use client::resp::{Limits, Protocol, Scanner, decode};
use snapshot::Reply;

/// Limits that every seed keeps.
pub(super) const GENEROUS: Limits = Limits { bytes: 8 << 20, elements: 1 << 17 };

/// Returns the first reply of an input, if it has one.
pub(super) fn first_reply(input: &[u8]) -> Option<Reply<'_>> {
    let length = Scanner::new(GENEROUS, Protocol::Resp3).advance(input).ok()??;
    Some(decode(&input[..length]))
}

/// Returns a reply as a server sends it.
pub(super) fn encode(reply: &Reply<'_>) -> Vec<u8> {
    match reply {
        Reply::Nil => b"$-1\r\n".to_vec(),
        Reply::Integer(number) => format!(":{number}\r\n").into_bytes(),
        Reply::Text(text) => format!("${}\r\n{text}\r\n", text.len()).into_bytes(),
        Reply::Error(error) => format!("-{}\r\n", error.text).into_bytes(),
        Reply::Array(items) => {
            let header = format!("*{}\r\n", items.len()).into_bytes();
            header.into_iter().chain(items.iter().flat_map(encode)).collect()
        }
    }
}
