//! INFO latencystats: latency percentiles of each command (Redis 7.0 and later).

use std::time::Duration;

use crate::key_values;
use crate::names::{NameKind, bounded_name};

/// Latency percentiles of one command.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandLatency {
    /// Name in lower case, with the subcommand: `config|set`.
    pub name: Box<str>,
    /// Percentiles, as the server writes them (`50`, `99`, `99.9`), with the latency.
    /// INFO latencystats: `latency_percentiles_usec_*`.
    pub percentiles: Vec<(Box<str>, Duration)>,
}

/// Maximum number of commands that are kept.
const MAX_COMMANDS: usize = 1024;
/// Maximum number of percentiles that are kept of each command.
const MAX_PERCENTILES: usize = 8;

impl CommandLatency {
    /// Parses the reply to `INFO latencystats`. Skips lines that are malformed.
    ///
    /// The commands are sorted by name.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use snapshot::CommandLatency;
    ///
    /// let reply = "latency_percentiles_usec_get:p50=1.003,p99=20.095\r\n";
    /// let latencies = CommandLatency::parse(reply);
    /// assert_eq!(&*latencies[0].name, "get");
    /// assert_eq!(latencies[0].percentiles[1], ("99".into(), Duration::from_nanos(20_095)));
    /// ```
    pub fn parse(text: &str) -> Vec<Self> {
        let mut commands: Vec<_> =
            text.lines().filter_map(Self::parse_line).take(MAX_COMMANDS).collect();
        commands.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        commands.dedup_by(|a, b| a.name == b.name);
        commands
    }

    /// Returns the values of the line of INFO latencystats from which the same percentiles are
    /// parsed, without the prefix `latency_percentiles_usec_`, the name and the colon.
    ///
    /// ```
    /// use snapshot::CommandLatency;
    ///
    /// let latencies = CommandLatency::parse("latency_percentiles_usec_get:p50=1.003,p99=20.095");
    /// assert_eq!(latencies[0].values(), "p50=1.003,p99=20.095");
    /// ```
    pub fn values(&self) -> String {
        let value = |(percentile, latency): &(Box<str>, Duration)| {
            let nanos = latency.as_nanos();
            format!("p{percentile}={}.{:03}", nanos / 1000, nanos % 1000)
        };
        self.percentiles.iter().map(value).collect::<Vec<_>>().join(",")
    }

    fn parse_line(line: &str) -> Option<Self> {
        let (name, percentiles) =
            line.strip_prefix("latency_percentiles_usec_")?.rsplit_once(':')?;
        let percentile = |pair: &str| {
            let (percentile, micros) = pair.strip_prefix('p')?.split_once('=')?;
            percentile.parse().ok().filter(|number: &f64| (0.0..=100.0).contains(number))?;
            let latency = Duration::try_from_secs_f64(micros.parse::<f64>().ok()? / 1e6).ok()?;
            Some((bounded_name(NameKind::Percentile, percentile)?, latency))
        };
        let percentiles =
            percentiles.split(',').filter_map(percentile).take(MAX_PERCENTILES).collect();
        key_values::label_value(name).map(|name| CommandLatency { name, percentiles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_from_0_to_100() {
        let line = "latency_percentiles_usec_get:p0=1.000,p99.9=2.000,p100=3.000,p101=4.000,\
                    p-1=5.000,pnan=6.000,pinf=7.000";
        let latencies = CommandLatency::parse(line);
        let percentiles: Vec<_> =
            latencies[0].percentiles.iter().map(|(name, _)| &**name).collect();
        assert_eq!(percentiles, ["0", "99.9", "100"]);
    }
}
