//! Set of metrics.

use serde::Deserialize;

/// Metrics that a scrape exposes if it does not name any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MetricSet {
    /// All metrics.
    Full,
    /// The metrics that the rules and the dashboards Fleet and Deployment use.
    Core,
}

impl MetricSet {
    /// Returns the value in the configuration file.
    pub const fn label(self) -> &'static str {
        match self {
            MetricSet::Full => "full",
            MetricSet::Core => "core",
        }
    }
}
