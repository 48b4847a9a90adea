//! Names of metrics.

use serde::Deserialize;

/// Names under which `/metrics` exposes metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MetricNames {
    /// Those of Rolecall.
    Native,
    /// Those of redis_exporter.
    RedisExporter,
    /// Those of Rolecall and those of redis_exporter.
    Both,
}

impl MetricNames {
    /// Returns the value in the configuration file.
    pub const fn label(self) -> &'static str {
        match self {
            MetricNames::Native => "native",
            MetricNames::RedisExporter => "redis_exporter",
            MetricNames::Both => "both",
        }
    }

    /// Returns whether metrics have the names of redis_exporter.
    pub const fn has_redis_exporter(self) -> bool {
        !matches!(self, MetricNames::Native)
    }
}
