//! The web server. Every answer comes from what was published: no request waits for a Redis server.

mod api;
mod bounds;
mod gate;
mod metrics;
mod pages;
mod scrape;
mod sd;

use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum_server::Handle as ServerHandle;
use axum_server::tls_rustls::RustlsAcceptor;
use catalog::{Build, ExporterView};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::reload::{Request, Status};
pub(crate) use bounds::Requests;
use bounds::{Connections, bound};
pub(crate) use gate::Gate;
use poller::ViewRegistry;

use poller::PollerContext;

/// What requests are answered from.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    pub(crate) board: ViewRegistry,
    pub(crate) shared: PollerContext,
    pub(crate) build: Build,
    /// Where people reach these pages, if that is configured.
    pub(crate) external_url: Option<String>,
    pub(crate) reload: Status,
    /// The way to ask for a reload, where that is enabled.
    pub(crate) lifecycle: Option<mpsc::Sender<Request>>,
    pub(crate) requests: Requests,
    pub(crate) gate: Gate,
    /// Whose tasks are counted: that of the rounds, and that of the web server.
    pub(crate) runtimes: [Handle; 2],
}

/// Serves the routes for as long as the handle lets it, over TLS where that is configured.
///
/// # Errors
/// The listener failed.
pub(crate) async fn serve(
    listener: TcpListener,
    web: Web,
    handle: ServerHandle<SocketAddr>,
) -> std::io::Result<()> {
    let tls = web.gate.tls.clone();
    let routes = router(web).into_make_service();
    let server = axum_server::from_tcp(listener)?.handle(handle);
    match tls {
        None => bound(server.acceptor(Connections::new())).serve(routes).await,
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls).acceptor(Connections::new());
            bound(server.acceptor(acceptor)).serve(routes).await
        }
    }
}

/// The routes.
fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(pages::status))
        .route("/deployment/{name}", get(pages::deployment))
        .route("/deployment/{name}/node/{node}", get(pages::node))
        .route("/runbooks", get(pages::runbooks))
        .route("/runbooks/{alert}", get(pages::runbook))
        .route("/static/{name}", get(pages::file))
        .route("/metrics", get(metrics::serve))
        .route("/scrape", get(scrape::serve))
        .route("/api/v1/topology", get(api::serve_topology))
        .route("/api/v1/findings", get(api::serve_findings))
        .route("/api/v1/events", get(api::serve_events))
        .route("/sd", get(sd::serve))
        .route("/-/healthy", get(|| async { "Rolecall is Healthy.\n" }))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .layer(from_fn_with_state(web.gate.clone(), gate::guard))
        .layer(map_response(pages::guarded))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(web)
}

async fn ready(State(web): State<Web>) -> impl IntoResponse {
    if web.board.ready() {
        (StatusCode::OK, "Rolecall is Ready.\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Rolecall is not Ready: waiting for the first round.\n")
    }
}

async fn reload(State(web): State<Web>) -> (StatusCode, String) {
    let Some(lifecycle) = &web.lifecycle else {
        return (
            StatusCode::FORBIDDEN,
            "Lifecycle API is not enabled: start with --web.enable-lifecycle.\n".to_owned(),
        );
    };
    let (answer, heard) = oneshot::channel();
    if lifecycle.try_send(answer).is_err() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "Other requests to reload are waiting, try again later.\n".to_owned(),
        );
    }
    match heard.await {
        Ok(Ok(())) => (StatusCode::OK, String::new()),
        Ok(Err(problem)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("configuration not reloaded: {problem}\n"))
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "Rolecall is stopping.\n".to_owned()),
    }
}

impl Web {
    fn exporter(&self) -> ExporterView {
        ExporterView {
            build: self.build,
            reload: *self.reload.borrow(),
            commands: self.shared.sent(),
            deployments: self.board.views().len(),
            external_url: self.external_url.clone(),
            tasks: self.runtimes.iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum(),
            process: crate::process::figures(),
        }
    }
}
