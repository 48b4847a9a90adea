//! Statements of a Sentinel about the nodes that it monitors.
//!
//! A Sentinel sends PING each second, and its record has the time of the last reply of any kind.
//! The flag `s_down` does not mean that no reply arrives. A Sentinel also sets it for a master that
//! has reported to be a replica for `down-after-milliseconds` and 20 s, for a master that has been
//! loading for too long after a restart (from Redis 7.0 on), and for any node that replies to PING
//! with an error other than LOADING and MASTERDOWN. Such a node is alive.

use std::time::Duration;

use snapshot::{Role, SentinelEntry};

use super::statement::{Content, Observed, Peer, Statement};
use crate::discovery::sources::master_report;
use crate::limits::{SENTINEL_HEARD_WITHIN, SENTINEL_LISTS_READ_WITHIN};
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
    /// Age of the last reply up to which replies arrive.
    silent_after: Duration,
    /// The record is about another Sentinel.
    of_sentinel: bool,
}

/// Returns the statements of a Sentinel about those nodes that do not reply.
pub(super) fn statements(peer: Peer<'_>, observed: Observed<'_>) -> Vec<Statement> {
    let Some(discovery) = &observed.deployment.discovery else { return Vec::new() };
    let Some(report) = master_report(peer.node, discovery) else { return Vec::new() };
    let silent_after = silent_after(&report.master);
    let listed = |entry, of_sentinel| Record {
        entry,
        requested: peer.requested.saturating_sub(report.lists_age),
        // The lists are read less often than the master.
        valid_for: PING_PERIOD + SENTINEL_LISTS_READ_WITHIN,
        silent_after,
        of_sentinel,
    };
    let master = Record {
        entry: &report.master,
        requested: peer.requested,
        valid_for: PING_PERIOD,
        silent_after,
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
        let is_lost = entry.down() && !self.is_replied_to();
        let connected = was_reached && !entry.disconnected && !is_lost;
        let content = match entry.last_ping_reply {
            _ if is_lost => Content::Lost(self.lost_for().map(|age| requested.saturating_sub(age))),
            Some(age) if connected || (was_reached && self.is_refused()) => {
                Content::Alive(requested.saturating_sub(age))
            }
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

    /// Returns true if replies of any kind arrive at the Sentinel.
    fn is_replied_to(self) -> bool {
        self.entry.last_ping_reply.is_some_and(|age| age <= self.silent_after)
    }

    /// Returns true if the last reply was an error. A Sentinel with a wrong password is
    /// disconnected most of the time, because it closes its connection for messages after each
    /// error. Without a reply, both times are those of the last reset.
    fn is_refused(self) -> bool {
        let ages = self.entry.last_ok_ping.zip(self.entry.last_ping_reply);
        ages.is_some_and(|(valid, any)| valid.saturating_sub(any) > PING_PERIOD / 2)
    }

    /// Returns the time for which the node has been lost. It replied after the Sentinel set the
    /// flag if the flag had another reason.
    fn lost_for(self) -> Option<Duration> {
        let down_for = self.entry.down_for?;
        Some(self.entry.last_ping_reply.map_or(down_for, |age| down_for.min(age)))
    }
}

/// Returns the age of the last reply up to which replies arrive at a Sentinel. If it sets the flag
/// `s_down` because a node is silent, the last reply is older than `down-after-milliseconds`: that
/// time begins with the next PING, up to a second later.
fn silent_after(master: &SentinelEntry) -> Duration {
    let down_after = master.settings.as_ref().map(|settings| settings.down_after);
    let down_after = down_after.filter(|down_after| !down_after.is_zero());
    down_after.map_or(SENTINEL_HEARD_WITHIN, |down_after| {
        SENTINEL_HEARD_WITHIN.min(down_after.saturating_add(PING_PERIOD))
    })
}
