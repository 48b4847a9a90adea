//! Counts of connections that clients opened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::HandshakeKind;
use tests::OpenedConnections;

/// Counter of the connections since the last line about them.
#[derive(Default)]
pub(crate) struct OpenedCounter {
    accepted: AtomicU64,
    full_handshakes: AtomicU64,
    resumed_handshakes: AtomicU64,
}

impl OpenedCounter {
    pub(crate) fn add_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a TLS handshake; `None` if it is not complete.
    pub(crate) fn add_handshake(&self, kind: Option<HandshakeKind>) {
        let counter = match kind {
            Some(HandshakeKind::Resumed) => &self.resumed_handshakes,
            _ => &self.full_handshakes,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts, and starts again; `None` if nothing was opened.
    pub(crate) fn take(&self, until: Duration) -> Option<OpenedConnections> {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let opened = OpenedConnections {
            until,
            accepted: take(&self.accepted),
            full_handshakes: take(&self.full_handshakes),
            resumed_handshakes: take(&self.resumed_handshakes),
        };
        let sum = opened.accepted + opened.full_handshakes + opened.resumed_handshakes;
        (sum > 0).then_some(opened)
    }
}
