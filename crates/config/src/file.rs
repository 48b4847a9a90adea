//! The configuration file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use client::{Credentials, Password, Tls};
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
#[cfg(test)]
use serde_json::json;
use snapshot::Role;

use crate::access::TlsProfiles;
use crate::deployment::FileDeployment;
use crate::error::{KeyError, missing_key};
use crate::limits::FileConnectLimits;
use crate::values::{Part, connections_per_address, external_url};
use crate::{ConfigError, DEFAULT_LISTEN_ADDRESS, DeploymentSettings, Settings, location, preset};
use crate::{LATENCYSTATS_OF_REDIS_EXPORTER, LogFormat, LogLevel, MetricNames, MetricSet};

/// The prefix of environment variables. `__` separates a table from a key.
const PREFIX: &str = "ROLECALL_";

/// The configuration file.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConfigFile {
    /// File that keeps replication IDs, the last primary of each deployment and the evidence for it
    /// across restarts of the exporter, so that a failover during a restart is detected. Rolecall
    /// creates it, and beside it a file with the suffix `.lock`: a second exporter with the same
    /// state file does not start. Rolecall does not start either if it cannot write the lock file,
    /// unless the file system is read-only or hangs, or the folder does not exist: then it logs a
    /// warning. Without the key, no state is kept.
    #[cfg_attr(test, schemars(example = &"/var/lib/rolecall/state.json"))]
    #[cfg_attr(test, schemars(extend("x-type" = "path")))]
    state_file: Option<PathBuf>,
    /// Part of the deployments that this exporter polls: `1/3` is the first of three. All exporters
    /// have the same deployments in their files. Each deployment belongs to exactly one part, which
    /// depends only on its name. Without the key, the exporter polls all deployments.
    #[cfg_attr(test, schemars(example = &"1/3"))]
    part: Option<Part>,
    /// Address, URL and limits of the web server.
    #[cfg_attr(test, schemars(example = json!({ "external_url": "https://rolecall.example.com" })))]
    web: FileWeb,
    /// Metrics that are exposed.
    #[cfg_attr(test, schemars(example = json!({ "set": "core" })))]
    metrics: FileMetrics,
    /// Level and format of log lines.
    #[cfg_attr(test, schemars(example = json!({ "level": "debug" })))]
    log: FileLog,
    /// Limits of new connections to servers, of all deployments together.
    #[cfg_attr(test, schemars(example = json!({ "connections_per_second": 5000 })))]
    limits: FileConnectLimits,
    /// Deployments, at least one. Usually written as `[[deployment]]`.
    #[cfg_attr(test, schemars(example = json!([{
        "name": "orders",
        "nodes": [{ "url": "redis://10.0.0.5" }]
    }])))]
    deployment: Vec<FileDeployment>,
}

/// The table `web`.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileWeb {
    /// Address of the web server, `host:port`. `:9121` is port 9121 of all IPv4 and IPv6 addresses.
    #[cfg_attr(test, schemars(example = &"127.0.0.1:9121"))]
    #[cfg_attr(test, schemars(extend("x-default" = crate::DEFAULT_LISTEN_ADDRESS)))]
    listen_address: Option<String>,
    /// URL under which users reach the pages, if necessary with a path. Alerts link to the runbooks
    /// there. Without the key, they link to the repository.
    #[cfg_attr(test, schemars(example = &"https://rolecall.example.com", extend("x-type" = "URL")))]
    external_url: Option<String>,
    /// Limit of open connections to the web server from one client address, at most 1024, which is
    /// the limit of all addresses together. Clients behind a proxy share its address. Further
    /// connections are closed.
    #[cfg_attr(test, schemars(example = 512))]
    #[cfg_attr(test, schemars(extend("x-default" = crate::DEFAULT_CONNECTIONS_PER_ADDRESS)))]
    max_connections_per_address: Option<u32>,
}

/// The table `metrics`.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileMetrics {
    /// Metrics of `/metrics` without `collect[]`: `full` for all, or `core` for those that the
    /// alert rules and the dashboards Fleet and Deployment use, less than half of the series. The
    /// other dashboards need `full`.
    #[cfg_attr(test, schemars(example = &"core", extend("x-default" = "full")))]
    set: Option<MetricSet>,
    /// Names of the metrics on `/metrics` without `collect[]`: `native` for those of Rolecall,
    /// which `set` selects; `redis_exporter` for those of redis_exporter, with the labels
    /// `deployment` and `node`, besides the metrics of Rolecall itself; `both` for all of them.
    /// Responses with names of redis_exporter are in text format 0.0.4, and `cadence.latencystats`
    /// is `1m` by default.
    #[cfg_attr(test, schemars(example = &"both", extend("x-default" = "native")))]
    names: Option<MetricNames>,
}

/// The table `log`.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileLog {
    /// Lowest severity that is logged.
    #[cfg_attr(test, schemars(example = &"debug", extend("x-default" = "info")))]
    level: Option<LogLevel>,
    /// Format of log lines: `key=value` pairs or JSON.
    #[cfg_attr(test, schemars(example = &"json", extend("x-default" = "logfmt")))]
    format: Option<LogFormat>,
}

/// The text of a configuration file, and its name in messages.
struct Document {
    name: String,
    text: String,
}

/// Loads the file, if there is one, and applies the environment.
pub(crate) fn load(path: Option<&Path>) -> Result<Settings, ConfigError> {
    settings(&Document::read(path)?, path.is_some())
}

/// Parses the text of a file and applies the environment.
pub(crate) fn parse(name: &str, text: &str) -> Result<Settings, ConfigError> {
    settings(&Document::new(name.to_owned(), text.to_owned())?, true)
}

/// Returns the settings of a document. A file must define a deployment.
fn settings(document: &Document, is_file: bool) -> Result<Settings, ConfigError> {
    let file = document.parse()?;
    let is_empty = file.deployment.is_empty();
    let mut settings = file.settings().map_err(|error| document.error(&error))?;
    if is_file && is_empty {
        let message = format!("{}: define at least one [[deployment]]", missing_key("deployment"));
        return Err(document.error(&KeyError::at(["deployment"], message)));
    }
    settings.warnings = settings.deployments.iter().flat_map(warnings).collect();
    if let Some(part) =
        settings.part.as_ref().filter(|_| !is_empty && settings.deployments.is_empty())
    {
        settings
            .warnings
            .push(format!("part {part} contains no deployment: this exporter polls nothing"));
    }
    Ok(settings)
}

impl Document {
    /// Reads the file and checks its syntax. Without a file, the document is empty.
    fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Ok(Document { name: "configuration".to_owned(), text: String::new() });
        };
        let name = path.display().to_string();
        let text = files::read_to_string(path)
            .map_err(|error| ConfigError::new(&name, format!("cannot read the file: {error}")))?;
        Document::new(name, text)
    }

    /// Checks the syntax.
    fn new(name: String, text: String) -> Result<Self, ConfigError> {
        match location::syntax_error(&text) {
            Some(error) => Err(ConfigError::new(
                format!("{name}:{}", error.line),
                format!("invalid TOML: {}", error.message),
            )),
            None => Ok(Document { name, text }),
        }
    }

    /// Parses the document and applies the environment.
    fn parse(&self) -> Result<ConfigFile, ConfigError> {
        let layers =
            Figment::from(Toml::string(&self.text)).merge(Env::prefixed(PREFIX).split("__"));
        layers.extract().map_err(|error| {
            let is_from_environment = error
                .metadata
                .as_ref()
                .is_some_and(|metadata| metadata.name.contains("environment"));
            let error = KeyError::from_figment(&error);
            if is_from_environment {
                let variable = format!("{PREFIX}{}", error.path.join("__").to_uppercase());
                ConfigError::new(variable, error.message)
            } else {
                self.error(&error)
            }
        })
    }

    /// Adds the file and line to an error.
    fn error(&self, KeyError { path, message }: &KeyError) -> ConfigError {
        let line = location::line(&self.text, path).map(|line| format!(":{line}"));
        let location = format!("{}{}: {}", self.name, line.unwrap_or_default(), path.join("."));
        ConfigError::new(location, message)
    }
}

impl ConfigFile {
    fn settings(self) -> Result<Settings, KeyError> {
        let external_url = self.web.external_url.as_deref().map(external_url).transpose();
        let connections = self.web.max_connections_per_address;
        let metric_names = self.metrics.names.unwrap_or(MetricNames::Native);
        let mut deployments = deployments(self.deployment, self.part)?;
        if metric_names.has_redis_exporter() {
            for settings in &mut deployments {
                settings.cadences.latencystats.get_or_insert(LATENCYSTATS_OF_REDIS_EXPORTER);
            }
        }
        Ok(Settings {
            deployments,
            external_url: external_url
                .map_err(|message| KeyError::at(["web", "external_url"], message))?,
            listen_address: self
                .web
                .listen_address
                .unwrap_or_else(|| DEFAULT_LISTEN_ADDRESS.to_owned()),
            max_connections_per_address: connections_per_address(connections)
                .map_err(|message| KeyError::at(["web", "max_connections_per_address"], message))?,
            metric_set: self.metrics.set.unwrap_or(MetricSet::Full),
            metric_names,
            connect_limits: self.limits.build().map_err(|error| error.under("limits"))?,
            log_level: self.log.level.unwrap_or(LogLevel::Info),
            log_format: self.log.format.unwrap_or(LogFormat::Logfmt),
            state_file: self.state_file,
            part: self.part.map(|part| part.to_string()),
            scrape: None,
            warnings: Vec::new(),
        })
    }
}

/// Builds the deployments and keeps those that belong to the part.
fn deployments(
    tables: Vec<FileDeployment>,
    part: Option<Part>,
) -> Result<Vec<DeploymentSettings>, KeyError> {
    let mut deployments: Vec<DeploymentSettings> = Vec::new();
    let (profiles, mut names) = (TlsProfiles::default(), HashSet::new());
    for (index, table) in tables.into_iter().enumerate() {
        let locate = |error: KeyError| error.under(index).under("deployment");
        if !names.insert(table.name.clone()) {
            let message = format!("duplicate deployment name {:?}", table.name);
            return Err(locate(KeyError::at(["name"], message)));
        }
        deployments.push(table.build(part, &profiles).map_err(locate)?);
    }
    // Settings that cover all masters become several deployments. Each of these has its own part.
    deployments.retain(|settings| {
        settings.covers_all_masters()
            || part.is_none_or(|part| part.contains(&settings.deployment.name))
    });
    Ok(deployments)
}

/// Returns messages about valid settings that are probably mistakes.
fn warnings(settings: &DeploymentSettings) -> Vec<String> {
    let DeploymentSettings { deployment, endpoints, discovery, .. } = settings;
    let mut warnings = Vec::new();
    if deployment.down_after <= deployment.interval {
        warnings.push(
            "down_after is not longer than the interval, so one missed poll marks a node down"
                .to_owned(),
        );
    }
    let nodes = endpoints.len();
    if let Some(replicas) = deployment.expect.replicas
        && discovery.is_none()
        && replicas as usize >= nodes
    {
        warnings.push(format!(
            "expect.replicas is {replicas}, which is not less than the number of nodes, {nodes}"
        ));
    }
    let is_master = |role: Option<Role>| role == Some(Role::Master);
    if deployment.nodes.values().filter(|node| is_master(node.expected_role)).count() > 1 {
        warnings.push("more than one node has role = \"master\"".to_owned());
    }
    if sends_inline_password_without_tls(settings) {
        warnings.push(
            "a password is part of the configuration and is sent without TLS: \
             use password_file or TLS"
                .to_owned(),
        );
    }
    warnings.extend(preset::warnings(settings));
    let name = &deployment.name;
    warnings.into_iter().map(|warning| format!("deployment {name}: {warning}")).collect()
}

/// Returns true if a server without TLS has a password that the configuration contains.
fn sends_inline_password_without_tls(settings: &DeploymentSettings) -> bool {
    accesses(settings).any(|(tls, credentials)| {
        tls.is_none() && matches!(credentials.password, Some(Password::Inline(_)))
    })
}

/// Returns TLS and credentials of all servers of a deployment: configured, endpoints, discovered.
pub(crate) fn accesses(
    settings: &DeploymentSettings,
) -> impl Iterator<Item = (&Option<Tls>, &Credentials)> {
    let DeploymentSettings { endpoints, service_endpoints, discovery, .. } = settings;
    let configured =
        endpoints.iter().chain(service_endpoints.iter().map(|service| &service.endpoint));
    let configured = configured.map(|endpoint| (&endpoint.tls, &endpoint.credentials));
    let discovered = discovery.iter().map(|discovery| (&discovery.tls, &discovery.credentials));
    configured.chain(discovered)
}
