//! State that is kept over a restart of the exporter, so that it detects a split brain, a
//! replacement or a change of the primary that happens in between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Saved state of one deployment. Nodes are identified by their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedState {
    /// The last primary; `None` in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The nodes.
    pub nodes: BTreeMap<String, SavedNode>,
    /// Addresses that nodes moved away from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub old_addresses: Vec<String>,
}

/// Saved state of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedNode {
    /// The node was the last primary of its shard in a cluster.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub primary: bool,
    /// The `run_id` field of the last INFO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// IDs of the replication histories that its data belonged to, the newest last. The
    /// `master_replid` and `master_replid2` fields of INFO.
    pub replication_ids: Vec<String>,
    /// The highest epoch at which a Sentinel named the node as master. The `config-epoch` field of
    /// SENTINEL MASTERS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Last known value of CONFIG `appendfsync`. A server with `always` exits when its append-only
    /// file fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appendfsync: Option<String>,
}
