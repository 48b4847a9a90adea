//! What is kept over a restart, in the file that `state_file` names: without it a failover during the restart goes unseen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use topology::{DeploymentTracker, RoundResult, SavedState};
use tracing::warn;

/// Time between two looks at what is to be written.
const CADENCE: Duration = Duration::from_secs(5);

/// The most deployments that are kept; masters of Sentinels come and go.
const MAX_DEPLOYMENTS: usize = 4096;

/// What changes without an event is kept that often, in rounds.
const ROUNDS: u64 = 60;

/// What is kept. Without a file it is kept over a reload only.
#[derive(Debug, Clone, Default)]
pub struct StateStore {
    path: Option<PathBuf>,
    now: Arc<Mutex<StoredState>>,
    /// Held while the file is written: the last write may meet one that goes on.
    writing: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct StoredState {
    file: StateFile,
    written: bool,
}

/// The file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct StateFile {
    deployments: BTreeMap<String, SavedDeployment>,
}

/// One deployment in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedDeployment {
    /// When it was so, in seconds since the Unix epoch.
    at: f64,
    #[serde(flatten)]
    remembered: SavedState,
}

impl StateStore {
    /// Reads the file. One that cannot be read is no reason to stop: then nothing is known, as at a first start.
    pub fn open(path: Option<&Path>) -> Self {
        let Some(path) = path else { return StateStore::default() };
        let file = match std::fs::read(path).map(|text| serde_json::from_slice::<StateFile>(&text))
        {
            Ok(Ok(file)) => file,
            Ok(Err(error)) => {
                warn!(path = %path.display(), %error, "the state file is not one of ours, and will be replaced");
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
            now: Arc::new(Mutex::new(StoredState { file, written: true })),
            writing: Arc::default(),
        }
    }

    /// Gives a fold what was kept of its deployment.
    pub fn recall(&self, tracker: &mut DeploymentTracker, now: SystemTime) {
        let noted = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = noted.file.deployments.get(&tracker.view().deployment.name) {
            let away = Duration::try_from_secs_f64(seconds(now) - entry.at).unwrap_or_default();
            tracker.restore(entry.remembered.clone(), away);
        }
    }

    /// Keeps what a round left in the memory of a fold.
    pub fn keep(&self, tracker: &DeploymentTracker, step: &RoundResult, now: SystemTime) {
        if step.events.is_empty() && step.view.rounds.total % ROUNDS != 1 {
            return;
        }
        let entry = SavedDeployment { at: seconds(now), remembered: tracker.saved_state() };
        let mut noted = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let deployments = &mut noted.file.deployments;
        if deployments.len() >= MAX_DEPLOYMENTS {
            let oldest = deployments
                .iter()
                .min_by(|(_, a), (_, b)| a.at.total_cmp(&b.at))
                .map(|(name, _)| name.clone());
            oldest.map(|name| deployments.remove(&name));
        }
        deployments.insert(step.view.deployment.name.clone(), entry);
        noted.written = false;
    }

    /// Writes the file for ever, whenever there is something new.
    ///
    /// # Errors
    /// Never: a file that cannot be written is logged once until it can be.
    pub async fn write_for_ever(self) -> anyhow::Result<()> {
        let mut ticks = interval(CADENCE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let state = self.clone();
            let outcome = tokio::task::spawn_blocking(move || state.write())
                .await
                .context("writing the state file died")?;
            if let Err(error) = &outcome
                && !failing
            {
                warn!(error = format!("{error:#}"), "cannot write the state file");
            }
            failing = outcome.is_err();
        }
    }

    /// Writes the file, if there is something new. A reader sees the old one or the new one, never a part; so does who reads it after the
    /// power failed.
    pub fn write(&self) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = {
            let mut noted = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.written {
                return Ok(());
            }
            noted.written = true;
            serde_json::to_vec_pretty(&noted.file)?
        };
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let written = write_through(&beside, &text).and_then(|()| std::fs::rename(&beside, path));
        if written.is_err() {
            self.now.lock().unwrap_or_else(PoisonError::into_inner).written = false;
        }
        written.with_context(|| path.display().to_string())
    }
}

/// Writes a file to the disk itself.
fn write_through(path: impl AsRef<Path>, text: &[u8]) -> std::io::Result<()> {
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
    fn writes_that_meet_do_not_disturb_one_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        let state = StateStore::open(Some(&path));
        let entry = || SavedDeployment { at: 1.0, remembered: SavedState::default() };
        state.now.lock().expect("state").file.deployments =
            (0..1000).map(|number| (format!("d{number}"), entry())).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        state.now.lock().expect("state").written = false;
                        state.write().expect("a write");
                        let text = std::fs::read(&path).expect("a file");
                        let read: StateFile = serde_json::from_slice(&text).expect("a whole one");
                        assert_eq!(read.deployments.len(), 1000);
                    }
                });
            }
        });
    }
}
