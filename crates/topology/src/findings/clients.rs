//! Findings about clients that write to a replica.

use std::sync::Arc;

use super::FindingsCollector;
use crate::model::finding::evidence::{MisroutedWritesEvidence, StaleClientsEvidence};
use crate::model::finding::{Evidence, Severity};

use crate::model::misrouted::MisroutedView;
use crate::model::node::NodeView;

impl FindingsCollector<'_> {
    /// Checks for clients that write to a replica, and for clients that connected before the
    /// replica was demoted.
    pub(super) fn check_misrouted(&mut self, node: &NodeView, misrouted: &MisroutedView) {
        if misrouted.persists() {
            let evidence = MisroutedWritesEvidence {
                reason: misrouted.why,
                per_second: misrouted.per_second,
                lasted: misrouted.last_refusal.since(misrouted.first_refusal),
                commands: misrouted.commands.clone(),
                writers: misrouted.writers.clone(),
                too_many_clients: misrouted.too_many_clients,
            };
            self.add(Severity::Warning, Some(node), Evidence::RedisWritesHitReplica(evidence));
        }
        if let (Some(stale), Some(demoted_ago), true) =
            (&misrouted.stale_clients, misrouted.demoted, misrouted.unexplained)
            && stale.total > 0
        {
            let evidence = StaleClientsEvidence { clients: Arc::clone(stale), demoted_ago };
            self.add(Severity::Warning, Some(node), Evidence::RedisStaleClients(evidence));
        }
    }
}
