//! `/api/v1`: JSON documents.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use report::api::{Events, Findings, Topology, events, findings, topology};
use serde::Deserialize;
use topology::DeploymentView;

use super::WebState;

/// Query parameters.
#[derive(Debug, Deserialize)]
pub(super) struct DeploymentQuery {
    /// Name of one deployment; all deployments if absent.
    deployment: Option<String>,
}

type ErrorResponse = (StatusCode, String);

pub(super) async fn serve_topology(
    State(web): State<WebState>,
    Query(query): Query<DeploymentQuery>,
) -> Result<Json<Topology>, ErrorResponse> {
    Ok(Json(topology(&views(&web, &query)?)))
}

pub(super) async fn serve_findings(
    State(web): State<WebState>,
    Query(query): Query<DeploymentQuery>,
) -> Result<Json<Findings>, ErrorResponse> {
    Ok(Json(findings(&views(&web, &query)?)))
}

pub(super) async fn serve_events(
    State(web): State<WebState>,
    Query(query): Query<DeploymentQuery>,
) -> Result<Json<Events>, ErrorResponse> {
    Ok(Json(events(&views(&web, &query)?)))
}

fn views(
    web: &WebState,
    query: &DeploymentQuery,
) -> Result<Vec<Arc<DeploymentView>>, ErrorResponse> {
    let mut views = web.registry.views();
    if let Some(name) = &query.deployment {
        views.retain(|view| view.deployment.name == *name);
        if views.is_empty() {
            return Err((StatusCode::NOT_FOUND, format!("unknown deployment {name:?}\n")));
        }
    }
    Ok(views)
}
