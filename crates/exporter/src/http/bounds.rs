//! What keeps clients of the web server in bounds: connections, headers, slow clients, requests at a time.

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

/// The most connections that are open at a time; more are closed at once.
const MAX_CONNECTIONS: usize = 1024;

/// The most expositions that are written at a time; more are turned away, as by other exporters.
const MAX_REQUESTS: usize = 40;

/// The longest head of a request, bytes.
const MAX_HEAD: u16 = 16 << 10;

/// How long a client may take for the head of a request, the time between two requests included.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// Gives out the right to a connection.
#[derive(Debug, Clone)]
pub(crate) struct Connections(Arc<Semaphore>);

/// Gives out the right to have an exposition written.
#[derive(Debug, Clone)]
pub(crate) struct Requests(Arc<Semaphore>);

/// Bounds what one connection may do. The acceptor must be set before: setting one forgets the version of HTTP, and a server that waits to see
/// which it is waits for ever.
pub(crate) fn bound<A: axum_server::Address, T>(server: Server<A, T>) -> Server<A, T> {
    let mut server = server.http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD.into());
    server
}

impl Connections {
    /// As many as there may be.
    pub(crate) fn new() -> Self {
        Connections(Arc::new(Semaphore::new(MAX_CONNECTIONS)))
    }
}

impl<I, S> Accept<I, S> for Connections {
    type Stream = I;
    type Service = AddExtension<S, Arc<OwnedSemaphorePermit>>;
    type Future = Ready<io::Result<(I, Self::Service)>>;

    /// The right goes with the service of the connection, and comes back with its end.
    fn accept(&self, stream: I, service: S) -> Self::Future {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(io::Error::other);
        ready(permit.map(|permit| (stream, Extension(Arc::new(permit)).layer(service))))
    }
}

impl Requests {
    pub(crate) fn new() -> Self {
        Requests(Arc::new(Semaphore::new(MAX_REQUESTS)))
    }

    /// The right to one exposition, or what to answer.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, (StatusCode, String)> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| refusal(MAX_REQUESTS))
    }
}

/// What is answered where this many are served already.
pub(super) fn refusal(limit: usize) -> (StatusCode, String) {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("Limit of concurrent requests reached ({limit}), try again later.\n"),
    )
}
