//! Log level and format.

use clap::ValueEnum;
use serde::Deserialize;

/// Minimum severity of log lines.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// All details.
    Trace,
    /// Details that help to debug the exporter.
    Debug,
    /// Changes of the servers and of the configuration.
    Info,
    /// Problems that may need attention.
    Warn,
    /// Failures that need operator action, such as an invalid configuration on reload.
    Error,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object per line.
    Json,
}

impl LogLevel {
    /// Returns the value in the configuration file.
    pub const fn label(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

impl LogFormat {
    /// Returns the value in the configuration file.
    pub const fn label(self) -> &'static str {
        match self {
            LogFormat::Logfmt => "logfmt",
            LogFormat::Json => "json",
        }
    }
}
