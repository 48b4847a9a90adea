//! Statements of endpoint checks: a check that reached the process of a node.

use snapshot::Role;

use super::statement::{Content, Observed, Statement};
use crate::model::endpoint::EndpointCheckResult;
use crate::model::witness::WitnessKind;

/// Returns the statement of a check about the node whose process it reached, if the node does not
/// reply.
pub(super) fn statement(check: &EndpointCheckResult, observed: Observed<'_>) -> Option<Statement> {
    let server = check.outcome.as_ref().ok()?;
    let run_id = server.run_id.as_deref()?;
    let (node, _) = observed.failing().find(|(_, node)| {
        node.last.as_ref().and_then(|last| last.identity.run_id.as_deref()) == Some(run_id)
    })?;
    Some(Statement {
        node,
        kind: WitnessKind::Endpoint,
        requested: check.started,
        content: Content::Alive(check.started),
        valid_for: check.interval,
        connected: false,
        same: true,
        lived: true,
        master: server.role == Some(Role::Master),
    })
}
