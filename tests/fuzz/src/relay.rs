//! The relay in front of fred: what it forwards is one valid reply, which fred's decoder reads.

use std::path::Path;

use client::resp::{Limits, Protocol, Scanner, decode};
use client::{COMMAND_LIMITS, MESSAGE_LIMITS, make_valid_utf8};
use redis_protocol::resp2;

use super::seeds;

pub(super) fn check(input: &[u8]) {
    for limits in [COMMAND_LIMITS, MESSAGE_LIMITS] {
        let mut rest = input;
        while let Ok(Some(length)) = Scanner::new(limits, Protocol::Resp2).advance(rest) {
            let (reply, after) = rest.split_at(length);
            check_forwarded(reply, limits);
            rest = after;
        }
    }
}

fn check_forwarded(reply: &[u8], limits: Limits) {
    let mut forwarded = reply.to_vec();
    make_valid_utf8(&mut forwarded);
    let length = Scanner::new(limits, Protocol::Resp2).advance(&forwarded);
    assert_eq!(length, Ok(Some(reply.len())), "the structure of the reply changed");
    assert!(std::str::from_utf8(&forwarded).is_ok());
    if std::str::from_utf8(reply).is_ok() {
        assert_eq!(decode(&forwarded), decode(reply));
    }
    let read = resp2::decode::decode(&forwarded).expect("fred's decoder reads the reply");
    let (_, read) = read.expect("fred's decoder finds the end of the reply");
    assert_eq!(read, reply.len(), "fred's decoder finds another end");
}

pub(super) fn seeds(root: &Path) -> Vec<Vec<u8>> {
    let message = b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$6\r\n+sdown\r\n$26\r\n\
        master mymaster 10.0.0.5 1\r\n";
    let latin1 = b"$5\r\ncaf\xe9!\r\n:1\r\n*-1\r\n$-1\r\n*0\r\n-ERR no\r\n";
    let replies = seeds::replies(root, &["SENTINEL", "CLIENT ID", "AUTH", "INFO server"]);
    replies.into_iter().chain([message.to_vec(), latin1.to_vec()]).collect()
}
