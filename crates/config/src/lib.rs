//! The configuration: a file, the environment, flags and URLs become [`Settings`]. This crate is
//! the only one that reads the environment.
//!
//! Layers, each overriding the previous one: defaults, the configuration file, environment
//! variables `ROLECALL_TABLE__KEY`, flags.

mod access;
mod address;
mod builder;
mod cluster;
mod deployment;
mod discovery;
mod dns;
mod effective;
mod endpoints;
mod error;
mod expect;
mod file;
mod limits;
mod location;
mod log;
mod metric_names;
mod metric_set;
mod node_access;
mod nodes;
mod passwords;
mod preset;
mod redact;
mod redis_exporter;
#[cfg(test)]
mod reference;
mod sentinels;
mod timing;
mod urls;
mod values;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::{Address, Credentials, Endpoint, Tls, Trust};
use topology::{Deployment, DeploymentKind, EndpointKind, NodeKind};

pub use address::address_of;
pub use error::ConfigError;
pub use limits::ConnectLimits;
pub use log::{LogFormat, LogLevel};
pub use metric_names::MetricNames;
pub use metric_set::MetricSet;
pub use redis_exporter::{RedisExporterOptions, ScrapeAccess, ScrapeTarget};
pub use urls::{NAME as DEPLOYMENT_OF_URLS, variables};
use values::Part;

/// Origin of the configuration.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A configuration file.
    File(&'a Path),
    /// URLs of nodes or Sentinels from the command line. If there are none: `REDIS_ADDR`, else
    /// `redis://localhost:6379`. An empty `REDIS_ADDR` means no node.
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

/// The configuration with all defaults applied.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of the web server: `host:port` or `:port`.
    pub listen_address: String,
    /// URL under which users reach the pages, without a trailing slash.
    pub external_url: Option<String>,
    /// Limit of open connections to the web server from one client address.
    pub max_connections_per_address: u32,
    /// Metrics that a scrape exposes if it does not name any.
    pub metric_set: MetricSet,
    /// Names under which such a scrape exposes metrics.
    pub metric_names: MetricNames,
    /// Limits of new connections to servers.
    pub connect_limits: ConnectLimits,
    /// Lowest level that is logged.
    pub log_level: LogLevel,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// File that keeps state across restarts of the exporter.
    pub state_file: Option<PathBuf>,
    /// Part of the deployments that this exporter polls, for example `1/3`. `deployments` contains
    /// only this part.
    pub part: Option<String>,
    /// The deployments, in the order of the file.
    pub deployments: Vec<DeploymentSettings>,
    /// Access to the targets of `/scrape`; `None` if only configured nodes can be scraped.
    pub scrape: Option<ScrapeAccess>,
    /// Messages about valid settings that are probably mistakes.
    pub warnings: Vec<String>,
}

/// The settings of one deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentSettings {
    /// Names, labels and expectations.
    pub deployment: Arc<Deployment>,
    /// Name with `{master}` from which the name of this deployment was derived, if it is one of all
    /// masters of a group of Sentinels.
    pub group: Option<Arc<str>>,
    /// Addresses of the configured nodes and Sentinels, by node index.
    pub endpoints: Vec<Endpoint>,
    /// Data directories of the configured nodes on this machine, by node index.
    pub data_dirs: Vec<Option<PathBuf>>,
    /// Endpoints that applications use. They are checked independently of the rounds.
    pub service_endpoints: Vec<ServiceEndpointSettings>,
    /// Time between two checks of a service endpoint.
    pub check_interval: Duration,
    /// Access to discovered nodes. `None` for static deployments.
    pub discovery: Option<DiscoverySettings>,
    /// Longest time that a round waits for replies.
    pub deadline: Duration,
    /// Intervals of the commands other than INFO.
    pub cadences: Cadences,
    /// Values of CONFIG parameters for servers that refuse CONFIG GET.
    pub assumed: BTreeMap<String, String>,
}

/// An endpoint that applications use.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceEndpointSettings {
    /// Kind of node that applications expect there.
    pub kind: EndpointKind,
    /// Address and credentials.
    pub endpoint: Endpoint,
}

/// Access to the nodes that Sentinels, a cluster or DNS names report.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoverySettings {
    /// Credentials for discovered nodes.
    pub credentials: Credentials,
    /// TLS profile for discovered nodes. `None` without TLS.
    pub tls: Option<Tls>,
    /// Addresses to which the credentials may be sent.
    pub trust: Arc<Trust>,
    /// The entries of `trust` as configured.
    pub trusted: Vec<String>,
    /// Masters of the Sentinels that the settings apply to.
    pub(crate) masters: MasterSelection,
    /// DNS names whose addresses are the nodes.
    pub names: Vec<DnsName>,
}

/// A DNS name. Each of its addresses is a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsName {
    /// The name, or an IP address without brackets.
    pub host: String,
    /// Port of all nodes of this name.
    pub port: u16,
}

/// Masters of the Sentinels that settings apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MasterSelection {
    /// One master, which is named.
    One,
    /// All masters of the Sentinels that belong to this part of the deployments. Each becomes a
    /// deployment.
    All(Option<Part>),
}

/// Placeholder for the name of a master in the name of a deployment.
const MASTER_PLACEHOLDER: &str = "{master}";

/// Intervals of the commands other than INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadences {
    /// `INFO commandstats`, while nothing changes.
    pub commands: Duration,
    /// `SLOWLOG`.
    pub slowlog: Duration,
    /// `CONFIG GET`.
    pub config: Duration,
    /// `INFO latencystats`, which costs the server as much as seven INFO. `None`: never sent.
    pub latencystats: Option<Duration>,
    /// DNS lookups.
    pub dns: Duration,
}

/// The shortest allowed interval between rounds.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// The shortest allowed interval between DNS lookups.
const MIN_DNS_INTERVAL: Duration = Duration::from_secs(1);

/// The default interval between rounds.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// The upper limit of the default deadline.
const MAX_DEADLINE: Duration = Duration::from_secs(1);

/// The lower limit of the default `down_after`. With long intervals the default is three intervals.
const DEFAULT_DOWN_AFTER: Duration = Duration::from_secs(3);

/// The default interval of `INFO latencystats` if metrics have the names of redis_exporter, which
/// exposes latencies.
const LATENCYSTATS_OF_REDIS_EXPORTER: Duration = Duration::from_secs(60);

/// The limit of open connections to the web server.
pub const MAX_CONNECTIONS: u32 = 1024;

/// The default limit of open connections from one client address: a quarter of all.
const DEFAULT_CONNECTIONS_PER_ADDRESS: u32 = MAX_CONNECTIONS / 4;

/// The default address of the web server.
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
    /// Returns the addresses of the Sentinels, by node index.
    pub fn sentinels(&self) -> impl Iterator<Item = &Endpoint> {
        self.deployment.sentinels().filter_map(|index| self.endpoints.get(index.get()))
    }

    /// Returns the name of the master on the Sentinels. Empty without Sentinels.
    pub fn master(&self) -> &str {
        self.deployment.discovery.as_ref().map_or("", |discovery| &discovery.master)
    }

    /// Returns the Sentinels whose own series appear under this deployment.
    pub fn shown_sentinels(&self) -> impl Iterator<Item = &Endpoint> {
        let is_shown = |index: &topology::NodeIndex| {
            self.deployment.nodes[*index].kind == NodeKind::Sentinel { shown: true }
        };
        self.deployment
            .sentinels()
            .filter(is_shown)
            .filter_map(|index| self.endpoints.get(index.get()))
    }

    /// Returns whether `other` is the deployment of one of the masters that these settings cover.
    pub fn covers(&self, other: &Self) -> bool {
        self.covers_all_masters()
            && !other.master().is_empty()
            && self.deployment.name.replace(MASTER_PLACEHOLDER, other.master())
                == other.deployment.name
    }

    /// Returns whether these settings apply to all masters of the Sentinels (`{master}` in the
    /// name). [`DeploymentSettings::for_master`] derives the deployments.
    pub fn covers_all_masters(&self) -> bool {
        self.discovery.as_ref().is_some_and(|discovery| discovery.masters != MasterSelection::One)
    }

    /// Returns the address and credentials of a node. `address` is the `host:port` of a discovered
    /// node, or of a configured cluster node that moved. `None` if it cannot be reached: DNS
    /// deployments reach nodes by IP address only.
    pub fn endpoint(&self, index: usize, address: &str) -> Option<Endpoint> {
        let configured = self.endpoints.get(index);
        let has_moved = |configured: &Endpoint| {
            self.deployment.kind == DeploymentKind::Cluster && configured.to_string() != address
        };
        if let Some(configured) = configured.filter(|configured| !has_moved(configured)) {
            return Some(configured.clone());
        }
        let discovery = self.discovery.as_ref()?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_matches(['[', ']']);
        if self.deployment.kind == DeploymentKind::Dns && host.parse::<IpAddr>().is_err() {
            return None;
        }
        let address = Address::Tcp { host: host.to_owned(), port: port.parse().ok()? };
        let (credentials, tls) = configured
            .map_or((&discovery.credentials, &discovery.tls), |at| (&at.credentials, &at.tls));
        Some(Endpoint {
            address,
            credentials: credentials.clone(),
            tls: tls.clone(),
            trust: Some(Arc::clone(&discovery.trust)),
        })
    }

    /// Derives the deployment of one master from settings that apply to all masters. `None` if it
    /// belongs to another part, or if the settings apply to one master.
    pub fn for_master(&self, master: &str) -> Option<Self> {
        let name = self.deployment.name.replace(MASTER_PLACEHOLDER, master);
        match self.discovery.as_ref()?.masters {
            MasterSelection::All(part) if part.is_none_or(|part| part.contains(&name)) => {}
            _ => return None,
        }
        let mut settings = self.clone();
        settings.group = Some(self.deployment.name.as_str().into());
        Arc::make_mut(&mut settings.deployment).rename_for_master(&name, master);
        settings.discovery.as_mut()?.masters = MasterSelection::One;
        Some(settings)
    }
}

impl Settings {
    /// Loads the configuration file or the nodes on the command line, then applies the environment
    /// and the flags.
    ///
    /// # Errors
    /// The first error in the configuration.
    pub fn load(source: Source<'_>, overrides: Overrides<'_>) -> Result<Self, ConfigError> {
        let mut settings = Self::from_source(source)?;
        if let Some(address) = overrides.listen_address {
            address.clone_into(&mut settings.listen_address);
        }
        if let Some(url) = overrides.external_url {
            settings.external_url = Some(
                values::external_url(url)
                    .map_err(|message| ConfigError::new("--web.external-url", message))?,
            );
        }
        settings.log_level = overrides.log_level.unwrap_or(settings.log_level);
        settings.log_format = overrides.log_format.unwrap_or(settings.log_format);
        Ok(settings)
    }

    /// Loads the configuration file or the nodes on the command line, then applies the environment.
    ///
    /// # Errors
    /// The first error in the configuration.
    pub fn from_source(source: Source<'_>) -> Result<Self, ConfigError> {
        match source {
            Source::File(path) => file::load(Some(path)),
            Source::Urls(urls) => {
                let mut settings = file::load(None)?;
                settings.deployments = urls::load(urls)?.into_iter().collect();
                Ok(settings)
            }
        }
    }

    /// Loads a configuration file and applies the environment.
    ///
    /// # Errors
    /// The first error in the configuration.
    pub fn check(path: &Path) -> Result<Self, ConfigError> {
        file::load(Some(path))
    }

    /// Parses the text of a configuration file and applies the environment. `name` is the name of
    /// the file in messages.
    ///
    /// # Errors
    /// The first error in the configuration.
    ///
    /// ```
    /// use config::Settings;
    ///
    /// let error = Settings::parse("rolecall.toml", "port = 1").expect_err("no such key");
    /// assert!(error.to_string().starts_with("rolecall.toml:1: port: unknown field \"port\""));
    /// ```
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        file::parse(name, text)
    }

    /// Returns the configuration with all defaults as TOML, without secrets.
    pub fn effective(&self) -> String {
        effective::to_toml(self)
    }
}
