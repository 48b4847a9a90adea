//! Clients that write to a replica.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::MISROUTED_AFTER;
use crate::model::monotonic::Monotonic;

/// Probable reason why clients write to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisrouteReason {
    /// They are configured with the wrong address: the role of the node has not changed recently,
    /// and there is exactly one master.
    WrongEndpoint,
    /// The node was master until recently.
    Demotion,
    /// The primary changed when the writes started, and they decrease: the clients look for the
    /// primary with an outdated topology.
    StaleTopology,
    /// Unknown.
    Unknown,
}

/// Clients that write to a replica, which refuses the writes.
#[derive(Debug, Clone, PartialEq)]
pub struct MisroutedView {
    /// Probable reason.
    pub why: MisrouteReason,
    /// Monotonic time of the first refusal. Since then no minute passed without one.
    pub first_refusal: Monotonic,
    /// Monotonic time of the last refusal.
    pub last_refusal: Monotonic,
    /// Refusals per second in the last minute, or since the first one.
    pub per_second: f64,
    /// Refused commands, the most frequent first; at most 8. They include commands that run other
    /// commands: scripts and transactions.
    pub commands: Vec<Box<str>>,
    /// Time since the node was demoted; `None` if Rolecall saw no demotion.
    pub demoted: Option<Duration>,
    /// Clients that write; `None` before the first CLIENT LIST, and if the refused commands are
    /// unknown.
    pub writers: Option<Arc<MisroutedClients>>,
    /// Clients that connected before the node was demoted; `None` before the first CLIENT LIST,
    /// and if Rolecall saw no demotion.
    pub stale_clients: Option<Arc<MisroutedClients>>,
    /// Number of connected clients, if it is too large for CLIENT LIST.
    pub too_many_clients: Option<u64>,
    /// Neither the primary nor the role of this node changed so recently that this explains the
    /// writes.
    pub unexplained: bool,
}

/// Some of the clients of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MisroutedClients {
    /// Number of clients.
    pub total: usize,
    /// Number of clients of each library, the most frequent first: at most 16, then `other`.
    /// `unknown` if the client or the server does not report it.
    pub libraries: Vec<(Box<str>, usize)>,
    /// Libraries with their versions; at most 16.
    pub versions: Vec<Box<str>>,
    /// Names and addresses of the busiest clients; at most 5. The names are chosen by the clients,
    /// so they must not be used as labels.
    pub busiest: Vec<Box<str>>,
}

impl MisrouteReason {
    /// Returns the value of `why` in the evidence.
    pub const fn label(self) -> &'static str {
        match self {
            MisrouteReason::WrongEndpoint => "wrong_endpoint",
            MisrouteReason::Demotion => "demotion",
            MisrouteReason::StaleTopology => "stale_topology",
            MisrouteReason::Unknown => "unknown",
        }
    }
}

impl MisroutedView {
    /// Returns true if the writes have lasted for a while and no failover explains them.
    pub fn persists(&self) -> bool {
        self.unexplained && self.last_refusal.since(self.first_refusal) > MISROUTED_AFTER
    }
}
