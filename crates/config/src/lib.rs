//! The configuration: what was written becomes what is used. The one place where the environment is read.
//!
//! Layers, each over the one before: defaults, the file, `ROLECALL_...__...` in the environment, flags.

mod access;
mod address;
mod deployment;
mod discovery;
mod dns;
mod effective;
mod endpoints;
mod error;
mod expect;
mod file;
mod location;
mod log;
mod passwords;
mod sentinels;
mod values;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::{Address, Credentials, Endpoint, Password, Tls, Trust};
use topology::{Deployment, DeploymentKind, EndpointKind, NodeKind};

pub use address::address_of;
pub use error::ConfigError;
pub use log::{LogFormat, LogLevel};
pub(crate) use values::Part;

/// Origin of the configuration.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A configuration file.
    File(&'a Path),
    /// URLs of nodes or Sentinels from the command line. If empty: `REDIS_ADDR`, else
    /// `redis://localhost:6379`.
    Urls(&'a [String]),
}

/// Flags that override keys of the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides<'a> {
    /// Overrides `web.listen_address`.
    pub listen_address: Option<&'a str>,
    /// Overrides `web.external_url`.
    pub external_url: Option<&'a str>,
    /// Overrides `log.level`.
    pub log_level: Option<LogLevel>,
    /// Overrides `log.format`.
    pub log_format: Option<LogFormat>,
}

/// The configuration as it is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen_address: String,
    /// Where people reach the pages, without a slash at the end.
    pub external_url: Option<String>,
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
    /// Where the nodes are that are listed, in the order of the deployment's nodes.
    pub endpoints: Vec<Endpoint>,
    /// Where the nodes that are listed keep their data on this machine, in their order.
    pub data_dirs: Vec<Option<PathBuf>>,
    /// The endpoints that applications use, which are checked beside the rounds.
    pub checked: Vec<(EndpointKind, Endpoint)>,
    /// Time between two checks of one of them.
    pub check_interval: Duration,
    /// How to reach the nodes that are found, if such there are.
    pub found: Option<Found>,
    /// How long a round waits for an answer.
    pub deadline: Duration,
    /// How often what is beside INFO is read.
    pub cadences: Cadences,
    /// CONFIG parameters that the configuration declares, for servers that do not tell them.
    pub assumed: BTreeMap<String, String>,
}

/// How to reach nodes that others name.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Who we are to them.
    pub credentials: Credentials,
    /// How TLS is spoken to them.
    pub tls: Option<Tls>,
    /// Where they may be.
    pub trust: Arc<Trust>,
    /// `trust`, as it was written.
    pub trusted: Vec<String>,
    /// Of which masters it is.
    pub(crate) masters: Masters,
    /// Names whose addresses are the nodes, and the ports of those.
    pub names: Vec<(String, u16)>,
}

/// Of which masters a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Masters {
    /// Of the one that is named.
    One,
    /// It stands for deployments of all masters that the Sentinels watch; those in this part are for this exporter.
    Every(Option<Part>),
}

/// What stands for the name of a master in that of a deployment.
const MASTER: &str = "{master}";

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
    /// Names whose addresses are the nodes.
    pub dns: Duration,
}

/// The smallest interval between rounds.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// The smallest time between two look-ups of a name.
const MIN_DNS: Duration = Duration::from_secs(1);

/// The interval between rounds unless configured.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a round waits for an answer at most, unless configured.
const MAX_DEADLINE: Duration = Duration::from_secs(1);

/// How long a node must be silent to be down, unless configured. With long intervals it is three of them.
const DEFAULT_DOWN_AFTER: Duration = Duration::from_secs(3);

/// Time between two checks of an endpoint.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Where to listen, unless configured.
const DEFAULT_LISTEN_ADDRESS: &str = "0.0.0.0:9121";

impl Default for Cadences {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Cadences {
            commands: seconds(10),
            slowlog: seconds(10),
            config: seconds(60),
            latencystats: None,
            dns: seconds(10),
        }
    }
}

impl DeploymentSettings {
    /// Where its Sentinels are, in the order of the deployment's nodes.
    pub fn sentinels(&self) -> impl Iterator<Item = &Endpoint> {
        self.deployment.sentinels().filter_map(|place| self.endpoints.get(place))
    }

    /// The name by which its Sentinels know the master; empty without Sentinels.
    pub fn master(&self) -> &str {
        self.deployment.discovery.as_ref().map_or("", |discovery| &discovery.master)
    }

    /// Its Sentinels whose own series appear under it.
    pub fn shown_sentinels(&self) -> impl Iterator<Item = &Endpoint> {
        let shown = |place: &usize| {
            self.deployment.nodes[*place].kind == NodeKind::Sentinel { shown: true }
        };
        self.deployment.sentinels().filter(shown).filter_map(|place| self.endpoints.get(place))
    }

    /// Another deployment is of one of the masters that this one stands for.
    pub fn stands_for(&self, other: &Self) -> bool {
        self.of_every_master()
            && !other.master().is_empty()
            && self.deployment.name.replace(MASTER, other.master()) == other.deployment.name
    }

    /// It stands for all masters that its Sentinels watch.
    pub fn of_every_master(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.masters != Masters::One)
    }

    /// How to reach the node at a place and an address; `None` when it is nowhere to be reached: a name stands for its addresses alone.
    pub fn endpoint(&self, place: usize, address: &str) -> Option<Endpoint> {
        if let Some(listed) = self.endpoints.get(place) {
            return Some(listed.clone());
        }
        let found = self.found.as_ref()?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_matches(['[', ']']);
        if self.deployment.kind == DeploymentKind::Dns && host.parse::<IpAddr>().is_err() {
            return None;
        }
        let address = Address::Tcp { host: host.to_owned(), port: port.parse().ok()? };
        Some(Endpoint {
            address,
            credentials: found.credentials.clone(),
            tls: found.tls.clone(),
            trust: Some(Arc::clone(&found.trust)),
        })
    }

    /// The deployment of one master, of settings that are for all that the Sentinels watch; `None` when it is not for this exporter.
    pub fn of_master(&self, master: &str) -> Option<Self> {
        let name = self.deployment.name.replace(MASTER, master);
        match self.found.as_ref()?.masters {
            Masters::Every(part) if part.is_none_or(|part| part.has(&name)) => {}
            _ => return None,
        }
        let mut settings = self.clone();
        Arc::make_mut(&mut settings.deployment).become_of(&name, master);
        settings.found.as_mut()?.masters = Masters::One;
        Some(settings)
    }
}

impl Settings {
    /// Puts the layers together: the file or the nodes on the command line, the environment, and flags.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(source: Source<'_>, overrides: Overrides<'_>) -> Result<Self, ConfigError> {
        let mut settings = Self::from_source(source)?;
        if let Some(address) = overrides.listen_address {
            address.clone_into(&mut settings.listen_address);
        }
        if let Some(url) = overrides.external_url {
            settings.external_url = Some(
                values::external_url(url)
                    .map_err(|problem| ConfigError::new("--web.external-url", problem))?,
            );
        }
        settings.log_level = overrides.log_level.unwrap_or(settings.log_level);
        settings.log_format = overrides.log_format.unwrap_or(settings.log_format);
        Ok(settings)
    }

    /// The file or the nodes on the command line, with the environment.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_source(source: Source<'_>) -> Result<Self, ConfigError> {
        let urls = match source {
            Source::File(path) => return file::load(Some(path)),
            Source::Urls(urls) => urls,
        };
        let mut settings = file::load(None)?;
        let (place, urls) = match environment("REDIS_ADDR").filter(|_| urls.is_empty()) {
            Some(url) => ("REDIS_ADDR", vec![url]),
            None if urls.is_empty() => ("default", vec!["redis://localhost:6379".to_owned()]),
            None => ("command line", urls.to_vec()),
        };
        settings.deployments = vec![from_urls(place, &urls)?];
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
        password: environment("REDIS_PASSWORD").map(|text| Password::Inline(text.into())),
    };
    let passwords = passwords::load(environment("REDIS_PASSWORD_FILE").as_deref())?;
    let of_kind = |kind| {
        Builder::new(Deployment::new("default", kind, &[], DEFAULT_INTERVAL, DEFAULT_DOWN_AFTER))
    };
    if urls.iter().any(|url| sentinels::is_sentinel(url)) {
        if !urls.iter().all(|url| sentinels::is_sentinel(url)) {
            return Err(ConfigError::new(
                place,
                "found Sentinels and nodes, accepted is one of them: Sentinels name the nodes",
            ));
        }
        let mut settings = sentinels::from_urls(urls, others, of_kind(DeploymentKind::Sentinel))
            .map_err(|problem| ConfigError::new(place, problem))?;
        for endpoint in
            settings.endpoints.iter_mut().filter(|endpoint| endpoint.credentials.password.is_none())
        {
            endpoint.credentials.password = passwords.of(endpoint);
        }
        return Ok(settings);
    }
    let mut builder = of_kind(DeploymentKind::Static);
    for url in urls {
        let mut endpoint = address::parse(url, &others, None)
            .map_err(|problem| ConfigError::new(place, problem))?;
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
    data_dirs: Vec<Option<PathBuf>>,
    deadline: Option<Duration>,
    cadences: Cadences,
    assumed: BTreeMap<String, String>,
    checked: Vec<(EndpointKind, Endpoint)>,
    found: Option<Found>,
}

impl Builder {
    fn new(deployment: Deployment) -> Self {
        let (endpoints, checked, assumed) = (Vec::new(), Vec::new(), BTreeMap::new());
        Builder {
            deployment,
            endpoints,
            data_dirs: Vec::new(),
            deadline: None,
            cadences: Cadences::default(),
            assumed,
            checked,
            found: None,
        }
    }

    fn add(
        &mut self,
        name: Option<String>,
        endpoint: Endpoint,
        role: Option<snapshot::Role>,
    ) -> Result<(), String> {
        let name = self.unique(name, &endpoint)?;
        self.deployment.add(name, endpoint.to_string(), role);
        self.endpoints.push(endpoint);
        Ok(())
    }

    fn add_sentinel(&mut self, name: Option<String>, endpoint: Endpoint) -> Result<(), String> {
        let name = self.unique(name, &endpoint)?;
        self.deployment.add_sentinel(name, endpoint.to_string(), true);
        self.endpoints.push(endpoint);
        Ok(())
    }

    fn unique(&self, name: Option<String>, endpoint: &Endpoint) -> Result<String, String> {
        let name = name.unwrap_or_else(|| endpoint.to_string());
        if self.deployment.nodes.iter().any(|node| node.name == name) {
            return Err(format!(
                "found the node {name:?} twice, accepted are nodes with different addresses or names"
            ));
        }
        Ok(name)
    }

    fn build(self) -> DeploymentSettings {
        let interval = self.deployment.interval;
        DeploymentSettings {
            deadline: self.deadline.unwrap_or(MAX_DEADLINE.min(interval.mul_f64(0.8))),
            deployment: Arc::new(self.deployment),
            endpoints: self.endpoints,
            data_dirs: self.data_dirs,
            checked: self.checked,
            check_interval: CHECK_INTERVAL,
            found: self.found,
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
