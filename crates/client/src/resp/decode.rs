//! Converts a complete reply.

use std::borrow::Cow;

use snapshot::{Reply, ServerError};

use super::scanner::number;

/// Maximum number of elements for which memory is reserved before they are decoded.
const MAX_RESERVED: usize = 1024;

/// An array or map whose elements are being decoded.
struct OpenArray<'a> {
    missing: usize,
    elements: Vec<Reply<'a>>,
    /// The elements are attributes, which are dropped, and the value they belong to.
    is_attribute: bool,
}

/// Converts the bytes of a reply that a [`Scanner`](super::Scanner) found complete. Text is
/// borrowed from them, unless it contains invalid UTF-8, which is replaced.
///
/// A map becomes an array of alternating keys and values. Bytes that are no complete reply become
/// [`Reply::Nil`].
pub fn decode(bytes: &[u8]) -> Reply<'_> {
    decode_with(bytes, &|text| ServerError::new(text))
}

/// Converts a reply like [`decode()`], and the texts of its errors with `error`.
pub(crate) fn decode_with<'a>(bytes: &'a [u8], error: &dyn Fn(&str) -> ServerError) -> Reply<'a> {
    let error = |bytes: &[u8]| Reply::Error(error(&text(bytes)));
    let mut rest = bytes;
    let mut open: Vec<OpenArray<'_>> = Vec::new();
    while let Some((kind, line)) = first_line(&mut rest) {
        let mut value = match kind {
            b'+' | b',' | b'(' => Reply::Text(text(line)),
            b'-' => error(line),
            b':' => number(line).map_or(Reply::Nil, Reply::Integer),
            b'#' => Reply::Integer((line == b"t").into()),
            b'$' | b'=' | b'!' => match string(&mut rest, line) {
                None => Reply::Nil,
                Some(bytes) if kind == b'!' => error(bytes),
                // The format of a verbatim string: three characters and a colon.
                Some(bytes) if kind == b'=' => Reply::Text(text(bytes.get(4..).unwrap_or(bytes))),
                Some(bytes) => Reply::Text(text(bytes)),
            },
            b'*' | b'~' | b'%' | b'|' => match element_count(kind, line) {
                None => Reply::Nil,
                Some(0) => Reply::Array(Vec::new()),
                Some(missing) => {
                    let elements = Vec::with_capacity(missing.min(MAX_RESERVED));
                    open.push(OpenArray { missing, elements, is_attribute: kind == b'|' });
                    continue;
                }
            },
            _ => Reply::Nil,
        };
        loop {
            let Some(array) = open.last_mut() else { return value };
            array.elements.push(value);
            array.missing -= 1;
            if array.missing > 0 {
                break;
            }
            let Some(array) = open.pop() else { return Reply::Nil };
            let OpenArray { mut elements, is_attribute, .. } = array;
            value = if is_attribute {
                elements.pop().unwrap_or(Reply::Nil)
            } else {
                Reply::Array(elements)
            };
        }
    }
    Reply::Nil
}

/// Takes the first line. Returns its type and the rest of the line.
fn first_line<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, after) = rest.split_at(end + 1);
    *rest = after;
    let (kind, line) = line.strip_suffix(b"\r\n")?.split_first()?;
    Some((*kind, line))
}

/// Takes a string and its CR LF. `line` is its length.
fn string<'a>(rest: &mut &'a [u8], line: &[u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(line)?).ok()?;
    let (string, after) = rest.split_at_checked(length)?;
    *rest = after.strip_prefix(b"\r\n")?;
    Some(string)
}

/// Returns the number of elements of an array or map; `None` if it is nil.
fn element_count(kind: u8, line: &[u8]) -> Option<usize> {
    let count = usize::try_from(number(line)?).ok()?;
    match kind {
        b'%' => count.checked_mul(2),
        b'|' => count.checked_mul(2)?.checked_add(1),
        _ => Some(count),
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    // The lossy conversion checks byte by byte. Nearly all text is valid.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}
