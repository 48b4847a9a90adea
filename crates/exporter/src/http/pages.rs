//! HTML pages, rendered from published views, and their static files.

use axum::extract::{Path, Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use report::{Site, assets};
use serde::Deserialize;
use tokio::task::block_in_place;

use super::WebState;

/// Content security policy: only files of this server, no inline code, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// Query parameters of a list: see [`report::SearchQuery`].
#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: String,
}

/// Query parameters of a runbook page. Links in alerts may contain empty labels.
#[derive(Debug, Deserialize)]
pub(super) struct RunbookQuery {
    deployment: Option<String>,
    node: Option<String>,
}

pub(super) async fn status(
    State(web): State<WebState>,
    Query(query): Query<PageQuery>,
) -> Response {
    page(&web, |site| Ok(site.status(&query.into())))
}

pub(super) async fn deployment(
    State(web): State<WebState>,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
) -> Response {
    page(&web, |site| site.deployment(&name, &query.into()))
}

pub(super) async fn node(
    State(web): State<WebState>,
    Path((deployment, node)): Path<(String, String)>,
) -> Response {
    page(&web, |site| site.node(&deployment, &node))
}

pub(super) async fn runbooks(State(web): State<WebState>) -> Response {
    page(&web, |site| Ok(site.runbooks()))
}

pub(super) async fn runbook(
    State(web): State<WebState>,
    Path(alert): Path<String>,
    Query(subject): Query<RunbookQuery>,
) -> Response {
    let non_empty = |label: Option<String>| label.filter(|label| !label.is_empty());
    let (deployment, node) = (non_empty(subject.deployment), non_empty(subject.node));
    page(&web, |site| site.runbook(&alert, deployment.as_deref(), node.as_deref()))
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    let Some(asset) = assets().iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // The name contains a hash of the content.
    (
        [
            (CONTENT_TYPE, asset.content_type),
            (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ],
        asset.text,
    )
        .into_response()
}

/// Renders a page. Thousands of nodes take a while; another thread serves other requests.
fn page(web: &WebState, render: impl FnOnce(Site<'_>) -> Result<String, String>) -> Response {
    let _permit = match web.requests.acquire() {
        Ok(permit) => permit,
        Err(overloaded) => return overloaded.into_response(),
    };
    let views = web.registry.views();
    let site = Site { version: web.build.version, now: web.shared.clock.wall(), views: &views };
    let (status, text) = match block_in_place(|| render(site)) {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::NOT_FOUND, text),
    };
    (status, [(CACHE_CONTROL, "no-store")], Html(text)).into_response()
}

/// Adds security headers to every response, because browsers may interpret any response as a page.
pub(super) async fn add_security_headers(mut response: Response) -> Response {
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    response
        .headers_mut()
        .extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

impl From<PageQuery> for report::SearchQuery {
    /// Converts the query. An invalid page number means the first page.
    fn from(query: PageQuery) -> Self {
        report::SearchQuery { words: query.q, page: query.page.parse().unwrap_or_default() }
    }
}
