//! Findings that are normal for a short time, and become more severe when that time is over.

use std::time::Duration;

use super::{Evidence, Finding, Severity};
use crate::limits::{
    CLUSTER_NODE_DOUBTS_FOR, LINKS_RETURN_WITHIN, SENTINELS_AGREE_WITHIN, SENTINELS_LIST_WITHIN,
    SPLIT_BRAIN_CRITICAL_AFTER,
};

impl Finding {
    /// Returns the age until which the finding may be a part of a failover or of a start; `None` if
    /// it is no such part. Its severity may rise at this age.
    pub fn normal_for(&self) -> Option<Duration> {
        let is_info = self.severity == Severity::Info;
        match &self.evidence {
            Evidence::RedisSplitBrain(_) if self.severity != Severity::Critical => {
                Some(SPLIT_BRAIN_CRITICAL_AFTER)
            }
            Evidence::RedisReplicaLinkDown(_) if self.severity == Severity::Warning => {
                Some(LINKS_RETURN_WITHIN)
            }
            Evidence::RedisSentinelDisagreement(_) if is_info => Some(SENTINELS_AGREE_WITHIN),
            Evidence::RedisSentinelQuorumLost(_) if self.severity == Severity::Warning => {
                Some(SENTINELS_AGREE_WITHIN)
            }
            Evidence::RedisClusterDown(_) if is_info => Some(CLUSTER_NODE_DOUBTS_FOR),
            Evidence::RedisSentinelMisconfigured(_) if is_info => Some(SENTINELS_LIST_WITHIN),
            _ => None,
        }
    }
}
