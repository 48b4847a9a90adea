//! The fold: one round and what is remembered give the next view and its events.

use std::sync::Arc;
use std::time::Duration;

use crate::discovery::cluster;
use crate::discovery::sentinels::SentinelsView;
use crate::discovery::{addresses, membership};
use crate::endpoints;
use crate::events::Event;
use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::model::deployment::{Deployment, DeploymentKind, address};
use crate::model::event_history::EventHistory;
use crate::model::round::{PollOutcome, Round};
use crate::model::saved_state::{SavedNode, SavedState};
use crate::model::view::{AttachedView, DeploymentView, NodeView};
use crate::node::state::NodeState;
use crate::node::{NodeTracker, link, state};
use crate::shard::{shards, upstream};
use crate::{events, findings};

/// What is remembered of a deployment from round to round.
#[derive(Debug)]
pub struct DeploymentTracker {
    nodes: Vec<NodeTracker>,
    membership: membership::MembershipTracker,
    addresses: addresses::AddressIndex,
    cluster: cluster::ClusterTracker,
    shards: shards::ShardsTracker,
    endpoints: endpoints::EndpointsTracker,
    findings: findings::FindingsTracker,
    /// What was kept from before, and how long ago; for nodes that were not found yet.
    kept: (SavedState, Duration),
    view: Arc<DeploymentView>,
}

/// What one round came to.
#[derive(Debug)]
pub struct RoundResult {
    /// What is known now.
    pub view: Arc<DeploymentView>,
    /// What changed, in order.
    pub events: Vec<Event>,
    /// What would be worth reading at the next round.
    pub wanted: Vec<ReadRequest>,
}

/// A reading that a fact waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadRequest {
    /// The statistics by command of the node at a place: what changed the primary.
    CommandStats(usize),
    /// The map of the cluster, from the node at a place.
    ClusterMap(usize),
    /// The list of the clients of the node at a place: who writes to a replica.
    ClientList(usize),
    /// The host name of an address, which the label of a node takes.
    HostName(String),
}

impl DeploymentTracker {
    /// Nothing is known yet.
    pub fn new(deployment: Arc<Deployment>) -> Self {
        DeploymentTracker {
            nodes: deployment.nodes.iter().map(|_| NodeTracker::default()).collect(),
            membership: membership::MembershipTracker::default(),
            addresses: addresses::AddressIndex::default(),
            cluster: cluster::ClusterTracker::default(),
            shards: shards::ShardsTracker::default(),
            endpoints: endpoints::EndpointsTracker::default(),
            findings: findings::FindingsTracker::default(),
            kept: Default::default(),
            view: Arc::new(DeploymentView::empty(deployment)),
        }
    }

    /// What is known after the last round.
    pub fn view(&self) -> Arc<DeploymentView> {
        Arc::clone(&self.view)
    }

    /// Takes up one round.
    ///
    /// # Panics
    /// When the round does not have one outcome for each node.
    pub fn observe(&mut self, round: &Round) -> RoundResult {
        assert_eq!(round.outcomes.len(), self.nodes.len(), "a round has one outcome for each node");
        let mut before = Arc::clone(&self.view);
        let mut deployment = Arc::clone(&before.deployment);
        let accrued = self.accrued(round, &deployment);
        let expect = deployment.expect.at(round.at);

        // Each node by itself.
        let syncs = link::syncs(&before.nodes);
        let taken = self.nodes.iter_mut().enumerate().zip(syncs);
        let (mut nodes, mut successions): (Vec<_>, Vec<_>) = taken
            .map(|((index, memory), syncs)| {
                memory.observe(index, round, accrued, &deployment, syncs)
            })
            .unzip();

        // Who belongs to the deployment.
        let is_cluster = deployment.kind == DeploymentKind::Cluster;
        if is_cluster {
            let answered: Vec<_> = successions.iter().map(Option::is_some).collect();
            self.cluster.learn(&nodes, &answered, round.elapsed);
        }
        let changes = self.membership.observe(&deployment, &nodes, &mut self.cluster, round);
        if let Some(changed) = changes.deployment {
            deployment = changed;
            self.shards.removed(&changes.removed);
            before = self.regroup(&before, &deployment, &changes.gone, &changes.moved, &mut nodes);
            successions.resize(nodes.len(), None);
            changes.gone.iter().for_each(|index| successions[*index] = None);
        }

        // Who is where, and who follows whom.
        for (index, outcome) in round.outcomes.iter().enumerate() {
            if let (PollOutcome::Answered(answer), Some(_)) = (outcome, successions[index]) {
                self.addresses.learn(index, &answer.snapshot, answer.peer);
            }
        }
        self.addresses.settle();
        let mut sentinels = SentinelsView::hear(&nodes, &deployment, &self.addresses);
        for (index, node) in nodes.iter_mut().enumerate() {
            node.disk = round.disks.get(index).copied().flatten();
            node.attached = self.attached(node, &deployment);
            node.upstream = upstream::upstream(node, index, &deployment, &self.addresses);
            node.expected_aof = expect.aof.zip(node.role()).and_then(|(aof, role)| aof.of(role));
        }

        // All of them together.
        let context = shards::RoundContext {
            round,
            deployment: &deployment,
            expect,
            successions: &successions,
            accrued,
            before: &before,
            sentinels: sentinels.as_ref(),
            listed: &changes.listed,
        };
        let (shards, cluster) = if is_cluster {
            let shards = self.shards.parts(&mut nodes, &self.cluster, &context);
            let replaced: Vec<_> = shards.iter().flat_map(|shard| &shard.stale).copied().collect();
            let cluster = self.cluster.view(&nodes, &replaced, changes.ghosts);
            (shards, Some(cluster))
        } else {
            (self.shards.whole(&mut nodes, &context), None)
        };
        let acting: Vec<_> = shards.iter().flat_map(|shard| &shard.acting).copied().collect();
        let endpoints = self.endpoints.observe(&nodes, &acting, &context);
        if let Some(sentinels) = &mut sentinels {
            let was_listed = before.sentinels.as_ref().is_some_and(|before| before.listed);
            sentinels.listed = was_listed || (sentinels.listed && changes.unnamed.is_empty());
            sentinels.compare(
                shards.first().and_then(|shard| shard.primary).map(|primary| primary.node),
            );
        }

        let mut rounds = before.rounds;
        rounds.total += 1;
        rounds.missed += round.missed;
        rounds.blind += u64::from(round.blind);
        rounds.took = round.took;
        let mut view = DeploymentView {
            at: Some(round.at),
            elapsed: round.elapsed,
            expect,
            rounds,
            nodes,
            shards,
            endpoints,
            sentinels,
            cluster,
            names: Arc::clone(&round.resolved),
            findings: Vec::new(),
            history: Arc::clone(&before.history),
            deployment,
        };
        view.findings = self.findings.observe(&view);
        let events = events::between(&before, &view, &round.messages);
        if !events.is_empty() {
            let mut history = EventHistory::clone(&view.history);
            history.add(&events, view.nodes.len());
            view.history = Arc::new(history);
        }
        self.view = Arc::new(view);
        let mut wanted: Vec<_> = self.shards.wanted().collect();
        wanted.extend(changes.unnamed.into_iter().map(ReadRequest::HostName));
        if is_cluster {
            wanted.extend(
                self.cluster.wanted(&self.view.nodes).into_iter().map(ReadRequest::ClusterMap),
            );
        }
        RoundResult { view: Arc::clone(&self.view), events, wanted }
    }

    /// Takes up that other nodes belong to the deployment: room for new ones, and no memory of those that are gone. Gives what was known
    /// before, by the places of now.
    fn regroup(
        &mut self,
        before: &DeploymentView,
        deployment: &Deployment,
        gone: &[usize],
        moved: &[usize],
        nodes: &mut Vec<NodeView>,
    ) -> Arc<DeploymentView> {
        let mut before = before.clone();
        for index in gone {
            self.nodes[*index] = NodeTracker::default();
            self.addresses.clear(*index);
            self.shards.clear(*index);
            self.cluster.clear(*index);
        }
        for (index, node) in deployment.nodes.iter().enumerate() {
            let pending = || NodeView::pending(node);
            match nodes.get_mut(index) {
                Some(known) if Arc::ptr_eq(&known.node, node) => continue,
                // It moved, and keeps what is known of it.
                Some(known) if moved.contains(&index) => {
                    if known.node.name != node.name {
                        // Whether it answers under its new name is not known yet.
                        self.nodes[index].presence = state::NodeStateTracker::default();
                        for view in [&mut *known, &mut before.nodes[index]] {
                            (view.presence, view.polling) =
                                (NodeState::Pending, crate::PollStats::default());
                        }
                    }
                    known.node = Arc::clone(node);
                    self.addresses.clear(index);
                    continue;
                }
                Some(known) => (*known, before.nodes[index]) = (pending(), pending()),
                None => {
                    nodes.push(pending());
                    before.nodes.push(pending());
                    self.nodes.push(NodeTracker::default());
                }
            }
            self.recall(index, &node.name);
        }
        Arc::new(before)
    }

    /// What is worth keeping over a restart of the exporter.
    pub fn remembered(&self) -> SavedState {
        let is_cluster = self.view.deployment.kind == DeploymentKind::Cluster;
        let mut last = None;
        let node = |(index, view): (usize, &NodeView)| {
            let memory = &self.nodes[index];
            let (was_primary, replication_ids) = self.shards.remembered(index);
            if was_primary {
                last = Some(view.node.name.clone());
            }
            let node = SavedNode {
                primary: was_primary && is_cluster,
                run_id: memory.process.run_id().map(str::to_owned),
                replication_ids,
                epoch: self.shards.epoch(index),
                appendfsync: memory.appendfsync.as_deref().map(str::to_owned),
            };
            (view.node.name.clone(), node)
        };
        // What was kept of nodes that were not found yet is kept further.
        let (kept, _) = &self.kept;
        let mut nodes = kept.nodes.clone();
        nodes.extend(self.view.members().map(node));
        let last = last.filter(|_| !is_cluster).or_else(|| kept.primary.clone());
        SavedState { primary: last, nodes }
    }

    /// Takes up what was kept, before the first round. `away` is the time since it was. What was kept of a node that is still to be found
    /// is taken up when it is.
    pub fn remember(&mut self, kept: SavedState, away: Duration) {
        self.kept = (kept, away);
        for (index, node) in self.view.deployment.nodes.clone().iter().enumerate() {
            self.recall(index, &node.name);
        }
    }

    /// Takes up what was kept of the node at a place.
    fn recall(&mut self, index: usize, name: &str) {
        let (kept, away) = &mut self.kept;
        let Some(node) = kept.nodes.remove(name) else { return };
        self.nodes[index].process.remember(node.run_id.as_deref(), &node.replication_ids, *away);
        self.nodes[index].appendfsync = node.appendfsync.as_deref().map(Into::into);
        let was_primary = node.primary || kept.primary.as_deref() == Some(name);
        self.shards.remember(index, was_primary, node);
    }

    /// The time this round may add to anything that accrues.
    fn accrued(&self, round: &Round, deployment: &Deployment) -> Duration {
        if self.view.at.is_none() {
            return deployment.interval;
        }
        round
            .elapsed
            .saturating_sub(self.view.elapsed)
            .min(deployment.interval * MAX_ACCRUED_INTERVALS)
    }

    /// The replicas attached to a node, by the names of the nodes that they are.
    fn attached(&self, node: &NodeView, deployment: &Deployment) -> Vec<AttachedView> {
        let Some(snapshot) = node.snapshot() else { return Vec::new() };
        let named = |address: String| {
            let index = self.addresses.at(deployment, &address);
            index.map_or(address, |index| deployment.nodes[index].name.clone())
        };
        let replicas = snapshot.replication.attached.iter();
        let mut views: Vec<_> = replicas
            .map(|seen| AttachedView {
                name: named(address(&seen.ip, seen.port)),
                seen: seen.clone(),
            })
            .collect();
        // Two connections of one replica: the old one stays listed until it times out.
        views.sort_by(|a, b| {
            a.name.cmp(&b.name).then_with(|| b.seen.liveness().cmp(&a.seen.liveness()))
        });
        views.dedup_by(|b, a| a.name == b.name);
        views
    }
}
