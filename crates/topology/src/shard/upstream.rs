//! Fact: who follows whom, as far as the deployment reaches: loops, chains and orphans.

use snapshot::{LinkStatus, Role};

use crate::discovery::addresses::AddressIndex;
use crate::model::deployment::{Deployment, address};
use crate::model::view::NodeView;
use crate::node::link::LinkState;
use crate::node::state::{NodeState, is_absence};

/// What a node follows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Upstream {
    /// Nothing: it claims to be master, or nothing is known.
    #[default]
    Nothing,
    /// Another node of the deployment, by its place.
    Node(usize),
    /// An address at which no node of the deployment is.
    Unknown(String),
}

/// Why a replica gets nothing from the primary, or not for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanReason {
    /// No node of the deployment is at the address that it follows.
    UnknownAddress,
    /// The node that it follows does not answer.
    DeadNode,
    /// The node that it follows claims to be master, and is not the primary.
    StaleMaster,
    /// Its own link may stand, but one above it does not.
    BrokenChain,
}

impl OrphanReason {
    /// The labels of every reason, in the order of the reference.
    pub const LABELS: [&str; 4] = [
        OrphanReason::UnknownAddress.label(),
        OrphanReason::DeadNode.label(),
        OrphanReason::StaleMaster.label(),
        OrphanReason::BrokenChain.label(),
    ];

    /// The value of the label `why`.
    pub const fn label(self) -> &'static str {
        match self {
            OrphanReason::UnknownAddress => "unknown_address",
            OrphanReason::DeadNode => "dead_node",
            OrphanReason::StaleMaster => "stale_master",
            OrphanReason::BrokenChain => "broken_chain",
        }
    }
}

/// What a node follows now.
pub(crate) fn upstream(
    node: &NodeView,
    index: usize,
    deployment: &Deployment,
    indices: &AddressIndex,
) -> Upstream {
    let Some(link) = node.snapshot().and_then(|snapshot| snapshot.replication.link.as_ref()) else {
        return Upstream::Nothing;
    };
    let Some(host) = link.master_host.as_deref() else { return Upstream::Nothing };
    // A recording without ports: there every server listens on the same.
    let address = link.master_port.map_or_else(|| host.to_owned(), |port| address(host, port));
    let loopback =
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if loopback && !indices.is_local(index) {
        return Upstream::Unknown(address);
    }
    indices.at(deployment, &address).map_or(Upstream::Unknown(address), Upstream::Node)
}

/// The nodes that follow one another in a circle.
pub(crate) fn looped(nodes: &[NodeView]) -> Vec<usize> {
    let next = |index: usize| match nodes[index].upstream {
        Upstream::Node(upstream) => Some(upstream),
        _ => None,
    };
    let in_circle = |start: usize| {
        let mut at = start;
        for _ in 0..nodes.len() {
            match next(at) {
                Some(upstream) if upstream == start => return true,
                Some(upstream) => at = upstream,
                None => return false,
            }
        }
        false
    };
    (0..nodes.len()).filter(|index| in_circle(*index)).collect()
}

/// How many links lie between a replica and a master or the end of what is known; `None` for others and in a circle.
pub(crate) fn depth(nodes: &[NodeView], index: usize) -> Option<usize> {
    let mut at = index;
    for depth in 0..=nodes.len() {
        match &nodes[at].upstream {
            Upstream::Nothing => return (depth > 0).then_some(depth),
            Upstream::Unknown(_) => return Some(depth + 1),
            Upstream::Node(upstream) => at = *upstream,
        }
    }
    None
}

/// Why a replica is an orphan, if it is one. `acting` are the places of the primary or primaries, `external` that it is meant to be elsewhere.
pub(crate) fn orphan(
    nodes: &[NodeView],
    index: usize,
    acting: &[usize],
    external: bool,
) -> Option<OrphanReason> {
    let mut at = index;
    for _ in 0..nodes.len() {
        match nodes[at].upstream {
            Upstream::Nothing => return None,
            Upstream::Unknown(_) => {
                let lost = !external && !shares_history(nodes, at, acting);
                return lost.then_some(if at == index {
                    OrphanReason::UnknownAddress
                } else {
                    OrphanReason::BrokenChain
                });
            }
            Upstream::Node(upstream) => {
                let above = &nodes[upstream];
                if let NodeState::Down { reason, .. } = above.presence {
                    // One that only we cannot read may well serve it.
                    let why = if at == index {
                        OrphanReason::DeadNode
                    } else {
                        OrphanReason::BrokenChain
                    };
                    return is_absence(reason).then_some(why);
                }
                match above.role() {
                    Some(Role::Master)
                        if !acting.is_empty()
                            && !acting.iter().any(|acting| {
                                *acting == upstream || nodes[*acting].is_same_process(above)
                            }) =>
                    {
                        return Some(if at == index {
                            OrphanReason::StaleMaster
                        } else {
                            OrphanReason::BrokenChain
                        });
                    }
                    Some(Role::Replica) if link_lost(above) => {
                        return Some(OrphanReason::BrokenChain);
                    }
                    Some(Role::Replica) => at = upstream,
                    _ => return None,
                }
            }
        }
    }
    None
}

/// Behind NAT a replica may follow the primary at an address that nobody configured: its data tells.
fn shares_history(nodes: &[NodeView], index: usize, acting: &[usize]) -> bool {
    let replid = |index: usize| nodes[index].snapshot()?.replication.replid.as_deref();
    let own = replid(index);
    link_up(&nodes[index]) == Some(true)
        && own.is_some()
        && acting.iter().any(|primary| replid(*primary) == own)
}

/// The link is down, and no synchronisation is about to mend that.
fn link_lost(node: &NodeView) -> bool {
    link_up(node) == Some(false) && node.link.state != Some(LinkState::Syncing)
}

fn link_up(node: &NodeView) -> Option<bool> {
    Some(node.snapshot()?.replication.link.as_ref()?.status? == LinkStatus::Up)
}
