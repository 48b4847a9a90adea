//! `/metrics`: everything that was published, or a part of it, encoded while it is sent.

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
use tokio::time::timeout;
use url::form_urlencoded;

use super::Web;

/// Text that is sent at a time, bytes.
const CHUNK: usize = 64 * 1024;

/// Chunks that wait for a slow reader.
const CHUNKS: usize = 2;

/// How long a chunk waits for a slow reader before the answer is given up.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn serve(
    State(web): State<Web>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let accept: Vec<_> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::negotiate(&accept.join(","));
    let exposition = match select(&web, query.as_deref().unwrap_or_default()) {
        Ok(exposition) => exposition,
        Err(refusal) => return refusal.into_response(),
    };
    let content_type = [(CONTENT_TYPE, format.content_type())];
    match body(&web, move |writer| encode(exposition, format, writer)) {
        Ok(body) => (content_type, body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// What is asked for: everything, or the deployments and themes that the query names.
fn select(web: &Web, query: &str) -> Result<Exposition, (StatusCode, String)> {
    let mut exposition =
        Exposition { exporter: Some(web.exporter()), deployments: web.board.views(), themes: None };
    let mut names = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "collect[]" => {
                let theme = themes().find(|theme| *theme == value);
                let theme = theme.ok_or_else(|| {
                    let known: Vec<_> = themes().collect();
                    (
                        StatusCode::BAD_REQUEST,
                        format!("collect[]: found {value:?}, accepted are {}\n", known.join(", ")),
                    )
                })?;
                exposition.themes.get_or_insert_default().push(theme);
            }
            "deployment"
                if exposition.deployments.iter().all(|view| view.deployment.name != value) =>
            {
                return Err((
                    StatusCode::NOT_FOUND,
                    format!("deployment: found {value:?}, which is not configured\n"),
                ));
            }
            "deployment" => names.push(value.into_owned()),
            // Prometheus setups add parameters of their own.
            _ => {}
        }
    }
    if !names.is_empty() {
        exposition.exporter = None;
        exposition.deployments.retain(|view| names.contains(&view.deployment.name));
    }
    Ok(exposition)
}

/// Encodes on a thread of its own, chunk by chunk, so that neither the text as a whole nor the time to write it burdens anybody else.
///
/// # Errors
/// What to answer when too many are written already.
pub(super) fn body(
    web: &Web,
    write: impl FnOnce(&mut dyn Write) -> fmt::Result + Send + 'static,
) -> Result<Body, (StatusCode, String)> {
    let permit = web.requests.admit()?;
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let mut writer =
        ChunkWriter { chunk: String::with_capacity(CHUNK), sender, runtime: Handle::current() };
    tokio::task::spawn_blocking(move || {
        // A reader that is gone or too slow is no error of ours; its answer does not end well.
        let _permit = permit;
        let _ = write(&mut writer).and_then(|()| writer.send()).and_then(|()| writer.end());
    });
    let chunks = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(end) if end.is_empty() => None,
            Some(chunk) => Some((Ok(chunk), Some(receiver))),
            // The writer gave up, or died: an answer that ends early must not look whole.
            None => Some((Err(fmt::Error), None)),
        }
    });
    // The compressor asks once more after the end.
    Ok(Body::from_stream(chunks.fuse()))
}

/// Collects text and sends it on in chunks.
struct ChunkWriter {
    chunk: String,
    /// Takes chunks; an empty one says that the last was the last.
    sender: mpsc::Sender<Bytes>,
    runtime: Handle,
}

impl ChunkWriter {
    fn send(&mut self) -> fmt::Result {
        let chunk = std::mem::replace(&mut self.chunk, String::with_capacity(CHUNK));
        if chunk.is_empty() { Ok(()) } else { self.pass(chunk.into()) }
    }

    fn end(&self) -> fmt::Result {
        self.pass(Bytes::new())
    }

    fn pass(&self, chunk: Bytes) -> fmt::Result {
        let sent = self.runtime.block_on(timeout(PATIENCE, self.sender.send(chunk)));
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(fmt::Error) }
    }
}

impl Write for ChunkWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.chunk.push_str(text);
        if self.chunk.len() >= CHUNK { self.send() } else { Ok(()) }
    }
}
