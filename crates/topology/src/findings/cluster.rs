//! Findings about a cluster as a whole.

use super::FindingsCollector;
use crate::model::finding::evidence::{
    ClusterDownEvidence, ClusterDownReporters, SlotConflictEvidence, UncoveredSlotsEvidence,
};
use crate::model::finding::{Evidence, Severity};

use crate::model::cluster::ClusterView;

impl FindingsCollector<'_> {
    pub(super) fn check_cluster(&mut self, cluster: &ClusterView) {
        let reported = if cluster.working() == Some(false) {
            Some((Severity::Critical, ClusterDownReporters::Majority))
        } else if cluster.doubtful.is_empty() {
            None
        } else {
            // A node in a network partition is the only one to report the cluster as failed.
            Some((Severity::Warning, ClusterDownReporters::Minority))
        };
        if let Some((severity, reported_by)) = reported {
            let evidence = ClusterDownEvidence {
                masters: cluster.masters,
                ok: cluster.ok,
                reported_by,
                nodes: self.names(&cluster.doubtful),
            };
            self.add(severity, None, Evidence::RedisClusterDown(evidence));
        }
        if let Some(slots) = cluster.uncovered.filter(|uncovered| *uncovered > 0) {
            let evidence = UncoveredSlotsEvidence { slots };
            self.add(Severity::Critical, None, Evidence::RedisClusterSlotsUncovered(evidence));
        }
        if !cluster.conflicting.is_empty() {
            let evidence = SlotConflictEvidence {
                slots: cluster.conflicts,
                nodes: self.names(&cluster.conflicting),
            };
            self.add(Severity::Critical, None, Evidence::RedisClusterSlotConflict(evidence));
        }
    }
}
