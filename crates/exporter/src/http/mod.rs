//! The web server. Every response is built from published views: no request waits for Redis.

mod api;
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
use catalog::{Build, ExporterView, NeverReached};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::limits::RequestLimit;
use crate::limits::{ConnectionLimit, limit_connections};
use crate::reload::{Request, Status};
use crate::web_security::{self, WebSecurity};
use poller::ViewRegistry;

use poller::PollerContext;

/// Shared state of all request handlers.
#[derive(Debug, Clone)]
pub(crate) struct WebState {
    pub(crate) registry: ViewRegistry,
    pub(crate) shared: PollerContext,
    pub(crate) build: Build,
    /// Configured external URL of these pages.
    pub(crate) external_url: Option<String>,
    pub(crate) reload: Status,
    /// Sender of reload requests, if `--web.enable-lifecycle` is set.
    pub(crate) lifecycle: Option<mpsc::Sender<Request>>,
    pub(crate) requests: RequestLimit,
    pub(crate) security: WebSecurity,
    /// Runtimes whose tasks are counted: those of the poller and of the web server.
    pub(crate) runtimes: [Handle; 2],
}

/// Serves the routes until the handle shuts it down, over TLS if configured.
///
/// # Errors
/// Fails if the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    web: WebState,
    handle: ServerHandle<SocketAddr>,
) -> std::io::Result<()> {
    let tls = web.security.tls.clone();
    let routes = router(web).into_make_service();
    let server = axum_server::from_tcp(listener)?.handle(handle);
    match tls {
        None => limit_connections(server.acceptor(ConnectionLimit::new())).serve(routes).await,
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls).acceptor(ConnectionLimit::new());
            limit_connections(server.acceptor(acceptor)).serve(routes).await
        }
    }
}

/// Returns the routes.
fn router(web: WebState) -> Router {
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
        .layer(from_fn_with_state(web.security.clone(), web_security::authenticate))
        .layer(map_response(pages::add_security_headers))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(web)
}

async fn ready(State(web): State<WebState>) -> impl IntoResponse {
    if web.registry.ready() {
        (StatusCode::OK, "Rolecall is Ready.\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Rolecall is not Ready: waiting for the first round.\n")
    }
}

async fn reload(State(web): State<WebState>) -> (StatusCode, String) {
    let Some(lifecycle) = &web.lifecycle else {
        return (
            StatusCode::FORBIDDEN,
            "Lifecycle API is not enabled: start with --web.enable-lifecycle.\n".to_owned(),
        );
    };
    let (sender, result) = oneshot::channel();
    if lifecycle.try_send(sender).is_err() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many reload requests are waiting, try again later.\n".to_owned(),
        );
    }
    match result.await {
        Ok(Ok(())) => (StatusCode::OK, String::new()),
        Ok(Err(problem)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("configuration not reloaded: {problem}\n"))
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "Rolecall is stopping.\n".to_owned()),
    }
}

impl WebState {
    fn exporter(&self) -> ExporterView {
        let views = self.registry.views();
        ExporterView {
            build: self.build,
            reload: *self.reload.borrow(),
            commands: self.shared.commands_sent(),
            deployments: views.len(),
            never_reached: NeverReached::count(views.iter().map(|view| &**view)),
            cut_off: self.shared.is_cut_off(),
            external_url: self.external_url.clone(),
            tasks: self.runtimes.iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum(),
            process: crate::process::figures(),
        }
    }
}
