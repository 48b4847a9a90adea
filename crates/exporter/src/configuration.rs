//! Source of the configuration of the daemon, which reads it at the start and at each reload.

use std::path::Path;

use config::Settings;

use crate::cli::Serve;
use crate::redis_exporter::WebOptions;
use crate::redis_exporter::flags::Flags;
use crate::web_security::WebSecurity;

/// Source of the configuration.
#[derive(Debug)]
pub(crate) enum Configuration {
    /// Flags of `rolecall serve`, and the file or URLs that they name.
    Rolecall(Serve),
    /// Flags of redis_exporter.
    RedisExporter(Flags),
}

/// Configuration that was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) security: WebSecurity,
    /// Options of the web server in the mode of redis_exporter; `None` in the normal mode.
    pub(crate) web_options: Option<WebOptions>,
}

impl Configuration {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Fails with the first problem.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        Ok(match self {
            Configuration::Rolecall(serve) => Loaded {
                settings: Settings::load(serve.nodes.source(), serve.overrides())?,
                security: WebSecurity::open(serve.web_config_file.as_deref())?,
                web_options: None,
            },
            Configuration::RedisExporter(flags) => Loaded {
                settings: flags.settings()?,
                security: flags.web_security()?,
                web_options: Some(flags.web_options()?),
            },
        })
    }

    /// Returns the directory for recordings of rounds.
    pub(crate) fn record_rounds(&self) -> Option<&Path> {
        match self {
            Configuration::Rolecall(serve) => serve.record_rounds.as_deref(),
            Configuration::RedisExporter(_) => None,
        }
    }

    /// Returns whether POST `/-/reload` is enabled. redis_exporter always has this endpoint.
    pub(crate) fn enables_lifecycle(&self) -> bool {
        match self {
            Configuration::Rolecall(serve) => serve.enable_lifecycle,
            Configuration::RedisExporter(_) => true,
        }
    }
}
