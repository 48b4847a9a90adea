//! Replays a recorded timeline, and prints its events and the final state, one JSON object per
//! line.
//!
//! `cargo run -p topology --example replay -- FILE [--sample 1s] [--phase 0.3s]`

#![expect(clippy::print_stdout, reason = "it prints")]

mod timeline;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use report::api::{NodeDocument, ShardDocument};
use serde::Serialize;
use timeline::Timeline;
use topology::{DeploymentTracker, Event};

/// Replays a recorded timeline.
#[derive(Debug, Parser)]
struct Arguments {
    /// The file with the recording.
    file: PathBuf,
    /// Time between two rounds.
    #[arg(long, default_value = "1s", value_parser = span)]
    sample: Duration,
    /// Time of the first round.
    #[arg(long, default_value = "0s", value_parser = span)]
    phase: Duration,
}

fn main() -> Result<(), String> {
    let arguments = Arguments::parse();
    let timeline = Timeline::read(&arguments.file)?;
    let deployment = Arc::new(timeline.deployment(arguments.sample));
    let mut tracker = DeploymentTracker::new(deployment);
    let mut events: Vec<_> = timeline
        .rounds(arguments.sample, arguments.phase)
        .iter()
        .flat_map(|round| tracker.observe(round).events)
        .collect();
    // An event whose cause was pending is sorted by its own time.
    events.sort_by_key(Event::order);
    for event in &events {
        println!("{}", line(&report::api::event("replay", event))?);
    }
    let document = report::api::deployment(&tracker.view());
    let shard = document.shards.into_iter().next().ok_or("no shard")?;
    println!("{}", line(&Last { facts: FinalState { shard, nodes: document.nodes } })?);
    Ok(())
}

/// The last line of the output.
#[derive(Serialize)]
struct Last {
    facts: FinalState,
}

/// The final state.
#[derive(Serialize)]
struct FinalState {
    #[serde(flatten)]
    shard: ShardDocument,
    nodes: Vec<NodeDocument>,
}

fn line(document: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(document).map_err(|error| error.to_string())
}

/// Parses a duration: `0.3s`, `1s` or `250ms`.
fn span(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number
        .trim()
        .parse::<f64>()
        .map_err(|_| format!("found {text:?}, accepted is a time such as 1s or 0.3s"))?;
    Duration::try_from_secs_f64(seconds * unit).map_err(|error| error.to_string())
}
