//! Statements of Rolecall at a moment: its documents, and the alerts that fire.

use std::collections::BTreeMap;

use serde::Deserialize;
use tests::{Daemon, Prometheus};

/// Statements of Rolecall.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) deployments: Vec<DeploymentDocument>,
    pub(crate) findings: Vec<FindingDocument>,
    /// Labels of the alerts that fire in Prometheus.
    pub(crate) alerts: Vec<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TopologyDocument {
    deployments: Vec<DeploymentDocument>,
}

/// Deployment in `/api/v1/topology`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeploymentDocument {
    pub(crate) name: String,
    /// End of the last round.
    pub(crate) at: Option<String>,
    pub(crate) shards: Vec<ShardDocument>,
    pub(crate) nodes: Vec<NodeDocument>,
}

/// Shard in `/api/v1/topology`.
#[expect(clippy::struct_excessive_bools, reason = "independent fields of a JSON document")]
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ShardDocument {
    pub(crate) shard: Option<String>,
    pub(crate) primary: Option<String>,
    pub(crate) evidence: Option<String>,
    pub(crate) disputed: bool,
    pub(crate) unconfirmed: bool,
    pub(crate) masters: Vec<String>,
    pub(crate) split_brain: bool,
    pub(crate) no_primary: bool,
    pub(crate) replication_loop: bool,
    pub(crate) unreplicated_writes_total: u64,
    pub(crate) primary_changes_total: BTreeMap<String, u64>,
    pub(crate) writable: Option<bool>,
    pub(crate) failover: Option<FailoverDocument>,
}

/// Readiness for a failover of a shard in `/api/v1/topology`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FailoverDocument {
    pub(crate) ready: bool,
    pub(crate) blockers: Vec<String>,
}

/// Node in `/api/v1/topology`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NodeDocument {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) state: String,
    pub(crate) role: Option<String>,
    pub(crate) link_state: Option<String>,
    pub(crate) orphaned: Option<String>,
    pub(crate) lag_bytes: Option<u64>,
    pub(crate) down_reason: Option<String>,
    #[serde(default)]
    pub(crate) witnesses: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct FindingsDocument {
    findings: Vec<FindingDocument>,
}

/// Finding in `/api/v1/findings`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FindingDocument {
    pub(crate) kind: String,
    pub(crate) severity: String,
    pub(crate) deployment: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) summary: String,
}

impl Observed {
    /// Reads the documents and the alerts. Returns an error if a document cannot be read.
    pub(crate) fn read(daemon: &Daemon, prometheus: &Prometheus) -> Result<Self, String> {
        let parsed = |path: &str| {
            let response = daemon.get(path, "");
            match response.status {
                200 => Ok(response.text),
                status => Err(format!("{path}: status {status}: {}", response.text)),
            }
        };
        let topology: TopologyDocument = serde_json::from_str(&parsed("/api/v1/topology")?)
            .map_err(|error| format!("/api/v1/topology: {error}"))?;
        let findings: FindingsDocument = serde_json::from_str(&parsed("/api/v1/findings")?)
            .map_err(|error| format!("/api/v1/findings: {error}"))?;
        Ok(Observed {
            deployments: topology.deployments,
            findings: findings.findings,
            alerts: prometheus.firing_labels().unwrap_or_default(),
        })
    }

    /// Returns a deployment.
    pub(crate) fn deployment(&self, name: &str) -> Option<&DeploymentDocument> {
        self.deployments.iter().find(|deployment| deployment.name == name)
    }

    /// Returns true if Rolecall states a finding of a kind about a deployment.
    pub(crate) fn finds(&self, deployment: &str, kind: &str) -> bool {
        self.findings.iter().any(|finding| {
            finding.kind == kind && finding.deployment.as_deref() == Some(deployment)
        })
    }

    /// Returns true if an alert fires for a deployment with this name and severity.
    pub(crate) fn fires(&self, deployment: &str, alert: &str, severity: &str) -> bool {
        self.alerts_of(deployment).any(|labels| {
            labels.get("alertname").is_some_and(|name| name == alert)
                && labels.get("severity").is_some_and(|own| own == severity)
        })
    }

    /// Returns the labels of the alerts that fire for a deployment.
    pub(crate) fn alerts_of(
        &self,
        deployment: &str,
    ) -> impl Iterator<Item = &BTreeMap<String, String>> {
        self.alerts
            .iter()
            .filter(move |labels| labels.get("deployment").is_some_and(|own| own == deployment))
    }
}

impl DeploymentDocument {
    /// Returns the node at one of these addresses.
    pub(crate) fn node(&self, addresses: &[String; 2]) -> Option<&NodeDocument> {
        self.nodes.iter().find(|node| addresses.contains(&node.address))
    }

    /// Returns the node with a name.
    pub(crate) fn named(&self, name: &str) -> Option<&NodeDocument> {
        self.nodes.iter().find(|node| node.name == name)
    }
}
