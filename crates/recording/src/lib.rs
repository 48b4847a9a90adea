//! Recordings of the rounds that a deployment had: writing, reading, replaying, judging and
//! shrinking them. The crate does no I/O.
//!
//! `FORMAT.md` describes the format. A recording has what the servers sent, so that another version
//! of Rolecall can judge it again. It has no secrets, no names of clients and no arguments of
//! commands.
//!
//! - `encoder.rs`: [`Encoder`] writes line by line.
//! - `decoder.rs`: [`Decoder`] reads line by line.
//! - `recording.rs`: [`Recording`] is a whole recording.
//! - `replay.rs`: [`Replay`] passes the rounds to a tracker.
//! - `expectation.rs`: [`Expectation`] is a verdict that a replay should give.
//! - `shrink.rs`: [`shrink()`] makes a recording smaller that gives a wrong verdict.

mod decoder;
mod encoder;
mod expectation;
mod header;
mod lines;
mod patch;
mod reading;
mod recording;
mod replay;
mod reply;
mod shrink;
mod time;

pub use decoder::{Decoder, Item};
pub use encoder::Encoder;
pub use expectation::{Expectation, Judgement, Verdict};
pub use header::{Header, Restored};
pub use lines::{FORMAT, VERSION};
pub use reading::ReadError;
pub use recording::{RecordedRound, Recording};
pub use replay::{Replay, ReplayedRound};
pub use shrink::{Shrunk, shrink, shrink_while};
