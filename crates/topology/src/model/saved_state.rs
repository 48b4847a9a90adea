//! State that is kept over a restart of the exporter, so that it detects a split brain, a
//! replacement or a change of the primary that happens in between.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Seconds between the last reply and the save. A process that started since then is a restart.
    #[serde(skip_serializing_if = "is_zero")]
    pub silence: u64,
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
    /// ID of the history that the node continued. The last `master_replid2` field of INFO, which a
    /// master forgets after `repl-backlog-ttl` without a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continued_id: Option<String>,
    /// The claim of the node to be master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<SavedClaim>,
    /// The upstream of the node when it was last up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub following: Option<SavedFollowing>,
    /// The node was the last undisputed primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<SavedPrimary>,
}

/// Claim of a node to be master. Nodes are identified by their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedClaim {
    /// Position in the order of the claims of a shard. Claims of the same round have the same one.
    pub order: u64,
    /// The promotion was observed.
    pub seen: bool,
    /// Nodes that were absent when the claim began, or since they last were replicas.
    pub absent: BTreeSet<String>,
    /// Nodes that replied as masters during the claim, or may have been masters when it began.
    pub present: BTreeSet<String>,
    /// Nodes that last replied as replicas during the claim.
    pub replicas: BTreeSet<String>,
    /// The upstream of each node before the claim.
    pub before: BTreeMap<String, SavedFollowing>,
}

/// Upstream of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedFollowing {
    /// Address of the upstream: the `master_host` and `master_port` fields of INFO. `None` for a
    /// master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Label of the master at the end of the chain, if every link up to it was up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Since then, no link to the same process of that master was interrupted.
    pub unbroken: bool,
}

/// The last undisputed primary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedPrimary {
    /// The `run_id` field of INFO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The `master_repl_offset` field of INFO, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
