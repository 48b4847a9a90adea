//! `/sd`: what there is to scrape, in the form of Prometheus' HTTP service discovery.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Web;

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct SdQuery {
    /// `nodes`, for `/scrape?target=`; or `deployments`, for `/metrics?deployment=`.
    role: Option<String>,
}

/// One group of targets.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    targets: Vec<String>,
    labels: BTreeMap<String, String>,
}

pub(super) async fn serve(
    State(web): State<Web>,
    Query(asked): Query<SdQuery>,
) -> Result<Json<Vec<Group>>, (StatusCode, String)> {
    let role = asked.role.as_deref().unwrap_or("nodes");
    let views = web.board.views();
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
                format!("role: found {other:?}, accepted are nodes, deployments\n"),
            ));
        }
    };
    Ok(Json(groups))
}

/// Labels under names that Prometheus keeps only where its configuration asks for them: the series have these labels already.
fn meta(labels: &[(String, String)]) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (format!("__meta_rolecall_{name}"), value.clone())).collect()
}
