//! Recognises a proxy that closes each connection on which it receives INFO, such as Twemproxy.
//!
//! A server that is down behind a load balancer closes connections too: without a command, or some
//! seconds after it. The attempt to connect has probed that already (`closes_on_command`). After
//! the loss of a connection at once after a command, Rolecall opens another one and sends nothing
//! on it.

use std::time::Duration;

use client::{Address, Endpoint, Failure};
use snapshot::Reason;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time limit of the connection, and time for which it must stay open without a command.
const LIMIT: Duration = Duration::from_millis(500);

/// Attempts in a row that the server must close when it receives a command.
const CLOSED_ATTEMPTS: u32 = 2;

/// Beginning of the text about a server without INFO.
const NO_INFO: &str = "no INFO: a proxy?";

/// Search for a proxy, until the node replies for the first time.
#[derive(Debug, Default)]
pub(crate) struct ProxyProbe {
    replied: bool,
    /// Attempts in a row that were closed when the server received a command.
    closed: u32,
}

impl ProxyProbe {
    /// Records that the node replied. It is no proxy then, whatever happens later.
    pub(crate) fn record_reply(&mut self) {
        self.replied = true;
    }

    /// Returns the failure of an attempt to connect, with a more specific reason if a proxy caused
    /// it.
    pub(crate) fn explain_attempt(&mut self, failure: Failure, endpoint: &Endpoint) -> Failure {
        let is_closed_on_command = failure.closes_on_command && is_probed(endpoint);
        self.explain(failure, is_closed_on_command)
    }

    /// Returns the failure of a connection, with a more specific reason if a proxy caused it.
    pub(crate) async fn explain_loss(&mut self, failure: Failure, endpoint: &Endpoint) -> Failure {
        let is_unclear =
            is_closed(&failure) && failure.failed_at_once && !self.replied && is_probed(endpoint);
        let is_closed_on_command = is_unclear && stays_open(endpoint).await;
        self.explain(failure, is_closed_on_command)
    }

    fn explain(&mut self, failure: Failure, is_closed_on_command: bool) -> Failure {
        if !is_closed(&failure) {
            self.closed = 0;
            return explain_unsupported(failure);
        }
        if self.replied || !is_closed_on_command {
            self.closed = 0;
            return failure;
        }
        self.closed = self.closed.saturating_add(1);
        if self.closed < CLOSED_ATTEMPTS {
            return failure;
        }
        let detail = format!("{NO_INFO} The server closes the connection on the first command");
        Failure::new(Reason::Unsupported, detail)
    }
}

/// Returns the failure with a text about INFO, if the server does not know this command. A server
/// may not know AUTH instead.
fn explain_unsupported(failure: Failure) -> Failure {
    let text = failure.detail.to_lowercase();
    let is_about_info = text.contains("command") && !text.contains("auth");
    if failure.reason != Reason::Unsupported || !is_about_info {
        return failure;
    }
    Failure::new(Reason::Unsupported, format!("{NO_INFO} {}", failure.detail))
}

/// Returns true if the server closed the connection.
fn is_closed(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Closed | Reason::Reset)
}

/// Returns true for configured addresses without TLS.
fn is_probed(endpoint: &Endpoint) -> bool {
    endpoint.tls.is_none() && endpoint.trust.is_none()
}

/// Returns true if a connection stays open and silent as long as nothing is sent.
async fn stays_open(endpoint: &Endpoint) -> bool {
    let Address::Tcp { host, port } = &endpoint.address else { return false };
    let connected = timeout(LIMIT, TcpStream::connect((host.as_str(), *port))).await;
    let Ok(Ok(stream)) = connected else { return false };
    // The end of the connection makes it readable, too.
    timeout(LIMIT, stream.readable()).await.is_err()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Starts a server that closes each connection when it receives something, or at once. Returns
    /// its endpoint.
    async fn server(closes_at_once: bool) -> Endpoint {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a socket");
        let endpoint = listener.local_addr().expect("an address").into();
        let serve = async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if !closes_at_once {
                    // The length says nothing.
                    let _ = stream.read(&mut [0; 64]).await;
                }
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a server of this test")]
        tokio::spawn(serve);
        endpoint
    }

    /// Returns the failure of a connection that was closed when it received a command.
    fn closed() -> Failure {
        let failure = Failure::new(Reason::Closed, "the server closed the connection");
        Failure { failed_at_once: true, ..failure }
    }

    #[tokio::test]
    async fn server_that_closes_on_a_command_is_taken_for_a_proxy() {
        let endpoint = server(false).await;
        let mut probe = ProxyProbe::default();
        assert_eq!(probe.explain_loss(closed(), &endpoint).await, closed(), "once is no evidence");
        let failure = probe.explain_loss(closed(), &endpoint).await;
        assert_eq!(failure.reason, Reason::Unsupported);
        assert!(failure.detail.starts_with("no INFO: a proxy?"), "{failure}");
        probe.record_reply();
        assert_eq!(probe.explain_loss(closed(), &endpoint).await, closed(), "it knew INFO before");
    }

    #[tokio::test]
    async fn attempts_that_are_closed_on_a_command_are_counted() {
        // Nothing connects to this server: the attempt was probed.
        let endpoint = server(true).await;
        let probed = Failure { closes_on_command: true, ..closed() };
        let mut probe = ProxyProbe::default();
        assert_eq!(probe.explain_attempt(probed.clone(), &endpoint), probed);
        assert_eq!(probe.explain_attempt(closed(), &endpoint), closed());
        assert_eq!(probe.explain_attempt(probed.clone(), &endpoint), probed, "not in a row");
        let failure = probe.explain_attempt(probed, &endpoint);
        assert_eq!(failure.reason, Reason::Unsupported);
    }

    #[tokio::test]
    async fn server_that_closes_without_a_command_is_no_proxy() {
        let endpoint = server(true).await;
        let mut probe = ProxyProbe::default();
        for _ in 0..3 {
            assert_eq!(probe.explain_loss(closed(), &endpoint).await, closed());
        }
    }

    #[tokio::test]
    async fn server_that_closes_some_time_after_a_command_is_no_proxy() {
        // A load balancer closes the connection when its attempts to reach a server have failed.
        let endpoint = server(false).await;
        let late = Failure { failed_at_once: false, ..closed() };
        let mut probe = ProxyProbe::default();
        for _ in 0..3 {
            assert_eq!(probe.explain_loss(late.clone(), &endpoint).await, late);
        }
    }

    #[test]
    fn unknown_command_is_explained_unless_it_is_auth() {
        let explained =
            |detail: &str| explain_unsupported(Failure::new(Reason::Unsupported, detail)).detail;
        // Envoy, `source/extensions/filters/network/redis_proxy/command_splitter_impl.cc`.
        let envoy = "unsupported command 'INFO'";
        assert_eq!(explained(envoy), format!("no INFO: a proxy? {envoy}"));
        assert_eq!(explained("ERR unknown command `AUTH`"), "ERR unknown command `AUTH`");
        assert_eq!(explained("not a Sentinel"), "not a Sentinel");
        let other = Failure::new(Reason::Noperm, "NOPERM");
        assert_eq!(explain_unsupported(other.clone()), other);
    }
}
