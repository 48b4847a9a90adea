//! Commands of clients.

/// Words of one command.
pub(crate) struct Command<'a>(Vec<&'a str>);

impl<'a> Command<'a> {
    /// Parses a command, an array of bulk strings. Returns it with its length; `None` if it is not
    /// complete.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (count, mut end) = number(bytes, 0, b'*')?;
        let mut words = Vec::with_capacity(count);
        for _ in 0..count {
            let (length, start) = number(bytes, end, b'$')?;
            end = start + length + b"\r\n".len();
            let word = bytes.get(start..end)?;
            words.push(str::from_utf8(&word[..length]).unwrap_or_default());
        }
        Some((Command(words), end))
    }

    /// Returns the name and the arguments.
    pub(crate) fn words(&self) -> &[&'a str] {
        &self.0
    }
}

/// Parses a line with a number after this mark. Returns the number and the end of the line.
fn number(bytes: &[u8], start: usize, mark: u8) -> Option<(usize, usize)> {
    let line = bytes.get(start..)?;
    let length = line.windows(2).position(|end| end == b"\r\n")?;
    let digits = line[..length].strip_prefix(&[mark])?;
    Some((str::from_utf8(digits).ok()?.parse().ok()?, start + length + 2))
}
