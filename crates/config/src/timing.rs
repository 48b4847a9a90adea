//! Intervals of a deployment: `interval`, `deadline`, `down_after` and `cadence`.

use std::time::Duration;

use serde::Deserialize;
use topology::DeploymentKind;

use crate::error::KeyError;
use crate::preset::Preset;
use crate::values::DurationText;
use crate::{Cadences, DEFAULT_DOWN_AFTER, MIN_DNS_INTERVAL, MIN_INTERVAL};

/// The table `cadence`.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileCadence {
    /// Interval of `INFO commandstats`. It is sent every round while errors or topology commands
    /// increase.
    #[cfg_attr(test, schemars(example = &"30s", extend("x-default" = "10s")))]
    commands: Option<DurationText>,
    /// Interval of `SLOWLOG LEN` and `SLOWLOG GET`.
    #[cfg_attr(test, schemars(example = &"30s", extend("x-default" = "10s")))]
    slowlog: Option<DurationText>,
    /// Interval of `CONFIG GET`.
    #[cfg_attr(test, schemars(example = &"5m", extend("x-default" = "1m")))]
    config: Option<DurationText>,
    /// Interval of `INFO latencystats`, the latency by command. One reply costs the server as much
    /// as seven `INFO`. Without the key, it is not sent, unless `metrics.names` has names of
    /// redis_exporter.
    #[cfg_attr(test, schemars(example = &"30s"))]
    latencystats: Option<DurationText>,
    /// Interval of DNS lookups, at least `1s`. A failed lookup changes nothing.
    #[cfg_attr(test, schemars(example = &"30s", extend("x-kinds" = ["dns"], "x-default" = "10s")))]
    dns: Option<DurationText>,
}

/// The keys about time.
pub(crate) struct TimingOptions {
    pub(crate) preset: Option<Preset>,
    pub(crate) interval: Option<DurationText>,
    pub(crate) deadline: Option<DurationText>,
    pub(crate) down_after: Option<DurationText>,
    pub(crate) cadence: FileCadence,
}

/// The durations and intervals of a deployment.
pub(crate) struct Timing {
    pub(crate) interval: Duration,
    /// `None`: derived from the interval.
    pub(crate) deadline: Option<Duration>,
    pub(crate) down_after: Duration,
    pub(crate) cadences: Cadences,
}

impl TimingOptions {
    pub(crate) fn resolve(self, kind: DeploymentKind) -> Result<Timing, KeyError> {
        let interval = self.interval.map_or_else(|| Preset::interval(self.preset), |text| text.0);
        check_at_least("interval", interval, MIN_INTERVAL)?;
        let deadline = self.deadline.map(|text| text.0);
        if let Some(deadline) = deadline.filter(|deadline| *deadline > interval) {
            return Err(KeyError::at(
                ["deadline"],
                format!(
                    "must not exceed the interval ({}), got {}",
                    DurationText(interval),
                    DurationText(deadline)
                ),
            ));
        }
        let down_after =
            self.down_after.map_or(DEFAULT_DOWN_AFTER.max(interval * 3), |text| text.0);
        let cadences = self
            .cadence
            .resolve(kind, Preset::cadences(self.preset))
            .map_err(|error| error.under("cadence"))?;
        Ok(Timing { interval, deadline, down_after, cadences })
    }
}

impl FileCadence {
    fn resolve(self, kind: DeploymentKind, defaults: Cadences) -> Result<Cadences, KeyError> {
        if let Some(interval) = self.dns {
            if kind != DeploymentKind::Dns {
                let message = "\"cadence.dns\" requires \"dns\"";
                return Err(KeyError::at(["dns"], message));
            }
            check_at_least("dns", interval.0, MIN_DNS_INTERVAL)?;
        }
        let or = |text: Option<DurationText>, default| text.map_or(default, |text| text.0);
        Ok(Cadences {
            commands: or(self.commands, defaults.commands),
            slowlog: or(self.slowlog, defaults.slowlog),
            config: or(self.config, defaults.config),
            latencystats: self.latencystats.map(|text| text.0).or(defaults.latencystats),
            dns: or(self.dns, defaults.dns),
        })
    }
}

fn check_at_least(key: &str, actual: Duration, minimum: Duration) -> Result<(), KeyError> {
    if actual >= minimum {
        return Ok(());
    }
    let message =
        format!("must be at least {}, got {}", DurationText(minimum), DurationText(actual));
    Err(KeyError::at([key], message))
}
