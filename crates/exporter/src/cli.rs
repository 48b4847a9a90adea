//! The command line. Flag names follow Prometheus.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::{LogFormat, LogLevel, Overrides, Source};

/// Names of links to the program that select the mode of redis_exporter: the original name, and
/// that of Debian.
const REDIS_EXPORTER: [&str; 2] = ["redis_exporter", "prometheus-redis-exporter"];

/// Prometheus exporter for Redis and Valkey that finds the primary of each deployment and detects
/// split brain, refused writes and lost writes. Without a command, it serves.
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
    /// Replace redis_exporter: accept its flags and variables, and serve its metrics. This is also
    /// what a link named `redis_exporter` does. `rolecall redis-exporter --help` lists the flags.
    #[command(disable_help_flag = true)]
    RedisExporter {
        /// Flags of redis_exporter.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
        arguments: Vec<OsString>,
    },
}

/// Nodes to poll. The `Debug` output contains no URL, because a URL may contain a password.
#[derive(Args)]
pub struct Nodes {
    /// URLs or addresses of nodes (`redis://10.0.0.5:6379`, `10.0.0.5:6379`), which form one
    /// deployment named `default`, or of Sentinels (`sentinel://10.0.0.5:26379/mymaster`; without
    /// a master name, each monitored master becomes a deployment). Default without a configuration
    /// file: `REDIS_ADDR`, else `redis://localhost:6379`. An empty `REDIS_ADDR` means no node.
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

impl Cli {
    /// Parses the arguments of the process, of which the first is the name of the program. Without
    /// a command, they are those of `serve`. Exits if they are invalid.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self::parse_from(with_command(arguments.into_iter().collect()))
    }
}

/// Adds the command if there is none: that of redis_exporter if the program is a link with its
/// name, or `serve` if a flag or an address follows, or nothing.
fn with_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    let first = arguments.get(1).map(|argument| argument.to_string_lossy());
    let is_own_flag = |text: &str| ["-h", "--help", "-V", "--version"].contains(&text);
    let is_command = |text: &str| !text.starts_with('-') && !text.contains(':');
    if program.is_some_and(|name| REDIS_EXPORTER.iter().any(|program| name == *program)) {
        arguments.insert(1, "redis-exporter".into());
    } else if !first.is_some_and(|text| is_own_flag(&text) || is_command(&text)) {
        arguments.insert(arguments.len().min(1), "serve".into());
    }
    arguments
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
    fn the_command_follows_from_the_program_or_is_serve() {
        for (arguments, expected) in [
            ("rolecall", "rolecall serve"),
            ("rolecall --config.file a.toml", "rolecall serve --config.file a.toml"),
            ("rolecall h:6379 g", "rolecall serve h:6379 g"),
            ("rolecall redis://h", "rolecall serve redis://h"),
            ("rolecall --help", "rolecall --help"),
            ("rolecall diagnose h:1", "rolecall diagnose h:1"),
            ("rolecall serv", "rolecall serv"),
            ("rolecall redis-exporter -debug", "rolecall redis-exporter -debug"),
            ("/bin/redis_exporter -debug", "/bin/redis_exporter redis-exporter -debug"),
            ("redis_exporter", "redis_exporter redis-exporter"),
            ("./prometheus-redis-exporter", "./prometheus-redis-exporter redis-exporter"),
        ] {
            let found = with_command(arguments.split(' ').map(OsString::from).collect());
            assert_eq!(found.join(&OsString::from(" ")), OsString::from(expected));
            let is_valid = !["--help", "serv"].iter().any(|last| arguments.ends_with(last));
            assert_eq!(Cli::try_parse_from(found).is_ok(), is_valid, "{arguments}");
        }
    }

    #[test]
    fn debug_output_contains_no_password() {
        let cli = Cli::try_parse_from(["rolecall", "serve", "redis://:hunter2@127.0.0.1:6379"]);
        let text = format!("{:?}", cli.expect("valid arguments"));
        assert!(text.contains("urls: 1") && !text.contains("hunter2"), "{text}");
    }
}
