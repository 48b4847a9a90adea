//! Log level and format.

use clap::ValueEnum;
use serde::Deserialize;

/// How much to log.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What helps to find a fault in the exporter.
    Debug,
    /// Changes on the servers.
    Info,
    /// What a person may have to look at.
    Warn,
    /// What a person must mend, such as a configuration that cannot be read again.
    Error,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl LogLevel {
    /// The value in the configuration.
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
    /// The value in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            LogFormat::Logfmt => "logfmt",
            LogFormat::Json => "json",
        }
    }
}
