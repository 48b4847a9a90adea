//! `/scrape?target=NODE`: metrics of one node under the names of redis_exporter.
//!
//! The values are those of the last round. Rolecall never connects to a target of a request.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use catalog::{Format, encode_legacy};
use serde::Deserialize;
use topology::NodeView;

use super::{WebState, metrics};

/// Query parameters. The other parameters of redis_exporter concern keys and are ignored.
#[derive(Deserialize)]
pub(super) struct Target {
    target: Option<String>,
    deployment: Option<String>,
}

pub(super) async fn serve(State(web): State<WebState>, Query(query): Query<Target>) -> Response {
    let body =
        find(&web, &query).map(|node| (node, web.exporter())).and_then(|(node, exporter)| {
            metrics::body(&web, 1, move |writer| encode_legacy(&node, &exporter, writer))
        });
    match body {
        Ok(body) => ([(CONTENT_TYPE, Format::Text.content_type())], body).into_response(),
        Err(error) => error.into_response(),
    }
}

/// Finds the node by its label, or by its address as `host:port` or URL.
fn find(web: &WebState, query: &Target) -> Result<NodeView, (StatusCode, String)> {
    let refuse = |status, problem: &str| Err((status, format!("{problem}\n")));
    let Some(target) = query.target.as_deref().filter(|target| !target.is_empty()) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "missing parameter \"target\": name or address of a node",
        );
    };
    let address = config::address_of(target);
    let mut found = Vec::new();
    for view in web.registry.views() {
        if query.deployment.as_ref().is_none_or(|name| *name == view.deployment.name) {
            let named = address.clone().map(|address| view.deployment.name_at(address));
            let is_meant = |node: &&NodeView| {
                node.node.name == target || Some(&node.node.name) == named.as_ref()
            };
            found.extend(view.shown().filter(is_meant).cloned());
        }
    }
    match found.len() {
        0 => refuse(
            StatusCode::NOT_FOUND,
            "unknown target, expected a node of a configured deployment",
        ),
        1 => Ok(found.remove(0)),
        _ => refuse(
            StatusCode::BAD_REQUEST,
            "several deployments have this target, choose one with deployment=NAME",
        ),
    }
}
