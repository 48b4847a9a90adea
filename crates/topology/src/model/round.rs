//! One poll of all nodes of a deployment, as the fold receives it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{Client, NodeSnapshot, Reason};

use crate::discovery::membership::HostNames;
use crate::endpoints::EndpointCheckResult;

/// One poll of all nodes of a deployment.
#[derive(Debug, Clone)]
pub struct Round {
    /// Wall time of its close: for display, and to tell whether an expectation still holds.
    pub at: SystemTime,
    /// Monotonic time of its close, since the exporter started.
    pub elapsed: Duration,
    /// Time from asking to close.
    pub took: Duration,
    /// Rounds that should have begun since the one before and did not.
    pub missed: u64,
    /// The exporter itself was held up, so silence in this round is evidence of nothing.
    pub blind: bool,
    /// What came of each node, in the order of the deployment's nodes.
    pub outcomes: Vec<PollOutcome>,
    /// What went wrong, in words, by the places of nodes; where there is such a text. Bounded, and holds no secret.
    pub details: Vec<Option<Arc<str>>>,
    /// What Sentinels announced since the round before.
    pub messages: Vec<SentinelMessage>,
    /// Checks of endpoints that ended since the round before, in order.
    pub checks: Vec<EndpointCheckResult>,
    /// Host names of addresses, as far as they were looked up.
    pub host_names: Arc<HostNames>,
    /// The room left for the data of nodes on this machine, by their places; where it is known.
    pub disks: Vec<Option<DiskSpace>>,
    /// What the names stand for whose addresses are the nodes; empty until each was looked up once.
    pub resolved: Arc<[ResolvedName]>,
}

/// The room left where a node keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Files that may still be made; `None` where the file system sets no limit.
    pub free_inodes: Option<u64>,
}

/// A name, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedName {
    /// The name.
    pub host: String,
    /// The port of its nodes.
    pub port: u16,
    /// IP addresses, as the last look-up gave them that gave any; `None` before that.
    pub addresses: Option<Arc<[String]>>,
    /// Look-ups so far.
    pub lookups: u64,
    /// Those of them that gave no address.
    pub failures: u64,
}

impl Round {
    /// A round that went as it should, in no time.
    pub fn new(at: SystemTime, elapsed: Duration, outcomes: Vec<PollOutcome>) -> Self {
        let (took, messages, checks) = (Duration::ZERO, Vec::new(), Vec::new());
        let (host_names, resolved) = (Arc::default(), Arc::default());
        let (details, disks) = (Vec::new(), Vec::new());
        Round {
            at,
            elapsed,
            took,
            missed: 0,
            blind: false,
            outcomes,
            details,
            messages,
            checks,
            host_names,
            disks,
            resolved,
        }
    }
}

/// What one Sentinel announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelMessage {
    /// Wall time of its arrival.
    pub at: SystemTime,
    /// Label of the Sentinel.
    pub sentinel: String,
    /// The channel, which names what happened: `+switch-master`.
    pub channel: String,
    /// What it happened to.
    pub payload: String,
}

/// What came of asking one node.
#[derive(Debug, Clone)]
pub enum PollOutcome {
    /// Nothing: it was never reached and no attempt has failed yet, or it was connected too late to be asked.
    Pending,
    /// It answered.
    Answered(NodeReply),
    /// No answer came, for this reason. Unknown, not evidence.
    Missed(Reason),
    /// An attempt to reach it or to read it came to an end, badly.
    Failed(Reason),
}

/// One answer of one node.
#[derive(Debug, Clone)]
pub struct NodeReply {
    /// What it said.
    pub snapshot: Arc<NodeSnapshot>,
    /// Time from asking to the whole answer.
    pub took: Duration,
    /// Wall time of the answer.
    pub at: SystemTime,
    /// When the certificate of the server expires, since the Unix epoch; `None` without TLS.
    pub certificate_expiry: Option<Duration>,
    /// Where it was reached; `None` over a unix socket.
    pub peer: Option<SocketAddr>,
    /// The errors that our own commands met since the INFO before this one: they are in the server's counters.
    pub own_errors: OwnErrors,
    /// The statistics by command were read anew for this answer.
    pub commands_read: bool,
    /// Who is connected, where that was read for this answer.
    pub clients: Option<Arc<[Client]>>,
}

/// Errors that our own commands met, by code.
pub type OwnErrors = BTreeMap<Box<str>, u64>;

impl NodeReply {
    /// An answer in plain text, over a connection that nothing else is known of.
    pub fn new(snapshot: impl Into<Arc<NodeSnapshot>>, took: Duration, at: SystemTime) -> Self {
        let (snapshot, own_errors) = (snapshot.into(), OwnErrors::new());
        NodeReply {
            snapshot,
            took,
            at,
            certificate_expiry: None,
            peer: None,
            own_errors,
            commands_read: false,
            clients: None,
        }
    }

    /// This answer, with what an earlier one counted that was never taken up.
    #[must_use]
    pub fn after(mut self, earlier: Option<NodeReply>) -> Self {
        if let Some(earlier) = earlier {
            self.commands_read |= earlier.commands_read;
            self.clients = self.clients.or(earlier.clients);
            for (code, count) in earlier.own_errors {
                *self.own_errors.entry(code).or_default() += count;
            }
        }
        self
    }
}
