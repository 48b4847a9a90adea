//! `/metrics`: metrics of all views or of a part, encoded while they are sent.

use std::fmt::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use catalog::{Exposition, Format, Part, Selection, encode};
use futures_util::{StreamExt, stream};
use poller::Clock;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;
use url::form_urlencoded;

use super::{WebState, redis_exporter};
use crate::limits::RequestPermit;

/// Largest size of a chunk, bytes.
const CHUNK: usize = 64 * 1024;

/// Limit of chunks that wait for a slow reader, besides the one that is written.
const CHUNKS: usize = 2;

/// Time after which a chunk that nobody reads ends the response.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for which a response may wait for its reader, all chunks together. It keeps the views of
/// its beginning in memory.
const READER_LIMIT: Duration = Duration::from_secs(60);

/// Time for which a response waits, all chunks together, before its reader counts as slow. The
/// reader of a response that is compressed or crosses a network lets every chunk wait a little.
const SLOW_AFTER: Duration = Duration::from_secs(2);

pub(super) async fn serve(
    State(web): State<WebState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if let Some(mode) = web.redis_exporter.clone() {
        return redis_exporter::serve_metrics(web, &mode).await;
    }
    let accept: Vec<_> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let exposition = match select(&web, query.as_deref().unwrap_or_default()) {
        Ok(exposition) => exposition,
        Err(error) => return error.into_response(),
    };
    let format = if exposition.selection.has_redis_exporter() {
        Format::Text
    } else {
        Format::negotiate(&accept.join(","))
    };
    let content_type = [(CONTENT_TYPE, format.content_type())];
    let nodes = exposition.deployments.iter().map(|view| view.nodes.len()).sum();
    match body(&web, nodes, move |writer| encode(&exposition, format, writer)) {
        Ok(body) => (content_type, body).into_response(),
        Err(overloaded) => overloaded.into_response(),
    }
}

/// Selects the deployments and metrics that the query names. Without names, selects all deployments
/// and the configured metrics.
fn select(web: &WebState, query: &str) -> Result<Exposition, (StatusCode, String)> {
    let mut exposition = Exposition {
        exporter: Some(web.exporter()),
        deployments: web.registry.views(),
        selection: web.selection.clone(),
    };
    let (mut names, mut parts) = (Vec::new(), Vec::new());
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "collect[]" => {
                let part = Part::named(&value).ok_or_else(|| {
                    let known: Vec<_> = Part::names().collect();
                    let known = known.join(", ");
                    let problem = format!("unknown collect[] {value:?}, expected one of {known}\n");
                    (StatusCode::BAD_REQUEST, problem)
                })?;
                parts.push(part);
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
    if !parts.is_empty() {
        exposition.selection = Selection::Parts(parts);
    }
    if !names.is_empty() {
        exposition.exporter = None;
        exposition.deployments.retain(|view| names.contains(&view.deployment.name));
    }
    Ok(exposition)
}

/// Encodes the body on a separate thread, chunk by chunk. The whole text is never in memory, and
/// encoding does not delay other requests. `nodes` is the number of nodes whose views are kept in
/// memory until the body is written.
///
/// # Errors
/// Fails with the response to send if the limit of concurrent requests is reached.
pub(super) fn body(
    web: &WebState,
    nodes: usize,
    write: impl FnOnce(&mut dyn Write) -> fmt::Result + Send + 'static,
) -> Result<Body, (StatusCode, String)> {
    let permit = web.requests.acquire()?;
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let mut writer = ChunkWriter {
        chunk: Vec::with_capacity(CHUNK),
        sender,
        runtime: Handle::current(),
        permit,
        clock: web.shared.clock,
        nodes,
        waited: Duration::ZERO,
    };
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
    chunk: Vec<u8>,
    /// Receiver of the chunks. An empty chunk marks the end.
    sender: mpsc::Sender<Bytes>,
    runtime: Handle,
    permit: RequestPermit,
    clock: Clock,
    /// Number of nodes whose views are kept until all is written.
    nodes: usize,
    /// Time for which the reader let the chunks wait.
    waited: Duration,
}

impl ChunkWriter {
    fn send(&mut self) -> fmt::Result {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.is_empty() {
            return Ok(());
        }
        self.pass(chunk.into())?;
        // Not before: while a response waits, it has no empty chunk.
        self.chunk.reserve_exact(CHUNK);
        Ok(())
    }

    fn end(&mut self) -> fmt::Result {
        self.pass(Bytes::new())
    }

    /// Passes a chunk on.
    fn pass(&mut self, chunk: Bytes) -> fmt::Result {
        match self.sender.try_send(chunk) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(fmt::Error),
            Err(TrySendError::Full(chunk)) => {
                self.runtime.clone().block_on(self.wait_for_reader(chunk)).ok_or(fmt::Error)
            }
        }
    }

    /// Passes a chunk on, and waits for the reader without the permit. Returns `None` if the reader
    /// is gone or too slow.
    async fn wait_for_reader(&mut self, chunk: Bytes) -> Option<()> {
        let nodes = if self.waited < SLOW_AFTER { 0 } else { self.nodes };
        let limit = CHUNK_TIMEOUT.min(READER_LIMIT.saturating_sub(self.waited));
        let started = self.clock.now();
        let sent = async {
            let sent = timeout(limit, self.sender.send(chunk)).await;
            self.waited += self.clock.now() - started;
            sent.ok()?.ok()
        };
        self.permit.wait_for(nodes, sent).await
    }
}

impl Write for ChunkWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while let Some((fits, later)) = rest.split_at_checked(CHUNK - self.chunk.len()) {
            self.chunk.extend_from_slice(fits);
            self.send()?;
            rest = later;
        }
        self.chunk.extend_from_slice(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RequestLimit;

    fn writer(sender: mpsc::Sender<Bytes>) -> ChunkWriter {
        ChunkWriter {
            chunk: Vec::with_capacity(CHUNK),
            sender,
            runtime: Handle::current(),
            permit: RequestLimit::new().acquire().expect("a permit"),
            clock: Clock::start(),
            nodes: 1,
            waited: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn chunks_have_a_limited_size_and_the_whole_text() {
        let (sender, mut receiver) = mpsc::channel(CHUNKS);
        let mut writer = writer(sender);
        let pieces = [10, CHUNK - 10, 1, 5 * CHUNK + 7, 0, CHUNK, 300];
        let text: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"]
            .into_iter()
            .zip(pieces)
            .map(|(letter, length)| letter.repeat(length))
            .collect();
        let expected = text.concat();
        let writing = tokio::task::spawn_blocking(move || {
            text.iter().try_for_each(|piece| writer.write_str(piece))?;
            writer.send()?;
            writer.end()
        });
        let mut read = Vec::new();
        while let Some(chunk) = receiver.recv().await.filter(|chunk| !chunk.is_empty()) {
            assert!(chunk.len() <= CHUNK, "{} bytes", chunk.len());
            read.extend_from_slice(&chunk);
        }
        assert_eq!(writing.await.expect("no panic"), Ok(()));
        assert!(read == expected.as_bytes(), "{} bytes", read.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_waits_for_its_reader_for_a_limited_time() {
        // A reader that takes a chunk every nine seconds, and one that takes none.
        for (seconds, limit) in [(9, READER_LIMIT), (3600, CHUNK_TIMEOUT)] {
            let (sender, mut receiver) = mpsc::channel(CHUNKS);
            let mut writer = writer(sender);
            let mut reader = tokio::task::JoinSet::new();
            reader.spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    receiver.recv().await;
                }
            });
            while writer.wait_for_reader(Bytes::from_static(b"x")).await.is_some() {
                assert!(writer.waited <= limit, "{:?}", writer.waited);
            }
            assert_eq!(writer.waited, limit);
        }
    }
}
