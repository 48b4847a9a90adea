//! Findings about endpoints that lead to the wrong server.

use super::FindingsCollector;
use crate::model::finding::evidence::EndpointEvidence;
use crate::model::finding::{Evidence, Severity};

use crate::limits::ENDPOINT_WRONG_CHECKS;
use crate::model::endpoint::{EndpointKind, EndpointView};
use crate::model::shard::ShardView;

impl FindingsCollector<'_> {
    pub(super) fn check_endpoint(&mut self, endpoint: &EndpointView) {
        if endpoint.correct != Some(false) || endpoint.wrong_checks < ENDPOINT_WRONG_CHECKS {
            return;
        }
        let kind = endpoint.configured.kind;
        let primaries: Vec<_> =
            self.view.shards.iter().flat_map(ShardView::primaries).copied().collect();
        let severity = match kind {
            EndpointKind::Reader => Severity::Warning,
            EndpointKind::Primary if endpoint.overdue => Severity::Critical,
            // A failover has just happened, and the endpoint may be about to follow.
            EndpointKind::Primary => Severity::Info,
        };
        let evidence = EndpointEvidence {
            endpoint: kind,
            leads_to: endpoint.leads_to.clone(),
            role: endpoint.role,
            primaries: self.names(&primaries),
            checks: endpoint.wrong_checks,
        };
        self.add(severity, None, Evidence::RedisPrimaryEndpointWrong(evidence));
    }
}
