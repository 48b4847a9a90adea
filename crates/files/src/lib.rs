//! Reading of files that are configured: configuration, passwords, certificates, saved state.
//!
//! A configured path may be a FIFO, a device, or on a file system that hangs. Each function here
//! accepts regular files only, and returns within [`LIMIT`]. A file system that hangs may block a
//! thread for ever. So each access has a thread of its own. When one of them has exceeded its
//! limit, further accesses to the same path fail at once until it ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

/// Time limit of one access to a file.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Limit of the size of a file, bytes.
pub const MAX_BYTES: u64 = 64 << 20;

/// Number of accesses that hang, by path.
static HANGING: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// Reads a regular file.
///
/// # Errors
/// The file cannot be read, is larger than [`MAX_BYTES`], or is not a regular file (the kind is
/// [`ErrorKind::InvalidInput`] then), or the file system does not reply within [`LIMIT`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref().to_owned();
    within_limit(&path.clone(), move || read_at_most(&path, MAX_BYTES))
}

/// Reads a regular file that contains UTF-8.
///
/// # Errors
/// Fails like [`read`], or the content is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    into_string(read(path)?)
}

fn into_string(content: Vec<u8>) -> Result<String> {
    String::from_utf8(content)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "the content is not UTF-8"))
}

fn read_at_most(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(max_bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        let problem = format!("larger than {max_bytes} bytes");
        return Err(Error::new(ErrorKind::FileTooLarge, problem));
    }
    Ok(content)
}

/// Reads a regular file that contains UTF-8, with limits of its size in bytes and of the time.
///
/// # Errors
/// Fails like [`read_to_string`], with these limits.
pub fn read_small(path: impl AsRef<Path>, max_bytes: u64, limit: Duration) -> Result<String> {
    let path = path.as_ref().to_owned();
    let content = run_within(limit, &path.clone(), move || read_at_most(&path, max_bytes))?;
    into_string(content)
}

/// Checks that a regular file exists, without opening it.
///
/// # Errors
/// There is no such file, it is not a regular file, or the file system does not reply within
/// [`LIMIT`].
pub fn check(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref().to_owned();
    within_limit(&path.clone(), move || check_type(&std::fs::metadata(path)?))
}

/// Runs an action on a path in a thread of its own, and waits for the result.
///
/// # Errors
/// The action fails, or it does not end within [`LIMIT`], or an earlier action on the same path
/// still hangs. In the last two cases the kind is [`ErrorKind::TimedOut`].
pub fn within_limit<T: Send + 'static>(
    path: &Path,
    action: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    run_within(LIMIT, path, action)
}

fn run_within<T: Send + 'static>(
    limit: Duration,
    path: &Path,
    action: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if hanging().contains_key(path) {
        let problem = "an earlier access still waits for the file system";
        return Err(Error::new(ErrorKind::TimedOut, problem));
    }
    let (sender, result) = sync_channel(1);
    let of_thread = path.to_owned();
    std::thread::Builder::new().name("file".to_owned()).spawn(move || {
        let outcome = action();
        // The receiver is dropped under the same lock. So exactly one side notices the delay.
        let mut hanging = hanging();
        if sender.send(outcome).is_err() {
            end_hanging(&mut hanging, &of_thread);
        }
    })?;
    match result.recv_timeout(limit) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Disconnected) => Err(Error::other("the thread panicked")),
        Err(RecvTimeoutError::Timeout) => {
            let mut hanging = hanging();
            if let Ok(outcome) = result.try_recv() {
                return outcome;
            }
            drop(result);
            *hanging.entry(path.to_owned()).or_default() += 1;
            let problem = format!("no reply from the file system within {limit:?}");
            Err(Error::new(ErrorKind::TimedOut, problem))
        }
    }
}

/// Opens a regular file for reading. Opening a FIFO or a device can wait or have side effects, so
/// the type is checked first, and again when the file is open.
fn open(path: &Path) -> Result<File> {
    check_type(&std::fs::metadata(path)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    check_type(&file.metadata()?)?;
    Ok(file)
}

fn check_type(metadata: &std::fs::Metadata) -> Result<()> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::InvalidInput, "not a regular file"))
    }
}

fn hanging() -> MutexGuard<'static, BTreeMap<PathBuf, usize>> {
    HANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records that an access which took too long has ended.
fn end_hanging(hanging: &mut BTreeMap<PathBuf, usize>, path: &Path) {
    if let Some(count) = hanging.get_mut(path) {
        *count -= 1;
        if *count == 0 {
            hanging.remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::channel;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn regular_files_are_read_also_through_symlinks() {
        let directory = tempfile::tempdir().expect("a directory");
        let [file, link] = ["file", "link"].map(|name| directory.path().join(name));
        std::fs::write(&file, "text").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        for path in [&file, &link] {
            check(path).expect("a regular file");
            assert_eq!(read_to_string(path).expect("a text"), "text");
        }
        std::fs::write(&file, [0xff]).expect("a file");
        assert_eq!(read(&file).expect("bytes"), [0xff]);
        let error = read_to_string(&file).expect_err("not UTF-8");
        assert_eq!(error.to_string(), "the content is not UTF-8");
        let error = read(directory.path().join("nosuch")).expect_err("no file");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn other_types_of_files_are_refused_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        let status = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(status.success());
        for path in [&fifo, directory.path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            for outcome in [read(path).map(drop), check(path)] {
                let error = outcome.expect_err("not a regular file");
                assert_eq!(error.to_string(), "not a regular file", "{}", path.display());
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
            }
        }
    }

    #[test]
    fn files_have_a_size_limit() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sparse");
        let file = File::create(&path).expect("a file");
        file.set_len(MAX_BYTES + 1).expect("a size");
        let error = read(&path).expect_err("too large");
        assert_eq!(error.to_string(), "larger than 67108864 bytes");
        file.set_len(MAX_BYTES).expect("a size");
        assert_eq!(read(&path).expect("bytes").len() as u64, MAX_BYTES);
    }

    #[test]
    fn hanging_accesses_end_in_time_and_fail_at_once_afterwards() {
        let (path, other) = (Path::new("/hanging"), Path::new("/other"));
        let (release, released) = channel::<()>();
        let (ended, end) = channel();
        let hang = move || {
            let _ = released.recv();
            Ok(ended)
        };
        let error = run_within(SHORT, path, hang).expect_err("a timeout");
        assert_eq!(error.to_string(), "no reply from the file system within 50ms");
        let error = within_limit(path, || Ok(())).expect_err("still hangs");
        assert_eq!(error.to_string(), "an earlier access still waits for the file system");
        within_limit(other, || Ok(())).expect("another path");
        release.send(()).expect("the thread");
        // The thread drops its result, which contains the sender, once it has recorded its end.
        let () = end.recv().unwrap_or_default();
        while hanging().contains_key(path) {
            std::thread::yield_now();
        }
        within_limit(path, || Ok(())).expect("no longer hangs");
    }
}
