//! What is kept over a restart of the exporter, so that a split brain, a replacement or a change of the primary is seen as such also when
//! it happened meanwhile.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is kept of one deployment. Nodes are known by their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedState {
    /// The last primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The nodes.
    pub nodes: BTreeMap<String, SavedNode>,
}

/// What is kept of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedNode {
    /// It was the last primary of its shard, where there are several.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub primary: bool,
    /// The process that answered last. INFO server: `run_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The histories that its data belonged to, the last one first seen at the end. INFO replication: `master_replid`, `master_replid2`.
    pub replication_ids: Vec<String>,
    /// The highest epoch at which a Sentinel named it as master. SENTINEL MASTERS: `config-epoch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// CONFIG `appendfsync`, as last read: a server with `always` exits when its append-only file fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appendfsync: Option<String>,
}
