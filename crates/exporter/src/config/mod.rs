//! The configuration: what was written becomes what is used. The one place where the environment is read.
//!
//! Layers, each over the one before: defaults, the file, `ROLECALL_...__...` in the environment, flags.

mod address;
mod effective;
mod error;
mod file;
mod passwords;
mod place;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::{Credentials, Endpoint, Password};
use topology::{Deployment, Kind};

use crate::cli::{LogFormat, LogLevel, Nodes, Serve};

pub(crate) use address::address_of;
pub use error::ConfigError;

/// The configuration as it is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen_address: String,
    /// How much to log.
    pub log_level: LogLevel,
    /// How to log.
    pub log_format: LogFormat,
    /// Where to keep what a restart of the exporter should not lose.
    pub state_file: Option<PathBuf>,
    /// Which of several exporters this is, `1/3` for example; only its share of the deployments is in here.
    pub part: Option<String>,
    /// The deployments, in the order of the file.
    pub deployments: Vec<DeploymentSettings>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<String>,
}

/// One deployment as it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentSettings {
    /// Names, labels and expectations.
    pub deployment: Arc<Deployment>,
    /// Where its nodes are, in the order of the deployment's nodes.
    pub endpoints: Vec<Endpoint>,
    /// How long a round waits for an answer.
    pub deadline: Duration,
    /// How often what is beside INFO is read.
    pub cadences: Cadences,
    /// CONFIG parameters that the configuration declares, for servers that do not tell them.
    pub assumed: BTreeMap<String, String>,
}

/// Times between two readings of what is beside INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadences {
    /// Statistics by command, while nothing moves.
    pub commands: Duration,
    /// The slow log.
    pub slowlog: Duration,
    /// CONFIG parameters.
    pub config: Duration,
    /// Times by command, which cost the server as much as seven INFO; `None` is never.
    pub latencystats: Option<Duration>,
}

/// The smallest interval between rounds.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// The interval between rounds unless configured.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a round waits for an answer at most, unless configured.
const MAX_DEADLINE: Duration = Duration::from_secs(1);

/// How long a node must be silent to be down, unless configured. With long intervals it is three of them.
const DEFAULT_DOWN_AFTER: Duration = Duration::from_secs(3);

/// Where to listen, unless configured.
const DEFAULT_LISTEN_ADDRESS: &str = "0.0.0.0:9121";

impl Default for Cadences {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Cadences { commands: seconds(10), slowlog: seconds(10), config: seconds(60), latencystats: None }
    }
}

impl Settings {
    /// Puts the layers together: the file or the nodes on the command line, the environment, and flags.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(arguments: &Serve) -> Result<Self, ConfigError> {
        let mut settings = Self::of(&arguments.nodes)?;
        if let Some(address) = &arguments.listen_address {
            settings.listen_address.clone_from(address);
        }
        settings.log_level = arguments.log_level.unwrap_or(settings.log_level);
        settings.log_format = arguments.log_format.unwrap_or(settings.log_format);
        Ok(settings)
    }

    /// The file or the nodes on the command line, with the environment.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn of(nodes: &Nodes) -> Result<Self, ConfigError> {
        let mut settings = file::load(nodes.config_file.as_deref())?;
        if nodes.config_file.is_none() {
            let (place, urls) = match environment("REDIS_ADDR").filter(|_| nodes.urls.is_empty()) {
                Some(url) => ("REDIS_ADDR", vec![url]),
                None if nodes.urls.is_empty() => ("default", vec!["redis://localhost:6379".to_owned()]),
                None => ("command line", nodes.urls.clone()),
            };
            settings.deployments = vec![from_urls(place, &urls)?];
        }
        Ok(settings)
    }

    /// Reads a file, with the environment over it, as [`Settings::load`] does.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(path: &Path) -> Result<Self, ConfigError> {
        file::load(Some(path))
    }

    /// The configuration as it is used, in TOML, without secrets.
    pub fn effective(&self) -> String {
        effective::write(self)
    }
}

fn from_urls(place: &str, urls: &[String]) -> Result<DeploymentSettings, ConfigError> {
    let others = Credentials {
        username: environment("REDIS_USER"),
        password: environment("REDIS_PASSWORD").map(|text| Password::Given(text.into())),
    };
    let passwords = passwords::load(environment("REDIS_PASSWORD_FILE").as_deref())?;
    let mut builder = Builder::new(Deployment::new("default", Kind::Static, &[], DEFAULT_INTERVAL, DEFAULT_DOWN_AFTER));
    for url in urls {
        let mut endpoint = address::parse(url, &others, None).map_err(|problem| ConfigError::new(place, problem))?;
        if endpoint.credentials.password.is_none() {
            endpoint.credentials.password = passwords.of(&endpoint);
        }
        builder.add(None, endpoint, None).map_err(|problem| ConfigError::new(place, problem))?;
    }
    Ok(builder.build())
}

/// Puts a deployment together, node by node.
struct Builder {
    deployment: Deployment,
    endpoints: Vec<Endpoint>,
    deadline: Option<Duration>,
    cadences: Cadences,
    assumed: BTreeMap<String, String>,
}

impl Builder {
    fn new(deployment: Deployment) -> Self {
        Builder { deployment, endpoints: Vec::new(), deadline: None, cadences: Cadences::default(), assumed: BTreeMap::new() }
    }

    fn add(&mut self, name: Option<String>, endpoint: Endpoint, role: Option<snapshot::Role>) -> Result<(), String> {
        let name = name.unwrap_or_else(|| endpoint.to_string());
        if self.deployment.nodes.iter().any(|node| node.name == name) {
            return Err(format!("found the node {name:?} twice, accepted are nodes with different addresses or names"));
        }
        self.deployment.add(name, endpoint.to_string(), role);
        self.endpoints.push(endpoint);
        Ok(())
    }

    fn build(self) -> DeploymentSettings {
        let interval = self.deployment.interval;
        DeploymentSettings {
            deadline: self.deadline.unwrap_or(MAX_DEADLINE.min(interval.mul_f64(0.8))),
            deployment: Arc::new(self.deployment),
            endpoints: self.endpoints,
            cadences: self.cadences,
            assumed: self.assumed,
        }
    }
}

/// A variable of the environment that is set to something.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
