//! A whole recording.

use std::io::BufRead;
use std::sync::Arc;

use topology::Round;

use crate::decoder::{Decoder, Item};
use crate::encoder::Encoder;
use crate::expectation::Expectation;
use crate::header::Header;
use crate::reading::{DAMAGED, ReadError};
use crate::replay::Replay;

/// A recording: the deployment and its rounds.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The header.
    pub header: Header,
    /// The rounds, in order.
    pub rounds: Vec<RecordedRound>,
    /// Rounds that the exporter had and that are missing, because the disk was too slow. Unless
    /// this is 0, the replay may differ from what the exporter reported.
    pub dropped: u64,
    /// Verdicts that the replay should give.
    pub expectations: Vec<Expectation>,
    /// Notice about the end of the file: a truncated last line that was skipped.
    pub notice: Option<String>,
}

/// A round with the nodes that it polled.
#[derive(Debug, Clone)]
pub struct RecordedRound {
    /// The round.
    pub round: Round,
    /// Address of each node, by node index; empty for a vacant position.
    pub members: Arc<[String]>,
}

impl Recording {
    /// Reads a recording.
    ///
    /// A last line without a line feed that is malformed was cut off. It is skipped with a notice.
    ///
    /// # Errors
    /// Fails if the file cannot be read, is no recording, has another version of the format, or has
    /// a malformed line.
    pub fn read(mut file: impl BufRead) -> Result<Self, ReadError> {
        let (mut decoder, mut line, mut number) = (Decoder::default(), Vec::new(), 0);
        let (mut header, mut rounds, mut dropped, mut notice) = (None, Vec::new(), 0, None);
        let mut expectations = Vec::new();
        loop {
            line.clear();
            let length = file.read_until(b'\n', &mut line).map_err(|error| ReadError {
                line: number + 1,
                problem: format!("cannot read the file: {error}"),
                advice: "check the path and the permissions of the file",
            })?;
            if length == 0 {
                break;
            }
            number += 1;
            let item = match std::str::from_utf8(&line) {
                Ok(text) => decoder.line(text),
                Err(error) => {
                    Err(ReadError { line: number, problem: error.to_string(), advice: DAMAGED })
                }
            };
            match item {
                Ok(Item::Header(found)) => header = Some(*found),
                Ok(Item::Round(round)) => rounds.push(*round),
                Ok(Item::Dropped(count)) => dropped += count,
                Ok(Item::Expectation(expectation)) => expectations.push(expectation),
                Ok(Item::Unknown) => {}
                Err(_) if line.last() != Some(&b'\n') && number > 1 => {
                    notice = Some(format!("line {number} is cut off and was skipped"));
                }
                Err(error) => return Err(error),
            }
        }
        let header = header.ok_or_else(|| ReadError {
            line: 1,
            problem: "the file is empty".to_owned(),
            advice: "give the path of a recording of Rolecall",
        })?;
        Ok(Recording { header, rounds, dropped, expectations, notice })
    }

    /// Returns the text of the recording.
    pub fn text(&self) -> String {
        let mut encoder = Encoder::default();
        let mut text = encoder.header(&self.header);
        if self.dropped > 0 {
            text += &encoder.dropped(self.dropped);
        }
        for RecordedRound { round, members } in &self.rounds {
            text += &encoder.round_of(round, members);
        }
        for expectation in &self.expectations {
            text += &encoder.expectation(expectation);
        }
        text
    }

    /// Replays the rounds from the first one on.
    pub fn replay(&self) -> Replay<'_> {
        Replay::new(self)
    }

    /// Returns true if no round is missing.
    pub fn is_complete(&self) -> bool {
        self.dropped == 0
    }
}
