//! Ghosts: dead nodes that Sentinels still list.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::discovery::addresses::AddressIndex;
use crate::discovery::sources::{listed_by_sentinels, master_report};
use crate::model::deployment::{Deployment, NodeKind, address};
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::sentinels::Ghosts;

/// Finds the nodes that have been down for longer than `ghost_after` according to all Sentinels
/// that list them, and that are no members of the deployment.
pub(crate) fn find_ghosts(
    nodes: &NodeVec<NodeView>,
    deployment: &Deployment,
    addresses: &AddressIndex,
) -> Ghosts {
    let Some(discovery) = &deployment.discovery else { return Ghosts::default() };
    let is_dead = |down: Option<Duration>| down.is_some_and(|down| down > discovery.ghost_after);
    let is_member = |index: Option<NodeIndex>| {
        index.is_some_and(|index| nodes[index].node.kind != NodeKind::Vacant)
    };
    let replicas = listed_by_sentinels(nodes, &discovery.master);
    let replicas = replicas
        .values()
        .filter(|node| !node.master && is_dead(node.down_for))
        .map(|node| node.addresses(discovery).reachable);
    let mut sentinels: BTreeMap<String, bool> = BTreeMap::new();
    for report in nodes.values().filter_map(|node| master_report(node, discovery)) {
        for sentinel in report.sentinels.iter().flat_map(|list| list.iter()) {
            let ghost = sentinels.entry(address(&sentinel.ip, sentinel.port)).or_insert(true);
            *ghost &= sentinel.down() && is_dead(sentinel.down_for);
        }
    }
    // A configured Sentinel that is down has a finding of its own.
    let sentinels = sentinels
        .into_iter()
        .filter(|(at, ghost)| *ghost && !is_member(addresses.node_at(deployment, at)));
    Ghosts {
        replicas: replicas.filter(|at| !is_member(addresses.node_at(deployment, at))).collect(),
        sentinels: sentinels.map(|(at, _)| at).collect(),
    }
}
