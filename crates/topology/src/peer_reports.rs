//! Reports of nodes that reply about nodes that do not: a lost replication link, a Sentinel's flag
//! `s_down` or `o_down`, a flag `fail?` or `fail` in a cluster map.
//!
//! Such a report shows that a silent node is really gone, and that the exporter is not cut off.

use crate::discovery::addresses::AddressIndex;
use crate::discovery::cluster::ClusterTracker;
use crate::discovery::sources::master_report;
use crate::limits::PEER_REPORT_SLACK;
use crate::model::deployment::{Deployment, address};
use crate::model::monotonic::Monotonic;
use crate::model::node::{LinkState, NodeView, Upstream};
use crate::model::node_index::{NodeIndex, NodeVec};

/// A node that a peer reports as down.
struct PeerReport {
    node: NodeIndex,
    /// Monotonic time at which the peer lost the node; `None` if it is unknown.
    since: Option<Monotonic>,
}

/// Returns the nodes whose polls fail and that a node which replies reports as down. A report that
/// is older than the failure is about an earlier problem and does not count.
pub(crate) fn reported_down(
    nodes: &NodeVec<NodeView>,
    deployment: &Deployment,
    addresses: &AddressIndex,
    cluster: &ClusterTracker,
    now: Monotonic,
) -> Vec<NodeIndex> {
    if nodes.values().all(|node| node.polling.failing_since.is_none()) {
        return Vec::new();
    }
    let mut reports = Vec::new();
    for peer in nodes.values().filter(|node| node.polling.failing_since.is_none()) {
        reports.extend(by_replica(peer));
        reports.extend(by_sentinel(peer, deployment, addresses, now));
        reports.extend(by_cluster_map(peer, deployment, addresses, cluster));
    }
    let concerns_failure = |report: &PeerReport| {
        let failing_since = nodes.get(report.node).and_then(|node| node.polling.failing_since);
        failing_since.is_some_and(|failing| {
            report.since.is_none_or(|lost| failing.since(lost) <= PEER_REPORT_SLACK)
        })
    };
    let mut down: Vec<_> =
        reports.into_iter().filter(concerns_failure).map(|report| report.node).collect();
    down.sort_unstable();
    down.dedup();
    down
}

/// Returns the upstream of a replica whose link was up and is down.
fn by_replica(replica: &NodeView) -> Option<PeerReport> {
    let Upstream::Node(node) = replica.upstream else { return None };
    let is_down = matches!(
        replica.link.state,
        Some(LinkState::Lost | LinkState::Syncing | LinkState::SyncLooping)
    );
    let since = replica.link.down_since.filter(|_| is_down && replica.is_replica())?;
    Some(PeerReport { node, since: Some(since) })
}

/// Returns the nodes that a Sentinel considers down.
fn by_sentinel(
    sentinel: &NodeView,
    deployment: &Deployment,
    addresses: &AddressIndex,
    now: Monotonic,
) -> Vec<PeerReport> {
    let Some(discovery) = &deployment.discovery else { return Vec::new() };
    let Some(report) = master_report(sentinel, discovery) else { return Vec::new() };
    let others = [&report.replicas, &report.sentinels].into_iter().flatten();
    std::iter::once(&report.master)
        .chain(others.flat_map(|list| list.iter()))
        .filter(|watched| watched.down())
        .filter_map(|watched| {
            let listed = address(&watched.ip, watched.port);
            let reachable = discovery.address_map.get(&listed).unwrap_or(&listed);
            Some(PeerReport {
                node: addresses.node_at(deployment, reachable)?,
                since: watched.down_for.map(|down_for| now.saturating_sub(down_for)),
            })
        })
        .collect()
}

/// Returns the nodes that the map of a cluster node flags as failed.
fn by_cluster_map(
    peer: &NodeView,
    deployment: &Deployment,
    addresses: &AddressIndex,
    cluster: &ClusterTracker,
) -> Vec<PeerReport> {
    let Some(map) = peer.snapshot().and_then(|snapshot| snapshot.map.as_ref()) else {
        return Vec::new();
    };
    map.nodes
        .iter()
        .filter(|node| node.is("fail?") || node.is("fail"))
        .filter_map(|node| {
            let listed = || addresses.node_at(deployment, &address(&node.host, node.port));
            let node = cluster.index(&node.id).or_else(listed)?;
            Some(PeerReport { node, since: None })
        })
        .collect()
}
