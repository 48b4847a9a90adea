//! A deployment: what may be written of it in the file, and what that becomes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use client::{Credentials, Tls};
use serde::Deserialize;
use snapshot::{CONFIG_PARAMETERS, Role};
use topology::{Deployment, DeploymentKind};

use crate::access::{FileTls, credentials};
use crate::discovery::{FileServer, Finding};
use crate::endpoints::FileEndpoints;
use crate::error::{Problem, at, under};
use crate::expect::FileExpect;
use crate::sentinels::{Scheme, Sentinels};
use crate::values::{Part, SecretText, Span};
use crate::{
    Builder, Cadences, DEFAULT_DOWN_AFTER, DEFAULT_INTERVAL, DeploymentSettings, MIN_DNS,
    MIN_INTERVAL, Masters, address, dns,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileDeployment {
    pub(crate) name: String,
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

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileCadence {
    commands: Option<Span>,
    slowlog: Option<Span>,
    config: Option<Span>,
    latencystats: Option<Span>,
    dns: Option<Span>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum FileRole {
    Master,
    Replica,
}

/// Settings that go together.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Preset {
    /// For services that bill per command.
    Managed,
}

impl FileDeployment {
    pub(crate) fn build(mut self, part: Option<Part>) -> Result<DeploymentSettings, Problem> {
        let seconds = Duration::from_secs;
        let (interval, cadences) = match self.preset {
            Some(Preset::Managed) => {
                let cadences = Cadences {
                    commands: seconds(60),
                    slowlog: seconds(60),
                    config: seconds(600),
                    ..Cadences::default()
                };
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
        labels
            .iter()
            .try_for_each(|(name, _)| label(name))
            .map_err(|problem| under("labels", problem))?;
        let down_after =
            self.down_after.map_or(DEFAULT_DOWN_AFTER.max(interval * 3), |span| span.0);
        let kind = match (&sentinels, self.cluster.is_empty(), self.dns.is_empty()) {
            (Some(_), _, _) => DeploymentKind::Sentinel,
            (None, false, _) => DeploymentKind::Cluster,
            (None, true, false) => DeploymentKind::Dns,
            (None, true, true) => DeploymentKind::Static,
        };
        match self.cadence.dns {
            Some(_) if kind != DeploymentKind::Dns => {
                return Err(at(["cadence", "dns"], "found without dns, accepted is with dns"));
            }
            Some(span) => {
                at_least("dns", span.0, MIN_DNS).map_err(|problem| under("cadence", problem))?;
            }
            None => {}
        }
        let mut builder =
            Builder::new(Deployment::new(&self.name, kind, &labels, interval, down_after));
        builder.deadline = self.deadline.map(|span| span.0);
        if builder.deadline.is_some_and(|deadline| deadline > interval) {
            return Err(at(
                ["deadline"],
                format!("found more than the interval, accepted is up to {}", Span(interval)),
            ));
        }
        builder.cadences = std::mem::take(&mut self.cadence).over(cadences);
        builder.deployment.expect = std::mem::take(&mut self.expect)
            .build(kind)
            .map_err(|problem| under("expect", problem))?;
        if let Some(parameter) =
            self.assume.keys().find(|parameter| !CONFIG_PARAMETERS.contains(&parameter.as_str()))
        {
            return Err(at(
                ["assume", parameter],
                format!(
                    "found a parameter that is not read, accepted are {}",
                    CONFIG_PARAMETERS.join(", ")
                ),
            ));
        }
        builder.assumed = std::mem::take(&mut self.assume);
        let tls =
            std::mem::take(&mut self.tls).profile().map_err(|problem| under("tls", problem))?;
        let others = credentials(
            self.username.take(),
            self.password.take(),
            self.password_file.take(),
            &Credentials::default(),
        )?;
        if kind == DeploymentKind::Cluster {
            return self.of_cluster(builder, others, tls.as_ref());
        }
        if kind == DeploymentKind::Dns {
            let (listed, finding) = (std::mem::take(&mut self.dns), self.finding());
            return dns::add(listed, finding, self.endpoints, builder, &others, tls.as_ref());
        }
        for (place, node) in self.nodes.into_iter().enumerate() {
            node.add(&mut builder, &others, tls.as_ref())
                .map_err(|problem| under("nodes", under(place, problem)))?;
        }
        self.endpoints
            .add(&mut builder, &others, tls.as_ref())
            .map_err(|problem| under("endpoints", problem))?;
        if let Some(sentinels) = sentinels {
            return sentinels.add(builder, others, tls, part);
        }
        for (other, known) in &self.address_map {
            map(&mut builder.deployment, other, known)
                .map_err(|problem| at(["address_map", other], problem))?;
        }
        Ok(builder.build())
    }

    /// What is said about Sentinels, if they are what is listed.
    fn sentinels(&mut self) -> Result<Option<Sentinels>, Problem> {
        let lists = [
            ("nodes", self.nodes.len()),
            ("sentinels", self.sentinels.len()),
            ("cluster", self.cluster.len()),
            ("dns", self.dns.len()),
        ];
        let found: Vec<_> =
            lists.into_iter().filter(|(_, count)| *count > 0).map(|(key, _)| key).collect();
        match found[..] {
            [] => {
                return Err(at(
                    ["nodes"],
                    "found none, accepted is at least one, or sentinels, cluster or dns",
                ));
            }
            [_] => {}
            [one, other, ..] => {
                return Err(at([one], format!("found {other} too, accepted is one of them")));
            }
        }
        let only = |keys: &[(&str, bool)], with: &str| {
            let found = keys.iter().find(|(_, found)| *found);
            found.map_or(Ok(()), |(key, _)| {
                Err(at([*key], format!("found without {with}, accepted is with {with}")))
            })
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
            (
                path.into_iter().map(|key| format!("sentinel_{key}")).collect(),
                problem.replace("found password", "found sentinel_password"),
            )
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
    fn of_cluster(
        mut self,
        mut builder: Builder,
        credentials: Credentials,
        tls: Option<&Tls>,
    ) -> Result<DeploymentSettings, Problem> {
        if !self.endpoints.is_empty() {
            return Err(at(
                ["endpoints"],
                "found with cluster, accepted is without: clients of a cluster ask any node",
            ));
        }
        let mut of_others = None;
        for (place, seed) in std::mem::take(&mut self.cluster).into_iter().enumerate() {
            let here = |problem| under("cluster", under(place, problem));
            let (name, endpoint) = seed.endpoint(address::PORT, &credentials, tls).map_err(here)?;
            of_others = of_others.or_else(|| endpoint.tls.clone());
            builder.add(name, endpoint, None).map_err(|problem| here((vec![], problem)))?;
        }
        self.finding().add(
            &mut builder,
            String::new(),
            Masters::One,
            credentials,
            of_others,
            Vec::new(),
        )?;
        Ok(builder.build())
    }
}

impl FileNode {
    fn add(
        self,
        builder: &mut Builder,
        others: &Credentials,
        tls: Option<&Tls>,
    ) -> Result<(), Problem> {
        let credentials = credentials(self.username, self.password, self.password_file, others)?;
        let endpoint =
            address::parse(&self.url, &credentials, tls).map_err(|problem| at(["url"], problem))?;
        let known = endpoint.to_string();
        let role = self.role.map(|role| match role {
            FileRole::Master => Role::Master,
            FileRole::Replica => Role::Replica,
        });
        builder.add(self.name, endpoint, role).map_err(|problem| (vec![], problem))?;
        if let Some(directory) = &self.data_dir
            && !directory.is_absolute()
        {
            return Err(at(
                ["data_dir"],
                format!("found {}, accepted is a path from the root", directory.display()),
            ));
        }
        builder.data_dirs.push(self.data_dir);
        for (place, alias) in self.aliases.iter().enumerate() {
            map(&mut builder.deployment, alias, &known)
                .map_err(|problem| at(["aliases", &place.to_string()], problem))?;
        }
        Ok(())
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

fn at_least(key: &str, found: Duration, least: Duration) -> Result<(), Problem> {
    if found < least {
        return Err(at(
            [key],
            format!("found {}, accepted is {} or more", Span(found), Span(least)),
        ));
    }
    Ok(())
}

/// Makes another address known as that of a node.
fn map(deployment: &mut Deployment, other: &str, known: &str) -> Result<(), String> {
    let parse = |text: &str| {
        address::address_of(text)
            .ok_or_else(|| format!("found {:?}, accepted is host:port", address::redacted(text)))
    };
    let (other, known) = (parse(other)?, parse(known)?);
    if deployment.alias(other, &known) {
        Ok(())
    } else {
        Err(format!(
            "found {known:?}, which is no node of this deployment, accepted is the address of one"
        ))
    }
}

/// A configured label must be a name for Prometheus, and no name that we or Prometheus use.
fn label(name: &str) -> Result<(), Problem> {
    let mut bytes = name.bytes();
    let is_name = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__");
    if !is_name {
        return Err(at(
            [name],
            "found a name that Prometheus does not accept, accepted are letters, digits and _",
        ));
    }
    let ours = catalog::entries()
        .any(|(_, subject, entry)| subject.contains(&name) || entry.labels.contains(&name));
    if ours || ["shard", "instance", "job", "cluster", "type"].contains(&name) {
        return Err(at(
            [name],
            "found a label that is taken, accepted is any name that no series and no Prometheus setup uses",
        ));
    }
    Ok(())
}
