//! Statements of a cluster node about the other nodes of its map.

use std::collections::HashMap;
use std::time::Duration;

use snapshot::{ClusterNode, NodeSnapshot};

use super::statement::{Content, Observed, Peer, Statement};
use crate::discovery::cluster::ClusterTracker;
use crate::model::deployment::address;
use crate::model::monotonic::Monotonic;
use crate::model::node_index::{NodeIndex, NodeMap};
use crate::model::witness::WitnessKind;

/// Default of `cluster-node-timeout`.
const NODE_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for which differences between two clocks are compared.
const COMPARED_FOR: Duration = Duration::from_secs(60);

/// Tracker of the clocks of servers that do not report their time (before Redis 6.2).
#[derive(Debug, Default)]
pub(super) struct PeerClocks(NodeMap<PeerClock>);

/// Clock of one server: the smallest difference between the time of a request and the newest pong
/// in the map. While the cluster is healthy, that pong is only a moment older than the request.
#[derive(Debug)]
struct PeerClock {
    run_id: Option<Box<str>>,
    /// Smallest difference in the present period, milliseconds.
    smallest: i64,
    /// Smallest difference in the period before.
    before: Option<i64>,
    /// Begin of the present period.
    since: Monotonic,
}

/// The failing nodes by their cluster IDs.
pub(super) struct FailingIds<'a> {
    ids: HashMap<&'a str, NodeIndex>,
    /// The ID of some failing node is unknown.
    incomplete: bool,
}

impl<'a> FailingIds<'a> {
    pub(super) fn new(observed: Observed<'_>, cluster: &'a ClusterTracker) -> Self {
        let mut failing = FailingIds { ids: HashMap::new(), incomplete: false };
        for (index, _) in observed.failing() {
            match cluster.id(index) {
                Some(id) => drop(failing.ids.insert(id, index)),
                None => failing.incomplete = true,
            }
        }
        failing
    }

    /// Returns the failing node that an entry is about. An entry with another address is about the
    /// node after it moved.
    fn find(&self, node: &ClusterNode, observed: Observed<'_>) -> Option<NodeIndex> {
        let by_id = self.ids.get(&*node.id).copied();
        if by_id.is_none() && !self.incomplete {
            return None;
        }
        let listed = address(&node.host, node.port);
        let discovery = observed.deployment.discovery.as_ref();
        let mapped = discovery.and_then(|discovery| discovery.address_map.get(&listed));
        let Some(index) = by_id else { return observed.failing_at(mapped.unwrap_or(&listed)) };
        // The address to which a node moved is an alias of it before Rolecall reaches it there.
        let own = &observed.deployment.nodes[index].address;
        let is_own =
            own == mapped.unwrap_or(&listed) || observed.addresses.is_known(index, &listed);
        is_own.then_some(index)
    }
}

/// Returns the time within which each node of a cluster hears of every other node: half of
/// `cluster-node-timeout`.
pub(super) fn pong_period(snapshot: &NodeSnapshot) -> Duration {
    let timeout = snapshot.config.as_ref().and_then(|config| config.number("cluster-node-timeout"));
    let timeout = timeout.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
    timeout.unwrap_or(NODE_TIMEOUT) / 2 + Duration::from_secs(1)
}

/// Returns the statements of a cluster node about those nodes that do not reply, if its map was
/// read.
pub(super) fn statements(
    peer: Peer<'_>,
    failing: &FailingIds<'_>,
    clocks: &PeerClocks,
    observed: Observed<'_>,
) -> Vec<Statement> {
    let Some(map) = &peer.snapshot.map else { return Vec::new() };
    let valid_for = pong_period(peer.snapshot);
    let others = map
        .nodes
        .iter()
        .filter(|node| !["myself", "handshake", "noaddr"].iter().any(|flag| node.is(flag)));
    others
        .filter_map(|node| {
            let index = failing.find(node, observed)?;
            let is_lost = node.is("fail?") || node.is("fail");
            let alive = node.pong_received.and_then(|pong| clocks.pong_at(peer, pong));
            Some(Statement {
                node: index,
                kind: WitnessKind::Cluster,
                requested: peer.requested,
                content: match alive {
                    _ if is_lost => Content::Lost(None),
                    Some(at) => Content::Alive(at),
                    None => Content::Nothing,
                },
                valid_for,
                connected: node.connected && !is_lost,
                same: true,
                lived: is_lost || node.pong_received.is_some(),
                master: node.is("master"),
            })
        })
        .collect()
}

impl PeerClocks {
    /// Processes the map of a node while all nodes reply.
    pub(super) fn observe(&mut self, peer: Peer<'_>) {
        if server_time(peer.snapshot).is_some() {
            return;
        }
        let Some(map) = &peer.snapshot.map else { return };
        let Some(newest) = map.nodes.iter().filter_map(|node| node.pong_received).max() else {
            return;
        };
        let difference = millis(peer.requested).saturating_sub_unsigned(newest);
        let run_id = &peer.snapshot.identity.run_id;
        let fresh = || PeerClock {
            run_id: run_id.clone(),
            smallest: difference,
            before: None,
            since: peer.requested,
        };
        let clock = self.0.entry(peer.index).or_insert_with(fresh);
        if clock.run_id != *run_id {
            *clock = fresh();
        } else if peer.requested.since(clock.since) > COMPARED_FOR / 2 {
            *clock = PeerClock { before: Some(clock.smallest), ..fresh() };
        } else {
            clock.smallest = clock.smallest.min(difference);
        }
    }

    /// Returns the time of a pong, given in milliseconds by the clock of the node that replied;
    /// `None` if it may be the start of that node, or if its clock is unknown.
    fn pong_at(&self, peer: Peer<'_>, pong: u64) -> Option<Monotonic> {
        let requested = millis(peer.requested);
        let offset = if let Some(time) = server_time(peer.snapshot) {
            requested.saturating_sub_unsigned(time)
        } else {
            let clock = self.0.get(&peer.index);
            let clock = clock.filter(|clock| clock.run_id == peer.snapshot.identity.run_id)?;
            clock.before.map_or(clock.smallest, |before| before.min(clock.smallest))
        };
        let at = offset.saturating_add_unsigned(pong).min(requested);
        // A node that starts sets all pongs to its start. Its uptime is in whole seconds.
        let uptime = i64::try_from(peer.snapshot.identity.uptime?.as_millis()).ok()?;
        let started = requested.saturating_sub(uptime).saturating_add(1000);
        let at = u64::try_from(at).ok().filter(|_| at > started)?;
        Some(Monotonic::from_start(Duration::from_millis(at)))
    }

    /// Forgets a node that left.
    pub(super) fn clear(&mut self, index: NodeIndex) {
        self.0.remove(&index);
    }
}

/// Returns the Unix time of a server, milliseconds.
fn server_time(snapshot: &NodeSnapshot) -> Option<u64> {
    Some(snapshot.fields.count("server_time_usec")? / 1000)
}

fn millis(at: Monotonic) -> i64 {
    i64::try_from(at.since_start().as_millis()).unwrap_or(i64::MAX)
}
