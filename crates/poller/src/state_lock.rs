//! Lock of the state file. Two exporters with the same state file would overwrite each other's
//! state.
//!
//! The state file itself is replaced by each write, so the lock is on a file beside it that stays.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

/// Limit of the text that is read from the file.
const MAX_TEXT: u64 = 32;

/// Lock of a state file. It ends with the value, or with the process.
#[derive(Debug)]
pub(crate) struct StateLock {
    /// Open file that has the lock.
    _file: File,
}

/// Result of an attempt to get the lock.
#[derive(Debug)]
pub(crate) enum LockOutcome {
    Locked(StateLock),
    /// Another process has the lock. The text is its process ID.
    Held(String),
}

impl StateLock {
    /// Tries to get the lock.
    ///
    /// # Errors
    /// The file cannot be opened or locked, for example because its folder does not exist.
    pub(crate) fn acquire(state_file: &Path) -> Result<LockOutcome> {
        let path = lock_path(state_file);
        files::within_limit(&path.clone(), move || {
            let mut file = open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    file.set_len(0)?;
                    writeln!(file, "{}", std::process::id())?;
                    Ok(LockOutcome::Locked(StateLock { _file: file }))
                }
                Err(Errno::WOULDBLOCK) => {
                    let mut text = String::new();
                    (&file).take(MAX_TEXT).read_to_string(&mut text)?;
                    let id: String = text.chars().take_while(char::is_ascii_digit).collect();
                    Ok(LockOutcome::Held(if id.is_empty() { "unknown".to_owned() } else { id }))
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}

/// Returns the path of the file with the lock.
pub(crate) fn lock_path(state_file: &Path) -> PathBuf {
    let mut path = state_file.to_owned().into_os_string();
    path.push(".lock");
    path.into()
}

/// Opens the file, or creates it. Symlinks are not followed, and the content of a file that is not
/// a regular file is not changed.
fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = File::from(rustix::fs::open(path, flags | OFlags::CLOEXEC, mode)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Error::new(ErrorKind::InvalidInput, "not a regular file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_is_refused_with_the_process_id_of_the_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        let first = StateLock::acquire(&path).expect("a lock");
        assert!(matches!(first, LockOutcome::Locked(_)), "{first:?}");
        let LockOutcome::Held(id) = StateLock::acquire(&path).expect("an outcome") else {
            panic!("two locks");
        };
        assert_eq!(id, std::process::id().to_string());
        drop(first);
        let third = StateLock::acquire(&path).expect("a lock");
        assert!(matches!(third, LockOutcome::Locked(_)), "{third:?}");
    }

    #[test]
    fn lock_follows_no_symlink() {
        let directory = tempfile::tempdir().expect("a directory");
        let [state, victim] = ["state.json", "victim"].map(|name| directory.path().join(name));
        std::fs::write(&victim, "precious").expect("a file");
        std::os::unix::fs::symlink(&victim, lock_path(&state)).expect("a symlink");
        StateLock::acquire(&state).expect_err("a symlink");
        assert_eq!(std::fs::read_to_string(&victim).expect("a file"), "precious");
    }
}
