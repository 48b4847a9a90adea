//! Findings about clients that write to a replica.

use std::sync::Arc;

use super::evidence::{MisroutedWritesEvidence, StaleClientsEvidence};
use super::{Evidence, FindingsCollector, Severity};

use crate::model::view::NodeView;
use crate::shard::misrouted::MisroutedView;

impl FindingsCollector<'_> {
    /// Checks for clients that write to a replica, and for clients that connected before the
    /// replica was demoted.
    pub(super) fn check_misrouted(&mut self, node: &NodeView, misrouted: &MisroutedView) {
        if misrouted.persists() {
            let evidence = MisroutedWritesEvidence {
                reason: misrouted.why,
                per_second: misrouted.per_second,
                lasted: misrouted.risen.saturating_sub(misrouted.began),
                commands: misrouted.commands.clone(),
                writers: misrouted.writers.clone(),
                too_many_clients: misrouted.too_many,
            };
            self.add(Severity::Warning, Some(node), Evidence::RedisWritesHitReplica(evidence));
        }
        if let (Some(stale), Some(demoted_ago), true) =
            (&misrouted.stale, misrouted.demoted, misrouted.settled)
            && stale.total > 0
        {
            let evidence = StaleClientsEvidence { clients: Arc::clone(stale), demoted_ago };
            self.add(Severity::Warning, Some(node), Evidence::RedisStaleClients(evidence));
        }
    }
}
