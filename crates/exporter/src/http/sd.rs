//! `/sd`: scrape targets in the format of Prometheus' HTTP service discovery.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::WebState;

/// Query parameters.
#[derive(Debug, Deserialize)]
pub(super) struct SdQuery {
    /// `nodes` (default) for `/scrape?target=`, or `deployments` for `/metrics?deployment=`.
    role: Option<String>,
}

/// Group of targets with common labels.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    targets: Vec<String>,
    labels: BTreeMap<String, String>,
}

pub(super) async fn serve(
    State(web): State<WebState>,
    Query(query): Query<SdQuery>,
) -> Result<Json<Vec<Group>>, (StatusCode, String)> {
    let role = query.role.as_deref().unwrap_or("nodes");
    let views = web.registry.views();
    let groups = match role {
        "nodes" => {
            let nodes = views.iter().flat_map(|view| view.shown());
            nodes
                .map(|node| Group {
                    targets: vec![node.node.name.clone()],
                    labels: meta(&node.node.labels),
                })
                .collect()
        }
        "deployments" => {
            let of = |labels: &[(String, String)], name: &str| Group {
                targets: vec![name.to_owned()],
                labels: meta(labels),
            };
            views.iter().map(|view| of(&view.deployment.labels, &view.deployment.name)).collect()
        }
        other => {
            return Err((
                StatusCode::BAD_REQUEST,
                format!("invalid role {other:?}, expected nodes or deployments\n"),
            ));
        }
    };
    Ok(Json(groups))
}

/// Returns the labels as `__meta_rolecall_*`, which Prometheus drops unless relabeling keeps them.
/// The series have these labels already.
fn meta(labels: &[(String, String)]) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (format!("__meta_rolecall_{name}"), value.clone())).collect()
}
