//! Reasons for which a node refuses commands.

/// Reason for which a node refuses commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The append-only file cannot be written.
    MisconfAof,
    /// The last snapshot failed, and the server is configured to stop writes then.
    MisconfRdb,
    /// The used memory is above the limit and nothing can be evicted.
    Oom,
    /// There are fewer good replicas than configured.
    Noreplicas,
    /// A replica without a link is configured not to serve stale data.
    Masterdown,
    /// The data set is loading.
    Loading,
    /// A script blocks the server.
    Busy,
    /// A cluster node considers the cluster failed.
    Clusterdown,
    /// Writes wait: clients are paused, or a failover waits for a replica.
    Paused,
}

/// Reasons and their states: true if the node refuses commands for this reason. Reasons whose
/// state is unknown are missing.
pub type Refusals = Vec<(RefusalReason, bool)>;

impl RefusalReason {
    /// Returns the value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            RefusalReason::MisconfAof => "misconf_aof",
            RefusalReason::MisconfRdb => "misconf_rdb",
            RefusalReason::Oom => "oom",
            RefusalReason::Noreplicas => "noreplicas",
            RefusalReason::Masterdown => "masterdown",
            RefusalReason::Loading => "loading",
            RefusalReason::Busy => "busy",
            RefusalReason::Clusterdown => "clusterdown",
            RefusalReason::Paused => "paused",
        }
    }
}

/// Returns the labels of the active reasons.
pub fn active_reasons(refusals: &Refusals) -> Vec<&'static str> {
    refusals.iter().filter(|(_, active)| *active).map(|(reason, _)| reason.label()).collect()
}

/// Returns true if some reason is active.
pub(crate) fn refuses(refusals: &Refusals) -> bool {
    refusals.iter().any(|(_, active)| *active)
}
