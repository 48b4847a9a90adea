//! The configuration file: what may be written in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Credentials, Password, Tls, TlsSettings};
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
use snapshot::Role;
use topology::{AofExpectation, Deployment, Expectations, Kind};

use super::endpoints::FileEndpoints;
use super::error::{Problem, at, of_figment, under};
use super::found::{FileServer, Finding};
use super::sentinels::{Scheme, Sentinels};
use super::values::{Date, Part, SecretText, Span, external_url};
use super::{
    Builder, Cadences, ConfigError, DEFAULT_DOWN_AFTER, DEFAULT_INTERVAL, DEFAULT_LISTEN_ADDRESS, DeploymentSettings, MIN_DNS,
    MIN_INTERVAL, Masters, Settings, address, dns, place,
};
use crate::cli::{LogFormat, LogLevel};
use crate::rounds::PARAMETERS;

/// The prefix of our variables in the environment; `__` stands for the dot between two keys.
const PREFIX: &str = "ROLECALL_";

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Document {
    state_file: Option<PathBuf>,
    part: Option<Part>,
    web: Web,
    log: Log,
    deployment: Vec<FileDeployment>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Web {
    listen_address: Option<String>,
    external_url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Log {
    level: Option<LogLevel>,
    format: Option<LogFormat>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDeployment {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    nodes: Vec<FileNode>,
    #[serde(default)]
    sentinels: Vec<FileServer>,
    #[serde(default)]
    cluster: Vec<FileServer>,
    #[serde(default)]
    dns: Vec<FileServer>,
    master_name: Option<String>,
    sentinel_username: Option<String>,
    sentinel_password: Option<SecretText>,
    sentinel_password_file: Option<PathBuf>,
    sentinel_tls: Option<FileTls>,
    scheme: Option<Scheme>,
    node_name: Option<String>,
    trust: Option<Vec<String>>,
    ghost_after: Option<Span>,
    forget_after: Option<Span>,
    username: Option<String>,
    password: Option<SecretText>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    tls: FileTls,
    preset: Option<Preset>,
    interval: Option<Span>,
    deadline: Option<Span>,
    down_after: Option<Span>,
    #[serde(default)]
    cadence: FileCadence,
    #[serde(default)]
    expect: FileExpect,
    #[serde(default)]
    endpoints: FileEndpoints,
    #[serde(default)]
    assume: BTreeMap<String, String>,
    #[serde(default)]
    address_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNode {
    url: String,
    name: Option<String>,
    role: Option<FileRole>,
    #[serde(default)]
    aliases: Vec<String>,
    data_dir: Option<PathBuf>,
    username: Option<String>,
    password: Option<SecretText>,
    password_file: Option<PathBuf>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileTls {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    insecure_skip_verify: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileCadence {
    commands: Option<Span>,
    slowlog: Option<Span>,
    config: Option<Span>,
    latencystats: Option<Span>,
    dns: Option<Span>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileExpect {
    replicas: Option<u32>,
    masters: Option<u32>,
    primary: Option<FilePrimary>,
    aof: Option<FileAof>,
    until: Option<Date>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum FileRole {
    Master,
    Replica,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum FileAof {
    All,
    Replicas,
    None,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum FilePrimary {
    External,
}

/// Settings that go together.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Preset {
    /// For services that bill per command.
    Managed,
}

/// Reads the file, if there is one, and the environment over it.
pub(super) fn load(path: Option<&Path>) -> Result<Settings, ConfigError> {
    let name = path.map(|path| path.display().to_string());
    let text = match (path, &name) {
        (Some(path), Some(name)) => {
            std::fs::read_to_string(path).map_err(|error| ConfigError::new(name, format!("cannot be read: {error}")))?
        }
        _ => String::new(),
    };
    let file_name = name.as_deref().unwrap_or("configuration");
    if let Some((line, problem)) = place::syntax(&text) {
        return Err(ConfigError::new(format!("{file_name}:{line}"), format!("found no TOML: {problem}")));
    }
    let in_file = |(path, problem): Problem| {
        let line = place::line(&text, &path).map(|line| format!(":{line}")).unwrap_or_default();
        ConfigError::new(format!("{file_name}{line}: {}", path.join(".")), problem)
    };
    let layers = Figment::from(Toml::string(&text)).merge(Env::prefixed(PREFIX).split("__"));
    let file: Document = layers.extract().map_err(|error| {
        let (path, problem) = of_figment(&error);
        let from_environment = error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("environment"));
        if from_environment {
            ConfigError::new(format!("{PREFIX}{}", path.join("__").to_uppercase()), problem)
        } else {
            in_file((path, problem))
        }
    })?;
    let mut settings = file.settings().map_err(in_file)?;
    if path.is_some() && settings.deployments.is_empty() {
        return Err(in_file(at(["deployment"], "found none, accepted is at least one")));
    }
    settings.warnings = warnings(&settings);
    Ok(settings)
}

impl Document {
    fn settings(self) -> Result<Settings, Problem> {
        let mut deployments: Vec<DeploymentSettings> = Vec::new();
        for (place, deployment) in self.deployment.into_iter().enumerate() {
            let here = |problem| under("deployment", under(place, problem));
            if deployments.iter().any(|other| other.deployment.name == deployment.name) {
                let problem = format!("found {:?} twice, accepted are different names", deployment.name);
                return Err(here(at(["name"], problem)));
            }
            deployments.push(deployment.build(self.part).map_err(here)?);
        }
        // Of what stands for all masters, each has a part of its own.
        let is_ours = |settings: &DeploymentSettings| self.part.is_none_or(|part| part.has(&settings.deployment.name));
        deployments.retain(|settings| settings.of_every_master() || is_ours(settings));
        let external_url = self.web.external_url.as_deref().map(external_url).transpose();
        Ok(Settings {
            external_url: external_url.map_err(|problem| at(["web", "external_url"], problem))?,
            listen_address: self.web.listen_address.unwrap_or_else(|| DEFAULT_LISTEN_ADDRESS.to_owned()),
            log_level: self.log.level.unwrap_or(LogLevel::Info),
            log_format: self.log.format.unwrap_or(LogFormat::Logfmt),
            state_file: self.state_file,
            part: self.part.map(|part| part.to_string()),
            deployments,
            warnings: Vec::new(),
        })
    }
}

impl FileDeployment {
    fn build(mut self, part: Option<Part>) -> Result<DeploymentSettings, Problem> {
        let seconds = Duration::from_secs;
        let (interval, cadences) = match self.preset {
            Some(Preset::Managed) => {
                let cadences = Cadences { commands: seconds(60), slowlog: seconds(60), config: seconds(600), ..Cadences::default() };
                (seconds(15), cadences)
            }
            None => (DEFAULT_INTERVAL, Cadences::default()),
        };
        let interval = self.interval.map_or(interval, |span| span.0);
        at_least("interval", interval, MIN_INTERVAL)?;
        if self.name.is_empty() {
            return Err(at(["name"], "found an empty name, accepted is any other"));
        }
        let sentinels = self.sentinels()?;
        let labels: Vec<_> = std::mem::take(&mut self.labels).into_iter().collect();
        labels.iter().try_for_each(|(name, _)| label(name)).map_err(|problem| under("labels", problem))?;
        let down_after = self.down_after.map_or(DEFAULT_DOWN_AFTER.max(interval * 3), |span| span.0);
        let kind = match (&sentinels, self.cluster.is_empty(), self.dns.is_empty()) {
            (Some(_), _, _) => Kind::Sentinel,
            (None, false, _) => Kind::Cluster,
            (None, true, false) => Kind::Dns,
            (None, true, true) => Kind::Static,
        };
        match self.cadence.dns {
            Some(_) if kind != Kind::Dns => return Err(at(["cadence", "dns"], "found without dns, accepted is with dns")),
            Some(span) => at_least("dns", span.0, MIN_DNS).map_err(|problem| under("cadence", problem))?,
            None => {}
        }
        let mut builder = Builder::new(Deployment::new(&self.name, kind, &labels, interval, down_after));
        builder.deadline = self.deadline.map(|span| span.0);
        if builder.deadline.is_some_and(|deadline| deadline > interval) {
            return Err(at(["deadline"], format!("found more than the interval, accepted is up to {}", Span(interval))));
        }
        builder.cadences = std::mem::take(&mut self.cadence).over(cadences);
        builder.deployment.expect = std::mem::take(&mut self.expect).build().map_err(|problem| under("expect", problem))?;
        if let Some(parameter) = self.assume.keys().find(|parameter| !PARAMETERS.contains(&parameter.as_str())) {
            return Err(at(["assume", parameter], format!("found a parameter that is not read, accepted are {}", PARAMETERS.join(", "))));
        }
        builder.assumed = std::mem::take(&mut self.assume);
        let tls = std::mem::take(&mut self.tls).profile().map_err(|problem| under("tls", problem))?;
        let others = credentials(self.username.take(), self.password.take(), self.password_file.take(), &Credentials::default())?;
        if kind == Kind::Cluster {
            return self.of_cluster(builder, others, tls.as_ref());
        }
        if kind == Kind::Dns {
            let (listed, finding) = (std::mem::take(&mut self.dns), self.finding());
            return dns::add(listed, finding, self.endpoints, builder, &others, tls.as_ref());
        }
        for (place, node) in self.nodes.into_iter().enumerate() {
            node.add(&mut builder, &others, tls.as_ref()).map_err(|problem| under("nodes", under(place, problem)))?;
        }
        self.endpoints.add(&mut builder, &others, tls.as_ref()).map_err(|problem| under("endpoints", problem))?;
        if let Some(sentinels) = sentinels {
            return sentinels.add(builder, others, tls, part);
        }
        for (other, known) in &self.address_map {
            map(&mut builder.deployment, other, known).map_err(|problem| at(["address_map", other], problem))?;
        }
        Ok(builder.build())
    }
}

impl FileDeployment {
    /// What is said about Sentinels, if they are what is listed.
    fn sentinels(&mut self) -> Result<Option<Sentinels>, Problem> {
        let lists =
            [("nodes", self.nodes.len()), ("sentinels", self.sentinels.len()), ("cluster", self.cluster.len()), ("dns", self.dns.len())];
        let found: Vec<_> = lists.into_iter().filter(|(_, count)| *count > 0).map(|(key, _)| key).collect();
        match found[..] {
            [] => return Err(at(["nodes"], "found none, accepted is at least one, or sentinels, cluster or dns")),
            [_] => {}
            [one, other, ..] => return Err(at([one], format!("found {other} too, accepted is one of them"))),
        }
        let only = |keys: &[(&str, bool)], with: &str| {
            let found = keys.iter().find(|(_, found)| *found);
            found.map_or(Ok(()), |(key, _)| Err(at([*key], format!("found without {with}, accepted is with {with}"))))
        };
        if self.sentinels.is_empty() {
            let of_sentinels = [
                ("master_name", self.master_name.is_some()),
                ("sentinel_username", self.sentinel_username.is_some()),
                ("sentinel_password", self.sentinel_password.is_some()),
                ("sentinel_password_file", self.sentinel_password_file.is_some()),
                ("sentinel_tls", self.sentinel_tls.is_some()),
                ("scheme", self.scheme.is_some()),
            ];
            only(&of_sentinels, "sentinels")?;
            if self.cluster.is_empty() && self.dns.is_empty() {
                let of_found = [
                    ("node_name", self.node_name.is_some()),
                    ("trust", self.trust.is_some()),
                    ("ghost_after", self.ghost_after.is_some()),
                    ("forget_after", self.forget_after.is_some()),
                ];
                only(&of_found, "sentinels, cluster or dns")?;
            }
            return Ok(None);
        }
        let others = credentials(
            self.sentinel_username.take(),
            self.sentinel_password.take(),
            self.sentinel_password_file.take(),
            &Credentials::default(),
        );
        let others = others.map_err(|(path, problem)| {
            (path.into_iter().map(|key| format!("sentinel_{key}")).collect(), problem.replace("found password", "found sentinel_password"))
        })?;
        Ok(Some(Sentinels {
            listed: std::mem::take(&mut self.sentinels),
            name: self.name.clone(),
            master_name: self.master_name.take(),
            credentials: others,
            tls: self.sentinel_tls.take().unwrap_or_default(),
            scheme: self.scheme,
            finding: self.finding(),
        }))
    }

    /// What is said about nodes that are to be found.
    fn finding(&mut self) -> Finding {
        Finding {
            node_name: self.node_name.take(),
            trust: self.trust.take().unwrap_or_default(),
            ghost_after: self.ghost_after,
            forget_after: self.forget_after,
            address_map: std::mem::take(&mut self.address_map),
        }
    }

    /// The cluster of which some nodes are listed; the others are spoken to as they are.
    fn of_cluster(mut self, mut builder: Builder, credentials: Credentials, tls: Option<&Tls>) -> Result<DeploymentSettings, Problem> {
        if !self.endpoints.is_empty() {
            return Err(at(["endpoints"], "found with cluster, accepted is without: clients of a cluster ask any node"));
        }
        let mut of_others = None;
        for (place, seed) in std::mem::take(&mut self.cluster).into_iter().enumerate() {
            let here = |problem| under("cluster", under(place, problem));
            let (name, endpoint) = seed.endpoint(address::PORT, &credentials, tls).map_err(here)?;
            of_others = of_others.or_else(|| endpoint.tls.clone());
            builder.add(name, endpoint, None).map_err(|problem| here((vec![], problem)))?;
        }
        self.finding().add(&mut builder, String::new(), Masters::One, credentials, of_others, Vec::new())?;
        Ok(builder.build())
    }
}

impl FileNode {
    fn add(self, builder: &mut Builder, others: &Credentials, tls: Option<&Tls>) -> Result<(), Problem> {
        let credentials = credentials(self.username, self.password, self.password_file, others)?;
        let endpoint = address::parse(&self.url, &credentials, tls).map_err(|problem| at(["url"], problem))?;
        let known = endpoint.to_string();
        let role = self.role.map(|role| match role {
            FileRole::Master => Role::Master,
            FileRole::Replica => Role::Replica,
        });
        builder.add(self.name, endpoint, role).map_err(|problem| (vec![], problem))?;
        if let Some(directory) = &self.data_dir
            && !directory.is_absolute()
        {
            return Err(at(["data_dir"], format!("found {}, accepted is a path from the root", directory.display())));
        }
        builder.data_dirs.push(self.data_dir);
        for (place, alias) in self.aliases.iter().enumerate() {
            map(&mut builder.deployment, alias, &known).map_err(|problem| at(["aliases", &place.to_string()], problem))?;
        }
        Ok(())
    }
}

impl FileTls {
    pub(super) fn profile(self) -> Result<Option<Tls>, Problem> {
        let settings = TlsSettings {
            ca_file: self.ca_file,
            cert_file: self.cert_file,
            key_file: self.key_file,
            server_name: self.server_name,
            insecure_skip_verify: self.insecure_skip_verify,
        };
        if settings == TlsSettings::default() {
            return Ok(None);
        }
        Tls::new(&settings).map(Some).map_err(|error| match error {
            client::TlsError::File { key, path, problem } => {
                at([key], format!("found {}, which cannot be used ({problem})", path.display()))
            }
            other => (vec![], other.to_string()),
        })
    }
}

impl FileCadence {
    fn over(self, cadences: Cadences) -> Cadences {
        let or = |span: Option<Span>, other| span.map_or(other, |span| span.0);
        Cadences {
            commands: or(self.commands, cadences.commands),
            slowlog: or(self.slowlog, cadences.slowlog),
            config: or(self.config, cadences.config),
            latencystats: self.latencystats.map(|span| span.0).or(cadences.latencystats),
            dns: or(self.dns, cadences.dns),
        }
    }
}

impl FileExpect {
    fn build(self) -> Result<Expectations, Problem> {
        if self.masters == Some(0) {
            return Err(at(["masters"], "found 0, accepted is 1 or more; a site whose primary is elsewhere has primary = \"external\""));
        }
        if self.masters.is_some() && self.primary.is_some() {
            return Err(at(["masters"], "found primary = \"external\" too, accepted is one of them"));
        }
        Ok(Expectations {
            replicas: self.replicas,
            masters: self.masters,
            external: self.primary.is_some(),
            aof: self.aof.map(FileAof::expectation),
            until: self.until.map(|date| date.0),
        })
    }
}

impl FileAof {
    fn expectation(self) -> AofExpectation {
        match self {
            FileAof::All => AofExpectation::All,
            FileAof::Replicas => AofExpectation::Replicas,
            FileAof::None => AofExpectation::None,
        }
    }
}

fn at_least(key: &str, found: Duration, least: Duration) -> Result<(), Problem> {
    if found < least {
        return Err(at([key], format!("found {}, accepted is {} or more", Span(found), Span(least))));
    }
    Ok(())
}

pub(super) fn credentials(
    username: Option<String>,
    password: Option<SecretText>,
    file: Option<PathBuf>,
    others: &Credentials,
) -> Result<Credentials, Problem> {
    let password = match (password, file) {
        (Some(_), Some(_)) => return Err(at(["password_file"], "found password too, accepted is one of them")),
        (Some(password), None) => Some(Password::Given(password.0.into())),
        (None, Some(path)) => {
            std::fs::metadata(&path).map_err(|error| {
                at(["password_file"], format!("found {}, which cannot be read ({error}), accepted is a file", path.display()))
            })?;
            Some(Password::File(path))
        }
        (None, None) => others.password.clone(),
    };
    Ok(Credentials { username: username.or_else(|| others.username.clone()), password })
}

/// Makes another address known as that of a node.
fn map(deployment: &mut Deployment, other: &str, known: &str) -> Result<(), String> {
    let parse = |text: &str| address::address_of(text).ok_or_else(|| format!("found {:?}, accepted is host:port", address::redacted(text)));
    let (other, known) = (parse(other)?, parse(known)?);
    if deployment.alias(other, &known) {
        Ok(())
    } else {
        Err(format!("found {known:?}, which is no node of this deployment, accepted is the address of one"))
    }
}

/// A configured label must be a name for Prometheus, and no name that we or Prometheus use.
fn label(name: &str) -> Result<(), Problem> {
    let mut bytes = name.bytes();
    let is_name = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__");
    if !is_name {
        return Err(at([name], "found a name that Prometheus does not accept, accepted are letters, digits and _"));
    }
    let ours = catalog::entries().any(|(_, subject, entry)| subject.contains(&name) || entry.labels.contains(&name));
    if ours || ["shard", "instance", "job", "cluster", "type"].contains(&name) {
        return Err(at([name], "found a label that is taken, accepted is any name that no series and no Prometheus setup uses"));
    }
    Ok(())
}

/// What is allowed, but hardly meant.
fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    for DeploymentSettings { deployment, endpoints, checked, found, .. } in &settings.deployments {
        let name = &deployment.name;
        if deployment.down_after <= deployment.interval {
            warnings.push(format!("deployment {name}: down_after is no longer than the interval, so one missed round is an outage"));
        }
        if found.is_none() && deployment.expect.replicas.is_some_and(|replicas| replicas as usize >= endpoints.len()) {
            warnings.push(format!("deployment {name}: expect.replicas is not less than the number of nodes"));
        }
        if deployment.nodes.iter().filter(|node| node.expected_role == Some(Role::Master)).count() > 1 {
            warnings.push(format!("deployment {name}: more than one node is expected to be master"));
        }
        let of_found = found.iter().map(|found| (&found.tls, &found.credentials));
        let all = endpoints.iter().chain(checked.iter().map(|(_, endpoint)| endpoint));
        let mut all = all.map(|endpoint| (&endpoint.tls, &endpoint.credentials)).chain(of_found);
        let in_clear = all.any(|(tls, credentials)| tls.is_none() && matches!(credentials.password, Some(Password::Given(_))));
        if in_clear {
            warnings.push(format!("deployment {name}: a password stands in the configuration; password_file keeps it out"));
        }
    }
    warnings
}
