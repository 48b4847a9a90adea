//! Limits for clients of the web server: connections, headers, slow clients, concurrent requests.

use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::http::StatusCode;
use axum::middleware::AddExtension;
use axum_server::Server;
use axum_server::accept::Accept;
use hyper_util::rt::TokioTimer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Layer;

/// Limit of open connections. Further connections are closed immediately.
const MAX_CONNECTIONS: usize = 1024;

/// Limit of concurrent requests for metrics and pages. Further requests get 503.
const MAX_REQUESTS: usize = 40;

/// Limit of the request headers, bytes.
const MAX_HEADER_BYTES: u16 = 16 << 10;

/// Time that a client gets to send the request headers, including idle time between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Limit of open connections, as an acceptor.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimit(Arc<Semaphore>);

/// Limit of concurrent requests.
#[derive(Debug, Clone)]
pub(crate) struct RequestLimit(Arc<Semaphore>);

/// Sets the limits of one connection.
///
/// Set the acceptor before: setting an acceptor resets the HTTP version, and a server that detects
/// the version waits without a time limit.
pub(crate) fn limit_connections<A: axum_server::Address, T>(server: Server<A, T>) -> Server<A, T> {
    let mut server = server.http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES.into());
    server
}

impl ConnectionLimit {
    /// Creates the limit.
    pub(crate) fn new() -> Self {
        ConnectionLimit(Arc::new(Semaphore::new(MAX_CONNECTIONS)))
    }
}

impl<I, S> Accept<I, S> for ConnectionLimit {
    type Stream = I;
    type Service = AddExtension<S, Arc<OwnedSemaphorePermit>>;
    type Future = Ready<io::Result<(I, Self::Service)>>;

    /// Attaches the permit to the service of the connection, which returns it when it ends.
    fn accept(&self, stream: I, service: S) -> Self::Future {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(io::Error::other);
        ready(permit.map(|permit| (stream, Extension(Arc::new(permit)).layer(service))))
    }
}

impl RequestLimit {
    pub(crate) fn new() -> Self {
        RequestLimit(Arc::new(Semaphore::new(MAX_REQUESTS)))
    }

    /// Acquires a permit for one request.
    ///
    /// # Errors
    /// Fails with the response to send if the limit is reached.
    pub(crate) fn acquire(&self) -> Result<OwnedSemaphorePermit, (StatusCode, String)> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| overloaded(MAX_REQUESTS))
    }
}

/// Returns the response for a request beyond the limit.
pub(crate) fn overloaded(limit: usize) -> (StatusCode, String) {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("Limit of concurrent requests reached ({limit}), try again later.\n"),
    )
}
