//! Findings about the readiness for an automatic failover.

use super::FindingsCollector;
use crate::model::finding::evidence::FailoverEvidence;
use crate::model::finding::{Evidence, Severity};

use crate::model::node_index::NodeIndex;
use crate::model::shard::ShardView;

impl FindingsCollector<'_> {
    /// Checks if a failover would succeed now.
    pub(super) fn check_failover(&mut self, shard: &ShardView) {
        let Some(failover) = shard.failover.as_ref().filter(|failover| !failover.is_ready()) else {
            return;
        };
        let view = self.view;
        let candidates: Vec<NodeIndex> =
            failover.candidates.iter().map(|candidate| candidate.node).collect();
        let changes = failover.candidates.iter().filter_map(|candidate| candidate.changes);
        let behind = candidates.iter().filter_map(|node| view.nodes[*node].lag.behind);
        let evidence = FailoverEvidence {
            reasons: failover.blockers.clone(),
            refused: failover
                .refused
                .iter()
                .map(|refused| (view.name(refused.node).to_owned(), refused.why))
                .collect(),
            changes: changes.max_by_key(|changes| changes.about),
            behind: behind.max(),
            candidates: self.names(&candidates),
            waits_for: failover.waits_for,
            disabled: failover.is_disabled(),
        };
        self.add(Severity::Warning, None, Evidence::RedisFailoverNotReady(evidence));
    }
}
