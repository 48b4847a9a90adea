//! Counts and durations of requests.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use catalog::HttpRequests;
use poller::Clock;
use tokio::time::Instant;

/// Counts and durations of the requests so far.
#[derive(Debug, Clone)]
pub(crate) struct RequestMeter {
    clock: Clock,
    requests: Arc<Mutex<HttpRequests>>,
}

/// Body of a response. The request ends when the body is dropped: after its end, or when the
/// connection is closed.
struct MeasuredBody {
    body: Body,
    _request: MeasuredRequest,
}

/// Request whose response began.
struct MeasuredRequest {
    meter: RequestMeter,
    path: &'static str,
    status: StatusCode,
    started: Instant,
}

impl RequestMeter {
    /// Creates a meter for the routes with these patterns. Requests for other paths are counted
    /// together.
    pub(crate) fn new(clock: Clock, paths: &[&'static str]) -> Self {
        RequestMeter { clock, requests: Arc::new(Mutex::new(HttpRequests::new(paths))) }
    }

    /// Returns the counts and durations.
    pub(crate) fn requests(&self) -> HttpRequests {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HttpRequests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures a request.
pub(super) async fn measure(
    State(meter): State<RequestMeter>,
    request: Request,
    next: Next,
) -> Response {
    let started = meter.clock.now();
    let pattern = request.extensions().get::<MatchedPath>();
    let path = meter.lock().path(pattern.map_or("", MatchedPath::as_str));
    let (head, body) = next.run(request).await.into_parts();
    let request = MeasuredRequest { meter, path, status: head.status, started };
    Response::from_parts(head, Body::new(MeasuredBody { body, _request: request }))
}

impl HttpBody for MeasuredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for MeasuredRequest {
    fn drop(&mut self) {
        let duration = self.meter.clock.now() - self.started;
        self.meter.lock().add(self.path, self.status.as_u16(), duration);
    }
}
