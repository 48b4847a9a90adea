//! The pages for people, rendered from what was published, and the files that they refer to.

use axum::extract::{Path, Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use report::{Site, assets};
use serde::Deserialize;
use tokio::task::block_in_place;

use super::Web;

/// Nothing but our own files, no code within a page, and no frame around one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// What is asked of a list: see [`report::SearchQuery`].
#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: String,
}

/// What a runbook is asked for: as links in alerts have it, where a label may be empty.
#[derive(Debug, Deserialize)]
pub(super) struct Subject {
    deployment: Option<String>,
    node: Option<String>,
}

pub(super) async fn status(State(web): State<Web>, Query(asked): Query<PageQuery>) -> Response {
    page(&web, |site| Ok(site.status(&asked.into())))
}

pub(super) async fn deployment(
    State(web): State<Web>,
    Path(name): Path<String>,
    Query(asked): Query<PageQuery>,
) -> Response {
    page(&web, |site| site.deployment(&name, &asked.into()))
}

pub(super) async fn node(
    State(web): State<Web>,
    Path((deployment, node)): Path<(String, String)>,
) -> Response {
    page(&web, |site| site.node(&deployment, &node))
}

pub(super) async fn runbooks(State(web): State<Web>) -> Response {
    page(&web, |site| Ok(site.runbooks()))
}

pub(super) async fn runbook(
    State(web): State<Web>,
    Path(alert): Path<String>,
    Query(subject): Query<Subject>,
) -> Response {
    let said = |label: Option<String>| label.filter(|label| !label.is_empty());
    let (deployment, node) = (said(subject.deployment), said(subject.node));
    page(&web, |site| site.runbook(&alert, deployment.as_deref(), node.as_deref()))
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    let Some(asset) = assets().iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Its name changes with its text.
    (
        [
            (CONTENT_TYPE, asset.content_type),
            (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ],
        asset.text,
    )
        .into_response()
}

/// Renders a page. One of thousands of nodes takes a while, in which another thread serves the other requests.
fn page(web: &Web, render: impl FnOnce(Site<'_>) -> Result<String, String>) -> Response {
    let _permit = match web.requests.admit() {
        Ok(permit) => permit,
        Err(refusal) => return refusal.into_response(),
    };
    let views = web.board.views();
    let site = Site { version: web.build.version, now: web.shared.clock.wall(), views: &views };
    let (status, text) = match block_in_place(|| render(site)) {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::NOT_FOUND, text),
    };
    (status, [(CACHE_CONTROL, "no-store")], Html(text)).into_response()
}

/// What browsers are told about every answer: also what is no page must not be taken for one.
pub(super) async fn guarded(mut response: Response) -> Response {
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
    /// A page that is no number is the first.
    fn from(asked: PageQuery) -> Self {
        report::SearchQuery { words: asked.q, page: asked.page.parse().unwrap_or_default() }
    }
}
