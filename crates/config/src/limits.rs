//! The tables `limits`: that of a deployment, and that of the exporter.

use std::fmt::Display;

use serde::Deserialize;
use topology::{DeploymentKind, Limits};

use crate::error::KeyError;

/// The table `limits` of a deployment.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileLimits {
    /// Data nodes of the deployment that Sentinels, cluster nodes or DNS names list, at most 4096.
    /// Configured nodes are never left out.
    #[cfg_attr(test, schemars(example = 100))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel", "cluster", "dns"])))]
    #[cfg_attr(test, schemars(extend("x-default" = 1024)))]
    nodes: Option<u32>,
    /// Deployments with `{master}` in `name`: masters of the Sentinels that become deployments, at
    /// most 1024. Those that were polled first stay.
    #[cfg_attr(test, schemars(example = 1000))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel"], "x-default" = 500)))]
    masters: Option<u32>,
    /// Deployments with `{master}` in `name`: data nodes of all of them together, at most 16384.
    /// The masters themselves are never left out.
    #[cfg_attr(test, schemars(example = 4096))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel"], "x-default" = 2048)))]
    group_nodes: Option<u32>,
    /// Connections to discovered nodes at one address, over all deployments, at most 1024. A node
    /// without a connection is unknown with the reason `local`.
    #[cfg_attr(test, schemars(example = 2))]
    #[cfg_attr(test, schemars(extend("x-kinds" = ["sentinel", "cluster", "dns"])))]
    #[cfg_attr(test, schemars(extend("x-default" = 32)))]
    connections: Option<u32>,
    /// Command names of one node that get series of their own, and its error codes, at most 1024 of
    /// each while Rolecall runs. All others are added up under `other`.
    #[cfg_attr(test, schemars(example = 200, extend("x-default" = 512)))]
    label_values: Option<u32>,
}

/// The table `limits` outside of deployments.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileConnectLimits {
    /// New connections to servers per second, at most 100000. After a quiet time, half of this
    /// number are opened at once.
    #[cfg_attr(test, schemars(example = 5000))]
    #[cfg_attr(test, schemars(extend("x-default" = ConnectLimits::DEFAULT.per_second)))]
    connections_per_second: Option<u32>,
    /// Attempts to connect to one host at the same time, at most 1024. Half of them are for nodes
    /// to which no attempt was made before, a third for those whose last attempt had no reply.
    #[cfg_attr(test, schemars(example = 100))]
    #[cfg_attr(test, schemars(extend("x-default" = ConnectLimits::DEFAULT.per_host)))]
    connections_per_host: Option<u32>,
}

/// Limits of new connections to servers, over all deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectLimits {
    /// New connections per second.
    pub per_second: u32,
    /// Attempts to connect to one host at the same time.
    pub per_host: u32,
}

impl ConnectLimits {
    /// Default limits.
    pub const DEFAULT: Self = ConnectLimits { per_second: 2000, per_host: 20 };

    /// Largest limits that can be configured.
    const LARGEST: Self = ConnectLimits { per_second: 100_000, per_host: 1024 };
}

impl FileConnectLimits {
    pub(crate) fn build(self) -> Result<ConnectLimits, KeyError> {
        let (default, largest) = (ConnectLimits::DEFAULT, ConnectLimits::LARGEST);
        Ok(ConnectLimits {
            per_second: limit(
                "connections_per_second",
                self.connections_per_second,
                default.per_second,
                largest.per_second,
            )?,
            per_host: limit(
                "connections_per_host",
                self.connections_per_host,
                default.per_host,
                largest.per_host,
            )?,
        })
    }
}

impl FileLimits {
    pub(crate) fn build(self, kind: DeploymentKind) -> Result<Limits, KeyError> {
        let only_sentinels = kind == DeploymentKind::Sentinel;
        let is_discovered = kind != DeploymentKind::Static;
        for (key, limit) in [("masters", self.masters), ("group_nodes", self.group_nodes)] {
            check_kind(key, limit, only_sentinels, "\"sentinels\"")?;
        }
        for (key, limit) in [("nodes", self.nodes), ("connections", self.connections)] {
            let required = "\"sentinels\", \"cluster\" or \"dns\"";
            check_kind(key, limit, is_discovered, required)?;
        }
        let (default, largest) = (Limits::DEFAULT, Limits::LARGEST);
        Ok(Limits {
            nodes: limit("nodes", self.nodes, default.nodes, largest.nodes)?,
            masters: limit("masters", self.masters, default.masters, largest.masters)?,
            group_nodes: limit(
                "group_nodes",
                self.group_nodes,
                default.group_nodes,
                largest.group_nodes,
            )?,
            connections: limit(
                "connections",
                self.connections,
                default.connections,
                largest.connections,
            )?,
            label_values: limit(
                "label_values",
                self.label_values,
                default.label_values,
                largest.label_values,
            )?,
        })
    }
}

/// Rejects a key that deployments of this kind do not have.
fn check_kind(
    key: &str,
    limit: Option<u32>,
    is_valid: bool,
    required: &str,
) -> Result<(), KeyError> {
    if limit.is_none() || is_valid {
        return Ok(());
    }
    Err(KeyError::at([key], format!("\"limits.{key}\" requires {required}")))
}

/// Returns the configured limit or the default.
fn limit<T: TryFrom<u32> + From<u8> + Ord + Copy + Display>(
    key: &str,
    configured: Option<u32>,
    default: T,
    largest: T,
) -> Result<T, KeyError> {
    let Some(limit) = configured else { return Ok(default) };
    if let Ok(count) = T::try_from(limit)
        && (1.into()..=largest).contains(&count)
    {
        return Ok(count);
    }
    Err(KeyError::at([key], format!("must be between 1 and {largest}, got {limit}")))
}
