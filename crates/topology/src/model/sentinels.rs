//! Reports of the Sentinels of a deployment.

use std::time::Duration;

use snapshot::{DownState, Quorum};

use crate::limits::SENTINEL_RECOVERS_WITHIN;
use crate::model::node_index::NodeIndex;

/// Reports of the Sentinels of a deployment after a round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelsView {
    /// Statements of the Sentinels that reply and watch the master, in the order of the
    /// configuration.
    pub statements: Vec<SentinelStatement>,
    /// Some Sentinel has listed the replicas since the exporter started: the nodes are known.
    pub(crate) listed: bool,
    /// The master that a majority of the configured Sentinels names at the highest epoch.
    pub majority: Option<Majority>,
    /// Sentinels that reply and do not know a master of that name.
    pub without_master: Vec<NodeIndex>,
    /// Sentinels that name another node than the primary.
    pub dissenters: Vec<NodeIndex>,
    /// Sentinels that consider the primary down, although it replies to Rolecall.
    pub cannot_reach: CannotReach,
    /// Dead nodes that Sentinels still list.
    pub ghosts: Ghosts,
    /// Addresses of nodes that a Sentinel lists as replicas of themselves.
    pub self_replicating: Vec<String>,
    /// Sentinels list some nodes by host name and some by IP address. These are the addresses of
    /// the smaller group.
    pub mixed: Vec<String>,
}

/// State of the master as one Sentinel reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelStatement {
    /// The Sentinel.
    pub sentinel: NodeIndex,
    /// Address of the master, `host:port`.
    pub address: String,
    /// The node at this address.
    pub node: Option<NodeIndex>,
    /// Epoch of this configuration. The `config-epoch` field of SENTINEL MASTERS.
    pub epoch: u64,
    /// State of the master as seen by this Sentinel: ok, sdown (subjectively down) or odown
    /// (objectively down).
    pub state: DownState,
    /// A failover of the master is in progress. The `failover_in_progress` flag.
    pub failing_over: bool,
    /// Time since the last reply of the master to PING, valid or not. The `last-ping-reply` field.
    pub last_ping_reply: Option<Duration>,
    /// The Sentinel is in TILT mode: it does not update the state of the master.
    pub tilt: bool,
    /// The master reports that it is a replica. The `role-reported` field.
    pub role_mismatch: bool,
    /// Result of SENTINEL CKQUORUM.
    pub quorum: Option<Quorum>,
    /// Sentinels that must agree that the master is down. The `quorum` field.
    pub needed: u64,
    /// Sentinels that this one knows, including itself and dead ones.
    pub known: u64,
    /// Known Sentinels that are not down.
    pub usable: Option<u64>,
    /// Replicas that this Sentinel knows, including dead ones. The `num-slaves` field.
    pub replicas: u64,
    /// Known replicas that are not down.
    pub usable_replicas: Option<u64>,
    /// Silence after which this Sentinel considers the master down.
    pub down_after: Duration,
    /// The setting `failover-timeout`.
    pub failover_timeout: Duration,
}

/// Master that a majority of the Sentinels names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Majority {
    /// Address of the master, `host:port`.
    pub address: String,
    /// The node at this address.
    pub node: Option<NodeIndex>,
    /// Epoch at which they name it.
    pub epoch: u64,
    /// Number of Sentinels that name it.
    pub count: usize,
    /// Most of them report it as down.
    pub down: bool,
}

/// Sentinels that consider the primary down, although it replies to Rolecall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CannotReach {
    /// The primary; `None` if no Sentinel considers it down.
    pub primary: Option<NodeIndex>,
    /// The Sentinels, in the order of the configuration.
    pub sentinels: Vec<UnreachedPrimary>,
    /// Codes of the error replies of the primary that increase at the pace of the Sentinels.
    pub error_codes: Vec<&'static str>,
}

/// A Sentinel that considers the primary down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreachedPrimary {
    /// The Sentinel.
    pub sentinel: NodeIndex,
    /// Reason for which it gets no valid replies.
    pub reason: UnreachedReason,
    /// Time from the first to the last reply of both that showed this.
    pub lasted: Duration,
}

/// Reason for which a Sentinel gets no valid replies from a primary that replies to Rolecall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreachedReason {
    /// The primary refuses its credentials or its permissions.
    Auth,
    /// The primary replies with MISCONF, because it cannot save its data.
    Misconf,
    /// The primary replies with another error.
    ErrorReply,
    /// No reply arrives at the Sentinel.
    Network,
}

/// Kind of a disagreement of Sentinels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disagreement {
    /// A majority names another node than the primary.
    Majority,
    /// The node that they name reports that it is a replica.
    RoleReported,
    /// A minority names another node than the primary.
    Dissenter,
}

/// Dead nodes that Sentinels still list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ghosts {
    /// Addresses of replicas.
    pub replicas: Vec<String>,
    /// Addresses of Sentinels.
    pub sentinels: Vec<String>,
}

impl CannotReach {
    /// Returns the reason for which a Sentinel gets no valid replies; `None` if it gets them.
    pub fn reason(&self, sentinel: NodeIndex) -> Option<UnreachedReason> {
        self.sentinels.iter().find(|other| other.sentinel == sentinel).map(|other| other.reason)
    }

    /// Returns the Sentinels that have considered the primary down for longer than they need to
    /// notice its return.
    pub fn lasting(&self) -> impl Iterator<Item = &UnreachedPrimary> {
        self.sentinels.iter().filter(|unreached| unreached.is_lasting())
    }
}

impl UnreachedPrimary {
    /// Returns true if the Sentinel has had enough time to notice the return of the primary.
    pub fn is_lasting(&self) -> bool {
        self.lasted > SENTINEL_RECOVERS_WITHIN
    }
}

impl UnreachedReason {
    /// The labels of all reasons, in the order of the reference.
    pub const LABELS: [&str; 4] = [
        UnreachedReason::Auth.label(),
        UnreachedReason::Misconf.label(),
        UnreachedReason::ErrorReply.label(),
        UnreachedReason::Network.label(),
    ];

    /// Returns the value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            UnreachedReason::Auth => "auth",
            UnreachedReason::Misconf => "misconf",
            UnreachedReason::ErrorReply => "error_reply",
            UnreachedReason::Network => "network",
        }
    }
}

impl Disagreement {
    /// Returns the value of `why` in findings.
    pub const fn label(self) -> &'static str {
        match self {
            Disagreement::Majority => "majority",
            Disagreement::RoleReported => "role_reported",
            Disagreement::Dissenter => "dissenter",
        }
    }
}

impl SentinelsView {
    /// Returns true if a majority names another node than the primary.
    pub fn majority_against(&self, primary: Option<NodeIndex>) -> bool {
        primary.is_some() && self.majority.as_ref().is_some_and(|majority| majority.node != primary)
    }

    /// Returns the kind of disagreement, if there is one: the most severe of several.
    pub fn disagreement(&self, primary: Option<NodeIndex>) -> Option<Disagreement> {
        if self.majority_against(primary) {
            return Some(Disagreement::Majority);
        }
        let mismatches = self.statements.iter().filter(|statement| statement.role_mismatch).count();
        if mismatches * 2 > self.statements.len() {
            return Some(Disagreement::RoleReported);
        }
        (!self.dissenters.is_empty()).then_some(Disagreement::Dissenter)
    }

    /// Returns true if most of the Sentinels that reply report that they have no quorum.
    pub fn quorum_lost(&self) -> bool {
        let count = |ok: bool| {
            let reports = |statement: &&SentinelStatement| {
                statement.quorum.is_some_and(|quorum| quorum.ok == ok)
            };
            self.statements.iter().filter(reports).count()
        };
        count(false) > count(true)
    }

    /// Returns the master that a majority names and does not report as down.
    pub(crate) fn named_master(&self) -> Option<NodeIndex> {
        self.majority.as_ref().filter(|majority| !majority.down)?.node
    }

    /// Finds the Sentinels that name another node than the primary.
    pub(crate) fn compare_with(&mut self, primary: Option<NodeIndex>) {
        let dissents =
            |statement: &&SentinelStatement| primary.is_some() && statement.node != primary;
        self.dissenters =
            self.statements.iter().filter(dissents).map(|statement| statement.sentinel).collect();
    }
}
