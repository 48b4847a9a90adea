//! Witnesses: peers that reply and observe a node that does not.
//!
//! Each kind of witness has a module, which reads statements from a reply. All times are in the
//! monotonic clock of the exporter: the moment at which the request to the witness was sent, minus
//! the age that its reply states. Statements are collected only while some node does not reply, and
//! kept until all nodes reply.

mod cluster;
mod endpoint;
mod primary;
mod replica;
mod sentinel;
mod statement;

use std::collections::HashSet;
use std::time::Duration;

use crate::discovery::addresses::AddressIndex;
use crate::discovery::cluster::ClusterTracker;
use crate::limits::{PEER_REPORT_SLACK, PING_LATE, WITNESS_SLACK};
use crate::model::deployment::{Deployment, DeploymentKind};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::node_state::NodeState;
use crate::model::round::Round;
use crate::model::witness::{Witness, WitnessKind};

use cluster::{FailingIds, PeerClocks};
use statement::{Content, Observed, Statement};

/// Time within which a Sentinel, or the primary of a node, renews its statement.
const PROMPT_WITHIN: Duration = Duration::from_secs(1);

/// Tracks the statements of peers about nodes that do not reply.
#[derive(Debug, Default)]
pub(crate) struct WitnessTracker {
    /// The newest statements about each of these nodes.
    records: NodeMap<Vec<Record>>,
    clocks: PeerClocks,
}

/// The statements of the peers about one node that does not reply.
#[derive(Debug, Default, Clone)]
pub(crate) struct Testimony {
    /// The newest statement of each peer.
    pub(crate) witnesses: Vec<Witness>,
    /// Time after the start of the failed contact within which a peer would vouch for the node if
    /// it is alive; `None` if no peer can observe it.
    pub(crate) window: Option<Duration>,
    /// A peer that vouched for the node does not reply itself, which is not decided yet.
    pub(crate) suspended: bool,
    /// The node is known to have run.
    pub(crate) lived: bool,
    /// A peer that replies considers the node lost, since about the time at which it failed.
    pub(crate) reported_down: bool,
}

/// The newest statement of one peer.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one reply")]
struct Record {
    peer: Option<NodeIndex>,
    kind: WitnessKind,
    /// The node was alive at this time; `None` if the peer withdrew its statements, or made none.
    alive_at: Option<Monotonic>,
    /// The peer considers the node lost.
    lost: Option<Lost>,
    valid_for: Duration,
    connected: bool,
    /// The peer vouched for the node with the process that Rolecall knows, or one that the same
    /// peer knows to have followed it.
    trusted: bool,
    lived: bool,
    master: bool,
    /// Monotonic time of the request for the statement.
    seen: Monotonic,
}

/// Loss of a node, as a peer states it.
#[derive(Debug, Clone, Copy)]
struct Lost {
    since: Option<Monotonic>,
    /// Monotonic time of the request for the statement.
    stated: Monotonic,
}

impl Testimony {
    /// Returns true if a witness vouches for the node.
    pub(crate) fn vouched(&self) -> bool {
        self.witnesses.iter().any(|witness| witness.vouches)
    }
}

impl WitnessTracker {
    /// Processes the replies of one round.
    pub(crate) fn observe(
        &mut self,
        nodes: &NodeVec<NodeView>,
        deployment: &Deployment,
        addresses: &AddressIndex,
        cluster: &ClusterTracker,
        round: &Round,
    ) {
        let none = HashSet::new();
        let observed = Observed { nodes, deployment, addresses, histories: &none };
        self.records.retain(|node, _| observed.is_failing(*node));
        if observed.failing().next().is_none() {
            observed.peers().for_each(|peer| self.clocks.observe(peer));
            return;
        }
        // A node whose silence is not decided yet still has its last reply.
        let replying = nodes.values().filter(|node| node.polling.failing_since.is_none());
        let histories = replying.filter_map(NodeView::written_history).collect();
        let observed = Observed { histories: &histories, ..observed };
        for record in self.records.iter_mut().flat_map(|(_, records)| records) {
            // Each statement says again if the peer is connected. A map is not read in each round.
            record.connected &= record.kind == WitnessKind::Cluster;
        }
        let ids = FailingIds::new(observed, cluster);
        for peer in observed.peers() {
            let by_cluster = cluster::statements(peer, &ids, &self.clocks, observed);
            let statements = replica::statement(peer, observed)
                .into_iter()
                .chain(primary::statements(peer, observed))
                .chain(sentinel::statements(peer, observed))
                .chain(by_cluster);
            for statement in statements {
                self.record(Some(peer.index), statement);
            }
        }
        for check in &round.checks {
            if let Some(statement) = endpoint::statement(check, observed) {
                self.record(None, statement);
            }
        }
    }

    fn record(&mut self, peer: Option<NodeIndex>, statement: Statement) {
        let records = self.records.entry(statement.node).or_default();
        let is_same = |record: &&mut Record| (record.peer, record.kind) == (peer, statement.kind);
        if let Some(record) = records.iter_mut().find(is_same) {
            record.update(statement);
        } else {
            let mut record = Record::new(peer, statement);
            record.update(statement);
            records.push(record);
        }
    }

    /// Returns what the peers state about a node that does not reply.
    pub(crate) fn testimony(
        &self,
        index: NodeIndex,
        nodes: &NodeVec<NodeView>,
        deployment: &Deployment,
        now: Monotonic,
    ) -> Testimony {
        let Some(failing_since) = nodes[index].polling.failing_since else {
            return Testimony::default();
        };
        let records = self.records.get(&index).map_or(&[][..], Vec::as_slice);
        let replies = |record: &Record| {
            record.peer.is_none_or(|peer| nodes[peer].polling.failing_since.is_none())
        };
        let is_undecided = |peer: NodeIndex| {
            nodes[peer].polling.failing_since.is_some() && nodes[peer].presence == NodeState::Up
        };
        let concerns = |lost: Lost| {
            lost.since.is_none_or(|since| failing_since.since(since) <= PEER_REPORT_SLACK)
        };
        let says_down = |record: &Record| record.lost.is_some_and(concerns);
        let witness = |record: &Record| Witness {
            peer: record.peer,
            kind: record.kind,
            alive_at: record.alive_at,
            valid_for: record.valid_for,
            master: record.master,
            vouches: record.vouches(failing_since, now),
        };
        let observers: Vec<_> =
            records.iter().filter(|record| record.connected && replies(record)).collect();
        Testimony {
            witnesses: records
                .iter()
                .filter(|record| record.alive_at.is_some() || says_down(record))
                .map(witness)
                .collect(),
            window: window(&observers, failing_since)
                .max(unread_maps(index, records, nodes, deployment)),
            suspended: records.iter().any(|record| {
                record.alive_at.is_some_and(|alive_at| alive_at > failing_since)
                    && record.peer.is_some_and(is_undecided)
            }),
            lived: records.iter().any(|record| record.lived),
            reported_down: records.iter().any(|record| replies(record) && says_down(record)),
        }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.records.remove(&index);
        for (_, records) in &mut self.records {
            records.retain(|record| record.peer != Some(index));
        }
        self.clocks.clear(index);
    }
}

impl Record {
    fn new(peer: Option<NodeIndex>, statement: Statement) -> Self {
        Record {
            peer,
            kind: statement.kind,
            alive_at: None,
            lost: None,
            valid_for: statement.valid_for,
            connected: false,
            trusted: false,
            lived: false,
            master: false,
            seen: statement.requested,
        }
    }

    fn update(&mut self, statement: Statement) {
        self.seen = statement.requested;
        self.connected = statement.connected;
        self.valid_for = statement.valid_for;
        self.lived |= statement.lived;
        self.master = statement.master;
        match statement.content {
            Content::Alive(at) => {
                // A node that a witness vouched for may restart before Rolecall reaches it.
                self.trusted |= statement.same;
                let is_newer = self.lost.is_none_or(|lost| at > lost.stated);
                if self.trusted && is_newer {
                    // Ages in whole seconds vary by a second.
                    self.alive_at = self.alive_at.max(Some(at));
                    self.lost = None;
                }
            }
            Content::Lost(since) => {
                self.alive_at = None;
                self.lost = Some(Lost { since, stated: statement.requested });
            }
            Content::Nothing => {}
        }
    }

    fn vouches(&self, failing_since: Monotonic, now: Monotonic) -> bool {
        let late = if self.kind == WitnessKind::Replica { PING_LATE } else { Duration::ZERO };
        let valid_for = self.valid_for.saturating_add(late + WITNESS_SLACK);
        self.alive_at
            .is_some_and(|alive_at| alive_at > failing_since && now.since(alive_at) <= valid_for)
    }
}

/// Returns the time within which one of these peers, which are connected to a node, would vouch for
/// it. A Sentinel and the primary of a node decide before a link on which nothing may be sent for
/// ten seconds.
fn window(observers: &[&Record], failing_since: Monotonic) -> Option<Duration> {
    // A list that a Sentinel sent before says nothing.
    let period = |record: &Record| match record.kind {
        WitnessKind::Sentinel if record.seen.since(failing_since) > PROMPT_WITHIN => PROMPT_WITHIN,
        _ => record.valid_for,
    };
    let of = |kinds: &[WitnessKind]| {
        let chosen = observers.iter().filter(|record| kinds.contains(&record.kind));
        chosen.map(|record| period(record)).min()
    };
    let period = of(&[WitnessKind::Sentinel, WitnessKind::Primary])
        .or_else(|| of(&[WitnessKind::Cluster]))
        .or_else(|| of(&[WitnessKind::Replica]))?;
    Some(period.saturating_add(WITNESS_SLACK))
}

/// Returns the time within which the nodes of a cluster would vouch for a node, if none of their
/// maps was read since it failed.
fn unread_maps(
    index: NodeIndex,
    records: &[Record],
    nodes: &NodeVec<NodeView>,
    deployment: &Deployment,
) -> Option<Duration> {
    let failing_since = nodes[index].polling.failing_since?;
    let is_read =
        |record: &Record| record.kind == WitnessKind::Cluster && record.seen > failing_since;
    if deployment.kind != DeploymentKind::Cluster || records.iter().any(is_read) {
        return None;
    }
    let mut peers = nodes.values().filter(|node| node.polling.failing_since.is_none());
    let snapshot = peers.find_map(|node| node.snapshot().filter(|peer| peer.cluster.is_some()))?;
    Some(cluster::pong_period(snapshot).saturating_add(WITNESS_SLACK))
}
