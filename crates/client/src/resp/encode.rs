//! Encodes commands.

use crate::Command;

/// Appends the commands to `bytes`, each as an array of bulk strings.
///
/// ```
/// use client::{Command, resp};
///
/// let mut bytes = Vec::new();
/// resp::encode(&[Command::new(&snapshot::CLIENT_ID, None)], &mut bytes);
/// assert_eq!(bytes, b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n");
/// ```
pub fn encode(commands: &[Command], bytes: &mut Vec<u8>) {
    for command in commands {
        let arguments = command.arguments.iter().map(AsRef::as_ref);
        encode_words([command.name].into_iter().chain(arguments), bytes);
    }
}

/// Appends one command to `bytes`: its name and its arguments.
pub(crate) fn encode_words<'a>(words: impl Iterator<Item = &'a str> + Clone, bytes: &mut Vec<u8>) {
    push_number(b'*', words.clone().count(), bytes);
    for word in words {
        push_number(b'$', word.len(), bytes);
        bytes.extend_from_slice(word.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Appends the number of elements of an array, or the size of a bulk string.
fn push_number(kind: u8, number: usize, bytes: &mut Vec<u8>) {
    bytes.push(kind);
    bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    bytes.extend_from_slice(b"\r\n");
}
