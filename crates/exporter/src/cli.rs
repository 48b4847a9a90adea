//! The command line. Flags are named as those of Prometheus.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::{LogFormat, LogLevel, Overrides, Source};

/// Prometheus exporter for Redis and Valkey: who is primary, whether writes are accepted, and whether they will survive.
#[derive(Debug, Parser)]
#[command(name = "rolecall", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Poll the configured nodes and serve their metrics.
    Serve(Serve),
    /// Look at the nodes for three rounds, up to 15 s while one is slow to answer, and say what is wrong and what to do. Exit code: 0 healthy,
    /// 1 findings above info, 2 could not tell.
    Diagnose(Diagnose),
    /// Check a configuration file, and print the configuration as it would be used, without secrets.
    Check(Check),
    /// Print the reference of every metric: name, type, labels, source, name in redis_exporter, help.
    Metrics,
}

/// What to look at.
#[derive(Debug, Args)]
pub struct Nodes {
    /// Nodes to poll, for example `redis://10.0.0.5:6379`. They form one deployment named `default`. Or Sentinels, for example
    /// `sentinel://10.0.0.5:26379/mymaster`; without a name each master that they watch is a deployment. Without nodes and without a file:
    /// `REDIS_ADDR`, else `redis://localhost:6379`.
    #[arg(value_name = "REDIS_URL", conflicts_with = "config_file")]
    pub urls: Vec<String>,

    /// Configuration file, in TOML.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
}

/// Arguments of `rolecall serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// What to poll.
    #[command(flatten)]
    pub nodes: Nodes,

    /// Address to listen on [default: 0.0.0.0:9121].
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub listen_address: Option<String>,

    /// URL under which people reach the pages: alerts link there, and without it to the repository.
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<String>,

    /// Web configuration file, in Prometheus' own format: TLS and basic authentication of our own pages.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,

    /// Let POST /-/reload read the configuration again, as SIGHUP does.
    #[arg(long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,

    /// Only log what is at least this severe [default: info].
    #[arg(long = "log.level", value_name = "LEVEL", value_enum)]
    pub log_level: Option<LogLevel>,

    /// Format of log lines [default: logfmt].
    #[arg(long = "log.format", value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Arguments of `rolecall diagnose`.
#[derive(Debug, Args)]
pub struct Diagnose {
    /// What to look at.
    #[command(flatten)]
    pub nodes: Nodes,

    /// How to print: for people, or the document of `/api/v1/findings`.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: DocumentFormat,

    /// Only log what is at least this severe, to standard error.
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, default_value = "error")]
    pub log_level: LogLevel,
}

/// How to print what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocumentFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Arguments of `rolecall check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Configuration file, in TOML.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: PathBuf,
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
