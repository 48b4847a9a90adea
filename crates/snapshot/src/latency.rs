//! How long each command takes: INFO latencystats (7.0 and later). Costly to ask for, so it is read only where it is wanted.

use std::time::Duration;

use crate::list;

/// Percentiles of the time that one command takes.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandLatency {
    /// Name in lower case, with its subcommand: `config|set`.
    pub name: Box<str>,
    /// Percentile as the server names it (`50`, `99`, `99.9`), and time. INFO latencystats: `latency_percentiles_usec_*`.
    pub percentiles: Vec<(Box<str>, Duration)>,
}

/// The most commands and percentiles that are kept.
const MAX_COMMANDS: usize = 1024;
const MAX_PERCENTILES: usize = 8;

impl CommandLatency {
    /// Reads an `INFO latencystats` reply, sorted by name. Lines it does not understand are left out.
    pub fn parse(text: &str) -> Vec<Self> {
        let mut commands: Vec<_> = text.lines().filter_map(Self::line).take(MAX_COMMANDS).collect();
        commands.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        commands.dedup_by(|a, b| a.name == b.name);
        commands
    }

    fn line(line: &str) -> Option<Self> {
        let (name, figures) = line.strip_prefix("latency_percentiles_usec_")?.rsplit_once(':')?;
        let percentile = |pair: &str| {
            let (percentile, micros) = pair.strip_prefix('p')?.split_once('=')?;
            percentile.parse::<f64>().ok()?;
            let time = Duration::try_from_secs_f64(micros.parse::<f64>().ok()? / 1e6).ok()?;
            Some((percentile.into(), time))
        };
        let percentiles = figures.split(',').filter_map(percentile).take(MAX_PERCENTILES).collect();
        list::name(name).map(|name| CommandLatency { name, percentiles })
    }
}
