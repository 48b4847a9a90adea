//! `/scrape?target=NODE`: one configured node in redis_exporter's own names, from the last round. No other target is ever connected to.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use catalog::{Format, encode_legacy};
use serde::Deserialize;
use topology::NodeView;

use super::{Web, metrics};

/// What may be asked for. redis_exporter knows more, all of it about keys; that is refused nowhere and ignored here.
#[derive(Deserialize)]
pub(super) struct Target {
    target: Option<String>,
    deployment: Option<String>,
}

pub(super) async fn serve(State(web): State<Web>, Query(asked): Query<Target>) -> Response {
    let body = find(&web, &asked)
        .and_then(|node| metrics::body(&web, move |writer| encode_legacy(node, writer)));
    match body {
        Ok(body) => ([(CONTENT_TYPE, Format::Text.content_type())], body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// The one configured node that is meant: by its label, or by its address as host:port or as a URL.
fn find(web: &Web, asked: &Target) -> Result<NodeView, (StatusCode, String)> {
    let refuse = |status, problem: &str| Err((status, format!("target: {problem}\n")));
    let Some(target) = asked.target.as_deref().filter(|target| !target.is_empty()) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "found none, accepted is a configured node by name or address",
        );
    };
    let address = config::address_of(target);
    let mut found = Vec::new();
    for view in web.board.views() {
        if asked.deployment.as_ref().is_none_or(|name| *name == view.deployment.name) {
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
            "this node is not configured, and no other is connected to",
        ),
        1 => Ok(found.remove(0)),
        _ => refuse(
            StatusCode::BAD_REQUEST,
            "several deployments have this node, name one with deployment=",
        ),
    }
}
