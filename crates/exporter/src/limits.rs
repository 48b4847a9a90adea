//! Limits for clients of the web server: connections, headers, slow clients, concurrent requests.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::http::StatusCode;
use axum::middleware::AddExtension;
use axum_server::Server;
use axum_server::accept::Accept;
use catalog::RefusedConnections;
use config::MAX_CONNECTIONS;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tower::Layer;

/// Limit of concurrent requests for metrics and pages. Further requests get 503. A response that
/// waits for its reader does not count.
const MAX_REQUESTS: usize = 40;

/// Limit of responses that wait for their readers. Beyond it, the one that has waited for longest
/// is aborted.
const MAX_WAITING_RESPONSES: usize = 64;

/// Limit of the nodes in all responses together whose readers are slow. Such a response keeps views
/// in memory that are outdated. Beyond the limit, the one that has waited for longest is aborted,
/// unless it is the only one.
const MAX_NODES_OF_SLOW_READERS: usize = 20_000;

/// Limit of the request headers, bytes.
const MAX_HEADER_BYTES: u16 = 16 << 10;

/// Time that a client gets to send the request headers, including idle time between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for which a client may accept no data. Then the connection is closed.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Limit of things in use, in total and for each client address.
#[derive(Debug, Clone)]
pub(crate) struct AddressLimit {
    total: usize,
    per_address: usize,
    used: Arc<Mutex<Usage>>,
}

/// Things in use.
#[derive(Debug, Default)]
struct Usage {
    total: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// Permit of an [`AddressLimit`]. It counts until it is dropped.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    /// Address of the client.
    pub(crate) client: IpAddr,
    used: Arc<Mutex<Usage>>,
}

/// Limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReachedLimit {
    Total,
    Address,
}

/// Limits of open connections, as an acceptor. Connections above a limit are closed immediately.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimit {
    open: AddressLimit,
    refused: Arc<Mutex<RefusedConnections>>,
}

/// An open connection, as requests know it.
pub(crate) type OpenConnection = Arc<AddressPermit>;

/// Limit of concurrent requests.
#[derive(Debug, Clone)]
pub(crate) struct RequestLimit {
    permits: Arc<Semaphore>,
    waiting: Arc<WaitingResponses>,
}

/// Permit to compute one response.
#[derive(Debug)]
pub(crate) struct RequestPermit {
    limit: RequestLimit,
    /// The permit; `None` while the response waits for its reader.
    held: Option<OwnedSemaphorePermit>,
}

/// Responses that wait for their readers, the one that has waited for longest first.
#[derive(Debug, Default)]
struct WaitingResponses(Mutex<VecDeque<Waiting>>);

/// One response that waits for its reader.
#[derive(Debug)]
struct Waiting {
    /// Notified when the response has to give up.
    gives_up: Arc<Notify>,
    /// Number of nodes whose views the response keeps; 0 unless the reader is slow.
    nodes: usize,
}

/// Entry of one response in [`WaitingResponses`], which is removed when this is dropped.
struct WaitingResponse<'a> {
    waiting: &'a WaitingResponses,
    gives_up: Arc<Notify>,
}

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

// === impl AddressLimit ===

impl AddressLimit {
    /// Creates the limits.
    pub(crate) fn new(total: usize, per_address: usize) -> Self {
        AddressLimit { total, per_address, used: Arc::default() }
    }

    /// Acquires a permit for a client.
    ///
    /// # Errors
    /// Fails with the limit that is reached.
    pub(crate) fn acquire(&self, client: IpAddr) -> Result<AddressPermit, ReachedLimit> {
        // A listener for both families reports IPv4 clients with mapped addresses.
        let client = client.to_canonical();
        let mut guard = lock(&self.used);
        let used = &mut *guard;
        if used.total >= self.total {
            return Err(ReachedLimit::Total);
        }
        let of_client = used.by_address.entry(client).or_default();
        if *of_client >= self.per_address {
            return Err(ReachedLimit::Address);
        }
        *of_client += 1;
        used.total += 1;
        Ok(AddressPermit { client, used: Arc::clone(&self.used) })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut used = lock(&self.used);
        used.total -= 1;
        if let Some(count) = used.by_address.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                used.by_address.remove(&self.client);
            }
        }
    }
}

// === impl ConnectionLimit ===

impl ConnectionLimit {
    /// Creates the limits: [`MAX_CONNECTIONS`], and `per_address` for each client address.
    pub(crate) fn new(per_address: u32) -> Self {
        let open = AddressLimit::new(MAX_CONNECTIONS as usize, per_address as usize);
        ConnectionLimit { open, refused: Arc::default() }
    }

    /// Returns the number of refused connections so far.
    pub(crate) fn refused(&self) -> RefusedConnections {
        *lock(&self.refused)
    }

    /// Counts a new connection.
    ///
    /// # Errors
    /// Fails if a limit is reached.
    pub(crate) fn add(&self, client: IpAddr) -> io::Result<OpenConnection> {
        self.open.acquire(client).map(Arc::new).map_err(|reached| {
            let mut refused = lock(&self.refused);
            match reached {
                ReachedLimit::Total => refused.by_total += 1,
                ReachedLimit::Address => refused.by_address += 1,
            }
            io::Error::other("too many connections")
        })
    }
}

impl<S> Accept<TcpStream, S> for ConnectionLimit {
    type Stream = TcpStream;
    type Service = AddExtension<S, OpenConnection>;
    type Future = Ready<io::Result<(TcpStream, Self::Service)>>;

    /// Prepares the socket, and attaches the connection to its service, which drops it at the end.
    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let open = || {
            let connection = self.add(stream.peer_addr()?.ip())?;
            set_options(&stream)?;
            Ok(connection)
        };
        ready(open().map(|connection| (stream, Extension(connection).layer(service))))
    }
}

/// Sets the options of an accepted socket.
///
/// With Nagle's algorithm, the second packet of a response would wait until the client acknowledges
/// the first one, which clients delay by 40 ms.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(STALL_LIMIT.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?;
    }
    Ok(())
}

// === impl RequestLimit ===

impl RequestLimit {
    pub(crate) fn new() -> Self {
        RequestLimit { permits: Arc::new(Semaphore::new(MAX_REQUESTS)), waiting: Arc::default() }
    }

    /// Acquires a permit for one request.
    ///
    /// # Errors
    /// Fails with the response to send if the limit is reached.
    pub(crate) fn acquire(&self) -> Result<RequestPermit, (StatusCode, String)> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let held = permit.map_err(|_| overloaded(MAX_REQUESTS))?;
        Ok(RequestPermit { limit: self.clone(), held: Some(held) })
    }
}

impl RequestPermit {
    /// Waits for the reader of the response. Other requests can use the permit meanwhile. `nodes`
    /// is the number of nodes whose views the response keeps for a slow reader, otherwise 0.
    /// Returns `None` if the reader is gone, and if the response has to give up.
    pub(crate) async fn wait_for(
        &mut self,
        nodes: usize,
        reader: impl Future<Output = Option<()>>,
    ) -> Option<()> {
        self.held = None;
        let entry = self.limit.waiting.add(nodes);
        let continued = async {
            reader.await?;
            Arc::clone(&self.limit.permits).acquire_owned().await.ok()
        };
        let held = tokio::select! {
            biased;
            () = entry.gives_up.notified() => None,
            held = continued => held,
        };
        drop(entry);
        self.held = Some(held?);
        Some(())
    }
}

impl WaitingResponses {
    /// Adds a response. If there are too many, the one that has waited for longest gives up. If
    /// those with slow readers keep too many nodes, the one of them that has waited for longest
    /// gives up.
    fn add(&self, nodes: usize) -> WaitingResponse<'_> {
        let gives_up = Arc::new(Notify::new());
        let mut waiting = lock(&self.0);
        if waiting.len() >= MAX_WAITING_RESPONSES
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.gives_up.notify_one();
        }
        waiting.push_back(Waiting { gives_up: Arc::clone(&gives_up), nodes });
        while waiting.iter().map(|response| response.nodes).sum::<usize>()
            > MAX_NODES_OF_SLOW_READERS
            && let Some(oldest) = waiting.iter().position(|response| response.nodes > 0)
            && oldest + 1 < waiting.len()
            && let Some(oldest) = waiting.remove(oldest)
        {
            oldest.gives_up.notify_one();
        }
        WaitingResponse { waiting: self, gives_up }
    }
}

impl Drop for WaitingResponse<'_> {
    fn drop(&mut self) {
        lock(&self.waiting.0).retain(|other| !Arc::ptr_eq(&other.gives_up, &self.gives_up));
    }
}

/// Returns the response for a request beyond the limit.
pub(crate) fn overloaded(limit: usize) -> (StatusCode, String) {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("Limit of concurrent requests reached ({limit}), try again later.\n"),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// Opens connections from an address until one is refused.
    fn fill(limit: &ConnectionLimit, client: IpAddr) -> Vec<OpenConnection> {
        std::iter::from_fn(|| limit.add(client).ok()).collect()
    }

    #[test]
    fn one_address_leaves_connections_for_others() {
        let limit = ConnectionLimit::new(256);
        let first = fill(&limit, address(1));
        assert_eq!(first.len(), 256);
        // The same client, over IPv6.
        assert!(limit.add("::ffff:10.0.0.1".parse().expect("an address")).is_err());
        let others: Vec<_> = (2..=5).map(|last| fill(&limit, address(last))).collect();
        assert_eq!(others.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 256, 0]);
        let RefusedConnections { by_address, by_total } = limit.refused();
        assert_eq!((by_address, by_total), (2 + 2, 2));
        drop(others);
        assert_eq!(fill(&limit, address(5)).len(), 256);
        drop(first);
        drop(fill(&limit, address(6)));
        let used = lock(&limit.open.used);
        assert_eq!((used.total, used.by_address.len()), (0, 0));
    }

    #[tokio::test]
    async fn requests_beyond_the_limit_get_503() {
        let limit = RequestLimit::new();
        let permits: Vec<_> = std::iter::from_fn(|| limit.acquire().ok()).collect();
        assert_eq!(permits.len(), MAX_REQUESTS);
        let (status, text) = limit.acquire().expect_err("no permit is left");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "Limit of concurrent requests reached (40), try again later.\n");
        drop(permits);
        limit.acquire().expect("a permit");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_responses_hold_no_permit_and_the_oldest_gives_up() {
        let limit = RequestLimit::new();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..=MAX_WAITING_RESPONSES {
            let mut permit = limit.acquire().expect("a permit");
            tasks.spawn(async move {
                let outcome = permit.wait_for(0, pending()).await;
                (number, outcome)
            });
            tokio::task::yield_now().await;
        }
        let first = tasks.join_next().await.expect("a task").expect("no panic");
        assert_eq!(first, (0, None));
        assert_eq!(limit.permits.available_permits(), MAX_REQUESTS);
        assert_eq!(lock(&limit.waiting.0).len(), MAX_WAITING_RESPONSES);
        tasks.shutdown().await;
        assert_eq!(lock(&limit.waiting.0).len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_readers_together_keep_a_limited_number_of_nodes() {
        let limit = RequestLimit::new();
        let mut tasks = tokio::task::JoinSet::new();
        // The first is fast, the second one alone exceeds the limit.
        for nodes in [0, MAX_NODES_OF_SLOW_READERS + 1] {
            let mut permit = limit.acquire().expect("a permit");
            tasks.spawn(async move { (nodes, permit.wait_for(nodes, pending()).await) });
            tokio::task::yield_now().await;
        }
        assert_eq!(lock(&limit.waiting.0).len(), 2);
        for nodes in [1, MAX_NODES_OF_SLOW_READERS - 1] {
            let mut permit = limit.acquire().expect("a permit");
            tasks.spawn(async move { (nodes, permit.wait_for(nodes, pending()).await) });
            tokio::task::yield_now().await;
        }
        let first = tasks.join_next().await.expect("a task").expect("no panic");
        assert_eq!(first, (MAX_NODES_OF_SLOW_READERS + 1, None));
        let nodes: Vec<_> = lock(&limit.waiting.0).iter().map(|waiting| waiting.nodes).collect();
        assert_eq!(nodes, [0, 1, MAX_NODES_OF_SLOW_READERS - 1]);
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn response_continues_with_a_permit() {
        let limit = RequestLimit::new();
        let mut permit = limit.acquire().expect("a permit");
        assert_eq!(permit.wait_for(0, async { Some(()) }).await, Some(()));
        assert_eq!(limit.permits.available_permits(), MAX_REQUESTS - 1);
        assert_eq!(permit.wait_for(0, async { None }).await, None);
        assert_eq!(limit.permits.available_permits(), MAX_REQUESTS);
    }
}
