//! Endpoints of the mode that replaces redis_exporter: metrics of its nodes under the names of
//! redis_exporter, `/scrape` of any target, `/discover-cluster-nodes` and `/health`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use catalog::{Exposition, Format, LegacyStyle, Selection, encode, encode_legacy};
use config::{DEPLOYMENT_OF_URLS, ScrapeTarget};
use poller::ViewRegistry;
use serde::Serialize;
use tokio::time::timeout;
use topology::{DeploymentView, NodeView};

use super::{WebState, metrics};
use crate::redis_exporter::WebOptions;
use crate::redis_exporter::targets::{Refusal, ScrapeTargets};

/// Patterns of the routes that only this mode has.
pub(crate) const PATHS: [&str; 2] = ["/health", "/discover-cluster-nodes"];

/// Parameters of `/scrape` that ask for what Rolecall does not have.
const UNSUPPORTED: [&str; 7] = [
    "check-keys",
    "check-single-keys",
    "check-streams",
    "check-single-streams",
    "count-keys",
    "tls_server_name",
    "tls-server-name",
];

/// State of the handlers in this mode.
#[derive(Debug, Clone)]
pub(crate) struct RedisExporterMode {
    pub(crate) web_options: Arc<WebOptions>,
    /// Targets of `/scrape`; `None` if the endpoint is disabled.
    pub(crate) targets: Option<ScrapeTargets>,
}

/// Group of targets, as Prometheus reads it.
#[derive(Debug, Serialize)]
struct Group {
    targets: Vec<String>,
    labels: BTreeMap<String, String>,
}

/// Status and text of a refused request.
type Refused = (StatusCode, String);

/// Adds the routes that only this mode has.
pub(super) fn add_routes(router: Router<WebState>, mode: &RedisExporterMode) -> Router<WebState> {
    let [health, discovery] = PATHS;
    let router = router.route(health, get(|| async { "ok" })).route(discovery, get(discover));
    match &mode.web_options.telemetry_path {
        Some(path) => router.route(path, get(metrics::serve)),
        None => router,
    }
}

/// Serves `/metrics`: the configured node under the names of redis_exporter, then the exporter.
pub(super) async fn serve_metrics(web: WebState, mode: &RedisExporterMode) -> Response {
    let node = match configured(&web) {
        Some(_) => decided(&web.registry, DEPLOYMENT_OF_URLS, mode, first_node).await,
        None => None,
    };
    let exporter = web.exporter();
    let options = Arc::clone(&mode.web_options);
    respond(metrics::body(&web, 1, move |writer| {
        encode_legacy(node.as_ref(), &exporter, &options.style, writer)?;
        if options.redis_only {
            return Ok(());
        }
        let exposition = Exposition {
            exporter: Some(exporter),
            deployments: Vec::new(),
            selection: Selection::Full,
        };
        encode(&exposition, Format::Text, writer)
    }))
}

/// Serves `/scrape`.
pub(super) async fn serve_scrape(
    web: WebState,
    mode: &RedisExporterMode,
    parameters: &[(String, String)],
) -> Response {
    let node = find(&web, mode, parameters).await;
    respond(node.and_then(|node| body(&web, node, mode.web_options.style.clone())))
}

/// Returns the metrics of a node, and those that redis_exporter has of itself.
pub(super) fn body(web: &WebState, node: NodeView, style: LegacyStyle) -> Result<Body, Refused> {
    let exporter = web.exporter();
    metrics::body(web, 1, move |writer| encode_legacy(Some(&node), &exporter, &style, writer))
}

fn respond(body: Result<Body, Refused>) -> Response {
    match body {
        Ok(body) => ([(CONTENT_TYPE, Format::Text.content_type())], body).into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// Returns the node that a request names, after its first reply.
async fn find(
    web: &WebState,
    mode: &RedisExporterMode,
    parameters: &[(String, String)],
) -> Result<NodeView, Refused> {
    let Some(targets) = &mode.targets else {
        return refuse(StatusCode::NOT_FOUND, "--disable-scrape-endpoint is set");
    };
    let is_used = |(name, value): &&(String, String)| {
        !value.is_empty() && UNSUPPORTED.contains(&name.as_str())
    };
    if let Some((name, _)) = parameters.iter().find(is_used) {
        return refuse(StatusCode::BAD_REQUEST, &format!("parameter {name:?} is not supported"));
    }
    let target = parameters.iter().find(|(name, value)| name == "target" && !value.is_empty());
    let Some((_, target)) = target else {
        return refuse(StatusCode::BAD_REQUEST, "missing parameter \"target\"");
    };
    let target = ScrapeTarget::parse(target)
        .or_else(|problem| refuse(StatusCode::BAD_REQUEST, &format!("target: {problem}")))?;
    let address = target.address();
    let meant = |view: &DeploymentView| {
        let name = view.deployment.name_at(address.clone());
        view.shown().find(|node| node.node.name == name).cloned()
    };
    let known = configured(web).filter(|_| targets.has_default_user(&target));
    if known.is_some_and(|view| meant(&view).is_some())
        && let Some(node) = decided(&web.registry, DEPLOYMENT_OF_URLS, mode, meant).await
    {
        return Ok(node);
    }
    let name = targets.scrape(&target).or_else(|refusal| match refusal {
        Refusal::TooMany(limit) => {
            let problem = format!("limit of targets reached ({limit}), try again later");
            refuse(StatusCode::SERVICE_UNAVAILABLE, &problem)
        }
        Refusal::NoAccess(problem) => refuse(StatusCode::BAD_REQUEST, &problem),
    })?;
    let found = decided(&web.registry, &name, mode, first_node).await;
    found.map_or_else(|| refuse(StatusCode::SERVICE_UNAVAILABLE, "not polled yet"), Ok)
}

fn refuse<T>(status: StatusCode, problem: &str) -> Result<T, Refused> {
    Err((status, format!("{problem}\n")))
}

/// Returns the last view of the configured deployment, if there is one.
fn configured(web: &WebState) -> Option<Arc<DeploymentView>> {
    let views = web.registry.views();
    views.into_iter().find(|view| view.deployment.name == DEPLOYMENT_OF_URLS)
}

fn first_node(view: &DeploymentView) -> Option<NodeView> {
    view.shown().next().cloned()
}

/// Returns a node of a deployment as soon as it is known whether it replies. After the limit,
/// returns it as it is.
async fn decided(
    registry: &ViewRegistry,
    deployment: &str,
    mode: &RedisExporterMode,
    node: impl Fn(&DeploymentView) -> Option<NodeView>,
) -> Option<NodeView> {
    // A refusal of Rolecall itself, as of a metadata service, says nothing about the node.
    let is_known = |node: &NodeView| node.readable().is_some() || node.failure().is_some();
    let is_decided = |view: &DeploymentView| node(view).is_some_and(|node| is_known(&node));
    let view =
        match timeout(mode.web_options.first_reply, registry.view_when(deployment, is_decided))
            .await
        {
            Ok(view) => Some(view),
            Err(_) => registry.views().into_iter().find(|view| view.deployment.name == deployment),
        };
    view.and_then(|view| node(&view))
}

/// Parameters of a request, in their order.
pub(super) type Parameters = Query<Vec<(String, String)>>;

/// Serves `/discover-cluster-nodes`: the nodes as targets of `/scrape`, for `http_sd_configs`.
async fn discover(State(web): State<WebState>) -> Response {
    let is_cluster = web.redis_exporter.as_ref().is_some_and(|mode| mode.web_options.is_cluster);
    let Some(view) = configured(&web).filter(|_| is_cluster) else {
        let problem = "The discovery endpoint is only available on a redis cluster\n";
        return (StatusCode::BAD_REQUEST, problem).into_response();
    };
    let targets = view.shown().map(|node| format!("redis://{}", node.node.name)).collect();
    Json(vec![Group { targets, labels: BTreeMap::new() }]).into_response()
}
