//! The command line. Flag names follow Prometheus.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::{LogFormat, LogLevel, Overrides, Source};

/// Prometheus exporter for Redis and Valkey that finds the primary of each deployment and detects
/// split brain, refused writes and lost writes.
#[derive(Debug, Parser)]
#[command(name = "rolecall", version)]
pub struct Cli {
    /// Subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Poll the configured nodes and serve their metrics.
    Serve(Serve),
    /// Poll the nodes for three rounds (at most 15 s) and report problems with their fixes. Exit
    /// code: 0 healthy, 1 findings above severity info, 2 state unknown.
    Diagnose(Diagnose),
    /// Validate a configuration file and print the effective configuration without secrets.
    Check(Check),
    /// Print the metric reference: name, type, labels, source, redis_exporter name and help.
    Metrics,
}

/// Nodes to poll. The `Debug` output contains no URL, because a URL may contain a password.
#[derive(Args)]
pub struct Nodes {
    /// URLs of nodes (`redis://10.0.0.5:6379`), which form one deployment named `default`, or of
    /// Sentinels (`sentinel://10.0.0.5:26379/mymaster`; without a master name, each monitored
    /// master becomes a deployment). Default without a configuration file: `REDIS_ADDR`, else
    /// `redis://localhost:6379`.
    #[arg(value_name = "REDIS_URL", conflicts_with = "config_file")]
    pub urls: Vec<String>,

    /// Configuration file, in TOML.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
}

/// Arguments of `rolecall serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Nodes to poll.
    #[command(flatten)]
    pub nodes: Nodes,

    /// Address to listen on [default: 0.0.0.0:9121].
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub listen_address: Option<String>,

    /// URL under which users reach the pages. Links in alerts use it; without it they lead to the
    /// repository.
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<String>,

    /// Web configuration file in the format of Prometheus: TLS and basic authentication.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,

    /// Enable POST /-/reload, which reloads the configuration as SIGHUP does.
    #[arg(long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,

    /// Write all rounds of each deployment to a file in this directory, for bug reports and tests.
    /// The files contain addresses, but no secrets. Their size has no limit.
    #[arg(long = "debug.record-rounds", value_name = "DIRECTORY")]
    pub record_rounds: Option<PathBuf>,

    /// Minimum log level [default: info].
    #[arg(long = "log.level", value_name = "LEVEL", value_enum)]
    pub log_level: Option<LogLevel>,

    /// Format of log lines [default: logfmt].
    #[arg(long = "log.format", value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Arguments of `rolecall diagnose`.
#[derive(Debug, Args)]
pub struct Diagnose {
    /// Nodes to poll.
    #[command(flatten)]
    pub nodes: Nodes,

    /// Output format: text, or the JSON document of `/api/v1/findings`.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: DocumentFormat,

    /// Minimum level of log lines on standard error.
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, default_value = "error")]
    pub log_level: LogLevel,
}

/// Output format of `rolecall diagnose`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocumentFormat {
    /// Text for a terminal.
    Text,
    /// JSON document of `/api/v1/findings`.
    Json,
}

/// Arguments of `rolecall check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Configuration file, in TOML.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: PathBuf,
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Nodes { urls, config_file } = self;
        f.debug_struct("Nodes")
            .field("urls", &urls.len())
            .field("config_file", config_file)
            .finish()
    }
}

impl Nodes {
    /// Returns where the configuration comes from.
    pub fn source(&self) -> Source<'_> {
        match &self.config_file {
            Some(path) => Source::File(path),
            None => Source::Urls(&self.urls),
        }
    }
}

impl Serve {
    /// Returns the flags that override keys of the configuration.
    pub fn overrides(&self) -> Overrides<'_> {
        Overrides {
            listen_address: self.listen_address.as_deref(),
            external_url: self.external_url.as_deref(),
            log_level: self.log_level,
            log_format: self.log_format,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_password() {
        let cli = Cli::try_parse_from(["rolecall", "serve", "redis://:hunter2@127.0.0.1:6379"]);
        let text = format!("{:?}", cli.expect("valid arguments"));
        assert!(text.contains("urls: 1") && !text.contains("hunter2"), "{text}");
    }
}
