//! Reads passwords from files.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, PoisonError};

use secrecy::SecretString;
use snapshot::Reason;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::Failure;

/// Maximum size of a password file, bytes.
const MAX_SIZE: u64 = 64 << 10;

/// Lock for each file that was read. A file on a hung filesystem blocks one thread, however many
/// connections wait for it.
static READING: LazyLock<std::sync::Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>> =
    LazyLock::new(Default::default);

/// Reads a password from its file. This happens for each connection, so that a new password takes
/// effect at the next connection.
///
/// # Errors
/// The file cannot be read, or is not a regular file.
pub(crate) async fn read(path: &Path) -> Result<SecretString, Failure> {
    let lock = {
        let mut reading = READING.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(reading.entry(path.to_owned()).or_default())
    };
    let guard = lock.lock_owned().await;
    let file = path.to_owned();
    let text = spawn_blocking(move || {
        let text = read_regular_file(&file);
        drop(guard);
        text
    });
    let text = text.await.map_err(io::Error::other).and_then(|text| text);
    let text = text.map_err(|error| {
        let path = path.display();
        Failure::new(Reason::Auth, format!("cannot read password file {path}: {error}"))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}

/// Reads a file. Opening a named pipe would wait for its writer, so only regular files are opened.
fn read_regular_file(path: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > MAX_SIZE {
        return Err(io::Error::other(format!("larger than {MAX_SIZE} bytes")));
    }
    std::fs::read_to_string(path)
}
