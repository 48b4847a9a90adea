//! Evidence for the primary: what each kind of evidence states about the nodes that claim the role
//! of master. The verdict is in [`crate::shard::verdict`].

use std::collections::VecDeque;
use std::time::Duration;

use snapshot::{NodeSnapshot, Role};

use crate::limits::{ENDPOINT_LED_CHECKS, SENTINELS_READ_WITHIN, WRITTEN_RECENTLY};
use crate::model::endpoint::EndpointKind;
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::saved_state::{SavedClaims, SavedNode, SavedPrimary};
use crate::model::sentinels::{Majority, SentinelStatement, SentinelsView};
use crate::model::shard::{PrimaryEvidence, PrimaryStatement};
use crate::shard::claim_group::SharedClaim;
use crate::shard::claims::ClaimsTracker;
use crate::shard::context::ShardContext;
use crate::shard::lineage::{LineageTracker, MasterRelations};
use crate::shard::nodes::ShardNodes;

/// Tracks what the evidence for the primary needs from earlier rounds.
#[derive(Debug, Default)]
pub(crate) struct EvidenceTracker {
    claims: ClaimsTracker,
    writes: NodeMap<MasterWrites>,
    /// The servers to which the last checks of the endpoint for writes led, the newest last.
    endpoint: VecDeque<Box<str>>,
    previous: Option<PreviousPrimary>,
}

/// Writes that one master accepted.
#[derive(Debug, Default)]
struct MasterWrites {
    run_id: Option<Box<str>>,
    /// The `rdb_changes_since_last_save` field of INFO.
    changes: Option<u64>,
    /// Monotonic time of the last reply.
    replied: Monotonic,
    /// Monotonic time at which the number of changes last grew.
    grew: Option<Monotonic>,
}

/// The last undisputed primary.
#[derive(Debug)]
struct PreviousPrimary {
    node: NodeIndex,
    run_id: Option<Box<str>>,
    /// Replication offset in its last reply.
    offset: Option<u64>,
}

/// Statements of one round about the rivals: the nodes that claim the role of master.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    /// In ascending order.
    pub(crate) all: Vec<PrimaryStatement>,
    /// The rival that was promoted while all others of its history were absent. Evidence of
    /// lineage decides for no other node.
    pub(crate) successor: Option<NodeIndex>,
    /// The rivals share a history.
    pub(crate) related: bool,
    /// Sentinels are known, but no majority of them was read recently.
    pub(crate) unconfirmed: bool,
}

/// The nodes that claim the role of master in one round.
#[derive(Clone, Copy)]
pub(crate) struct Rivals<'a> {
    /// In ascending order.
    pub(crate) masters: &'a [NodeIndex],
    pub(crate) nodes: ShardNodes<'a>,
    pub(crate) relations: &'a MasterRelations<'a>,
}

impl EvidenceTracker {
    /// Processes one round.
    pub(crate) fn observe(
        &mut self,
        nodes: ShardNodes<'_>,
        lineage: &LineageTracker,
        context: &ShardContext<'_>,
    ) {
        self.claims.observe(nodes, lineage, context);
        for (index, node) in nodes.iter().filter(|(index, _)| context.answered(*index)) {
            match node.snapshot().filter(|_| node.role() == Some(Role::Master)) {
                Some(snapshot) => {
                    self.writes.entry(index).or_default().observe(snapshot, context.now());
                }
                None => drop(self.writes.remove(&index)),
            }
        }
        let checks = &context.round.round.checks;
        for check in checks.iter().filter(|check| check.endpoint == EndpointKind::Primary) {
            let server = check.outcome.as_ref().ok().and_then(|server| server.run_id.as_deref());
            match server {
                Some(run_id) => self.endpoint.push_back(run_id.into()),
                None => self.endpoint.clear(),
            }
            if self.endpoint.len() > ENDPOINT_LED_CHECKS {
                self.endpoint.pop_front();
            }
        }
    }

    /// Returns what the evidence of this round states about the rivals.
    pub(crate) fn statements(&self, rivals: Rivals<'_>, context: &ShardContext<'_>) -> Statements {
        let is_rival = |node: &NodeIndex| rivals.is_rival(*node);
        let majority = named_by_sentinels(rivals.nodes, context);
        let named = majority.filter(|majority| !majority.down).and_then(|majority| majority.node);
        let mut all: Vec<_> = [
            (PrimaryEvidence::Cluster, context.slot_owner),
            (PrimaryEvidence::Sentinel, named),
            (
                PrimaryEvidence::Followers,
                self.claims.followed_by_most(rivals.masters, rivals.nodes),
            ),
            (PrimaryEvidence::Writers, self.written(rivals)),
            (PrimaryEvidence::Declared, rivals.declared()),
            (PrimaryEvidence::Endpoint, self.led_to(rivals)),
            (PrimaryEvidence::Previous, self.previous(rivals)),
            (PrimaryEvidence::Sole, self.sole(rivals)),
        ]
        .into_iter()
        .filter_map(|(evidence, node)| {
            let node = node.filter(is_rival)?;
            Some(PrimaryStatement { node, evidence })
        })
        .collect();
        let heirs = rivals.masters.iter().filter(|rival| self.is_heir(**rival, rivals));
        let evidence = PrimaryEvidence::Lineage;
        all.extend(heirs.map(|rival| PrimaryStatement { node: *rival, evidence }));
        all.sort_unstable();
        Statements {
            successor: only(rivals.masters, |rival| self.is_successor(rival, rivals)),
            related: rivals.are_related(),
            unconfirmed: context.sentinels.is_some() && majority.is_none(),
            all,
        }
    }

    /// Records the undisputed primary of a round. Without one, the last one stays while its process
    /// continues its history.
    pub(crate) fn record(
        &mut self,
        primary: Option<NodeIndex>,
        nodes: ShardNodes<'_>,
        context: &ShardContext<'_>,
    ) {
        let previous = self.previous.as_ref().map(|previous| previous.node);
        let Some(node) = primary.or(previous).filter(|node| context.answered(*node)) else {
            return;
        };
        let is_continued = self.previous.as_ref().is_some_and(|known| known.continues(nodes));
        self.previous =
            nodes[node].snapshot().filter(|_| primary.is_some() || is_continued).map(|snapshot| {
                PreviousPrimary {
                    node,
                    run_id: snapshot.identity.run_id.clone(),
                    offset: snapshot.replication.offset,
                }
            });
    }

    /// Writes the state of a node that is kept over a restart of the exporter.
    pub(crate) fn save(&self, index: NodeIndex, nodes: &NodeVec<NodeView>, saved: &mut SavedNode) {
        self.claims.save(index, nodes, saved);
        let previous = self.previous.as_ref().filter(|previous| previous.node == index);
        saved.previous = previous.map(|previous| SavedPrimary {
            run_id: previous.run_id.as_deref().map(str::to_owned),
            offset: previous.offset,
        });
    }

    /// Returns the claims of some nodes, which are kept over a restart of the exporter.
    pub(crate) fn saved_claims(
        &self,
        nodes: &NodeVec<NodeView>,
        is_included: impl Fn(NodeIndex) -> bool,
    ) -> Vec<SavedClaims> {
        self.claims.saved_claims(nodes, is_included)
    }

    /// Restores the saved state of a node.
    pub(crate) fn restore(
        &mut self,
        index: NodeIndex,
        saved: &SavedNode,
        claim: Option<&SharedClaim>,
    ) {
        self.claims.restore(index, saved, claim);
        if let Some(previous) = saved.previous.as_ref().filter(|_| self.previous.is_none()) {
            self.previous = Some(PreviousPrimary {
                node: index,
                run_id: previous.run_id.as_deref().map(Into::into),
                offset: previous.offset,
            });
        }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.claims.clear(index);
        self.writes.remove(&index);
        self.previous = self.previous.take().filter(|previous| previous.node != index);
    }

    /// Returns the only rival. A node that was a master before the exporter started, and that has
    /// not been polled yet, may be one as well.
    fn sole(&self, rivals: Rivals<'_>) -> Option<NodeIndex> {
        let sole = only(rivals.masters, |_| true)?;
        (!self.claims.awaits_claimant(rivals.nodes)).then_some(sole)
    }

    /// Returns the only rival that accepted writes recently: within [`WRITTEN_RECENTLY`] of the
    /// last reply of any of them.
    fn written(&self, rivals: Rivals<'_>) -> Option<NodeIndex> {
        let writes = |rival: &NodeIndex| self.writes.get(rival);
        let now = rivals.masters.iter().filter_map(writes).map(|writes| writes.replied).max()?;
        only(rivals.masters, |rival| {
            let grew = self.writes.get(&rival).and_then(|writes| writes.grew);
            grew.is_some_and(|grew| now.since(grew) <= WRITTEN_RECENTLY)
        })
    }

    /// Returns the rival to which the endpoint for writes led in all of the last checks.
    fn led_to(&self, rivals: Rivals<'_>) -> Option<NodeIndex> {
        let newest = self.endpoint.back()?;
        let is_constant = self.endpoint.len() == ENDPOINT_LED_CHECKS
            && self.endpoint.iter().all(|server| server == newest);
        only(rivals.masters, |rival| is_constant && rivals.nodes[rival].run_id() == Some(newest))
    }

    fn previous(&self, rivals: Rivals<'_>) -> Option<NodeIndex> {
        let previous = self.previous.as_ref()?;
        previous.continues(rivals.nodes).then_some(previous.node)
    }

    /// Returns true if a rival took over the history of another one, and none took over its own.
    fn is_heir(&self, rival: NodeIndex, rivals: Rivals<'_>) -> bool {
        let lineage = rivals.relations.lineage();
        let (mut before, mut after) =
            (rivals.relations.predecessors(rival), rivals.relations.successors(rival));
        before.any(|other| self.takes_over(rival, other, lineage))
            && !after.any(|other| self.takes_over(other, rival, lineage))
    }

    /// Returns true if a rival was promoted while all others of its history were absent.
    fn is_successor(&self, rival: NodeIndex, rivals: Rivals<'_>) -> bool {
        let mut related = rivals.relations.relatives(rival);
        self.is_heir(rival, rivals) && related.all(|other| self.claims.was_absent(rival, other))
    }

    /// Returns true if one master continues the history of another one: a later one than the other
    /// continues, or one that the other left while it was absent.
    fn takes_over(&self, new: NodeIndex, old: NodeIndex, lineage: &LineageTracker) -> bool {
        lineage.succeeds(new, old)
            || (self.claims.was_absent(new, old) && lineage.continues(new, old))
    }
}

impl Rivals<'_> {
    fn is_rival(self, node: NodeIndex) -> bool {
        self.masters.binary_search(&node).is_ok()
    }

    /// Returns the only rival that the configuration expects to be master.
    fn declared(self) -> Option<NodeIndex> {
        only(self.masters, |rival| self.nodes[rival].node.expected_role == Some(Role::Master))
    }

    fn are_related(self) -> bool {
        self.masters.iter().any(|rival| self.relations.relatives(*rival).next().is_some())
    }
}

impl MasterWrites {
    /// Processes a reply of the master.
    fn observe(&mut self, snapshot: &NodeSnapshot, now: Monotonic) {
        if self.run_id != snapshot.identity.run_id {
            let run_id = snapshot.identity.run_id.clone();
            *self = MasterWrites { run_id, ..MasterWrites::default() };
        }
        // Loaded commands count as changes.
        let is_loaded = snapshot.persistence.loading == Some(false);
        let changes = snapshot.persistence.rdb.changes.filter(|_| is_loaded);
        if self.changes.zip(changes).is_some_and(|(then, now)| now > then) {
            self.grew = Some(now);
        }
        (self.changes, self.replied) = (changes, now);
    }
}

impl PreviousPrimary {
    /// Returns true if the same process has continued its history as a master.
    fn continues(&self, nodes: ShardNodes<'_>) -> bool {
        let node = &nodes[self.node];
        node.role() == Some(Role::Master)
            && node.run_id() == self.run_id.as_deref()
            && node.snapshot().is_some_and(|snapshot| snapshot.replication.offset >= self.offset)
    }
}

/// Returns the master that a majority of the known Sentinels names. Sentinels that were not read
/// recently have no vote, and count as known.
fn named_by_sentinels<'a>(
    nodes: ShardNodes<'_>,
    context: &ShardContext<'a>,
) -> Option<&'a Majority> {
    let sentinels = context.sentinels?;
    let majority = sentinels.majority.as_ref()?;
    let silence = |index: NodeIndex| -> Duration { nodes.deployment()[index].polling.silence };
    let names_it = |statement: &&SentinelStatement| {
        (statement.node, statement.epoch) == (majority.node, majority.epoch)
            && (statement.node.is_some() || statement.address == majority.address)
    };
    let outdated = sentinels
        .statements
        .iter()
        .filter(names_it)
        .filter(|statement| silence(statement.sentinel) > SENTINELS_READ_WITHIN)
        .count();
    let read = majority.count.saturating_sub(outdated) as u64;
    (read * 2 > known_sentinels(sentinels)).then_some(majority)
}

/// Returns the number of Sentinels that the Sentinels know, including dead ones.
fn known_sentinels(sentinels: &SentinelsView) -> u64 {
    sentinels.statements.iter().map(|statement| statement.known).max().unwrap_or_default()
}

/// Returns the node that fulfils a condition, if it is the only one.
fn only(indices: &[NodeIndex], condition: impl Fn(NodeIndex) -> bool) -> Option<NodeIndex> {
    let mut matching = indices.iter().copied().filter(|index| condition(*index));
    let first = matching.next()?;
    matching.next().is_none().then_some(first)
}
