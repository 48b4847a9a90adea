//! Conditions that clients make.

use super::{FindingKind, Found, Severity, Value, seconds, text};

use crate::model::misrouted::{MisroutedClients, MisroutedView};
use crate::model::node::NodeView;

impl Found<'_> {
    /// Clients write to a replica, or are left over from when it was master.
    pub(super) fn misrouted(&mut self, node: &NodeView, misrouted: &MisroutedView) {
        if misrouted.persists() {
            let mut evidence = vec![
                ("why", text(misrouted.why.label())),
                ("per_second", Value::Number((misrouted.per_second * 10.0).round() / 10.0)),
                ("seconds", seconds(misrouted.last_refusal.since(misrouted.first_refusal))),
                ("commands", texts(&misrouted.commands)),
            ];
            evidence.extend(
                misrouted.writers.iter().flat_map(|writers| who("misrouted_clients", writers)),
            );
            evidence.extend(
                misrouted
                    .too_many_clients
                    .map(|clients| ("connected_clients", Value::Number(clients as f64))),
            );
            self.add(FindingKind::RedisWritesHitReplica, Severity::Warning, Some(node), evidence);
        }
        if let (Some(stale), Some(demoted), true) =
            (&misrouted.stale_clients, misrouted.demoted, misrouted.unexplained)
            && stale.total > 0
        {
            let evidence = who("stale_clients", stale)
                .into_iter()
                .chain([("demoted_seconds_ago", seconds(demoted))])
                .collect();
            self.add(FindingKind::RedisStaleClients, Severity::Warning, Some(node), evidence);
        }
    }
}

/// How many there are, under this name, and who they are.
fn who(count: &'static str, clients: &MisroutedClients) -> [(&'static str, Value); 3] {
    [
        (count, Value::Number(clients.total as f64)),
        ("libraries", texts(&clients.versions)),
        ("clients", texts(&clients.busiest)),
    ]
}

fn texts(texts: &[Box<str>]) -> Value {
    Value::List(texts.iter().map(ToString::to_string).collect())
}
