//! The web server. Every answer comes from what was published: no request waits for a Redis server.

mod api;
mod bounds;
mod metrics;
mod scrape;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use catalog::{Build, ExporterView, Reload};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::board::Board;
pub(crate) use bounds::{Requests, bound};

use crate::rounds::Shared;

/// What requests are answered from.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    pub(crate) board: Board,
    pub(crate) shared: Shared,
    pub(crate) build: Build,
    pub(crate) reload: Reload,
    pub(crate) requests: Requests,
}

/// The routes.
pub(crate) fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(landing))
        .route("/metrics", get(metrics::serve))
        .route("/scrape", get(scrape::serve))
        .route("/api/v1/topology", get(api::serve_topology))
        .route("/api/v1/findings", get(api::serve_findings))
        .route("/api/v1/events", get(api::serve_events))
        .route("/-/healthy", get(|| async { "Rolecall is Healthy.\n" }))
        .route("/-/ready", get(ready))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(web)
}

async fn landing(State(web): State<Web>) -> impl IntoResponse {
    let views = web.board.views();
    Html(report::landing(web.build.version, views.iter().map(|view| &**view)))
}

async fn ready(State(web): State<Web>) -> impl IntoResponse {
    if web.board.ready() {
        (StatusCode::OK, "Rolecall is Ready.\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Rolecall is not Ready: waiting for the first round.\n")
    }
}

impl Web {
    fn exporter(&self) -> ExporterView {
        ExporterView {
            build: self.build,
            reload: self.reload,
            commands: self.shared.sent(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            process: crate::process::figures(),
        }
    }
}
