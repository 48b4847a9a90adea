//! Tracker state that survives a restart, in the file that `state_file` names.
//!
//! Without it, a failover during the restart would go unnoticed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use recording::Restored;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use topology::{DeploymentTracker, RoundResult, SavedState};
use tracing::warn;

use crate::state_lock::{LockOutcome, StateLock, lock_path};

/// Time between two checks for changes that are not written yet.
const WRITE_CADENCE: Duration = Duration::from_secs(5);

/// Time after which a write that has not ended is logged.
const SLOW_WRITE: Duration = Duration::from_secs(30);

/// Limit of saved deployments. Masters of Sentinels come and go.
const MAX_DEPLOYMENTS: usize = 4096;

/// Rounds between two saves without an event.
const ROUNDS: u64 = 60;

/// Tracker state of all deployments. Without a file, it survives reloads only.
#[derive(Debug, Clone, Default)]
pub struct StateStore {
    path: Option<PathBuf>,
    stored: Arc<Mutex<StoredState>>,
    /// Lock for writing the file: the final write may overlap a periodic one.
    writing: Arc<Mutex<()>>,
    /// Lock against other exporters; `None` if the file is only read, or cannot be locked.
    _lock: Option<Arc<StateLock>>,
}

#[derive(Debug, Default)]
struct StoredState {
    content: StateFile,
    /// True if the file has this content.
    written: bool,
}

/// Version of the format of the file. Readers fill fields that an older version lacks with their
/// defaults, and ignore fields of a newer one. Version 1 had no field `version`, and lacked the
/// claims of masters.
const VERSION: u32 = 2;

/// Content of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StateFile {
    #[serde(skip_deserializing, default = "version")]
    version: u32,
    deployments: BTreeMap<String, SavedDeployment>,
}

impl Default for StateFile {
    fn default() -> Self {
        StateFile { version: VERSION, deployments: BTreeMap::new() }
    }
}

fn version() -> u32 {
    VERSION
}

/// Entry of one deployment in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedDeployment {
    /// Time of the save, in seconds since the Unix epoch.
    at: f64,
    #[serde(flatten)]
    state: SavedState,
}

impl StateStore {
    /// Locks the file and reads it. If reading fails, the store is empty, as at the first start.
    ///
    /// A store is opened without a lock only while nothing can be written: the file system is
    /// read-only or hangs, or the folder does not exist.
    ///
    /// # Errors
    /// Another process has the lock, the lock file cannot be written, or the path is that of
    /// something else than a regular file, which a write would replace.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(StateStore::default()) };
        if let Err(error) = files::check(path)
            && error.kind() == ErrorKind::InvalidInput
        {
            bail!("state_file: {}: {error}", path.display());
        }
        let lock = match StateLock::acquire(path) {
            Ok(LockOutcome::Locked(lock)) => Some(Arc::new(lock)),
            Ok(LockOutcome::Held(id)) => {
                bail!("state_file: {} is in use by another Rolecall (pid {id})", path.display());
            }
            Err(error) if may_start_without_lock(error.kind()) => {
                let path = path.display();
                warn!(%path, %error, "cannot lock the state file");
                None
            }
            Err(error) => {
                let lock = lock_path(path);
                bail!(
                    "state_file: cannot lock {}: {error}. Rolecall must be able to create and \
                     write this file: correct the owner and the permissions of the file and of \
                     its folder, or choose another state_file",
                    lock.display()
                );
            }
        };
        Ok(StateStore { path: Some(path.to_owned()), _lock: lock, ..Self::read(Some(path)) })
    }

    /// Reads the file without a lock. Such a store is never written to the file.
    pub fn read(path: Option<&Path>) -> Self {
        let Some(path) = path else { return StateStore::default() };
        let content = match files::read(path).map(|text| serde_json::from_slice::<StateFile>(&text))
        {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => {
                let path = path.display();
                warn!(%path, %error, "cannot parse the state file, it will be replaced");
                StateFile::default()
            }
            Err(error) if error.kind() == ErrorKind::NotFound => StateFile::default(),
            Err(error) => {
                warn!(path = %path.display(), %error, "cannot read the state file");
                StateFile::default()
            }
        };
        let stored = Arc::new(Mutex::new(StoredState { content, written: true }));
        StateStore { stored, ..StateStore::default() }
    }

    /// Returns the saved state of a deployment, and the time since it was saved.
    pub fn saved(&self, deployment: &str, now: SystemTime) -> Option<Restored> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = stored.content.deployments.get(deployment)?;
        let downtime = Duration::try_from_secs_f64(seconds(now) - saved.at).unwrap_or_default();
        Some(Restored { state: saved.state.clone(), downtime })
    }

    /// Saves the state of a tracker after a round, if there was an event or a save is due.
    pub fn save(&self, tracker: &DeploymentTracker, result: &RoundResult, now: SystemTime) {
        if result.events.is_empty() && result.view.rounds.total % ROUNDS != 1 {
            return;
        }
        let saved = SavedDeployment { at: seconds(now), state: tracker.saved_state() };
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let deployments = &mut stored.content.deployments;
        if deployments.len() >= MAX_DEPLOYMENTS {
            let oldest = deployments
                .iter()
                .min_by(|(_, a), (_, b)| a.at.total_cmp(&b.at))
                .map(|(name, _)| name.clone());
            oldest.map(|name| deployments.remove(&name));
        }
        deployments.insert(result.view.deployment.name.clone(), saved);
        stored.written = false;
    }

    /// Writes the file periodically if there are changes. Never returns `Ok`.
    ///
    /// # Errors
    /// Fails if a write panics. A write that fails or hangs is logged once and retried.
    pub async fn write_periodically(self) -> anyhow::Result<()> {
        let mut ticks = interval(WRITE_CADENCE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let store = self.clone();
            let writing = tokio::task::spawn_blocking(move || store.write());
            let outcome =
                joined_with_warning(writing).await.context("writing the state file panicked")?;
            if let Err(error) = &outcome
                && !failing
            {
                warn!(error = format!("{error:#}"), "cannot write the state file");
            }
            failing = outcome.is_err();
        }
    }

    /// Writes the file if there are changes.
    ///
    /// The file is replaced atomically: a reader sees either the old or the new content, also after
    /// a power failure.
    ///
    /// # Errors
    /// Fails if the file cannot be written. The changes are written at the next attempt.
    pub fn write(&self) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = {
            let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            if stored.written {
                return Ok(());
            }
            stored.written = true;
            serde_json::to_vec_pretty(&stored.content)?
        };
        let mut temporary = path.clone().into_os_string();
        temporary.push(".new");
        let outcome =
            write_synced(&temporary, &text).and_then(|()| std::fs::rename(&temporary, path));
        if outcome.is_err() {
            self.stored.lock().unwrap_or_else(PoisonError::into_inner).written = false;
        }
        outcome.with_context(|| path.display().to_string())
    }
}

/// Waits for a write, and logs a warning if it takes long.
async fn joined_with_warning<T>(mut writing: JoinHandle<T>) -> Result<T, tokio::task::JoinError> {
    if let Ok(outcome) = timeout(SLOW_WRITE, &mut writing).await {
        return outcome;
    }
    warn!("writing the state file takes longer than {SLOW_WRITE:?}");
    writing.await
}

/// Writes a new file and syncs it to the disk.
fn write_synced(path: &OsStr, text: &[u8]) -> std::io::Result<()> {
    let mut file = create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Creates a file. A file or symlink of this name, which an interrupted write or somebody else has
/// left, is removed: it is neither followed nor overwritten.
fn create(path: &OsStr) -> std::io::Result<File> {
    let mut new = OpenOptions::new();
    new.write(true).create_new(true);
    match new.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            new.open(path)
        }
        outcome => outcome,
    }
}

/// Returns true if the error means that nothing can be written now, by another exporter neither.
fn may_start_without_lock(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound | ErrorKind::TimedOut)
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_writes_leave_a_complete_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        let store = StateStore::open(Some(&path)).expect("a store");
        let entry = || SavedDeployment { at: 1.0, state: SavedState::default() };
        store.stored.lock().expect("the lock").content.deployments =
            (0..1000).map(|number| (format!("d{number}"), entry())).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        store.stored.lock().expect("the lock").written = false;
                        store.write().expect("a write");
                        let text = std::fs::read(&path).expect("a file");
                        let read: StateFile =
                            serde_json::from_slice(&text).expect("a complete file");
                        assert_eq!(read.deployments.len(), 1000);
                    }
                });
            }
        });
    }

    /// Returns a store with one deployment that is not written yet.
    fn changed_store(path: &Path) -> StateStore {
        let store = StateStore::open(Some(path)).expect("a store");
        let entry = SavedDeployment { at: 1.0, state: SavedState::default() };
        let mut stored = store.stored.lock().expect("the lock");
        stored.content.deployments.insert("orders".to_owned(), entry);
        stored.written = false;
        drop(stored);
        store
    }

    #[test]
    fn a_write_follows_no_symlink() {
        let directory = tempfile::tempdir().expect("a directory");
        let [path, new, victim] =
            ["state.json", "state.json.new", "victim"].map(|name| directory.path().join(name));
        std::fs::write(&victim, "precious").expect("a file");
        std::os::unix::fs::symlink(&victim, &new).expect("a symlink");
        changed_store(&path).write().expect("a write");
        assert_eq!(std::fs::read_to_string(&victim).expect("a file"), "precious");
        let text = std::fs::read(&path).expect("a file");
        let read: StateFile = serde_json::from_slice(&text).expect("a complete file");
        assert_eq!(read.deployments.len(), 1);
        assert!(std::fs::symlink_metadata(&path).expect("metadata").is_file());
        // The remains of an interrupted write.
        std::fs::write(&new, "{").expect("a file");
        changed_store(&path).write().expect("a write");
        assert!(!new.exists());
    }

    #[test]
    fn a_store_that_is_only_read_neither_locks_nor_writes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        let owner = changed_store(&path);
        owner.write().expect("a write");
        let reader = StateStore::read(Some(&path));
        assert_eq!(reader.stored.lock().expect("the lock").content.deployments.len(), 1);
        std::fs::remove_file(&path).expect("a file");
        reader.stored.lock().expect("the lock").written = false;
        reader.write().expect("nothing to write");
        assert!(!path.exists());
        let error = StateStore::open(Some(&path)).expect_err("the file is in use");
        let id = std::process::id();
        let expected =
            format!("state_file: {} is in use by another Rolecall (pid {id})", path.display());
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_store_needs_a_lock_that_can_be_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        let lock = lock_path(&path);
        std::fs::create_dir(&lock).expect("a folder in place of the lock");
        let error = StateStore::open(Some(&path)).expect_err("no lock").to_string();
        assert!(error.starts_with(&format!("state_file: cannot lock {}: ", lock.display())));
        assert!(error.contains("correct the owner"), "{error}");
        let missing = directory.path().join("missing").join("state.json");
        StateStore::open(Some(&missing)).expect("a store without a folder");
        let kinds = [ErrorKind::ReadOnlyFilesystem, ErrorKind::TimedOut, ErrorKind::NotFound];
        assert!(kinds.into_iter().all(may_start_without_lock));
        assert!(!may_start_without_lock(ErrorKind::PermissionDenied));
    }

    #[test]
    fn a_device_as_state_file_is_refused() {
        let error = StateStore::open(Some(Path::new("/dev/null"))).expect_err("a device");
        assert_eq!(error.to_string(), "state_file: /dev/null: not a regular file");
    }
}
