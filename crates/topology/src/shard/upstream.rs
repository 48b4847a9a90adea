//! Upstreams of nodes: replication chains and orphaned replicas.

use snapshot::{LinkStatus, Role};

use crate::discovery::addresses::AddressIndex;
use crate::model::deployment::{Deployment, address};
use crate::model::node::{LinkState, NodeView, OrphanReason, Upstream};
use crate::model::node_index::NodeIndex;
use crate::model::node_state::NodeState;
use crate::shard::nodes::{ShardNodes, ShardUpstream};

/// Returns the node from which a node replicates.
pub(crate) fn find_upstream(
    node: &NodeView,
    index: NodeIndex,
    deployment: &Deployment,
    addresses: &AddressIndex,
) -> Upstream {
    let Some(link) = node.snapshot().and_then(|snapshot| snapshot.replication.link.as_ref()) else {
        return Upstream::Nothing;
    };
    let Some(host) = link.master_host.as_deref() else { return Upstream::Nothing };
    // Recordings may lack the port. In those, all servers listen on the same one.
    let address = link.master_port.map_or_else(|| host.to_owned(), |port| address(host, port));
    let loopback =
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if loopback && !addresses.is_local(index) {
        return Upstream::Unknown(address);
    }
    addresses.node_at(deployment, &address).map_or(Upstream::Unknown(address), Upstream::Node)
}

/// Returns the number of links between a replica and the end of its chain: a master, or a node
/// outside of the shard. `None` for a node that is no replica and in a replication loop.
pub(crate) fn depth(nodes: ShardNodes<'_>, index: NodeIndex) -> Option<usize> {
    let mut current = index;
    for depth in 0..=nodes.len() {
        match nodes.upstream(current) {
            ShardUpstream::Nothing => return (depth > 0).then_some(depth),
            ShardUpstream::Outside => return Some(depth + 1),
            ShardUpstream::Node(upstream) => current = upstream,
        }
    }
    None
}

/// Returns the node at the end of the chain of a node, whatever the states of the links; `None` if
/// it is outside of the shard, and in a replication loop.
pub(crate) fn chain_end(nodes: ShardNodes<'_>, index: NodeIndex) -> Option<NodeIndex> {
    let mut current = index;
    for _ in 0..nodes.len() {
        match nodes.upstream(current) {
            ShardUpstream::Nothing => return Some(current),
            ShardUpstream::Outside => return None,
            ShardUpstream::Node(upstream) => current = upstream,
        }
    }
    None
}

/// Returns the reason why a replica is not connected to the primary; `None` if it is. `external`
/// is true if the configuration expects the primary outside of the deployment.
pub(crate) fn orphan_reason(
    nodes: ShardNodes<'_>,
    index: NodeIndex,
    primaries: &[NodeIndex],
    external: bool,
) -> Option<OrphanReason> {
    let mut current = index;
    for _ in 0..nodes.len() {
        let reason = |direct: OrphanReason| {
            Some(if current == index { direct } else { OrphanReason::BrokenChain })
        };
        let upstream = match nodes.upstream(current) {
            ShardUpstream::Nothing => return None,
            ShardUpstream::Outside if external || shares_history(nodes, current, primaries) => {
                return None;
            }
            ShardUpstream::Outside => return reason(OrphanReason::UnknownAddress),
            ShardUpstream::Node(upstream) => upstream,
        };
        let above = &nodes[upstream];
        match (above.presence, above.role()) {
            (NodeState::Down { .. }, _) => return reason(OrphanReason::DeadNode),
            _ if above.claims_master() && is_other_master(nodes, upstream, primaries) => {
                return reason(OrphanReason::StaleMaster);
            }
            (_, Some(Role::Replica)) if is_link_lost(above) => {
                return Some(OrphanReason::BrokenChain);
            }
            (_, Some(Role::Replica)) => current = upstream,
            // A node that only Rolecall cannot read may serve the replica.
            _ => return None,
        }
    }
    None
}

/// Returns true if the primary is known and a master is not its process.
fn is_other_master(nodes: ShardNodes<'_>, master: NodeIndex, primaries: &[NodeIndex]) -> bool {
    let is_same =
        |primary: &NodeIndex| *primary == master || nodes[*primary].is_same_process(&nodes[master]);
    !primaries.is_empty() && !primaries.iter().any(is_same)
}

/// Returns true if a connected replica may hold the history of the primary. Behind NAT it may
/// replicate from the primary under an address that is not configured. A server that reports no
/// replication ID gives no evidence against it.
fn shares_history(nodes: ShardNodes<'_>, index: NodeIndex, primaries: &[NodeIndex]) -> bool {
    let replid = |index: NodeIndex| Some(nodes[index].snapshot()?.replication.replid.as_deref());
    let own = replid(index);
    let may_be_shared = |primary: &NodeIndex| match replid(*primary) {
        Some(None) => true,
        primary => primary == own,
    };
    is_link_up(&nodes[index]) == Some(true)
        && own.is_some()
        && (own == Some(None) || primaries.iter().any(may_be_shared))
}

/// Returns true if the link is down and no synchronization runs.
fn is_link_lost(node: &NodeView) -> bool {
    is_link_up(node) == Some(false) && node.link.state != Some(LinkState::Syncing)
}

fn is_link_up(node: &NodeView) -> Option<bool> {
    Some(node.snapshot()?.replication.link.as_ref()?.status? == LinkStatus::Up)
}
