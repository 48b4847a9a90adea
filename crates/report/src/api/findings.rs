//! What needs a person.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use topology::{DeploymentView, Finding, Value};

use super::time;
use crate::runbook::runbook;

/// `/api/v1/findings`: what needs a person, the worst first.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// The findings of all deployments that were asked for.
    pub findings: Vec<FindingDocument>,
}

/// One finding.
#[derive(Debug, Serialize)]
pub struct FindingDocument {
    /// What it is: the name of its alert and of its runbook.
    pub kind: &'static str,
    /// `critical`, `warning` or `info`.
    pub severity: &'static str,
    /// In which deployment.
    pub deployment: String,
    /// At which node, if at one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// At which shard of a cluster, if at one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// When it was first seen.
    pub since: String,
    /// What it means, in one sentence.
    pub summary: String,
    /// The live values that show it.
    pub evidence: BTreeMap<&'static str, serde_json::Value>,
}

/// The findings of deployments, the worst first.
pub fn findings<'a>(views: impl IntoIterator<Item = &'a Arc<DeploymentView>>) -> Findings {
    let of = |view: &'a Arc<DeploymentView>| {
        view.findings.iter().map(|finding| (finding, &view.deployment.name))
    };
    let mut found: Vec<_> = views.into_iter().flat_map(of).collect();
    found.sort_by_key(|(finding, deployment)| (finding.severity, deployment.as_str()));
    Findings {
        findings: found
            .into_iter()
            .map(|(finding, deployment)| self::finding(deployment, finding))
            .collect(),
    }
}

fn finding(deployment: &str, finding: &Finding) -> FindingDocument {
    FindingDocument {
        kind: finding.kind.label(),
        severity: finding.severity.label(),
        deployment: deployment.to_owned(),
        node: finding.node.clone(),
        shard: finding.shard.clone(),
        since: time(finding.since),
        summary: runbook(finding.kind.label())
            .map(|runbook| runbook.title.to_owned())
            .unwrap_or_default(),
        evidence: finding
            .evidence
            .values()
            .iter()
            .map(|(name, value)| (*name, json(value)))
            .collect(),
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within an i64")]
            serde_json::Value::from(*number as i64)
        }
        Value::Number(number) => serde_json::Value::from(*number),
        Value::Text(text) => serde_json::Value::from(text.as_str()),
        Value::List(items) => serde_json::Value::from(items.clone()),
    }
}
