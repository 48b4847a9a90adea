//! Replays each recording in `tests/recordings`, and compares the result with its `expect` lines.
//! To add a test, copy a recording there.

use std::path::Path;

use recording::{Judgement, Recording};

/// Largest recording, bytes: `recording::shrink` makes it smaller.
const MAX_BYTES: usize = 100_000;

/// Returns the problems of a recording.
fn check(text: &str) -> Vec<String> {
    let recording = match Recording::read(text.as_bytes()) {
        Ok(recording) => recording,
        Err(error) => return vec![error.to_string()],
    };
    let mut problems = Vec::new();
    if recording.expectations.is_empty() {
        problems.push("no `expect` line".to_owned());
    }
    if text.len() > MAX_BYTES {
        problems.push(format!("{} bytes, at most {MAX_BYTES} are allowed", text.len()));
    }
    problems.extend(recording.notice.clone());
    let judgements = recording.judge(&recording.expectations);
    for (expectation, judgement) in recording.expectations.iter().zip(judgements) {
        if judgement != Judgement::Holds {
            problems.push(format!("{expectation:?} {judgement}"));
        }
    }
    problems
}

/// Returns name and text of each recording.
fn recordings() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let files = std::fs::read_dir(directory).expect("the recordings");
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.expect("an entry").path();
        let is_recording = path.extension().is_some_and(|extension| extension == "jsonl");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        is_recording.then(|| (name, std::fs::read_to_string(&path).expect("a file")))
    };
    files.filter_map(read).collect()
}

#[test]
fn every_recording_meets_its_expectations() {
    let recordings = recordings();
    assert!(recordings.len() >= 3, "{} recordings", recordings.len());
    let problems: Vec<_> = recordings
        .iter()
        .flat_map(|(name, text)| {
            check(text).into_iter().map(move |problem| format!("{name}: {problem}"))
        })
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_wrong_expectation_is_a_problem() {
    for (name, text) in recordings() {
        let more = r#"{"expect":{"finding":{"kind":"RedisDown","node":"nobody"}}}"#;
        let problems = check(&format!("{text}{more}\n"));
        assert!(problems.len() == 1 && problems[0].contains("violated"), "{name}: {problems:?}");
        let first = text.lines().next().expect("a header");
        assert_eq!(check(&format!("{first}\n")), ["no `expect` line"], "{name}");
    }
}
