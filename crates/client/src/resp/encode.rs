//! Encodes commands.

use std::io::Write;

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
    // Writing to a vector cannot fail.
    let _ = write!(bytes, "*{}\r\n", words.clone().count());
    for word in words {
        let _ = write!(bytes, "${}\r\n{word}\r\n", word.len());
    }
}
