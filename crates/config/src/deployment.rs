//! The table `deployment`.

use std::collections::BTreeMap;
use std::mem::take;
use std::path::PathBuf;

use client::Credentials;
use serde::Deserialize;
#[cfg(test)]
use serde_json::json;
use snapshot::CONFIG_PARAMETERS;
use topology::{Deployment, DeploymentKind};

use crate::access::{Access, FileCredentials, FileTls, TlsProfiles};
use crate::builder::DeploymentBuilder;
use crate::discovery::{DiscoveryOptions, FileServer};
use crate::endpoints::FileEndpoints;
use crate::error::{KeyError, cannot_combine, one_of};
use crate::expect::FileExpect;
use crate::limits::FileLimits;
use crate::nodes::{FileNode, add_addresses, add_nodes};
use crate::preset::{Preset, skipped_commands};
use crate::sentinels::{Scheme, SentinelOptions};
use crate::timing::{FileCadence, TimingOptions};
use crate::values::{DurationText, Part, SecretText};
use crate::{DeploymentSettings, cluster, dns};

/// The table `deployment`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct FileDeployment {
    /// Unique name, the value of the label `deployment`. With Sentinels, `{master}` in the name
    /// stands for the name of a master: every master of the Sentinels becomes a deployment.
    /// `master_name` and `endpoints` are then not allowed.
    #[cfg_attr(test, schemars(example = &"orders"))]
    pub(crate) name: String,
    /// Labels of all series of the deployment, by name. Names that metrics or Prometheus already
    /// use, such as `job`, are not allowed.
    #[cfg_attr(test, schemars(example = json!({ "team": "checkout" })))]
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// All nodes of a static deployment.
    #[cfg_attr(test, schemars(example = json!([{ "url": "redis://10.0.0.5", "name": "redis-0" }])))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["static"])))]
    #[serde(default)]
    nodes: Vec<FileNode>,
    /// Sentinels. They report the data nodes, and are monitored too. The default port is 26379.
    #[cfg_attr(test, schemars(example = ["redis://10.0.1.5:26379", "redis://10.0.1.6:26379"]))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel"])))]
    #[serde(default)]
    sentinels: Vec<FileServer>,
    /// Some nodes of a Redis Cluster. They report the other nodes.
    #[cfg_attr(test, schemars(example = ["redis://10.0.2.5:6379", "redis://10.0.2.6:6379"]))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["cluster"])))]
    #[serde(default)]
    cluster: Vec<FileServer>,
    /// DNS names, such as a headless Service of Kubernetes. Each address of a name is a node. All
    /// entries need the same scheme, user name and password, and must not have a `name`.
    #[cfg_attr(test, schemars(example = ["redis://queue-headless.prod.svc:6379"]))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["dns"])))]
    #[serde(default)]
    dns: Vec<FileServer>,
    /// Name of the master in the configuration of the Sentinels. Required unless `name` contains
    /// `{master}`.
    #[cfg_attr(test, schemars(example = &"mymaster", extend("x-kinds" = ["sentinel"])))]
    master_name: Option<String>,
    /// ACL user on the Sentinels. An entry of `sentinels` can have its own.
    #[cfg_attr(test, schemars(example = &"rolecall", extend("x-kinds" = ["sentinel"])))]
    sentinel_username: Option<String>,
    /// Password on the Sentinels. Cannot be combined with `sentinel_password_file`.
    #[cfg_attr(test, schemars(example = &"secret", extend("x-kinds" = ["sentinel"])))]
    sentinel_password: Option<SecretText>,
    /// File with the password on the Sentinels. It is read at each connection.
    #[cfg_attr(test, schemars(example = &"/run/secrets/sentinel"))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel"], "x-type" = "path")))]
    sentinel_password_file: Option<PathBuf>,
    /// TLS profile for `rediss://` URLs of Sentinels.
    #[cfg_attr(test, schemars(example = json!({ "ca_file": "/etc/rolecall/ca.pem" })))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel"])))]
    sentinel_tls: Option<FileTls>,
    /// Scheme for the data nodes that the Sentinels report: `rediss` is TLS. The table `tls`
    /// requires `rediss`.
    #[cfg_attr(test, schemars(example = &"rediss"))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel"], "x-default" = "redis")))]
    scheme: Option<Scheme>,
    /// Template for the label `node` of discovered nodes. `{host}` is the host as reported,
    /// `{name}` its host name (from a reverse lookup if an address is reported), `{short}` the host
    /// name up to the first dot, `{port}` the port. With `{short}`, a pod that moves to another
    /// address keeps its series.
    #[cfg_attr(test, schemars(example = &"{short}"))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel", "cluster", "dns"])))]
    #[cfg_attr(test, schemars(extend("x-default" = "{host}:{port}")))]
    node_name: Option<String>,
    /// Networks and host name patterns of discovered nodes. Rolecall connects to discovered nodes
    /// at trusted addresses only. [Trust](#trust) describes the default.
    #[cfg_attr(test, schemars(example = ["10.0.0.0/8", "*.redis.svc"]))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel", "cluster", "dns"])))]
    trust: Option<Vec<String>>,
    /// Time after which a node that is down becomes a ghost. All Sentinels or cluster nodes that
    /// list the node must have seen it down for longer. A ghost is not a member of the deployment.
    #[cfg_attr(test, schemars(example = &"1h"))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel", "cluster"], "x-default" = "10m")))]
    ghost_after: Option<DurationText>,
    /// Time after which a discovered node leaves the deployment if no Sentinel, cluster node or DNS
    /// name lists it. In a deployment with `sentinels`, a master that is up stays; with `dns`, any
    /// node that is up stays. In a deployment with `sentinels` or `cluster`, a node that is down
    /// leaves after a few seconds.
    #[cfg_attr(test, schemars(example = &"1h"))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel", "cluster", "dns"])))]
    #[cfg_attr(test, schemars(extend("x-default" = "5m")))]
    forget_after: Option<DurationText>,
    /// ACL user on the data nodes. A URL or an entry can have its own.
    #[cfg_attr(test, schemars(example = &"rolecall"))]
    username: Option<String>,
    /// Password on the data nodes. A URL or an entry can have its own. Cannot be combined with
    /// `password_file`.
    #[cfg_attr(test, schemars(example = &"secret"))]
    password: Option<SecretText>,
    /// File with the password on the data nodes. It is read at each connection, so that a changed
    /// password needs no reload.
    #[cfg_attr(test, schemars(example = &"/run/secrets/redis", extend("x-type" = "path")))]
    password_file: Option<PathBuf>,
    /// TLS profile for `rediss://` URLs of data nodes and endpoints, and for discovered nodes that
    /// use TLS. Without the key, the certificate authorities of the system are trusted.
    #[cfg_attr(test, schemars(example = json!({ "ca_file": "/etc/rolecall/ca.pem" })))]
    #[serde(default)]
    tls: FileTls,
    /// Defaults for a service or a server system. [Presets](#presets) lists them. `managed` is for
    /// other services that bill per command: `interval = "15s"` and
    /// `cadence = { commands = "1m", slowlog = "1m", config = "10m" }`.
    #[cfg_attr(test, schemars(example = &"elasticache"))]
    preset: Option<Preset>,
    /// Commands that are not sent: `"INFO commandstats"`, `"SLOWLOG"`, `"CONFIG GET"`,
    /// `"CLIENT LIST"`, `"CLUSTER"`. Replaces the list of the preset; `[]` sends all. The metrics
    /// that depend on a command are absent without it. A `cluster` needs `"CLUSTER"`.
    #[cfg_attr(test, schemars(example = ["CONFIG GET"]))]
    skip_commands: Option<Vec<String>>,
    /// Time between two rounds, at least `250ms`. A round polls all nodes of the deployment.
    #[cfg_attr(test, schemars(example = &"2s", extend("x-default" = "1s")))]
    interval: Option<DurationText>,
    /// Longest time that a round waits for replies, at most `interval`. The default is 80 % of the
    /// interval, at most `1s`.
    #[cfg_attr(test, schemars(example = &"500ms", extend("x-default" = "800ms")))]
    deadline: Option<DurationText>,
    /// Time of silence after which a node is down. The default is three intervals, at least `3s`.
    #[cfg_attr(test, schemars(example = &"5s", extend("x-default" = "3s")))]
    down_after: Option<DurationText>,
    /// Intervals of the commands other than `INFO`.
    #[cfg_attr(test, schemars(example = json!({ "config": "5m" })))]
    #[serde(default)]
    cadence: FileCadence,
    /// Limits of the things that servers list. Rolecall leaves out the excess, logs it and shows it
    /// on the page of the deployment.
    #[cfg_attr(test, schemars(example = json!({ "label_values": 200 })))]
    #[serde(default)]
    limits: FileLimits,
    /// Expected state of the deployment. A deviation is a finding.
    #[cfg_attr(test, schemars(example = json!({ "replicas": 2, "aof": "replicas" })))]
    #[serde(default)]
    expect: FileExpect,
    /// Endpoints that applications use, such as DNS names, Services or load balancers. Rolecall
    /// checks every 10 s to which node each leads.
    #[cfg_attr(test, schemars(example = json!({ "primary": "redis://orders-rw:6379" })))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["static", "sentinel", "dns"])))]
    #[serde(default)]
    endpoints: FileEndpoints,
    /// Values of CONFIG parameters for servers that refuse `CONFIG GET`, by name. Only the
    /// parameters that Rolecall reads are allowed.
    /// [COMMANDS.md](../client/COMMANDS.md#parameters-read-by-config-get) lists them.
    #[cfg_attr(test, schemars(example = json!({ "save": "" })))]
    #[serde(default)]
    assume: BTreeMap<String, String>,
    /// Addresses behind NAT or in containers. A key is an address that nodes or Sentinels report,
    /// its value the address that Rolecall connects to. In a static deployment the value is the
    /// address of an entry of `nodes`; otherwise it is trusted.
    #[cfg_attr(test, schemars(example = json!({ "172.17.0.2:6379": "10.0.0.5:6379" })))]
    #[serde(default)]
    address_map: BTreeMap<String, String>,
}

impl FileDeployment {
    /// Returns the settings. `profiles` are the TLS profiles of all deployments.
    pub(crate) fn build(
        mut self,
        part: Option<Part>,
        profiles: &TlsProfiles,
    ) -> Result<DeploymentSettings, KeyError> {
        if self.name.is_empty() {
            return Err(KeyError::at(["name"], "name must not be empty"));
        }
        let kind = self.kind()?;
        self.check_keys(kind)?;
        let sentinels = match kind {
            DeploymentKind::Sentinel => Some(self.sentinel_access(profiles)?),
            _ => None,
        };
        let mut builder = self.builder(kind)?;
        let access = self.node_access(profiles)?;
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
    fn sentinel_access(&mut self, profiles: &TlsProfiles) -> Result<Access, KeyError> {
        let credentials = FileCredentials {
            username: self.sentinel_username.take(),
            password: self.sentinel_password.take(),
            password_file: self.sentinel_password_file.take(),
        };
        let credentials = credentials.resolve("sentinel_", &Credentials::default())?;
        let tls = self.sentinel_tls.take().unwrap_or_default();
        let tls = tls.profile(profiles).map_err(|error| error.under("sentinel_tls"))?;
        Ok(Access { credentials, tls, profiles: profiles.clone() })
    }

    /// Returns the credentials and TLS profile for data nodes.
    fn node_access(&mut self, profiles: &TlsProfiles) -> Result<Access, KeyError> {
        let tls = take(&mut self.tls).profile(profiles).map_err(|error| error.under("tls"))?;
        let credentials = FileCredentials {
            username: self.username.take(),
            password: self.password.take(),
            password_file: self.password_file.take(),
        };
        let credentials = credentials.resolve("", &Credentials::default())?;
        Ok(Access { credentials, tls, profiles: profiles.clone() })
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
        let unknown_role = self.preset.is_some_and(|preset| preset.row().unknown_role);
        builder.deployment.expect = take(&mut self.expect)
            .build(kind, unknown_role)
            .map_err(|error| error.under("expect"))?;
        builder.deployment.preset = self.preset.map(|preset| preset.row().name.to_owned());
        builder.deployment.skipped =
            skipped_commands(self.preset, self.skip_commands.as_deref(), kind)?;
        builder.deployment.limits =
            take(&mut self.limits).build(kind).map_err(|error| error.under("limits"))?;
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
/// Returns the message.
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
