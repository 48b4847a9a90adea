//! Expectations about a deployment: the table `expect`.

use serde::Deserialize;
use topology::{AofExpectation, DeploymentKind, Expectations};

use crate::error::{KeyError, cannot_combine};
use crate::values::DateText;

/// The table `expect`.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileExpect {
    /// Number of replicas. In a cluster, the number of replicas of each shard. Without the key, the
    /// highest number of the last hour is expected.
    #[cfg_attr(test, schemars(example = 2))]
    replicas: Option<u32>,
    /// Intended number of masters, at least 1. Without the key, several masters of one
    /// replication history are a split brain. Cannot be combined with `primary`.
    #[cfg_attr(test, schemars(example = 2, extend("x-kinds" = ["static", "dns"])))]
    masters: Option<u32>,
    /// `external`: the primary is outside the deployment, and all nodes are its replicas, as in a
    /// disaster recovery site. A node that is promoted is reported, and is the primary then.
    #[cfg_attr(test, schemars(example = &"external"))]
    primary: Option<FilePrimary>,
    /// Nodes that should have the append-only file enabled. With `replicas`, the master may differ.
    #[cfg_attr(test, schemars(example = &"replicas"))]
    aof: Option<FileAof>,
    /// `true`: the servers report no role in `INFO`, or another one than `master` and `slave`, as
    /// some services do. `RolecallUnknownRole` is not raised then. The primary stays unknown. Some
    /// [presets](#presets) set it.
    #[cfg_attr(test, schemars(example = true))]
    unknown_role: Option<bool>,
    /// Date or UTC time until which the expectations apply. A date includes the whole day. Without
    /// the key, they always apply. `unknown_role` always applies.
    #[cfg_attr(test, schemars(example = &"2026-12-31"))]
    until: Option<DateText>,
}

/// Nodes that should have the append-only file enabled.
#[derive(Deserialize, Clone, Copy)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum FileAof {
    /// All nodes.
    All,
    /// Replicas. The master may have it enabled or disabled.
    Replicas,
    /// No node.
    None,
}

/// Location of the primary.
#[derive(Deserialize, Clone, Copy)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum FilePrimary {
    /// Outside the deployment.
    External,
}

impl FileExpect {
    /// Returns the expectations. `unknown_role` is the default of the key.
    pub(crate) fn build(
        self,
        kind: DeploymentKind,
        unknown_role: bool,
    ) -> Result<Expectations, KeyError> {
        self.check_masters(kind).map_err(|message| KeyError::at(["masters"], message))?;
        Ok(Expectations {
            replicas: self.replicas,
            masters: self.masters,
            external: self.primary.is_some(),
            aof: self.aof.map(FileAof::expectation),
            unknown_role: self.unknown_role.unwrap_or(unknown_role),
            until: self.until.map(|date| date.0),
        })
    }

    fn check_masters(&self, kind: DeploymentKind) -> Result<(), String> {
        let Some(masters) = self.masters else { return Ok(()) };
        if masters == 0 {
            return Err("must be at least 1, got 0: \
                        if the primary is outside the deployment, set primary = \"external\""
                .to_owned());
        }
        // Sentinels and clusters determine the primary, so any second master is a fault.
        let conflict = match kind {
            DeploymentKind::Sentinel => Some("sentinels"),
            DeploymentKind::Cluster => Some("cluster"),
            DeploymentKind::Static | DeploymentKind::Dns => None,
        };
        if let Some(key) = conflict {
            return Err(format!(
                "{}: only valid with \"nodes\" or \"dns\"",
                cannot_combine("expect.masters", key)
            ));
        }
        if self.primary.is_some() {
            return Err(cannot_combine("expect.masters", "expect.primary"));
        }
        Ok(())
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
