//! Log level and format.

use clap::ValueEnum;
use serde::Deserialize;

/// Severity of a log line.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// Details for debugging the exporter.
    Debug,
    /// Changes on the servers.
    Info,
    /// Conditions that may need attention.
    Warn,
    /// Errors that need attention, for example a configuration that cannot be reloaded.
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
    /// Returns the value in the configuration.
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
    /// Returns the value in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            LogFormat::Logfmt => "logfmt",
            LogFormat::Json => "json",
        }
    }
}
