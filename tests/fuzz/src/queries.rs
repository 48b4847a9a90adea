//! Paths and queries of the web server.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use exporter::Routes;
use poller::ViewPublisher;
use recording::Recording;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch::Receiver;
use topology::DeploymentView;

/// Longest body of a good response.
const MAX_BODY: usize = 4 << 20;

/// Longest body of an error apart from the text that it quotes. Error pages have navigation.
const MAX_ERROR: usize = 20_000;

/// Shortest beginning of a tag that cannot be a tag of the pages.
const TAG: usize = 8;

/// Names and recordings of the deployments that the routes show.
const RECORDINGS: [(&str, &str); 2] = [
    ("orders", include_str!("../../../crates/recording/tests/recordings/sentinel-failover.jsonl")),
    ("cluster", include_str!("../../../crates/recording/tests/recordings/cluster-failover.jsonl")),
];

/// Requests whose response shows a recorded deployment or node.
const SHOWN: [&str; 10] = [
    "/deployment/orders",
    "/deployment/cluster",
    "/deployment/orders/node/127.0.0.1:18131",
    "/runbooks/RedisDown?deployment=orders&node=127.0.0.1:18131",
    "/metrics?collect[]=replication&collect[]=sentinel&deployment=orders",
    "/metrics?deployment=cluster&deployment=orders",
    "/scrape?target=127.0.0.1:18131&deployment=orders",
    "/scrape?target=redis://user:password@127.0.0.1:18131/0",
    "/api/v1/topology?deployment=orders",
    "/sd?role=nodes",
];

/// Requests for the other routes, and invalid requests.
const OTHER: [&str; 20] = [
    "/",
    "/?q=orders&page=2",
    "/?page=18446744073709551616&q=%3Cscript%3Ealert(1)%3C/script%3E",
    "/deployment/orders?q=%22%3E%3Cb%3E&page=-1",
    "/deployment/%3Cscript%3Ealert(1)%3C/script%3E",
    "/deployment/orders/node/%3Cscript%3Ealert(1)",
    "/runbooks",
    "/runbooks/RedisSplitBrain?deployment=&node=%27%3E%3Cscript%3Ex",
    "/runbooks/%3Cscript%3Ex",
    "/static/page.css",
    "/metrics",
    "/metrics?collect%5B%5D=unknown&deployment=%00%1b[2J",
    "/scrape?target=rediss%3A%2F%2F%5B%3A%3A1%5D%3A7000&check-keys=x",
    "/scrape?target=",
    "/api/v1/findings?deployment=%0a%22",
    "/api/v1/events?deployment=a&deployment=b",
    "/sd?role=%e9%00",
    "/-/healthy",
    "/-/ready?x",
    "/-/reload",
];

/// The routes with the runtime that they need.
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

struct Server {
    runtime: Runtime,
    routes: Routes,
    /// Text of all pages for requests without a foreign tag.
    pages: String,
    _views: ViewPublisher,
}

/// A response.
struct Response {
    status: u16,
    content_type: String,
    body: String,
}

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let publisher = ViewPublisher::default();
        publisher.replace(RECORDINGS.map(view).into(), true);
        let routes = runtime.block_on(async { Routes::new(publisher.registry()) });
        let routes = routes.expect("routes");
        let mut server = Server { runtime, routes, pages: String::new(), _views: publisher };
        let shown = SHOWN.map(|request| {
            let response = server.get(request).expect("a valid request");
            assert_eq!(response.status, 200, "{request}");
            response.body
        });
        let other = OTHER.iter().filter(|request| !request.contains("%3C"));
        let other = other.filter_map(|request| server.get(request)).map(|page| page.body);
        server.pages = shown.into_iter().chain(other).collect();
        server
    }

    /// Returns the response; `None` if the request is not valid in HTTP.
    fn get(&self, request: &str) -> Option<Response> {
        // A task of the runtime, because handlers run long computations in place.
        let (routes, request) = (self.routes.clone(), request.to_owned());
        let get = self.runtime.spawn(async move { routes.get(&request, MAX_BODY).await });
        let response = self.runtime.block_on(get).expect("no handler panics");
        let response = response.expect("a complete body within its limit")?;
        for header in ["content-security-policy", "x-content-type-options"] {
            assert!(response.headers().contains_key(header), "{header} is missing");
        }
        let content_type = response.headers().get("content-type");
        let content_type = content_type.map(|value| value.to_str().expect("text").to_owned());
        Some(Response {
            status: response.status().as_u16(),
            content_type: content_type.unwrap_or_default(),
            body: String::from_utf8(response.body().to_vec()).expect("UTF-8"),
        })
    }
}

/// Returns the last view of a recorded deployment, with this name.
fn view((name, text): (&str, &str)) -> Receiver<Arc<DeploymentView>> {
    let text = text.replacen("\"name\":\"orders\"", &format!("\"name\":\"{name}\""), 1);
    let recording = Recording::read(text.as_bytes()).expect("a recording");
    let mut replay = recording.replay();
    let rounds = replay.by_ref().count();
    assert!(rounds > 0);
    let (_, receiver) = ViewPublisher::channel((*replay.view()).clone());
    receiver
}

pub(super) fn check(input: &[u8]) {
    let request = encoded(input);
    let Some(response) = SERVER.get(&request) else { return };
    let Response { status, content_type, body } = &response;
    assert!([200, 400, 404, 405].contains(status), "{request}: status {status}");
    if *status != 200 {
        assert!(body.len() <= MAX_ERROR + 12 * request.len(), "{request}: {} bytes", body.len());
    }
    if content_type.starts_with("text/html") {
        check_page(&request, body);
    } else if content_type.starts_with("application/json") {
        serde_json::from_str::<serde_json::Value>(body).expect("JSON");
    } else if *status != 200 {
        let line = body.strip_suffix('\n').unwrap_or(body);
        assert!(!line.chars().any(char::is_control), "{request}: {line:?}");
    }
}

/// Checks that a page shows no text of the request as a tag.
fn check_page(request: &str, page: &str) {
    let parts = decoded(request);
    for (start, _) in parts.match_indices('<') {
        let Some(tag) = parts.get(start..start + TAG) else { continue };
        assert!(!page.contains(tag) || SERVER.pages.contains(tag), "{request}: {tag:?}");
    }
}

/// Returns the input as path and query that are valid in a request.
fn encoded(input: &[u8]) -> String {
    let letters = input.iter().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(*byte).to_string(),
        _ if b"-._~!$&'()*+,;=:@/?%[]".contains(byte) => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    });
    let text: String = letters.collect();
    if text.starts_with('/') { text } else { format!("/{text}") }
}

/// Returns a path and query with all escapes replaced.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn seeds(_: &Path) -> Vec<Vec<u8>> {
    SHOWN.iter().chain(&OTHER).map(|text| text.as_bytes().to_vec()).collect()
}
