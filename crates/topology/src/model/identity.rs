//! Replacements of a data set by a foreign one.

use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;

/// Replacements of the data set of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetReplacedView {
    /// Number since the exporter started.
    pub total: u64,
    /// Number of planned ones among them.
    pub planned: u64,
    /// Those that this round detected.
    pub new: Vec<DatasetReplacement>,
    /// The last one. A planned one does not hide another one while that is still shown.
    pub last: Option<DatasetReplacement>,
}

/// Replacement of the data set of a former primary by one that shares no history with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetReplacement {
    /// Label of the former primary.
    pub node: String,
    /// The source of the foreign data: label of the node, or an address without a node.
    pub from: String,
    /// Keys of the former primary in its last reply as a master. INFO keyspace.
    pub keys_before: u64,
    /// Keys after its full resync. INFO keyspace.
    pub keys_after: u64,
    /// An operator sent REPLICAOF to the former primary.
    pub planned: bool,
    /// Monotonic time until which it is shown.
    pub shown_until: Monotonic,
}

/// Masters of a cluster that joined with slots and keys of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignMastersView {
    /// Number of those that took slots of another master, since the exporter started.
    pub total: u64,
    /// Those that took them recently, in ascending order.
    pub recent: Vec<NodeIndex>,
}

/// A node whose process is a node of another deployment, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedNode {
    /// The node in this deployment.
    pub node: NodeIndex,
    /// Name of the other deployment.
    pub deployment: String,
    /// The other deployment has the upstream of the node.
    pub follows_there: bool,
}
