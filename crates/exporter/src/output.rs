//! Standard output.

use std::io::{ErrorKind, Write};

use anyhow::Context;

/// Writes to standard output, with colours only if it is a terminal.
///
/// # Errors
/// Fails if standard output cannot be written. A closed pipe is not an error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
