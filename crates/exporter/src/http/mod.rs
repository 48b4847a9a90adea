//! The web server. Every response is built from published views: no request waits for Redis.

mod api;
pub(crate) mod in_process;
pub(crate) mod measure;
mod metrics;
mod origin;
mod pages;
pub(crate) mod redis_exporter;
mod scrape;
mod sd;

use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use axum_server::Handle as ServerHandle;
use axum_server::tls_rustls::RustlsAcceptor;
use catalog::{Build, ExporterView, NeverReached, Selection};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use self::measure::RequestMeter;
use self::redis_exporter::RedisExporterMode;
use crate::limits::{ConnectionLimit, RequestLimit, limit_connections};
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
    /// Metrics of a scrape that does not name any.
    pub(crate) selection: Selection,
    pub(crate) reload: Status,
    /// Sender of reload requests, if `--web.enable-lifecycle` is set.
    pub(crate) lifecycle: Option<mpsc::Sender<Request>>,
    pub(crate) connections: ConnectionLimit,
    pub(crate) requests: RequestLimit,
    pub(crate) meter: RequestMeter,
    pub(crate) security: WebSecurity,
    /// State of the mode that replaces redis_exporter; `None` in the normal mode.
    pub(crate) redis_exporter: Option<RedisExporterMode>,
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
    let connections = web.connections.clone();
    let routes = router(web).into_make_service();
    let server = axum_server::from_tcp(listener)?.handle(handle);
    match tls {
        None => limit_connections(server.acceptor(connections)).serve(routes).await,
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls).acceptor(connections);
            limit_connections(server.acceptor(acceptor)).serve(routes).await
        }
    }
}

/// Patterns of the routes.
pub(crate) const PATHS: [&str; 15] = [
    "/",
    "/deployment/{name}",
    "/deployment/{name}/node/{node}",
    "/runbooks",
    "/runbooks/{alert}",
    "/static/{name}",
    "/metrics",
    "/scrape",
    "/api/v1/topology",
    "/api/v1/findings",
    "/api/v1/events",
    "/sd",
    "/-/healthy",
    "/-/ready",
    "/-/reload",
];

/// Returns the patterns of the routes whose requests are counted by path.
pub(crate) fn paths(is_redis_exporter: bool) -> Vec<&'static str> {
    let own = if is_redis_exporter { &redis_exporter::PATHS[..] } else { &[] };
    [&PATHS, own].concat()
}

/// Returns the handler of each route.
fn handlers() -> [MethodRouter<WebState>; PATHS.len()] {
    [
        get(pages::status),
        get(pages::deployment),
        get(pages::node),
        get(pages::runbooks),
        get(pages::runbook),
        get(pages::file),
        get(metrics::serve),
        get(scrape::serve),
        get(api::serve_topology),
        get(api::serve_findings),
        get(api::serve_events),
        get(sd::serve),
        get(|| async { "Rolecall is Healthy.\n" }),
        get(ready),
        post(reload).put(reload),
    ]
}

/// Returns the routes.
fn router(web: WebState) -> Router {
    let handled_paths = PATHS.into_iter().zip(handlers());
    let router =
        handled_paths.fold(Router::new(), |router, (path, handler)| router.route(path, handler));
    let router = match &web.redis_exporter {
        Some(mode) => redis_exporter::add_routes(router, mode),
        None => router,
    };
    router
        .layer(from_fn_with_state(web.security.clone(), web_security::authenticate))
        .layer(map_response(pages::add_security_headers))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(from_fn_with_state(web.meter.clone(), measure::measure))
        .with_state(web)
}

async fn ready(State(web): State<WebState>) -> impl IntoResponse {
    if web.registry.ready() {
        (StatusCode::OK, "Rolecall is Ready.\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Rolecall is not Ready: waiting for the first round.\n")
    }
}

async fn reload(State(web): State<WebState>, headers: HeaderMap) -> (StatusCode, String) {
    if origin::is_foreign(&headers, web.external_url.as_deref()) {
        return (
            StatusCode::FORBIDDEN,
            "Refused: a page of another site sent this request. Pages of this server are those \
             under its own address and under web.external_url.\n"
                .to_owned(),
        );
    }
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
            requests: self.meter.requests(),
            refused_connections: self.connections.refused(),
            tasks: self.runtimes.iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum(),
            process: crate::process::figures(),
        }
    }
}
