//! The configuration: what was written becomes what is used. The one place where the environment is read.

mod address;
mod file;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::{Credentials, Endpoint};
use topology::{Deployment, Kind};

/// The configuration as it is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The deployments, in the order of the file.
    pub deployments: Vec<DeploymentSettings>,
}

/// One deployment as it is used.
#[derive(Debug, Clone)]
pub struct DeploymentSettings {
    /// Names, labels and expectations.
    pub deployment: Arc<Deployment>,
    /// Where its nodes are, in the order of the deployment's nodes.
    pub endpoints: Vec<Endpoint>,
    /// How long a round waits for an answer.
    pub deadline: Duration,
    /// Read the times by command, which costs the server as much as five INFO.
    pub latencystats: bool,
}

/// What is wrong with the configuration: where, what was found, and what is accepted. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    place: String,
    problem: String,
}

/// The smallest interval between rounds.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// The interval between rounds unless configured.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a node must be silent to be down, unless configured. With long intervals it is three of them.
const DEFAULT_DOWN_AFTER: Duration = Duration::from_secs(3);

impl Settings {
    /// Reads the file, or takes the URLs, or does without either.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(file: Option<&Path>, urls: &[String]) -> Result<Self, ConfigError> {
        match file {
            Some(path) => file::load(path),
            None if urls.is_empty() => {
                Self::from_urls("REDIS_ADDR", &[environment("REDIS_ADDR").unwrap_or("redis://localhost:6379".into())])
            }
            None => Self::from_urls("command line", urls),
        }
    }

    fn from_urls(place: &str, urls: &[String]) -> Result<Self, ConfigError> {
        let mut builder = Builder::new("default", &[], DEFAULT_INTERVAL, None);
        for url in urls {
            let endpoint = address::parse(url, &Credentials::from_environment()).map_err(|problem| ConfigError::new(place, problem))?;
            builder.add(None, endpoint, None).map_err(|problem| ConfigError::new(place, problem))?;
        }
        Ok(Settings { deployments: vec![builder.build()] })
    }
}

impl ConfigError {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        ConfigError { place: place.into(), problem: problem.into() }
    }
}

/// Puts a deployment together, node by node.
struct Builder {
    deployment: Deployment,
    endpoints: Vec<Endpoint>,
    latencystats: bool,
}

impl Builder {
    fn new(name: &str, labels: &[(String, String)], interval: Duration, down_after: Option<Duration>) -> Self {
        let down_after = down_after.unwrap_or(DEFAULT_DOWN_AFTER.max(interval * 3));
        Builder {
            deployment: Deployment::new(name, Kind::Static, labels, interval, down_after),
            endpoints: Vec::new(),
            latencystats: false,
        }
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
            deadline: Duration::from_secs(1).min(interval.mul_f64(0.8)),
            deployment: Arc::new(self.deployment),
            endpoints: self.endpoints,
            latencystats: self.latencystats,
        }
    }
}

/// The address in a URL or in `host:port`, as it names a node; `None` when it is neither.
pub(crate) fn address_of(text: &str) -> Option<String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("redis://{text}") };
    address::parse(&url, &Credentials::default()).ok().map(|endpoint| endpoint.to_string())
}

/// Credentials that stand outside the URL.
trait FromEnvironment {
    fn from_environment() -> Self;
}

impl FromEnvironment for Credentials {
    fn from_environment() -> Self {
        Credentials { username: environment("REDIS_USER"), password: environment("REDIS_PASSWORD").map(Into::into) }
    }
}

/// A variable of the environment that is set to something.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
