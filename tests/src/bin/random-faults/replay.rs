//! Replay of a fault from the recordings of the exporter, shrunk to a fast test.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use recording::{Judgement, Recording};

use crate::oracle::Fault;

/// Largest number of replays for a smaller recording.
const MAX_REPLAYS: usize = 600;

/// The API shows times in milliseconds.
const PRECISION: Duration = Duration::from_millis(1);

/// Writes a recording that ends with the last round before a fault, and that violates what this
/// round should have stated. Returns its path.
///
/// # Errors
/// Fails if the fault is not about the state after a round, or if the replay does not show it.
pub(crate) fn shrink(directory: &Path, deployment: &str, fault: &Fault) -> Result<PathBuf, String> {
    let expectation =
        fault.expectation.as_ref().ok_or("it is not about the state after a round")?;
    let at = fault.round_at.ok_or("the round is unknown")?;
    let mut recording = find(directory, deployment, at)?;
    recording.expectations = vec![expectation.clone()];
    match recording.judge(&recording.expectations).first() {
        Some(Judgement::Violated { .. }) => {}
        other => return Err(format!("{other:?}")),
    }
    let mut shrunk = recording::shrink(&recording, expectation, MAX_REPLAYS).recording;
    shrunk.expectations = vec![expectation.clone()];
    let (node, rule) = (fault.subject.1, format!("{:?}", fault.rule));
    let file = directory.join(format!("{rule}-{deployment}-{node}.jsonl"));
    std::fs::write(&file, shrunk.text()).map_err(|error| error.to_string())?;
    Ok(file)
}

/// Reads the recording with the round that ended at a time, without later rounds.
fn find(directory: &Path, deployment: &str, at: SystemTime) -> Result<Recording, String> {
    let files = std::fs::read_dir(directory).map_err(|error| error.to_string())?;
    for file in files.flatten() {
        let path = file.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_recording = path.extension().is_some_and(|extension| extension == "jsonl");
        if !is_recording || !name.starts_with(&format!("{deployment}-")) {
            continue;
        }
        let text = File::open(&path).map_err(|error| error.to_string())?;
        let Ok(mut recording) = Recording::read(BufReader::new(text)) else { continue };
        let started = recording.rounds.first().is_some_and(|first| first.round.at <= at);
        let ended = recording.rounds.last().is_none_or(|last| last.round.at + PRECISION < at);
        if started && !ended {
            recording.rounds.retain(|recorded| recorded.round.at <= at + PRECISION);
            return Ok(recording);
        }
    }
    Err("no recording has the round".to_owned())
}
