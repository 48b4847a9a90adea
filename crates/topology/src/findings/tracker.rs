//! Time since which each finding exists.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::SystemTime;

use super::FindingsCollector;
use crate::model::finding::evidence::SentinelConfigError;
use crate::model::finding::{Evidence, Finding, FindingKind};

use crate::model::endpoint::EndpointKind;
use crate::model::monotonic::Monotonic;
use crate::model::sentinels::Disagreement;
use crate::model::view::DeploymentView;

/// Identity of a finding: two findings with the same identity are one condition that lasts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FindingId {
    kind: FindingKind,
    node: Option<String>,
    shard: Option<String>,
    form: Option<FindingForm>,
}

/// Forms of one kind of finding. They begin and end independently, so each form has its own age.
#[derive(Debug, PartialEq, Eq, Hash)]
enum FindingForm {
    Endpoint(EndpointKind),
    Disagreement(Discriminant<Disagreement>),
    SentinelConfig(Vec<SentinelConfigError>),
}

/// Tracker of findings: for each finding of the last round, the time at which it was first seen.
#[derive(Debug, Default)]
pub(crate) struct FindingsTracker {
    /// Wall time and monotonic time of the first round with the finding.
    since: HashMap<FindingId, (SystemTime, Monotonic)>,
}

impl FindingsTracker {
    /// Returns the findings of a view, the worst first, a cause before its effects,
    /// and what is over last.
    pub(crate) fn observe(&mut self, view: &DeploymentView) -> Vec<Finding> {
        let Some(at) = view.at else { return Vec::new() };
        let mut findings = FindingsCollector::collect(view, at);
        let mut since = HashMap::with_capacity(findings.len());
        for finding in &mut findings {
            let id = FindingId::of(finding);
            let (first, begun) = self.since.get(&id).copied().unwrap_or((at, view.now));
            finding.since = first;
            finding.escalate(view.now.since(begun));
            since.insert(id, (first, begun));
        }
        self.since = since;
        findings.sort_by(|a, b| {
            (a.is_over(), a.severity, a.kind, &a.shard, &a.node, a.endpoint()).cmp(&(
                b.is_over(),
                b.severity,
                b.kind,
                &b.shard,
                &b.node,
                b.endpoint(),
            ))
        });
        findings
    }
}

impl FindingId {
    fn of(finding: &Finding) -> Self {
        let form = match &finding.evidence {
            Evidence::RedisPrimaryEndpointWrong(evidence) => {
                Some(FindingForm::Endpoint(evidence.endpoint))
            }
            Evidence::RedisSentinelDisagreement(evidence) => {
                Some(FindingForm::Disagreement(discriminant(&evidence.reason)))
            }
            Evidence::RedisSentinelMisconfigured(evidence) => {
                Some(FindingForm::SentinelConfig(evidence.errors.clone()))
            }
            _ => None,
        };
        FindingId {
            kind: finding.kind,
            node: finding.node.clone(),
            shard: finding.shard.clone(),
            form,
        }
    }
}
