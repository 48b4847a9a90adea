//! `/scrape?target=NODE`: metrics of one node under the names of redis_exporter.
//!
//! The values are those of the last round. Except in the mode that replaces redis_exporter,
//! Rolecall never connects to a target of a request.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use catalog::{Format, LegacyStyle};
use topology::NodeView;

use super::WebState;
use super::redis_exporter::{self, Parameters};

/// Query parameters. The other parameters of redis_exporter concern keys and are ignored.
struct Target<'a> {
    target: Option<&'a str>,
    deployment: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn from_parameters(parameters: &'a [(String, String)]) -> Self {
        let value = |name: &str| {
            let found = parameters.iter().find(|(parameter, _)| parameter == name);
            found.map(|(_, value)| value.as_str())
        };
        Target { target: value("target"), deployment: value("deployment") }
    }
}

pub(super) async fn serve(State(web): State<WebState>, parameters: Parameters) -> Response {
    if let Some(mode) = web.redis_exporter.clone() {
        return redis_exporter::serve_scrape(web, &mode, &parameters).await;
    }
    let query = Target::from_parameters(&parameters);
    let body = find(&web, &query)
        .and_then(|node| redis_exporter::body(&web, node, LegacyStyle::default()));
    match body {
        Ok(body) => ([(CONTENT_TYPE, Format::Text.content_type())], body).into_response(),
        Err(error) => error.into_response(),
    }
}

/// Finds the node by its label, or by its address as `host:port` or URL.
fn find(web: &WebState, query: &Target<'_>) -> Result<NodeView, (StatusCode, String)> {
    let refuse = |status, problem: &str| Err((status, format!("{problem}\n")));
    let Some(target) = query.target.filter(|target| !target.is_empty()) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "missing parameter \"target\": name or address of a node",
        );
    };
    let address = config::address_of(target);
    let mut found = Vec::new();
    for view in web.registry.views() {
        if query.deployment.is_none_or(|name| name == view.deployment.name) {
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
