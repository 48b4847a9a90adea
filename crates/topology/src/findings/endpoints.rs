//! Endpoints that lead elsewhere than they should.

use super::{FindingKind, Found, Severity, Value, text};

use crate::limits::ENDPOINT_WRONG_CHECKS;
use crate::model::endpoint::{EndpointKind, EndpointView};
use crate::model::shard::ShardView;

impl Found<'_> {
    pub(super) fn of_endpoint(&mut self, endpoint: &EndpointView) {
        if endpoint.correct != Some(false) || endpoint.wrong_checks < ENDPOINT_WRONG_CHECKS {
            return;
        }
        let kind = endpoint.configured.kind;
        let mut evidence = vec![("endpoint", text(kind.label()))];
        evidence.extend(
            endpoint.leads_to.as_ref().map(|leads_to| ("leads_to", text(leads_to.label()))),
        );
        evidence.extend(endpoint.role.map(|role| ("role", text(role.label()))));
        let primaries: Vec<_> =
            self.view.shards.iter().flat_map(ShardView::primaries).copied().collect();
        match primaries[..] {
            [] => {}
            [primary] => evidence.push(("primary", text(self.view.name(primary)))),
            _ => evidence.push(("primary", self.names(&primaries))),
        }
        evidence.push(("checks", Value::Number(endpoint.wrong_checks.into())));
        let severity = match kind {
            EndpointKind::Reader => Severity::Warning,
            EndpointKind::Primary if endpoint.overdue => Severity::Critical,
            // A failover just happened, and the endpoint may be about to follow.
            EndpointKind::Primary => Severity::Info,
        };
        self.add(FindingKind::RedisPrimaryEndpointWrong, severity, None, evidence);
        if let Some(finding) = self.findings.last_mut() {
            finding.endpoint = Some(kind);
        }
    }
}
