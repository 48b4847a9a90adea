//! Statements of a node about its connected replicas.

use std::time::Duration;

use super::statement::{Content, Observed, Peer, Statement};
use crate::limits::WHOLE_SECOND;
use crate::model::deployment::address;
use crate::model::witness::WitnessKind;

/// Time between two acknowledgements of a replica.
const ACK_PERIOD: Duration = Duration::from_secs(1);

/// Returns the statements of a node about those of its replicas that do not reply.
pub(super) fn statements<'a>(
    peer: Peer<'a>,
    observed: Observed<'a>,
) -> impl Iterator<Item = Statement> + 'a {
    peer.snapshot.replication.attached.iter().filter_map(move |replica| {
        let node = observed.failing_at(&address(&replica.ip, replica.port))?;
        let acknowledged = replica.lag.filter(|_| replica.is_online() == Some(true));
        Some(Statement {
            node,
            kind: WitnessKind::Primary,
            requested: peer.requested,
            content: acknowledged.map_or(Content::Nothing, |lag| {
                Content::Alive(peer.requested.saturating_sub(lag.saturating_add(WHOLE_SECOND)))
            }),
            valid_for: ACK_PERIOD,
            connected: true,
            same: true,
            lived: true,
            master: false,
        })
    })
}
