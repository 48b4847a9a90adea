//! Lines of replies.

use memchr::memchr;

/// Returns the first line without its line ending, and the text after it.
pub(crate) fn split_line(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let line_feed = memchr(b'\n', bytes);
    let mut end = line_feed.unwrap_or(bytes.len());
    // Without more CR at its end, a line that is written with its value is read again as the same.
    while end > 0 && bytes[end - 1] == b'\r' {
        end -= 1;
    }
    (&text[..end], line_feed.map_or("", |line_feed| &text[line_feed + 1..]))
}

/// Returns the lines without their line endings. Costs less than [`str::lines`].
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            let (line, after) = split_line(rest);
            rest = after;
            line
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_a_line_feed_or_with_the_text() {
        assert!(lines("a:1\r\n\r\r\nb\r\r\n\nc\rd").eq(["a:1", "", "b", "", "c\rd"]));
        assert!(lines("a\r").eq(["a"]));
        for length in 0..40 {
            let line = "x".repeat(length);
            assert!(lines(&format!("{line}\r\nend")).eq([&*line, "end"]), "{length}");
        }
        assert_eq!(lines("").count(), 0);
    }
}
