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
    /// The claims of nodes to be master.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<SavedClaims>,
    /// Addresses that nodes moved away from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub old_addresses: Vec<String>,
    /// IDs of the newest replication histories of the data set. The `master_replid` field of INFO.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub histories: Vec<String>,
    /// Addresses without a node that replicated from a node, or from which one replicated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outside_addresses: Vec<String>,
    /// Replacements of the data set by a foreign one that are still shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<SavedReplacement>,
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
    /// The upstream of the node when it was last up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub following: Option<SavedFollowing>,
    /// The node was the last undisputed primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<SavedPrimary>,
    /// The node joined as a master with keys of an unknown history.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// The node was an undisputed primary, and its data was not replaced since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reign: Option<SavedReign>,
}

/// A process that was an undisputed primary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedReign {
    /// The `run_id` field of INFO.
    pub run_id: String,
    /// The `master_replid` field of INFO.
    pub replid: String,
    /// Number of keys of all databases in INFO.
    pub keys: u64,
    /// Successful REPLICAOF commands in INFO commandstats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicaof: Option<u64>,
    /// The `sync_full` field of INFO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syncs: Option<u64>,
    /// Seconds between the last reply as a master and the save.
    pub silence: u64,
    /// In a gap between two replies, a server that is no node may have copied the data.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_be_copied: bool,
    /// It replied as a replica since then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub demoted: bool,
}

/// Replacement of a data set by a foreign one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedReplacement {
    /// Label of the shard; `None` outside of a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// Label of the former primary.
    pub node: String,
    /// Label or address of the source of the data.
    pub from: String,
    /// Keys of the former primary before.
    pub keys_before: u64,
    /// Its keys after.
    pub keys_after: u64,
    /// An operator sent REPLICAOF to it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub planned: bool,
    /// Seconds for which it is still shown.
    pub shown_for: u64,
}

/// Claims to be master that have all observations in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedClaims {
    /// Labels of the nodes that claim to be master.
    pub claimants: BTreeSet<String>,
    /// Each of the claims.
    #[serde(flatten)]
    pub claim: SavedClaim,
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
