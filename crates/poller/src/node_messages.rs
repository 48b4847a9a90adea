//! Messages between a deployment and the polling tasks of its nodes.
//!
//! A channel has memory for 32 messages from the start, so their rare parts are boxed.

use std::sync::Arc;

use client::Failure;
use tokio::time::Instant;
use topology::NodeReply;

use crate::poll_plan::MasterNames;

/// Request for one poll. The task reads these data in addition to what its cadences require.
#[derive(Debug, Clone, Default)]
pub(crate) struct PollRequest {
    /// Requests the command statistics, regardless of their cadence.
    pub(crate) command_stats: bool,
    /// Requests the cluster map.
    pub(crate) cluster_map: bool,
    /// Requests the client list, unless it was read recently or there are too many clients.
    pub(crate) client_list: bool,
    /// The part for a Sentinel; `None` for a data node.
    pub(crate) sentinel: Option<Box<SentinelRequest>>,
}

/// Part of a request for a Sentinel.
#[derive(Debug, Clone)]
pub(crate) struct SentinelRequest {
    /// Masters to read.
    pub(crate) masters: MasterNames,
    /// Those to read regardless of the cadence, because a Sentinel event concerns them.
    pub(crate) urgent_masters: Vec<Arc<str>>,
}

/// Identity of the node at a node index. A late report of a previous node at the same index has
/// another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotId {
    pub(crate) index: usize,
    pub(crate) generation: u64,
}

/// Report of the polling task of one node.
pub(crate) struct SlotReport {
    pub(crate) slot: SlotId,
    /// Time of the report.
    pub(crate) at: Instant,
    pub(crate) report: TaskReport,
}

/// Content of a report.
pub(crate) enum TaskReport {
    /// The connection is open.
    Connected,
    /// The node replied.
    Replied(Box<NodeReply>),
    /// The server refused INFO, but the connection stays open.
    InfoRefused(Box<Failure>),
    /// The connection was lost, and another attempt follows. This does not prove that the server is
    /// down.
    ConnectionLost(Box<Failure>),
    /// An attempt failed. The next one follows after a delay.
    AttemptFailed(Box<Failure>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_small() {
        assert!(size_of::<PollRequest>() <= 16, "{}", size_of::<PollRequest>());
        assert!(size_of::<SlotReport>() <= 48, "{}", size_of::<SlotReport>());
    }
}
