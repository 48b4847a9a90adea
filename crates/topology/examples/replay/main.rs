//! Replays a recorded timeline through the fold, and prints its events and what is known at the end, one JSON object a line.
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

/// Replays a recorded timeline through the fold.
#[derive(Debug, Parser)]
struct Arguments {
    /// The recording.
    file: PathBuf,
    /// Time from one round to the next.
    #[arg(long, default_value = "1s", value_parser = span)]
    sample: Duration,
    /// When the first round is.
    #[arg(long, default_value = "0s", value_parser = span)]
    phase: Duration,
}

fn main() -> Result<(), String> {
    let arguments = Arguments::parse();
    let timeline = Timeline::read(&arguments.file)?;
    let deployment = Arc::new(timeline.deployment(arguments.sample));
    let mut fold = DeploymentTracker::new(deployment);
    let mut events: Vec<_> = timeline
        .rounds(arguments.sample, arguments.phase)
        .iter()
        .flat_map(|round| fold.observe(round).events)
        .collect();
    // One that waited for its cause goes where its time belongs.
    events.sort_by_key(Event::order);
    for event in &events {
        println!("{}", line(&report::api::event("replay", event))?);
    }
    let known = report::api::deployment(&fold.view());
    let shard = known.shards.into_iter().next().ok_or("no facts")?;
    println!("{}", line(&Last { facts: Facts { shard, nodes: known.nodes } })?);
    Ok(())
}

/// The last line.
#[derive(Serialize)]
struct Last {
    facts: Facts,
}

/// What is known at the end.
#[derive(Serialize)]
struct Facts {
    #[serde(flatten)]
    shard: ShardDocument,
    nodes: Vec<NodeDocument>,
}

fn line(document: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(document).map_err(|error| error.to_string())
}

/// A span in seconds: `0.3s`, `1s`; also `250ms`.
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
