//! Tracker state that survives a restart, in the file that `state_file` names.
//!
//! Without it, a failover during the restart would go unnoticed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use recording::Restored;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use topology::{DeploymentTracker, RoundResult, SavedState};
use tracing::warn;

/// Time between two checks for changes that are not written yet.
const WRITE_CADENCE: Duration = Duration::from_secs(5);

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
    /// Reads the file. If that fails, the store is empty, as at the first start.
    pub fn open(path: Option<&Path>) -> Self {
        let Some(path) = path else { return StateStore::default() };
        let content =
            match std::fs::read(path).map(|text| serde_json::from_slice::<StateFile>(&text)) {
                Ok(Ok(content)) => content,
                Ok(Err(error)) => {
                    let path = path.display();
                    warn!(%path, %error, "cannot parse the state file, it will be replaced");
                    StateFile::default()
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => StateFile::default(),
                Err(error) => {
                    warn!(path = %path.display(), %error, "cannot read the state file");
                    StateFile::default()
                }
            };
        StateStore {
            path: Some(path.to_owned()),
            stored: Arc::new(Mutex::new(StoredState { content, written: true })),
            writing: Arc::default(),
        }
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
    /// Fails if a write panics. A failed write is logged once and retried.
    pub async fn write_periodically(self) -> anyhow::Result<()> {
        let mut ticks = interval(WRITE_CADENCE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let store = self.clone();
            let outcome = tokio::task::spawn_blocking(move || store.write())
                .await
                .context("writing the state file panicked")?;
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

/// Writes a file and syncs it to the disk.
fn write_synced(path: impl AsRef<Path>, text: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
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
        let store = StateStore::open(Some(&path));
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
}
