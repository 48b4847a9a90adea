//! Replies that trackers need in the next round.

use crate::model::node_index::NodeIndex;

/// A reply that a tracker needs in the next round.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReadRequest {
    /// The command statistics of a node, which show the cause of a change of the primary.
    CommandStats(NodeIndex),
    /// The cluster map of a node.
    ClusterMap(NodeIndex),
    /// The clients of a node, which show who writes to a replica.
    ClientList(NodeIndex),
    /// The replicas and the other Sentinels that each Sentinel lists, which may vouch for a node
    /// that does not reply, and show which replica they would promote.
    SentinelLists,
    /// The host name of an IP address, which becomes part of the label of a node.
    HostName(String),
}
