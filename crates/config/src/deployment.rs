//! The table `deployment`.

use std::collections::BTreeMap;
use std::mem::take;
use std::path::PathBuf;

use client::Credentials;
use serde::Deserialize;
use snapshot::CONFIG_PARAMETERS;
use topology::{Deployment, DeploymentKind};

use crate::access::{Access, FileCredentials, FileTls};
use crate::builder::DeploymentBuilder;
use crate::discovery::{DiscoveryOptions, FileServer};
use crate::endpoints::FileEndpoints;
use crate::error::{KeyError, cannot_combine, one_of};
use crate::expect::FileExpect;
use crate::nodes::{FileNode, add_addresses, add_nodes};
use crate::sentinels::{Scheme, SentinelOptions};
use crate::timing::{FileCadence, Preset, TimingOptions};
use crate::values::{DurationText, Part, SecretText};
use crate::{DeploymentSettings, cluster, dns};

/// The table `deployment`.
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
    ghost_after: Option<DurationText>,
    forget_after: Option<DurationText>,
    username: Option<String>,
    password: Option<SecretText>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    tls: FileTls,
    preset: Option<Preset>,
    interval: Option<DurationText>,
    deadline: Option<DurationText>,
    down_after: Option<DurationText>,
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

impl FileDeployment {
    pub(crate) fn build(mut self, part: Option<Part>) -> Result<DeploymentSettings, KeyError> {
        if self.name.is_empty() {
            return Err(KeyError::at(["name"], "name must not be empty"));
        }
        let kind = self.kind()?;
        self.check_keys(kind)?;
        let sentinels = match kind {
            DeploymentKind::Sentinel => Some(self.sentinel_access()?),
            _ => None,
        };
        let mut builder = self.builder(kind)?;
        let access = self.node_access()?;
        match kind {
            DeploymentKind::Static => {
                add_nodes(&mut builder, self.nodes, &access)?;
                add_endpoints(&mut builder, self.endpoints, &access)?;
                add_addresses(&mut builder, &self.address_map)?;
                Ok(builder.build())
            }
            DeploymentKind::Sentinel => {
                let discovery = self.discovery_options();
                add_endpoints(&mut builder, self.endpoints, &access)?;
                let options = SentinelOptions {
                    servers: self.sentinels,
                    master_name: self.master_name,
                    access: sentinels.unwrap_or_default(),
                    scheme: self.scheme,
                    discovery,
                };
                options.build(builder, access, part)
            }
            DeploymentKind::Cluster => {
                let discovery = self.discovery_options();
                cluster::build(self.cluster, discovery, &self.endpoints, builder, access)
            }
            DeploymentKind::Dns => {
                let discovery = self.discovery_options();
                dns::build(self.dns, discovery, self.endpoints, builder, &access)
            }
        }
    }

    /// Returns the kind, which follows from the list of servers. There must be exactly one list.
    fn kind(&self) -> Result<DeploymentKind, KeyError> {
        let lists = [
            ("nodes", self.nodes.len(), DeploymentKind::Static),
            ("sentinels", self.sentinels.len(), DeploymentKind::Sentinel),
            ("cluster", self.cluster.len(), DeploymentKind::Cluster),
            ("dns", self.dns.len(), DeploymentKind::Dns),
        ];
        let mut used = lists.into_iter().filter(|(_, servers, _)| *servers > 0);
        let Some((key, _, kind)) = used.next() else {
            return Err(KeyError::at(
                ["nodes"],
                "missing servers: one of \"nodes\", \"sentinels\", \"cluster\" or \"dns\" \
                 must not be empty",
            ));
        };
        match used.next() {
            Some((other, ..)) => Err(KeyError::at([key], cannot_combine(key, other))),
            None => Ok(kind),
        }
    }

    /// Rejects keys that deployments of this kind do not have.
    fn check_keys(&self, kind: DeploymentKind) -> Result<(), KeyError> {
        let sentinel_keys = [
            ("master_name", self.master_name.is_some()),
            ("sentinel_username", self.sentinel_username.is_some()),
            ("sentinel_password", self.sentinel_password.is_some()),
            ("sentinel_password_file", self.sentinel_password_file.is_some()),
            ("sentinel_tls", self.sentinel_tls.is_some()),
            ("scheme", self.scheme.is_some()),
        ];
        let discovery_keys = [
            ("node_name", self.node_name.is_some()),
            ("trust", self.trust.is_some()),
            ("ghost_after", self.ghost_after.is_some()),
            ("forget_after", self.forget_after.is_some()),
        ];
        let check_absent = |keys: &[(&str, bool)], required: &str| {
            let Some((key, _)) = keys.iter().find(|(_, is_set)| *is_set) else { return Ok(()) };
            Err(KeyError::at([key], format!("{key:?} requires {required}")))
        };
        if kind != DeploymentKind::Sentinel {
            check_absent(&sentinel_keys, "\"sentinels\"")?;
        }
        if kind == DeploymentKind::Static {
            check_absent(&discovery_keys, "\"sentinels\", \"cluster\" or \"dns\"")?;
        }
        Ok(())
    }

    /// Returns the credentials and TLS profile for Sentinels.
    fn sentinel_access(&mut self) -> Result<Access, KeyError> {
        let credentials = FileCredentials {
            username: self.sentinel_username.take(),
            password: self.sentinel_password.take(),
            password_file: self.sentinel_password_file.take(),
        };
        let credentials = credentials.resolve("sentinel_", &Credentials::default())?;
        let tls = self.sentinel_tls.take().unwrap_or_default();
        Ok(Access { credentials, tls: tls.profile().map_err(|error| error.under("sentinel_tls"))? })
    }

    /// Returns the credentials and TLS profile for data nodes.
    fn node_access(&mut self) -> Result<Access, KeyError> {
        let tls = take(&mut self.tls).profile().map_err(|error| error.under("tls"))?;
        let credentials = FileCredentials {
            username: self.username.take(),
            password: self.password.take(),
            password_file: self.password_file.take(),
        };
        Ok(Access { credentials: credentials.resolve("", &Credentials::default())?, tls })
    }

    /// Starts the deployment with the keys that all kinds have.
    fn builder(&mut self, kind: DeploymentKind) -> Result<DeploymentBuilder, KeyError> {
        let labels: Vec<_> = take(&mut self.labels).into_iter().collect();
        labels.iter().try_for_each(|(name, _)| {
            check_label(name).map_err(|message| KeyError::at(["labels", name], message))
        })?;
        let options = TimingOptions {
            preset: self.preset,
            interval: self.interval,
            deadline: self.deadline,
            down_after: self.down_after,
            cadence: take(&mut self.cadence),
        };
        let timing = options.resolve(kind)?;
        let deployment =
            Deployment::new(&self.name, kind, &labels, timing.interval, timing.down_after);
        let mut builder = DeploymentBuilder::new(deployment);
        builder.deadline = timing.deadline;
        builder.cadences = timing.cadences;
        builder.deployment.expect =
            take(&mut self.expect).build(kind).map_err(|error| error.under("expect"))?;
        builder.assumed = take(&mut self.assume);
        check_parameters(&builder.assumed)?;
        Ok(builder)
    }

    fn discovery_options(&mut self) -> DiscoveryOptions {
        DiscoveryOptions {
            node_name: self.node_name.take(),
            trust: self.trust.take().unwrap_or_default(),
            ghost_after: self.ghost_after,
            forget_after: self.forget_after,
            address_map: take(&mut self.address_map),
        }
    }
}

fn add_endpoints(
    builder: &mut DeploymentBuilder,
    endpoints: FileEndpoints,
    access: &Access,
) -> Result<(), KeyError> {
    endpoints.add_to(builder, access).map_err(|error| error.under("endpoints"))
}

/// Checks the names of the CONFIG parameters in `assume`.
fn check_parameters(assumed: &BTreeMap<String, String>) -> Result<(), KeyError> {
    match assumed.keys().find(|name| !CONFIG_PARAMETERS.contains(&name.as_str())) {
        Some(name) => Err(KeyError::at(
            ["assume", name],
            format!("unknown CONFIG parameter {name:?}, expected {}", one_of(&CONFIG_PARAMETERS)),
        )),
        None => Ok(()),
    }
}

/// Checks the name of a configured label: valid in Prometheus, and not used by the exporter or by
/// common Prometheus configurations.
///
/// # Errors
/// The message.
fn check_label(name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let is_valid = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__");
    if !is_valid {
        return Err(format!(
            "invalid label name {name:?}, expected ASCII letters, digits and _, \
             not starting with a digit or __"
        ));
    }
    let is_own = catalog::entries()
        .any(|(_, subject, entry)| subject.contains(&name) || entry.labels.contains(&name));
    if is_own || ["shard", "instance", "job", "cluster", "type"].contains(&name) {
        return Err(format!(
            "label name {name:?} is reserved, \
             choose a name that neither Rolecall nor Prometheus uses"
        ));
    }
    Ok(())
}
