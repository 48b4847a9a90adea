//! One poll of all nodes of a deployment, as the trackers receive it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{Client, NodeSnapshot, Reason};

use crate::model::endpoint::EndpointCheckResult;
use crate::model::excess::Excess;
use crate::model::identity::SharedNode;
use crate::model::monotonic::Monotonic;
use crate::model::node_index::{NodeIndex, NodeVec};

/// Host names of IP addresses that were looked up: `None` if there is none.
pub type HostNames = BTreeMap<String, Option<String>>;

/// One poll of all nodes of a deployment.
#[derive(Debug, Clone)]
pub struct Round {
    /// Wall time at which the round closed. For display and for the expiry of expectations.
    pub at: SystemTime,
    /// Monotonic time at which the round closed.
    pub now: Monotonic,
    /// Time from the first request to the close of the round.
    pub duration: Duration,
    /// Rounds that were due since the previous one and did not start.
    pub missed: u64,
    /// Time that the computation of the previous round took; `None` in the first round.
    pub computation_before: Option<Duration>,
    /// The computation of the previous round took longer than a tenth of the interval.
    pub slow_before: bool,
    /// Things that exceed a limit outside of the replies: masters and connections.
    pub excess: Excess,
    /// Number of data nodes that may join, because the nodes of all masters of a group of Sentinels
    /// have a limit together; `None` without such a limit.
    pub nodes_left: Option<usize>,
    /// The exporter itself is cut off or overloaded: failures say nothing about nodes.
    pub blind: bool,
    /// Time for which the exporter has been cut off; `None` if it is not, or if no node of this
    /// deployment is silent. Only silent failures say nothing then (see [`Reason::is_silent`]).
    pub cut_off_for: Option<Duration>,
    /// Outcome of the poll of each node.
    pub outcomes: NodeVec<PollOutcome>,
    /// Error text of each failed poll, as far as there is one. Bounded, without secrets. May be
    /// shorter than `outcomes`.
    pub details: NodeVec<Option<Arc<str>>>,
    /// Failed contact with each node. May be shorter than `outcomes`. Where it is missing, a failed
    /// contact begins with the first round without a reply, and a refused attempt was repeated.
    pub contacts: NodeVec<Option<FailedContact>>,
    /// Messages that Sentinels published since the previous round.
    pub messages: Vec<SentinelMessage>,
    /// Checks of endpoints that ended since the previous round, in order.
    pub checks: Vec<EndpointCheckResult>,
    /// Host names of addresses, as far as they were looked up.
    pub host_names: Arc<HostNames>,
    /// Free space of the disks of nodes on this machine, where it is known. May be shorter than
    /// `outcomes`.
    pub disks: NodeVec<Option<DiskSpace>>,
    /// Nodes whose processes are nodes of other deployments, too, in ascending order.
    pub shared: Vec<SharedNode>,
    /// DNS names whose addresses are the nodes. Empty until each name was looked up once.
    pub resolved: Arc<[ResolvedName]>,
}

/// Contact with a node that failed and was not restored yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedContact {
    /// Monotonic time of the first request without a reply, or of the loss of the connection.
    pub since: Monotonic,
    /// Connection attempts in a row that the host refused.
    pub refused: u32,
}

/// Free space of the file system that holds the data of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Free space, bytes.
    pub free_bytes: u64,
    /// Free inodes; `None` if the file system does not limit them.
    pub free_inodes: Option<u64>,
}

/// A DNS name and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedName {
    /// The name.
    pub host: String,
    /// Port of the nodes at its addresses.
    pub port: u16,
    /// IP addresses of the last lookup that returned any; `None` before the first one.
    pub addresses: Option<Arc<[String]>>,
    /// Number of further addresses, which were left out because there are too many.
    pub excess: usize,
    /// Lookups since the exporter started.
    pub lookups: u64,
    /// Lookups that returned no address.
    pub failures: u64,
}

impl Round {
    /// Creates a round without delay, messages, checks, lookups and shared nodes.
    pub fn new(at: SystemTime, now: Monotonic, outcomes: Vec<PollOutcome>) -> Self {
        Round {
            at,
            now,
            duration: Duration::ZERO,
            missed: 0,
            computation_before: None,
            slow_before: false,
            excess: Excess::default(),
            nodes_left: None,
            blind: false,
            cut_off_for: None,
            outcomes: outcomes.into(),
            details: NodeVec::default(),
            contacts: NodeVec::default(),
            messages: Vec::new(),
            checks: Vec::new(),
            host_names: Arc::default(),
            disks: NodeVec::default(),
            shared: Vec::new(),
            resolved: Arc::default(),
        }
    }
}

impl Round {
    /// Returns the shared nodes among those at the positions `kept`, in the order of these: `None`
    /// is a node that the round did not poll.
    pub fn shared_among(&self, kept: &[Option<NodeIndex>]) -> Vec<SharedNode> {
        let moved = |shared: &SharedNode| {
            let position = kept.iter().position(|index| *index == Some(shared.node))?;
            Some(SharedNode { node: NodeIndex::new(position), ..shared.clone() })
        };
        let mut shared: Vec<_> = self.shared.iter().filter_map(moved).collect();
        shared.sort_unstable();
        shared
    }
}

/// A message that a Sentinel published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelMessage {
    /// Wall time at which the message arrived.
    pub at: SystemTime,
    /// Label of the Sentinel.
    pub sentinel: String,
    /// Pub/Sub channel, which is the kind of the event: `+switch-master`.
    pub channel: String,
    /// Text of the message: the instance that the event is about.
    pub payload: String,
}

/// Outcome of the poll of one node.
#[derive(Debug, Clone)]
pub enum PollOutcome {
    /// None yet: the node was never reached and no attempt failed, or it was connected too late
    /// for this round.
    Pending,
    /// The node replied.
    Answered(NodeReply),
    /// No reply in this round. A single missed poll does not mark a node down.
    Missed(Reason),
    /// An attempt to connect to the node or to read from it failed.
    Failed(Reason),
}

/// Reply of one node in one round.
#[derive(Debug, Clone)]
pub struct NodeReply {
    /// The parsed reply.
    pub snapshot: Arc<NodeSnapshot>,
    /// Monotonic time of the request; `None` if it is unknown.
    pub requested: Option<Monotonic>,
    /// Time from the request to the end of the reply, without computations of Rolecall.
    pub duration: Duration,
    /// Wall time at which the reply was complete.
    pub at: SystemTime,
    /// Expiry of the certificate of the server, since the Unix epoch; `None` without TLS.
    pub certificate_expiry: Option<Duration>,
    /// Address of the server; `None` over a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Errors that the server returned to Rolecall since the previous INFO. The counters of the
    /// server include them.
    pub own_errors: OwnErrors,
    /// The command statistics of the snapshot were read for this reply.
    pub commands_read: bool,
    /// Connected clients, if CLIENT LIST was read for this reply.
    pub clients: Option<Arc<[Client]>>,
}

/// Errors that a server returned to Rolecall, counted by error code.
pub type OwnErrors = BTreeMap<Box<str>, u64>;

impl NodeReply {
    /// Creates a reply that arrived without TLS, from an unknown address.
    pub fn new(snapshot: impl Into<Arc<NodeSnapshot>>, duration: Duration, at: SystemTime) -> Self {
        NodeReply {
            snapshot: snapshot.into(),
            requested: None,
            duration,
            at,
            certificate_expiry: None,
            peer: None,
            own_errors: OwnErrors::new(),
            commands_read: false,
            clients: None,
        }
    }

    /// Adds the counts of an earlier reply that no round has processed.
    #[must_use]
    pub fn with_counts_of(mut self, earlier: Option<NodeReply>) -> Self {
        if let Some(earlier) = earlier {
            self.commands_read |= earlier.commands_read;
            self.clients = self.clients.or(earlier.clients);
            for (code, count) in earlier.own_errors {
                let total = self.own_errors.entry(code).or_default();
                *total = total.saturating_add(count);
            }
        }
        self
    }
}
