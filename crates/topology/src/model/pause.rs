//! Paused clients: their writes wait instead of being refused.

use crate::model::monotonic::Monotonic;

/// Operation for which a server lets writes wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseCause {
    /// The command CLIENT PAUSE.
    ClientPause,
    /// The command FAILOVER, or CLUSTER FAILOVER: the server waits for a replica.
    Failover,
    /// SHUTDOWN: the server waits for its replicas.
    Shutdown,
    /// The migration of slots of Valkey: the server waits for the node that gets them.
    SlotMigration,
    /// Another operation, which the server names in a way that Rolecall does not know.
    Other,
}

/// Paused writes of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PauseView {
    /// Operation for which the server reports that writes wait; `None` if it reports none.
    pub reported: Option<PauseCause>,
    /// The server has reported it for longer than a failover takes.
    pub lasting: bool,
    /// Monotonic time at which a CLIENT PAUSE was seen, if the server does not report pauses and
    /// nothing shows the end of this one.
    pub commanded: Option<Monotonic>,
}

impl PauseCause {
    /// Returns the value of `paused_by` in findings.
    pub const fn label(self) -> &'static str {
        match self {
            PauseCause::ClientPause => "client_pause",
            PauseCause::Failover => "failover",
            PauseCause::Shutdown => "shutdown",
            PauseCause::SlotMigration => "slot_migration",
            PauseCause::Other => "other",
        }
    }
}
