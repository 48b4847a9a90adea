//! Reads replies with the RESP reader: valid ones, split ones, and those of hostile servers.

use client::resp::{Limits, MAX_DEPTH, Protocol, ReplyError, Scanner, decode};
use proptest::prelude::*;
use snapshot::{Reply, ServerError};

const LIMITS: Limits = Limits { bytes: 1 << 10, elements: 16 };

/// Returns the result for bytes that arrive in parts of one byte each. It must be the same as for
/// bytes that arrive together.
fn scan(bytes: &[u8], limits: Limits, protocol: Protocol) -> Result<Option<usize>, ReplyError> {
    let whole = Scanner::new(limits, protocol).advance(bytes);
    let mut scanner = Scanner::new(limits, protocol);
    let mut parts = (0..=bytes.len()).map(|end| scanner.advance(&bytes[..end]));
    let split = parts.find(|result| *result != Ok(None)).unwrap_or(Ok(None));
    assert_eq!(whole, split, "{:?}", String::from_utf8_lossy(bytes));
    whole
}

/// Checks the value of a reply that more bytes may follow.
fn check(bytes: &str, value: &Reply<'_>) {
    let with_more = [bytes.as_bytes(), b"+more\r\n"].concat();
    assert_eq!(scan(&with_more, LIMITS, Protocol::Resp3), Ok(Some(bytes.len())), "{bytes:?}");
    assert_eq!(decode(bytes.as_bytes()), *value, "{bytes:?}");
}

fn text(text: &str) -> Reply<'_> {
    Reply::Text(text.into())
}

#[test]
fn each_type_has_its_value() {
    check("+OK\r\n", &text("OK"));
    check("-ERR no\r\n", &Reply::Error(ServerError::new("ERR no")));
    check(":-42\r\n", &Reply::Integer(-42));
    check("$5\r\nab\r\nc\r\n", &text("ab\r\nc"));
    check("$0\r\n\r\n", &text(""));
    check("$-1\r\n", &Reply::Nil);
    check("*-1\r\n", &Reply::Nil);
    check("*0\r\n", &Reply::Array(vec![]));
    let nested = Reply::Array(vec![Reply::Array(vec![Reply::Integer(1)]), Reply::Array(vec![])]);
    check("*2\r\n*1\r\n:1\r\n*0\r\n", &nested);
}

#[test]
fn each_type_of_resp3_has_its_value() {
    check("_\r\n", &Reply::Nil);
    check("#t\r\n", &Reply::Integer(1));
    check("#f\r\n", &Reply::Integer(0));
    check(",1.5\r\n", &text("1.5"));
    check("(12345678901234567890\r\n", &text("12345678901234567890"));
    check("!6\r\nERR no\r\n", &Reply::Error(ServerError::new("ERR no")));
    check("=8\r\ntxt:text\r\n", &text("text"));
    check("%1\r\n+key\r\n:1\r\n", &Reply::Array(vec![text("key"), Reply::Integer(1)]));
    check("~1\r\n:1\r\n", &Reply::Array(vec![Reply::Integer(1)]));
    // Attributes are dropped.
    check("|1\r\n+ttl\r\n:9\r\n+value\r\n", &text("value"));
    let error = scan(b"_\r\n", LIMITS, Protocol::Resp2);
    assert_eq!(error, Err(ReplyError::UnknownType(b'_')));
}

#[test]
fn invalid_utf8_is_replaced() {
    assert_eq!(decode(b"$4\r\ncaf\xe9\r\n"), text("caf\u{fffd}"));
    assert_eq!(decode(b"-ERR caf\xe9\r\n"), Reply::Error(ServerError::new("ERR caf\u{fffd}")));
}

fn check_error(bytes: &[u8], error: ReplyError) {
    assert_eq!(scan(bytes, LIMITS, Protocol::Resp3), Err(error));
}

#[test]
fn announced_sizes_are_limited_before_they_arrive() {
    check_error(b"$1152921504606846976\r\n", ReplyError::TooLarge(1 << 10));
    check_error(b"$9223372036854775807\r\n", ReplyError::TooLarge(1 << 10));
    check_error(b"*1000000\r\n", ReplyError::TooManyElements(16));
    check_error(b"%9223372036854775807\r\n", ReplyError::TooManyElements(16));
    check_error(b"|9223372036854775807\r\n", ReplyError::TooManyElements(16));
    // Many small arrays have as many elements as a large one.
    check_error(&b"*4\r\n".repeat(5), ReplyError::TooManyElements(16));
}

#[test]
fn endless_lines_are_limited() {
    for kind in *b"+-(" {
        check_error(&[&[kind][..], &[b'x'; 2000]].concat(), ReplyError::TooLarge(1 << 10));
    }
    for kind in *b":$*%~|!=_#," {
        check_error(&[&[kind][..], &[b'1'; 100]].concat(), ReplyError::TooLarge(64));
    }
}

#[test]
fn the_error_does_not_depend_on_the_pieces_that_arrive() {
    // A line that exceeds its own limit first, although it ends beyond the limit of the reply.
    let line = [&b"*2\r\n$900\r\n"[..], &[b'x'; 900][..], b"\r\n:", &[b'1'; 200], b"\r\n"].concat();
    check_error(&line, ReplyError::TooLarge(64));
    let line = [&b"*2\r\n$990\r\n"[..], &[b'x'; 990][..], b"\r\n:", &[b'1'; 200], b"\r\n"].concat();
    check_error(&line, ReplyError::TooLarge(1 << 10));
}

#[test]
fn nesting_is_limited() {
    let limits = Limits { bytes: 1 << 20, elements: 1 << 10 };
    for level in ["*1\r\n", "%1\r\n+k\r\n", "~1\r\n", "|1\r\n+k\r\n"] {
        let reply = format!("{}:1\r\n", level.repeat(800));
        let result = Scanner::new(limits, Protocol::Resp3).advance(reply.as_bytes());
        assert_eq!(result, Err(ReplyError::TooDeep), "{level:?}");
    }
    let deepest = format!("{}:1\r\n", "*1\r\n".repeat(MAX_DEPTH));
    assert_eq!(scan(deepest.as_bytes(), LIMITS, Protocol::Resp2), Ok(Some(deepest.len())));
}

#[test]
fn other_protocols_are_named() {
    check_error(b"HTTP/1.1 400 Bad Request\r\n", ReplyError::Http);
    check_error(b"Hello", ReplyError::UnknownType(b'H'));
    check_error(b"\x15\x03\x01\x00\x02\x02\x46", ReplyError::UnknownType(0x15));
    check_error(b"$?\r\n", ReplyError::InvalidNumber);
    check_error(b":one\r\n", ReplyError::InvalidNumber);
    check_error(b"*-2\r\n", ReplyError::InvalidNumber);
    check_error(b"+OK\n", ReplyError::MissingEnd);
    check_error(b"$2\r\nOKxx", ReplyError::MissingEnd);
    check_error(b">1\r\n:1\r\n", ReplyError::UnknownType(b'>'));
}

/// Returns a strategy for replies within [`LIMITS`], with their encoding.
fn replies() -> impl Strategy<Value = (Vec<u8>, Reply<'static>)> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| (format!(":{number}\r\n").into(), Reply::Integer(number))),
        "[a-z]{0,9}".prop_map(|word| (format!("+{word}\r\n").into(), Reply::Text(word.into()))),
        "[A-Z]{1,9} [a-z]{0,9}".prop_map(|word| {
            (format!("-{word}\r\n").into_bytes(), Reply::Error(ServerError::new(word)))
        }),
        "(?s).{0,9}".prop_map(|word| {
            (format!("${}\r\n{word}\r\n", word.len()).into(), Reply::Text(word.into()))
        }),
        Just((b"$-1\r\n".to_vec(), Reply::Nil)),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(|items: Vec<(Vec<u8>, Reply<'static>)>| {
            let mut bytes = format!("*{}\r\n", items.len()).into_bytes();
            for (item, _) in &items {
                bytes.extend(item);
            }
            (bytes, Reply::Array(items.into_iter().map(|(_, value)| value).collect()))
        })
    })
}

proptest! {
    #[test]
    fn valid_replies_are_decoded((bytes, value) in replies()) {
        prop_assert_eq!(scan(&bytes, LIMITS, Protocol::Resp2), Ok(Some(bytes.len())));
        prop_assert_eq!(decode(&bytes), value);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(prop_oneof![
            any::<u8>(), prop::sample::select(&b"+-:$*_#,(!=%~|>?0123456789\r\n"[..])
        ], 0..200)
    ) {
        let mut scanner = Scanner::new(LIMITS, Protocol::Resp3);
        if let Ok(Some(length)) = scanner.advance(&bytes) {
            prop_assert!(length <= bytes.len());
            decode(&bytes[..length]);
        }
        decode(&bytes);
    }
}
