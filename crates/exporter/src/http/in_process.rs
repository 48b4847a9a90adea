//! The routes without a web server: tests and fuzz targets send requests to them.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use axum::response::Response;
use axum::{Extension, Router};
use catalog::{Build, Reload, Selection};
use config::MAX_CONNECTIONS;
use poller::{Clock, PollerContext, StateStore, ViewRegistry};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower::Service;

use super::{PATHS, RequestMeter, WebState, router};
use crate::limits::{ConnectionLimit, RequestLimit};
use crate::web_security::WebSecurity;

/// The routes of the web server, over published views. No client has to authenticate, and the
/// lifecycle API is not enabled.
#[derive(Debug, Clone)]
pub struct Routes(Router);

impl Routes {
    /// Returns the routes. The caller is in a runtime with several threads.
    ///
    /// # Errors
    /// Fails if the state of the routes cannot be created.
    pub fn new(registry: ViewRegistry) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let connections = ConnectionLimit::new(MAX_CONNECTIONS);
        let client = connections.add(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let reload = Reload { successful: true, succeeded_at: clock.wall() };
        let web = WebState {
            registry,
            shared: PollerContext::new(clock, StateStore::open(None)?),
            build: Build { version: "", revision: "", rustc: "" },
            external_url: None,
            selection: Selection::Full,
            reload: watch::Sender::new(reload).subscribe(),
            lifecycle: None,
            connections,
            requests: RequestLimit::new(),
            meter: RequestMeter::new(clock, &PATHS),
            security: WebSecurity::open(None)?,
            redis_exporter: None,
            runtimes: [Handle::current(), Handle::current()],
        };
        Ok(Routes(router(web).layer(Extension(client))))
    }

    /// Sends a GET request for a path with its query and returns the whole response; `None` if the
    /// path is not valid in HTTP.
    ///
    /// # Errors
    /// The body is longer than `max_length` or incomplete.
    pub async fn get(
        &self,
        path: &str,
        max_length: usize,
    ) -> anyhow::Result<Option<Response<Bytes>>> {
        let Ok(request) = Request::get(path).body(Body::empty()) else { return Ok(None) };
        let (head, body) = self.0.clone().call(request).await?.into_parts();
        Ok(Some(Response::from_parts(head, to_bytes(body, max_length).await?)))
    }
}
