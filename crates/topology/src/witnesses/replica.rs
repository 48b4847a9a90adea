//! Statement of a replica about its upstream: the state of its replication link.

use snapshot::{LinkStatus, NodeSnapshot, Role};

use super::statement::{Content, Observed, Peer, Statement};
use crate::limits::WHOLE_SECOND;
use crate::model::node::{NodeView, Upstream};
use crate::model::witness::WitnessKind;
use crate::node::link::{PING_PERIOD, ping_period};
use crate::shard::upstream::find_upstream;

/// Returns the statement of a replica about its upstream, if the upstream does not reply.
pub(super) fn statement(peer: Peer<'_>, observed: Observed<'_>) -> Option<Statement> {
    let link = peer.snapshot.replication.link.as_ref()?;
    let upstream = find_upstream(peer.node, peer.index, observed.deployment, observed.addresses);
    let Upstream::Node(index) = upstream else { return None };
    let node = observed.nodes.get(index).filter(|_| observed.is_failing(index))?;
    let content = match link.status? {
        // A growing offset would prove nothing: a replica that was paused applies what it received
        // before.
        LinkStatus::Up => link.last_io.map_or(Content::Nothing, |age| {
            Content::Alive(peer.requested.saturating_sub(age.saturating_add(WHOLE_SECOND)))
        }),
        LinkStatus::Down(Some(down_for)) => {
            let reported = peer.requested.saturating_sub(down_for);
            Content::Lost(Some(
                peer.node.link.down_since.map_or(reported, |seen| seen.min(reported)),
            ))
        }
        // The link was never up.
        LinkStatus::Down(None) => return None,
    };
    let connected = link.status == Some(LinkStatus::Up);
    let same =
        replid(node.last.as_deref()).is_none_or(|known| replid(Some(peer.snapshot)) == Some(known));
    Some(Statement {
        node: index,
        kind: WitnessKind::Replica,
        requested: peer.requested,
        content,
        valid_for: node.last.as_deref().map_or(PING_PERIOD, ping_period),
        connected,
        same,
        lived: true,
        master: connected && !is_replica(node, peer, observed),
    })
}

fn replid(snapshot: Option<&NodeSnapshot>) -> Option<&str> {
    snapshot?.replication.replid.as_deref()
}

/// Returns true if the upstream of a replica is a replica itself: by its last reply, or because a
/// master that replies writes the history of both.
fn is_replica(upstream: &NodeView, peer: Peer<'_>, observed: Observed<'_>) -> bool {
    let history = replid(Some(peer.snapshot));
    upstream.last_role() == Some(Role::Replica)
        || history.is_some_and(|history| observed.histories.contains(history))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::model::monotonic::Monotonic;

    #[test]
    fn time_before_the_start_of_the_exporter_is_its_start() {
        let requested = Monotonic::from_start(Duration::from_secs(2));
        assert_eq!(requested.saturating_sub(Duration::from_secs(9)), Monotonic::START);
    }
}
