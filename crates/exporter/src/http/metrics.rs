//! `/metrics`: metrics of all views or of a part, encoded while they are sent.

use std::fmt::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use catalog::{Exposition, Format, encode, themes};
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;
use url::form_urlencoded;

use super::WebState;
use crate::limits::RequestPermit;

/// Size of a chunk, bytes.
const CHUNK: usize = 64 * 1024;

/// Limit of chunks that wait for a slow reader.
const CHUNKS: usize = 2;

/// Time after which a chunk that nobody reads ends the response.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn serve(
    State(web): State<WebState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let accept: Vec<_> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::negotiate(&accept.join(","));
    let exposition = match select(&web, query.as_deref().unwrap_or_default()) {
        Ok(exposition) => exposition,
        Err(error) => return error.into_response(),
    };
    let content_type = [(CONTENT_TYPE, format.content_type())];
    match body(&web, move |writer| encode(&exposition, format, writer)) {
        Ok(body) => (content_type, body).into_response(),
        Err(overloaded) => overloaded.into_response(),
    }
}

/// Selects the deployments and themes that the query names; everything without a query.
fn select(web: &WebState, query: &str) -> Result<Exposition, (StatusCode, String)> {
    let mut exposition = Exposition {
        exporter: Some(web.exporter()),
        deployments: web.registry.views(),
        themes: None,
    };
    let mut names = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "collect[]" => {
                let theme = themes().find(|theme| *theme == value);
                let theme = theme.ok_or_else(|| {
                    let known: Vec<_> = themes().collect();
                    (
                        StatusCode::BAD_REQUEST,
                        format!(
                            "unknown collect[] {value:?}, expected one of {}\n",
                            known.join(", ")
                        ),
                    )
                })?;
                exposition.themes.get_or_insert_default().push(theme);
            }
            "deployment"
                if exposition.deployments.iter().all(|view| view.deployment.name != value) =>
            {
                return Err((StatusCode::NOT_FOUND, format!("unknown deployment {value:?}\n")));
            }
            "deployment" => names.push(value.into_owned()),
            // Prometheus configurations may add parameters of their own.
            _ => {}
        }
    }
    if !names.is_empty() {
        exposition.exporter = None;
        exposition.deployments.retain(|view| names.contains(&view.deployment.name));
    }
    Ok(exposition)
}

/// Encodes the body on a separate thread, chunk by chunk. The whole text is never in memory, and
/// encoding does not delay other requests.
///
/// # Errors
/// Fails with the response to send if the limit of concurrent requests is reached.
pub(super) fn body(
    web: &WebState,
    write: impl FnOnce(&mut dyn Write) -> fmt::Result + Send + 'static,
) -> Result<Body, (StatusCode, String)> {
    let permit = web.requests.acquire()?;
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let chunk = String::with_capacity(CHUNK);
    let mut writer = ChunkWriter { chunk, sender, runtime: Handle::current(), permit };
    tokio::task::spawn_blocking(move || {
        // A reader that disconnects or is too slow gets an incomplete response.
        let _ = write(&mut writer).and_then(|()| writer.send()).and_then(|()| writer.end());
    });
    let chunks = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(end) if end.is_empty() => None,
            Some(chunk) => Some((Ok(chunk), Some(receiver))),
            // The writer failed. An error marks the response as incomplete.
            None => Some((Err(fmt::Error), None)),
        }
    });
    // The compression layer polls once more after the end.
    Ok(Body::from_stream(chunks.fuse()))
}

/// Writer that collects text and sends it in chunks.
struct ChunkWriter {
    chunk: String,
    /// Receiver of the chunks. An empty chunk marks the end.
    sender: mpsc::Sender<Bytes>,
    runtime: Handle,
    permit: RequestPermit,
}

impl ChunkWriter {
    fn send(&mut self) -> fmt::Result {
        let chunk = std::mem::replace(&mut self.chunk, String::with_capacity(CHUNK));
        if chunk.is_empty() { Ok(()) } else { self.pass(chunk.into()) }
    }

    fn end(&mut self) -> fmt::Result {
        self.pass(Bytes::new())
    }

    /// Passes a chunk on. If the reader is slow, waits for it without the permit.
    fn pass(&mut self, chunk: Bytes) -> fmt::Result {
        let chunk = match self.sender.try_send(chunk) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(fmt::Error),
            Err(TrySendError::Full(chunk)) => chunk,
        };
        let sent = async { timeout(CHUNK_TIMEOUT, self.sender.send(chunk)).await.ok()?.ok() };
        self.runtime.block_on(self.permit.wait_for(sent)).ok_or(fmt::Error)
    }
}

impl Write for ChunkWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.chunk.push_str(text);
        if self.chunk.len() >= CHUNK { self.send() } else { Ok(()) }
    }
}
