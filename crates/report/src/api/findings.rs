//! The document of findings.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use topology::tiers::first_causes;
use topology::{DeploymentView, Finding, Value};

use super::rfc3339;
use crate::runbook::runbook;

/// The document of `/api/v1/findings`: conditions that need attention, the worst first.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// The findings of all requested deployments.
    pub findings: Vec<FindingDocument>,
}

/// One finding.
#[derive(Debug, Serialize)]
pub struct FindingDocument {
    /// The kind, which is the name of the alert and of the runbook.
    pub kind: &'static str,
    /// `critical`, `warning` or `info`.
    pub severity: &'static str,
    /// The deployment.
    pub deployment: String,
    /// The affected node; absent if the finding concerns no single node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The affected shard of a cluster; absent if the finding concerns no single shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The kind of the finding of the same deployment that explains this one; absent if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<&'static str>,
    /// Time at which the finding was first seen.
    pub since: String,
    /// The problem, in one sentence.
    pub summary: String,
    /// The supporting values.
    pub evidence: BTreeMap<&'static str, serde_json::Value>,
}

/// Returns the findings of deployments, the worst first, and what is over last.
pub fn findings<'a>(views: impl IntoIterator<Item = &'a Arc<DeploymentView>>) -> Findings {
    let of = |view: &'a Arc<DeploymentView>| {
        let kind = |cause: usize| view.findings[cause].kind.label();
        let causes = first_causes(&view.findings).into_iter().map(move |cause| cause.map(kind));
        let deployment = &view.deployment.name;
        view.findings.iter().zip(causes).map(move |(finding, cause)| (finding, cause, deployment))
    };
    let mut found: Vec<_> = views.into_iter().flat_map(of).collect();
    found.sort_by_key(|(finding, _, deployment)| {
        (finding.is_over(), finding.severity, deployment.as_str())
    });
    Findings {
        findings: found
            .into_iter()
            .map(|(finding, cause, deployment)| self::finding(deployment, finding, cause))
            .collect(),
    }
}

fn finding(
    deployment: &str,
    finding: &Finding,
    caused_by: Option<&'static str>,
) -> FindingDocument {
    FindingDocument {
        kind: finding.kind.label(),
        severity: finding.severity.label(),
        deployment: deployment.to_owned(),
        node: finding.node.clone(),
        shard: finding.shard.clone(),
        caused_by,
        since: rfc3339(finding.since),
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
