//! Statements of a Sentinel about the nodes that it monitors.

use std::time::Duration;

use snapshot::{Role, SentinelEntry};

use super::statement::{Content, Observed, Peer, Statement};
use crate::discovery::sources::master_report;
use crate::limits::SENTINEL_LISTS_READ_WITHIN;
use crate::model::deployment::address;
use crate::model::monotonic::Monotonic;
use crate::model::node_index::NodeIndex;
use crate::model::witness::WitnessKind;

/// Time between two pings of a Sentinel.
const PING_PERIOD: Duration = Duration::from_secs(1);

/// One record of a Sentinel.
#[derive(Clone, Copy)]
struct Record<'a> {
    entry: &'a SentinelEntry,
    /// Monotonic time of the request for the record.
    requested: Monotonic,
    valid_for: Duration,
    /// The record is about another Sentinel.
    of_sentinel: bool,
}

/// Returns the statements of a Sentinel about those nodes that do not reply.
pub(super) fn statements(peer: Peer<'_>, observed: Observed<'_>) -> Vec<Statement> {
    let Some(discovery) = &observed.deployment.discovery else { return Vec::new() };
    let Some(report) = master_report(peer.node, discovery) else { return Vec::new() };
    let listed = |entry, of_sentinel| Record {
        entry,
        requested: peer.requested.saturating_sub(report.lists_age),
        // The lists are read less often than the master.
        valid_for: PING_PERIOD + SENTINEL_LISTS_READ_WITHIN,
        of_sentinel,
    };
    let master = Record {
        entry: &report.master,
        requested: peer.requested,
        valid_for: PING_PERIOD,
        of_sentinel: false,
    };
    let replicas = report.replicas.iter().flat_map(|list| list.iter());
    let sentinels = report.sentinels.iter().flat_map(|list| list.iter());
    std::iter::once(master)
        .chain(replicas.map(|entry| listed(entry, false)))
        .chain(sentinels.map(|entry| listed(entry, true)))
        .filter_map(|record| {
            let address = address(&record.entry.ip, record.entry.port);
            let reachable = discovery.address_map.get(&address).unwrap_or(&address);
            let node = observed.failing_at(reachable)?;
            let known = observed.nodes[node].last.as_ref();
            let run_id = known.and_then(|last| last.identity.run_id.as_deref());
            Some(record.statement(node, run_id))
        })
        .collect()
}

impl Record<'_> {
    /// Returns the statement about a node with this last known `run_id`.
    fn statement(self, node: NodeIndex, known: Option<&str>) -> Statement {
        let Record { entry, requested, .. } = self;
        // After a failover, a restart or SENTINEL RESET the record has no `run_id`, and the time of
        // the last ping starts at zero without a reply.
        let was_reached = !entry.run_id.is_empty();
        let connected = was_reached && !entry.disconnected && !entry.down();
        let content = match entry.last_ping_reply {
            _ if entry.down() => {
                Content::Lost(entry.down_for.map(|down_for| requested.saturating_sub(down_for)))
            }
            Some(age) if connected => Content::Alive(requested.saturating_sub(age)),
            _ => Content::Nothing,
        };
        Statement {
            node,
            kind: WitnessKind::Sentinel,
            requested,
            content,
            valid_for: self.valid_for,
            connected,
            // Sentinels list each other with IDs that are not the `run_id` of the process.
            same: self.of_sentinel || known.is_none_or(|known| known == &*entry.run_id),
            lived: was_reached || entry.down(),
            master: entry.role_reported == Some(Role::Master) && !self.of_sentinel,
        }
    }
}
