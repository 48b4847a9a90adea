//! The table `limits`.

use serde::Deserialize;
use topology::{DeploymentKind, Limits};

use crate::error::KeyError;

/// The table `limits`.
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
fn limit(
    key: &str,
    configured: Option<u32>,
    default: usize,
    largest: usize,
) -> Result<usize, KeyError> {
    let Some(limit) = configured else { return Ok(default) };
    let count = usize::try_from(limit).unwrap_or(usize::MAX);
    if (1..=largest).contains(&count) {
        return Ok(count);
    }
    Err(KeyError::at([key], format!("must be between 1 and {largest}, got {limit}")))
}
