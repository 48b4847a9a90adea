//! Trackers of shards: the nodes that hold one data set.

pub(crate) mod branches;
pub(crate) mod change_cause;
pub(crate) mod change_history;
pub(crate) mod claims;
pub(crate) mod context;
pub(crate) mod divergence;
pub(crate) mod emptied;
pub(crate) mod evidence;
pub(crate) mod lag;
pub(crate) mod lineage;
pub(crate) mod lost_writes;
pub(crate) mod masters;
pub(crate) mod misrouted;
pub(crate) mod no_primary;
pub(crate) mod nodes;
pub(crate) mod replica_count;
pub(crate) mod replication_loop;
pub(crate) mod resync;
pub(crate) mod rivals;
pub(crate) mod serving;
pub(crate) mod shards;
pub(crate) mod split_brain;
pub(crate) mod tracker;
pub(crate) mod upstream;
pub(crate) mod verdict;
pub(crate) mod write_refusals;
