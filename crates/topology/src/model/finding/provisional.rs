//! Findings that are normal for a short time, and become more severe when that time is over.

use std::time::Duration;

use super::{Evidence, Finding, Severity};
use crate::limits::{
    CLUSTER_NODE_DOUBTS_FOR, FAILOVER_READY_WITHIN, LINKS_RETURN_WITHIN, LISTS_SETTLE_WITHIN,
    SENTINELS_AGREE_WITHIN, SENTINELS_LIST_WITHIN, SPLIT_BRAIN_CRITICAL_AFTER,
};

/// Condition that is normal for a short time.
struct Provisional {
    lasts: Duration,
    /// Severity until then, unless that of the finding is lower.
    severity: Severity,
}

impl Finding {
    /// Returns the age until which the finding may be a part of a failover or of a start; `None` if
    /// it is no such part. Its severity may rise at this age.
    pub fn normal_for(&self) -> Option<Duration> {
        if matches!(self.evidence, Evidence::RedisSplitBrain(_)) {
            // Its severity depends on more than its age.
            return (self.severity != Severity::Critical).then_some(SPLIT_BRAIN_CRITICAL_AFTER);
        }
        let provisional = self.provisional()?;
        (self.severity >= provisional.severity).then_some(provisional.lasts)
    }

    /// Returns the severity at an age of the finding.
    pub(crate) fn severity_at(&self, age: Duration) -> Severity {
        match self.provisional() {
            // The worst severity is the lowest value.
            Some(provisional) if age < provisional.lasts => self.severity.max(provisional.severity),
            _ => self.severity,
        }
    }

    fn provisional(&self) -> Option<Provisional> {
        let (lasts, severity) = match &self.evidence {
            Evidence::RedisReplicaLinkDown(_) => (LINKS_RETURN_WITHIN, Severity::Warning),
            Evidence::RedisSentinelDisagreement(_) => (SENTINELS_AGREE_WITHIN, Severity::Info),
            Evidence::RedisSentinelQuorumLost(_) => (SENTINELS_AGREE_WITHIN, Severity::Warning),
            // A cluster that is down for most nodes is critical at once.
            Evidence::RedisClusterDown(_) if self.severity != Severity::Critical => {
                (CLUSTER_NODE_DOUBTS_FOR, Severity::Info)
            }
            // After a failover, a busy old master may claim its slots for a moment.
            Evidence::RedisClusterSlotConflict(_) => (LISTS_SETTLE_WITHIN, Severity::Warning),
            // After a failover, replicas connect to the new primary, and the old one restarts.
            Evidence::RedisFailoverNotReady(evidence) if !evidence.disabled => {
                (FAILOVER_READY_WITHIN, Severity::Info)
            }
            Evidence::RedisSentinelMisconfigured(_) => (SENTINELS_LIST_WITHIN, Severity::Info),
            _ => return None,
        };
        Some(Provisional { lasts, severity })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::model::finding::evidence::SlotConflictEvidence;

    #[test]
    fn a_finding_whose_severity_rises_is_provisional_before() {
        let evidence = SlotConflictEvidence { slots: 1, nodes: Vec::new() };
        let evidence = Evidence::RedisClusterSlotConflict(evidence);
        let mut finding = Finding {
            kind: evidence.kind(),
            severity: Severity::Critical,
            node: None,
            shard: None,
            since: SystemTime::UNIX_EPOCH,
            evidence,
        };
        assert_eq!(finding.normal_for(), None);
        assert_eq!(finding.severity_at(LISTS_SETTLE_WITHIN), Severity::Critical);
        finding.severity = finding.severity_at(Duration::ZERO);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.normal_for(), Some(LISTS_SETTLE_WITHIN));
    }
}
