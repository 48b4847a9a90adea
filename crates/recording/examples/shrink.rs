//! Makes a test of a recording: adds expectations and makes the recording smaller.
//!
//! `cargo run -p recording --example shrink -- IN OUT [--keep-rounds] EXPECTATION...`
//!
//! Each expectation is the JSON object of an `expect` line (`FORMAT.md`). If all of them hold, they
//! also hold for the smaller recording. If some do not hold, the smaller recording violates the
//! first of those, and only that one is written. With `--keep-rounds`, all rounds remain.

#![expect(clippy::print_stdout, reason = "the example prints what it did")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::SystemTime;

use recording::{Expectation, Judgement, Recording, shrink_while};

/// Largest number of replays.
const LIMIT: usize = 5000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let (mut paths, mut expectations, mut keeps_rounds) = (Vec::new(), Vec::new(), false);
    for argument in std::env::args().skip(1) {
        if argument.starts_with('{') {
            let expectation: Expectation =
                serde_json::from_str(&argument).map_err(|error| format!("{argument}: {error}"))?;
            expectations.push(expectation);
        } else if argument == "--keep-rounds" {
            keeps_rounds = true;
        } else {
            paths.push(argument);
        }
    }
    let [from, to] = paths.as_slice() else {
        return Err("expected IN OUT [--keep-rounds] EXPECTATION...".to_owned());
    };
    let file = std::fs::read(from).map_err(|error| format!("{from}: {error}"))?;
    let mut recording = Recording::read(&*file).map_err(|error| format!("{from}: {error}"))?;
    if !recording.is_complete() {
        println!("{} rounds are missing in this recording", recording.dropped);
    }
    let mut judgements = recording.judge(&expectations);
    for (expectation, judgement) in expectations.iter().zip(&judgements) {
        println!("{expectation:?} {judgement}");
        if let Judgement::Undefined { why } = judgement {
            return Err(why.clone());
        }
    }
    if let Some(violated) = judgements.iter().position(|judgement| *judgement != Judgement::Holds) {
        expectations = vec![expectations.remove(violated)];
        judgements = vec![judgements.remove(violated)];
    }
    let kept: BTreeSet<u64> = if keeps_rounds {
        recording.rounds.iter().map(|recorded| nanos(recorded.round.at)).collect()
    } else {
        expectations.iter().filter_map(|expectation| expectation.at).collect()
    };
    recording.expectations.clone_from(&expectations);
    let shrunk = shrink_while(&recording, &kept, LIMIT, |candidate| {
        candidate.judge(&expectations) == judgements
    });
    let text = shrunk.recording.text();
    std::fs::write(to, &text).map_err(|error| format!("{to}: {error}"))?;
    println!(
        "{} bytes and {} rounds became {} bytes and {} rounds after {} replays",
        file.len(),
        recording.rounds.len(),
        text.len(),
        shrunk.recording.rounds.len(),
        shrunk.replays
    );
    Ok(())
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
