//! Recording of all rounds in files, for bug reports and tests.
//!
//! One thread writes all files, so that a slow disk never delays a round. Rounds that it cannot
//! write in time are dropped, and the recording says so. A failed write ends all recordings.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use anyhow::{Context, bail};
use recording::{Encoder, Header, Restored};
use topology::{Deployment, Round};
use tracing::{info, warn};

/// Limit of the rounds that wait for the disk, over all deployments.
const MAX_WAITING: usize = 1024;

/// Limit of the files with the same deployment and start time.
const MAX_SAME_NAME: u32 = 100;

/// Recorder of the rounds of all deployments. Without a recorder, nothing is recorded.
#[derive(Debug, Clone)]
pub struct RoundRecorder {
    sender: SyncSender<Entry>,
    rolecall: Arc<str>,
}

/// Recorder of one deployment. Each one has a file of its own.
#[derive(Debug)]
pub(crate) struct DeploymentRecorder {
    sender: SyncSender<Entry>,
    file: Arc<FileName>,
    /// The header, until the writer has it.
    header: Option<Header>,
    /// Rounds that were dropped since the last one that the writer took.
    dropped: u64,
}

/// Parts of the name of a file. The file is closed when its recorder is gone.
#[derive(Debug)]
struct FileName {
    deployment: String,
    started: SystemTime,
}

/// A round to write.
#[derive(Debug)]
struct Entry {
    file: Arc<FileName>,
    /// The header, before the first round of a file.
    header: Option<Box<Header>>,
    /// Rounds that are missing before this one.
    dropped: u64,
    round: Box<Round>,
    deployment: Arc<Deployment>,
}

/// Writer of all files.
struct Writer {
    directory: PathBuf,
    /// Open files by the address in memory of their name, which [`OpenFile::name`] keeps unique.
    files: HashMap<usize, OpenFile>,
}

struct OpenFile {
    file: File,
    path: PathBuf,
    encoder: Encoder,
    name: Weak<FileName>,
}

impl RoundRecorder {
    /// Starts the thread that writes the files into a directory. `rolecall` is the version of
    /// Rolecall.
    ///
    /// # Errors
    /// Fails if the thread cannot be started. Problems with the directory end the recording later,
    /// with a warning in the log.
    pub fn start(directory: &Path, rolecall: &str) -> anyhow::Result<Self> {
        let (sender, entries) = sync_channel(MAX_WAITING);
        let writer = Writer { directory: directory.to_owned(), files: HashMap::new() };
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || writer.run(&entries))
            .context("cannot start the thread that records rounds")?;
        Ok(RoundRecorder { sender, rolecall: rolecall.into() })
    }

    /// Creates the recorder of a deployment that starts now, with the state that it restored.
    pub(crate) fn deployment(
        &self,
        deployment: Arc<Deployment>,
        restored: Option<Restored>,
        started: SystemTime,
    ) -> DeploymentRecorder {
        let file = Arc::new(FileName { deployment: deployment.name.clone(), started });
        let header = Header { rolecall: self.rolecall.to_string(), deployment, restored };
        DeploymentRecorder { sender: self.sender.clone(), file, header: Some(header), dropped: 0 }
    }
}

impl DeploymentRecorder {
    /// Records a round. `deployment` has the nodes before the round. Never waits.
    pub(crate) fn record(&mut self, round: &Round, deployment: &Arc<Deployment>) {
        let entry = Entry {
            file: Arc::clone(&self.file),
            header: self.header.clone().map(Box::new),
            dropped: self.dropped,
            round: Box::new(round.clone()),
            deployment: Arc::clone(deployment),
        };
        match self.sender.try_send(entry) {
            Ok(()) => (self.header, self.dropped) = (None, 0),
            // The writer logged why it ended.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped += 1,
        }
    }
}

impl Writer {
    /// Writes rounds until a write fails or no recorder is left.
    fn run(mut self, entries: &Receiver<Entry>) {
        while let Ok(entry) = entries.recv() {
            if let Err(error) = self.write(&entry) {
                warn!(error = format!("{error:#}"), "cannot record rounds, recording ends");
                break;
            }
        }
    }

    fn write(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let key = Arc::as_ptr(&entry.file).addr();
        let mut text = String::new();
        if let Some(header) = &entry.header {
            self.files.retain(|_, open| open.name.strong_count() > 0);
            let mut open = self.create(&entry.file)?;
            text += &open.encoder.header(header);
            self.files.insert(key, open);
        }
        let Some(open) = self.files.get_mut(&key) else { return Ok(()) };
        if entry.dropped > 0 {
            text += &open.encoder.dropped(entry.dropped);
        }
        text += &open.encoder.round(&entry.round, &entry.deployment);
        open.file.write_all(text.as_bytes()).with_context(|| open.path.display().to_string())
    }

    /// Creates the file of a deployment. An existing file is never changed.
    fn create(&self, name: &Arc<FileName>) -> anyhow::Result<OpenFile> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .with_context(|| self.directory.display().to_string())?;
        for number in 0..MAX_SAME_NAME {
            let path = self.directory.join(file_name(name, number));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    info!(deployment = name.deployment, path = %path.display(), "recording rounds");
                    let (encoder, name) = (Encoder::default(), Arc::downgrade(name));
                    return Ok(OpenFile { file, path, encoder, name });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        bail!("{}: too many files of the same time", self.directory.display())
    }
}

/// Returns the name of a file: `orders-20261129T202506.123Z.jsonl`. `number` distinguishes files
/// whose names would be the same.
fn file_name(name: &FileName, number: u32) -> String {
    const MAX_NAME: usize = 100;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let letters = name.deployment.chars().take(MAX_NAME);
    let deployment: String =
        letters.map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    // A file of a deployment `.x` is not hidden.
    let deployment = deployment.trim_start_matches('.');
    let started = humantime::format_rfc3339_millis(name.started).to_string();
    let started = started.replace(['-', ':'], "");
    let number = if number == 0 { String::new() } else { format!("-{number}") };
    format!("{deployment}-{started}{number}.jsonl")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use recording::Recording;
    use topology::{DeploymentKind, Monotonic, PollOutcome};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn deployment(name: &str) -> Arc<Deployment> {
        let mut deployment = Deployment::new(name, DeploymentKind::Static, &[], SECOND, SECOND * 3);
        deployment.add("a", "10.0.0.1:6379", None);
        Arc::new(deployment)
    }

    fn round(number: u32) -> Round {
        let now = Monotonic::START + SECOND * number;
        let at = SystemTime::UNIX_EPOCH + now.since_start();
        Round::new(at, now, vec![PollOutcome::Pending])
    }

    /// Returns a recorder without a thread, and its receiver.
    fn recorder(limit: usize) -> (RoundRecorder, Receiver<Entry>) {
        let (sender, entries) = sync_channel(limit);
        (RoundRecorder { sender, rolecall: "1".into() }, entries)
    }

    /// Writes all waiting entries, and returns the files by name.
    fn write(directory: &Path, entries: &Receiver<Entry>) -> Vec<(String, Recording)> {
        let mut writer = Writer { directory: directory.to_owned(), files: HashMap::new() };
        while let Ok(entry) = entries.try_recv() {
            writer.write(&entry).expect("a written entry");
        }
        let files = std::fs::read_dir(directory).expect("a directory");
        let mut recordings: Vec<_> = files
            .map(|file| {
                let path = file.expect("an entry").path();
                let mode = path.metadata().expect("metadata").permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
                let text = std::fs::read(&path).expect("a file");
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                (name, Recording::read(&*text).expect("a recording"))
            })
            .collect();
        recordings.sort_by(|(a, _), (b, _)| a.cmp(b));
        recordings
    }

    #[test]
    fn each_start_of_a_deployment_has_its_own_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let (recorder, entries) = recorder(10);
        let mut recorders = ["a/b", "a/b", "c"].map(|name| {
            let deployment = deployment(name);
            (recorder.deployment(Arc::clone(&deployment), None, SystemTime::UNIX_EPOCH), deployment)
        });
        for number in 1..3 {
            for (recorder, deployment) in &mut recorders {
                recorder.record(&round(number), deployment);
            }
        }
        let recordings = write(directory.path(), &entries);
        let names: Vec<_> = recordings.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "a_b-19700101T000000.000Z-1.jsonl",
                "a_b-19700101T000000.000Z.jsonl",
                "c-19700101T000000.000Z.jsonl"
            ]
        );
        for (_, recording) in &recordings {
            assert_eq!((recording.rounds.len(), recording.is_complete()), (2, true));
        }
    }

    #[test]
    fn a_recording_states_how_many_rounds_are_missing() {
        let directory = tempfile::tempdir().expect("a directory");
        let (recorder, entries) = recorder(1);
        let deployment = deployment("a");
        let mut recorder =
            recorder.deployment(Arc::clone(&deployment), None, SystemTime::UNIX_EPOCH);
        for number in 1..4 {
            recorder.record(&round(number), &deployment);
        }
        let mut writer = Writer { directory: directory.path().to_owned(), files: HashMap::new() };
        writer.write(&entries.recv().expect("an entry")).expect("a written entry");
        recorder.record(&round(4), &deployment);
        writer.write(&entries.recv().expect("an entry")).expect("a written entry");
        let file = std::fs::read_dir(directory.path()).expect("a directory").next();
        let text = std::fs::read(file.expect("a file").expect("a file").path()).expect("a text");
        let recording = Recording::read(&*text).expect("a recording");
        assert_eq!((recording.rounds.len(), recording.dropped), (2, 2));
        assert!(!recording.is_complete());
    }

    #[test]
    fn a_failed_write_ends_the_recording() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "").expect("a file");
        let recorder = RoundRecorder::start(&path, "1").expect("a thread");
        let deployment = deployment("a");
        let mut recorder =
            recorder.deployment(Arc::clone(&deployment), None, SystemTime::UNIX_EPOCH);
        let mut number = 0;
        // The thread ends after its first write, which nothing announces.
        while number < 100_000 && recorder.dropped == 0 {
            number += 1;
            recorder.record(&round(1), &deployment);
            std::thread::yield_now();
        }
        assert!(recorder.dropped > 0, "the writer took {number} rounds");
        assert_eq!(std::fs::read(&path).expect("a file"), b"");
    }
}
