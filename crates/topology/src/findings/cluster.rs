//! Findings about a cluster as a whole.

use std::collections::BTreeSet;

use super::FindingsCollector;
use crate::limits::SLOT_OPEN_FOR;
use crate::model::finding::evidence::{
    ClusterDownEvidence, ClusterDownReporters, OpenSlotsEvidence, SlotConflictEvidence,
    UncoveredSlotsEvidence,
};
use crate::model::finding::{Evidence, Severity};

use crate::model::cluster::{ClusterView, OpenSlotView};
use crate::model::node_index::NodeIndex;

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
        self.check_open_slots(cluster);
    }

    /// Checks for slots that stay open.
    fn check_open_slots(&mut self, cluster: &ClusterView) {
        let now = self.view.now;
        let is_overdue = |open: &&OpenSlotView| now.since(open.since) > SLOT_OPEN_FOR;
        let open: Vec<_> = cluster.open_slots.iter().filter(is_overdue).collect();
        let Some(since) = open.iter().map(|open| open.since).min() else { return };
        let nodes = |of: fn(&OpenSlotView) -> &[NodeIndex]| {
            let nodes: BTreeSet<_> = open.iter().flat_map(|open| of(open)).copied().collect();
            self.names(&nodes.into_iter().collect::<Vec<_>>())
        };
        let evidence = OpenSlotsEvidence {
            slots: open.iter().map(|open| open.slot).collect(),
            migrating: nodes(|open| &open.migrating),
            importing: nodes(|open| &open.importing),
            open_for: now.since(since),
        };
        self.add(Severity::Warning, None, Evidence::RedisClusterSlotOpen(evidence));
    }
}
