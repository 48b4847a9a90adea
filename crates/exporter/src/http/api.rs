//! `/api/v1`: what is known, for programs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use report::api::{Events, Findings, Topology, events, findings, topology};
use serde::Deserialize;
use topology::DeploymentView;

use super::Web;

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct EventsQuery {
    /// One deployment; all of them without it.
    deployment: Option<String>,
}

type Refusal = (StatusCode, String);

pub(super) async fn serve_topology(
    State(web): State<Web>,
    Query(asked): Query<EventsQuery>,
) -> Result<Json<Topology>, Refusal> {
    Ok(Json(topology(&views(&web, &asked)?)))
}

pub(super) async fn serve_findings(
    State(web): State<Web>,
    Query(asked): Query<EventsQuery>,
) -> Result<Json<Findings>, Refusal> {
    Ok(Json(findings(&views(&web, &asked)?)))
}

pub(super) async fn serve_events(
    State(web): State<Web>,
    Query(asked): Query<EventsQuery>,
) -> Result<Json<Events>, Refusal> {
    Ok(Json(events(&views(&web, &asked)?)))
}

fn views(web: &Web, asked: &EventsQuery) -> Result<Vec<Arc<DeploymentView>>, Refusal> {
    let mut views = web.board.views();
    if let Some(name) = &asked.deployment {
        views.retain(|view| view.deployment.name == *name);
        if views.is_empty() {
            return Err((
                StatusCode::NOT_FOUND,
                format!("deployment: found {name:?}, which is not configured\n"),
            ));
        }
    }
    Ok(views)
}
